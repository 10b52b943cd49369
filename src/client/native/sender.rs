//! The task that sends a producer's batches: to each shard its own, as many partitions in a frame as fit, and in order
//! through second tries.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use futures_lite::future::or;
use rkyv::Archived;

use crate::client::backoff::Backoff;
use crate::client::batching::Batch;
use crate::client::cluster::new_backoff;
use crate::client::error::ClientError;
use crate::client::producer::is_duplicate;
use crate::rt;
use crate::wire::{Frame, FrameLimits, ProduceBatchV1, ProduceRequestV1, ProduceResponseV1};

use super::client::Destination;
use super::connection::{NativeConnection, NativeReply};
use super::producer::{Shared, Taken};

struct Sender {
    shared: Rc<Shared>,
    lanes: BTreeMap<Destination, Lane>,
    backoff: Backoff,
    failing_since: Option<Instant>,
}

/// A ProduceRequest without its rows, in bytes.
const REQUEST_BYTES: usize = size_of::<Archived<ProduceRequestV1>>();

/// What goes to one shard of one broker.
#[derive(Default)]
struct Lane {
    connection: Option<NativeConnection>,
    /// Listed partitions that belong here.
    ready: VecDeque<usize>,
    in_flight: VecDeque<InFlight>,
}

/// A request on its way.
struct InFlight {
    batches: Vec<Batch>,
    reply: NativeReply,
}

/// Batches that were not appended, and the first error among them.
#[derive(Default)]
struct Failed {
    batches: Vec<Batch>,
    error: Option<ClientError>,
}

