//! Ringlog: a Kafka-compatible event-streaming broker, one pinned executor per core, shared nothing.
//!
//! # The three paths
//!
//! **Produce.** [`server`]'s connection cuts a frame and reserves its memory → [`protocol`] decodes it, the records stay a
//! slice of it → `api/produce` splits it by partition → the mailbox, once for each other shard that owns some of them →
//! `shard/replica`: [`record::check`] → [`partition::Partition::admit`] gives offsets → [`storage::Log`] copies the batch
//! once, into the aligned tail that is write buffer and cache → the request is parked → the shard's flusher commits a round
//! and [`partition::Partition::on_durable`] says who may be answered → back the same way, in the order of the requests.
//!
//! **Fetch.** Connection → protocol → `api/fetch` (session, byte budget) → mailbox where another shard owns the partition →
//! `shard/replica`: how far may it read → [`storage::Log::try_read`] pins cache pages, else a direct read brings them → too
//! little and time left: the connection parks until a partition's watchers fire → one vectored write from the pinned pages.
//!
//! **A change of metadata.** `api/topics` or `api/configs` → [`shard::Shard::propose`], on shard 0 → [`metadata::decide`] →
//! records → the durable metadata log → every shard applies them to its own [`metadata::Image`] and makes its partitions
//! follow → the reply leaves.
//!
//! # The rooms, in reading order
//!
//! A room uses only rooms above it; its head says what lives there, what holds, and which faults it survives.
//!
//! | room | what |
//! |---|---|
//! | [`types`] | ids, offsets, times, shared strings |
//! | [`metrics`] | counters and histograms, per shard |
//! | [`config`] | every key, one row each |
//! | [`record`] | record batches: check, iterate, build, compress |
//! | [`protocol`] | the Kafka wire, every message at every version |
//! | [`wire`] | the native wire: frames, frozen messages, the handshake |
//! | [`metadata`] | what the cluster agrees on: records, image, decisions |
//! | [`partition`] | one replica's state: offsets, producers, watermarks |
//! | [`group`] | consumer groups and their offsets |
//! | [`txn`] | the transaction coordinator: who may write, what is decided, which markers are due |
//! | [`rt`] | the executor, files, sockets, mailboxes; the only room that names glommio |
//! | [`storage`] | logs on disk: append, commit, read, recover |
//! | [`client`] | a small Kafka client for the command line and the load generator |
//! | [`shard`] | what one core owns, and how cores talk |
//! | [`api`] | one file per Kafka API |
//! | [`server`] | start-up, listeners, connections, shutdown |
//! | [`load`] | the load generator |
//! | [`host`] | the host judged before a start, and measured |
//! | [`cli`] | one file per subcommand |
//!
//! Everything up to `txn` is sans-IO: no async, no clock, no file, no log line.

pub mod types;

pub mod config;
pub mod metrics;
pub mod protocol;
pub mod record;
pub mod wire;

pub mod group;
pub mod metadata;
pub mod partition;
pub mod txn;

pub mod api;
pub mod client;
pub mod rt;
pub mod server;
pub mod shard;
pub mod storage;

pub mod cli;
pub mod host;
pub mod load;
