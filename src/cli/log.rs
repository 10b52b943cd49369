//! `ringlog log`: segment files, read without a broker.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::record::{BatchHeader, Codecs, TimestampType, records};
use crate::types::Offset;

use super::failure::Failure;
use super::output::{Rows, counted, print, print_json, print_json_line};
use super::segment::{Piece, Segment};

/// Read and check segment files
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Dump(Dump),
    Verify(Verify),
}

/// Show what is in segment files
#[derive(Args, Debug)]
pub(super) struct Dump {
    /// Segment files (00000000000000000000.log), or the directories of partitions
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Also the records of each batch
    #[arg(long)]
    records: bool,

    /// Only batches that reach this offset
    #[arg(long, default_value_t = 0)]
    from: i64,

    /// At most so many batches of each file
    #[arg(long, value_name = "BATCHES")]
    count: Option<u64>,

    /// Print a line of JSON for each batch (with --records, for each record)
    #[arg(long)]
    json: bool,
}

/// Check segment files: every CRC, every record, offsets without gap or overlap
///
/// Exit status 1 if anything is damaged.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// Segment files (00000000000000000000.log), or the directories of partitions
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Offsets may have gaps, as compaction leaves them
    #[arg(long)]
    compacted: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct BatchRow {
    file: String,
    position: u64,
    bytes: usize,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    codec: &'static str,
    leader_epoch: i32,
    timestamp_type: &'static str,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    crc: u32,
    fault: Option<String>,
}

#[derive(Serialize)]
struct RecordRow {
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    value_bytes: i64,
    headers: Vec<(String, Option<String>)>,
}

/// What one file holds, and what is wrong with it.
#[derive(Serialize)]
struct FileReport {
    file: String,
    bytes: u64,
    batches: u64,
    records: u64,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
    /// Zeroes at the end: reserved, not used.
    reserved_bytes: u64,
    damage: Vec<Damage>,
}

#[derive(Serialize)]
struct Damage {
    position: u64,
    what: String,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Dump(command) => command.run(),
            Command::Verify(command) => command.run(),
        }
    }
}

impl Dump {
    fn run(self) -> Result<(), Failure> {
        let mut is_damaged = false;
        for path in segment_paths(&self.paths)? {
            is_damaged |= self.dump(&path)?;
        }
        if is_damaged {
            Err(Failure::Told)
        } else {
            Ok(())
        }
    }

    /// Whether the file is damaged.
    fn dump(&self, path: &Path) -> Result<bool, Failure> {
        let mut segment = open(path)?;
        if !self.json {
            print(&format!("{}: {} bytes", path.display(), segment.len()))?;
        }
        let columns = [
            "position",
            "bytes",
            "offsets",
            "records",
            "codec",
            "epoch",
            "max timestamp",
            "producer",
            "sequence",
            "crc",
        ];
        let mut rows = Rows::new(&columns).align_right(&[0, 1, 3, 5, 6, 7, 8]);
        let (mut shown, mut codecs, mut is_damaged, mut ending) = (0, Codecs::new(), false, None);
        while let Some(piece) = segment.next_piece().map_err(|e| read_fault(path, &e))? {
            let (position, bytes, fault) = match piece {
                Piece::Batch {
                    position,
                    bytes,
                    fault,
                } => (position, bytes, fault),
                other => {
                    is_damaged |= matches!(other, Piece::Damaged { .. });
                    ending = Some(other.told());
                    break;
                }
            };
            is_damaged |= fault.is_some();
            let Ok(header) = BatchHeader::view(&bytes) else {
                continue;
            };
            if header.last_offset().0 < self.from {
                continue;
            }
            if self.count.is_some_and(|count| shown >= count) {
                break;
            }
            shown += 1;
            let row = BatchRow::of(
                path,
                position,
                header,
                bytes.len(),
                fault.map(|f| f.to_string()),
            );
            match (self.json, self.records) {
                (true, false) => print_json_line(&row)?,
                (true, true) => self.print_records(&bytes, &mut codecs)?,
                (false, false) => rows.push(row.cells()),
                (false, true) => {
                    print(&row.line())?;
                    self.print_records(&bytes, &mut codecs)?;
                }
            }
        }
        if !self.json && !self.records {
            rows.print()?;
        }
        if let Some(ending) = ending.filter(|_| !self.json) {
            print(&ending)?;
        }
        Ok(is_damaged)
    }

