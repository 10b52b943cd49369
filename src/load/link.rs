//! One connection of one producer: requests of several partitions' batches, answers in order.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use crate::client::{Acks, ClientError, Connection, ConnectionOptions, Reply, Topic};
use crate::protocol::Records;
use crate::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};

use super::plan::Plan;
use super::slot::{Batch, Dues};

/// A connection to one broker, made anew when it is lost.
pub struct Link {
    address: String,
    options: ConnectionOptions,
    connection: Option<Connection>,
    retry_ns: u64,
    in_flight: VecDeque<Sent>,
    window: usize,
    acks: Acks,
    /// The slots with something to send, each once; those that waited longest first.
    pub active: VecDeque<usize>,
    /// All its slots, for the closed loop to fill in turn.
    pub slots: Vec<usize>,
    pub cursor: usize,
}

struct Sent {
    reply: Reply<ProduceResponse>,
    submitted_ns: u64,
    parts: Vec<Part>,
}

/// A batch on its way: what is left of it to be counted.
pub struct Part {
    pub partition: i32,
    pub dues: Dues,
    pub value_bytes: u64,
    pub buffered_bytes: usize,
}

/// A request that was answered, or never will be.
pub struct Outcome {
    pub submitted_ns: u64,
    pub parts: Vec<Part>,
    pub answer: Result<ProduceResponse, ClientError>,
}

impl Link {
    pub async fn open(address: String, plan: &Plan) -> Result<Link, ClientError> {
        let mut options = plan.cluster.connection.clone();
        options.window = plan.window;
        let connection = Connection::open(&address, &options).await?;
        // The first connection may take its time; a lost one must not hold the producer up.
        options.connect_timeout = options.connect_timeout.min(Duration::from_secs(1));
        Ok(Link {
            address,
            options,
            connection: Some(connection),
            retry_ns: 0,
            in_flight: VecDeque::new(),
            window: plan.window,
            acks: plan.acks,
            active: VecDeque::new(),
            slots: Vec::new(),
            cursor: 0,
        })
    }

    /// Connects again if the connection was lost, but not more often than ten times a second.
    pub async fn mend(&mut self, now_ns: u64) {
        if self.connection.is_some() || now_ns < self.retry_ns {
            return;
        }
        self.retry_ns = now_ns + 100_000_000;
        // A failure shows in the records that wait, and in the next try.
        self.connection = Connection::open(&self.address, &self.options).await.ok();
    }

    /// Whether a request may be submitted now.
    pub fn has_room(&self) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        match self.acks {
            Acks::None => connection.is_drained(),
            _ => self.in_flight.len() < self.window,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.active.is_empty()
    }

    /// Submits the batches as one request.
    pub fn submit(
        &mut self,
        topic: &Topic,
        timeout: Duration,
        batches: Vec<Batch>,
        now_ns: u64,
    ) -> Option<Outcome> {
        let mut parts = Vec::with_capacity(batches.len());
        let mut partition_data = Vec::with_capacity(batches.len());
        for batch in batches {
            partition_data.push(PartitionProduceData {
                index: batch.partition,
                records: Some(Records::Bytes(batch.bytes)),
            });
            parts.push(Part {
                partition: batch.partition,
                dues: batch.dues,
                value_bytes: batch.value_bytes,
                buffered_bytes: batch.buffered_bytes,
            });
        }
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.acks.code(),
            timeout_ms: timeout.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: topic.name.clone(),
                topic_id: topic.id,
                partition_data,
            }],
        };
        match self.send(&request, topic) {
            Ok(reply) => {
                self.in_flight.push_back(Sent {
                    reply,
                    submitted_ns: now_ns,
                    parts,
                });
                None
            }
            Err(error) => {
                self.connection = None;
                Some(Outcome {
                    submitted_ns: now_ns,
                    parts,
                    answer: Err(error),
                })
            }
        }
    }

    fn send(
        &self,
        request: &ProduceRequest,
        topic: &Topic,
    ) -> Result<Reply<ProduceResponse>, ClientError> {
        let connection = self
            .connection
            .as_ref()
            .expect("only with room, which needs one");
        let newest = connection.version::<ProduceRequest>()?;
        let version = if topic.has_id() {
            newest
        } else {
            newest.min(12)
        };
        match self.acks {
            Acks::None => connection.submit_unanswered(request, version),
            _ => connection.submit(request, version),
        }
    }

    /// The oldest request, if it is answered.
    pub async fn take_answer(&mut self) -> Option<Outcome> {
        if !self.in_flight.front()?.reply.is_ready() {
            return None;
        }
        let sent = self.in_flight.pop_front()?;
        let answer = sent.reply.await;
        if answer.is_err() {
            self.connection = None;
        }
        Some(Outcome {
            submitted_ns: sent.submitted_ns,
            parts: sent.parts,
            answer,
        })
    }

    /// Gives up what is in flight.
    pub fn abandon(&mut self) -> Vec<Part> {
        let sent = self.in_flight.drain(..);
        sent.flat_map(|sent| sent.parts).collect()
    }

    /// True when the oldest request is answered; keeps the waker for when it is.
    pub fn poll_answered(&self, context: &Context<'_>) -> bool {
        let oldest = self.in_flight.front();
        oldest.is_some_and(|sent| sent.reply.poll_ready(context))
    }

    /// Whether a timer must look for room, because no answer will tell.
    pub fn needs_look(&self) -> bool {
        self.connection.is_none() || (self.acks == Acks::None && !self.has_room())
    }
}

/// The answer's row for each part: brokers answer in the order of the request, but need not.
pub fn row_of(
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
