//! Checking what rests in log directories, ours or Apache Kafka's, without a broker.
//!
//! Every batch is read and held against its CRC, its records and its place; every file that tells of batches (indexes,
//! epochs, producer snapshots) against what the batches say. Nothing is written. What a stopped broker's journal holds is
//! laid over the segments first, as a start would. What an unclean stop may leave (a torn tail past the recovery point,
//! side files that are older than the log) mends itself at the next start, and is told apart from damage by
//! [`Fault::mends`].

mod directory;
mod partition;
mod piece;
mod producers;
mod side;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use directory::{Context, locked};
pub use piece::{Piece, SegmentReader};

use super::names::{FileKind, META_PROPERTIES, parse_partition};
use crate::types::{LeaderEpoch, Offset};

/// How to verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifyOptions {
    /// Gaps between batches are what compaction leaves, in every partition.
    pub compacted: bool,
    /// A broker has the directory open: only segments that it is done with are looked at.
    pub online: bool,
    /// Bytes a second to read at most; 0 is no bound.
    pub bytes_per_second: u64,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub file: PathBuf,
    /// Byte of the file.
    pub position: Option<u64>,
    /// First offset of the batch there, or the offset that the file speaks of.
    pub offset: Option<Offset>,
    pub what: String,
    /// An unclean stop may leave it, and the next start puts it right.
    pub mends: bool,
}

/// Faults, the first of them in full.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Faults {
    pub list: Vec<Fault>,
    /// All, those of the list included, and how many of them mend.
    pub count: u64,
    pub mending: u64,
}

/// What one partition's directory, or one segment, holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct PartitionReport {
    pub name: String,
    pub path: PathBuf,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    /// Of batches.
    pub bytes: u64,
    /// First and next offset; `None` without batches.
    pub start: Option<Offset>,
    pub end: Option<Offset>,
    /// Zeroes behind the batches: reserved, not used.
    pub reserved_bytes: u64,
    /// Offsets that no batch has between two segments, as compaction leaves them.
    pub holes: Vec<Hole>,
    pub faults: Faults,
}

/// Offsets `start..end` between the last batch of a segment and the segment after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hole {
    /// The base of the segment before.
    pub segment: Offset,
    pub start: Offset,
    pub end: Offset,
    /// The leader epoch of the batch before; −1 if there is none.
    pub leader_epoch: LeaderEpoch,
}

/// What one log directory holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DirectoryReport {
    pub path: PathBuf,
    pub partitions: Vec<PartitionReport>,
    /// Of files that belong to no partition: journals, checkpoints, the metadata log.
    pub faults: Faults,
}

/// Why nothing was verified.
#[derive(Debug)]
pub enum VerifyError {
    /// Neither a segment, nor a partition's directory, nor a log directory.
    NotALog(PathBuf),
    /// A broker uses the directory.
    InUse(PathBuf),
    Io(PathBuf, io::Error),
}

/// Faults of one report that are kept in full.
const FAULTS_KEPT: usize = 1000;
/// Reading is held back in steps of this many bytes.
const PACE_BYTES: u64 = 4 << 20;

/// Verifies one path after the other.
pub struct Verifier<'a> {
    options: VerifyOptions,
    /// Called with the bytes read since it was called last.
    progress: &'a mut dyn FnMut(u64),
    /// Topics that the metadata of the directories calls compacted.
    compacted: HashSet<String>,
    /// The log directory that was read last: partitions that lie side by side have one.
    around: Option<(PathBuf, Rc<Context>)>,
    paced: u64,
    pace_start: Option<Instant>,
}

