//! Ringlog: a Kafka-compatible event-streaming broker, one pinned executor per core, shared nothing.

pub mod types;

pub mod config;
pub mod metrics;
pub mod protocol;
pub mod record;

pub mod metadata;
pub mod partition;

pub mod api;
pub mod client;
pub mod rt;
pub mod server;
pub mod shard;
pub mod storage;

pub mod cli;
pub mod load;
