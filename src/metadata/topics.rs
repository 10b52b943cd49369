//! Decisions about topics: creation and deletion.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{
    ConfigChange, Context, CreateTopics, DeleteTopics, DeletedTopic, NewTopic, TopicCreated,
    TopicRow, TopicTarget,
};
use super::configs;
use super::error::ApiError;
use super::image::{Image, Overrides, Partition, ResourceKind};
use super::owner::topic_hash;
use super::partitions::{self, seated};
use super::placement::Placer;
use super::record::{ConfigV1, MetadataRecord, RemoveTopicV1, TopicV1};
use super::topic_name::{CLUSTER_METADATA, validate_topic_name};
use crate::protocol::ErrorCode;
use crate::types::{PartitionIndex, Str, TopicId};

/// Kafka's bound on one request, on partitions and on records (topics, partitions and overrides together).
pub(super) const BATCH_MAX: usize = 10_000;

pub(super) const TOO_MANY_PARTITIONS: &str = "Excessively large number of partitions per request.";
pub(super) const TOO_LARGE_A_BATCH: &str = "Unable to perform excessively large batch operation.";
const UNKNOWN_NAME: &str = "This server does not host this topic-partition.";
const UNKNOWN_ID: &str = "This server does not host this topic ID.";
pub(super) const DUPLICATE_NAME: &str = "Duplicate topic name.";

pub(super) fn create(
    image: &Image,
    command: &CreateTopics,
    context: &mut Context<'_>,
    out: &mut Vec<MetadataRecord>,
) -> Vec<TopicRow<TopicCreated>> {
    let (once, twice) = once_and_more(command.topics.iter().map(|topic| &topic.name));
    let partitions: usize = command
        .topics
        .iter()
        .map(|topic| partitions_asked(topic, context.default_partitions))
        .fold(0, usize::saturating_add);
    if partitions > BATCH_MAX {
        return refused(once.into_iter().chain(twice), TOO_MANY_PARTITIONS);
    }
    let doubled: BTreeSet<&Str> = twice.iter().collect();
    let placer = Placer::new(image, context.rules);
    let mut rows: Vec<TopicRow<TopicCreated>> = Vec::with_capacity(command.topics.len());
    for topic in &command.topics {
        if !doubled.contains(&topic.name) {
            rows.push(TopicRow {
                name: topic.name.clone(),
                result: create_one(image, topic, &placer, context, out),
            });
        }
    }
    // Kafka answers for the doubled ones last.
    rows.extend(twice.into_iter().map(|name| TopicRow {
        name,
        result: Err(ApiError::new(ErrorCode::InvalidRequest, DUPLICATE_NAME)),
    }));
    if out.len() > BATCH_MAX {
        out.clear();
        return refused(rows.into_iter().map(|row| row.name), TOO_LARGE_A_BATCH);
    }
    if command.validate_only {
        out.clear();
    }
    rows
}

fn create_one(
    image: &Image,
    topic: &NewTopic,
    placer: &Placer,
    context: &mut Context<'_>,
    out: &mut Vec<MetadataRecord>,
) -> Result<TopicCreated, ApiError> {
    check_name(image, &topic.name)?;
    let overrides = check_configs(&topic.name, &topic.configs, context)?;
    let id = (context.new_id)();
    let partitions = if topic.assignments.is_empty() {
        placed(image, topic, id, placer, context)?
    } else {
        assigned(image, topic)?
    };
    let created = TopicCreated {
        id,
        partitions: partitions.len() as i32,
        replication_factor: partitions.first().map_or(0, |p| p.replicas.len() as i16),
    };
    let record = TopicV1 {
        name: topic.name.to_string(),
        id: id.0,
    };
    out.push(record.into());
    for (key, value) in &overrides {
        let record = ConfigV1 {
            resource_type: ResourceKind::Topic as i8,
            resource_name: topic.name.to_string(),
            key: key.to_string(),
            value: Some(value.to_string()),
        };
        out.push(record.into());
    }
    out.extend(partitions.iter().enumerate().map(|(index, partition)| {
        let index = PartitionIndex(index as i32);
        MetadataRecord::from(partition.to_record(id, index))
    }));
    Ok(created)
}

