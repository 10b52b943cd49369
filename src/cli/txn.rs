//! `ringlog txn`: transactions, those that hang, and ending them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::{AutoCreate, Cluster, OpenTransaction, TopicPartition, TransactionFilter};
use crate::protocol::ErrorCode;
use crate::protocol::describe_producers::ProducerState;
use crate::protocol::describe_transactions::TransactionState;

use super::args::{ClientArgs, duration};
use super::failure::Failure;
use super::output::{Rows, print, print_json};
use super::time::span;

/// List and describe transactions, find those that hang, abort them
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    List(List),
    Describe(Describe),
    Producers(Producers),
    FindHanging(FindHanging),
    Abort(Abort),
}

/// List the transactional ids and the state of each one's last transaction
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only in this state, as Ongoing or PrepareCommit; may be given several times
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,

    /// Only of this producer; may be given several times
    #[arg(long = "producer-id", value_name = "ID", value_parser = clap::value_parser!(i64).range(0..))]
    producer_ids: Vec<i64>,

    /// Only those that have been open for longer
    #[arg(long, value_name = "TIME", value_parser = duration)]
    longer_than: Option<Duration>,

    /// Only ids that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Show transactional ids: state, producer, time-out, and the partitions of the open transaction
#[derive(Args, Debug)]
pub(super) struct Describe {
    #[arg(required = true)]
    ids: Vec<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Show the producers that a partition remembers, with their open transactions
#[derive(Args, Debug)]
pub(super) struct Producers {
    #[arg(long)]
    topic: String,

    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,

    #[command(flatten)]
    client: ClientArgs,
}

/// Find transactions that are open in a partition although their coordinator knows nothing of it
///
/// Such a transaction ends by itself never, and readers of committed records wait in front of it.
#[derive(Args, Debug)]
pub(super) struct FindHanging {
    /// Only in this topic; all topics if none is named
    #[arg(long)]
    topic: Option<String>,

    /// Only in this partition of the topic
    #[arg(long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Younger ones may still become known: the brokers' transaction.max.timeout.ms
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    older_than: Duration,

    #[command(flatten)]
    client: ClientArgs,
}

/// End a transaction in one partition alone, as aborted
///
/// For those that find-hanging shows. It is named by the offset it begins at, or by its producer.
#[derive(Args, Debug)]
pub(super) struct Abort {
    #[arg(long)]
    topic: String,

    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,

    /// Where the transaction begins in the partition
    #[arg(long, value_name = "OFFSET", required_unless_present = "producer_id")]
    start_offset: Option<i64>,

    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "start_offset",
        requires = "producer_epoch"
    )]
    producer_id: Option<i64>,

    #[arg(long, value_name = "EPOCH", requires = "producer_id")]
    producer_epoch: Option<i16>,

    /// The coordinator's epoch; the last one's that wrote a marker for this producer, or any if there was none
    #[arg(
        long,
        value_name = "EPOCH",
        requires = "producer_id",
        default_value_t = 0
    )]
    coordinator_epoch: i32,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct ListRow {
    transactional_id: String,
    state: String,
    producer_id: i64,
    coordinator: i32,
}

#[derive(Serialize)]
struct Described {
    transactional_id: String,
    state: String,
    producer_id: i64,
    producer_epoch: i16,
    coordinator: i32,
    timeout_ms: i32,
    /// Of the open transaction.
    start_ms: Option<i64>,
    open_for_ms: Option<i64>,
    partitions: BTreeMap<String, Vec<i32>>,
}

#[derive(Serialize)]
struct ProducerRow {
    producer_id: i64,
    producer_epoch: i32,
    last_sequence: i32,
    last_timestamp: i64,
    coordinator_epoch: Option<i32>,
    transaction_start_offset: Option<i64>,
}

