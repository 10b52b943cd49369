//! One replica's state as a sans-IO core: watermarks, leader epoch, producers, and what must happen next.
//!
//! **Path.** `api/produce → shard/partition → record::check →` **here: [`Partition::admit`]** `→ storage append →`
//! **[`Partition::on_appended`]** `→ commit →` **[`Partition::on_durable`]** `→ effects → parked requests answered`.
//!
//! **Invariants.** `log_start ≤ high_watermark ≤ durable_end ≤ log_end` unless the topic asks for write
//! caching, where the high watermark follows the log end. Offsets are given densely and only here. A producer's
//! sequence numbers on a partition are contiguous, wrapping from `i32::MAX` to 0. The last stable offset is the first
//! offset of the earliest transaction that is open, or whose marker is not below the high watermark, else the high
//! watermark itself. State changes only in `on_*`. What retention takes ([`expired`]) is a prefix of whole segments below
//! the high watermark.
//!
//! **Faults survived.** Retried and reordered batches (the last five of every producer are remembered), fenced
//! producers and coordinators, requests of an old or a future leader epoch, a log directory that failed ([`Partition::on_storage_failed`]).
//!
//! **Not obvious.** Admission and append happen in one turn of the shard without an await between them, so a
//! batch that was admitted is the next batch appended. Producers expire by the broker's clock at append, never by
//! record time: a retried batch with old create times must still be recognised.

mod leader;
mod producers;
mod retention;
mod snapshot;
mod transactions;

#[cfg(test)]
mod histories_tests;

pub use leader::{
    Admitted, BatchFacts, Effect, Effects, EpochError, Isolation, Partition, ProduceRefusal,
    ReadBound,
};
pub use producers::{ProducerEntry, ProducerTable, SequenceError};
pub use retention::{Expired, LogBounds, RetentionPolicy, SegmentFacts, Share, expired};
pub use snapshot::{CopiedProducers, EncodedProducers, KAFKA_ROW_BYTES, SnapshotError};
pub use transactions::{EndedTransaction, MarkerFacts, MarkerRefusal, OpenTransaction};
