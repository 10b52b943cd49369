//! `ringlog log import`: topics that Apache Kafka wrote, taken into a stopped broker's log directories.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::config::BrokerConfig;
use crate::shard::{self, ImportError, ImportedPartition};
use crate::storage::{Transfer, segment_bytes};

use super::args::key_value;
use super::failure::Failure;
use super::output::{Rows, byte_bar, print, print_json};
use super::time::span;

/// Take topics that Apache Kafka wrote into a stopped broker's log directories
///
/// Give all partition directories (topic-0 topic-1 ...) of a stopped Kafka's topics. Every batch is checked, and comes as
/// it is with its offset; indexes, leader epochs, aborted transactions and producers are made from the batches. The topics
/// keep their ids, and are kept as long as this broker's configuration and --topic-config say, not Kafka's: what has had its
/// time goes soon after the broker's start. Nothing of Kafka's is changed. The broker must have run once before, and must be
/// stopped.
#[derive(Args, Debug)]
pub(super) struct Import {
    /// Directories of partitions, of one topic or several
    #[arg(required = true, value_name = "KAFKA_PARTITION_DIR")]
    sources: Vec<PathBuf>,

    /// The broker's server.properties, which names its log directories
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Over what the file says; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// A configuration that every imported topic gets, as cleanup.policy=compact, or retention.ms=-1 to keep all; may be given
    /// several times
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    topic_configs: Vec<(String, String)>,

    /// Hard links instead of copies, but for each newest segment; the file system must be the same
    #[arg(long)]
    link: bool,

    /// Kafka was killed: cut off what its last write left torn
    #[arg(long)]
    unclean: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    topic_id: String,
    partition: i32,
    directory: String,
    start_offset: i64,
    end_offset: i64,
    bytes: u64,
    producers: usize,
    open_transactions: usize,
    cleanup_policy: String,
    retention_ms: i64,
    retention_bytes: i64,
    /// Goes soon after the broker's start.
    expired_bytes: u64,
}

impl Import {
    pub fn run(self) -> Result<(), Failure> {
        let loaded = BrokerConfig::load(self.config.as_deref(), &self.overrides);
        let (config, warnings) = loaded.map_err(|error| Failure::Usage(error.to_string()))?;
        for warning in warnings {
            eprintln!("ringlog: {warning}");
        }
        // Every byte counts twice: checked where it lies, and brought over.
        let total = || {
            2 * self
                .sources
                .iter()
                .map(|path| segment_bytes(path))
                .sum::<u64>()
        };
        let bar = byte_bar("{bar:40} {bytes}/{total_bytes} {eta}", total);
        let request = shard::Import {
            sources: self.sources,
            configs: self.topic_configs,
            transfer: match self.link {
                true => Transfer::Link,
                false => Transfer::Copy,
            },
            unclean: self.unclean,
        };
        let imported = shard::import(&config, &request, &mut |bytes| bar.inc(bytes));
        bar.finish_and_clear();
        let imported = imported.map_err(|error| match error {
            ImportError::Refused(why) => Failure::Usage(why),
            ImportError::Failed(why) => Failure::Fault(why),
        })?;
        let rows: Vec<Row> = imported.into_iter().map(Row::of).collect();
        match self.json {
            true => print_json(&rows),
            false => print_rows(&rows),
        }
    }
}

impl Row {
    fn of(partition: ImportedPartition) -> Row {
        Row {
            topic: partition.topic.to_string(),
            topic_id: partition.topic_id.to_string(),
            partition: partition.partition,
            directory: partition.directory.display().to_string(),
            start_offset: partition.start.0,
            end_offset: partition.end.0,
            bytes: partition.bytes,
            producers: partition.producers,
            open_transactions: partition.open_transactions,
            cleanup_policy: partition.keeping.policy.to_string(),
            retention_ms: partition.keeping.retention_ms,
            retention_bytes: partition.keeping.retention_bytes,
            expired_bytes: partition.keeping.expired_bytes,
        }
    }
}

/// How long a topic is kept, and what keeps it longer.
fn kept(rows: &[Row]) -> String {
    let Row {
        topic,
        cleanup_policy,
        retention_ms,
        retention_bytes,
        ..
    } = &rows[0];
    let mut text = format!("{topic}: cleanup.policy={cleanup_policy}");
    if !cleanup_policy.contains("delete") {
        return text;
    }
    let (mut keeps, mut starts) = (Vec::new(), Vec::new());
    if *retention_ms >= 0 {
        let age = span(*retention_ms);
        text.push_str(&format!(", retention.ms={retention_ms} ({age})"));
        keeps.push("--topic-config retention.ms=-1");
        starts.push("--override log.retention.ms=-1");
    }
    if *retention_bytes >= 0 {
        text.push_str(&format!(", retention.bytes={retention_bytes}"));
        keeps.push("--topic-config retention.bytes=-1");
        starts.push("--override log.retention.bytes=-1");
    }
    let expired: u64 = rows.iter().map(|row| row.expired_bytes).sum();
    match (keeps.is_empty(), expired) {
        (true, _) => text.push_str(", no limit: all is kept"),
        (false, 0) => text.push_str(&format!("; {} at the import keeps all", keeps.join(" "))),
        (false, bytes) => text.push_str(&format!(
            "; {bytes} bytes have had their time and go soon after the broker's start. {} at the import keeps all; \
             what is imported already stays if the broker is started with {} (where --topic-config says nothing else)",
            keeps.join(" "),
            starts.join(" ")
        )),
    }
    text
}

fn print_rows(rows: &[Row]) -> Result<(), Failure> {
    let columns = [
        "topic",
        "topic id",
        "partition",
        "directory",
        "offsets",
        "bytes",
        "producers",
    ];
    let mut table = Rows::new(&columns).align_right(&[2, 5, 6]);
    for row in rows {
        table.push(vec![
            row.topic.clone(),
            row.topic_id.clone(),
            row.partition.to_string(),
            row.directory.clone(),
            format!("{}-{}", row.start_offset, row.end_offset),
            row.bytes.to_string(),
            row.producers.to_string(),
        ]);
    }
    table.print()?;
    for topic in rows.chunk_by(|a, b| a.topic == b.topic) {
        print(&kept(topic))?;
    }
    for row in rows.iter().filter(|row| row.open_transactions > 0) {
        print(&format!(
            "{}-{}: {} transactions were never ended; readers of committed records wait there until they are aborted \
             (`ringlog txn`)",
            row.topic, row.partition, row.open_transactions
        ))?;
    }
    Ok(())
}