#[derive(Serialize)]
struct HangingRow {
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i32,
    coordinator_epoch: i32,
    start_offset: i64,
    last_timestamp: i64,
    idle_for_ms: i64,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::List(command) => command.run(),
            Command::Describe(command) => command.run(),
            Command::Producers(command) => command.run(),
            Command::FindHanging(command) => command.run(),
            Command::Abort(command) => command.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let filter = TransactionFilter {
            states: self.states,
            producer_ids: self.producer_ids,
            running_ms_min: self.longer_than.map(|time| time.as_millis() as i64),
            pattern: self.pattern,
        };
        self.client.with_cluster(async |cluster| {
            let found = cluster.list_transactions(&filter).await?;
            let rows = found.into_iter().map(|(coordinator, row)| ListRow {
                transactional_id: row.transactional_id.to_string(),
                state: row.transaction_state.to_string(),
                producer_id: row.producer_id,
                coordinator: coordinator.0,
            });
            let found: Vec<ListRow> = rows.collect();
            if self.client.json {
                return print_json(&found);
            }
            if found.is_empty() {
                eprintln!("no transactions");
                return Ok(());
            }
            let columns = ["transactional id", "state", "producer id", "coordinator"];
            let mut rows = Rows::new(&columns).align_right(&[2, 3]);
            for row in found {
                rows.push(vec![
                    row.transactional_id,
                    row.state,
                    row.producer_id.to_string(),
                    row.coordinator.to_string(),
                ]);
            }
            rows.print()
        })
    }
}

impl Describe {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let mut found = Vec::new();
            for id in &self.ids {
                let (coordinator, row) = cluster.describe_transaction(id).await?;
                found.push(Described::of(coordinator.0, &row, wall_ms()));
            }
            if self.client.json {
                return print_json(&found);
            }
            for row in found {
                row.print()?;
            }
            Ok(())
        })
    }
}

impl Described {
    fn of(coordinator: i32, row: &TransactionState, now_ms: i64) -> Described {
        let start_ms = Some(row.transaction_start_time_ms).filter(|start| *start >= 0);
        let partitions = row.topics.iter();
        Described {
            transactional_id: row.transactional_id.to_string(),
            state: row.transaction_state.to_string(),
            producer_id: row.producer_id,
            producer_epoch: row.producer_epoch,
            coordinator,
            timeout_ms: row.transaction_timeout_ms,
            start_ms,
            open_for_ms: start_ms.map(|start| (now_ms - start).max(0)),
            partitions: partitions
                .map(|topic| (topic.topic.to_string(), topic.partitions.clone()))
                .collect(),
        }
    }

    fn print(self) -> Result<(), Failure> {
        print(&format!(
            "transactional id {}  {}  producer {} epoch {}  coordinator {}  time-out {}",
            self.transactional_id,
            self.state,
            self.producer_id,
            self.producer_epoch,
            self.coordinator,
            span(self.timeout_ms.into()),
        ))?;
        if let Some(open_for_ms) = self.open_for_ms {
            print(&format!("  begun {} ago", span(open_for_ms)))?;
        }
        for (topic, partitions) in self.partitions {
            let partitions: Vec<String> = partitions.iter().map(|p| p.to_string()).collect();
            print(&format!("  {topic}: {}", partitions.join(", ")))?;
        }
        Ok(())
    }
}

impl Producers {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let found = cluster
                .describe_producers(&self.topic, self.partition)
                .await?;
            let mut found: Vec<ProducerRow> = found.iter().map(ProducerRow::of).collect();
            found.sort_by_key(|row| row.producer_id);
            if self.client.json {
                return print_json(&found);
            }
            if found.is_empty() {
                eprintln!("no producers");
                return Ok(());
            }
            let columns = [
                "producer id",
                "epoch",
                "coordinator epoch",
                "last sequence",
                "last write",
                "transaction from",
            ];
            let mut rows = Rows::new(&columns).align_right(&[0, 1, 2, 3, 4, 5]);
            let now = wall_ms();
            for row in found {
                rows.push(vec![
                    row.producer_id.to_string(),
                    row.producer_epoch.to_string(),
                    optional(row.coordinator_epoch),
                    row.last_sequence.to_string(),
                    format!("{} ago", span((now - row.last_timestamp).max(0))),
                    optional(row.transaction_start_offset),
                ]);
            }
            rows.print()
        })
    }
}

