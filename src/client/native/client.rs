//! A cluster behind its native listeners: topics, places of partitions, connections to them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::client::cluster::{UNKNOWN_TOPIC_PATIENCE, retry_within};
use crate::client::error::ClientError;
use crate::client::offsets::Place;
use crate::protocol::ErrorCode;
use crate::types::{LeaderEpoch, NodeId, Offset, ProducerId, TopicId, Uuid};
use crate::wire::{
    MetadataRequestV1, MetadataResponseV1, OffsetQueryV1, OffsetsRequestV1, OffsetsResponseV1,
    PartitionV1, ProducerIdsRequestV1, ProducerIdsResponseV1, TopicV1, UNKNOWN_SHARD,
};

use super::connection::{NativeConnection, NativeConnectionOptions};

/// How a cluster is spoken to.
#[derive(Clone, Debug)]
pub struct NativeOptions {
    /// Its `shard` is chosen by the client.
    pub connection: NativeConnectionOptions,
    /// How long a call is tried again after errors that may pass.
    pub retry_for: Duration,
    pub steering: Steering,
}

/// Which shard of a broker serves the connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Steering {
    /// The one that owns the partitions: one connection for each shard, and no hop inside the broker.
    ToOwner,
    /// Whichever accepts: one connection for each broker.
    Anywhere,
}

/// A topic as the brokers tell it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeTopic {
    pub name: String,
    pub id: TopicId,
    /// By ascending index, from 0.
    pub partitions: Vec<NativePartition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativePartition {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    /// `HOST:PORT` of the leader's native listener.
    pub address: Option<String>,
    /// The leader's shard that owns it, where the leader was asked.
    pub shard: Option<u16>,
}

/// Where a connection goes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Destination {
    pub address: String,
    pub shard: Option<u16>,
}

/// A cluster that any number of tasks of one executor share.
pub struct NativeClient {
    bootstrap: Vec<String>,
    options: NativeOptions,
    connections: RefCell<HashMap<Destination, NativeConnection>>,
}

impl Default for NativeOptions {
    fn default() -> NativeOptions {
        NativeOptions {
            connection: NativeConnectionOptions::default(),
            retry_for: Duration::from_secs(30),
            steering: Steering::ToOwner,
        }
    }
}

impl NativeClient {
    /// Connects to the first of `bootstrap` (`HOST:PORT`, native listeners) that answers.
    ///
    /// - `Err`: that of the last address, if none answers; no address is tried twice.
    pub async fn connect(
        bootstrap: &[String],
        options: NativeOptions,
    ) -> Result<Rc<NativeClient>, ClientError> {
        let client = NativeClient {
            bootstrap: bootstrap.to_vec(),
            options,
            connections: RefCell::default(),
        };
        client.any().await?;
        Ok(Rc::new(client))
    }

    pub fn options(&self) -> &NativeOptions {
        &self.options
    }

    /// Asks for a topic; errors that may pass are retried, one that is not there for a second: brokers hear of a new
    /// topic at slightly different times.
    pub async fn topic(&self, name: &str) -> Result<NativeTopic, ClientError> {
        let patience = |error: &ClientError| match error.code() {
            Some(ErrorCode::UnknownTopicOrPartition) => UNKNOWN_TOPIC_PATIENCE,
            _ => self.options.retry_for,
        };
        retry_within(patience, async || self.learn(name).await).await
    }

    /// The offset of a place in a partition, asked of its leader; retried while leaders move.
    pub async fn offset(
        &self,
        topic: &str,
        partition: i32,
        place: Place,
    ) -> Result<Offset, ClientError> {
        if let Place::At(offset) = place {
            return Ok(offset);
        }
        let ask = async || {
            let topic = self.learn(topic).await?;
            let found = self.find(&topic, partition, place).await?;
            match found {
                Some(offset) => Ok(offset),
                // Nothing is as young as that: its place is the end.
                None => {
                    let end = self.find(&topic, partition, Place::End).await?;
                    Ok(end.unwrap_or(Offset::ZERO))
                }
            }
        };
        retry_within(|_| self.options.retry_for, ask).await
    }

    async fn find(
        &self,
        topic: &NativeTopic,
        partition: i32,
        place: Place,
    ) -> Result<Option<Offset>, ClientError> {
        let known = topic.partition(partition)?;
        let request = OffsetsRequestV1 {
            isolation: 0,
            partitions: vec![OffsetQueryV1 {
                topic_id: topic.id.0,
                partition,
                timestamp: place.timestamp().unwrap_or(-1),
                leader_epoch: known.leader_epoch.0,
            }],
        };
        let connection = self.open(&self.destination(topic, partition)?).await?;
        let answer: OffsetsResponseV1 = connection.call(&request).await?;
        let about = || format!("partition {}-{partition}", topic.name);
        let Some(row) = answer.partitions.first() else {
            return Err(ClientError::Invalid(format!(
                "{}: the answer is empty",
                about()
            )));
        };
        ClientError::check(row.error, about, None)?;
        Ok(Some(Offset(row.offset)).filter(|offset| *offset >= Offset::ZERO))
    }

