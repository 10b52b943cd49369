//! One compaction of one log: keys are gathered, then group by group is read, sifted, written and swapped in.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::super::error::{ReadError, StorageError};
use super::super::lanes::{IoClass, Turn};
use super::super::log::{Log, LogConfig, Stage};
use super::super::names::FileKind;
use super::super::segment::{Incoming, Segment};
use super::super::shared::Shared;
use super::super::window::Window;
use super::filter::{IsProducersLast, Keys, Sieve, Sifted};
use super::key_map::KeyMap;
use super::plan::{CompactConfig, Dirty, Source, View, dirty, groups};
use super::transactions::WalkedTransactions;
use crate::record::{BatchHeader, EndMarker, Limits, check_slice};
use crate::rt::{self, Buffer, Disk, File, Open, block_floor};
use crate::types::{Micros, Offset, Timestamp};

/// On what terms a log is compacted.
#[derive(Clone, Copy, Debug)]
pub struct CompactTerms {
    pub config: CompactConfig,
    /// Memory for the keys, in bytes.
    pub map_bytes: usize,
    /// Bytes read and written in a second, at most.
    pub bytes_per_second: f64,
    /// The wall clock, which tombstones are held against.
    pub now: Timestamp,
}

/// What a compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Compacted {
    /// All below is clean now; short of what was dirty where the keys did not fit.
    pub end: Offset,
    pub keys: usize,
    pub read_bytes: u64,
    pub written_bytes: u64,
    /// Of the segments that were swapped out, and of those that were swapped in.
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub segments_before: usize,
    pub segments_after: usize,
    /// Records without a key, which were dropped.
    pub keyless: u64,
}

/// Why a compaction ended early. What was swapped in by then stays.
#[derive(Debug)]
pub enum CompactError {
    /// The log was cut, deleted or set on its way meanwhile, or the store closes.
    Interrupted,
    /// A batch is not what was appended: the log is left as it is.
    Corrupt {
        segment: Offset,
        why: String,
    },
    Storage(StorageError),
}

/// Bytes of the new segment that are written at once.
const WRITE_BYTES: usize = 1 << 20;
/// The longest sleep between two looks at whether the store closes.
const NAP: Duration = Duration::from_millis(100);
/// Between two steps that take long and wait for no device: as little as makes the shard look at its rings.
const BREATH: Duration = Duration::from_micros(50);

/// The part of the store's time and bandwidth that a compaction may use.
struct Pace {
    shared: Rc<Shared>,
    bytes_per_second: f64,
    started: Micros,
    bytes: u64,
}

/// The batches of a segment, one after the other.
struct Batches<'a> {
    log: &'a Log,
    source: &'a Source,
    file: Rc<File>,
    window: Window,
    position: u32,
}

/// The segment being written.
pub(super) struct Output {
    pub file: File,
    pub segment: Segment,
    /// What comes after the blocks that are in the file.
    rest: Vec<u8>,
    /// Something differs from the sources.
    pub differs: bool,
}

impl Log {
    /// How dirty the log is, of which everything below `stable_end` is decided; `None` before recovery, after deletion,
    /// while its directory is offline and while it moves to another.
    pub fn dirty(
        &self,
        stable_end: Offset,
        config: &CompactConfig,
        now: Timestamp,
    ) -> Option<Dirty> {
        let state = self.state();
        if state.stage != Stage::Open || self.is_offline() || self.is_moving.get() {
            return None;
        }
        Some(dirty(&View::of(&state), stable_end, config, now))
    }

    /// Up to where the log is clean; `None` if it was never compacted.
    pub fn first_dirty(&self) -> Option<Offset> {
        self.state().compaction.first_dirty
    }

    /// Compacts what `dirty` says, as [`Log::dirty`] said it just before. One compaction of a store at a time; it goes on
    /// while the log is appended to and read, and ends soon when the store closes.
    ///
    /// - `is_producers_last`: whether a batch holds the last sequence or epoch that its partition knows of a producer.
    /// - What was swapped in is durable, whatever else is answered.
    pub async fn compact(
        &self,
        dirty: &Dirty,
        terms: &CompactTerms,
        is_producers_last: &dyn Fn(&BatchHeader) -> bool,
    ) -> Result<Compacted, CompactError> {
        let start = self.state().start;
        match self.compact_now(dirty, terms, is_producers_last).await {
            // What was cut or removed under the walk only looks corrupt.
            Err(CompactError::Corrupt { segment, .. })
                if self.state().segment_at(segment).is_none() || self.state().start != start =>
            {
                Err(CompactError::Interrupted)
            }
            outcome => outcome,
        }
    }

