//! One partition's log: its state, appending, and what is answered without touching a file.

use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use smallvec::SmallVec;

use super::checkpoint::NotedProducers;
use super::compact::Compaction;
use super::epochs::Epochs;
use super::error::AppendError;
use super::gate::Gate;
use super::index::relative;
use super::journal::JOURNAL_FILES;
use super::placement::Seat;
use super::recover::Listing;
use super::segment::{Incoming, Segment};
use super::shared::Shared;
use crate::record::{BATCH_HEADER_BYTES, CheckedBatch, TimestampType, stamp, stamp_max_timestamp};
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId, TopicPartition};

/// See [`State::journaled`].
pub(super) const NOT_JOURNALED: Offset = Offset(-1);

/// A log's number in its store: a slot, used again after a deletion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogId(pub u32);

/// What the broker writes into the copy that it keeps of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamps {
    /// The first record's offset.
    pub base_offset: Offset,
    /// The leader's epoch (KIP-101).
    pub epoch: LeaderEpoch,
    /// The timestamp type and largest timestamp, if not those that the batch came with; the CRC is computed anew.
    pub restamp: Option<(TimestampType, Timestamp)>,
}

/// What of a topic's configuration the log needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: segments roll earlier by up to so much, each by its own part of it.
    pub segment_jitter_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`.
    pub index_bytes: u32,
    /// `preallocate`: a segment's whole space is taken when it is created, and not step by step.
    pub preallocate: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            file_delete_delay_ms: 60_000,
            index_interval_bytes: 4096,
            index_bytes: 10 << 20,
            preallocate: false,
        }
    }
}

impl LogConfig {
    /// With the jitter of one segment taken off `segment_ms`: by its place, so that partitions that are written alike roll
    /// one by one, and a segment's time is the same whenever it is asked for.
    fn jittered(&self, log: &str, base: Offset) -> LogConfig {
        let bound = self.segment_jitter_ms.min(self.segment_ms);
        if bound <= 0 {
            return *self;
        }
        let mut hasher = DefaultHasher::new();
        (log, base.0).hash(&mut hasher);
        LogConfig {
            segment_ms: self.segment_ms - (hasher.finish() % bound as u64) as i64,
            ..*self
        }
    }
}

/// One partition's log. Appends are synchronous and in memory; [`super::Store::commit`] makes them durable.
pub struct Log {
    pub(super) id: LogId,
    pub(super) shared: Rc<Shared>,
    /// Which of the store's directories; changes when the log is moved.
    pub(super) seat: Seat,
    pub(super) topic_id: TopicId,
    pub(super) name: String,
    pub(super) partition: TopicPartition,
    pub(super) state: RefCell<State>,
    /// Held by whoever writes, cuts or removes the log's files: one at a time.
    pub(super) gate: Gate,
    /// It is on its way to another directory, and not compacted meanwhile.
    pub(super) is_moving: Cell<bool>,
}

pub(super) struct State {
    pub start: Offset,
    pub end: Offset,
    /// All below is on stable storage.
    pub durable: Offset,
    /// Where the durable end lies; `None` in a log that has no segment.
    pub durable_at: Option<Mark>,
    /// Where the durable end lies if the journal is counted too: the next run begins there.
    pub durable_pos: Option<Mark>,
    /// The end of what each journal file holds and the segments do not; [`NOT_JOURNALED`] is nothing.
    pub journaled: [Offset; JOURNAL_FILES],
    /// The segment and the position in it where the last life's records end: what lies behind was appended in this one.
    pub inherited: (Offset, u32),
    /// The journal was given something of this log since it was last reset.
    pub in_journal: bool,
    /// Largest timestamp of that segment up to there, and the last offset of its batch.
    pub durable_max: (i64, Offset),
    /// A segment that recovery found to end here, and whose file may hold other bytes behind: they are cut off before
    /// anything of this life is written.
    pub uncut: Option<(Offset, u32)>,
    /// Recovery found less than the checkpoint promised, which must be written anew before anything is appended.
    pub broken_promise: bool,
    /// All below is durable in its segment, and the directory's checkpoint may say so.
    pub recovery_point: Offset,
    /// In order of their bases; empty until the first append.
    pub segments: VecDeque<Segment>,
    pub epochs: Epochs,
    /// The epochs changed since `leader-epoch-checkpoint` was written.
    pub epochs_dirty: bool,
    pub config: LogConfig,
    pub stage: Stage,
    /// All that the files hold beyond the checkpoint has been looked at.
    pub scanned: bool,
    pub listing: Option<Box<Listing>>,
    /// Offset of the snapshot that whoever recovers began with.
    pub replay_from: Option<Offset>,
    /// In the store's list of dirty logs.
    pub dirty: bool,
    /// Changed since the last checkpoint.
    pub changed: bool,
    /// Bytes of a usual commit, to size extents by.
    pub run_bytes: usize,
    /// Counts truncations: what was looked up before one is looked up again after it.
    pub generation: u32,
    /// Where lookups that will come again found their batch.
    pub marks: Marks,
    pub compaction: Compaction,
    /// Where files of the producers' state were taken, oldest first.
    pub snapshots: SmallVec<[Offset; 2]>,
    /// What the next checkpoint says of the producers.
    pub producers: Option<NotedProducers>,
    /// Bytes from the newest of these two on: what a recovery has to read for the producers' state.
    pub untold_bytes: u64,
    /// The current directory; changes when the log is moved.
    pub path: PathBuf,
}

/// How far a log is through its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Opened; its end is what the checkpoint says, and may be short of what is there.
    Unrecovered,
    Open,
    Deleted,
}

/// A batch boundary: `offset` is the first of the batch at `position` of the segment `base`, or the log's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub offset: Offset,
    pub base: Offset,
    pub position: u32,
}

/// The last few boundaries, newest first.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Marks([Option<Mark>; 4]);

impl Marks {
    pub fn find(&self, offset: Offset) -> Option<Mark> {
        self.0
            .iter()
            .flatten()
            .find(|m| m.offset == offset)
            .copied()
    }

    pub fn note(&mut self, mark: Mark) {
        if self.find(mark.offset).is_none() {
            self.0.rotate_right(1);
            self.0[0] = Some(mark);
        }
    }

    pub fn clear(&mut self) {
        self.0 = [None; 4];
    }
}

/// One segment, for those who count files and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    pub base: Offset,
    pub size: u64,
    /// The largest timestamp; where no record carries one, when it was last appended to, or at latest.
    pub newest: Timestamp,
}

impl State {
    /// The segment that holds `offset`: the last whose base is not above it.
    pub fn segment_of(&self, offset: Offset) -> Option<usize> {
        self.segments
            .partition_point(|s| s.base <= offset)
            .checked_sub(1)
    }

    /// A timestamp of the segment of this number, or where its records carry none (−1), when it was last appended to by the
    /// wall clock, as Kafka goes by its file's time.
    pub fn or_written(&self, stamped: i64, number: usize) -> i64 {
        match (stamped, self.segments.get(number + 1)) {
            (0.., _) => stamped,
            // It was written until that was begun.
            (_, Some(next)) => next.created,
            (_, None) => self.segments[number].appended,
        }
    }

    pub fn segment_at(&self, base: Offset) -> Option<&Segment> {
        let i = self.segment_of(base)?;
        self.segments.get(i).filter(|s| s.base == base)
    }

    pub fn segment_at_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let i = self.segment_of(base)?;
        self.segments.get_mut(i).filter(|s| s.base == base)
    }

    /// All of the log is durable as it is.
    pub fn note_durable_end(&mut self) {
        self.durable_at = self.end_mark();
        self.durable_pos = self.durable_at;
        if let Some(last) = self.segments.back() {
            self.durable_max = (last.max_timestamp, last.max_timestamp_offset);
        }
    }

    /// The newest offset up to which the producers' state is noted, or about to be.
    pub fn told_of_producers(&self) -> Offset {
        let noted = self.producers.as_ref().map(|noted| noted.offset);
        let filed = self.snapshots.last().copied();
        noted.max(filed).unwrap_or(Offset::ZERO)
    }

    /// The boundary at the log's end.
    pub fn end_mark(&self) -> Option<Mark> {
        let last = self.segments.back()?;
        Some(Mark {
            offset: self.end,
            base: last.base,
            position: last.size,
        })
    }
}

impl Log {
    /// Appends one checked batch: readable at once up to the end offset, durable only after [`super::Store::commit`].
    ///
    /// - `base_offset`: the first record's offset, at or above [`Log::end_offset`]; panics below it.
    /// - `epoch`: the leader's, stamped into the batch (KIP-101); `now`: the wall clock, for rolling by age.
    /// - One copy of the bytes, into aligned memory that is written and served from; stamped there, also with what
    ///   [`CheckedBatch::restamp`] asks.
    /// - `Err(Full)`, `Err(Offline)`: nothing was kept.
    pub fn append(
        &self,
        batch: &CheckedBatch,
        base_offset: Offset,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let stamps = Stamps {
            base_offset,
            epoch,
            restamp: batch.restamp(),
        };
        self.append_stamped(batch, stamps, now)
    }

    /// [`Log::append`] with other stamps than the check asked for: log append time.
    pub fn append_stamped(
        &self,
        batch: &CheckedBatch,
        stamps: Stamps,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let base_offset = stamps.base_offset;
        let max_timestamp = stamps.restamp.map_or(batch.max_timestamp(), |(_, max)| max);
        let (bytes, last_offset_delta) = (batch.bytes(), batch.last_offset_delta());
        self.shared.dirs[self.dir()].check_append()?;
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        match state.stage {
            Stage::Open => {}
            Stage::Deleted => return Err(AppendError::Offline),
            Stage::Unrecovered => panic!("{} takes appends only after recovery", self.partition),
        }
        assert!(
            base_offset >= state.end,
            "append at {base_offset} in a log that ends at {}",
            state.end
        );
        let incoming = Incoming {
            last_offset: base_offset.plus(last_offset_delta as i64),
            max_timestamp: max_timestamp.0,
            size: bytes.len() as u32,
        };
        self.roll_if_due(state, &incoming, now);
        let segment = state.segments.back_mut().expect("rolling made one");
        let position = segment.size;
        let taken = put_stamped(segment, bytes, state.run_bytes, &stamps);
        segment.note(&incoming, position, state.config.index_interval_bytes);
        segment.appended = now.0;
        state.end = incoming.last_offset.plus(1);
        state.epochs_dirty |= state.epochs.assign(stamps.epoch, base_offset);
        state.changed = true;
        state.untold_bytes += bytes.len() as u64;
        let newly_dirty = !std::mem::replace(&mut state.dirty, true);
        drop(guard);
        self.shared.tail_grew(taken);
        self.shared.appended(self.id, bytes.len(), newly_dirty);
        Ok(())
    }

    fn roll_if_due(&self, state: &mut State, incoming: &Incoming, now: Timestamp) {
        let due = match state.segments.back() {
            None => true,
            Some(active) => {
                let config = state.config.jittered(&self.name, active.base);
                active.must_roll(incoming, &config, now)
            }
        };
        if due {
            self.roll_now(state, now);
        }
    }

    /// Begins a new segment with the next append, unless the active one is empty.
    pub fn roll(&self, now: Timestamp) {
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Open && state.segments.back().is_some_and(|s| s.size > 0) {
            self.roll_now(&mut state, now);
        }
    }

    /// The old segment's file is finished after the commit that writes its last bytes. The new one is named after
    /// the log's end, also where its first batch begins later: recovery knows by it that nothing is missing between.
    fn roll_now(&self, state: &mut State, now: Timestamp) {
        if let Some(active) = state.segments.back_mut() {
            if active.size == 0 && !active.exists {
                state.segments.pop_back();
            } else {
                active.note_time();
                self.shared
                    .stats
                    .rolls
                    .set(self.shared.stats.rolls.get() + 1);
            }
        }
        state.segments.push_back(Segment::new(state.end, now));
        state.changed = true;
    }

    /// This log's number in its store.
    pub fn id(&self) -> LogId {
        self.id
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The name of its directory: `topic-partition`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The number of the store's directory that it lies in.
    pub(super) fn dir(&self) -> usize {
        self.seat.dir()
    }

    /// The log directory that it lies in.
    pub fn directory(&self) -> &Path {
        &self.shared.dirs[self.dir()].path
    }

    /// Whether an append would be taken now, as far as the disk is concerned.
    ///
    /// - `Err(Full)`, `Err(Offline)`: it would not.
    pub fn check_append(&self) -> Result<(), AppendError> {
        self.shared.dirs[self.dir()].check_append()
    }

    /// Whether its directory failed.
    pub fn is_offline(&self) -> bool {
        self.shared.dirs[self.dir()].is_offline()
    }

    /// The lowest offset that may be read.
    pub fn start_offset(&self) -> Offset {
        self.state().start
    }

    /// The offset that the next batch gets.
    pub fn end_offset(&self) -> Offset {
        self.state().end
    }

    /// Bytes of memory that its segments, their indexes and what is noted of producers take, without batches.
    pub fn index_memory_bytes(&self) -> usize {
        let state = self.state();
        let noted = state
            .producers
            .as_ref()
            .map_or(0, |noted| noted.state.len());
        let segments = state.segments.iter().map(Segment::index_memory_bytes);
        noted + segments.sum::<usize>()
    }

    /// All below is on stable storage.
    pub fn durable_end(&self) -> Offset {
        self.state().durable
    }

    /// Bytes of batches.
    pub fn size(&self) -> u64 {
        self.state().segments.iter().map(|s| s.size as u64).sum()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.state();
        let info = |(number, s): (usize, &Segment)| SegmentInfo {
            base: s.base,
            size: s.size as u64,
            newest: Timestamp(state.or_written(s.max_timestamp, number)),
        };
        state.segments.iter().enumerate().map(info).collect()
    }

    /// A time that the batch at `offset` is not from after, by what is in memory: the largest timestamp up to the next entry of
    /// its segment's time index, else of the segment, else, where records carry none, when it was last appended to.
    ///
    /// `None`: the log holds nothing there.
    pub fn not_after(&self, offset: Offset) -> Option<Timestamp> {
        let state = self.state();
        let number = state.segment_of(offset).filter(|_| offset < state.end)?;
        let segment = &state.segments[number];
        let known = relative(segment.base, offset).and_then(|relative| {
            // Entries rise, so each is as late as anything before it, wherever the part in memory begins.
            let times = &segment.index.times;
            let next = times.partition_point(|entry| entry.relative < relative);
            times.get(next).map(|entry| entry.timestamp)
        });
        let stamped = known.unwrap_or(segment.max_timestamp);
        Some(Timestamp(state.or_written(stamped, number)))
    }

    pub fn config(&self) -> LogConfig {
        self.state().config
    }

    /// In force from the next append.
    pub fn set_config(&self, config: LogConfig) {
        self.state.borrow_mut().config = config;
    }

    /// Where `epoch` ends, as Kafka's OffsetForLeaderEpoch answers; `(-1, -1)` if unknown (KIP-101, KIP-320).
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let state = self.state();
        state.epochs.end_of(epoch, state.end)
    }

    /// The newest leader epoch that a batch here carries.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.state().epochs.latest()
    }

    /// The leader epoch that wrote `offset`, if the log knows.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let state = self.state();
        let entries = state.epochs.entries();
        let after = entries.partition_point(|e| e.1 <= offset);
        entries.get(after.checked_sub(1)?).map(|e| e.0)
    }

    pub(super) fn state(&self) -> Ref<'_, State> {
        self.state.borrow()
    }
}

/// Copies a batch to the segment's end and stamps it there. Returns the bytes of memory newly taken.
fn put_stamped(segment: &mut Segment, bytes: &[u8], run_bytes: usize, stamps: &Stamps) -> usize {
    let position = segment.size;
    // What waits in memory for its segment leaves in few large writes: its extents grow with it.
    let waiting = (segment.size - segment.written) as usize;
    let wanted = run_bytes.max(bytes.len()).max(waiting);
    let taken = segment.extents.make_room(position, wanted);
    if let Some(copy) = segment.extents.put_whole(bytes) {
        stamps.write(copy);
        return taken;
    }
    // The batch lies across two extents, and so may its header.
    if stamps.restamp.is_some() {
        let mut copy = bytes.to_vec();
        stamps.write(&mut copy);
        return taken + segment.extents.put(position, &copy, wanted);
    }
    let (head, rest) = bytes.split_at(BATCH_HEADER_BYTES);
    let mut stamped = [0; BATCH_HEADER_BYTES];
    stamped.copy_from_slice(head);
    stamps.write(&mut stamped);
    taken
        + segment.extents.put(position, &stamped, wanted)
        + segment
            .extents
            .put(position + BATCH_HEADER_BYTES as u32, rest, run_bytes)
}

impl Stamps {
    /// `batch`: the whole batch; its header is enough where nothing is restamped.
    fn write(&self, batch: &mut [u8]) {
        stamp(batch, self.base_offset, self.epoch);
        if let Some((kind, max)) = self.restamp {
            stamp_max_timestamp(batch, kind, max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_takes_a_part_of_its_own_off_each_segments_time() {
        let config = LogConfig {
            segment_ms: 1000,
            segment_jitter_ms: 300,
            ..LogConfig::default()
        };
        let ms = |config: &LogConfig, log, base| config.jittered(log, Offset(base)).segment_ms;
        let times: Vec<i64> = (0..50).map(|base| ms(&config, "t-0", base)).collect();
        assert!(
            times.iter().all(|ms| (701..=1000).contains(ms)),
            "{times:?}"
        );
        assert!(times.iter().max() > times.iter().min().map(|min| min + 150).as_ref());
        assert_ne!(
            (0..50)
                .map(|base| ms(&config, "t-1", base))
                .collect::<Vec<_>>(),
            times,
            "partitions roll at different times"
        );
        assert_eq!(ms(&config, "t-0", 7), times[7], "and always the same");
        let whole = LogConfig {
            segment_jitter_ms: 5000,
            ..config
        };
        assert!((0..50).all(|base| (1..=1000).contains(&ms(&whole, "t-0", base))));
        let none = LogConfig {
            segment_jitter_ms: 0,
            ..config
        };
        assert_eq!(ms(&none, "t-0", 7), 1000);
    }
}
