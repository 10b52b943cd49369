//! A connection of either wire, as a link uses it: batches out, an error code for each back.

use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;

use crate::client::native::{NativeConnection, NativeConnectionOptions, NativeReply};
use crate::client::{self, Acks, ClientError, Connection, ConnectionOptions, Topic};
use crate::protocol::Records;
use crate::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use crate::types::Str;
use crate::wire::{ProduceBatchV1, ProduceRequestV1, ProduceResponseV1};

use super::slot::Batch;
use super::target::{Place, Spot, Target};

/// An open connection.
pub enum Line {
    Kafka(Connection),
    Native(NativeConnection),
}

/// A request's answer to come.
pub enum Reply {
    Kafka(client::Reply<ProduceResponse>, Rc<Vec<Topic>>),
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
            Target::Native(..) => {
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

    /// Puts one request with a batch for each of some partitions in line, those of one topic together.
    ///
    /// - `transactional_id`: of the transaction they belong to, whose partitions have joined it already.
    pub fn submit(
        &self,
        target: &Target,
        acks: Acks,
        transactional_id: Option<&Str>,
        timeout: Duration,
        batches: Vec<(Spot, Bytes)>,
    ) -> Result<Reply, ClientError> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        match (self, target) {
            (Line::Kafka(connection), Target::Kafka(_, topics)) => {
                let request = ProduceRequest {
                    transactional_id: transactional_id.cloned(),
                    acks: acks.code(),
                    timeout_ms,
                    topic_data: topic_data(topics, batches),
                };
                let newest = connection.version::<ProduceRequest>()?;
                let version = match transactional_id {
                    // From version 12 on partitions join by themselves, by a protocol in which epochs move (KIP-890).
                    Some(_) => newest.min(11),
                    None if topics.iter().all(Topic::has_id) => newest,
                    None => newest.min(12),
                };
                match acks {
                    Acks::None => connection
                        .submit_unanswered(&request, version)
                        .map(Reply::Unanswered),
                    _ => connection
                        .submit(&request, version)
                        .map(|reply| Reply::Kafka(reply, topics.clone())),
                }
            }
            (Line::Native(connection), Target::Native(_, topics)) => {
                let rows = batches.iter().map(|(spot, bytes)| ProduceBatchV1 {
                    topic_id: topics[spot.topic].id.0,
                    partition: spot.partition,
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

/// The request's rows: a topic at a time, of which each run of batches is one.
fn topic_data(topics: &[Topic], batches: Vec<(Spot, Bytes)>) -> Vec<TopicProduceData> {
    let mut data: Vec<TopicProduceData> = Vec::new();
    let mut last = None;
    for (spot, bytes) in batches {
        if last != Some(spot.topic) {
            last = Some(spot.topic);
            let topic = &topics[spot.topic];
            data.push(TopicProduceData {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_data: Vec::new(),
            });
        }
        let of = data.last_mut().expect("one was pushed");
        of.partition_data.push(PartitionProduceData {
            index: spot.partition,
            records: Some(Records::Bytes(bytes)),
        });
    }
    data
}

impl Reply {
    /// Whether [`Reply::codes`] would return at once.
    pub fn is_ready(&self) -> bool {
        match self {
            Reply::Kafka(reply, _) | Reply::Unanswered(reply) => reply.is_ready(),
            Reply::Native(reply) => reply.is_ready(),
        }
    }

    /// As [`Reply::is_ready`]; until then, `context` is woken when that changes.
    pub fn poll_ready(&self, context: &Context<'_>) -> bool {
        match self {
            Reply::Kafka(reply, _) | Reply::Unanswered(reply) => reply.poll_ready(context),
            Reply::Native(reply) => reply.poll_ready(context),
        }
    }

    /// What became of each of `parts`, which are those that were submitted.
    pub async fn codes(self, parts: &[Batch]) -> Result<Codes, ClientError> {
        match self {
            Reply::Kafka(reply, topics) => {
                let answer = reply.await?;
                let mut rows = Rows::new(&answer);
                let codes = parts.iter().map(|part| {
                    let row = rows.next(&topics[part.spot.topic], part.spot.partition);
                    row.map(|row| row.error_code)
                });
                Ok(codes.collect())
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

/// Finds the rows of an answer: brokers answer in the order of the request, but need not.
struct Rows<'a> {
    answer: &'a ProduceResponse,
    topic: usize,
    row: usize,
}

impl<'a> Rows<'a> {
    fn new(answer: &'a ProduceResponse) -> Rows<'a> {
        Rows {
            answer,
            topic: 0,
            row: 0,
        }
    }

    fn next(&mut self, topic: &Topic, partition: i32) -> Option<&'a PartitionProduceResponse> {
        let topics = &self.answer.responses;
        let is_done = topics.get(self.topic);
        if is_done.is_some_and(|of| self.row >= of.partition_responses.len()) {
            (self.topic, self.row) = (self.topic + 1, 0);
        }
        if let Some(of) = topics.get(self.topic)
            && is_of(of, topic)
            && let Some(row) = of.partition_responses.get(self.row)
            && row.index == partition
        {
            self.row += 1;
            return Some(row);
        }
        let of_topic = topics.iter().filter(|of| is_of(of, topic));
        let mut rows = of_topic.flat_map(|of| &of.partition_responses);
        rows.find(|row| row.index == partition)
    }
}

/// From version 13 on by id, before by name.
fn is_of(row: &TopicProduceResponse, topic: &Topic) -> bool {
    match row.name.is_empty() {
        true => row.topic_id == topic.id,
        false => row.name == topic.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Uuid;

    fn topic(name: &str, id: u8) -> Topic {
        Topic {
            name: Str::from(name),
            id: Uuid([id; 16]),
            is_internal: false,
            partitions: Vec::new(),
        }
    }

    fn answer(topics: &[(&str, u8, &[i32])]) -> ProduceResponse {
        let responses = topics.iter().map(|(name, id, indexes)| {
            let rows = indexes.iter().map(|&index| PartitionProduceResponse {
                index,
                error_code: i16::from(*id),
                ..Default::default()
            });
            TopicProduceResponse {
                name: Str::from(*name),
                topic_id: Uuid([*id; 16]),
                partition_responses: rows.collect(),
            }
        });
        ProduceResponse {
            responses: responses.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn rows_are_found_in_and_out_of_order_by_name_and_by_id() {
        let (a, b) = (topic("a", 1), topic("b", 2));
        for named in [true, false] {
            let name = |name| if named { name } else { "" };
            let answer = answer(&[(name("a"), 1, &[5, 2]), (name("b"), 2, &[2])]);
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let wanted = [(&a, 5, 1), (&a, 2, 1), (&b, 2, 2)];
                let mut rows = Rows::new(&answer);
                for at in order {
                    let (topic, partition, code) = wanted[at];
                    let row = rows.next(topic, partition).expect("it is there");
                    assert_eq!((row.index, row.error_code), (partition, code));
                }
                assert!(rows.next(&b, 5).is_none());
            }
        }
        assert!(Rows::new(&ProduceResponse::default()).next(&a, 0).is_none());
    }

    #[test]
    fn a_request_names_a_topic_once_for_a_run_of_its_batches() {
        let spot = |topic, partition| (Spot { topic, partition }, Bytes::new());
        let topics = [topic("a", 1), topic("b", 2)];
        let data = topic_data(&topics, vec![spot(0, 1), spot(0, 2), spot(1, 1)]);
        let rows: Vec<(&str, usize)> = data
            .iter()
            .map(|of| (of.name.as_str(), of.partition_data.len()))
            .collect();
        assert_eq!(rows, [("a", 2), ("b", 1)]);
    }
}
