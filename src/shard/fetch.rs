//! Reads for Fetch: what is asked of a shard, what comes back, and who waits for more.

use std::cell::RefCell;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::rt::{Foreign, Mailbox, Receiver, Sender, Slice, oneshot};
use crate::storage::AbortedTransaction;
use crate::types::{LeaderEpoch, Offset, ShardId, TopicId};

/// One partition of a Fetch, on its way to its owner.
#[derive(Clone, Debug)]
pub struct ReadItem {
    /// Where in the request its result goes.
    pub index: u32,
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: Offset,
    /// The leader epoch the reader believes in; −1 skips the check.
    pub current_epoch: LeaderEpoch,
    /// The epoch of the last record the reader has; −1 skips the check for divergence (KIP-595).
    pub last_fetched_epoch: LeaderEpoch,
    pub max_bytes: usize,
}

/// What is asked of one shard: some partitions in order, within one budget.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    pub items: Vec<ReadItem>,
    pub isolation: Isolation,
    /// Bytes for all items together; the first non-empty batch comes whole whatever it says (KIP-74).
    pub max_bytes: usize,
}

/// What one partition answered.
pub struct PartitionRead<D = ReadData> {
    pub index: u32,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start: Offset,
    /// The reader's log diverges: (epoch, its end offset) to truncate to (KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    pub leader_epoch: LeaderEpoch,
    /// The aborted transactions that overlap the data, by their first offsets; for readers of what is committed.
    pub aborted: Vec<AbortedTransaction>,
    pub data: D,
}

/// A read's batches, in order; pinned, not copied.
pub type Slices = SmallVec<[Slice; 4]>;

/// Record batches pinned in the cache of the shard that read them.
pub enum ReadData {
    Empty,
    Here(Slices),
    There(Foreign),
}

impl ReadData {
    pub fn bytes(&self) -> usize {
        match self {
            ReadData::Empty => 0,
            ReadData::Here(slices) => slices.iter().map(|slice| slice.len()).sum(),
            ReadData::There(foreign) => foreign.len(),
        }
    }
}

/// A read's data on its way to another shard: the slices stay pinned where they are.
pub struct SentData(Option<Foreign>);

impl PartitionRead {
    pub fn failed(index: u32, error: ErrorCode) -> PartitionRead {
        PartitionRead {
            index,
            error,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start: Offset(-1),
            diverging: None,
            leader_epoch: LeaderEpoch::NONE,
            aborted: Vec::new(),
            data: ReadData::Empty,
        }
    }

    /// Makes the read fit to cross to another shard.
    pub fn send<M: Send>(self, mailbox: &Mailbox<M>) -> PartitionRead<SentData> {
        self.map(|data| match data {
            ReadData::Here(slices) => SentData(Some(mailbox.lend(slices))),
            ReadData::Empty => SentData(None),
            ReadData::There(_) => unreachable!("a read is sent from where it was made"),
        })
    }
}

impl PartitionRead<SentData> {
    /// The read as it arrived from another shard.
    pub fn received(self) -> PartitionRead {
        self.map(|data| match data.0 {
            Some(foreign) => ReadData::There(foreign),
            None => ReadData::Empty,
        })
    }
}

impl<D> PartitionRead<D> {
    fn map<E>(self, convert: impl FnOnce(D) -> E) -> PartitionRead<E> {
        PartitionRead {
            index: self.index,
            error: self.error,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start: self.log_start,
            diverging: self.diverging,
            leader_epoch: self.leader_epoch,
            aborted: self.aborted,
            data: convert(self.data),
        }
    }
}

/// One partition that a parked Fetch waits on.
#[derive(Clone, Debug)]
pub struct WatchItem {
    pub topic_id: TopicId,
    pub partition: i32,
    pub isolation: Isolation,
    /// How far the reader could read: if it has moved since, the watch fires at once.
    pub seen: Offset,
}

/// A parked Fetch, as the partitions it watches know it: one per connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WatchKey {
    pub home: ShardId,
    pub connection: u64,
}

/// Who waits for more records of one partition. An entry fires once and is gone.
#[derive(Default)]
pub struct Watchers(RefCell<HashMap<WatchKey, Watch>>);

struct Watch {
    /// Bytes that must arrive here before it is worth reading again.
    need: u64,
    /// The partition's count of appended bytes when the watch began.
    since: u64,
}

impl Watchers {
    /// Begins or renews a watch.
    pub fn watch(&self, key: WatchKey, need: u64, appended_bytes: u64) {
        self.0.borrow_mut().insert(
            key,
            Watch {
                need,
                since: appended_bytes,
            },
        );
    }

    pub fn unwatch(&self, key: WatchKey) {
        self.0.borrow_mut().remove(&key);
    }

    /// Takes out those for whom enough has arrived.
    pub fn fire(&self, appended_bytes: u64, mut wake: impl FnMut(WatchKey)) {
        let mut watchers = self.0.borrow_mut();
        if watchers.is_empty() {
            return;
        }
        watchers.retain(|key, watch| {
            let waits = appended_bytes - watch.since < watch.need;
            if !waits {
                wake(*key);
            }
            waits
        });
    }

    /// Takes out all: the partition has failed or is gone.
    pub fn fire_all(&self, mut wake: impl FnMut(WatchKey)) {
        self.0.borrow_mut().drain().for_each(|(key, _)| wake(key));
    }
}

/// The parked Fetches of this shard's connections.
#[derive(Default)]
pub struct Parked {
    waiting: RefCell<HashMap<u64, Sender<()>>>,
}

impl Parked {
    /// Parks a connection's Fetch; the receiver has its answer when a watch fires.
    pub fn park(&self, connection: u64) -> Receiver<()> {
        let (sender, receiver) = oneshot();
        self.waiting.borrow_mut().insert(connection, sender);
        receiver
    }

    pub fn unpark(&self, connection: u64) {
        self.waiting.borrow_mut().remove(&connection);
    }

    /// A watch of this connection fired; one that no longer waits is passed over.
    pub fn wake(&self, connection: u64) {
        if let Some(sender) = self.waiting.borrow_mut().remove(&connection) {
            let _ = sender.send(());
        }
    }
}
