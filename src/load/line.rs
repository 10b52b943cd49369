//! A connection of either wire, as a link uses it: batches out, an error code for each back.

use std::task::Context;
use std::time::Duration;

use bytes::Bytes;

use crate::client::native::{NativeConnection, NativeConnectionOptions, NativeReply};
use crate::client::{self, Acks, ClientError, Connection, ConnectionOptions};
use crate::protocol::Records;
use crate::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use crate::wire::{ProduceBatchV1, ProduceRequestV1, ProduceResponseV1};

use super::link::Part;
use super::target::{Place, Target};

/// An open connection.
pub enum Line {
    Kafka(Connection),
    Native(NativeConnection),
}

/// A request's answer to come.
pub enum Reply {
    Kafka(client::Reply<ProduceResponse>),
    /// acks 0 on Kafka's wire: there is none, and what was sent counts as done.
    Unanswered(client::Reply<ProduceResponse>),
    Native(NativeReply),
}

/// For each batch of a request, in its order, Kafka's error code, or `None` where the answer does not name it.
pub type Codes = Vec<Option<i16>>;

impl Line {
    pub async fn open(
        target: &Target,
        place: &Place,
        options: &ConnectionOptions,
    ) -> Result<Line, ClientError> {
        match target {
            Target::Kafka(..) => Connection::open(&place.address, options)
                .await
                .map(Line::Kafka),
            Target::Native(_) => {
                let options = NativeConnectionOptions {
                    connect_timeout: options.connect_timeout,
                    request_timeout: options.request_timeout,
                    shard: place.shard,
                    ..NativeConnectionOptions::default()
                };
                let opened = NativeConnection::open(&place.address, &options).await;
                opened.map(Line::Native)
            }
        }
    }

    /// Whether it takes a request more: what is not answered is only sent when the requests before it have left.
    pub fn has_room(&self, acks: Acks) -> bool {
        match self {
            Line::Kafka(connection) => acks != Acks::None || connection.is_drained(),
            Line::Native(_) => true,
        }
    }

    /// Puts one request with a batch for each of some partitions in line.
    pub fn submit(
        &self,
        target: &Target,
        acks: Acks,
        timeout: Duration,
        batches: Vec<(i32, Bytes)>,
    ) -> Result<Reply, ClientError> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        match (self, target) {
            (Line::Kafka(connection), Target::Kafka(_, topic)) => {
                let data = batches.into_iter().map(|(index, bytes)| {
                    let records = Some(Records::Bytes(bytes));
                    PartitionProduceData { index, records }
                });
                let request = ProduceRequest {
                    transactional_id: None,
                    acks: acks.code(),
                    timeout_ms,
                    topic_data: vec![TopicProduceData {
                        name: topic.name.clone(),
                        topic_id: topic.id,
                        partition_data: data.collect(),
                    }],
                };
                let newest = connection.version::<ProduceRequest>()?;
                let version = match topic.has_id() {
                    true => newest,
                    false => newest.min(12),
                };
                match acks {
                    Acks::None => connection
                        .submit_unanswered(&request, version)
                        .map(Reply::Unanswered),
                    _ => connection.submit(&request, version).map(Reply::Kafka),
                }
            }
            (Line::Native(connection), Target::Native(topic)) => {
                let rows = batches.iter().map(|(partition, bytes)| ProduceBatchV1 {
                    topic_id: topic.id.0,
                    partition: *partition,
                    bytes: bytes.len() as u32,
                });
                let request = ProduceRequestV1 {
                    acks: acks.code(),
                    timeout_ms,
                    batches: rows.collect(),
                };
                let bodies = batches.into_iter().map(|(_, bytes)| bytes);
                connection.submit(&request, bodies).map(Reply::Native)
            }
            _ => unreachable!("a line is opened to its own target"),
        }
    }
}

impl Reply {
    /// Whether [`Reply::codes`] would return at once.
    pub fn is_ready(&self) -> bool {
        match self {
            Reply::Kafka(reply) | Reply::Unanswered(reply) => reply.is_ready(),
            Reply::Native(reply) => reply.is_ready(),
        }
    }

    /// As [`Reply::is_ready`]; until then, `context` is woken when that changes.
    pub fn poll_ready(&self, context: &Context<'_>) -> bool {
        match self {
            Reply::Kafka(reply) | Reply::Unanswered(reply) => reply.poll_ready(context),
            Reply::Native(reply) => reply.poll_ready(context),
        }
    }

    /// What became of each of `parts`, which are those that were submitted.
    pub async fn codes(self, parts: &[Part]) -> Result<Codes, ClientError> {
        match self {
            Reply::Kafka(reply) => {
                let answer = reply.await?;
                let row = |(index, part): (usize, &Part)| {
                    row_of(&answer, index, part.partition).map(|row| row.error_code)
                };
                Ok(parts.iter().enumerate().map(row).collect())
            }
            Reply::Unanswered(reply) => {
                reply.await?;
                Ok(vec![Some(0); parts.len()])
            }
            Reply::Native(reply) => {
                let frame = reply.await?;
                let answer = frame.read::<ProduceResponseV1>();
                let answer = answer.map_err(|error| {
                    let what = format!("the answer to a ProduceRequest cannot be read: {error}");
                    ClientError::Invalid(what)
                })?;
                let row = |index: usize| answer.batches.get(index).map(|row| row.error.to_native());
                Ok((0..parts.len()).map(row).collect())
            }
        }
    }
}

/// The answer's row for each part: brokers answer in the order of the request, but need not.
fn row_of(
    answer: &ProduceResponse,
    index: usize,
    partition: i32,
) -> Option<&PartitionProduceResponse> {
    let rows = &answer.responses.first()?.partition_responses;
    match rows.get(index) {
        Some(row) if row.index == partition => Some(row),
        _ => rows.iter().find(|row| row.index == partition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::produce::TopicProduceResponse;

    #[test]
    fn rows_are_found_in_and_out_of_order() {
        let row = |index| PartitionProduceResponse {
            index,
            ..Default::default()
        };
        let answer = ProduceResponse {
            responses: vec![TopicProduceResponse {
                partition_responses: vec![row(5), row(2)],
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(row_of(&answer, 0, 5).map(|row| row.index), Some(5));
        assert_eq!(row_of(&answer, 0, 2).map(|row| row.index), Some(2));
        assert!(row_of(&answer, 1, 3).is_none());
        assert!(row_of(&ProduceResponse::default(), 0, 0).is_none());
    }
}
