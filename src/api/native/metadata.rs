//! MetadataRequest: topics, leaders, and which shard of a leader owns each partition.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::context::{NativeContext, NativeWork};
use super::{Refusal, malformed};
use crate::metadata::{Image, Topic};
use crate::protocol::ErrorCode;
use crate::types::NodeId;
use crate::wire::{
    EndpointV1, Frame, MetadataRequestV1, MetadataResponseV1, PartitionV1, TopicV1,
    UNKNOWN_ENDPOINT, UNKNOWN_SHARD,
};

pub(super) fn start(context: &Rc<NativeContext>, frame: &Frame) -> Result<NativeWork, Refusal> {
    let request = frame.read::<MetadataRequestV1>().map_err(malformed)?;
    // A topic that is named a thousand times is told once: the answer is no longer than all topics and the request.
    let names: Option<BTreeSet<String>> = request
        .topics
        .as_ref()
        .map(|names| names.iter().map(|name| name.to_string()).collect());
    let (context, correlation) = (context.clone(), frame.correlation);
    // Made when its turn comes: of a connection's requests only one such answer is in memory.
    Ok(Box::pin(async move {
        let response = describe(&context, names);
        context.answer(correlation, &response)
    }))
}

fn describe(context: &NativeContext, names: Option<BTreeSet<String>>) -> MetadataResponseV1 {
    let image = context.shard.image();
    let endpoints = endpoints(&image, &context.listener);
    let described = |topic: &Topic| described(context, topic, &endpoints);
    let topics = match names {
        None => image.topics().map(described).collect(),
        Some(names) => names
            .into_iter()
            .map(|name| image.topic(&name).map_or_else(|| unknown(name), described))
            .collect(),
    };
    MetadataResponseV1 { endpoints, topics }
}

/// The brokers that serve this listener.
fn endpoints(image: &Image, listener: &str) -> Vec<EndpointV1> {
    let brokers = image.brokers().filter(|broker| broker.is_active());
    brokers
        .filter_map(|broker| {
            let mut endpoints = broker.endpoints.iter();
            let endpoint = endpoints.find(|endpoint| endpoint.listener == *listener)?;
            Some(EndpointV1 {
                node_id: broker.id.0,
                host: endpoint.host.to_string(),
                port: endpoint.port,
                rack: broker.rack.as_ref().map(|rack| rack.to_string()),
            })
        })
        .collect()
}

fn described(context: &NativeContext, topic: &Topic, endpoints: &[EndpointV1]) -> TopicV1 {
    let shard = &context.shard;
    let endpoint_of = |node: NodeId| endpoints.iter().position(|e| e.node_id == node.0);
    let partitions = topic.partitions().map(|(index, partition)| {
        let leader = partition.leader;
        let owner = match leader == Some(shard.node_id()) {
            true => shard.owner(topic.id, index.0).0,
            false => UNKNOWN_SHARD,
        };
        let error = match leader {
            Some(_) => ErrorCode::None,
            None => ErrorCode::LeaderNotAvailable,
        };
        PartitionV1 {
            error: error.code(),
            leader: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            endpoint: leader
                .and_then(endpoint_of)
                .map_or(UNKNOWN_ENDPOINT, |at| at as u32),
            shard: owner,
        }
    });
    TopicV1 {
        error: ErrorCode::None.code(),
        name: topic.name.to_string(),
        id: topic.id.0,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
    }
}

fn unknown(name: String) -> TopicV1 {
    TopicV1 {
        error: ErrorCode::UnknownTopicOrPartition.code(),
        name,
        id: [0; 16],
        is_internal: false,
        partitions: Vec::new(),
    }
}
