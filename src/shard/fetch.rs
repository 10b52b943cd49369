//! Reads for Fetch: what is asked of a shard, what comes back, and who waits for more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::record::{BATCH_HEADER_BYTES, BatchHeader};
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
    /// Bytes for all items together.
    pub max_bytes: usize,
    /// The first non-empty batch comes whole whatever `max_bytes` says (KIP-74).
    pub at_least_one: bool,
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

impl ReadData {
    /// The bytes, piece by piece.
    pub fn chunks(&self) -> SmallVec<[&[u8]; 4]> {
        match self {
            ReadData::Empty => SmallVec::new(),
            ReadData::Here(slices) => slices.iter().map(|slice| &**slice).collect(),
            ReadData::There(foreign) => foreign.chunks().collect(),
        }
    }

    /// The whole batches: how many bytes they are, and the offset after the last. `None` if there is none; the limit of a
    /// read may cut its last batch.
    pub fn whole_batches(&self) -> Option<(usize, Offset)> {
        let chunks = self.chunks();
        let total: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        // Batches and chunks are both in order: the chunk of the last header is where the next is looked for.
        let (mut first, mut first_position) = (0, 0);
        let (mut end, mut next) = (0, None);
        while end + BATCH_HEADER_BYTES <= total {
            while end - first_position >= chunks[first].len() {
                first_position += chunks[first].len();
                first += 1;
            }
            let mut raw = [0; BATCH_HEADER_BYTES];
            gather(&chunks[first..], end - first_position, &mut raw);
            let size = BatchHeader::view(&raw).and_then(BatchHeader::size);
            let Some(size) = size.ok().filter(|size| end + size <= total) else {
                break;
            };
            end += size;
            next = BatchHeader::view(&raw).ok().map(BatchHeader::next_offset);
        }
        next.map(|next| (end, next))
    }
}

/// Fills `out` from `chunks`, from `skip` bytes into the first on; they hold enough.
fn gather(chunks: &[&[u8]], skip: usize, out: &mut [u8]) {
    let (mut filled, mut skip) = (0, skip);
    for chunk in chunks {
        let piece = &chunk[skip..];
        let count = piece.len().min(out.len() - filled);
        out[filled..filled + count].copy_from_slice(&piece[..count]);
        (filled, skip) = (filled + count, 0);
        if filled == out.len() {
            return;
        }
    }
}

/// A slice that is less than this part of what it keeps in memory is not worth it: where memory is short,
const WORTH_PART: usize = 4;
/// and at any time.
const WORTH_PART_EVER: usize = 16;

/// Puts a copy in the place of a slice that is less than a `part` of what it keeps.
fn slim(slice: &mut Slice, part: usize) {
    if slice.len() < slice.pinned_bytes() / part {
        *slice = Slice::copy_of(slice);
    }
}

impl ReadData {
    /// What a read found. Of pages from a file, of which little is needed, a copy is: a reader of many partitions would else
    /// keep a whole chunk of each while it waits for the others.
    pub(super) fn of(mut slices: Slices) -> ReadData {
        for slice in slices.iter_mut().filter(|slice| slice.was_read()) {
            slim(slice, WORTH_PART_EVER);
        }
        ReadData::Here(slices)
    }

    /// Has the same bytes for one who takes them slowly: what is needed of a page that is kept for little of it is copied.
    pub fn compact(&mut self) {
        match self {
            ReadData::Here(slices) => slices.iter_mut().for_each(|slice| slim(slice, WORTH_PART)),
            ReadData::There(foreign) if foreign.len() < foreign.pinned_bytes() / WORTH_PART => {
                *self = ReadData::Here(foreign.chunks().map(Slice::copy_of).collect());
            }
            ReadData::There(_) | ReadData::Empty => {}
        }
    }

