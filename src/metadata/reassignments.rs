//! Decisions about which brokers hold a partition's replicas (KIP-455).
//!
//! A partition's replicas stay on the brokers that have them: brokers do not copy from each other yet. What can be asked
//! for is another order, whose first is the preferred leader.

use super::command::{AlterPartitionReassignments, NewReplicas, TopicRow};
use super::error::ApiError;
use super::image::{Image, Partition};
use super::partitions::check_assignment;
use super::record::{MetadataRecord, PartitionChangeV1};
use super::topics::{BATCH_MAX, TOO_LARGE_A_BATCH, bad_assignment};
use crate::protocol::ErrorCode;
use crate::types::NodeId;

/// Of how many partitions the answer says in words why they were refused. The others have the code alone: a partition
/// costs a request six bytes, which must not ask for hundreds.
const WORDS_MAX: usize = BATCH_MAX;

/// How much of a name is said back, in characters: no topic has a longer one.
const NAME_CHARS_MAX: usize = 249;

/// The rows are in the request's order, one for each partition.
pub(super) fn alter(
    image: &Image,
    command: &AlterPartitionReassignments,
    out: &mut Vec<MetadataRecord>,
) -> Vec<TopicRow<()>> {
    let mut refused_count = 0;
    let rows = command.partitions.iter().map(|wanted| {
        let mut result = alter_one(image, wanted, command.allow_factor_change, out);
        if let Err(error) = &mut result {
            refused_count += 1;
            if refused_count > WORDS_MAX {
                error.message = None;
            }
        }
        TopicRow {
            name: wanted.topic.clone(),
            result,
        }
    });
    rows.collect()
}

fn alter_one(
    image: &Image,
    wanted: &NewReplicas,
    allow_factor_change: bool,
    out: &mut Vec<MetadataRecord>,
) -> Result<(), ApiError> {
    let unknown = |why: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, why);
    let index = wanted.partition;
    let name = shown(&wanted.topic);
    let topic = image
        .topic(&wanted.topic)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition = topic
        .partition(index)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let Some(replicas) = &wanted.replicas else {
        // None is ever under way.
        return Err(ApiError::bare(ErrorCode::NoReassignmentInProgress));
    };
    check_assignment(image, replicas, None)?;
    if !allow_factor_change && replicas.len() != partition.replicas.len() {
        return Err(ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "The replication factor is changed from {} to {}",
                partition.replicas.len(),
                replicas.len()
            ),
        ));
    }
    if !is_same_set(partition, replicas) {
        return Err(bad_assignment(
            "A partition cannot be moved to other brokers: they do not copy from each other yet."
                .to_owned(),
        ));
    }
    if partition.replicas[..] != replicas[..] {
        if out.len() == BATCH_MAX {
            return Err(ApiError::new(ErrorCode::PolicyViolation, TOO_LARGE_A_BATCH));
        }
        out.push(MetadataRecord::from(PartitionChangeV1 {
            topic_id: topic.id.0,
            partition: index.0,
            leader: None,
            isr: None,
            replicas: Some(replicas.iter().map(|node| node.0).collect()),
            adding: None,
            removing: None,
            directories: directories(partition, replicas),
        }));
    }
    Ok(())
}

fn shown(name: &str) -> &str {
    let past = name.char_indices().nth(NAME_CHARS_MAX);
    past.map_or(name, |(end, _)| &name[..end])
}

/// Each replica's directory, in the new order; `None` where nobody chose.
fn directories(partition: &Partition, replicas: &[NodeId]) -> Option<Vec<[u8; 16]>> {
    let of = |node: &NodeId| {
        let at = partition.replicas.iter().position(|other| other == node)?;
        Some(partition.directories.get(at)?.0)
    };
    replicas.iter().map(of).collect()
}

fn is_same_set(partition: &Partition, replicas: &[NodeId]) -> bool {
    let has = |node: &NodeId| partition.replicas.contains(node);
    partition.replicas.len() == replicas.len() && replicas.iter().all(has)
}
