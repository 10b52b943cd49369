//! What a run writes to: the topic as the chosen wire knows it, and where its partitions are reached.

use std::rc::Rc;

use crate::client::native::{NativeClient, NativeConnectionOptions, NativeOptions, NativeTopic};
use crate::client::{AutoCreate, ClientError, Cluster, Topic};
use crate::protocol::ErrorCode;

use super::plan::{Plan, Wire};

/// The topic of a run. A thread has its own.
#[derive(Clone)]
pub enum Target {
    Kafka(Rc<Cluster>, Topic),
    Native(NativeTopic),
}

/// Where requests of some partitions go: one broker, or one shard of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// `HOST:PORT`.
    pub address: String,
    /// Only on the native wire, where it is told.
    pub shard: Option<u16>,
}

impl Target {
    /// Connects and learns the topic, which exists.
    pub async fn open(plan: &Plan, name: &str) -> Result<Target, ClientError> {
        match &plan.wire {
            Wire::Kafka => {
                let cluster = Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await?;
                let topic = cluster.topic(name, AutoCreate::Forbid).await?;
                Ok(Target::Kafka(cluster, topic))
            }
            Wire::Native { bootstrap } => {
                let client = NativeClient::connect(bootstrap, native_options(plan)).await?;
                client.topic(name).await.map(Target::Native)
            }
        }
    }

    pub fn partitions_count(&self) -> usize {
        match self {
            Target::Kafka(_, topic) => topic.partitions.len(),
            Target::Native(topic) => topic.partitions.len(),
        }
    }

    /// - `Err`: the partition has no leader now, or none that is reached by this wire.
    pub fn place(&self, partition: i32) -> Result<Place, ClientError> {
        match self {
            Target::Kafka(cluster, topic) => Ok(Place {
                address: cluster.address(topic.leader(partition)?)?,
                shard: None,
            }),
            Target::Native(topic) => {
                let known = topic.partition(partition)?;
                let address = known.address.clone().ok_or_else(|| ClientError::Server {
                    code: ErrorCode::LeaderNotAvailable,
                    about: format!("partition {}-{partition}", topic.name),
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
        ..NativeOptions::default()
    }
}