impl ProducerRow {
    fn of(producer: &ProducerState) -> ProducerRow {
        ProducerRow {
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            last_sequence: producer.last_sequence,
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: Some(producer.coordinator_epoch).filter(|epoch| *epoch >= 0),
            transaction_start_offset: open_from(producer),
        }
    }
}

impl FindHanging {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let found = self.find(&cluster).await?;
            if self.client.json {
                return print_json(&found);
            }
            if found.is_empty() {
                eprintln!("no transaction hangs");
                return Ok(());
            }
            let columns = [
                "topic",
                "partition",
                "producer id",
                "epoch",
                "coordinator epoch",
                "start offset",
                "last write",
            ];
            let mut rows = Rows::new(&columns).align_right(&[1, 2, 3, 4, 5, 6]);
            for row in found {
                rows.push(vec![
                    row.topic,
                    row.partition.to_string(),
                    row.producer_id.to_string(),
                    row.producer_epoch.to_string(),
                    row.coordinator_epoch.to_string(),
                    row.start_offset.to_string(),
                    format!("{} ago", span(row.idle_for_ms)),
                ]);
            }
            rows.print()
        })
    }

    /// Old open transactions of the partitions, less those that a coordinator will end.
    async fn find(&self, cluster: &Cluster) -> Result<Vec<HangingRow>, Failure> {
        let now = wall_ms();
        let mut open = Vec::new();
        for partition in self.partitions(cluster).await? {
            let producers = cluster
                .describe_producers(&partition.0, partition.1)
                .await?;
            let old = producers.iter().filter_map(|producer| {
                let start_offset = open_from(producer)?;
                let idle_for_ms = now - producer.last_timestamp;
                let old = idle_for_ms >= self.older_than.as_millis() as i64;
                old.then(|| HangingRow {
                    topic: partition.0.to_string(),
                    partition: partition.1,
                    producer_id: producer.producer_id,
                    producer_epoch: producer.producer_epoch,
                    coordinator_epoch: producer.coordinator_epoch,
                    start_offset,
                    last_timestamp: producer.last_timestamp,
                    idle_for_ms,
                })
            });
            open.extend(old);
        }
        let mut hanging = Vec::new();
        if open.is_empty() {
            return Ok(hanging);
        }
        let known = known_transactions(cluster, &open).await?;
        for row in open {
            let theirs = known.get(&row.producer_id);
            if !theirs.is_some_and(|state| covers(state, &row)) {
                hanging.push(row);
            }
        }
        Ok(hanging)
    }

    async fn partitions(&self, cluster: &Cluster) -> Result<Vec<TopicPartition>, Failure> {
        if let Some(name) = &self.topic {
            let topic = cluster.topic(name, AutoCreate::Forbid).await?;
            let wanted = topic.partitions.iter().map(|partition| partition.index);
            let wanted: Vec<i32> = match self.partition {
                Some(partition) => vec![topic.partition(partition)?.index],
                None => wanted.collect(),
            };
            return Ok(wanted
                .into_iter()
                .map(|index| (topic.name.clone(), index))
                .collect());
        }
        cluster.learn_all().await?;
        let topology = cluster.topology();
        let all = topology.topics().into_iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.name.clone(), partition.index))
        });
        Ok(all.collect())
    }
}

