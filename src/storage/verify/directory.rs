//! What a log directory says of its partitions: checkpoints, journals, the metadata log; and Kafka's own such files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::piece::Overlay;
use super::{Fault, Faults, list};
use crate::metadata::{Image, ResourceKind, decode_entry, decode_snapshot};
use crate::rt::{BLOCK_BYTES, DirLock};
use crate::storage::checkpoint::{Checkpoint, LogEntry};
use crate::storage::frame::{self, Kind};
use crate::storage::journal::{JOURNAL_PREFIX, rounds};
use crate::storage::names::{
    CHECKPOINT_PREFIX, CLEANED_OFFSETS, FileKind, KAFKA_CLEAN, META_PROPERTIES,
};
use crate::storage::place::{JOURNAL_PROPERTIES, apart};
use crate::storage::replay::was_begun;
use crate::types::{Offset, TopicId};

/// The metadata log's place in a log directory.
const METADATA: &str = "metadata";

/// What a partition's files are held against besides each other.
pub(super) struct Context {
    /// Newest word of the checkpoints on each log, and whether it tells all.
    pub entries: HashMap<String, (LogEntry, bool)>,
    /// Partitions whose gaps a cleaner left.
    pub cleaned: HashSet<String>,
    /// Where no checkpoint speaks of a partition: whether its directory was closed cleanly.
    clean: bool,
    /// What the journals hold, by partition and segment.
    runs: HashMap<String, BTreeMap<Offset, Vec<Run>>>,
    pub faults: Faults,
}

struct Run {
    sequence: u64,
    topic_id: TopicId,
    position: u32,
    bytes: Vec<u8>,
}

impl Context {
    /// Of a partition's directory that lies by itself.
    pub fn bare() -> Context {
        Context {
            entries: HashMap::new(),
            cleaned: HashSet::new(),
            clean: true,
            runs: HashMap::new(),
            faults: Faults::default(),
        }
    }

