//! AlterReplicaLogDirs (34, KIP-113): begins moves between this broker's directories; DescribeLogDirs shows how far they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::by_partition;
use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use crate::types::Str;

/// The number of the directory that a partition goes to, or why it goes nowhere.
type Destination = Result<usize, ErrorCode>;

pub(super) async fn serve(
    context: Rc<Context>,
    request: AlterReplicaLogDirsRequest,
    _version: i16,
) -> AlterReplicaLogDirsResponse {
    // As with Kafka a partition has one row, and of several directories the last one counts.
    let mut wanted: BTreeMap<Str, BTreeMap<i32, Destination>> = BTreeMap::new();
    for dir in request.dirs {
        let destination = context.shard.log_dir(Path::new(dir.path.as_str()));
        for topic in dir.topics.into_iter().filter(|t| !t.partitions.is_empty()) {
            let rows = topic
                .partitions
                .into_iter()
                .map(|index| (index, destination));
            wanted.entry(topic.name).or_default().extend(rows);
        }
    }
    let topics: Vec<(Str, Vec<(i32, Destination)>)> = wanted
        .iter()
        .map(|(name, rows)| (name.clone(), rows.iter().map(|(i, d)| (*i, *d)).collect()))
        .collect();
    let answers = by_partition::ask(&context.shard, topics, |shard, replica, to| async move {
        match to {
            Ok(directory) => shard.move_replica(&replica, directory).await,
            Err(error) => error,
        }
    })
    .await;
    let results = answers.into_iter().map(|(name, rows)| {
        let destinations = &wanted[&name];
        let absent = |index| match destinations[&index] {
            Ok(_) => absent(&context, &name, index),
            Err(error) => error,
        };
        let partitions = rows.into_iter().map(|(index, answer)| {
            let error = answer.unwrap_or_else(|| absent(index));
            AlterReplicaLogDirPartitionResult {
                partition_index: index,
                error_code: error.code(),
            }
        });
        AlterReplicaLogDirTopicResult {
            partitions: partitions.collect(),
            topic_name: name.clone(),
        }
    });
    AlterReplicaLogDirsResponse {
        results: results.collect(),
        ..AlterReplicaLogDirsResponse::default()
    }
}

/// A partition that exists and has no replica here: its log could not be opened, or it is another broker's.
fn absent(context: &Context, name: &Str, index: i32) -> ErrorCode {
    let image = context.shard.image();
    let topic = image.topic(name);
    let known = topic.is_some_and(|t| index >= 0 && (index as usize) < t.partitions_count());
    match known {
        true => ErrorCode::KafkaStorageError,
        false => ErrorCode::UnknownTopicOrPartition,
    }
}