    fn print_records(&self, batch: &[u8], codecs: &mut Codecs) -> Result<(), Failure> {
        // A batch that cannot be walked has been reported with its fault.
        let Ok(records) = records(batch, INFLATED_BYTES_MAX, codecs) else {
            return Ok(());
        };
        for record in records.map_while(Result::ok) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let row = RecordRow {
                offset: record.offset.0,
                timestamp: record.timestamp.0,
                key: record.key.map(text),
                value: record.value.map(text),
                value_bytes: record.value.map_or(-1, |value| value.len() as i64),
                headers: record
                    .headers
                    .map(|h| (text(h.key), h.value.map(text)))
                    .collect(),
            };
            match self.json {
                true => print_json_line(&row)?,
                false => print(&row.line())?,
            }
        }
        Ok(())
    }
}

impl Piece {
    /// A line about what is not a batch.
    fn told(&self) -> String {
        match self {
            Piece::Batch { position, .. } => format!("position {position}: a batch"),
            Piece::Reserved { position, len } => {
                format!("position {position}: {len} bytes reserved and not used")
            }
            Piece::Damaged { position, why } => format!("position {position}: DAMAGED: {why}"),
        }
    }
}

impl BatchRow {
    fn of(
        path: &Path,
        position: u64,
        header: &BatchHeader,
        bytes: usize,
        fault: Option<String>,
    ) -> BatchRow {
        BatchRow {
            file: path.display().to_string(),
            position,
            bytes,
            base_offset: header.base_offset().0,
            last_offset: header.last_offset().0,
            records: header.count(),
            codec: header.codec().map_or("unknown", |codec| codec.name()),
            leader_epoch: header.leader_epoch().0,
            timestamp_type: match header.timestamp_type() {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            },
            base_timestamp: header.base_timestamp().0,
            max_timestamp: header.max_timestamp().0,
            producer_id: header.producer_id().0,
            producer_epoch: header.producer_epoch().0,
            base_sequence: header.base_sequence(),
            transactional: header.is_transactional(),
            control: header.is_control(),
            crc: header.crc(),
            fault,
        }
    }

    fn cells(self) -> Vec<String> {
        let producer = match self.producer_id {
            -1 => "-".to_owned(),
            id => format!("{id}/{}", self.producer_epoch),
        };
        let sequence = match self.producer_id {
            -1 => "-".to_owned(),
            _ => self.base_sequence.to_string(),
        };
        let crc = match self.fault {
            None => format!("{:08x} right", self.crc),
            Some(fault) => format!("DAMAGED: {fault}"),
        };
        vec![
            self.position.to_string(),
            self.bytes.to_string(),
            format!("{}-{}", self.base_offset, self.last_offset),
            self.records.to_string(),
            self.codec.to_owned(),
            self.leader_epoch.to_string(),
            self.max_timestamp.to_string(),
            producer,
            sequence,
            crc,
        ]
    }

    fn line(self) -> String {
        format!("batch {}", self.cells().join("  "))
    }
}

impl RecordRow {
    fn line(&self) -> String {
        let (key, value) = (shown(self.key.as_deref()), shown(self.value.as_deref()));
        let headers = match self.headers.len() {
            0 => String::new(),
            count => format!("  {count} headers"),
        };
        format!(
            "  {}  {}  {key}  {value}{headers}",
            self.offset, self.timestamp
        )
    }
}

