//! The transaction coordinator of one partition of `__transaction_state`: who may write, what is decided, and which markers are due.
//!
//! **Path.** `api` → the shard that leads the id's partition → **[`TransactionCoordinator::handle`]** → records, replies
//! and marker jobs → the shell appends the records, and once they are durable sends the replies and has the markers
//! written → **[`TransactionCoordinator::on_markers_written`]** → the record that completes the transaction. Loading is
//! **[`TransactionCoordinator::replay`]** over the log, then **[`TransactionCoordinator::on_loaded`]**.
//!
//! **Invariants.** Only `apply` changes what is persisted, live and in replay alike. A decided transaction is never
//! decided otherwise, and its markers are due until they are written. A producer epoch never falls for one producer
//! id, and whoever holds a lower one decides nothing. All that waits, lasts or expires has a bound.
//!
//! **Faults survived.** Requests late, twice and in any order (a decision is recognised by the epoch or producer id
//! before it), producers of the past, a coordinator that is loaded again after any record, epochs that run out,
//! clocks that jump (deadlines are monotonic), hostile patterns and ids. Records of a future version are passed over.
//!
//! **Not obvious.** A change is applied when it is decided, not when it is durable; the shell holds back what
//! follows from it, and throws the coordinator away if the append fails. Kafka answers CONCURRENT_TRANSACTIONS to a
//! producer that begins its next transaction while the last one's markers are being written; here such a request
//! waits for them up to a second, which spares the producer a back-off for every transaction. The epoch before
//! the present one, by which a lost answer of InitProducerId is recognised, is not in Kafka's records and so is
//! forgotten when the coordinator is loaded.

mod coordinator;
mod end;
mod init;
mod join;
mod list;
mod message;
mod parking;
mod record;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

pub use coordinator::TransactionCoordinator;
pub use message::{MarkerJob, TxnContext, TxnFilter, TxnOutput, TxnReply, TxnRequest};
pub use record::{RecordError, TxnRecord, TxnValue};
pub use state::TxnState;
