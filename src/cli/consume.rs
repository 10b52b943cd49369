//! `ringlog consume`: records to lines.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use clap::Args;
use serde::Serialize;

use crate::client::{Cluster, Consumer, ConsumerOptions, Fetched, Place};
use crate::record::{Codecs, Record, records, split};
use crate::types::Offset;

use super::args::{ClientArgs, place, separator};
use super::consume_group::{self, GroupArgs};
use super::failure::Failure;
use super::output::written;

/// Write records as lines
///
/// Each value is written as it is, followed by a line feed; a record without value is an empty line. The records of one
/// partition come in order; those of several are mixed batch by batch.
#[derive(Args, Debug)]
pub(super) struct Consume {
    #[arg(long)]
    pub topic: String,

    /// Only this partition; may be given several times
    #[arg(long = "partition", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,

    /// Where to begin: beginning, end, an offset, or @MILLISECONDS since 1970 for the first record not older; with
    /// --group only where it has committed nothing
    #[arg(long, default_value = "end", value_name = "beginning|end|OFFSET|@MS", value_parser = place)]
    pub from: Place,

    /// Stop after so many records
    #[arg(long)]
    count: Option<u64>,

    /// Stop at what was the end when the command began
    #[arg(long)]
    exit_at_end: bool,

    /// Write each record's key and this before its value
    #[arg(long, value_name = "TEXT", value_parser = separator)]
    key_separator: Option<Separator>,

    #[command(flatten)]
    pub group: GroupArgs,

    #[command(flatten)]
    client: ClientArgs,
}

/// Bytes between key and value.
type Separator = Vec<u8>;

/// A record in JSON, one a line. Bytes that are not UTF-8 are replaced; `value_bytes` tells the length either way.
#[derive(Serialize)]
struct RecordRow {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    value_bytes: usize,
    headers: Vec<(String, Option<String>)>,
}

/// Writes records until there have been enough.
pub(super) struct Printer<'a> {
    command: &'a Consume,
    out: BufWriter<io::StdoutLock<'static>>,
    codecs: Codecs,
    left: Option<u64>,
    /// Where each partition ends for this command.
    ends: Option<BTreeMap<i32, Offset>>,
}

impl Consume {
    pub fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            if let Some(group) = &self.group.group {
                return consume_group::run(&self, group, cluster).await;
            }
            let partitions = (!self.partitions.is_empty()).then_some(&self.partitions[..]);
            let options = ConsumerOptions::default();
            let consumer =
                Consumer::open(cluster.clone(), &self.topic, partitions, self.from, options);
            let mut consumer = consumer.await?;
            let partitions: Vec<i32> = consumer.positions().keys().copied().collect();
            let mut printer = Printer::open(&self, &cluster, &partitions).await?;
            printer.drop_finished(&mut consumer);
            while !printer.is_full() && !consumer.positions().is_empty() {
                let fetched = consumer.poll().await?;
                printer.write(&fetched)?;
                printer.drop_finished(&mut consumer);
            }
            Ok(())
        })
    }
}

impl<'a> Printer<'a> {
    /// A printer as the command asks; with --exit-at-end, `partitions` end where they end now.
    pub async fn open(
        command: &'a Consume,
        cluster: &Cluster,
        partitions: &[i32],
    ) -> Result<Printer<'a>, Failure> {
        let topic = &command.topic;
        let ends = match command.exit_at_end {
            true => Some(cluster.offsets(topic, partitions, Place::End).await?),
            false => None,
        };
        Ok(Printer {
            command,
            out: BufWriter::with_capacity(256 << 10, io::stdout().lock()),
            codecs: Codecs::new(),
            left: command.count,
            ends,
        })
    }
}

impl Printer<'_> {
    /// Stops reading partitions that have come to their end.
    fn drop_finished(&self, consumer: &mut Consumer) {
        for partition in self.ends.iter().flat_map(BTreeMap::keys) {
            let read = consumer.delivered(*partition);
            if read.is_some_and(|read| self.is_at_end(*partition, read)) {
                consumer.drop_partition(*partition);
            }
        }
    }

    /// Whether as many records as wanted have been written.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether partitions end at some offset for this command.
    pub fn has_ends(&self) -> bool {
        self.ends.is_some()
    }

    /// Whether a partition that has been read up to `next` is at its end for this command.
    pub fn is_at_end(&self, partition: i32, next: Offset) -> bool {
        let ends = self.ends.as_ref();
        ends.is_some_and(|ends| ends.get(&partition).is_none_or(|end| next >= *end))
    }

    /// Writes what is wanted of the records; returns where to go on behind what was written.
    pub fn write(&mut self, fetched: &Fetched) -> Result<Offset, Failure> {
        let mut next = fetched.from;
        let corrupt = |why: String| {
            Failure::Fault(format!(
                "partition {}-{}: {why}",
                self.command.topic, fetched.partition
            ))
        };
        let end = self
            .ends
            .as_ref()
            .and_then(|ends| ends.get(&fetched.partition))
            .copied();
        for batch in split(&fetched.batches) {
            let batch = batch.map_err(|error| corrupt(error.to_string()))?;
            // Markers of transactions are not records.
            if batch.header.is_control() {
                continue;
            }
            let found = records(batch.bytes, INFLATED_BYTES_MAX, &mut self.codecs);
            for record in found.map_err(|error| corrupt(error.to_string()))? {
                let record = record.map_err(|error| corrupt(error.to_string()))?;
                if record.offset < fetched.from || end.is_some_and(|end| record.offset >= end) {
                    continue;
                }
                if self.left == Some(0) {
                    written(self.out.flush())?;
                    return Ok(next);
                }
                self.left = self.left.map(|left| left - 1);
                let line = write_record(&mut self.out, self.command, fetched.partition, &record);
                written(line)?;
                next = Offset(record.offset.0 + 1);
            }
        }
        written(self.out.flush())?;
        Ok(end.map_or(fetched.next, |end| fetched.next.min(end.max(next))))
    }
}

fn write_record(
    out: &mut impl Write,
    command: &Consume,
    partition: i32,
    record: &Record<'_>,
) -> io::Result<()> {
    if command.client.json {
        serde_json::to_writer(&mut *out, &RecordRow::of(partition, record))?;
        return out.write_all(b"\n");
    }
    if let Some(separator) = &command.key_separator
        && let Some(key) = record.key
    {
        out.write_all(key)?;
        out.write_all(separator)?;
    }
    out.write_all(record.value.unwrap_or_default())?;
    out.write_all(b"\n")
}

impl RecordRow {
    fn of(partition: i32, record: &Record<'_>) -> RecordRow {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        RecordRow {
            partition,
            offset: record.offset.0,
            timestamp: record.timestamp.0,
            key: record.key.map(text),
            value: record.value.map(text),
            value_bytes: record.value.map_or(0, <[u8]>::len),
            headers: record
                .headers
                .map(|header| (text(header.key), header.value.map(text)))
                .collect(),
        }
    }
}

/// What a batch of at most 100 MiB or so may inflate to.
const INFLATED_BYTES_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn reads_places() {
        assert_eq!(place("beginning"), Ok(Place::Beginning));
        assert_eq!(place("end"), Ok(Place::End));
        assert_eq!(place("12"), Ok(Place::At(Offset(12))));
        assert_eq!(
            place("@1700000000000"),
            Ok(Place::Since(Timestamp(1_700_000_000_000)))
        );
        for wrong in ["", "-1", "@", "@x", "start", "1.5"] {
            assert!(place(wrong).is_err(), "{wrong:?}");
        }
    }
}