/// Sends until the producer is closed or fails.
pub(super) async fn run(shared: Rc<Shared>) {
    let mut sender = Sender {
        shared,
        lanes: BTreeMap::new(),
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
    /// Sends what the windows let through, then waits for an answer or for more to send.
    async fn step(&mut self) -> Result<(), ClientError> {
        self.shared.end_lingering(Instant::now());
        let mut failed = Failed::default();
        match self.sort() {
            Ok(()) => self.submit_all(&mut failed).await,
            Err(error) => failed.error = Some(error),
        }
        if failed.error.is_none() {
            self.wait().await;
            self.collect(&mut failed).await;
        }
        match failed.error {
            Some(_) => self.start_over(failed).await,
            None => Ok(()),
        }
    }

    /// Puts listed partitions into their lanes.
    fn sort(&mut self) -> Result<(), ClientError> {
        let topic = self.shared.topic.borrow();
        let mut places = self.shared.take_ready();
        while let Some(place) = places.pop_front() {
            let to = match self.shared.client.destination(&topic, place as i32) {
                Ok(to) => to,
                Err(error) => {
                    places.push_front(place);
                    self.shared.relist(places);
                    return Err(error);
                }
            };
            self.lanes.entry(to).or_default().ready.push_back(place);
        }
        Ok(())
    }

    async fn submit_all(&mut self, failed: &mut Failed) {
        for (to, lane) in &mut self.lanes {
            while !lane.ready.is_empty() && lane.in_flight.len() < self.shared.options.window {
                let connection = match lane.connect(&self.shared, to).await {
                    Ok(connection) => connection,
                    Err(error) => return failed.add([], error),
                };
                let batches = lane.fill(&self.shared, connection.takes());
                if batches.is_empty() {
                    break;
                }
                if let Err((error, batches)) = lane.submit(&self.shared, &connection, batches) {
                    return failed.add(batches, error);
                }
            }
        }
    }

    /// Until the oldest request of a lane is answered, or there may be more to send.
    async fn wait(&mut self) {
        let linger_end = self.shared.linger_end();
        let (shared, lanes) = (&self.shared, &self.lanes);
        let event = poll_fn(|context| {
            let mut due = shared.has_ready() || shared.account.is_closed();
            due |= shared.linger_end() != linger_end;
            for lane in lanes.values() {
                let oldest = lane.in_flight.front();
                due |= oldest.is_some_and(|sent| sent.reply.poll_ready(context));
            }
            shared.park_sender(context.waker());
            match due {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        match linger_end {
            None => event.await,
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                or(event, rt::sleep(left)).await
            }
        }
    }

    /// Takes the answers that are here.
    async fn collect(&mut self, failed: &mut Failed) {
        for lane in self.lanes.values_mut() {
            while lane.is_answered().await {
                let sent = lane.in_flight.pop_front().expect("its oldest is answered");
                let before = failed.batches.len();
                settle(&self.shared, sent.batches, sent.reply.await, failed);
                if failed.batches.len() == before && self.failing_since.take().is_some() {
                    self.backoff = new_backoff();
                }
            }
        }
    }

    /// After something failed: waits for everything in flight, puts what failed back in order, and learns the leaders
    /// anew. The batches behind an idempotent one fail with it, out of sequence; their own errors say nothing more.
    async fn start_over(&mut self, mut failed: Failed) -> Result<(), ClientError> {
        for lane in std::mem::take(&mut self.lanes).into_values() {
            for sent in lane.in_flight {
                settle(&self.shared, sent.batches, sent.reply.await, &mut failed);
            }
            self.shared.relist(lane.ready);
        }
        let error = failed.error.expect("there is a first error");
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let wait = self.backoff.next_wait();
        let patience = self.shared.client.options().retry_for;
        if !error.is_retriable() || since.elapsed() + wait > patience {
            return Err(error);
        }
        self.shared.put_back(failed.batches);
        rt::sleep(wait).await;
        // If this fails too, so will the next try, with an error that says more.
        let name = self.shared.topic.borrow().name.clone();
        if let Ok(topic) = self.shared.client.learn(&name).await {
            *self.shared.topic.borrow_mut() = topic;
        }
        Ok(())
    }
}

impl Lane {
    /// The lane's connection, opened if there is none.
    async fn connect(
        &mut self,
        shared: &Shared,
        to: &Destination,
    ) -> Result<NativeConnection, ClientError> {
        if let Some(open) = self.connection.as_ref().filter(|c| c.is_open()) {
            return Ok(open.clone());
        }
        let opened = shared.client.open(to).await?;
        self.connection = Some(opened.clone());
        Ok(opened)
    }

    /// Batches of the listed partitions, up to the size of a request and what the broker `takes` of one. A single batch
    /// may be larger.
    fn fill(&mut self, shared: &Shared, takes: FrameLimits) -> Vec<Batch> {
        let request_bytes = shared.options.request_bytes.min(takes.body_bytes_max);
        let rows_bytes = takes.control_bytes_max.saturating_sub(REQUEST_BYTES);
        let count_max = (rows_bytes / size_of::<Archived<ProduceBatchV1>>()).max(1);
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let mut left = self.ready.len();
        while left > 0 && batches.len() < count_max {
            let Some(place) = self.ready.pop_front() else {
                break;
            };
            left -= 1;
            let room = request_bytes.saturating_sub(bytes);
            match shared.take(place, room, batches.is_empty()) {
                Taken::NoRoom => {
                    self.ready.push_front(place);
                    break;
                }
                Taken::Nothing => {}
                Taken::Batch { batch, more } => {
                    bytes += batch.bytes.len();
                    batches.push(batch);
                    if more {
                        self.ready.push_back(place);
                        left += 1;
                    }
                }
            }
        }
        batches
    }

    /// Puts a request in line; gives the batches back if it cannot.
    fn submit(
        &mut self,
        shared: &Shared,
        connection: &NativeConnection,
        batches: Vec<Batch>,
    ) -> Result<(), (ClientError, Vec<Batch>)> {
        let topic_id = shared.topic.borrow().id.0;
        let rows = batches.iter().map(|batch| ProduceBatchV1 {
            topic_id,
            partition: batch.partition,
            bytes: batch.bytes.len() as u32,
        });
        let timeout = shared.client.options().connection.request_timeout;
        let request = ProduceRequestV1 {
            acks: shared.options.acks.code(),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            batches: rows.collect(),
        };
        let bodies = batches.iter().map(|batch| batch.bytes.clone());
        match connection.submit(&request, bodies) {
            Ok(reply) => {
                self.in_flight.push_back(InFlight { batches, reply });
                Ok(())
            }
            Err(error) => Err((error, batches)),
        }
    }

    async fn is_answered(&self) -> bool {
        let Some(oldest) = self.in_flight.front() else {
            return false;
        };
        poll_fn(|context| Poll::Ready(oldest.reply.poll_ready(context))).await
    }
}

impl Failed {
    fn add(&mut self, batches: impl IntoIterator<Item = Batch>, error: ClientError) {
        self.batches.extend(batches);
        self.error.get_or_insert(error);
    }
}

/// What an answer means for each batch of its request.
fn settle(
    shared: &Shared,
    batches: Vec<Batch>,
    answer: Result<Frame, ClientError>,
    failed: &mut Failed,
) {
    let frame = match answer {
        Ok(frame) => frame,
        Err(error) => return failed.add(batches, error),
    };
    let count = batches.len();
    let response = match frame.read::<ProduceResponseV1>() {
        Ok(response) if response.batches.len() == count => response,
        _ => {
            let what = format!("the answer to {count} batches cannot be read");
            return failed.add(batches, ClientError::Invalid(what));
        }
    };
    for (batch, row) in batches.into_iter().zip(response.batches.iter()) {
        let about = || batch.about(&shared.topic.borrow().name);
        let message = row.message.as_ref().map(|message| message.as_str());
        match ClientError::check(row.error.to_native(), about, message) {
            Err(error) if !is_duplicate(&error) => failed.add([batch], error),
            _ => shared.acked(batch),
        }
    }
}
