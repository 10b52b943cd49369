//! `ringlog group reset-offsets`: where a group that nobody reads for shall begin next time.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use crate::client::{AutoCreate, ClientError, Cluster, Committed, Place, TopicPartition};
use crate::protocol::ErrorCode;
use crate::types::{Offset, Str, Timestamp};

use super::args::ClientArgs;
use super::failure::Failure;
use super::output::{Rows, print_json};
use super::time::{moment, span_back};

/// Set the offsets of a group that has no members
///
/// Only shows what would be set, unless --execute is given. Offsets outside of what a partition holds are moved to its
/// nearer end.
#[derive(Args, Debug)]
pub(super) struct ResetOffsets {
    group: String,

    /// A topic, all of it or some partitions; may be given several times
    #[arg(long = "topic", value_name = "TOPIC[:P,P...]", value_parser = selection)]
    topics: Vec<Selection>,

    /// Every topic that the group has committed offsets of
    #[arg(long, conflicts_with = "topics", required_unless_present = "topics")]
    all_topics: bool,

    #[command(flatten)]
    target: Target,

    /// Set the offsets
    #[arg(long)]
    execute: bool,

    /// Only show what would be set; this is the default
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Where to: exactly one of these
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Target {
    /// To the first record kept
    #[arg(long)]
    to_earliest: bool,

    /// To the end
    #[arg(long)]
    to_latest: bool,

    /// To what is committed; to the end where nothing is
    #[arg(long)]
    to_current: bool,

    /// To the first record not older than this: @MILLISECONDS since 1970, or YYYY-MM-DDThh:mm:ss
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to_datetime: Option<Timestamp>,

    /// To the first record not older than so long before now, as 10m or P7D
    #[arg(long, value_name = "SPAN", value_parser = span_back)]
    by_duration: Option<i64>,

    /// By so many records from what is committed; a negative number is back
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,

    /// To this offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
}

/// A topic, and which partitions of it; none named are all.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Selection {
    topic: String,
    partitions: Vec<i32>,
}

/// What a target comes to for each partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aim {
    Place(Place),
    Current,
    ShiftBy(i64),
}

/// What one partition's aim is weighed against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bounds {
    start: Offset,
    end: Offset,
    committed: Option<Offset>,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    old_offset: Option<i64>,
    new_offset: i64,
    /// Why this partition alone was not set.
    error: Option<String>,
}

impl ResetOffsets {
    pub fn run(self) -> Result<(), Failure> {
        let aim = self.target.aim();
        self.client.with_cluster(async |cluster| {
            self.check_inactive(&cluster).await?;
            let committed = cluster.committed(&self.group, None).await?;
            let partitions = self.partitions(&cluster, &committed).await?;
            let new = aims(&cluster, &partitions, &committed, aim).await?;
            let outcome = match self.execute {
                true => cluster.commit_for(&self.group, &new).await?,
                false => BTreeMap::new(),
            };
            let rows = new.iter().map(|(partition, offset)| Row {
                topic: partition.0.to_string(),
                partition: partition.1,
                old_offset: committed.get(partition).map(|old| old.offset.0),
                new_offset: offset.0,
                error: match outcome.get(partition) {
                    Some(Err(error)) => Some(error.to_string()),
                    _ => None,
                },
            });
            self.show(rows.collect())
        })
    }