/// Text on one line, cut to what a terminal shows.
fn shown(text: Option<&str>) -> String {
    let Some(text) = text else {
        return "-".to_owned();
    };
    let cut: String = text.chars().take(TEXT_CHARACTERS_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

impl Verify {
    fn run(self) -> Result<(), Failure> {
        let mut reports = Vec::new();
        let mut expected = Expected::default();
        for path in segment_paths(&self.paths)? {
            // A directory is one log, whatever was before it another.
            if expected.dir.as_deref() != path.parent() {
                expected = Expected {
                    dir: path.parent().map(Path::to_path_buf),
                    ..Default::default()
                };
            }
            reports.push(self.verify(&path, &mut expected)?);
        }
        let is_damaged = reports.iter().any(|report| !report.damage.is_empty());
        if self.json {
            print_json(&reports)?;
        } else {
            print_reports(&reports)?;
        }
        if is_damaged {
            Err(Failure::Told)
        } else {
            Ok(())
        }
    }

    fn verify(&self, path: &Path, expected: &mut Expected) -> Result<FileReport, Failure> {
        let mut segment = open(path)?;
        let mut report = FileReport {
            file: path.display().to_string(),
            bytes: segment.len(),
            batches: 0,
            records: 0,
            start_offset: None,
            end_offset: None,
            reserved_bytes: 0,
            damage: Vec::new(),
        };
        let named = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok())
            .map(Offset);
        while let Some(piece) = segment.next_piece().map_err(|e| read_fault(path, &e))? {
            match piece {
                Piece::Batch {
                    position,
                    bytes,
                    fault,
                } => {
                    let Ok(header) = BatchHeader::view(&bytes) else {
                        continue;
                    };
                    let order = expected.fault(header, named, self.compacted);
                    let faults = fault
                        .map(|fault| fault.to_string())
                        .into_iter()
                        .chain(order);
                    report
                        .damage
                        .extend(faults.map(|what| Damage { position, what }));
                    report.batches += 1;
                    report.records += header.count().max(0) as u64;
                    report.start_offset.get_or_insert(header.base_offset().0);
                    report.end_offset = Some(header.next_offset().0);
                }
                Piece::Reserved { len, .. } => report.reserved_bytes = len,
                Piece::Damaged { position, why } => {
                    report.damage.push(Damage {
                        position,
                        what: why,
                    });
                }
            }
        }
        Ok(report)
    }
}

/// What the batches before lead one to expect of the next.
#[derive(Default)]
struct Expected {
    dir: Option<PathBuf>,
    next_offset: Option<Offset>,
    leader_epoch: Option<i32>,
}

impl Expected {
    /// What is wrong with a batch's place in the log.
    fn fault(&mut self, header: &BatchHeader, named: Option<Offset>, gaps: bool) -> Option<String> {
        let (base, epoch) = (header.base_offset(), header.leader_epoch().0);
        // The first batch of a log is held against the name of its file.
        let next = self.next_offset.replace(header.next_offset()).or(named);
        let epoch_before = self.leader_epoch.replace(epoch);
        match (next, epoch_before) {
            (Some(next), _) if base < next => Some(format!(
                "base offset {base}, though the log is at {next} already"
            )),
            (Some(next), _) if base > next && !gaps => {
                Some(format!("base offset {base} where {next} is next: a gap"))
            }
            (_, Some(before)) if epoch < before => {
                Some(format!("leader epoch {epoch} after {before}"))
            }
            _ => None,
        }
    }
}

fn print_reports(reports: &[FileReport]) -> Result<(), Failure> {
    let columns = [
        "file", "bytes", "batches", "records", "offsets", "reserved", "verdict",
    ];
    let mut rows = Rows::new(&columns).align_right(&[1, 2, 3, 5]);
    for report in reports {
        rows.push(vec![
            report.file.clone(),
            report.bytes.to_string(),
            report.batches.to_string(),
            report.records.to_string(),
            match (report.start_offset, report.end_offset) {
                (Some(start), Some(end)) => format!("{start}-{}", end - 1),
                _ => "-".to_owned(),
            },
            report.reserved_bytes.to_string(),
            match report.damage.len() {
                0 => "sound".to_owned(),
                count => format!("DAMAGED in {}", counted(count as u64, "place")),
            },
        ]);
    }
    rows.print()?;
    for report in reports {
        for damage in &report.damage {
            print(&format!(
                "{}: position {}: {}",
                report.file, damage.position, damage.what
            ))?;
        }
    }
    Ok(())
}

/// The files themselves, and the segments of directories in the order of their offsets.
fn segment_paths(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|e| read_fault(path, &e))?;
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut segments: Vec<PathBuf> = files
            .filter(|file| file.extension().is_some_and(|ext| ext == "log"))
            .collect();
        if segments.is_empty() {
            return Err(Failure::Fault(format!(
                "{}: no segment (*.log) in it",
                path.display()
            )));
        }
        segments.sort();
        found.extend(segments);
    }
    Ok(found)
}

