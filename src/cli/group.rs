//! `ringlog group`: consumer groups, how far they have read, and setting them elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::{Cluster, Committed, GroupDescription, GroupMember, Place, TopicPartition};
use crate::types::{Offset, Timestamp};

use super::args::ClientArgs;
use super::failure::Failure;
use super::output::{Rows, counted, print, print_json};
use super::reset::ResetOffsets;
use super::time::span;

/// List and describe consumer groups, reset their offsets, delete them
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    List(List),
    Describe(Describe),
    ResetOffsets(Box<ResetOffsets>),
    Delete(Delete),
}

/// List the groups
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only groups in this state, as Stable or Empty; may be given several times
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,

    /// Only groups of this type, as classic or consumer; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Show a group's offsets, lag and members
///
/// The lag in time is the age of the first record not read: how late the group is, whatever the rate.
#[derive(Args, Debug)]
pub(super) struct Describe {
    /// All groups, if none is named
    groups: Vec<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Delete groups that have no members, with their offsets
#[derive(Args, Debug)]
pub(super) struct Delete {
    #[arg(required = true)]
    groups: Vec<String>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct GroupRow {
    group: String,
    #[serde(rename = "type")]
    kind: String,
    protocol_type: String,
    state: String,
    coordinator: i32,
}

#[derive(Serialize)]
struct Described {
    group: String,
    #[serde(rename = "type")]
    kind: &'static str,
    state: String,
    protocol_type: String,
    assignor: String,
    epoch: Option<i32>,
    coordinator: i32,
    partitions: Vec<PartitionRow>,
    members: Vec<MemberRow>,
}

#[derive(Serialize, PartialEq, Debug)]
struct PartitionRow {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    log_end_offset: Option<i64>,
    /// Records from the committed offset to the log's end.
    lag: Option<i64>,
    /// Age of the first record not read; 0 where all are.
    lag_ms: Option<i64>,
    metadata: Option<String>,
    member: Option<String>,
}

#[derive(Serialize)]
struct MemberRow {
    member: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    epoch: Option<i32>,
    assignment: BTreeMap<String, Vec<i32>>,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::List(command) => command.run(),
            Command::Describe(command) => command.run(),
            Command::ResetOffsets(command) => command.run(),
            Command::Delete(command) => command.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            let found = cluster.list_groups(&self.states, &self.types).await?;
            let rows = found.into_iter().map(|(coordinator, group)| GroupRow {
                group: group.group_id.to_string(),
                kind: group.group_type.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                coordinator: coordinator.0,
            });
            let found: Vec<GroupRow> = rows.collect();
            if self.client.json {
                return print_json(&found);
            }
            if found.is_empty() {
                eprintln!("no groups");
                return Ok(());
            }
            let columns = ["group", "type", "protocol", "state", "coordinator"];
            let mut rows = Rows::new(&columns).align_right(&[4]);
            for row in found {
                rows.push(vec![
                    row.group,
                    dash(row.kind),
                    dash(row.protocol_type),
                    dash(row.state),
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
            let mut described = Vec::new();
            for group in self.names(&cluster).await? {
                described.push(describe(&cluster, &group).await?);
            }
            if self.client.json {
                return print_json(&described);
            }
            for (index, group) in described.into_iter().enumerate() {
                if index > 0 {
                    print("")?;
                }
                group.print()?;
            }
            Ok(())
        })
    }

