//! Decisions about partitions: more of them, and who is where in a new one.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::command::{Context, CreatePartitions, NewPartitions, TopicRow};
use super::error::ApiError;
use super::image::{Image, Partition, Topic};
use super::owner::topic_hash;
use super::placement::Placer;
use super::record::MetadataRecord;
use super::topics::{
    BATCH_MAX, DUPLICATE_NAME, TOO_MANY_PARTITIONS, bad_assignment, once_and_more, refused,
};
use crate::protocol::ErrorCode;
use crate::types::{LeaderEpoch, NodeId, PartitionIndex, Str};

pub(super) fn create(
    image: &Image,
    command: &CreatePartitions,
    context: &Context<'_>,
    out: &mut Vec<MetadataRecord>,
) -> Vec<TopicRow<()>> {
    let (once, twice) = once_and_more(command.topics.iter().map(|topic| &topic.name));
    // Kafka fails with an unknown server error here; the code that it gives CreateTopics says more.
    let added = command.topics.iter().map(|topic| added(image, topic));
    if added.fold(0, usize::saturating_add) > BATCH_MAX {
        return refused(once.into_iter().chain(twice), TOO_MANY_PARTITIONS);
    }
    let doubled: BTreeSet<&Str> = twice.iter().collect();
    let placer = Placer::new(image, context.rules);
    let mut rows: Vec<TopicRow<()>> = Vec::with_capacity(command.topics.len());
    for topic in &command.topics {
        if !doubled.contains(&topic.name) {
            rows.push(TopicRow {
                name: topic.name.clone(),
                result: create_one(image, topic, &placer, out),
            });
        }
    }
    rows.extend(twice.into_iter().map(|name| TopicRow {
        name,
        result: Err(ApiError::new(ErrorCode::InvalidRequest, DUPLICATE_NAME)),
    }));
    if command.validate_only {
        out.clear();
    }
    rows
}

fn create_one(
    image: &Image,
    wanted: &NewPartitions,
    placer: &Placer,
    out: &mut Vec<MetadataRecord>,
) -> Result<(), ApiError> {
    let topic = image
        .topic(&wanted.name)
        .ok_or_else(|| ApiError::bare(ErrorCode::UnknownTopicOrPartition))?;
    let existing = topic.partitions_count();
    let added = check_count(topic, wanted)?;
    // The topic's replication factor is its first partition's.
    let replicas_count = topic
        .partition(PartitionIndex(0))
        .map_or(1, |first| first.replicas.len());
    if let Some(assignments) = &wanted.assignments
        && assignments.len() != added
    {
        return Err(bad_assignment(format!(
            "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        )));
    }
    let base = topic_hash(topic.id);
    let mut records = Vec::with_capacity(added);
    for at in 0..added {
        let index = PartitionIndex((existing + at) as i32);
        let partition = match &wanted.assignments {
            Some(assignments) => {
                check_assignment(image, &assignments[at], Some(replicas_count))?;
                seated(image, index, &assignments[at])?
            }
            None => {
                let chosen = placer.place(base + index.0 as u64, replicas_count)?;
                seated(image, index, &chosen)?
            }
        };
        records.push(partition.to_record(topic.id, index).into());
    }
    out.append(&mut records);
    Ok(())
}

/// How many partitions a topic would get; 0 where the wish is at fault.
fn added(image: &Image, wanted: &NewPartitions) -> usize {
    image
        .topic(&wanted.name)
        .and_then(|topic| check_count(topic, wanted).ok())
        .unwrap_or(0)
}

fn check_count(topic: &Topic, wanted: &NewPartitions) -> Result<usize, ApiError> {
    let existing = topic.partitions_count();
    let why = match usize::try_from(wanted.count) {
        Ok(count) if count > existing => return Ok(count - existing),
        Ok(count) if count == existing => format!("Topic already has {existing} partition(s)."),
        _ => format!(
            "The topic {} currently has {existing} partition(s); {} would not be an increase.",
            topic.name, wanted.count
        ),
    };
    Err(ApiError::new(ErrorCode::InvalidPartitions, why))
}

/// Checks where a client wants one partition's replicas; `expected` is the number that its siblings have.
pub(super) fn check_assignment(
    image: &Image,
    replicas: &[NodeId],
    expected: Option<usize>,
) -> Result<(), ApiError> {
    if replicas.is_empty() {
        return Err(bad_assignment(
            "The manual partition assignment includes an empty replica list.".to_owned(),
        ));
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, &replica) in sorted.iter().enumerate() {
        if image.broker(replica).is_none() {
            return Err(bad_assignment(format!(
                "The manual partition assignment includes broker {replica}, but no such broker is registered."
            )));
        }
        if at > 0 && sorted[at - 1] == replica {
            return Err(bad_assignment(format!(
                "The manual partition assignment includes the broker {replica} more than once."
            )));
        }
    }
    match expected {
        Some(expected) if expected != replicas.len() => Err(bad_assignment(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
             with previous partitions, which have {expected} replica(s).",
            replicas.len()
        ))),
        _ => Ok(()),
    }
}

/// A new partition on these brokers: the active ones are in sync, the first of them leads.
pub(super) fn seated(
    image: &Image,
    index: PartitionIndex,
    replicas: &[NodeId],
) -> Result<Partition, ApiError> {
    let active = |id: &NodeId| image.broker(*id).is_some_and(|broker| broker.is_active());
    let isr: SmallVec<[NodeId; 3]> = replicas.iter().copied().filter(active).collect();
    let Some(&leader) = isr.first() else {
        return Err(bad_assignment(format!(
            "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
             controlled shutdown."
        )));
    };
    Ok(Partition {
        replicas: replicas.iter().copied().collect(),
        isr,
        leader: Some(leader),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        reassignment: None,
        directories: Vec::new(),
    })
}
