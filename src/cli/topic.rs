//! `ringlog topic`: topics, their partitions and their configuration.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::{self, AutoCreate, Mode, NewTopic, Place, Resource, Topic};
use crate::types::NodeId;

use super::args::{ClientArgs, key_value};
use super::config::Edits;
use super::failure::Failure;
use super::output::{Rows, counted, ids, print, print_json};

/// Create, list, describe, alter and delete topics
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Create(Create),
    List(List),
    Describe(Describe),
    Alter(Alter),
    Delete(Delete),
}

/// Create a topic
#[derive(Args, Debug)]
pub(super) struct Create {
    topic: String,

    /// How many partitions; the broker's num.partitions if not given
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Replicas of each partition; the broker's default.replication.factor if not given
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,

    /// A configuration of the topic's own; may be given several times
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,

    /// Do nothing if the topic exists
    #[arg(long)]
    if_not_exists: bool,

    /// Only check whether the topic could be created
    #[arg(long)]
    validate_only: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// List the topics
#[derive(Args, Debug)]
pub(super) struct List {
    /// Also those that the brokers keep for themselves
    #[arg(long)]
    internal: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Show a topic's partitions, offsets and configuration
#[derive(Args, Debug)]
pub(super) struct Describe {
    /// All topics that are not internal, if none is named
    topics: Vec<String>,

    /// Every configuration key, not only those set on the topic
    #[arg(long)]
    all_configs: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Change a topic's configuration or give it more partitions
#[derive(Args, Debug)]
#[group(id = "change", required = true, multiple = true, args = ["partitions", "set", "unset", "append", "subtract"])]
pub(super) struct Alter {
    topic: String,

    /// How many partitions it shall have in all; never fewer than it has
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    #[command(flatten)]
    edits: Edits,

    /// Only check whether the change could be made
    #[arg(long)]
    validate_only: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Delete topics with all their records
#[derive(Args, Debug)]
pub(super) struct Delete {
    #[arg(required = true)]
    topics: Vec<String>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct TopicRow {
    name: String,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    topic: TopicRow,
    partition_rows: Vec<PartitionRow>,
    configs: Vec<ConfigRow>,
}

#[derive(Serialize)]
struct PartitionRow {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
}

#[derive(Serialize)]
struct ConfigRow {
    name: String,
    value: Option<String>,
    source: &'static str,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Create(command) => command.run(),
            Command::List(command) => command.run(),
            Command::Describe(command) => command.run(),
            Command::Alter(command) => command.run(),
            Command::Delete(command) => command.run(),
        }
    }
}

impl Create {
    fn run(self) -> Result<(), Failure> {
        let mode = if self.validate_only {
            Mode::ValidateOnly
        } else {
            Mode::Do
        };
        let topic = NewTopic {
            name: self.topic,
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            configs: self.configs,
        };
        self.client.with_cluster(async |cluster| {
            let created = match cluster.create_topic(&topic, mode).await {
                Err(error) if self.if_not_exists && exists(&error) => {
                    return print(&format!("topic {} exists", topic.name));
                }
                created => created?,
            };
            if self.client.json {
                return print_json(&serde_json::json!({
                    "name": topic.name,
                    "id": created.topic_id.to_string(),
                    "partitions": created.num_partitions,
                    "replication_factor": created.replication_factor,
                    "validated_only": self.validate_only,
                }));
            }
            if self.validate_only {
                return print(&format!("topic {} could be created", topic.name));
            }
            // On return the topic can be used, on every broker that answers metadata.
            let known = cluster.topic(&topic.name, AutoCreate::Allow).await?;
            print(&format!(
                "created topic {} with {}",
                topic.name,
                counted(known.partitions.len() as u64, "partition"),
            ))
        })
    }
}

fn exists(error: &client::ClientError) -> bool {
    error.code() == Some(crate::protocol::ErrorCode::TopicAlreadyExists)
}

impl List {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            cluster.learn_all().await?;
            let topology = cluster.topology();
            let topics = topology.topics().into_iter();
            let topics = topics.filter(|topic| self.internal || !topic.is_internal);
            let found: Vec<TopicRow> = topics.map(TopicRow::of).collect();
            if self.client.json {
                return print_json(&found);
            }
            if found.is_empty() {
                eprintln!("no topics");
                return Ok(());
            }
            let mut rows =
                Rows::new(&["topic", "partitions", "replicas", "id"]).align_right(&[1, 2]);
            for topic in found {
                rows.push(vec![
                    topic.name,
                    topic.partitions.to_string(),
                    topic.replication_factor.to_string(),
                    topic.id,
                ]);
            }
            rows.print()
        })
    }
}

impl TopicRow {
    fn of(topic: &Topic) -> TopicRow {
        TopicRow {
            name: topic.name.to_string(),
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.first().map_or(0, |p| p.replicas.len()),
            internal: topic.is_internal,
        }
    }
}

