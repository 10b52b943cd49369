//! `ringlog log`: segment files, read without a broker.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::log_import::Import;
use super::log_verify::Verify;
use super::output::{Rows, print, print_json_line};
use crate::record::{BatchHeader, Codecs, TimestampType, records};
use crate::storage::{Piece, SegmentReader};

/// Read, check and adopt log directories and segment files, without a broker
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Dump(Dump),
    Verify(Verify),
    Import(Import),
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

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Dump(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Import(command) => command.run(),
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
                    ending = Some(told(&other));
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

/// A line about what is not a batch.
fn told(piece: &Piece) -> String {
    match piece {
        Piece::Batch { position, .. } => format!("position {position}: a batch"),
        Piece::Reserved { position, len } => {
            format!("position {position}: {len} bytes reserved and not used")
        }
        Piece::Damaged { position, why } => format!("position {position}: DAMAGED: {why}"),
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

fn open(path: &Path) -> Result<SegmentReader, Failure> {
    SegmentReader::open(path).map_err(|error| read_fault(path, &error))
}

fn read_fault(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(path.display(), error)
}

const INFLATED_BYTES_MAX: usize = 1 << 30;
const TEXT_CHARACTERS_MAX: usize = 80;