fn open(path: &Path) -> Result<Segment, Failure> {
    Segment::open(path).map_err(|error| read_fault(path, &error))
}

fn read_fault(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(path.display(), error)
}

const INFLATED_BYTES_MAX: usize = 1 << 30;
const TEXT_CHARACTERS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchSeal, Codec};
    use crate::types::{LeaderEpoch, Timestamp};

    fn batch(base_offset: i64, count: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::Lz4, 0);
        for _ in 0..count {
            builder.append(Timestamp(1), None, Some(b"value value value"), &[]);
        }
        let seal = BatchSeal {
            base_offset: Offset(base_offset),
            leader_epoch: LeaderEpoch(0),
            ..Default::default()
        };
        builder.build(&seal, &mut Codecs::new()).to_vec()
    }

    fn verify(content: &[Vec<u8>]) -> FileReport {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.log");
        std::fs::write(&path, content.concat()).unwrap();
        let command = Verify {
            paths: vec![],
            compacted: false,
            json: false,
        };
        match command.verify(&path, &mut Expected::default()) {
            Ok(report) => report,
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn a_sound_segment_with_reserved_space_is_sound() {
        let report = verify(&[batch(0, 3), batch(3, 2), vec![0; 10_000]]);
        assert!(report.damage.is_empty(), "{}", report.damage[0].what);
        assert_eq!(
            (report.batches, report.records, report.reserved_bytes),
            (2, 5, 10_000)
        );
        assert_eq!(report.end_offset, Some(5));
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let sound = [batch(0, 3), batch(3, 2)].concat();
        let second = batch(0, 3).len();
        for at in 0..sound.len() {
            // The leader epoch lies outside the CRC, and a higher one may follow a lower one.
            if (second + 12..second + 16).contains(&at) {
                continue;
            }
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            assert!(!verify(&[bytes]).damage.is_empty(), "byte {at}");
        }
    }

    #[test]
    fn a_torn_tail_a_gap_and_an_overlap_are_damage() {
        let mut torn = batch(3, 2);
        torn.truncate(70);
        for (content, word) in [
            (vec![batch(0, 3), torn], "of which the file has"),
            (vec![batch(0, 3), batch(4, 1)], "gap"),
            (vec![batch(0, 3), batch(2, 1)], "already"),
            (vec![batch(1, 1)], "gap"),
            (vec![batch(0, 3), vec![0; 100], vec![1]], "zeroes"),
        ] {
            let report = verify(&content);
            assert_eq!(report.damage.len(), 1, "{word}");
            assert!(
                report.damage[0].what.contains(word),
                "{}",
                report.damage[0].what
            );
        }
    }

    #[test]
    fn an_empty_file_is_sound() {
        let report = verify(&[]);
        assert!(report.damage.is_empty());
        assert_eq!(report.end_offset, None);
    }
}
