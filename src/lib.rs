//! Ringlog: a Kafka-compatible event-streaming broker, one pinned executor per core, shared nothing.

pub mod types;

pub mod metrics;
pub mod config;
pub mod record;
pub mod protocol;

pub mod metadata;
pub mod partition;

pub mod rt;
pub mod storage;
pub mod client;
pub mod shard;
pub mod api;
pub mod server;

pub mod load;
pub mod cli;
