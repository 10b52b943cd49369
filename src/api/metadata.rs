//! Metadata (3). v1 all topics by null · v4 auto-creation asked for · v8 authorised operations · v10 topics by id (KIP-516)
//! · v13 top-level error.

use std::rc::Rc;

use hashbrown::HashSet;

use super::context::Context;
use super::topics;
use crate::metadata::{Image, Partition, Topic, validate_topic_name};
use crate::protocol::ErrorCode;
use crate::protocol::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::types::{NodeId, PartitionIndex, Str};

/// All operations on a topic, as the bits of Kafka's ACL operation codes: without an authoriser everything is allowed.
pub(super) const TOPIC_OPERATIONS: i32 = 0x0DF8;
/// All operations on the cluster.
pub(super) const CLUSTER_OPERATIONS: i32 = 0x1FA0;

pub(super) async fn serve(
    context: Rc<Context>,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let named = request.topics.as_deref().unwrap_or_default();
    // Version 0 has no null: there an empty list is all topics.
    let all = request.topics.is_none() || (version == 0 && named.is_empty());
    let by_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_zero() || topic.name.is_none();
    if version < 12 && named.iter().any(by_id) {
        return refused(named, version);
    }
    if request.allow_auto_topic_creation && context.shard.config.auto_create_topics_enable && !all {
        create_missing(&context, named).await;
    }
    let image = context.shard.image();
    let mut response = MetadataResponse {
        brokers: brokers(&image, &context.listener),
        cluster_id: image.cluster_id().cloned(),
        controller_id: controller_id(&image),
        topics: match all {
            true => image
                .topics()
                .map(|topic| described(&image, topic))
                .collect(),
            false => once_each(named.iter().map(|topic| asked(&image, topic))),
        },
        ..MetadataResponse::default()
    };
    if request.include_topic_authorized_operations {
        let known = |topic: &&mut MetadataResponseTopic| topic.error_code == ErrorCode::None.code();
        for topic in response.topics.iter_mut().filter(known) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

/// Kafka answers a request that names topics by id before version 12 with one error for all.
fn refused(named: &[MetadataRequestTopic], version: i16) -> MetadataResponse {
    let error_code = ErrorCode::InvalidRequest.code();
    let topics = named
        .iter()
        .map(|topic| MetadataResponseTopic {
            error_code,
            name: Some(topic.name.clone().unwrap_or_default()),
            topic_id: topic.topic_id,
            ..MetadataResponseTopic::default()
        })
        .collect();
    let error_code = if version >= 13 { error_code } else { 0 };
    MetadataResponse {
        topics,
        error_code,
        ..MetadataResponse::default()
    }
}

/// Creates what is asked for by name and does not exist, so that the answer already has it.
async fn create_missing(context: &Rc<Context>, named: &[MetadataRequestTopic]) {
    let missing: Vec<Str> = {
        let image = context.shard.image();
        let missing =
            |name: &&Str| image.topic(name).is_none() && validate_topic_name(name).is_ok();
        named
            .iter()
            .filter_map(|topic| topic.name.as_ref())
            .filter(missing)
            .map(Str::detach)
            .collect()
    };
    if !missing.is_empty() {
        topics::auto_create(&context.shard, missing).await;
    }
}

/// A topic that is asked for twice, by its name or its id, is told once.
fn once_each(topics: impl Iterator<Item = MetadataResponseTopic>) -> Vec<MetadataResponseTopic> {
    let mut seen = HashSet::new();
    topics
        .filter(|topic| seen.insert((topic.name.clone(), topic.topic_id)))
        .collect()
}

fn asked(image: &Image, topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    let unknown = |error: ErrorCode, name: Option<Str>| MetadataResponseTopic {
        error_code: error.code(),
        name,
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    };
    match &topic.name {
        Some(name) if topic.topic_id.is_zero() => match image.topic(name) {
            Some(topic) => described(image, topic),
            None => {
                let error = match validate_topic_name(name) {
                    Ok(()) => ErrorCode::UnknownTopicOrPartition,
                    Err(_) => ErrorCode::InvalidTopicException,
                };
                unknown(error, Some(name.clone()))
            }
        },
        _ => match image.topic_by_id(topic.topic_id) {
            Some(topic) => described(image, topic),
            None => unknown(ErrorCode::UnknownTopicId, None),
        },
    }
}

fn described(image: &Image, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: topic
            .partitions()
            .map(|(index, partition)| described_partition(image, index, partition))
            .collect(),
        ..MetadataResponseTopic::default()
    }
}

fn described_partition(
    image: &Image,
    index: PartitionIndex,
    partition: &Partition,
) -> MetadataResponsePartition {
    let error = match partition.leader {
        Some(_) => ErrorCode::None,
        None => ErrorCode::LeaderNotAvailable,
    };
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index.0,
        leader_id: partition.leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas: offline(image, partition),
    }
}

pub(super) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

/// Replicas on brokers that are gone or fenced.
pub(super) fn offline(image: &Image, partition: &Partition) -> Vec<i32> {
    // A member of the ISR that was alive with its log would lead.
    let is_offline = |node: &&NodeId| {
        partition.leader.is_none()
            || !image
                .broker(**node)
                .is_some_and(|broker| broker.is_active())
    };
    partition
        .replicas
        .iter()
        .filter(is_offline)
        .map(|node| node.0)
        .collect()
}

/// Any active controller will do for a client: it sends what must be decided to the broker it is told.
pub(super) fn controller_id(image: &Image) -> i32 {
    image
        .brokers()
        .find(|broker| broker.is_active())
        .map_or(-1, |broker| broker.id.0)
}

fn brokers(image: &Image, listener: &str) -> Vec<MetadataResponseBroker> {
    image
        .brokers()
        .filter(|broker| broker.is_active())
        .filter_map(|broker| {
            let endpoint = broker
                .endpoints
                .iter()
                .find(|endpoint| endpoint.listener == *listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id.0,
                host: endpoint.host.clone(),
                port: endpoint.port.into(),
                rack: broker.rack.clone(),
            })
        })
        .collect()
}
