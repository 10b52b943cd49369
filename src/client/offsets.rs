//! Where partitions begin and end, and which record comes first after a time.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::protocol::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::protocol::{ErrorCode, Records};
use crate::record::{Codecs, records, split};
use crate::types::{NodeId, Offset, Str, Timestamp};

use super::cluster::{AutoCreate, Cluster};
use super::error::ClientError;
use super::groups::{TopicPartition, by_topic};

/// A place in a partition's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The first record kept.
    Beginning,
    /// Past the last record that consumers may read.
    End,
    /// This offset, whether there is a record or not.
    At(Offset),
    /// The first record not older than this; the end if there is none.
    Since(Timestamp),
}

impl Place {
    /// ListOffsets' word for it, where the broker must be asked.
    pub(super) fn timestamp(self) -> Option<i64> {
        match self {
            Place::Beginning => Some(-2),
            Place::End => Some(-1),
            Place::At(_) => None,
            Place::Since(time) => Some(time.0),
        }
    }
}

impl Cluster {
    /// The offsets of one place in several partitions of a topic, each leader asked once for all it leads; retried while
    /// the leaders move.
    pub async fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        place: Place,
    ) -> Result<BTreeMap<i32, Offset>, ClientError> {
        let name = Str::from(topic);
        let places: Vec<TopicPartition> = partitions.iter().map(|p| (name.clone(), *p)).collect();
        let mut found = BTreeMap::new();
        for ((_, partition), offset) in self.offsets_of(&places, place).await? {
            let offset = match offset {
                Ok(offset) => offset,
                Err(_) => self.offset(topic, partition, place).await?,
            };
            found.insert(partition, offset);
        }
        Ok(found)
    }

    async fn offset(
        &self,
        topic: &str,
        partition: i32,
        place: Place,
    ) -> Result<Offset, ClientError> {
        let timestamp = place.timestamp().unwrap_or(-1);
        let found = self.list_offset(topic, partition, timestamp).await?;
        match (place, found.offset) {
            // No record is as young: reading goes on at the end.
            (Place::Since(_), -1) => {
                Ok(Offset(self.list_offset(topic, partition, -1).await?.offset))
            }
            (_, offset) => Ok(Offset(offset)),
        }
    }

    /// One ListOffsets query by Kafka's `timestamp` (−1 end, −2 beginning, −3 largest timestamp).
    pub async fn list_offset(
        &self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<ListOffsetsPartitionResponse, ClientError> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.into(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    timestamp,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        self.topic(topic, AutoCreate::Forbid).await?;
        self.retry(async || {
            let asked = async { self.leader(topic, partition).await?.call(&request).await }.await;
            let found = asked.and_then(|answer| {
                let rows = answer.topics.into_iter().flat_map(|t| t.partitions);
                let row = rows.into_iter().find(|p| p.partition_index == partition);
                let row = row.ok_or_else(|| ClientError::Server {
                    code: ErrorCode::UnknownServerError,
                    about: format!("partition {topic}-{partition}"),
                    message: Some("the broker's answer leaves it out".to_owned()),
                })?;
                let about = || format!("partition {topic}-{partition}");
                ClientError::check(row.error_code, about, None)?;
                Ok(row)
            });
            if found.is_err() {
                self.forget(topic);
            }
            found
        })
        .await
    }

    /// The offsets of one place in partitions of any topics, each leader asked once for all it leads.
    ///
    /// - A partition that does not exist, or whose leader cannot tell, has its error in its place.
    /// - `Err`: some broker does not answer at all.
    pub async fn offsets_of(
        &self,
        partitions: &[TopicPartition],
        place: Place,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset, ClientError>>, ClientError> {
        if let Place::At(offset) = place {
            return Ok(partitions.iter().map(|p| (p.clone(), Ok(offset))).collect());
        }
        let timestamp = place.timestamp().unwrap_or(-1);
        let mut found = self.list_offsets(partitions, timestamp).await?;
        // No record is as young: the end.
        let beyond = |(partition, row): (&TopicPartition, &Result<Offset, _>)| {
            (*row == Ok(Offset(-1))).then(|| partition.clone())
        };
        let beyond: Vec<TopicPartition> = found.iter().filter_map(beyond).collect();
        if !beyond.is_empty() {
            found.extend(self.list_offsets(&beyond, -1).await?);
        }
        Ok(found)
    }

    async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset, ClientError>>, ClientError> {
        let topics = by_topic(partitions);
        let names: Vec<&str> = topics.keys().map(|name| name.as_str()).collect();
        self.retry(async || self.metadata(Some(&names), AutoCreate::Forbid).await)
            .await?;
        let mut found = BTreeMap::new();
        let mut asked: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for (topic, index) in partitions {
            let about = || format!("partition {topic}-{index}");
            let unknown = || ClientError::Server {
                code: ErrorCode::UnknownTopicOrPartition,
                about: about(),
                message: None,
            };
            let known = self.topology().topic(topic).map(|t| t.leader(*index));
            match known.unwrap_or_else(|| Err(unknown())) {
                Ok(leader) => asked
                    .entry(leader)
                    .or_default()
                    .push((topic.clone(), *index)),
                Err(ClientError::Invalid(_)) => {
                    found.insert((topic.clone(), *index), Err(unknown()));
                }
                Err(error) => {
                    found.insert((topic.clone(), *index), Err(error));
                }
            }
        }
        for (leader, partitions) in asked {
            let request = list_offsets_request(&partitions, timestamp);
            let answer = self
                .retry(async || self.node(leader).await?.call(&request).await)
                .await?;
            for topic in answer.topics {
                for p in topic.partitions {
                    let about = || format!("partition {}-{}", topic.name, p.partition_index);
                    let told = ClientError::check(p.error_code, about, None);
                    let row = told.map(|()| Offset(p.offset));
                    found.insert((topic.name.detach(), p.partition_index), row);
                }
            }
        }
        Ok(found)
    }

    /// The timestamp of the first record at or after `from`; `None` where there is none, or `from` is no longer kept.
    pub async fn record_time(
        &self,
        topic: &str,
        partition: i32,
        from: Offset,
    ) -> Result<Option<Timestamp>, ClientError> {
        let mut from = from;
        // Each answer is a batch of other things than records (markers), or what a compaction left empty.
        for _ in 0..BATCHES_PEEKED_MAX {
            let bytes = self.peek(topic, partition, from).await?;
            let corrupt = |why: String| ClientError::Server {
                code: ErrorCode::CorruptMessage,
                about: format!("partition {topic}-{partition} at offset {from}"),
                message: Some(why),
            };
            let (mut next, mut codecs) = (from, Codecs::new());
            for batch in split(&bytes) {
                let batch = batch.map_err(|error| corrupt(error.to_string()))?;
                next = batch.header.next_offset().max(next);
                if batch.header.is_control() {
                    continue;
                }
                let found = records(batch.bytes, INFLATED_BYTES_MAX, &mut codecs);
                for record in found.map_err(|error| corrupt(error.to_string()))? {
                    let record = record.map_err(|error| corrupt(error.to_string()))?;
                    if record.offset >= from {
                        return Ok(Some(record.timestamp));
                    }
                }
            }
            if next == from {
                return Ok(None);
            }
            from = next;
        }
        Ok(None)
    }

    /// One batch at `from`, or none where the log ends there or begins later.
    async fn peek(&self, topic: &str, partition: i32, from: Offset) -> Result<Bytes, ClientError> {
        let known = self.topic(topic, AutoCreate::Forbid).await?;
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1,
            topics: vec![FetchTopic {
                topic: known.name.clone(),
                topic_id: known.id,
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: from.0,
                    // The first batch is sent even if it is larger (KIP-74).
                    partition_max_bytes: 1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        self.retry(async || {
            let connection = self.leader(topic, partition).await?;
            let newest = connection.version::<FetchRequest>()?;
            // From version 13 on, topics are named by id only.
            let version = if known.has_id() {
                newest
            } else {
                newest.min(12)
            };
            let answer = connection.call_at(&request, version).await?;
            ClientError::check(answer.error_code, || format!("topic {topic}"), None)?;
            let row = answer
                .responses
                .into_iter()
                .flat_map(|t| t.partitions)
                .next();
            let Some(row) = row else {
                return Ok(Bytes::new());
            };
            if row.error_code == ErrorCode::OffsetOutOfRange.code() {
                return Ok(Bytes::new());
            }
            let about = || format!("partition {topic}-{partition}");
            ClientError::check(row.error_code, about, None).inspect_err(|_| self.forget(topic))?;
            match row.records {
                Some(Records::Bytes(bytes)) => Ok(bytes),
                _ => Ok(Bytes::new()),
            }
        })
        .await
    }
}

fn list_offsets_request(partitions: &[TopicPartition], timestamp: i64) -> ListOffsetsRequest {
    let rows = by_topic(partitions).into_iter();
    let topics = rows.map(|(name, indexes)| ListOffsetsTopic {
        name,
        partitions: indexes
            .into_iter()
            .map(|partition_index| ListOffsetsPartition {
                partition_index,
                timestamp,
                ..Default::default()
            })
            .collect(),
    });
    ListOffsetsRequest {
        replica_id: -1,
        topics: topics.collect(),
        ..Default::default()
    }
}

/// How many batches without a record [`Cluster::record_time`] looks behind.
const BATCHES_PEEKED_MAX: usize = 64;
/// What a batch of at most 100 MiB or so may inflate to.
const INFLATED_BYTES_MAX: usize = 1 << 30;
