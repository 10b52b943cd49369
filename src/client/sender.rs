//! The task that sends one partition's batches and keeps their order through second tries.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use futures_lite::future::or;

use crate::protocol::Records;
use crate::protocol::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::rt;

use super::backoff::Backoff;
use super::batching::Batch;
use super::cluster::{AutoCreate, new_backoff};
use super::connection::{Connection, Reply};
use super::error::ClientError;
use super::producer::{Acks, Queue, Shared, is_duplicate};

/// A batch on its way, and its answer.
struct InFlight {
    batch: Batch,
    reply: Reply<ProduceResponse>,
}

struct Sender {
    queue: Rc<Queue>,
    shared: Rc<Shared>,
    connection: Option<Connection>,
    in_flight: VecDeque<InFlight>,
    backoff: Backoff,
    failing_since: Option<Instant>,
}

/// Sends the queue's batches until the producer is closed or fails.
pub(super) async fn run(queue: Rc<Queue>, shared: Rc<Shared>) {
    let mut sender = Sender {
        queue,
        shared,
        connection: None,
        in_flight: VecDeque::new(),
        backoff: new_backoff(),
        failing_since: None,
    };
    while !sender.shared.account.is_closed() {
        if let Err(error) = sender.step().await {
            sender.shared.account.fail(error);
        }
    }
}

impl Sender {
    /// Sends what the window lets through, then waits for an answer or for more to send.
    async fn step(&mut self) -> Result<(), ClientError> {
        while self.in_flight.len() < self.shared.options.window {
            let Some(batch) = self.queue.take(&self.shared, Instant::now()) else {
                break;
            };
            match self.submit(&batch).await {
                Ok(reply) => self.in_flight.push_back(InFlight { batch, reply }),
                Err(error) => return self.retry(batch, error).await,
            }
        }
        if self.wait().await {
            let InFlight { batch, reply } = self.in_flight.pop_front().expect("one was answered");
            return match self.outcome(&batch, reply.await) {
                Ok(()) => {
                    self.shared.account.acked(&batch);
                    self.failing_since = None;
                    Ok(())
                }
                Err(error) => self.retry(batch, error).await,
            };
        }
        Ok(())
    }

    async fn submit(&mut self, batch: &Batch) -> Result<Reply<ProduceResponse>, ClientError> {
        let shared = &self.shared;
        let connection = match &self.connection {
            Some(connection) if connection.is_open() => connection,
            _ => {
                let leader = shared
                    .cluster
                    .leader(&shared.topic.name, self.queue.partition);
                self.connection.insert(leader.await?)
            }
        };
        connection.drained().await;
        let request = ProduceRequest {
            acks: shared.options.acks.code(),
            timeout_ms: shared.options.request_timeout.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: shared.topic.name.clone(),
                topic_id: shared.topic.id,
                partition_data: vec![PartitionProduceData {
                    index: self.queue.partition,
                    records: Some(Records::Bytes(batch.bytes.clone())),
                }],
            }],
            ..Default::default()
        };
        let newest = connection.version::<ProduceRequest>()?;
        // From version 13 on, topics are named by id only.
        let version = if shared.topic.has_id() {
            newest
        } else {
            newest.min(12)
        };
        match shared.options.acks {
            Acks::None => connection.submit_unanswered(&request, version),
            _ => connection.submit(&request, version),
        }
    }

    /// True when the oldest batch is answered; false when there may be more to send.
    async fn wait(&mut self) -> bool {
        let window_is_full = self.in_flight.len() >= self.shared.options.window;
        let linger_end = match window_is_full {
            true => None,
            false => self.queue.linger_end(&self.shared),
        };
        let (queue, shared, in_flight) = (&self.queue, &self.shared, &self.in_flight);
        let event = poll_fn(|context| {
            if let Some(oldest) = in_flight.front()
                && oldest.reply.poll_ready(context)
            {
                return Poll::Ready(true);
            }
            queue.park(context.waker());
            let has_more =
                !window_is_full && (queue.has_ready() || queue.linger_end(shared) != linger_end);
            match has_more || shared.account.is_closed() {
                true => Poll::Ready(false),
                false => Poll::Pending,
            }
        });
        match linger_end {
            None => event.await,
            Some(end) => {
                let lingering = async {
                    rt::sleep(end.saturating_duration_since(Instant::now())).await;
                    false
                };
                or(event, lingering).await
            }
        }
    }

    /// What an answer means for its batch.
    fn outcome(
        &self,
        batch: &Batch,
        answer: Result<ProduceResponse, ClientError>,
    ) -> Result<(), ClientError> {
        let answer = answer?;
        if self.shared.options.acks == Acks::None {
            return Ok(());
        }
        let rows = answer.responses.iter().flat_map(|t| &t.partition_responses);
        let about = || batch.about(&self.shared.topic.name);
        let Some(row) = rows
            .into_iter()
            .find(|row| row.index == self.queue.partition)
        else {
            return Err(ClientError::Invalid(format!(
                "{}: the broker's answer leaves it out",
                about()
            )));
        };
        match ClientError::check(row.error_code, about, row.error_message.as_deref()) {
            Err(error) if is_duplicate(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// After `batch` failed with `error`: waits for everything behind it, and puts what failed back in order. The
    /// batches behind an idempotent one fail with it, out of sequence; their own errors say nothing more.
    async fn retry(&mut self, batch: Batch, error: ClientError) -> Result<(), ClientError> {
        let mut failed = vec![batch];
        while let Some(InFlight { batch, reply }) = self.in_flight.pop_front() {
            let answer = reply.await;
            match self.outcome(&batch, answer) {
                Ok(()) => self.shared.account.acked(&batch),
                Err(_) => failed.push(batch),
            }
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let wait = self.backoff.next_wait();
        let patience = self.shared.cluster.options().retry_for;
        if !error.is_retriable() || since.elapsed() + wait > patience {
            return Err(error);
        }
        failed.sort_by_key(|batch| batch.first_record);
        self.queue.put_back(failed);
        self.connection = None;
        rt::sleep(wait).await;
        // If this fails too, so will the next try, with an error that says more.
        let cluster = &self.shared.cluster;
        let _ = cluster
            .learn(&self.shared.topic.name, AutoCreate::Forbid)
            .await;
        Ok(())
    }
}