impl Describe {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let mut described = Vec::new();
            for name in self.names(&cluster).await? {
                let topic = cluster.topic(&name, AutoCreate::Forbid).await?;
                described.push(self.describe(&cluster, &topic).await?);
            }
            if self.client.json {
                return print_json(&described);
            }
            for (index, topic) in described.into_iter().enumerate() {
                if index > 0 {
                    print("")?;
                }
                topic.print()?;
            }
            Ok(())
        })
    }

    async fn names(&self, cluster: &client::Cluster) -> Result<Vec<String>, Failure> {
        if !self.topics.is_empty() {
            return Ok(self.topics.clone());
        }
        cluster.learn_all().await?;
        let topology = cluster.topology();
        let topics = topology.topics().into_iter().filter(|t| !t.is_internal);
        Ok(topics.map(|topic| topic.name.to_string()).collect())
    }

    async fn describe(
        &self,
        cluster: &client::Cluster,
        topic: &Topic,
    ) -> Result<Described, Failure> {
        // A partition without leader has no offsets to tell; the rest is worth showing.
        let led = topic.partitions.iter().filter(|p| p.leader.is_some());
        let led: Vec<i32> = led.map(|p| p.index).collect();
        let starts = cluster.offsets(&topic.name, &led, Place::Beginning).await?;
        let ends = cluster.offsets(&topic.name, &led, Place::End).await?;
        let rows = topic.partitions.iter().map(|partition| PartitionRow {
            partition: partition.index,
            leader: partition.leader.map(|node| node.0),
            leader_epoch: partition.leader_epoch.0,
            replicas: partition.replicas.iter().map(|node| node.0).collect(),
            isr: partition.isr.iter().map(|node| node.0).collect(),
            start_offset: starts.get(&partition.index).map(|offset| offset.0),
            end_offset: ends.get(&partition.index).map(|offset| offset.0),
        });
        let partition_rows = rows.collect();
        let resource = Resource::Topic(topic.name.to_string());
        let configs = cluster.describe_configs(&resource).await?;
        let configs = configs
            .into_iter()
            .filter(|c| self.all_configs || c.config_source == 1);
        Ok(Described {
            topic: TopicRow::of(topic),
            partition_rows,
            configs: configs
                .map(|config| ConfigRow {
                    name: config.name.to_string(),
                    value: config.value.as_ref().map(|value| value.to_string()),
                    source: super::config::source_name(config.config_source),
                })
                .collect(),
        })
    }
}

impl Described {
    fn print(self) -> Result<(), Failure> {
        let topic = &self.topic;
        print(&format!(
            "topic {}  id {}  {}  {}",
            topic.name,
            topic.id,
            counted(topic.partitions as u64, "partition"),
            counted(topic.replication_factor as u64, "replica"),
        ))?;
        for config in &self.configs {
            let value = config.value.as_deref().unwrap_or("(not set)");
            print(&format!("  {}={value}  ({})", config.name, config.source))?;
        }
        let columns = [
            "partition",
            "leader",
            "epoch",
            "replicas",
            "isr",
            "start",
            "end",
            "records",
        ];
        let mut rows = Rows::new(&columns).align_right(&[0, 1, 2, 5, 6, 7]);
        for row in self.partition_rows {
            let optional = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
            let records = row
                .start_offset
                .zip(row.end_offset)
                .map(|(start, end)| end - start);
            rows.push(vec![
                row.partition.to_string(),
                optional(row.leader.map(i64::from)),
                row.leader_epoch.to_string(),
                ids(&row
                    .replicas
                    .iter()
                    .map(|&id| NodeId(id))
                    .collect::<Vec<_>>()),
                ids(&row.isr.iter().map(|&id| NodeId(id)).collect::<Vec<_>>()),
                optional(row.start_offset),
                optional(row.end_offset),
                optional(records),
            ]);
        }
        rows.print()
    }
}

impl Alter {
    fn run(self) -> Result<(), Failure> {
        let mode = if self.validate_only {
            Mode::ValidateOnly
        } else {
            Mode::Do
        };
        let changes = self.edits.changes();
        self.client.with_cluster(async |cluster| {
            if !changes.is_empty() {
                let resource = Resource::Topic(self.topic.clone());
                cluster.alter_configs(&resource, &changes, mode).await?;
            }
            if let Some(count) = self.partitions {
                cluster.create_partitions(&self.topic, count, mode).await?;
            }
            if self.client.json {
                return print_json(&serde_json::json!({
                    "name": self.topic,
                    "validated_only": self.validate_only,
                }));
            }
            print(&match mode {
                Mode::Do => format!("altered topic {}", self.topic),
                Mode::ValidateOnly => format!("topic {} could be altered so", self.topic),
            })
        })
    }
}

impl Delete {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            for topic in &self.topics {
                cluster.delete_topic(topic).await?;
                if !self.client.json {
                    print(&format!("deleted topic {topic}"))?;
                }
            }
            match self.client.json {
                true => print_json(&serde_json::json!({ "deleted": self.topics })),
                false => Ok(()),
            }
        })
    }
}