    /// Kafka's rule: offsets are the members' as long as there are any.
    async fn check_inactive(&self, cluster: &Cluster) -> Result<(), Failure> {
        match cluster.describe_group(&self.group).await {
            Ok(group) if group.is_inactive() => Ok(()),
            Ok(group) => Err(Failure::Fault(format!(
                "group {} is {}: offsets are set only where no member reads; stop its members first",
                self.group, group.state
            ))),
            // Its first offsets make a group.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn partitions(
        &self,
        cluster: &Cluster,
        committed: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<Vec<TopicPartition>, Failure> {
        let selections = match self.all_topics {
            true => all_of(committed),
            false => self.topics.clone(),
        };
        // Where nothing is committed, there is nothing to set elsewhere.
        if selections.is_empty() {
            let why = format!("group {} has no committed offsets", self.group);
            return Err(Failure::Fault(why));
        }
        let mut found = Vec::new();
        for selection in &selections {
            let topic = cluster.topic(&selection.topic, AutoCreate::Forbid).await?;
            for &partition in &selection.partitions {
                topic.partition(partition)?;
                found.push((topic.name.clone(), partition));
            }
            if selection.partitions.is_empty() {
                let all = topic.partitions.iter();
                found.extend(all.map(|partition| (topic.name.clone(), partition.index)));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn show(&self, found: Vec<Row>) -> Result<(), Failure> {
        let failed = found.iter().any(|row| row.error.is_some());
        if self.client.json {
            print_json(&serde_json::json!({
                "group": self.group,
                "executed": self.execute,
                "partitions": found,
            }))?;
        } else {
            let columns = ["topic", "partition", "old offset", "new offset", ""];
            let mut rows = Rows::new(&columns).align_right(&[1, 2, 3]);
            for row in found {
                rows.push(vec![
                    row.topic,
                    row.partition.to_string(),
                    row.old_offset.map_or("-".to_owned(), |old| old.to_string()),
                    row.new_offset.to_string(),
                    row.error.unwrap_or_default(),
                ]);
            }
            rows.print()?;
            if !self.execute {
                eprintln!("nothing was set: --execute sets the new offsets");
            }
        }
        match failed {
            true => Err(Failure::Told),
            false => Ok(()),
        }
    }
}

/// Every topic with a commit, whole.
fn all_of(committed: &BTreeMap<TopicPartition, Committed>) -> Vec<Selection> {
    let mut topics: Vec<&Str> = committed.keys().map(|(topic, _)| topic).collect();
    topics.dedup();
    let whole = topics.into_iter().map(|topic| Selection {
        topic: topic.to_string(),
        partitions: Vec::new(),
    });
    whole.collect()
}

/// The offset that `aim` means in each partition.
async fn aims(
    cluster: &Cluster,
    partitions: &[TopicPartition],
    committed: &BTreeMap<TopicPartition, Committed>,
    aim: Aim,
) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
    let starts = cluster.offsets_of(partitions, Place::Beginning).await?;
    let ends = cluster.offsets_of(partitions, Place::End).await?;
    let place = match aim {
        Aim::Place(place) => place,
        Aim::Current | Aim::ShiftBy(_) => Place::End,
    };
    let placed = cluster.offsets_of(partitions, place).await?;
    let mut found = BTreeMap::new();
    for partition in partitions {
        let of = |offsets: &BTreeMap<TopicPartition, Result<Offset, ClientError>>| {
            let offset = offsets.get(partition).cloned();
            offset.unwrap_or_else(|| {
                Err(ClientError::Server {
                    code: ErrorCode::UnknownTopicOrPartition,
                    about: format!("partition {}-{}", partition.0, partition.1),
                    message: None,
                })
            })
        };
        let bounds = Bounds {
            start: of(&starts)?,
            end: of(&ends)?,
            committed: committed.get(partition).map(|old| old.offset),
        };
        let offset = bounds.clamp(match aim {
            Aim::Place(_) => of(&placed)?,
            Aim::Current => bounds.committed.unwrap_or(bounds.end),
            Aim::ShiftBy(count) => match bounds.committed {
                Some(committed) => Offset(committed.0.saturating_add(count)),
                None => {
                    return Err(Failure::Fault(format!(
                        "partition {}-{} cannot be shifted: the group has committed nothing for it",
                        partition.0, partition.1
                    )));
                }
            },
        });
        found.insert(partition.clone(), offset);
    }
    Ok(found)
}

impl Bounds {
    fn clamp(self, offset: Offset) -> Offset {
        // The end may have been asked for a moment before a truncation moved the start past it.
        offset.min(self.end).max(self.start)
    }
}

impl Target {
    fn aim(&self) -> Aim {
        let place = match (self.to_datetime, self.by_duration, self.to_offset) {
            (Some(at), ..) => Place::Since(at),
            (None, Some(back_ms), _) => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Place::Since(Timestamp((since.as_millis() as i64 - back_ms).max(0)))
            }
            (None, None, Some(offset)) => Place::At(Offset(offset)),
            (None, None, None) if self.to_earliest => Place::Beginning,
            (None, None, None) if self.to_latest => Place::End,
            (None, None, None) => return self.shift_by.map_or(Aim::Current, Aim::ShiftBy),
        };
        Aim::Place(place)
    }
}

/// `TOPIC` or `TOPIC:P,P...`.
fn selection(text: &str) -> Result<Selection, String> {
    let wrong = || "expected TOPIC, or TOPIC:P,P... with partitions".to_owned();
    // No topic has a colon in its name.
    let (topic, rest) = text.split_once(':').unwrap_or((text, ""));
    if topic.is_empty() || text.ends_with(':') {
        return Err(wrong());
    }
    let indexes = rest.split(',').filter(|_| !rest.is_empty());
    let partitions = indexes.map(|index| index.parse().ok().filter(|index| *index >= 0));
    Ok(Selection {
        topic: topic.to_owned(),
        partitions: partitions.collect::<Option<_>>().ok_or_else(wrong)?,
    })
}

#[cfg(test)]
mod tests {
    //! Goal: a group is set where its administrator meant, and nowhere outside a partition. Method: the arithmetic alone,
    //! and the command's line as clap reads it.

    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        reset: ResetOffsets,
    }

    fn line(words: &str) -> Result<ResetOffsets, clap::Error> {
        let line = Line::try_parse_from(std::iter::once("reset").chain(words.split(' ')));
        line.map(|line| line.reset)
    }

    #[test]
    fn each_target_aims_where_it_says() {
        for (flag, aim) in [
            ("--to-earliest", Aim::Place(Place::Beginning)),
            ("--to-latest", Aim::Place(Place::End)),
            ("--to-current", Aim::Current),
            (
                "--to-datetime @5000",
                Aim::Place(Place::Since(Timestamp(5000))),
            ),
            ("--shift-by -3", Aim::ShiftBy(-3)),
            ("--to-offset 7", Aim::Place(Place::At(Offset(7)))),
        ] {
            let reset = line(&format!("g --all-topics {flag}")).expect(flag);
            assert_eq!(reset.target.aim(), aim, "{flag}");
            assert!(!reset.execute);
        }
        let reset = line("g --topic t --by-duration P1D").unwrap();
        assert!(
            matches!(reset.target.aim(), Aim::Place(Place::Since(at)) if at.0 > 1_600_000_000_000)
        );
    }

    #[test]
    fn a_line_without_target_or_topics_or_with_two_is_refused() {
        for wrong in [
            "g --all-topics",
            "g --to-latest",
            "g --all-topics --to-latest --to-earliest",
            "g --all-topics --topic t --to-latest",
            "g --topic t --to-offset -1",
            "g --topic t: --to-latest",
            "g --topic t:x --to-latest",
            "g --topic t --to-latest --execute --dry-run",
        ] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn topics_may_name_partitions() {
        let some = |topic: &str, partitions: &[i32]| {
            Ok(Selection {
                topic: topic.to_owned(),
                partitions: partitions.to_vec(),
            })
        };
        assert_eq!(selection("t"), some("t", &[]));
        assert_eq!(selection("a.b:0,12"), some("a.b", &[0, 12]));
        for wrong in ["", ":", "t:", ":1", "t:1,", "t:-1", "t:1:2"] {
            assert!(selection(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn no_offset_leaves_what_the_partition_holds() {
        let bounds = Bounds {
            start: Offset(10),
            end: Offset(20),
            committed: None,
        };
        for (aimed, set) in [
            (5, 10),
            (10, 10),
            (15, 15),
            (20, 20),
            (99, 20),
            (i64::MAX, 20),
            (-4, 10),
        ] {
            assert_eq!(bounds.clamp(Offset(aimed)), Offset(set));
        }
    }
}
