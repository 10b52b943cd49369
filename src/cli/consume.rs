//! `ringlog consume`: records to lines.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;

use clap::Args;
use serde::Serialize;

use crate::client::{Cluster, Consumer, ConsumerOptions, Fetched, Place};
use crate::record::{Codecs, Record, records, split};
use crate::types::Offset;

use super::args::{ClientArgs, place, separator};
use super::failure::Failure;
use super::output::written;

/// Write records as lines
///
/// Each value is written as it is, followed by a line feed; a record without value is an empty line. The records of one
/// partition come in order; those of several are mixed batch by batch.
#[derive(Args, Debug)]
pub(super) struct Consume {
    #[arg(long)]
    topic: String,

    /// Only this partition; may be given several times
    #[arg(long = "partition", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,

    /// Where to begin: beginning, end, an offset, or @MILLISECONDS since 1970 for the first record not older
    #[arg(long, default_value = "end", value_name = "beginning|end|OFFSET|@MS", value_parser = place)]
    from: Place,

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
struct Printer<'a> {
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
            let partitions = (!self.partitions.is_empty()).then_some(&self.partitions[..]);
            let options = ConsumerOptions::default();
            let consumer =
                Consumer::open(cluster.clone(), &self.topic, partitions, self.from, options);
            let mut consumer = consumer.await?;
            let mut printer = Printer {
                command: &self,
                out: BufWriter::with_capacity(256 << 10, io::stdout().lock()),
                codecs: Codecs::new(),
                left: self.count,
                ends: self.ends(&cluster, &consumer).await?,
            };
            printer.drop_finished(&mut consumer);
            while !printer.is_done(&consumer) {
                let fetched = consumer.poll().await?;
                printer.write(&fetched)?;
                printer.drop_finished(&mut consumer);
            }
            Ok(())
        })
    }

    async fn ends(
        &self,
        cluster: &Rc<Cluster>,
        consumer: &Consumer,
    ) -> Result<Option<BTreeMap<i32, Offset>>, Failure> {
        if !self.exit_at_end {
            return Ok(None);
        }
        let partitions: Vec<i32> = consumer.positions().keys().copied().collect();
        Ok(Some(
            cluster
                .offsets(&self.topic, &partitions, Place::End)
                .await?,
        ))
    }
}

impl Printer<'_> {
    /// Stops reading partitions that have come to their end.
    fn drop_finished(&self, consumer: &mut Consumer) {
        let Some(ends) = &self.ends else { return };
        for (partition, end) in ends {
            let read = consumer.delivered(*partition);
            if read.is_some_and(|read| read >= *end) {
                consumer.drop_partition(*partition);
            }
        }
    }

    fn is_done(&self, consumer: &Consumer) -> bool {
        self.left == Some(0) || consumer.positions().is_empty()
    }

    fn write(&mut self, fetched: &Fetched) -> Result<(), Failure> {
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
                    break;
                }
                self.left = self.left.map(|left| left - 1);
                let line = write_record(&mut self.out, self.command, fetched.partition, &record);
                written(line)?;
            }
        }
        written(self.out.flush())
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
