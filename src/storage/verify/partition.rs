//! One partition's directory: its segments in order, and every side file against them.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hashbrown::HashMap;

use super::directory::Context;
use super::piece::{Overlay, Piece, SegmentReader};
use super::producers::{self, Seen};
use super::side::SideFiles;
use super::{Fault, Hole, PartitionReport, Verifier, VerifyError, list};
use crate::metadata::is_internal;
use crate::record::{BatchHeader, Codecs, EndMarker};
use crate::storage::aborted::AbortedTransaction;
use crate::storage::epochs::Epochs;
use crate::storage::index::relative;
use crate::storage::names::{
    EPOCH_CHECKPOINT, FileKind, PARTITION_METADATA, START_OFFSET, decode_partition_metadata,
    decode_start_offset, parse_partition,
};
use crate::types::{LeaderEpoch, Offset, ProducerId, TopicId};

/// Segments that were written to within this time are not looked at online.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// What the batches before lead one to expect of the next, and of the files that tell of them.
struct Walk {
    report: PartitionReport,
    /// Side files may be older than the log, and the log's tail torn.
    unclean: bool,
    /// What is below is told by the checkpoint.
    told_end: Offset,
    gaps_allowed: bool,
    next_offset: Option<Offset>,
    /// The base of the segment before.
    segment: Option<Offset>,
    leader_epoch: LeaderEpoch,
    epochs: Option<(PathBuf, Epochs)>,
    producers: HashMap<ProducerId, Seen>,
    /// First offsets of the transactions that are open.
    open: HashMap<ProducerId, Offset>,
    /// Producer snapshots still to come, by offset.
    snapshots: VecDeque<Offset>,
    codecs: Codecs,
}

/// Where a segment lies in its log.
struct Place {
    /// At the end, where a torn tail may be.
    is_last: bool,
    /// Wholly in what the checkpoint tells.
    is_told: bool,
}

