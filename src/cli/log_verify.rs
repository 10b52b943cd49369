//! `ringlog log verify`: what rests in log directories, checked without a broker's help.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::storage::{DirectoryReport, Fault, Verifier, VerifyError, VerifyOptions, segment_bytes};

use super::args::bytes;
use super::failure::Failure;
use super::output::{Rows, byte_bar, counted, print, print_json};

/// What a broker hardly feels of its slowest disks.
const ONLINE_BYTES_PER_SECOND: u64 = 32 << 20;

/// Check log directories: every batch, and every index, snapshot and journal against the batches
///
/// Takes log directories, directories of partitions, and segment files, of this broker or of Apache Kafka. Nothing is
/// written. Exit status 1 if anything is damaged; what an unclean stop leaves and the next start mends is only told.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// Log directories, directories of partitions, or segment files (00000000000000000000.log)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Offsets may have gaps in every partition, as compaction leaves them
    #[arg(long)]
    compacted: bool,

    /// A broker is using the directories: look only at segments that it is done with
    #[arg(long)]
    online: bool,

    /// Read at most so many bytes a second, as in 50m; 0 is no bound. Where it is not given: 32m with --online, else no bound
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    rate: Option<usize>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    partitions: Vec<PartitionRow>,
    damaged: u64,
    mending: u64,
    faults: Vec<FaultRow>,
}

#[derive(Serialize)]
struct PartitionRow {
    directory: String,
    partition: String,
    segments: u64,
    batches: u64,
    records: u64,
    bytes: u64,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
    reserved_bytes: u64,
    /// Faults that no start mends, and those that the next one does.
    damaged: u64,
    mending: u64,
}

#[derive(Serialize)]
struct FaultRow {
    /// Of a file that belongs to no partition: empty.
    partition: String,
    file: String,
    position: Option<u64>,
    offset: Option<i64>,
    what: String,
    mends: bool,
}

impl Verify {
    pub fn run(self) -> Result<(), Failure> {
        let options = VerifyOptions {
            compacted: self.compacted,
            online: self.online,
            bytes_per_second: match (self.rate, self.online) {
                (Some(rate), _) => rate as u64,
                (None, true) => ONLINE_BYTES_PER_SECOND,
                (None, false) => 0,
            },
        };
        let total = || self.paths.iter().map(|path| segment_bytes(path)).sum();
        let bar = byte_bar(
            "{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
            total,
        );
        let mut progress = |bytes| bar.inc(bytes);
        let mut verifier = Verifier::new(options, &self.paths, &mut progress);
        let mut reports = Vec::new();
        for path in &self.paths {
            let report = verifier.verify(path).map_err(|error| match error {
                VerifyError::NotALog(_) | VerifyError::InUse(_) => {
                    Failure::Usage(error.to_string())
                }
                VerifyError::Io(..) => Failure::Fault(error.to_string()),
            });
            reports.push(report.inspect_err(|_| bar.finish_and_clear())?);
        }
        bar.finish_and_clear();
        let report = Report::of(&reports);
        match self.json {
            true => print_json(&report)?,
            false => report.print()?,
        }
        match report.damaged {
            0 => Ok(()),
            _ => Err(Failure::Told),
        }
    }
}

impl Report {
    fn of(directories: &[DirectoryReport]) -> Report {
        let mut report = Report {
            partitions: Vec::new(),
            damaged: directories.iter().map(DirectoryReport::damage).sum(),
            mending: 0,
            faults: Vec::new(),
        };
        for directory in directories {
            report.mending += directory.faults.mending;
            report.tell("", &directory.faults.list);
            for partition in &directory.partitions {
                report.mending += partition.faults.mending;
                report.tell(&partition.name, &partition.faults.list);
                report.partitions.push(PartitionRow {
                    directory: directory.path.display().to_string(),
                    partition: partition.name.clone(),
                    segments: partition.segments,
                    batches: partition.batches,
                    records: partition.records,
                    bytes: partition.bytes,
                    start_offset: partition.start.map(|offset| offset.0),
                    end_offset: partition.end.map(|offset| offset.0),
                    reserved_bytes: partition.reserved_bytes,
                    damaged: partition.faults.damage(),
                    mending: partition.faults.mending,
                });
            }
        }
        report
    }

    fn tell(&mut self, partition: &str, faults: &[Fault]) {
        let rows = faults.iter().map(|fault| FaultRow {
            partition: partition.to_owned(),
            file: fault.file.display().to_string(),
            position: fault.position,
            offset: fault.offset.map(|offset| offset.0),
            what: fault.what.clone(),
            mends: fault.mends,
        });
        self.faults.extend(rows);
    }

    fn print(&self) -> Result<(), Failure> {
        let columns = [
            "partition",
            "segments",
            "batches",
            "records",
            "bytes",
            "offsets",
            "reserved",
            "verdict",
        ];
        let mut rows = Rows::new(&columns).align_right(&[1, 2, 3, 4, 6]);
        for row in &self.partitions {
            rows.push(row.cells());
        }
        rows.print()?;
        for fault in &self.faults {
            print(&fault.line())?;
        }
        let told = (self.damaged + self.mending).saturating_sub(self.faults.len() as u64);
        if told > 0 {
            print(&format!("and {} more", counted(told, "fault")))?;
        }
        Ok(())
    }
}

impl PartitionRow {
    fn cells(&self) -> Vec<String> {
        vec![
            self.partition.clone(),
            self.segments.to_string(),
            self.batches.to_string(),
            self.records.to_string(),
            self.bytes.to_string(),
            match (self.start_offset, self.end_offset) {
                (Some(start), Some(end)) => format!("{start}-{}", end - 1),
                _ => "-".to_owned(),
            },
            self.reserved_bytes.to_string(),
            match (self.damaged, self.mending) {
                (0, 0) => "sound".to_owned(),
                (0, _) => "mends at the next start".to_owned(),
                (count, _) => format!("DAMAGED in {}", counted(count, "place")),
            },
        ]
    }
}

impl FaultRow {
    fn line(&self) -> String {
        let mut line = self.file.clone();
        if let Some(position) = self.position {
            line.push_str(&format!(": position {position}"));
        }
        if let Some(offset) = self.offset {
            line.push_str(&format!(": offset {offset}"));
        }
        let mends = if self.mends {
            " (mends at the next start)"
        } else {
            ""
        };
        format!("{line}: {}{mends}", self.what)
    }
}