    /// Bytes of memory that it keeps.
    pub fn pinned_bytes(&self) -> usize {
        match self {
            ReadData::Empty => 0,
            ReadData::Here(slices) => slices.iter().map(Slice::pinned_bytes).sum(),
            ReadData::There(foreign) => foreign.pinned_bytes(),
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

/// How many bytes of one partition may be read, for its watchers. What is appended and not committed does not count: a
/// watch may begin between the two, and it is the commit that it waits for.
#[derive(Default)]
pub struct ReadableBytes {
    appended: Cell<u64>,
    readable: Cell<u64>,
    /// The batches between the two: where each ends, and how many bytes were appended then. As long as what is being
    /// committed, which back-pressure bounds.
    ahead: RefCell<VecDeque<(Offset, u64)>>,
}

impl ReadableBytes {
    /// A batch of so many bytes was appended, and the log ends at `end` now.
    pub fn on_appended(&self, end: Offset, bytes: usize) {
        let appended = self.appended.get() + bytes as u64;
        self.appended.set(appended);
        self.ahead.borrow_mut().push_back((end, appended));
    }

    /// Records below `high_watermark` may be read now; returns the count of their bytes.
    pub fn on_readable(&self, high_watermark: Offset) -> u64 {
        let ahead = &mut *self.ahead.borrow_mut();
        while let Some((end, appended)) = ahead.front().copied()
            && end <= high_watermark
        {
            ahead.pop_front();
            self.readable.set(appended);
        }
        // A burst's memory is not kept: there are many partitions.
        if ahead.is_empty() && ahead.capacity() > AHEAD_KEPT {
            *ahead = VecDeque::new();
        }
        self.readable.get()
    }

    pub fn count(&self) -> u64 {
        self.readable.get()
    }
}

/// Batches that a partition keeps room for.
const AHEAD_KEPT: usize = 64;

/// Who waits for more records of one partition. An entry fires once and is gone.
#[derive(Default)]
pub struct Watchers(RefCell<HashMap<WatchKey, Watch>>);

struct Watch {
    /// Bytes that must become readable here before it is worth reading again.
    need: u64,
    /// [`ReadableBytes::count`] when the watch began.
    since: u64,
}

impl Watchers {
    /// Begins or renews a watch.
    pub fn watch(&self, key: WatchKey, need: u64, readable_bytes: u64) {
        self.0.borrow_mut().insert(
            key,
            Watch {
                need,
                since: readable_bytes,
            },
        );
    }

    pub fn unwatch(&self, key: WatchKey) {
        self.0.borrow_mut().remove(&key);
    }

    /// Takes out those for whom enough has become readable.
    pub fn fire(&self, readable_bytes: u64, mut wake: impl FnMut(WatchKey)) {
        let mut watchers = self.0.borrow_mut();
        if watchers.is_empty() {
            return;
        }
        watchers.retain(|key, watch| {
            let waits = readable_bytes - watch.since < watch.need;
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: WatchKey = WatchKey {
        home: ShardId(0),
        connection: 7,
    };

    fn fired(watchers: &Watchers, readable_bytes: u64) -> bool {
        let mut fired = false;
        watchers.fire(readable_bytes, |key| fired = key == KEY);
        fired
    }

    /// What was lost: the wake-up of a reader that began to wait after the last batch was appended and before it was
    /// committed. It slept to the end of its long poll, or until the next batch.
    #[test]
    fn a_watch_that_begins_between_append_and_commit_fires_at_the_commit() {
        let (bytes, watchers) = (ReadableBytes::default(), Watchers::default());
        bytes.on_appended(Offset(1), 100);
        watchers.watch(KEY, 1, bytes.count());
        assert!(fired(&watchers, bytes.on_readable(Offset(1))));
    }

    #[test]
    fn a_watch_waits_for_as_many_readable_bytes_as_it_needs() {
        let (bytes, watchers) = (ReadableBytes::default(), Watchers::default());
        for end in 1..=3 {
            bytes.on_appended(Offset(end), 100);
        }
        assert_eq!(bytes.on_readable(Offset(1)), 100);
        watchers.watch(KEY, 150, bytes.count());
        assert!(
            !fired(&watchers, bytes.on_readable(Offset(2))),
            "100 of 150"
        );
        bytes.on_appended(Offset(9), 1_000);
        assert!(
            !fired(&watchers, bytes.on_readable(Offset(2))),
            "only appended"
        );
        assert!(fired(&watchers, bytes.on_readable(Offset(3))), "200 of 150");
        assert!(!fired(&watchers, bytes.on_readable(Offset(9))), "only once");
    }
}