/// What the coordinators know of the producers of `open`, by producer id.
async fn known_transactions(
    cluster: &Cluster,
    open: &[HangingRow],
) -> Result<BTreeMap<i64, TransactionState>, Failure> {
    let filter = TransactionFilter {
        producer_ids: open.iter().map(|row| row.producer_id).collect(),
        ..Default::default()
    };
    let mut known = BTreeMap::new();
    for (_, listed) in cluster.list_transactions(&filter).await? {
        match cluster.describe_transaction(&listed.transactional_id).await {
            Ok((_, state)) => {
                known.insert(listed.producer_id, state);
            }
            // Gone since it was listed.
            Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(known)
}

/// Whether the coordinator's transaction is the one in that partition, so that its end will reach it.
fn covers(state: &TransactionState, row: &HangingRow) -> bool {
    let mut topics = state.topics.iter();
    state.producer_id == row.producer_id
        && topics
            .any(|topic| topic.topic == *row.topic && topic.partitions.contains(&row.partition))
}

impl Abort {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let open = self.open(&cluster).await?;
            let aborted = cluster.abort_in_partition(&self.topic, self.partition, open);
            aborted.await?;
            if self.client.json {
                return print_json(&serde_json::json!({
                    "topic": self.topic,
                    "partition": self.partition,
                    "producer_id": open.producer_id,
                    "producer_epoch": open.producer_epoch,
                }));
            }
            print(&format!(
                "aborted the transaction of producer {} in partition {}-{}",
                open.producer_id, self.topic, self.partition
            ))
        })
    }

    async fn open(&self, cluster: &Cluster) -> Result<OpenTransaction, Failure> {
        if let Some((producer_id, producer_epoch)) = self.producer_id.zip(self.producer_epoch) {
            return Ok(OpenTransaction {
                producer_id,
                producer_epoch,
                coordinator_epoch: self.coordinator_epoch,
            });
        }
        let producers = cluster
            .describe_producers(&self.topic, self.partition)
            .await?;
        let found = producers.iter().find(|producer| {
            open_from(producer).is_some() && open_from(producer) == self.start_offset
        });
        let found = found.ok_or_else(|| {
            let offset = self.start_offset.unwrap_or_default();
            Failure::Fault(format!(
                "partition {}-{} has no open transaction that begins at offset {offset}",
                self.topic, self.partition
            ))
        })?;
        let producer_epoch = i16::try_from(found.producer_epoch).map_err(|_| {
            Failure::Fault(format!(
                "producer {} has an epoch that cannot be: {}",
                found.producer_id, found.producer_epoch
            ))
        })?;
        Ok(OpenTransaction {
            producer_id: found.producer_id,
            producer_epoch,
            // −1 where no marker of this producer has been seen.
            coordinator_epoch: found.coordinator_epoch.max(0),
        })
    }
}

/// Where a producer's open transaction begins.
fn open_from(producer: &ProducerState) -> Option<i64> {
    Some(producer.current_txn_start_offset).filter(|offset| *offset >= 0)
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as i64
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    //! Goal: only a transaction that nobody will end counts as hanging. Method: states as coordinators tell them.

    use super::*;
    use crate::protocol::describe_transactions::TopicData;

    fn row(producer_id: i64, partition: i32) -> HangingRow {
        HangingRow {
            topic: "t".to_owned(),
            partition,
            producer_id,
            producer_epoch: 3,
            coordinator_epoch: 0,
            start_offset: 10,
            last_timestamp: 0,
            idle_for_ms: 0,
        }
    }

    #[test]
    fn a_transaction_hangs_where_its_coordinator_does_not_name_the_partition() {
        let state = TransactionState {
            producer_id: 7,
            topics: vec![TopicData {
                topic: "t".into(),
                partitions: vec![0, 1],
            }],
            ..Default::default()
        };
        assert!(covers(&state, &row(7, 1)));
        assert!(!covers(&state, &row(7, 2)));
        assert!(!covers(&state, &row(8, 1)));
        assert!(!covers(
            &TransactionState {
                producer_id: 7,
                ..Default::default()
            },
            &row(7, 1)
        ));
    }

    #[test]
    fn only_an_open_transaction_has_an_age() {
        let mut state = TransactionState {
            transaction_start_time_ms: -1,
            ..Default::default()
        };
        assert_eq!(Described::of(1, &state, 5_000).open_for_ms, None);
        state.transaction_start_time_ms = 4_000;
        assert_eq!(Described::of(1, &state, 5_000).open_for_ms, Some(1_000));
    }
}
