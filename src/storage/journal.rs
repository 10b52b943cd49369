//! The journal: one sequential, durable write commits the small runs of a whole round.
//!
//! Two files per directory and shard, written with zeros once and used in turn. A round is one frame
//! ([`super::frame`]) at a multiple of 4096; its sequence counts on over both files and over restarts.
//!
//! | payload offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | count of runs |
//! | per run | 4 + n | name of the partition's directory |
//! | | 16 | topic id |
//! | | 8 | base of the segment |
//! | | 4 | position in it |
//! | | 4 + n | bytes of batches |
//!
//! A frame may be trusted if its CRC holds and its sequence is the first of its file or follows the one before it: what an
//! earlier use of the file left behind does not follow. What a frame says is applied only where it belongs to that topic, and
//! to a segment file that is there or was not made before the crash (see [`super::replay`]). A file is used again only after
//! all that it holds is durable in the segments.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use smallvec::SmallVec;

use super::frame::{self, FRAME_HEADER_BYTES, Fields, Header, Kind};
use super::log::{Log, Mark};
use super::sync_cost::SyncMode;
use crate::rt::{AppendBuffer, BLOCK_BYTES, Buffer, Disk, File, Open, Page, Slice, block_ceil};
use crate::types::{Offset, TopicId, Uuid};

/// Begins the names of journal files in a log directory.
pub(super) const JOURNAL_PREFIX: &str = "ringlog-journal-";
/// Files of one journal.
pub(super) const JOURNAL_FILES: usize = 2;
/// Runs from this size on go straight to their segment: one more durable write costs about as much processor time as
/// copying, summing and writing this many bytes once more (measured: from 32 to 192 KiB it hardly matters), and the device
/// has to take them only once.
const DIRECT_BYTES_MIN: usize = 96 << 10;
/// Bytes before a run's, without those of its name.
const RUN_HEAD_BYTES: usize = 4 + 16 + 8 + 4 + 4;
/// Names of partitions' directories are rarely longer.
const NAME_BYTES_USUAL: usize = 64;
/// Zeros written at once when a file is made.
const ZEROS_BYTES: usize = 1 << 20;

/// Where the bytes of a run go first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    Journal,
    Segment,
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunFacts {
    pub bytes: usize,
    /// All of it lies in one segment, whose file is there or will be: the log has others, so that its directory is durable.
    pub in_one_segment: bool,
}

/// The rule, all of it: small runs are written twice so that they need not be synced one by one.
pub(super) fn route(run: RunFacts) -> Route {
    match run.in_one_segment && run.bytes < DIRECT_BYTES_MIN {
        true => Route::Journal,
        false => Route::Segment,
    }
}

/// What one round takes from one log for the journal.
pub(super) struct Run {
    pub log: Rc<Log>,
    pub base: Offset,
    pub position: u32,
    pub slices: SmallVec<[Slice; 2]>,
    /// The log's end, and where it lies.
    pub end: Mark,
}

/// One shard's journal in one directory.
pub(super) struct Journal {
    directory: PathBuf,
    paths: [PathBuf; JOURNAL_FILES],
    size: u64,
    mode: SyncMode,
    files: RefCell<Vec<Rc<File>>>,
    state: Cell<State>,
    /// Sequence of the next frame.
    sequence: Cell<u64>,
    current: Cell<usize>,
    position: Cell<u64>,
    /// Files that hold what is not durable in the segments, though nothing more is written to them now.
    draining: Cell<[bool; JOURNAL_FILES]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Absent,
    Preparing,
    Ready,
}

/// Where a frame goes.
pub(super) struct Place {
    pub file: Rc<File>,
    pub index: usize,
    pub position: u64,
    pub sequence: u64,
    /// The file that was left for this one, to be drained.
    pub left: Option<usize>,
}

impl Journal {
    /// `size`: bytes of each file; 0 is no journal. `sequence`: none was used before.
    pub fn new(directory: &Path, shard: &str, size: u64, sequence: u64, mode: SyncMode) -> Journal {
        Journal {
            directory: directory.to_owned(),
            paths: [0, 1].map(|number| journal_path(directory, shard, number)),
            size: size / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
            mode,
            files: RefCell::default(),
            state: Cell::new(State::Absent),
            sequence: Cell::new(sequence),
            current: Cell::new(0),
            position: Cell::new(0),
            draining: Cell::default(),
        }
    }

    /// Where its files lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether frames can be written.
    pub fn is_ready(&self) -> bool {
        self.state.get() == State::Ready
    }

    /// Whether its files are still to be made, by the caller: answers yes once.
    pub fn wants_files(&self) -> bool {
        let wants = self.size > 0 && self.state.get() == State::Absent;
        if wants {
            self.state.set(State::Preparing);
        }
        wants
    }

