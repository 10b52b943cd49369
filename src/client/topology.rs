//! What a cluster looks like, as its metadata told it: brokers, topics, leaders. No I/O here.

use std::collections::HashMap;

use crate::protocol::ErrorCode;
use crate::protocol::metadata::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::types::{LeaderEpoch, NodeId, Str, TopicId, Uuid};

use super::error::ClientError;

/// The last metadata received. Anything in it may be out of date by the time it is used: the broker that is
/// asked in error says so, and the caller learns anew.
#[derive(Clone, Default, Debug)]
pub struct Topology {
    pub cluster_id: Option<Str>,
    pub controller: Option<NodeId>,
    pub brokers: Vec<Broker>,
    topics: HashMap<Str, Topic>,
}

/// A broker and where it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    pub id: NodeId,
    pub host: Str,
    pub port: u16,
    pub rack: Option<Str>,
}

/// A topic and its partitions, in order of their index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: Str,
    /// Zero where the broker is too old for topic ids.
    pub id: TopicId,
    pub is_internal: bool,
    pub partitions: Vec<Partition>,
}

/// A partition and its replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    pub index: i32,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub offline: Vec<NodeId>,
}

impl Topology {
    /// Takes over the answer's brokers and the topics it speaks of; other topics stay as they are.
    ///
    /// Returns the errors of single topics, by name.
    pub fn absorb(&mut self, answer: &MetadataResponse) -> Vec<(Str, ErrorCode)> {
        self.cluster_id = answer.cluster_id.as_ref().map(Str::detach);
        self.controller = node(answer.controller_id);
        self.brokers = answer
            .brokers
            .iter()
            .map(|broker| Broker {
                id: NodeId(broker.node_id),
                host: broker.host.detach(),
                port: u16::try_from(broker.port).unwrap_or(0),
                rack: broker.rack.as_ref().map(Str::detach),
            })
            .collect();
        let mut errors = Vec::new();
        for topic in &answer.topics {
            let name = topic.name.clone().unwrap_or_default().detach();
            match ErrorCode::from_code(topic.error_code) {
                Some(ErrorCode::None) => {
                    self.topics.insert(name.clone(), Topic::of(name, topic));
                }
                code => {
                    self.topics.remove(&name);
                    errors.push((name, code.unwrap_or(ErrorCode::UnknownServerError)));
                }
            }
        }
        errors
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// All topics known, by name.
    pub fn topics(&self) -> Vec<&Topic> {
        let mut topics: Vec<&Topic> = self.topics.values().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// Drops what is known of a topic, so that it is asked for again.
    pub fn forget(&mut self, name: &str) {
        self.topics.remove(name);
    }

    /// `HOST:PORT` of a broker.
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.brokers
            .iter()
            .find(|broker| broker.id == node)
            .map(Broker::address)
    }
}

impl Broker {
    /// `HOST:PORT`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Topic {
    fn of(name: Str, topic: &MetadataResponseTopic) -> Topic {
        let mut partitions: Vec<Partition> = topic.partitions.iter().map(Partition::of).collect();
        partitions.sort_by_key(|partition| partition.index);
        Topic {
            name,
            id: topic.topic_id,
            is_internal: topic.is_internal,
            partitions,
        }
    }

    /// The partition of that index.
    pub fn partition(&self, index: i32) -> Result<&Partition, ClientError> {
        let found = self
            .partitions
            .binary_search_by_key(&index, |partition| partition.index);
        found.map(|at| &self.partitions[at]).map_err(|_| {
            ClientError::Invalid(format!(
                "topic {} has no partition {index}: it has {}",
                self.name,
                self.partitions.len()
            ))
        })
    }

    /// The leader of a partition; without one, a retriable error.
    pub fn leader(&self, index: i32) -> Result<NodeId, ClientError> {
        self.partition(index)?
            .leader
            .ok_or_else(|| ClientError::Server {
                code: ErrorCode::LeaderNotAvailable,
                about: format!("partition {}-{index}", self.name),
                message: None,
            })
    }

    /// Whether the broker addresses it by id from the version on that does so.
    pub fn has_id(&self) -> bool {
        self.id != Uuid::ZERO
    }
}

impl Partition {
    fn of(partition: &MetadataResponsePartition) -> Partition {
        let nodes = |ids: &[i32]| ids.iter().map(|&id| NodeId(id)).collect();
        Partition {
            index: partition.partition_index,
            leader: node(partition.leader_id),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            replicas: nodes(&partition.replica_nodes),
            isr: nodes(&partition.isr_nodes),
            offline: nodes(&partition.offline_replicas),
        }
    }
}

/// A node id in which −1 is "none".
fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::metadata::MetadataResponseBroker;

    fn answer(topic: &str, error: ErrorCode, leaders: &[i32]) -> MetadataResponse {
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "::1".into(),
                port: 9092,
                rack: None,
            }],
            topics: vec![MetadataResponseTopic {
                error_code: error.code(),
                name: Some(topic.into()),
                partitions: leaders
                    .iter()
                    .enumerate()
                    .rev()
                    .map(|(i, &leader_id)| MetadataResponsePartition {
                        partition_index: i as i32,
                        leader_id,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn topics_are_replaced_by_what_an_answer_says_and_kept_where_it_is_silent() {
        let mut topology = Topology::default();
        topology.absorb(&answer("a", ErrorCode::None, &[1, -1]));
        topology.absorb(&answer("b", ErrorCode::None, &[1]));
        assert_eq!(topology.topics().len(), 2);
        let errors = topology.absorb(&answer("a", ErrorCode::UnknownTopicOrPartition, &[]));
        assert_eq!(errors, [("a".into(), ErrorCode::UnknownTopicOrPartition)]);
        assert!(topology.topic("a").is_none() && topology.topic("b").is_some());
    }

    #[test]
    fn a_partition_without_leader_is_worth_another_try_and_one_that_is_not_there_is_not() {
        let mut topology = Topology::default();
        topology.absorb(&answer("a", ErrorCode::None, &[1, -1]));
        let topic = topology.topic("a").unwrap();
        assert_eq!(topic.leader(0), Ok(NodeId(1)));
        assert!(topic.leader(1).unwrap_err().is_retriable());
        assert!(!topic.leader(2).unwrap_err().is_retriable());
    }

    #[test]
    fn an_ipv6_broker_is_addressed_in_brackets() {
        let mut topology = Topology::default();
        topology.absorb(&answer("a", ErrorCode::None, &[1]));
        assert_eq!(topology.address(NodeId(1)).as_deref(), Some("[::1]:9092"));
        assert_eq!(topology.address(NodeId(2)), None);
    }
}
