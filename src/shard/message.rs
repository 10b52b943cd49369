//! What shards say to each other.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::calls::Answer;
use super::fetch::{PartitionRead, ReadRequest, SentData, WatchItem, WatchKey};
use super::produce::{ProduceForward, ProduceOutcome};
use crate::metadata::MetadataRecord;
use crate::metrics::Stages;
use crate::rt::RawAccepted;
use crate::types::Micros;

/// The work of a call: runs on the shard it is sent to, and its answer goes home.
pub type CallWork = Box<dyn FnOnce(Rc<Shard>) -> CallFuture + Send>;
/// See [`CallWork`].
pub type CallFuture = Pin<Box<dyn Future<Output = Answer>>>;

/// One message. Those of the data path have kinds of their own; all else is a call.
pub enum Message {
    Produce(ProduceForward),
    ProduceDone {
        slot: u32,
        sent: Micros,
        stages: Stages,
        outcomes: Vec<(u32, ProduceOutcome)>,
    },
    Read {
        slot: u32,
        sent: Micros,
        request: ReadRequest,
    },
    ReadDone {
        slot: u32,
        sent: Micros,
        stages: Stages,
        results: Vec<PartitionRead<SentData>>,
    },
    /// Wake this connection's parked Fetch when `need` more bytes are readable, or at once if there are some unseen.
    Watch {
        key: WatchKey,
        need: u64,
        items: Vec<WatchItem>,
    },
    Unwatch {
        key: WatchKey,
        items: Vec<WatchItem>,
    },
    WatchFired {
        connection: u64,
    },
    /// Records of the metadata log, to be applied in order.
    Metadata {
        slot: u32,
        records: Arc<Vec<MetadataRecord>>,
    },
    Call {
        slot: u32,
        work: CallWork,
    },
    Answer {
        slot: u32,
        value: Answer,
    },
    /// A connection that this shard is to serve.
    Connection {
        listener: usize,
        accepted: RawAccepted,
    },
}