    pub fn read(path: &Path) -> io::Result<Context> {
        let mut context = Context::bare();
        let names = list(path)?;
        let starting = |prefix: &'static str| {
            let files = names
                .iter()
                .filter(move |n| n.starts_with(prefix) && !n.ends_with(".tmp"));
            files.map(|name| path.join(name))
        };
        context.checkpoints(starting(CHECKPOINT_PREFIX))?;
        context.journals(starting(JOURNAL_PREFIX))?;
        context.journals_apart(path, &names)?;
        let is_kafkas = !names.iter().any(|name| name.starts_with(CHECKPOINT_PREFIX));
        if is_kafkas {
            context.clean = names.iter().any(|name| name == KAFKA_CLEAN);
        }
        context.cleaned = cleaned(&path.join(CLEANED_OFFSETS)).unwrap_or_default();
        if !names.iter().any(|name| name == META_PROPERTIES) {
            let what = "is missing: the directory belongs to no node".to_owned();
            context.fault(&path.join(META_PROPERTIES), None, what, false);
        }
        if names.iter().any(|name| name == METADATA) {
            let (_, faults) = read_metadata(&path.join(METADATA));
            faults
                .into_iter()
                .for_each(|fault| context.faults.push(fault));
        }
        Ok(context)
    }

    fn fault(&mut self, file: &Path, position: Option<u64>, what: String, mends: bool) {
        self.faults.push(Fault {
            file: file.to_owned(),
            position,
            offset: None,
            what,
            mends,
        });
    }

    /// Whether the partition's last run ended in an orderly way.
    pub fn is_clean(&self, name: &str) -> bool {
        match self.entries.get(name) {
            Some((_, clean)) => *clean,
            None => self.clean,
        }
    }

    /// What the journals hold of a segment.
    pub fn overlay(&self, name: &str, topic_id: Option<TopicId>, base: Offset) -> Overlay {
        let runs = self.runs.get(name).and_then(|segments| segments.get(&base));
        let own = runs
            .into_iter()
            .flatten()
            .filter(|run| Some(run.topic_id) == topic_id);
        let placed = own.map(|run| (u64::from(run.position), run.bytes.clone()));
        Overlay(placed.collect())
    }

    /// Bases of the segments that were begun in the journals and have no file yet.
    ///
    /// - `newest`: the newest that has one.
    /// - `start`: of the log, as noted in its directory.
    pub fn begun(
        &self,
        name: &str,
        topic_id: Option<TopicId>,
        newest: Option<Offset>,
        start: Offset,
    ) -> Vec<Offset> {
        let known = self.entries.get(name);
        let floor = known.map_or(start, |(entry, _)| start.max(entry.recovery_point));
        let segments = self.runs.get(name).into_iter().flatten();
        let begun = segments.filter(|(base, runs)| {
            let own = runs.iter().filter(|run| Some(run.topic_id) == topic_id);
            let own = own.map(|run| (run.position, &run.bytes[..]));
            was_begun(**base, own, newest, floor)
        });
        begun.map(|(base, _)| *base).collect()
    }

    fn checkpoints(&mut self, files: impl Iterator<Item = PathBuf>) -> io::Result<()> {
        let mut read = Vec::new();
        for file in files {
            match Checkpoint::decode(&fs::read(&file)?) {
                Some(checkpoint) => read.push(checkpoint),
                None => {
                    let what =
                        "not a checkpoint: its logs are scanned at the next start".to_owned();
                    self.fault(&file, None, what, false);
                }
            }
        }
        self.clean = read.is_empty() || read.iter().any(|checkpoint| checkpoint.clean);
        read.sort_by_key(|checkpoint| checkpoint.generation);
        for checkpoint in read {
            for entry in checkpoint.logs {
                self.entries
                    .insert(entry.name.clone(), (entry, checkpoint.clean));
            }
        }
        Ok(())
    }

    /// Those on a device of their own (`journal.dir`).
    fn journals_apart(&mut self, path: &Path, names: &[String]) -> io::Result<()> {
        if !names.iter().any(|name| name == JOURNAL_PROPERTIES) {
            return Ok(());
        }
        match apart(path) {
            Ok(place) => {
                let names = list(&place)?;
                let files = names.iter().filter(|name| name.starts_with(JOURNAL_PREFIX));
                self.journals(files.map(|name| place.join(name)))
            }
            // It held nothing.
            Err(_) if self.clean => Ok(()),
            Err(what) => {
                self.fault(&path.join(JOURNAL_PROPERTIES), None, what, false);
                Ok(())
            }
        }
    }

    fn journals(&mut self, files: impl Iterator<Item = PathBuf>) -> io::Result<()> {
        for file in files {
            let content = fs::read(&file)?;
            // One that was cleared, or never used.
            if content.iter().take(BLOCK_BYTES).all(|&byte| byte == 0) {
                continue;
            }
            let rounds = rounds(&content);
            let last = rounds.last().map(|round| round.0);
            if let Some((position, sequence)) = frame_after(&content, last) {
                let what = match last {
                    Some(last) => format!(
                        "round {} is damaged: round {sequence} comes after it at byte {position}",
                        last + 1
                    ),
                    None => format!(
                        "its first round is damaged: round {sequence} is at byte {position}"
                    ),
                };
                // Without a first round it cannot be told from a file whose first write was torn.
                self.fault(&file, Some(position), what, last.is_none());
            }
            for (sequence, runs) in rounds {
                for run in runs {
                    let segments = self.runs.entry(run.name.to_owned()).or_default();
                    segments.entry(run.base).or_default().push(Run {
                        sequence,
                        topic_id: run.topic_id,
                        position: run.position,
                        bytes: run.bytes.to_vec(),
                    });
                }
            }
        }
        for runs in self.runs.values_mut().flat_map(BTreeMap::values_mut) {
            runs.sort_by_key(|run| run.sequence);
        }
        Ok(())
    }
}

/// A whole frame behind the last round that can be read, of a later round than it: what lies between was damaged, for
/// what an earlier use of the file left behind has lower sequences.
fn frame_after(content: &[u8], last: Option<u64>) -> Option<(u64, u64)> {
    let blocks = (0..content.len()).step_by(BLOCK_BYTES).skip(1);
    let frames = blocks.filter_map(|at| {
        let frame = frame::decode(Kind::Journal, &content[at..])?;
        Some((at as u64, frame.sequence))
    });
    frames
        .filter(|(_, sequence)| last.is_none_or(|last| *sequence > last + 1))
        .min_by_key(|(_, sequence)| *sequence)
}

/// The partitions of `cleaner-offset-checkpoint`, Kafka's or ours: a version, a count, then `topic partition offset`.
fn cleaned(file: &Path) -> Option<HashSet<String>> {
    let text = fs::read_to_string(file).ok()?;
    let rows = text.lines().skip(2).filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{}-{}", words.next()?, words.next()?))
    });
    Some(rows.collect())
}

