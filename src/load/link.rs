//! One connection of one producer: requests of several partitions' batches, answers in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;

use crate::client::{Acks, ClientError, ConnectionOptions};
use crate::rt;
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
    /// A connection being made, and what came of it.
    opening: Option<Opening>,
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

type Opening = Rc<RefCell<Option<Result<Line, ClientError>>>>;

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
    /// Connects, as long as that takes by the plan's options.
    pub async fn open(target: &Target, place: Place, plan: &Plan) -> Result<Link, ClientError> {
        let options = options(plan);
        let line = Line::open(target, &place, &options).await?;
        let mut link = Link::closed(target, place, plan);
        link.line = Some(line);
        Ok(link)
    }

    /// Without a connection, which [`Link::mend`] makes once there are slots.
    pub fn closed(target: &Target, place: Place, plan: &Plan) -> Link {
        let mut options = options(plan);
        // The first connection of a run may take its time; one that is lost is given up sooner, as its leader may move.
        options.connect_timeout = options.connect_timeout.min(Duration::from_secs(1));
        Link {
            target: target.clone(),
            place,
            options,
            line: None,
            opening: None,
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
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Connects in the background if there is no connection, but not more often than ten times a second, and closes one
    /// that has nothing to send any more.
    pub fn mend(&mut self, now_ns: u64) {
        if self.slots.is_empty() {
            if self.in_flight.is_empty() {
                (self.line, self.opening) = (None, None);
            }
            return;
        }
        if let Some(opening) = &self.opening {
            let opened = opening.borrow_mut().take();
            if let Some(opened) = opened {
                // A failure shows in the records that wait, and in the next try.
                (self.line, self.opening) = (opened.ok(), None);
            }
            return;
        }
        // What was in flight on the lost one is told first: its answers are that it is lost.
        if self.line.is_some() || !self.in_flight.is_empty() || now_ns < self.retry_ns {
            return;
        }
        self.retry_ns = now_ns + RETRY_NS;
        let opening = Opening::default();
        self.opening = Some(opening.clone());
        let (target, place) = (self.target.clone(), self.place.clone());
        let options = self.options.clone();
        rt::spawn(rt::Queue::Net, "load connection", async move {
            let opened = Line::open(&target, &place, &options).await;
            opening.replace(Some(opened));
        });
    }

    /// Whether there is something to send and no connection.
    pub fn is_broken(&self) -> bool {
        self.line.is_none() && !self.slots.is_empty()
    }

    /// A slot goes to another link.
    pub fn let_go(&mut self, slot: usize) {
        self.slots.retain(|own| *own != slot);
        self.active.retain(|own| *own != slot);
        self.cursor = 0;
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
        self.is_broken() || (self.acks == Acks::None && !self.has_room())
    }
}

fn options(plan: &Plan) -> ConnectionOptions {
    let mut options = plan.cluster.connection.clone();
    options.window = plan.window;
    options
}

/// Between two tries to connect.
const RETRY_NS: u64 = 100_000_000;