    /// An id for a new idempotent producer; its epoch is 0.
    pub async fn producer_id(&self) -> Result<ProducerId, ClientError> {
        let ask = async || {
            let request = ProducerIdsRequestV1 { count: 1 };
            let answer: ProducerIdsResponseV1 = self.any().await?.call(&request).await?;
            ClientError::check(answer.error, || "producer id".to_owned(), None)?;
            let id = answer.ids.first().copied().map(ProducerId);
            id.ok_or_else(|| ClientError::Invalid("no producer id was given".to_owned()))
        };
        retry_within(|_| self.options.retry_for, ask).await
    }

    /// Asks for a topic once.
    pub(super) async fn learn(&self, name: &str) -> Result<NativeTopic, ClientError> {
        let request = MetadataRequestV1 {
            topics: Some(vec![name.to_owned()]),
        };
        let answer: MetadataResponseV1 = self.any().await?.call(&request).await?;
        let found = answer.topics.iter().find(|topic| topic.name == name);
        let code = found.map_or(ErrorCode::UnknownTopicOrPartition.code(), |topic| {
            topic.error
        });
        ClientError::check(code, || format!("topic {name}"), None)?;
        let found = found.expect("a topic without an error was found");
        Ok(NativeTopic::new(found, &answer))
    }

    /// Where the requests for a partition go.
    pub(super) fn destination(
        &self,
        topic: &NativeTopic,
        partition: i32,
    ) -> Result<Destination, ClientError> {
        let known = topic.partition(partition)?;
        let address = known.address.clone().ok_or_else(|| ClientError::Server {
            code: ErrorCode::LeaderNotAvailable,
            about: format!("partition {}-{partition}", topic.name),
            message: Some("it has no leader with a native listener now".to_owned()),
        })?;
        let shard = known
            .shard
            .filter(|_| self.options.steering == Steering::ToOwner);
        Ok(Destination { address, shard })
    }

    /// The shared connection to a destination, opened if there is none.
    pub(super) async fn open(&self, to: &Destination) -> Result<NativeConnection, ClientError> {
        if let Some(open) = self.open_connection(to) {
            return Ok(open);
        }
        let options = NativeConnectionOptions {
            shard: to.shard,
            ..self.options.connection.clone()
        };
        let connection = NativeConnection::open(&to.address, &options).await?;
        // Another task may have opened one meanwhile: all use the same, so that their requests stay in order.
        if let Some(open) = self.open_connection(to) {
            return Ok(open);
        }
        let mut connections = self.connections.borrow_mut();
        connections.insert(to.clone(), connection.clone());
        Ok(connection)
    }

    /// A connection to whichever broker answers.
    async fn any(&self) -> Result<NativeConnection, ClientError> {
        let mut addresses: Vec<String> = {
            let connections = self.connections.borrow();
            if let Some(open) = connections.values().find(|c| c.is_open()) {
                return Ok(open.clone());
            }
            connections.keys().map(|to| to.address.clone()).collect()
        };
        addresses.extend(self.bootstrap.iter().cloned());
        let mut last = ClientError::Invalid("no bootstrap address was given".to_owned());
        for address in addresses {
            let to = Destination {
                address,
                shard: None,
            };
            match self.open(&to).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn open_connection(&self, to: &Destination) -> Option<NativeConnection> {
        let connections = self.connections.borrow();
        connections.get(to).filter(|c| c.is_open()).cloned()
    }
}

impl NativeTopic {
    fn new(topic: &TopicV1, answer: &MetadataResponseV1) -> NativeTopic {
        let partition = |told: &PartitionV1| {
            let endpoint = answer.endpoints.get(told.endpoint as usize);
            NativePartition {
                leader: Some(NodeId(told.leader)).filter(|leader| leader.0 >= 0),
                leader_epoch: LeaderEpoch(told.leader_epoch),
                address: endpoint.map(|e| match e.host.contains(':') {
                    true => format!("[{}]:{}", e.host, e.port),
                    false => format!("{}:{}", e.host, e.port),
                }),
                shard: Some(told.shard).filter(|shard| *shard != UNKNOWN_SHARD),
            }
        };
        NativeTopic {
            name: topic.name.clone(),
            id: Uuid(topic.id),
            partitions: topic.partitions.iter().map(partition).collect(),
        }
    }

    /// - `Err(Invalid)`: the topic has no such partition.
    pub fn partition(&self, index: i32) -> Result<&NativePartition, ClientError> {
        let found = usize::try_from(index)
            .ok()
            .and_then(|i| self.partitions.get(i));
        found.ok_or_else(|| {
            let (name, count) = (&self.name, self.partitions.len());
            ClientError::Invalid(format!(
                "topic {name} has {count} partitions, and no {index}"
            ))
        })
    }
}