fn check_name(image: &Image, name: &Str) -> Result<(), ApiError> {
    if **name == *CLUSTER_METADATA {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {CLUSTER_METADATA} is prohibited."),
        ));
    }
    validate_topic_name(name)?;
    if image.topic(name).is_some() {
        return Err(ApiError::new(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{name}' already exists."),
        ));
    }
    if let Some(other) = image.colliding(name) {
        return Err(ApiError::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        ));
    }
    Ok(())
}

fn check_configs(
    name: &str,
    changes: &[ConfigChange],
    context: &Context<'_>,
) -> Result<Overrides, ApiError> {
    let nulls: Vec<&str> = changes
        .iter()
        .filter(|change| change.value.is_none())
        .map(|change| &*change.key)
        .collect();
    if !nulls.is_empty() {
        return Err(ApiError::new(
            ErrorCode::InvalidConfig,
            format!(
                "Null value not supported for topic configs: {}",
                nulls.join(",")
            ),
        ));
    }
    // Of a key given twice the last value counts, as Kafka has it here (and only here).
    let overrides: Overrides = changes
        .iter()
        .filter_map(|change| Some((change.key.clone(), change.value.clone()?)))
        .collect();
    configs::check_overrides(
        ResourceKind::Topic,
        name,
        &overrides,
        overrides.keys(),
        context,
    )?;
    Ok(overrides)
}