/// Topics that the metadata in a log directory says are compacted; none if there is none.
pub(super) fn compacted_topics(directory: &Path) -> Vec<String> {
    let (image, _) = read_metadata(&directory.join(METADATA));
    let topics = image.topics().filter(|topic| {
        let overrides = image.overrides(ResourceKind::Topic, &topic.name);
        let policy = overrides
            .iter()
            .find(|(key, _)| &***key == "cleanup.policy");
        policy.is_some_and(|(_, value)| value.contains("compact"))
    });
    topics.map(|topic| topic.name.to_string()).collect()
}

/// Reads a metadata log without opening it for writing: the image as far as it goes, and what is wrong.
pub(super) fn read_metadata(dir: &Path) -> (Image, Vec<Fault>) {
    let mut read = MetadataRead {
        image: Image::new(),
        next: 0,
        faults: Vec::new(),
    };
    let names = list(dir).unwrap_or_default();
    let kinds = names.iter().filter_map(|name| FileKind::parse(name));
    let (mut logs, mut snapshots) = (Vec::new(), Vec::new());
    for (kind, at) in kinds {
        match kind {
            FileKind::Log => logs.push(at),
            FileKind::Snapshot => snapshots.push(at),
            _ => {}
        }
    }
    if let Some(at) = snapshots.last() {
        read.snapshot(&FileKind::Snapshot.path(dir, *at), at.0 as u64);
    }
    for base in logs {
        read.log(&FileKind::Log.path(dir, base), base.0 as u64);
    }
    (read.image, read.faults)
}

struct MetadataRead {
    image: Image,
    next: u64,
    faults: Vec<Fault>,
}

impl MetadataRead {
    fn fault(&mut self, file: &Path, position: u64, what: String, mends: bool) {
        self.faults
            .push(Fault::of_side(file, position, what, mends));
    }

    fn snapshot(&mut self, file: &Path, at: u64) {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => return self.fault(file, 0, error.to_string(), false),
        };
        let frame = frame::decode(Kind::MetadataSnapshot, &bytes).filter(|f| f.sequence == at);
        let Some(frame) = frame else {
            let what = "not a snapshot of the metadata: its checksum does not fit".to_owned();
            return self.fault(file, 0, what, false);
        };
        match decode_snapshot(frame.payload) {
            Ok(snapshot) => self.apply(file, 0, &snapshot.records),
            Err(error) => self.fault(file, 0, error.to_string(), false),
        }
        self.next = at + 1;
    }

    fn log(&mut self, file: &Path, first: u64) {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => return self.fault(file, 0, error.to_string(), false),
        };
        let (mut at, mut sequence) = (0, first);
        while let Some(frame) =
            frame::decode(Kind::Metadata, &bytes[at..]).filter(|f| f.sequence == sequence)
        {
            if sequence == self.next {
                match decode_entry(frame.payload) {
                    Ok((entry, _)) => self.apply(file, at as u64, &entry.records),
                    Err(error) => self.fault(file, at as u64, error.to_string(), false),
                }
                self.next += 1;
            }
            at += frame.size;
            sequence += 1;
        }
        let rest = &bytes[at..];
        if rest.iter().all(|&byte| byte == 0) {
            return;
        }
        // An entry that was being written when the broker stopped was never answered; one that others follow was.
        let later = (1..rest.len())
            .filter(|&i| rest[i..].starts_with(&frame::MAGIC))
            .any(|i| {
                frame::decode(Kind::Metadata, &rest[i..]).is_some_and(|f| f.sequence > sequence)
            });
        let what = match later {
            true => format!("entry {sequence} is damaged, and others follow it"),
            false => format!("entry {sequence} is torn: it is cut off at the next start"),
        };
        self.fault(file, at as u64, what, !later);
    }

    fn apply(&mut self, file: &Path, at: u64, records: &[crate::metadata::MetadataRecord]) {
        for record in records {
            if let Err(error) = self.image.apply(record) {
                return self.fault(file, at, error.to_string(), false);
            }
        }
    }
}

/// Whether a broker holds the directory, ours or Kafka's.
pub(super) fn locked(path: &Path) -> io::Result<bool> {
    match fs::File::open(path.join(".lock")) {
        Ok(file) => match file.try_lock_shared() {
            // Kafka's lock is of the other kind, which ours does not see.
            Ok(()) => Ok(DirLock::take(path).is_err()),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
