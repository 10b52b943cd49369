//! Decisions about who leads when a replica's log fails and comes back.

use super::image::{Image, Partition};
use super::record::{MetadataRecord, PartitionChangeV1};
use crate::types::{NodeId, PartitionIndex, TopicId};

/// Takes the lead from `broker` where its log is offline. Where no other member of the ISR is alive nobody leads, and the
/// ISR stays: the broker may come back with what it had.
pub(super) fn replicas_failed(
    image: &Image,
    broker: NodeId,
    partitions: &[(TopicId, PartitionIndex)],
    out: &mut Vec<MetadataRecord>,
) {
    for &(topic, index) in partitions {
        // Deleted meanwhile, or led by another already.
        let led = image
            .partition(topic, index)
            .filter(|partition| partition.leader == Some(broker));
        let Some(partition) = led else { continue };
        let next = successor(image, partition, broker);
        let isr = next.map(|_| {
            let rest = partition.isr.iter().filter(|node| **node != broker);
            rest.map(|node| node.0).collect()
        });
        out.push(change(topic, index, next.unwrap_or(NodeId(-1)), isr));
    }
}

/// Gives partitions that nobody leads to `broker`, a member of their ISR that has just started.
pub(super) fn elect_waiting(image: &Image, broker: NodeId, out: &mut Vec<MetadataRecord>) {
    for topic in image.topics() {
        for (index, partition) in topic.partitions() {
            if partition.leader.is_none() && partition.isr.contains(&broker) {
                out.push(change(topic.id, index, broker, None));
            }
        }
    }
}

fn successor(image: &Image, partition: &Partition, failed: NodeId) -> Option<NodeId> {
    let is_active = |node: &NodeId| image.broker(*node).is_some_and(|broker| broker.is_active());
    let others = partition.replicas.iter().filter(|node| **node != failed);
    others
        .copied()
        .find(|node| partition.isr.contains(node) && is_active(node))
}

fn change(
    topic: TopicId,
    index: PartitionIndex,
    leader: NodeId,
    isr: Option<Vec<i32>>,
) -> MetadataRecord {
    MetadataRecord::from(PartitionChangeV1 {
        topic_id: topic.0,
        partition: index.0,
        leader: Some(leader.0),
        isr,
        replicas: None,
        adding: None,
        removing: None,
        directories: None,
    })
}
