//! What a run writes to: the topics as the chosen wire knows them, and where their partitions are reached.

use std::rc::Rc;

use crate::client::native::{
    NativeClient, NativeConnectionOptions, NativeOptions, NativeTopic, Steering,
};
use crate::client::{AutoCreate, ClientError, Cluster, Topic};
use crate::protocol::ErrorCode;

use super::plan::{Plan, Wire};

/// The topics of a run. A thread has its own.
#[derive(Clone)]
pub enum Target {
    Kafka(Rc<Cluster>, Rc<Vec<Topic>>),
    Native(Rc<NativeClient>, Rc<Vec<NativeTopic>>),
}

/// A partition of one of the topics, by the topic's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    pub topic: usize,
    pub partition: i32,
}

/// The partitions of all topics, numbered through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    pub topics: Vec<TopicLayout>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicLayout {
    pub name: String,
    pub partitions: usize,
    /// The number of its partition 0.
    pub first: usize,
}

/// Where requests of some partitions go: one broker, or one shard of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// `HOST:PORT`.
    pub address: String,
    /// Only on the native wire, where it is told.
    pub shard: Option<u16>,
}

impl Layout {
    pub fn new(topics: impl Iterator<Item = (String, usize)>) -> Layout {
        let mut first = 0;
        let topics = topics.map(|(name, partitions)| {
            let topic = TopicLayout {
                name,
                partitions,
                first,
            };
            first += partitions;
            topic
        });
        Layout {
            topics: topics.collect(),
        }
    }

    pub fn partitions_count(&self) -> usize {
        self.topics.iter().map(|topic| topic.partitions).sum()
    }

    /// What partition `number` is called.
    pub fn name(&self, number: u32) -> String {
        let spot = self.spots().nth(number as usize);
        let spot = spot.expect("a partition of this run");
        format!("{}-{}", self.topics[spot.topic].name, spot.partition)
    }

    /// In the order of their numbers.
    pub fn spots(&self) -> impl Iterator<Item = Spot> {
        let topics = self.topics.iter().enumerate();
        topics.flat_map(|(topic, of)| {
            (0..of.partitions as i32).map(move |partition| Spot { topic, partition })
        })
    }
}

impl TopicLayout {
    /// The number of one of its partitions among those of all topics.
    pub fn number(&self, partition: i32) -> u32 {
        (self.first + partition as usize) as u32
    }
}

impl Target {
    /// Connects and learns the topics, which exist.
    ///
    /// - `Err`: also where one has other partitions by now.
    pub async fn open(plan: &Plan, layout: &Layout) -> Result<Target, ClientError> {
        let (target, counts) = match &plan.wire {
            Wire::Kafka => {
                let cluster = Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await?;
                let mut topics = Vec::new();
                for topic in &layout.topics {
                    topics.push(cluster.topic(&topic.name, AutoCreate::Forbid).await?);
                }
                let counts: Vec<usize> = topics.iter().map(|t| t.partitions.len()).collect();
                (Target::Kafka(cluster, Rc::new(topics)), counts)
            }
            Wire::Native { bootstrap, .. } => {
                let client = NativeClient::connect(bootstrap, native_options(plan)).await?;
                let mut topics = Vec::new();
                for topic in &layout.topics {
                    topics.push(client.topic(&topic.name).await?);
                }
                let counts: Vec<usize> = topics.iter().map(|t| t.partitions.len()).collect();
                (Target::Native(client, Rc::new(topics)), counts)
            }
        };
        for (topic, count) in layout.topics.iter().zip(counts) {
            if topic.partitions != count {
                let what = format!("topic {} changes while it is used", topic.name);
                return Err(ClientError::Invalid(what));
            }
        }
        Ok(target)
    }

    /// The same topics with their leaders of now, asked once.
    pub async fn learned_anew(&self) -> Result<Target, ClientError> {
        match self {
            Target::Kafka(cluster, topics) => {
                let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
                cluster.metadata(Some(&names), AutoCreate::Forbid).await?;
                let topology = cluster.topology();
                let topics = topics.iter().map(|topic| {
                    // One that is not told of now has its old leaders until it is.
                    let told = topology.topic(&topic.name);
                    told.unwrap_or(topic).clone()
                });
                let topics = Rc::new(topics.collect());
                Ok(Target::Kafka(cluster.clone(), topics))
            }
            Target::Native(client, topics) => {
                let mut told = Vec::new();
                for topic in topics.iter() {
                    told.push(client.topic(&topic.name).await?);
                }
                Ok(Target::Native(client.clone(), Rc::new(told)))
            }
        }
    }

    /// - `Err`: the partition has no leader now, or none that is reached by this wire.
    pub fn place(&self, spot: Spot) -> Result<Place, ClientError> {
        match self {
            Target::Kafka(cluster, topics) => Ok(Place {
                address: cluster.address(topics[spot.topic].leader(spot.partition)?)?,
                shard: None,
            }),
            Target::Native(_, topics) => {
                let topic = &topics[spot.topic];
                let known = topic.partition(spot.partition)?;
                let address = known.address.clone().ok_or_else(|| ClientError::Server {
                    code: ErrorCode::LeaderNotAvailable,
                    about: format!("partition {}-{}", topic.name, spot.partition),
                    message: Some("it has no leader with a native listener now".to_owned()),
                })?;
                let shard = known.shard;
                Ok(Place { address, shard })
            }
        }
    }
}

/// The native client's options that correspond to those of the plan's Kafka client.
pub fn native_options(plan: &Plan) -> NativeOptions {
    let kafka = &plan.cluster;
    NativeOptions {
        connection: NativeConnectionOptions {
            connect_timeout: kafka.connection.connect_timeout,
            request_timeout: kafka.connection.request_timeout,
            ..NativeConnectionOptions::default()
        },
        retry_for: kafka.retry_for,
        steering: match &plan.wire {
            Wire::Native { steering, .. } => *steering,
            Wire::Kafka => Steering::ToOwner,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbered_through_the_topics() {
        let layout = Layout::new([("a".to_owned(), 2), ("b".to_owned(), 3)].into_iter());
        assert_eq!(layout.partitions_count(), 5);
        let spots: Vec<Spot> = layout.spots().collect();
        for (number, spot) in spots.iter().enumerate() {
            let topic = &layout.topics[spot.topic];
            assert_eq!(topic.number(spot.partition) as usize, number);
            let name = format!("{}-{}", topic.name, spot.partition);
            assert_eq!(layout.name(number as u32), name);
        }
        assert_eq!(
            (spots[1].topic, spots[2].topic, spots[2].partition),
            (0, 1, 0)
        );
    }
}
