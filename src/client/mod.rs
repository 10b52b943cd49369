//! A small asynchronous client: what the command line and the load generator stand on.
//!
//! **What lives here.** [`Connection`] speaks to one broker, [`Cluster`] to all of one cluster; [`Producer`] and
//! [`Consumer`] move records, [`GroupConsumer`] as a member of a group; the rest of [`Cluster`] administers. It speaks Kafka's wire to any Kafka broker;
//! [`native`] speaks Ringlog's own.
//!
//! **Path.** A caller's request → [`Cluster`] finds the leader → [`Connection`] writes it in the highest version both
//! sides speak, without waiting for the ones before → the answer is matched by its order and correlation id → the
//! caller. Uses `rt`, `protocol`, `wire`, `record` and `types`; everything runs on one executor.
//!
//! **Invariants.** Requests on a connection are written and answered in the order of the calls. A lost connection
//! fails everything in flight on it, once, with one error, and is never used again. A partition's batches reach it in
//! the order of the appends; with idempotence, also through second tries and without duplicates.
//!
//! **Faults survived.** Brokers that refuse, close, stall (every request has a deadline) or send what is not Kafka
//! (lengths are bounded, decoding cannot panic); leaders that move and topics that are not everywhere yet (learnt anew,
//! with back-off, for a bounded time). [`ClientError`] tells them apart.
//!
//! **Not obvious.** Dropping a [`Reply`] does not take its request back. Kafka calls an unknown topic retriable,
//! because brokers hear of a new topic at different times; [`Cluster::topic`] waits only a second for one that may not
//! be created, so that a mistyped name is told soon.

mod admin;
mod assignor;
mod backoff;
mod batching;
mod cluster;
mod connection;
mod consumer;
mod consumer_protocol;
mod coordinator;
mod error;
mod frames;
mod group_consumer;
mod groups;
mod http;
mod isolation;
mod member;
pub mod native;
mod offsets;
mod parked;
mod partitioner;
mod pipeline;
mod producer;
mod sender;
mod socket;
mod topology;
mod transactions;

pub use admin::{ConfigChange, Mode, NewTopic, Resource};
pub use assignor::Assignor;
pub use cluster::{AutoCreate, Cluster, ClusterOptions};
pub use connection::{Connection, ConnectionOptions, Reply};
pub use consumer::{Consumer, ConsumerOptions, Fetched};
pub use consumer_protocol::Partitions;
pub use coordinator::Coordinated;
pub use error::ClientError;
pub use group_consumer::{GroupConsumer, GroupEvent, GroupOptions};
pub use groups::{Committed, GroupDescription, GroupKind, GroupMember, TopicPartition};
pub use http::{HttpAnswer, http_get};
pub use isolation::{Aborted, Isolation, Visible};
pub use member::{GroupProtocol, MemberOptions};
pub use offsets::Place;
pub use partitioner::partition_for_key;
pub use producer::{Acks, Idempotence, Producer, ProducerOptions, ProducerStats};
pub use topology::{Broker, Partition, Topic, Topology};
pub use transactions::{OpenTransaction, TransactionFilter};