/// Partitions that the controller places.
fn placed(
    image: &Image,
    topic: &NewTopic,
    id: TopicId,
    placer: &Placer,
    context: &Context<'_>,
) -> Result<Vec<Partition>, ApiError> {
    let replicas = match topic.replication_factor {
        -1 => context.default_replication_factor,
        asked => asked,
    };
    let count = match topic.partitions {
        -1 => context.default_partitions,
        asked => asked,
    };
    let replicas = usize::try_from(replicas)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            )
        })?;
    if count <= 0 {
        return Err(ApiError::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    let base = topic_hash(id);
    (0..count)
        .map(|index| {
            let placed = placer.place(base + index as u64, replicas);
            let chosen = placed.map_err(|error| {
                error.said_after(&format!(
                    "Unable to replicate the partition {replicas} time(s): "
                ))
            })?;
            seated(image, PartitionIndex(index), &chosen)
        })
        .collect()
}

/// Partitions that the client placed.
fn assigned(image: &Image, topic: &NewTopic) -> Result<Vec<Partition>, ApiError> {
    let specified = |what: &str| {
        ApiError::new(
            ErrorCode::InvalidRequest,
            format!("A manual partition assignment was specified, but {what} was not set to -1."),
        )
    };
    if topic.replication_factor != -1 {
        return Err(specified("replication factor"));
    }
    if topic.partitions != -1 {
        return Err(specified("numPartitions"));
    }
    let mut by_index: BTreeMap<PartitionIndex, Partition> = BTreeMap::new();
    let mut expected = None;
    for assignment in &topic.assignments {
        let (index, replicas) = (assignment.partition, &assignment.replicas[..]);
        if by_index.contains_key(&index) {
            return Err(bad_assignment(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
        partitions::check_assignment(image, replicas, expected)?;
        expected = Some(replicas.len());
        by_index.insert(index, seated(image, index, replicas)?);
    }
    let dense = by_index
        .keys()
        .enumerate()
        .all(|(at, index)| index.0 == at as i32);
    if !dense {
        return Err(bad_assignment(
            "partitions should be a consecutive 0-based integer sequence".to_owned(),
        ));
    }
    Ok(by_index.into_values().collect())
}

fn partitions_asked(topic: &NewTopic, default: i32) -> usize {
    let asked = match topic.partitions {
        _ if !topic.assignments.is_empty() => return topic.assignments.len(),
        -1 => default,
        asked => asked,
    };
    usize::try_from(asked).unwrap_or(0)
}

pub(super) fn bad_assignment(why: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidReplicaAssignment, why)
}

/// The names given once and those given more often, each name once and in the request's order.
pub(super) fn once_and_more<'a>(names: impl Iterator<Item = &'a Str>) -> (Vec<Str>, Vec<Str>) {
    let mut counts: BTreeMap<&Str, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for name in names {
        let count = counts.entry(name).or_default();
        if *count == 0 {
            order.push(name.clone());
        }
        *count += 1;
    }
    order.into_iter().partition(|name| counts[name] == 1)
}

pub(super) fn refused<T>(names: impl IntoIterator<Item = Str>, why: &str) -> Vec<TopicRow<T>> {
    let row = |name| TopicRow {
        name,
        result: Err(ApiError::new(ErrorCode::PolicyViolation, why)),
    };
    names.into_iter().map(row).collect()
}

pub(super) fn delete(
    image: &Image,
    command: &DeleteTopics,
    out: &mut Vec<MetadataRecord>,
) -> Vec<DeletedTopic> {
    let mut given = Given::default();
    for target in &command.topics {
        match (&target.name, target.id.is_zero()) {
            (Some(name), true) => *given.names.entry(name).or_default() += 1,
            (None, false) => *given.ids.entry(target.id).or_default() += 1,
            _ => {}
        }
    }
    let mut answered = BTreeSet::new();
    let mut rows = Vec::with_capacity(command.topics.len());
    for target in &command.topics {
        let again = !answered.insert((&target.name, target.id));
        if !again && !given.name_answers(image, target) {
            rows.push(delete_one(image, target, &given, out));
        }
    }
    rows
}

fn delete_one(
    image: &Image,
    target: &TopicTarget,
    given: &Given<'_>,
    out: &mut Vec<MetadataRecord>,
) -> DeletedTopic {
    let refuse = |code, why: &str| DeletedTopic {
        name: target.name.clone(),
        id: target.id,
        result: Err(ApiError::new(code, why)),
    };
    let invalid = |why| refuse(ErrorCode::InvalidRequest, why);
    let topic = match (&target.name, target.id.is_zero()) {
        (None, true) => return invalid("Neither topic name nor id were specified."),
        (Some(_), false) => return invalid("You may not specify both topic name and topic id."),
        (Some(name), true) if given.names.get(name) > Some(&1) => return invalid(DUPLICATE_NAME),
        (None, false) if given.ids.get(&target.id) > Some(&1) => {
            return invalid("Duplicate topic id.");
        }
        (Some(name), true) => match image.topic(name) {
            None => return refuse(ErrorCode::UnknownTopicOrPartition, UNKNOWN_NAME),
            Some(topic) if given.ids.contains_key(&topic.id) => {
                return DeletedTopic {
                    id: topic.id,
                    ..invalid("The provided topic name maps to an ID that was already supplied.")
                };
            }
            Some(topic) => topic,
        },
        (None, false) => match image.topic_by_id(target.id) {
            None => return refuse(ErrorCode::UnknownTopicId, UNKNOWN_ID),
            Some(topic) => topic,
        },
    };
    out.push(RemoveTopicV1 { id: topic.id.0 }.into());
    DeletedTopic {
        name: Some(topic.name.clone()),
        id: topic.id,
        result: Ok(()),
    }
}

/// The topics a request names, and how often: names that came without an id, ids that came without a name.
#[derive(Default)]
struct Given<'a> {
    names: BTreeMap<&'a Str, usize>,
    ids: BTreeMap<TopicId, usize>,
}

impl Given<'_> {
    /// Whether `target` is an id whose topic is also named, once: the name's row answers for both.
    fn name_answers(&self, image: &Image, target: &TopicTarget) -> bool {
        target.name.is_none()
            && image
                .topic_by_id(target.id)
                .is_some_and(|topic| self.names.get(&topic.name) == Some(&1))
    }
}