    async fn compact_now(
        &self,
        dirty: &Dirty,
        terms: &CompactTerms,
        is_producers_last: IsProducersLast<'_>,
    ) -> Result<Compacted, CompactError> {
        let _alone = self.shared.compact_gate.enter().await;
        // A move may have begun while this waited.
        if self.shared.closing.get() || self.is_moving.get() {
            return Err(CompactError::Interrupted);
        }
        let mut pace = Pace {
            shared: self.shared.clone(),
            bytes_per_second: terms.bytes_per_second,
            started: self.shared.clock.now(),
            bytes: 0,
        };
        // Or all keys would be read for nothing.
        let room = self.shared.check_spare_room(self.dir(), WRITE_BYTES as u64);
        room.await?;
        self.tell_swaps(dirty.until).await?;
        let sources = self.sources(dirty.until)?;
        let mut done = Compacted::default();
        let keys = self
            .gather_keys(dirty, &sources, terms.map_bytes, &mut pace)
            .await?;
        done.keys = keys.map.count();
        let mut sieve = Sieve {
            keys: &keys,
            transactions: WalkedTransactions::default(),
            is_producers_last,
            now: terms.now,
            delete_retention_ms: terms.config.delete_retention_ms,
            aborted: Vec::new(),
            keyless: 0,
        };
        let mut sources = sources;
        sources.retain(|s| s.base < keys.end && !self.has_given_up(s));
        let config = self.config();
        let mut generation = self.state().generation;
        for group in groups(&sources, &config) {
            let mut group = &sources[group];
            loop {
                let given_up = group.partition_point(|s| self.has_given_up(s));
                group = &group[given_up..];
                let Some(first) = group.first() else { break };
                let swapped = self
                    .rewrite(group, &config, &mut sieve, generation, &mut pace, &mut done)
                    .await;
                match swapped {
                    Ok(swapped) => {
                        generation = swapped.unwrap_or(generation);
                        break;
                    }
                    // The log begins behind it now: nothing that was met before counts for what is left.
                    Err(_) if self.has_given_up(first) => {
                        sieve.transactions = WalkedTransactions::default();
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        done.keyless = sieve.keyless;
        done.end = keys.end;
        self.state.borrow_mut().compaction.first_dirty = Some(keys.end);
        Ok(done)
    }

    /// The segments below `until`.
    fn sources(&self, until: Offset) -> Result<Vec<Source>, CompactError> {
        let state = self.state();
        let view = View::of(&state);
        if state.stage != Stage::Open || until > view.settled.min(view.active) {
            return Err(CompactError::Interrupted);
        }
        let below = view.rolled.into_iter().take_while(|s| s.end <= until);
        Ok(below.collect())
    }

    /// Whether retention has taken a segment since it was looked at, and all before it: a round goes on with the others.
    fn has_given_up(&self, source: &Source) -> bool {
        let state = self.state();
        let first = state.segments.front();
        state.stage == Stage::Open && first.is_some_and(|first| first.base > source.base)
    }

    /// Puts the keys of the dirty part into a map, as far as it holds them.
    async fn gather_keys(
        &self,
        dirty: &Dirty,
        sources: &[Source],
        map_bytes: usize,
        pace: &mut Pace,
    ) -> Result<Keys, CompactError> {
        let offsets = dirty.until.0.saturating_sub(dirty.first.0).max(0) as u64;
        let mut map = KeyMap::new(offsets, map_bytes);
        for place in map.places() {
            map.touch(place);
            pace.step_back().await;
        }
        let mut keys = Keys {
            map,
            end: dirty.until.max(dirty.first),
        };
        let mut transactions = WalkedTransactions::default();
        for source in sources.iter().filter(|s| s.end > dirty.first) {
            let gathered = self
                .gather_segment(source, dirty.first, &mut keys, &mut transactions, pace)
                .await;
            match gathered {
                Ok(true) => {}
                Ok(false) => break,
                // Its keys are void, and so are transactions that were met only in part.
                Err(_) if self.has_given_up(source) => {
                    transactions = WalkedTransactions::default();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// Puts the keys of one segment, from `first` on, into the map. `false`: it is full.
    async fn gather_segment(
        &self,
        source: &Source,
        first: Offset,
        keys: &mut Keys,
        transactions: &mut WalkedTransactions,
        pace: &mut Pace,
    ) -> Result<bool, CompactError> {
        let from = first.max(source.base);
        transactions.expect(self.aborted_in(from, source.end).await?);
        let mut batches = self.batches(source).await?;
        while let Some(bytes) = batches.next(pace).await? {
            let codecs = &mut *self.shared.codecs.borrow_mut();
            let header = *BatchHeader::view(bytes).expect("checked");
            if header.last_offset() < first {
                continue;
            }
            if header.is_control() {
                transactions.on_control(&header, EndMarker::of(bytes, codecs));
            } else if !transactions.on_batch(&header) {
                let noted = keys.note(bytes, first, codecs);
                if !noted.map_err(|e| corrupt(source, &e))? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Writes what is left of a group of segments and swaps it in. Returns the log's generation after that; `None`: all of
    /// it is left, and nothing was swapped.
    async fn rewrite(
        &self,
        group: &[Source],
        config: &LogConfig,
        sieve: &mut Sieve<'_>,
        generation: u32,
        pace: &mut Pace,
        done: &mut Compacted,
    ) -> Result<Option<u32>, CompactError> {
        let end = group.last().expect("a group has a segment").end;
        let mut output = self.create_output(&group[0]).await?;
        output.differs = group.len() > 1;
        let written = self
            .sift_group(group, end, config, sieve, pace, &mut output)
            .await;
        let read = group.iter().map(|s| s.size as u64).sum::<u64>();
        done.read_bytes += read;
        done.written_bytes += output.segment.size as u64;
        let aborted = std::mem::take(&mut sieve.aborted);
        let outcome = match written {
            Err(error) => Err(error),
            Ok(()) if !output.differs => Ok(None),
            Ok(()) => {
                let after = output.segment.size as u64;
                let swapped = self.swap_in(group, output, &aborted, generation).await;
                if swapped.is_ok() {
                    done.bytes_before += read;
                    done.bytes_after += after;
                    done.segments_before += group.len();
                    done.segments_after += 1;
                }
                return swapped.map(Some);
            }
        };
        self.discard_output(group[0].base).await;
        outcome
    }

    async fn sift_group(
        &self,
        group: &[Source],
        end: Offset,
        config: &LogConfig,
        sieve: &mut Sieve<'_>,
        pace: &mut Pace,
        output: &mut Output,
    ) -> Result<(), CompactError> {
        for source in group {
            let aborted = self.aborted_in(source.base, source.end).await?;
            sieve.transactions.expect(aborted);
            let mut batches = self.batches(source).await?;
            while let Some(bytes) = batches.next(pace).await? {
                let sifted = sieve.sift(bytes, end, &mut self.shared.codecs.borrow_mut());
                let kept = match sifted.map_err(|e| corrupt(source, &e))? {
                    Sifted::Same => output.put(bytes, config),
                    Sifted::Other(batch) => {
                        output.differs = true;
                        output.put(&batch, config)
                    }
                    Sifted::Nothing => {
                        output.differs = true;
                        continue;
                    }
                };
                pace.spend(kept).await?;
                if output.rest.len() >= WRITE_BYTES {
                    let whole = block_floor(output.rest.len() as u64) as usize;
                    self.write_output(output, whole).await?;
                }
            }
        }
        if output.differs {
            self.finish_output(output).await?;
        }
        Ok(())
    }

    async fn aborted_in(
        &self,
        from: Offset,
        end: Offset,
    ) -> Result<Vec<super::super::AbortedTransaction>, CompactError> {
        let found = self.aborted_transactions(from, end).await;
        found.map_err(|error| match error {
            ReadError::Corrupt { why, .. } => CompactError::Corrupt {
                segment: from,
                why: why.to_owned(),
            },
            ReadError::Offline | ReadError::OutOfRange { .. } => CompactError::Interrupted,
        })
    }

    async fn batches<'a>(&'a self, source: &'a Source) -> Result<Batches<'a>, CompactError> {
        let file = match self.shared.file(self, source.base, false).await {
            Ok(file) => file,
            Err(StorageError::Offline) => return Err(CompactError::Interrupted),
            Err(error) => return Err(CompactError::Storage(error)),
        };
        Ok(Batches {
            log: self,
            source,
            file,
            window: Window::default(),
            position: 0,
        })
    }

    /// Waits until the device may be given one more read or write of a compaction.
    async fn compaction_turn(&self) -> Turn<'_> {
        let lanes = &self.shared.dirs[self.dir()].lanes;
        lanes.turn(IoClass::Compaction).await
    }

    async fn create_output(&self, first: &Source) -> Result<Output, CompactError> {
        let path = FileKind::Cleaned.path(&self.state().path, first.base);
        let file = self.shared.disk.open(&path, Open::CREATE).await;
        Ok(Output {
            file: file.map_err(|error| self.output_failed(&path, error))?,
            segment: Segment::new(first.base, Timestamp(first.created)),
            rest: Vec::new(),
            differs: false,
        })
    }

    /// Writes the first `count` bytes that are not in the file yet.
    async fn write_output(&self, output: &mut Output, count: usize) -> Result<(), CompactError> {
        let page = Buffer::copy_of(&output.rest[..count]).freeze();
        let position = output.segment.size as u64 - output.rest.len() as u64;
        let room = self
            .shared
            .take_spare_room(self.dir(), output.file.path(), page.len() as u64);
        room.await?;
        let turn = self.compaction_turn().await;
        let written = output.file.write(page, position).await;
        drop(turn);
        written.map_err(|error| self.output_failed(output.file.path(), error))?;
        output.rest.drain(..count);
        Ok(())
    }

    /// Makes the new segment durable, and exactly as long as its batches are.
    async fn finish_output(&self, output: &mut Output) -> Result<(), CompactError> {
        if !output.rest.is_empty() {
            self.write_output(output, output.rest.len()).await?;
        }
        output.segment.note_time();
        let (file, size) = (&output.file, output.segment.size);
        let failed = |error| self.output_failed(file.path(), error);
        file.truncate(size as u64).await.map_err(failed)?;
        let turn = self.compaction_turn().await;
        file.datasync().await.map_err(failed)?;
        drop(turn);
        output.segment.written = size;
        output.segment.allocated = size;
        output.segment.exists = true;
        output.segment.finished = true;
        Ok(())
    }

    async fn discard_output(&self, base: Offset) {
        let path = FileKind::Cleaned.path(&self.state().path, base);
        // What stays is thrown away at the next start, and written over by the next round.
        let _ = self.shared.disk.remove(&path).await;
    }

    /// Want of space only ends the round: appends find out for themselves, and go on if they need less.
    pub(super) fn output_failed(
        &self,
        path: &std::path::Path,
        error: std::io::Error,
    ) -> CompactError {
        if self.state().stage == Stage::Deleted {
            return CompactError::Interrupted;
        }
        self.shared.failed_beside(self.dir(), path, error).into()
    }
}

impl Batches<'_> {
    /// The next one, checked.
    async fn next(&mut self, pace: &mut Pace) -> Result<Option<&[u8]>, CompactError> {
        let (log, source, at) = (self.log, self.source, u64::from(self.position));
        if self.position >= source.size {
            return Ok(None);
        }
        let turn = match self.window.has_batch(at) {
            true => None,
            false => Some(log.compaction_turn().await),
        };
        let read = self
            .window
            .batch(&self.file, at, u64::from(source.size))
            .await;
        drop(turn);
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(corrupt(source, &"no batch where one must be")),
            Err(error) => {
                let failed = log.shared.failed(log.dir(), self.file.path(), error);
                return Err(failed.into());
            }
        };
        let size = bytes.len();
        let checked = check_slice(bytes, &Limits::log(), &mut log.shared.codecs.borrow_mut());
        checked.map_err(|error| corrupt(source, &error))?;
        self.position += size as u32;
        pace.spend(size).await?;
        Ok(Some(self.window.held(at, size)))
    }
}

impl Output {
    /// Puts a batch at the end. Returns its size.
    fn put(&mut self, batch: &[u8], config: &LogConfig) -> usize {
        let header = BatchHeader::view(batch).expect("checked, or made here");
        let incoming = Incoming::of(header, batch.len() as u32);
        let position = self.segment.size;
        self.segment
            .note(&incoming, position, config.index_interval_bytes);
        self.rest.extend_from_slice(batch);
        batch.len()
    }
}

impl Pace {
    /// Lets the shard look at its rings and serve whoever waits, however short the turn was.
    async fn step_back(&self) {
        match self.shared.disk {
            // Time stands still there.
            Disk::Sim(_) => rt::yield_now().await,
            _ => rt::sleep(BREATH).await,
        }
    }

    /// Counts bytes that were read or are written, lets others have their turn, and sleeps if it goes too fast.
    async fn spend(&mut self, bytes: usize) -> Result<(), CompactError> {
        self.bytes += bytes as u64;
        if let Disk::Sim(_) = self.shared.disk {
            // Time stands still there.
            rt::yield_now().await;
        } else {
            rt::yield_if_needed().await;
            let due = Duration::from_secs_f64((self.bytes as f64 / self.bytes_per_second).min(1e9));
            loop {
                let spent = self.shared.clock.now().since(self.started);
                let ahead = due.saturating_sub(Duration::from_micros(spent));
                // Shorter sleeps cost more than they even out.
                if ahead < NAP / 10 || self.shared.closing.get() {
                    break;
                }
                rt::sleep(ahead.min(NAP)).await;
            }
        }
        match self.shared.closing.get() {
            true => Err(CompactError::Interrupted),
            false => Ok(()),
        }
    }
}

fn corrupt(source: &Source, why: &dyn fmt::Display) -> CompactError {
    CompactError::Corrupt {
        segment: source.base,
        why: why.to_string(),
    }
}

impl From<StorageError> for CompactError {
    fn from(error: StorageError) -> CompactError {
        CompactError::Storage(error)
    }
}

impl fmt::Display for CompactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompactError::Interrupted => f.write_str("the log changed or is closed"),
            CompactError::Corrupt { segment, why } => write!(f, "segment {segment}: {why}"),
            CompactError::Storage(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CompactError {}
