//! Subscribe: a stream of batches, pushed as they come and as far as the client's credits go.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use rkyv::Archived;

use super::context::{NativeContext, NativeFrame};
use super::{Refusal, isolation};
use crate::metrics::{Stage, Stages};
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::rt::{self, Reservation, Signal};
use crate::shard::{PartitionRead, ReadData, ReadItem, ReadRequest, Shard, WatchItem};
use crate::types::{LeaderEpoch, Micros, Offset, TopicId, Uuid};
use crate::wire::{AbortedV1, BatchesV1, FrameLimits, SubscribeV1};

/// The partitions of one subscription, how far each was sent, and what may still be sent.
pub struct Stream {
    id: u64,
    shard: Rc<Shard>,
    /// This stream's own number among the shard's connections: a watch is known by it.
    watcher: u64,
    isolation: Isolation,
    max_bytes: usize,
    /// The longest parts that the client takes.
    limits: FrameLimits,
    /// `None` once an error has taken the partition out.
    parts: Vec<Option<Part>>,
    live_count: usize,
    /// The part that is read first next time, so that a busy one does not starve the others.
    first: usize,
    credits: Rc<Credits>,
    watched: Vec<WatchItem>,
}

struct Part {
    topic_id: TopicId,
    partition: i32,
    leader_epoch: LeaderEpoch,
    /// The next offset to be sent.
    offset: Offset,
}

/// Bytes that a client lets come.
#[derive(Default)]
pub struct Credits {
    left: Cell<i64>,
    added: Signal,
}

/// Frames to be sent, and where the time went that they took.
pub struct Pushes {
    /// In order; one at least.
    pub frames: Vec<NativeFrame>,
    /// When the stream began to look for them.
    pub began: Micros,
    /// Its waiting for records and for credits, and its reads.
    pub stages: Stages,
}

/// A body is not longer than this, whatever the client allows: what one slow reader holds pinned.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Nor what is pushed at once while half of the memory for answers is taken, but for a single batch.
const SHORT_BYTES_MAX: usize = 64 << 10;
/// Waiting, the partitions are looked at this often though nothing was told of them.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Credits {
    /// Lets so many bytes more come.
    pub fn add(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.left.set(self.left.get().saturating_add(bytes));
        self.added.set();
    }

    fn spend(&self, bytes: usize) {
        self.left.set(self.left.get() - bytes as i64);
    }
}

