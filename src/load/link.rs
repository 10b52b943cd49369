//! One connection of one producer: requests of several partitions' batches, answers in order.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;

use crate::client::{Acks, ClientError, ConnectionOptions};
use crate::types::Str;

use super::line::{Codes, Line, Reply};
use super::plan::{Delivery, Plan};
use super::slot::Batch;
use super::target::{Place, Spot, Target};

/// A connection to one place, made anew when it is lost.
pub struct Link {
    target: Target,
    place: Place,
    options: ConnectionOptions,
    line: Option<Line>,
    retry_ns: u64,
    in_flight: VecDeque<Sent>,
    window: usize,
    acks: Acks,
    keep: Keep,
    /// The slots with something to send, each once; those that waited longest first.
    pub active: VecDeque<usize>,
    /// All its slots, for the closed loop to fill in turn.
    pub slots: Vec<usize>,
    pub cursor: usize,
}

/// What is kept of a batch on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// All of it, to send it again.
    Bytes,
    Nothing,
}

struct Sent {
    reply: Reply,
    submitted_ns: u64,
    batches: Vec<Batch>,
}

/// A request that was answered, or never will be.
pub struct Outcome {
    pub submitted_ns: u64,
    pub batches: Vec<Batch>,
    pub answer: Result<Codes, ClientError>,
}

impl Link {
    pub async fn open(target: &Target, place: Place, plan: &Plan) -> Result<Link, ClientError> {
        let mut options = plan.cluster.connection.clone();
        options.window = plan.window;
        let line = Line::open(target, &place, &options).await?;
        // The first connection may take its time; a lost one must not hold the producer up.
        options.connect_timeout = options.connect_timeout.min(Duration::from_secs(1));
        Ok(Link {
            target: target.clone(),
            place,
            options,
            line: Some(line),
            retry_ns: 0,
            in_flight: VecDeque::new(),
            window: plan.window,
            acks: plan.acks,
            keep: match plan.delivery {
                Delivery::Idempotent => Keep::Bytes,
                Delivery::Once | Delivery::Transactions { .. } => Keep::Nothing,
            },
            active: VecDeque::new(),
            slots: Vec::new(),
            cursor: 0,
        })
    }

    /// Connects again if the connection was lost, but not more often than ten times a second.
    pub async fn mend(&mut self, now_ns: u64) {
        if self.line.is_some() || now_ns < self.retry_ns {
            return;
        }
        self.retry_ns = now_ns + 100_000_000;
        // A failure shows in the records that wait, and in the next try.
        let opened = Line::open(&self.target, &self.place, &self.options).await;
        self.line = opened.ok();
    }

    /// Whether a request may be submitted now.
    pub fn has_room(&self) -> bool {
        let Some(line) = &self.line else {
            return false;
        };
        self.in_flight.len() < self.window && line.has_room(self.acks)
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.active.is_empty()
    }

    /// Whether requests are not answered yet.
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Submits the batches as one request.
    ///
    /// - `transactional_id`: of the transaction that they are in.
    pub fn submit(
        &mut self,
        timeout: Duration,
        transactional_id: Option<&Str>,
        mut batches: Vec<Batch>,
        now_ns: u64,
    ) -> Option<Outcome> {
        // A topic is named once; the sort is stable and costs nothing where there is only one.
        batches.sort_by_key(|batch| batch.spot.topic);
        let data = batches.iter_mut().map(|batch| {
            let bytes = match self.keep {
                Keep::Bytes => batch.bytes.clone(),
                Keep::Nothing => std::mem::take(&mut batch.bytes),
            };
            (batch.spot, bytes)
        });
        let data: Vec<(Spot, Bytes)> = data.collect();
        let line = self.line.as_ref();
        let line = line.expect("only with room, which needs one");
        match line.submit(&self.target, self.acks, transactional_id, timeout, data) {
            Ok(reply) => {
                self.in_flight.push_back(Sent {
                    reply,
                    submitted_ns: now_ns,
                    batches,
                });
                None
            }
            Err(error) => {
                self.line = None;
                Some(Outcome {
                    submitted_ns: now_ns,
                    batches,
                    answer: Err(error),
                })
            }
        }
    }

    /// The oldest request, if it is answered.
    pub async fn take_answer(&mut self) -> Option<Outcome> {
        if !self.in_flight.front()?.reply.is_ready() {
            return None;
        }
        let sent = self.in_flight.pop_front()?;
        let answer = sent.reply.codes(&sent.batches).await;
        if answer.is_err() {
            self.line = None;
        }
        Some(Outcome {
            submitted_ns: sent.submitted_ns,
            batches: sent.batches,
            answer,
        })
    }

    /// Gives up what is in flight.
    pub fn abandon(&mut self) -> Vec<Batch> {
        let sent = self.in_flight.drain(..);
        sent.flat_map(|sent| sent.batches).collect()
    }

    /// True when the oldest request is answered; keeps the waker for when it is.
    pub fn poll_answered(&self, context: &Context<'_>) -> bool {
        let oldest = self.in_flight.front();
        oldest.is_some_and(|sent| sent.reply.poll_ready(context))
    }

    /// Whether a timer must look for room, because no answer will tell.
    pub fn needs_look(&self) -> bool {
        self.line.is_none() || (self.acks == Acks::None && !self.has_room())
    }
}