    async fn names(&self, cluster: &Cluster) -> Result<Vec<String>, Failure> {
        if !self.groups.is_empty() {
            return Ok(self.groups.clone());
        }
        // Other types of groups, as share groups, cannot be described so.
        let types = ["classic", "consumer"].map(str::to_owned);
        let all = cluster.list_groups(&[], &types).await?;
        let names = all.into_iter().map(|(_, group)| group.group_id.to_string());
        Ok(names.collect())
    }
}

async fn describe(cluster: &Cluster, group: &str) -> Result<Described, Failure> {
    let about = cluster.describe_group(group).await?;
    let committed = cluster.committed(group, None).await?;
    let owners = owners(&about);
    let partitions: BTreeSet<TopicPartition> =
        committed.keys().chain(owners.keys()).cloned().collect();
    let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
    let ends = cluster.offsets_of(&partitions, Place::End).await?;
    let now = wall();
    let mut rows = Vec::new();
    for partition in &partitions {
        let committed = committed.get(partition);
        // A partition without leader, or whose topic is gone, has no end to tell; the rest is worth showing.
        let end = ends.get(partition).and_then(|end| end.clone().ok());
        let late = match (committed, end) {
            (Some(committed), Some(end)) => {
                lateness(cluster, partition, committed, end, now).await?
            }
            _ => None,
        };
        let owner = owners.get(partition).copied();
        rows.push(PartitionRow::of(partition, committed, end, late, owner));
    }
    Ok(Described {
        group: about.id.to_string(),
        kind: about.kind.name(),
        state: about.state.to_string(),
        protocol_type: about.protocol_type.to_string(),
        assignor: about.assignor.to_string(),
        epoch: about.epoch,
        coordinator: about.coordinator.0,
        partitions: rows,
        members: about.members.iter().map(MemberRow::of).collect(),
    })
}

/// The age of the first record that has not been read, in milliseconds.
async fn lateness(
    cluster: &Cluster,
    (topic, partition): &TopicPartition,
    committed: &Committed,
    end: Offset,
    now: Timestamp,
) -> Result<Option<i64>, Failure> {
    if committed.offset >= end {
        return Ok(Some(0));
    }
    let written = cluster
        .record_time(topic, *partition, committed.offset)
        .await?;
    Ok(age(written, now))
}

/// How old a record of that timestamp is; one without timestamp is of no age, one from the future of none yet.
fn age(written: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    let written = written.filter(|at| *at != Timestamp::NONE)?;
    Some((now.0 - written.0).max(0))
}

/// Who reads which partition.
fn owners(group: &GroupDescription) -> BTreeMap<TopicPartition, &GroupMember> {
    let mut owners = BTreeMap::new();
    for member in &group.members {
        for (topic, indexes) in &member.assignment {
            for &index in indexes {
                owners.insert((topic.clone(), index), member);
            }
        }
    }
    owners
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.unwrap_or_default().as_millis() as i64)
}

impl PartitionRow {
    fn of(
        (topic, partition): &TopicPartition,
        committed: Option<&Committed>,
        end: Option<Offset>,
        lag_ms: Option<i64>,
        owner: Option<&GroupMember>,
    ) -> PartitionRow {
        let offset = committed.map(|committed| committed.offset.0);
        PartitionRow {
            topic: topic.to_string(),
            partition: *partition,
            committed_offset: offset,
            log_end_offset: end.map(|end| end.0),
            // Behind the end is where a truncated or a new topic of the same name leaves a group.
            lag: offset.zip(end).map(|(offset, end)| (end.0 - offset).max(0)),
            lag_ms,
            metadata: committed.map(|committed| committed.metadata.to_string()),
            member: owner.map(|member| member.id.to_string()),
        }
    }
}

impl MemberRow {
    fn of(member: &GroupMember) -> MemberRow {
        let assigned = member.assignment.iter();
        MemberRow {
            member: member.id.to_string(),
            instance_id: member.instance_id.as_ref().map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.trim_start_matches('/').to_owned(),
            epoch: member.epoch,
            assignment: assigned
                .map(|(topic, indexes)| (topic.to_string(), indexes.clone()))
                .collect(),
        }
    }
}

impl Described {
    fn print(self) -> Result<(), Failure> {
        let epoch = self
            .epoch
            .map_or(String::new(), |epoch| format!("  epoch {epoch}"));
        let assignor = match self.assignor.as_str() {
            "" => String::new(),
            assignor => format!("  assignor {assignor}"),
        };
        print(&format!(
            "group {}  {}  {}{epoch}{assignor}  coordinator {}  {}",
            self.group,
            self.kind,
            self.state,
            self.coordinator,
            counted(self.members.len() as u64, "member"),
        ))?;
        if !self.partitions.is_empty() {
            self.print_partitions()?;
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let columns = [
            "member",
            "client id",
            "host",
            "instance",
            "epoch",
            "assignment",
        ];
        let mut rows = Rows::new(&columns).align_right(&[4]);
        for member in self.members {
            rows.push(vec![
                member.member,
                member.client_id,
                member.host,
                member.instance_id.unwrap_or_else(|| "-".to_owned()),
                optional(member.epoch),
                assignment(&member.assignment),
            ]);
        }
        print("")?;
        rows.print()
    }

    fn print_partitions(&self) -> Result<(), Failure> {
        let clients: BTreeMap<&str, &str> = self
            .members
            .iter()
            .map(|member| (member.member.as_str(), member.client_id.as_str()))
            .collect();
        let columns = [
            "topic",
            "partition",
            "committed",
            "end",
            "lag",
            "late by",
            "client id",
        ];
        let mut rows = Rows::new(&columns).align_right(&[1, 2, 3, 4, 5]);
        for row in &self.partitions {
            let client = row
                .member
                .as_deref()
                .and_then(|id| clients.get(id).copied());
            rows.push(vec![
                row.topic.clone(),
                row.partition.to_string(),
                optional(row.committed_offset),
                optional(row.log_end_offset),
                optional(row.lag),
                row.lag_ms.map_or("-".to_owned(), span),
                client.unwrap_or("-").to_owned(),
            ]);
        }
        rows.print()
    }
}

impl Delete {
    fn run(self) -> Result<(), Failure> {
        self.client.with_cluster(async |cluster| {
            for group in &self.groups {
                cluster.delete_group(group).await?;
                if !self.client.json {
                    print(&format!("deleted group {group}"))?;
                }
            }
            match self.client.json {
                true => print_json(&serde_json::json!({ "deleted": self.groups })),
                false => Ok(()),
            }
        })
    }
}

/// `orders:0,1 payments:3`.
fn assignment(partitions: &BTreeMap<String, Vec<i32>>) -> String {
    let topics = partitions.iter().map(|(topic, indexes)| {
        let indexes: Vec<String> = indexes.iter().map(|index| index.to_string()).collect();
        format!("{topic}:{}", indexes.join(","))
    });
    let topics: Vec<String> = topics.collect();
    dash(topics.join(" "))
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

fn dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what is shown of a group follows from what the broker said. Method: the rows alone, without a broker.

    use super::*;

    fn committed(offset: i64) -> Committed {
        Committed {
            offset: Offset(offset),
            metadata: "".into(),
        }
    }

    #[test]
    fn lag_is_what_lies_between_the_commit_and_the_end_and_never_negative() {
        let partition = ("t".into(), 3);
        let lag = |at: Option<i64>, end: Option<i64>| {
            let committed = at.map(committed);
            PartitionRow::of(&partition, committed.as_ref(), end.map(Offset), None, None).lag
        };
        assert_eq!(lag(Some(5), Some(12)), Some(7));
        assert_eq!(lag(Some(12), Some(12)), Some(0));
        assert_eq!(lag(Some(20), Some(12)), Some(0));
        assert_eq!(lag(None, Some(12)), None);
        assert_eq!(lag(Some(5), None), None);
    }

    #[test]
    fn a_record_without_a_timestamp_is_of_no_age_and_one_from_the_future_of_none_yet() {
        let now = Timestamp(10_000);
        assert_eq!(age(Some(Timestamp(4_000)), now), Some(6_000));
        assert_eq!(age(Some(Timestamp(11_000)), now), Some(0));
        assert_eq!(age(Some(Timestamp::NONE), now), None);
        assert_eq!(age(None, now), None);
    }

    #[test]
    fn an_assignment_reads_as_reset_offsets_takes_it() {
        let some = BTreeMap::from([("a".to_owned(), vec![0, 2]), ("b".to_owned(), vec![1])]);
        assert_eq!(assignment(&some), "a:0,2 b:1");
        assert_eq!(assignment(&BTreeMap::new()), "-");
    }
}
