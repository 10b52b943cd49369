//! CreateTopics (19), DeleteTopics (20), CreatePartitions (37): what they ask, as commands to the controller.
//!
//! CreateTopics: v5 tells partitions, replicas and configs (KIP-525) · v7 topic id. DeleteTopics: v5 messages · v6 by id
//! (KIP-516).

use std::rc::Rc;

use super::configs;
use super::context::Context;
use crate::metadata::{
    ApiError, Command, ConfigChange, CreatePartitions, CreateTopics, DeleteTopics, NewPartitions,
    NewTopic, ReplicaAssignment, Reply, TopicCreated, TopicTarget,
};
use crate::protocol::ErrorCode;
use crate::protocol::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use crate::protocol::create_topics::{
    CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::protocol::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::shard::Shard;
use crate::types::{NodeId, PartitionIndex, Str, TopicId};

pub(super) async fn create(
    context: Rc<Context>,
    request: CreateTopicsRequest,
    _version: i16,
) -> CreateTopicsResponse {
    let command = CreateTopics {
        topics: request.topics.iter().map(new_topic).collect(),
        validate_only: request.validate_only,
    };
    let configs = command.topics.clone();
    let Reply::CreateTopics(rows) = context.shard.propose(Command::CreateTopics(command)).await
    else {
        unreachable!("a reply is of its command's kind")
    };
    let topics = rows
        .into_iter()
        .map(|row| match row.result {
            Ok(created) => {
                let asked = configs.iter().find(|topic| topic.name == row.name);
                created_result(&context, row.name, created, asked)
            }
            Err(error) => CreatableTopicResult {
                name: row.name,
                error_code: error.code.code(),
                error_message: message(&error),
                // Kafka tells no partitions, replicas or configs of a topic that was refused.
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            },
        })
        .collect();
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}

fn created_result(
    context: &Context,
    name: Str,
    created: TopicCreated,
    asked: Option<&NewTopic>,
) -> CreatableTopicResult {
    let changes = asked
        .map(|topic| topic.configs.as_slice())
        .unwrap_or_default();
    CreatableTopicResult {
        configs: Some(configs::of_new_topic(&context.shard, changes)),
        name,
        topic_id: created.id,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        ..CreatableTopicResult::default()
    }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.detach(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| ReplicaAssignment {
                partition: PartitionIndex(assignment.partition_index),
                replicas: assignment.broker_ids.iter().map(|id| NodeId(*id)).collect(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| ConfigChange {
                key: config.name.detach(),
                value: config.value.as_ref().map(Str::detach),
            })
            .collect(),
    }
}

/// Creates topics with the broker's defaults, for a client that asked for them by name. Whoever was faster is as good.
pub(super) async fn auto_create(shard: &Rc<Shard>, names: Vec<Str>) {
    let topics = names
        .into_iter()
        .map(|name| NewTopic {
            name,
            partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        })
        .collect();
    shard
        .propose(Command::CreateTopics(CreateTopics {
            topics,
            validate_only: false,
        }))
        .await;
}

pub(super) async fn delete(
    context: Rc<Context>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let targets: Vec<TopicTarget> = match version >= 6 {
        true => request
            .topics
            .iter()
            .map(|topic| TopicTarget {
                name: topic.name.as_ref().map(Str::detach),
                id: topic.topic_id,
            })
            .collect(),
        false => request
            .topic_names
            .iter()
            .map(|name| TopicTarget {
                name: Some(name.detach()),
                id: TopicId::ZERO,
            })
            .collect(),
    };
    if !context.shard.config.delete_topic_enable {
        return deletion_disabled(targets, version);
    }
    let command = Command::DeleteTopics(DeleteTopics { topics: targets });
    let Reply::DeleteTopics(rows) = context.shard.propose(command).await else {
        unreachable!("a reply is of its command's kind")
    };
    let responses = rows
        .into_iter()
        .map(|row| {
            let error = row.result.err();
            DeletableTopicResult {
                name: row.name,
                topic_id: row.id,
                error_code: error.as_ref().map_or(0, |error| error.code.code()),
                error_message: error.as_ref().and_then(message),
            }
        })
        .collect();
    DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    }
}

/// `delete.topic.enable=false`: versions below 3 do not know the error and get INVALID_REQUEST.
fn deletion_disabled(targets: Vec<TopicTarget>, version: i16) -> DeleteTopicsResponse {
    let error = if version < 3 {
        ErrorCode::InvalidRequest
    } else {
        ErrorCode::TopicDeletionDisabled
    };
    let responses = targets
        .into_iter()
        .map(|target| DeletableTopicResult {
            name: target.name,
            topic_id: target.id,
            error_code: error.code(),
            ..DeletableTopicResult::default()
        })
        .collect();
    DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    }
}

pub(super) async fn create_partitions(
    context: Rc<Context>,
    request: CreatePartitionsRequest,
    _version: i16,
) -> CreatePartitionsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| NewPartitions {
            name: topic.name.detach(),
            count: topic.count,
            assignments: topic.assignments.as_ref().map(|assignments| {
                let nodes = |ids: &Vec<i32>| ids.iter().map(|id| NodeId(*id)).collect();
                assignments
                    .iter()
                    .map(|assignment| nodes(&assignment.broker_ids))
                    .collect()
            }),
        })
        .collect();
    let command = CreatePartitions {
        topics,
        validate_only: request.validate_only,
    };
    let Reply::CreatePartitions(rows) = context
        .shard
        .propose(Command::CreatePartitions(command))
        .await
    else {
        unreachable!("a reply is of its command's kind")
    };
    let results = rows
        .into_iter()
        .map(|row| {
            let error = row.result.err();
            CreatePartitionsTopicResult {
                name: row.name,
                error_code: error.as_ref().map_or(0, |error| error.code.code()),
                error_message: error.as_ref().and_then(message),
            }
        })
        .collect();
    CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    }
}

pub(super) fn message(error: &ApiError) -> Option<Str> {
    error.message.as_deref().map(Str::from)
}
