//! `ringlog produce`: lines to records.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use crate::client::{
    Acks, Idempotence, Producer, ProducerOptions, ProducerStats, partition_for_key,
};
use crate::record::Codec;
use crate::types::Timestamp;

use super::args::{ClientArgs, acks, bytes, codec, duration_or_zero, separator};
use super::failure::Failure;
use super::input::Input;
use super::lines::{LineTooLong, Lines, split_key};
use super::output::{counted, print_json};

/// Send lines as records
///
/// A record is a line without its line feed; carriage returns, empty lines and any bytes are kept. The lines of one
/// partition keep their order; without --partition and --key-separator, batches go round the partitions.
#[derive(Args, Debug)]
pub(super) struct Produce {
    #[arg(long)]
    topic: String,

    /// Where the lines come from, if not from standard input
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Send everything to this partition
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// What ends the key in a line: \t, \n, \r, \0 and \\ may be written. Lines without it have no key
    #[arg(long, value_name = "TEXT", value_parser = separator)]
    key_separator: Option<Separator>,

    /// Who must have a record before it counts as sent: 0 nobody, 1 the leader, all every in-sync replica
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: Acks,

    #[arg(long, value_name = "none|gzip|snappy|lz4|zstd", default_value = "none", value_parser = codec)]
    codec: Codec,

    /// A batch is sent when it has this size
    #[arg(long, value_name = "BYTES", default_value = "64k", value_parser = bytes)]
    batch_bytes: usize,

    /// or when its first record has waited so long
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration_or_zero)]
    linger: Duration,

    /// Let the broker keep duplicates of second tries (it drops them by default, where acks is all)
    #[arg(long)]
    no_idempotence: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Bytes between key and value.
type Separator = Vec<u8>;

#[derive(Serialize)]
struct Sent {
    topic: String,
    records: u64,
    batches: u64,
    last_line_had_line_feed: bool,
}

/// Where lines go.
struct Router<'a> {
    producer: &'a Producer,
    key_separator: Option<&'a [u8]>,
    /// Given, or the one that the open batch of keyless records belongs to.
    partition: i32,
    is_given: bool,
}

impl Produce {
    pub fn run(self) -> Result<(), Failure> {
        let path = self.file.as_deref();
        let name = path.map_or("standard input".to_owned(), |path| {
            path.display().to_string()
        });
        let input = Input::open(path).map_err(|error| Failure::io(&name, &error))?;
        self.client.with_cluster(async |cluster| {
            let producer = Producer::open(cluster, &self.topic, self.options()).await?;
            let mut router = Router {
                producer: &producer,
                key_separator: self.key_separator.as_deref(),
                partition: self.partition.unwrap_or(0),
                is_given: self.partition.is_some(),
            };
            let mut lines = Lines::new(LINE_BYTES_MAX);
            while let Some(chunk) = input
                .next_chunk()
                .await
                .map_err(|e| Failure::io(&name, &e))?
            {
                producer.room().await?;
                lines.push(&chunk, |line| router.send(line))?;
            }
            let last = lines.finish();
            if let Some(last) = &last {
                router.send(last)?;
            }
            let stats = producer.flush().await?;
            self.tell(stats, last.is_none())
        })
    }

    fn options(&self) -> ProducerOptions {
        let idempotent = self.acks == Acks::All && !self.no_idempotence;
        ProducerOptions {
            acks: self.acks,
            codec: self.codec,
            batch_bytes: self.batch_bytes,
            linger: self.linger,
            idempotence: if idempotent {
                Idempotence::On
            } else {
                Idempotence::Off
            },
            // Without idempotence, a second try behind another batch would break the order.
            window: if idempotent { 5 } else { 1 },
            request_timeout: self.client.reach.timeout,
            ..Default::default()
        }
    }

    fn tell(&self, stats: ProducerStats, last_line_had_line_feed: bool) -> Result<(), Failure> {
        if self.client.json {
            return print_json(&Sent {
                topic: self.topic.clone(),
                records: stats.records_acked,
                batches: stats.batches_acked,
                last_line_had_line_feed,
            });
        }
        eprintln!(
            "sent {} in {}",
            counted(stats.records_acked, "record"),
            counted(stats.batches_acked, "batch")
        );
        if !last_line_had_line_feed {
            eprintln!("the last line had no line feed; consume will end it with one");
        }
        Ok(())
    }
}

impl Router<'_> {
    fn send(&mut self, line: &[u8]) -> Result<(), Failure> {
        let (key, value) = match self.key_separator {
            Some(separator) => split_key(line, separator),
            None => (None, line),
        };
        let count = self.producer.partition_count();
        let partition = match (self.is_given, key) {
            (false, Some(key)) => partition_for_key(key, count) as i32,
            (true, _) => self.partition,
            (false, None) => {
                // A keyless record joins the open batch; when that has gone, the next partition has its turn.
                if self.producer.open_bytes(self.partition) == 0 {
                    self.partition = (self.partition + 1) % count as i32;
                }
                self.partition
            }
        };
        let value = Some(value);
        Ok(self.producer.append(partition, now(), key, value, &[])?)
    }
}

impl From<LineTooLong> for Failure {
    fn from(error: LineTooLong) -> Failure {
        Failure::Fault(format!(
            "line {} is longer than {} MiB, more than any record may be",
            error.line,
            error.max >> 20
        ))
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(since.as_millis() as i64)
}

/// Far above any `message.max.bytes`, far below what would hurt this machine.
const LINE_BYTES_MAX: usize = 256 << 20;