impl Stream {
    /// A stream that has sent nothing.
    ///
    /// - `id`: its Subscribe's correlation number.
    pub(super) fn new(
        context: &Rc<NativeContext>,
        id: u64,
        request: &Archived<SubscribeV1>,
    ) -> Result<Stream, Refusal> {
        let isolation = isolation(request.isolation)?;
        let part = |row: &Archived<crate::wire::SubscribedV1>| {
            Some(Part {
                topic_id: Uuid(row.topic_id),
                partition: row.partition.to_native(),
                leader_epoch: LeaderEpoch(row.leader_epoch.to_native()),
                offset: Offset(row.offset.to_native()),
            })
        };
        let parts: Vec<_> = request.partitions.iter().map(part).collect();
        // A negative partition has no owner.
        if parts.is_empty() || parts.iter().flatten().any(|part| part.partition < 0) {
            let why = "a stream has one partition or more, and no negative ones".to_owned();
            return Err((ErrorCode::InvalidRequest, why));
        }
        let credits = Credits::default();
        credits.add(request.credit_bytes.to_native());
        Ok(Stream {
            id,
            shard: context.shard.clone(),
            watcher: context.shard.connection_number(),
            isolation,
            max_bytes: (request.max_bytes.to_native() as usize)
                .min(context.limits.body_bytes_max)
                .clamp(1, BODY_BYTES_MAX),
            limits: context.limits,
            live_count: parts.len(),
            parts,
            first: 0,
            credits: Rc::new(credits),
            watched: Vec::new(),
        })
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn credits(&self) -> &Rc<Credits> {
        &self.credits
    }

    /// How many partitions it was made for.
    pub fn parts_count(&self) -> usize {
        self.parts.len()
    }

    /// Waits for records and credits, and gives the frames to be sent, at least one.
    ///
    /// - `None`: errors have taken every partition out.
    pub async fn next(&mut self) -> Option<Pushes> {
        let shard = self.shard.clone();
        let began = shard.clock.now();
        let mut stages = Stages::default();
        while self.live_count > 0 {
            let left = self.credits.left.get();
            if left <= 0 {
                let since = shard.clock.now();
                self.credits.added.wait().await;
                stages.add(Stage::Wait, shard.clock.now().since(since));
                continue;
            }
            let mut memory = self.memory(left as usize, &mut stages).await;
            let order = self.order();
            let max_bytes = self.push_bytes(left as usize).min(memory.bytes());
            let request = self.request(&order, max_bytes);
            let reads = shard.read(request, &mut stages).await;
            memory.resize(reads.iter().map(|read| read.data.bytes()).sum());
            let seen = self.watch_items(&order, &reads);
            let mut frames = self.take(&order, reads);
            if let Some(last) = frames.pop() {
                frames.push(last.holding(memory));
                return Some(Pushes {
                    frames,
                    began,
                    stages,
                });
            }
            drop(memory);
            let since = shard.clock.now();
            self.wait(seen).await;
            stages.add(Stage::Wait, shard.clock.now().since(since));
        }
        None
    }

    /// How much is pushed at once: where memory is short, little, for nobody knows yet who takes it.
    fn push_bytes(&self, left: usize) -> usize {
        let most = match self.shard.answers.is_short(0) {
            true => SHORT_BYTES_MAX,
            false => BODY_BYTES_MAX,
        };
        self.max_bytes.min(left).min(most)
    }

    /// Memory for what is pushed next, which is waited for in turn. It is for a first batch at least.
    async fn memory(&self, left: usize, stages: &mut Stages) -> Reservation {
        let bytes = self.push_bytes(left);
        let Shard { answers, clock, .. } = &*self.shard;
        if let Some(memory) = answers.try_reserve(bytes) {
            return memory;
        }
        let since = clock.now();
        let memory = answers.reserve(bytes, since).await;
        stages.add(Stage::Wait, clock.now().since(since));
        memory.unwrap_or_else(|_| answers.take(0))
    }

    /// The places of the live parts, in the order in which they are read.
    fn order(&self) -> Vec<usize> {
        let (before, from) = self.parts.split_at(self.first.min(self.parts.len()));
        let from = from
            .iter()
            .enumerate()
            .map(|(i, part)| (before.len() + i, part));
        let all = from.chain(before.iter().enumerate());
        all.filter(|(_, part)| part.is_some())
            .map(|(place, _)| place)
            .collect()
    }

    fn part(&self, place: usize) -> &Part {
        self.parts[place]
            .as_ref()
            .expect("the order holds live parts only")
    }

    fn request(&self, order: &[usize], max_bytes: usize) -> ReadRequest {
        let items = (0..).zip(order).map(|(index, place)| {
            let part = self.part(*place);
            ReadItem {
                index,
                topic_id: part.topic_id,
                partition: part.partition,
                offset: part.offset,
                current_epoch: part.leader_epoch,
                last_fetched_epoch: LeaderEpoch::NONE,
                max_bytes,
            }
        });
        ReadRequest {
            items: items.collect(),
            isolation: self.isolation,
            max_bytes,
            at_least_one: true,
        }
    }

    fn watch_items(&self, order: &[usize], reads: &[PartitionRead]) -> Vec<WatchItem> {
        let items = reads.iter().map(|read| {
            let part = self.part(order[read.index as usize]);
            WatchItem {
                topic_id: part.topic_id,
                partition: part.partition,
                isolation: self.isolation,
                seen: match self.isolation {
                    Isolation::ReadCommitted => read.last_stable_offset,
                    _ => read.high_watermark,
                },
            }
        });
        items.collect()
    }

    /// The frames that the reads come to.
    fn take(&mut self, order: &[usize], reads: Vec<PartitionRead>) -> Vec<NativeFrame> {
        let mut pushes = Vec::new();
        for read in reads {
            let place = order[read.index as usize];
            if read.error != ErrorCode::None {
                pushes.push(self.take_out(place, read));
                continue;
            }
            // A batch that the limit has cut comes with the next read.
            let Some((bytes, next)) = read.data.whole_batches() else {
                continue;
            };
            if !self.is_taken(bytes, read.aborted.len()) {
                let error = ErrorCode::MessageTooLarge;
                pushes.push(self.take_out(place, PartitionRead { error, ..read }));
                continue;
            }
            if pushes.is_empty() {
                self.first = place + 1;
            }
            self.parts[place].as_mut().expect("it was read").offset = next;
            self.credits.spend(bytes);
            self.shard.metrics.fetch_bytes_out.add(bytes as u64);
            pushes.push(self.frame(place, read, bytes));
        }
        pushes
    }

    /// Whether the client takes such a frame. A read keeps to it but for a single batch, which cannot come in pieces.
    fn is_taken(&self, bytes: usize, aborted_count: usize) -> bool {
        let row_bytes = size_of::<Archived<AbortedV1>>();
        let control_bytes = size_of::<Archived<BatchesV1>>() + aborted_count * row_bytes;
        bytes <= self.limits.body_bytes_max && control_bytes <= self.limits.control_bytes_max
    }

    /// The frame that says why there will be no more of a partition.
    fn take_out(&mut self, place: usize, read: PartitionRead) -> NativeFrame {
        self.parts[place] = None;
        self.live_count -= 1;
        let read = PartitionRead {
            aborted: Vec::new(),
            data: ReadData::Empty,
            ..read
        };
        self.frame(place, read, 0)
    }

    fn frame(&self, place: usize, read: PartitionRead, bytes: usize) -> NativeFrame {
        let aborted = read.aborted.iter().map(|aborted| AbortedV1 {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
        });
        let control = BatchesV1 {
            index: place as u32,
            error: read.error.code(),
            high_watermark: read.high_watermark.0,
            last_stable_offset: read.last_stable_offset.0,
            log_start: read.log_start.0,
            aborted: aborted.collect(),
        };
        NativeFrame::with_data(self.id, &control, read.data, bytes)
    }

    /// Waits until one of the partitions may have more than was seen of it.
    async fn wait(&mut self, mut seen: Vec<WatchItem>) {
        let place = |item: &WatchItem| (item.topic_id, item.partition);
        // The order of reading turns; what is watched stays the same but for parts that leave.
        seen.sort_unstable_by_key(place);
        if !self.watched.iter().map(place).eq(seen.iter().map(place)) {
            self.shard.unwatch(self.watcher, &self.watched);
        }
        self.watched = seen;
        let woken = self.shard.watch(self.watcher, 1, &self.watched);
        let told = async {
            let _ = woken.await;
        };
        or(told, rt::sleep(LOOK_EVERY)).await;
        self.shard.park_ended(self.watcher);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.watched.is_empty() {
            self.shard.unwatch(self.watcher, &self.watched);
        }
    }
}