impl<'a> Verifier<'a> {
    /// - `paths`: all that will be verified, for the metadata that lies in one of them.
    pub fn new(
        options: VerifyOptions,
        paths: &[PathBuf],
        progress: &'a mut dyn FnMut(u64),
    ) -> Verifier<'a> {
        let candidates = paths
            .iter()
            .flat_map(|path| [Some(path.as_path()), path.parent()]);
        // Partitions that lie side by side have one such directory.
        let candidates: HashSet<&Path> = candidates.flatten().collect();
        let compacted = candidates.into_iter().flat_map(directory::compacted_topics);
        Verifier {
            options,
            progress,
            compacted: compacted.collect(),
            around: None,
            paced: 0,
            pace_start: None,
        }
    }

    /// Verifies a log directory, a partition's directory, or a segment file.
    pub fn verify(&mut self, path: &Path) -> Result<DirectoryReport, VerifyError> {
        let failed = |error| VerifyError::Io(path.to_owned(), error);
        if std::fs::metadata(path).map_err(failed)?.is_file() {
            let report = self.segment_alone(path)?;
            return Ok(alone(path, report));
        }
        let names = list(path).map_err(failed)?;
        let holds_segment =
            |name: &String| matches!(FileKind::parse(name), Some((FileKind::Log, _)));
        if names.iter().any(holds_segment) {
            let parent = path.parent().filter(|p| p.join(META_PROPERTIES).exists());
            let context = match parent {
                Some(parent) => self.context(parent)?,
                None => Rc::new(Context::bare()),
            };
            let report = self.partition(path, &context).map_err(failed)?;
            return Ok(alone(path, report));
        }
        let partitions = names
            .iter()
            .filter(|name| parse_partition(name).is_some() && path.join(name).is_dir());
        let partitions: Vec<&String> = partitions.collect();
        if partitions.is_empty() && !names.iter().any(|name| name == META_PROPERTIES) {
            return Err(VerifyError::NotALog(path.to_owned()));
        }
        let context = self.context(path)?;
        let mut report = DirectoryReport {
            path: path.to_owned(),
            faults: context.faults.clone(),
            ..DirectoryReport::default()
        };
        for name in partitions {
            let dir = path.join(name);
            match self.partition(&dir, &context) {
                Ok(partition) => report.partitions.push(partition),
                // Deleted while a broker serves.
                Err(error) if self.options.online && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(VerifyError::Io(dir, error)),
            }
        }
        Ok(report)
    }

    fn context(&mut self, path: &Path) -> Result<Rc<Context>, VerifyError> {
        let failed = |error| VerifyError::Io(path.to_owned(), error);
        if !self.options.online && locked(path).map_err(failed)? {
            return Err(VerifyError::InUse(path.to_owned()));
        }
        if self.options.online {
            return Ok(Rc::new(Context::bare()));
        }
        if let Some((_, context)) = self.around.as_ref().filter(|(of, _)| of == path) {
            return Ok(context.clone());
        }
        let context = Rc::new(Context::read(path).map_err(failed)?);
        self.around = Some((path.to_owned(), context.clone()));
        Ok(context)
    }

    /// Counts what was read, and waits where it was read too fast.
    fn read(&mut self, bytes: u64) {
        (self.progress)(bytes);
        if self.options.bytes_per_second == 0 {
            return;
        }
        let start = *self.pace_start.get_or_insert_with(Instant::now);
        self.paced += bytes;
        if self.paced < PACE_BYTES.min(self.options.bytes_per_second / 4 + 1) {
            return;
        }
        let due = self.paced as f64 / self.options.bytes_per_second as f64;
        std::thread::sleep(Duration::from_secs_f64(due).saturating_sub(start.elapsed()));
        (self.paced, self.pace_start) = (0, None);
    }
}

/// Bytes of segments below `path`, for whoever shows how far a verification is.
pub fn segment_bytes(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::metadata(path) else {
        return 0;
    };
    if metadata.is_file() {
        return metadata.len();
    }
    let names = list(path).unwrap_or_default();
    let below = names.iter().map(|name| match FileKind::parse(name) {
        Some((FileKind::Log, _)) => segment_bytes(&path.join(name)),
        None if parse_partition(name).is_some() => segment_bytes(&path.join(name)),
        _ => 0,
    });
    below.sum()
}

/// Names in a directory, sorted.
fn list(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn alone(path: &Path, report: PartitionReport) -> DirectoryReport {
    DirectoryReport {
        path: path.parent().unwrap_or(path).to_owned(),
        partitions: vec![report],
        faults: Faults::default(),
    }
}

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        self.count += 1;
        self.mending += u64::from(fault.mends);
        if self.list.len() < FAULTS_KEPT {
            self.list.push(fault);
        }
    }

    /// Those that no start puts right.
    pub fn damage(&self) -> u64 {
        self.count - self.mending
    }
}

impl DirectoryReport {
    /// Faults that no start puts right.
    pub fn damage(&self) -> u64 {
        let partitions = self.partitions.iter().map(|p| p.faults.damage());
        partitions.sum::<u64>() + self.faults.damage()
    }
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VerifyError::NotALog(path) => write!(
                f,
                "{}: neither a segment file, nor a partition's directory, nor a log directory",
                path.display()
            ),
            VerifyError::InUse(path) => write!(
                f,
                "{}: a broker uses this directory; stop it, or verify with --online what it is done with",
                path.display()
            ),
            VerifyError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for VerifyError {}
