//! Where partitions begin and end, and which record comes first after a time.

use std::collections::BTreeMap;

use crate::protocol::ErrorCode;
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::types::{Offset, Timestamp};

use super::cluster::{AutoCreate, Cluster};
use super::error::ClientError;

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
    fn timestamp(self) -> Option<i64> {
        match self {
            Place::Beginning => Some(-2),
            Place::End => Some(-1),
            Place::At(_) => None,
            Place::Since(time) => Some(time.0),
        }
    }
}

impl Cluster {
    /// The offsets of one place in several partitions of a topic, each asked of its leader; retried while the
    /// leaders move.
    pub async fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        place: Place,
    ) -> Result<BTreeMap<i32, Offset>, ClientError> {
        let mut found = BTreeMap::new();
        for &partition in partitions {
            let offset = match place {
                Place::At(offset) => offset,
                _ => self.offset(topic, partition, place).await?,
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
}