impl Verifier<'_> {
    /// A segment file, by itself: its batches and its indexes.
    pub(super) fn segment_alone(&mut self, path: &Path) -> Result<PartitionReport, VerifyError> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let base = match FileKind::parse(name) {
            Some((FileKind::Log, base)) => Some(base),
            _ => None,
        };
        let mut walk = Walk::new(path, self.options.compacted);
        let failed = |error| VerifyError::Io(path.to_owned(), error);
        let place = Place {
            is_last: true,
            is_told: false,
        };
        self.segment(&mut walk, path, base, Overlay::default(), place)
            .map_err(failed)?;
        Ok(walk.report)
    }

    /// A partition's directory.
    pub(super) fn partition(
        &mut self,
        path: &Path,
        context: &Context,
    ) -> io::Result<PartitionReport> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let (mut segments, mut snapshots) = (Vec::new(), Vec::new());
        let names = list(path)?;
        for name in &names {
            match FileKind::parse(name) {
                Some((FileKind::Log, base)) => segments.push(base),
                Some((FileKind::Snapshot, offset)) => snapshots.push(offset),
                _ => {}
            }
        }
        let topic = parse_partition(name).map(|place| place.topic.to_string());
        let topic = topic.unwrap_or_default();
        let mut walk = Walk::new(path, self.options.compacted);
        walk.gaps_allowed |= is_internal(&topic)
            || self.compacted.contains(&topic)
            || context.cleaned.contains(name);
        walk.unclean = !context.is_clean(name);
        walk.told_end = context
            .entries
            .get(name)
            .map_or(Offset::ZERO, |(entry, _)| entry.recovery_point);
        if !self.options.online {
            walk.snapshots = snapshots.into();
            let topic_id =
                walk.partition_metadata(path, context.entries.get(name).map(|e| e.0.topic_id));
            walk.read_epochs(path);
            let start = walk.read_start(path);
            walk.orphans(path, &names, &segments);
            let newest = segments.last().copied();
            segments.extend(context.begun(name, topic_id, newest, start));
            self.segments(&mut walk, path, &segments, |base| {
                context.overlay(name, topic_id, base)
            })?;
            walk.at_end(path);
        } else {
            // The newest one is being written.
            segments.pop();
            self.segments(&mut walk, path, &segments, |_| Overlay::default())?;
        }
        Ok(walk.report)
    }

    fn segments(
        &mut self,
        walk: &mut Walk,
        path: &Path,
        bases: &[Offset],
        overlay: impl Fn(Offset) -> Overlay,
    ) -> io::Result<()> {
        for (i, &base) in bases.iter().enumerate() {
            let file = FileKind::Log.path(path, base);
            if self.options.online && !is_quiet(&file) {
                walk.next_offset = None;
                continue;
            }
            let is_last = i + 1 == bases.len() && !self.options.online;
            let next = bases.get(i + 1);
            let is_told = next.is_some_and(|&next| next <= walk.told_end);
            let place = Place { is_last, is_told };
            match self.segment(walk, &file, Some(base), overlay(base), place) {
                // Deleted, or replaced by compaction.
                Err(error) if self.options.online && error.kind() == io::ErrorKind::NotFound => {
                    walk.next_offset = None;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        walk: &mut Walk,
        file: &Path,
        base: Option<Offset>,
        overlay: Overlay,
        place: Place,
    ) -> io::Result<()> {
        let mut reader = SegmentReader::open_with(file, overlay)?;
        let mut side = SideFiles::read(file, base, walk.unclean && !place.is_told);
        walk.report.segments += 1;
        walk.begins(file, base);
        let (mut told, len) = (0, reader.len());
        while let Some(piece) = reader.next_piece()? {
            match piece {
                Piece::Batch {
                    position,
                    bytes,
                    fault,
                } => {
                    if let Some(fault) = fault {
                        let offset = BatchHeader::view(&bytes).ok().map(BatchHeader::base_offset);
                        walk.fault(file, Some(position), offset, fault.to_string());
                    }
                    walk.batch(file, base, position, &bytes, &mut side);
                    let end = position + bytes.len() as u64;
                    self.read(end - told);
                    told = end;
                }
                Piece::Reserved { len, .. } => walk.report.reserved_bytes += len,
                Piece::Damaged { position, why } => {
                    let next = walk.next_offset;
                    walk.torn(file, position, next, why, place.is_last);
                    // What comes after it cannot be found: the next segment begins anew.
                    walk.next_offset = None;
                    side.give_up();
                }
            }
        }
        self.read(len - told);
        side.finish(walk.next_offset, &mut walk.report.faults);
        Ok(())
    }
}

impl Walk {
    fn new(path: &Path, gaps_allowed: bool) -> Walk {
        let name = path.file_name().map(|name| name.to_string_lossy());
        Walk {
            report: PartitionReport {
                name: name.unwrap_or_default().into_owned(),
                path: path.to_owned(),
                ..PartitionReport::default()
            },
            unclean: false,
            told_end: Offset::ZERO,
            gaps_allowed,
            next_offset: None,
            segment: None,
            leader_epoch: LeaderEpoch::NONE,
            epochs: None,
            producers: HashMap::new(),
            open: HashMap::new(),
            snapshots: VecDeque::new(),
            codecs: Codecs::new(),
        }
    }

    fn fault(&mut self, file: &Path, position: Option<u64>, offset: Option<Offset>, what: String) {
        self.push(file, position, offset, what, false);
    }

    /// Of a file that can be made anew from the log: after an unclean stop it may be older than the log.
    fn side_fault(&mut self, file: &Path, offset: Option<Offset>, what: String) {
        let mends = self.unclean;
        self.push(file, None, offset, what, mends);
    }

    fn push(
        &mut self,
        file: &Path,
        position: Option<u64>,
        offset: Option<Offset>,
        what: String,
        mends: bool,
    ) {
        self.report.faults.push(Fault {
            file: file.to_owned(),
            position,
            offset,
            what,
            mends,
        });
    }

    /// No batch can be read: at the end of a log that was not closed the next start cuts it off.
    fn torn(&mut self, file: &Path, at: u64, offset: Option<Offset>, why: String, is_last: bool) {
        let mends = is_last && self.unclean;
        self.push(file, Some(at), offset, why, mends);
    }

    /// The topic id, held against what the checkpoint knows.
    fn partition_metadata(&mut self, path: &Path, known: Option<TopicId>) -> Option<TopicId> {
        let file = path.join(PARTITION_METADATA);
        let Ok(text) = std::fs::read_to_string(&file) else {
            return known;
        };
        let read = decode_partition_metadata(&text);
        match (read, known) {
            (None, _) => self.side_fault(&file, None, "no topic id in it".to_owned()),
            (Some(read), Some(known)) if read != known => {
                let what = format!("topic id {read}, though the checkpoint knows {known}");
                self.fault(&file, None, None, what);
            }
            _ => {}
        }
        read.or(known)
    }

    fn read_epochs(&mut self, path: &Path) {
        let file = path.join(EPOCH_CHECKPOINT);
        let Ok(text) = std::fs::read_to_string(&file) else {
            return;
        };
        match Epochs::decode(&text) {
            Some(epochs) => self.epochs = Some((file, epochs)),
            None => self.side_fault(&file, None, "not a leader-epoch checkpoint".to_owned()),
        }
    }

    /// Where the log starts, as far as that is noted.
    fn read_start(&mut self, path: &Path) -> Offset {
        let file = path.join(START_OFFSET);
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Offset::ZERO;
        };
        decode_start_offset(&text).unwrap_or_else(|| {
            self.fault(&file, None, None, "no offset in it".to_owned());
            Offset::ZERO
        })
    }

    /// Indexes without their segment.
    fn orphans(&mut self, path: &Path, names: &[String], segments: &[Offset]) {
        for name in names {
            if let Some((kind, base)) = FileKind::parse(name)
                && matches!(
                    kind,
                    FileKind::Index | FileKind::TimeIndex | FileKind::TxnIndex
                )
                && segments.binary_search(&base).is_err()
            {
                self.side_fault(
                    &path.join(name),
                    Some(base),
                    "its segment is gone".to_owned(),
                );
            }
        }
    }

    fn begins(&mut self, file: &Path, base: Option<Offset>) {
        let Some(base) = base else { return };
        let before = self.segment.replace(base);
        let next = *self.next_offset.get_or_insert(base);
        if base < next {
            let what = format!("the segment begins at {base}, though the log is at {next} already");
            self.fault(file, Some(0), Some(base), what);
        } else if base > next && !self.gaps_allowed {
            let what = format!("the segment begins at {base} where {next} is next: a gap");
            self.fault(file, Some(0), Some(base), what);
        } else if let Some(segment) = before.filter(|_| base > next) {
            self.report.holes.push(Hole {
                segment,
                start: next,
                end: base,
                leader_epoch: self.leader_epoch,
            });
        }
        self.next_offset = Some(base.max(next));
    }

    fn batch(
        &mut self,
        file: &Path,
        base: Option<Offset>,
        position: u64,
        bytes: &[u8],
        side: &mut SideFiles,
    ) {
        let Ok(header) = BatchHeader::view(bytes) else {
            return;
        };
        let first = header.base_offset();
        self.pass_snapshots(first);
        for what in self.place_faults(base, header) {
            self.fault(file, Some(position), Some(first), what);
        }
        self.next_offset = Some(header.next_offset());
        if header.leader_epoch() >= LeaderEpoch(0) {
            self.leader_epoch = header.leader_epoch();
        }
        let aborted = self.producer(header, bytes);
        side.batch(position, header, aborted, &mut self.report.faults);
        let report = &mut self.report;
        report.batches += 1;
        report.records += header.count().max(0) as u64;
        report.bytes += bytes.len() as u64;
        report.start.get_or_insert(first);
        report.end = Some(header.next_offset());
    }

    /// What is wrong with a batch's place in the log.
    fn place_faults(&self, segment: Option<Offset>, header: &BatchHeader) -> Vec<String> {
        let (base, epoch) = (header.base_offset(), header.leader_epoch());
        let mut faults = Vec::new();
        match self.next_offset.or(segment) {
            Some(next) if base < next => {
                faults.push(format!(
                    "base offset {base}, though the log is at {next} already"
                ));
            }
            Some(next) if base > next && !self.gaps_allowed => {
                faults.push(format!("base offset {base} where {next} is next: a gap"));
            }
            _ => {}
        }
        if segment.is_some_and(|segment| relative(segment, header.last_offset()).is_none()) {
            faults.push("its offsets are too far from the segment's base".to_owned());
        }
        if epoch >= LeaderEpoch(0) && epoch < self.leader_epoch {
            faults.push(format!("leader epoch {epoch} after {}", self.leader_epoch));
        }
        faults
    }

    /// Takes in who wrote a batch. Returns what it says of an aborted transaction.
    fn producer(&mut self, header: &BatchHeader, bytes: &[u8]) -> Option<AbortedTransaction> {
        let (id, base) = (header.producer_id(), header.base_offset());
        self.hold_against_epochs(header);
        if id.0 < 0 {
            return None;
        }
        let seen = self.producers.entry(id).or_default();
        seen.on_batch(header);
        if !header.is_control() {
            if header.is_transactional() {
                self.open.entry(id).or_insert(base);
            }
            return None;
        }
        let marker = EndMarker::of(bytes, &mut self.codecs)?;
        let first = self.open.remove(&id);
        (!marker.committed).then(|| AbortedTransaction {
            producer_id: id,
            // −1: it began below the log's start, or compaction has removed what it wrote.
            first_offset: first.unwrap_or(Offset(-1)),
            last_offset: base,
            stable_end: Offset(-1),
        })
    }

    fn hold_against_epochs(&mut self, header: &BatchHeader) {
        let (base, epoch) = (header.base_offset(), header.leader_epoch());
        let Some((file, epochs)) = self.epochs.take() else {
            return;
        };
        let entries = epochs.entries();
        let known = entries.partition_point(|e| e.1 <= base);
        let known = known.checked_sub(1).map(|i| entries[i].0);
        if epoch >= LeaderEpoch(0) && known != Some(epoch) {
            let known = known.map_or("none".to_owned(), |epoch| epoch.to_string());
            let what = format!("leader epoch {known} at an offset that epoch {epoch} wrote");
            // Once: what follows it in the log would say the same.
            self.side_fault(&file, Some(base), what);
            return;
        }
        self.epochs = Some((file, epochs));
    }

    /// Holds the snapshots at or below `offset` against the producers seen by then.
    fn pass_snapshots(&mut self, offset: Offset) {
        while let Some(&at) = self.snapshots.front().filter(|&&at| at <= offset) {
            self.snapshots.pop_front();
            let file = FileKind::Snapshot.path(&self.report.path, at);
            let start = self.report.start.unwrap_or(at);
            let producers = match self.gaps_allowed {
                true => None,
                false => Some(start),
            };
            if let Err(what) = producers::check(&file, at, &self.producers, producers) {
                self.side_fault(&file, Some(at), what);
            }
        }
    }

    fn at_end(&mut self, path: &Path) {
        // One at the log's end belongs to it; whatever lies past it tells of batches that are not there.
        let end = self.next_offset.or(self.report.end);
        self.pass_snapshots(end.unwrap_or(Offset(i64::MAX)));
        while let Some(at) = self.snapshots.pop_front() {
            let file = FileKind::Snapshot.path(path, at);
            let end = end.unwrap_or(Offset::ZERO);
            let what = format!("a producer snapshot past the log's end, {end}");
            self.side_fault(&file, Some(at), what);
        }
    }
}

fn is_quiet(file: &Path) -> bool {
    let written = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    written.is_ok_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > QUIET_FOR)
    })
}

impl Fault {
    pub(super) fn of_side(file: &Path, position: u64, what: String, mends: bool) -> Fault {
        Fault {
            file: file.to_owned(),
            position: Some(position),
            offset: None,
            what,
            mends,
        }
    }
}