    /// Makes the files, all zeros on stable storage, so that later writes change no metadata.
    pub async fn prepare(&self, disk: &Disk) -> std::io::Result<()> {
        let mut files = Vec::new();
        let how = match self.mode {
            SyncMode::Dsync => Open::CREATE.dsync(),
            SyncMode::Datasync => Open::CREATE,
        };
        for path in &self.paths {
            let file = disk.open(path, how).await?;
            // Of another size, or never finished: the start cleared a whole one's first block only.
            if file.len()? != self.size {
                file.truncate(0).await?;
                file.preallocate(self.size).await?;
                let zeros = Buffer::zeroed(ZEROS_BYTES).freeze();
                let mut position = 0;
                while position < self.size {
                    let count = (self.size - position).min(ZEROS_BYTES as u64) as usize;
                    let page = if count == ZEROS_BYTES {
                        zeros.clone()
                    } else {
                        Buffer::zeroed(count).freeze()
                    };
                    file.write(page, position).await?;
                    position += count as u64;
                }
                file.datasync().await?;
            }
            files.push(Rc::new(file));
        }
        disk.sync_dir(&self.directory).await?;
        self.files.replace(files);
        self.state.set(State::Ready);
        Ok(())
    }

    /// Bytes of its files that are not there yet.
    pub async fn missing_bytes(&self, disk: &Disk) -> u64 {
        let mut missing = 0;
        for path in &self.paths {
            let opened = disk.open(path, Open::READ).await;
            let len = opened.and_then(|file| file.len()).unwrap_or(0);
            missing += if len == self.size { 0 } else { self.size };
        }
        missing
    }

    /// Writes a page to one of its files, and returns when it is on stable storage.
    pub async fn write(&self, file: &File, page: Page, position: u64) -> std::io::Result<()> {
        file.write(page, position).await?;
        match self.mode {
            SyncMode::Dsync => Ok(()),
            SyncMode::Datasync => file.datasync().await,
        }
    }

    /// Where a frame of `bytes` goes; `None` while there is no room: the runs then go to their segments.
    pub fn place(&self, bytes: u64) -> Option<Place> {
        if !self.is_ready() || bytes > self.size {
            return None;
        }
        let mut left = None;
        if self.position.get() + bytes > self.size {
            let next = 1 - self.current.get();
            if self.is_draining(next) {
                return None;
            }
            left = Some(self.current.get());
            self.set_draining(self.current.get(), true);
            self.current.set(next);
            self.position.set(0);
        }
        let place = Place {
            file: self.files.borrow()[self.current.get()].clone(),
            index: self.current.get(),
            position: self.position.get(),
            sequence: self.sequence.get(),
            left,
        };
        self.position.set(place.position + bytes);
        self.sequence.set(place.sequence + 1);
        Some(place)
    }

    /// Bytes written to the file in use, and its size; nothing until its files are made.
    pub fn fill(&self) -> (u64, u64) {
        match self.is_ready() {
            true => (self.position.get(), self.size),
            false => (0, 0),
        }
    }

    /// Files that were left and are not drained.
    pub fn undrained(&self) -> impl Iterator<Item = usize> {
        (0..JOURNAL_FILES).filter(|&file| self.is_draining(file))
    }

    /// Whether what one of its files holds is to be brought to the segments, or is being.
    pub fn is_draining(&self, file: usize) -> bool {
        self.draining.get()[file]
    }

    pub fn set_draining(&self, file: usize, draining: bool) {
        let mut all = self.draining.get();
        all[file] = draining;
        self.draining.set(all);
    }

    /// Forgets, durably, all that the files hold. Nobody may be writing to them.
    pub async fn reset(&self) -> Result<(), (PathBuf, std::io::Error)> {
        let files: Vec<Rc<File>> = self.files.borrow().clone();
        for file in files {
            let zeros = Buffer::zeroed(BLOCK_BYTES).freeze();
            let cleared = self.write(&file, zeros, 0).await;
            cleared.map_err(|error| (file.path().to_owned(), error))?;
        }
        self.current.set(0);
        self.position.set(0);
        self.draining.set([false; JOURNAL_FILES]);
        Ok(())
    }
}

/// A shard's journal file of this number.
pub(super) fn journal_path(directory: &Path, shard: &str, number: usize) -> PathBuf {
    directory.join(format!("{JOURNAL_PREFIX}{shard}-{number}"))
}

/// Bytes of the frame that holds `runs`, in whole blocks.
pub(super) fn frame_bytes(runs: &[Run]) -> usize {
    block_ceil(FRAME_HEADER_BYTES + payload_bytes(runs))
}

fn payload_bytes(runs: &[Run]) -> usize {
    let run_bytes = |run: &Run| RUN_HEAD_BYTES + run.log.name().len() + run.bytes();
    4 + runs.iter().map(run_bytes).sum::<usize>()
}

/// The frame of one round: the second and last copy of these bytes, each summed where it was just copied to.
pub(super) fn encode(runs: &[Run], sequence: u64) -> Page {
    let size = frame_bytes(runs);
    let mut header = Header::new(Kind::Journal, sequence, payload_bytes(runs));
    let mut buffer = AppendBuffer::with_capacity(size);
    buffer.reserve(FRAME_HEADER_BYTES);
    let mut put = |bytes: &[u8]| header.add(buffer.append(bytes));
    put(&(runs.len() as u32).to_le_bytes());
    let mut head = Vec::with_capacity(RUN_HEAD_BYTES + NAME_BYTES_USUAL);
    for run in runs {
        write_run_head(run, &mut head);
        put(&head);
        for slice in &run.slices {
            put(slice);
        }
    }
    let bytes = buffer.unshared().expect("no slice of it was taken");
    bytes[..FRAME_HEADER_BYTES].copy_from_slice(&header.finish());
    buffer.seal(size)
}

/// What goes before a run's bytes, in place of what `head` holds.
fn write_run_head(run: &Run, head: &mut Vec<u8>) {
    let name = run.log.name().as_bytes();
    head.clear();
    head.extend_from_slice(&(name.len() as u32).to_le_bytes());
    head.extend_from_slice(name);
    head.extend_from_slice(&run.log.topic_id.0);
    head.extend_from_slice(&run.base.0.to_le_bytes());
    head.extend_from_slice(&run.position.to_le_bytes());
    head.extend_from_slice(&(run.bytes() as u32).to_le_bytes());
}

impl Run {
    pub fn bytes(&self) -> usize {
        self.slices.iter().map(|slice| slice.len()).sum()
    }
}

/// A run as read back from a journal file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StoredRun<'a> {
    pub name: &'a str,
    pub topic_id: TopicId,
    pub base: Offset,
    pub position: u32,
    pub bytes: &'a [u8],
}

/// The rounds of a journal file, with their sequences; ends where a frame is torn or does not follow.
pub(super) fn rounds(file: &[u8]) -> Vec<(u64, Vec<StoredRun<'_>>)> {
    let mut rounds: Vec<(u64, Vec<StoredRun<'_>>)> = Vec::new();
    let mut at = 0;
    while let Some(frame) = file
        .get(at..)
        .and_then(|bytes| frame::decode(Kind::Journal, bytes))
    {
        let follows = rounds
            .last()
            .is_none_or(|last| last.0 + 1 == frame.sequence);
        let runs = if follows { runs(frame.payload) } else { None };
        let Some(runs) = runs else { break };
        rounds.push((frame.sequence, runs));
        at += block_ceil(frame.size);
    }
    rounds
}

fn runs(payload: &[u8]) -> Option<Vec<StoredRun<'_>>> {
    let mut fields = Fields(payload);
    let mut runs = Vec::new();
    for _ in 0..fields.u32()? {
        runs.push(StoredRun {
            name: std::str::from_utf8(fields.block()?).ok()?,
            topic_id: Uuid(fields.bytes(16)?.try_into().ok()?),
            base: Offset(fields.i64()?),
            position: fields.u32()?,
            bytes: fields.block()?,
        });
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64, fill: u8, size: usize) -> Vec<u8> {
        let mut payload = 1u32.to_le_bytes().to_vec();
        payload.extend_from_slice(&3u32.to_le_bytes());
        payload.extend_from_slice(b"t-0");
        payload.extend_from_slice(&[7; 16]);
        payload.extend_from_slice(&40i64.to_le_bytes());
        payload.extend_from_slice(&900u32.to_le_bytes());
        payload.extend_from_slice(&(size as u32).to_le_bytes());
        payload.extend_from_slice(&vec![fill; size]);
        let mut bytes = frame::encode(Kind::Journal, sequence, &payload);
        bytes.resize(block_ceil(bytes.len()), 0);
        bytes
    }

    #[test]
    fn reads_rounds_back_in_order() {
        let file = [frame(7, 1, 100), frame(8, 2, 5000), vec![0; 4096]].concat();
        let rounds = rounds(&file);
        assert_eq!(rounds.iter().map(|r| r.0).collect::<Vec<_>>(), [7, 8]);
        let run = &rounds[1].1[0];
        assert_eq!((run.name, run.base, run.position), ("t-0", Offset(40), 900));
        assert_eq!((run.topic_id, run.bytes), (Uuid([7; 16]), &[2; 5000][..]));
    }

    #[test]
    fn stops_at_what_an_earlier_use_of_the_file_left() {
        let file = [frame(20, 1, 100), frame(8, 2, 100), frame(21, 2, 100)].concat();
        assert_eq!(rounds(&file).len(), 1);
        let mut torn = [frame(20, 1, 100), frame(21, 2, 5000)].concat();
        torn[4096 + 4500] ^= 1;
        assert_eq!(rounds(&torn).len(), 1);
        assert!(rounds(&[0; 8192]).is_empty());
    }

    #[test]
    fn small_runs_go_to_the_journal_and_large_ones_straight() {
        let facts = |bytes, in_one_segment| RunFacts {
            bytes,
            in_one_segment,
        };
        assert_eq!(route(facts(850, true)), Route::Journal);
        assert_eq!(route(facts(850, false)), Route::Segment);
        assert_eq!(route(facts(1 << 20, true)), Route::Segment);
    }
}
