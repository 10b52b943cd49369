//! One client's connection: requests in, responses out in the same order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::connections::{End, Handle, Order, Sending, Shared};
use super::frames::{BadLength, Frames};
use super::intake::Intake;
use super::timing::{self, Answered, Asked, Began};
use crate::api::{self, Context, Frame, Outcome, Work};
use crate::rt::{self, RawAccepted, Reservation, Socket};
use crate::shard::ReadData;
use crate::types::{Micros, Str};

/// Requests of one connection in flight at once; the next is read when one is answered.
pub(super) const PIPELINE_MAX: usize = 64;
/// What a client that sends nothing more has asked is answered if it takes no longer than this.
pub(super) const FINISH_WITHIN: Duration = Duration::from_secs(3);
/// Bytes read ahead of the frame being served; past it the socket is not read.
const READ_AHEAD_MAX: usize = 64 << 10;
/// Bytes of a large frame that are waited for at once, at most.
pub(super) const WAIT_MAX: usize = 1 << 20;

struct Connection {
    shared: Rc<Shared>,
    context: Rc<Context>,
    handle: Rc<Handle>,
    socket: Socket,
    frames: Frames,
    /// In the order of the requests.
    pipeline: VecDeque<InFlight>,
    intake: Intake,
    /// A whole frame that waits for its turn.
    next: Option<Whole>,
    /// When something was read last.
    read_at: Micros,
    closing: bool,
}

/// A frame that is here.
struct Whole {
    frame: Bytes,
    memory: Option<Reservation>,
    arrived: Micros,
}

struct InFlight {
    work: Work,
    is_produce: bool,
    began: Began,
    /// Goes back when the response is sent.
    _memory: Option<Reservation>,
}

enum Event {
    Read(usize),
    Answer(Outcome),
    Reserved,
    Order(Order),
}

/// Serves a connection until it ends.
pub async fn serve(shared: Rc<Shared>, listener: usize, accepted: RawAccepted) {
    let peer = accepted.peer_addr();
    let (slot, handle) = shared.enter(peer, listener);
    if let Ok(socket) = Socket::adopt(accepted) {
        let context = Rc::new(Context {
            shard: shared.shard.clone(),
            connection: shared.shard.connection_number(),
            listener: shared.listener_name(listener),
            client_host: Str::from(format!("/{}", peer.ip())),
            sessions: shared.sessions.clone(),
            client_id: handle.client_id.clone(),
            watched: Default::default(),
        });
        let mut connection = Connection {
            context: context.clone(),
            intake: Intake::new(shared.gate.clone(), handle.clone()),
            handle,
            socket,
            frames: Frames::new(shared.shard.config.socket_request_max_bytes as usize),
            pipeline: VecDeque::new(),
            next: None,
            read_at: shared.shard.clock.now(),
            closing: false,
            shared: shared.clone(),
        };
        let end = match connection.run().await {
            Ok(end) | Err(end) => end,
        };
        if let End::Fault(why) = end {
            shared.shard.metrics.frames_refused.increment();
            shared.lines.warn(shared.shard.clock.now(), peer, &why);
        }
        context.close();
        // Whoever waits for the socket in the kernel is told, also where a descriptor is still held.
        let _ = connection.socket.shutdown(Shutdown::Both).await;
    }
    shared.leave(slot, peer.ip());
}

impl Connection {
    async fn run(&mut self) -> Result<End, End> {
        loop {
            self.start_requests()?;
            if self.closing && self.pipeline.is_empty() {
                return Ok(End::Stopped);
            }
            self.handle.serving.set(!self.pipeline.is_empty());
            let event = self.event().await;
            self.handle.serving.set(false);
            match event? {
                Event::Read(0) => {
                    // Half-closed: what was asked is answered, but a client that is gone looks the same, and a member
                    // of a group may wait for minutes.
                    let finished = rt::timeout(FINISH_WITHIN, self.finish_pipeline()).await;
                    finished.unwrap_or(Ok(()))?;
                    return Ok(End::Gone);
                }
                Event::Read(count) => {
                    self.shared.shard.metrics.bytes_in.add(count as u64);
                    self.handle.counted.received_bytes.add(count as u64);
                    self.read_at = self.shared.shard.clock.now();
                    self.handle.last_active.set(self.read_at);
                    self.handle.shrunk.set(false);
                }
                Event::Answer(outcome) => self.answer(outcome).await?,
                Event::Reserved => {}
                Event::Order(Order::Close(why)) => return Ok(End::Fault(why.into())),
                Event::Order(Order::Finish) => {
                    self.closing = true;
                    self.next = None;
                }
                Event::Order(Order::Shrink) => self.frames.shrink(),
                Event::Order(Order::GoOn) => {}
            }
        }
    }

    /// Waits for the first of: an answer that is due, bytes, memory, an order.
    async fn event(&mut self) -> Result<Event, End> {
        poll_fn(|task| self.poll_event(task)).await
    }

    fn poll_event(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<Event, End>> {
        if self.handle.signal.poll_wait(task).is_ready() {
            return Poll::Ready(Ok(Event::Order(self.handle.order.get())));
        }
        if let Some(front) = self.pipeline.front_mut()
            && let Poll::Ready(outcome) = front.work.as_mut().poll(task)
        {
            return Poll::Ready(Ok(Event::Answer(outcome)));
        }
        if self.intake.poll(task).is_ready() {
            return Poll::Ready(Ok(Event::Reserved));
        }
        if self.may_read() && self.intake.waits_for_room(|| self.shared.shard.clock.now()) {
            return self.poll_event(task);
        }
        if self.may_read() {
            // Nothing can be done before a large frame is here: it is not worth a turn for each of its pieces.
            let missing = self.frames.missing();
            self.socket.wait_for_bytes(missing.clamp(1, WAIT_MAX));
            let (buffer, limit) = self.frames.read_buffer();
            return self
                .socket
                .poll_read_buf(task, buffer, limit)
                .map(|read| match read {
                    Ok(count) => Ok(Event::Read(count)),
                    Err(_) => Err(End::Gone),
                });
        }
        Poll::Pending
    }

    /// Back-pressure: nothing is read while a frame waits for memory or for its turn with enough behind it.
    fn may_read(&self) -> bool {
        if self.closing || self.intake.is_waiting() {
            return false;
        }
        match &self.next {
            Some(_) => self.frames.buffered() < READ_AHEAD_MAX,
            None => true,
        }
    }

    /// Begins every request that is here and whose turn it is.
    fn start_requests(&mut self) -> Result<(), End> {
        while !self.closing {
            let whole = match self.next.take() {
                Some(next) => next,
                None => match self.next_frame()? {
                    Some(next) => next,
                    None => return Ok(()),
                },
            };
            let is_produce = api::is_produce(&whole.frame);
            let overlaps = is_produce && self.pipeline.iter().all(|request| request.is_produce);
            let may_start =
                self.pipeline.is_empty() || overlaps && self.pipeline.len() < PIPELINE_MAX;
            if !may_start {
                self.next = Some(whole);
                return Ok(());
            }
            let shard = &self.shared.shard;
            let (key, version) = api::key_and_version(&whole.frame);
            let bytes = whole.frame.len() as u64;
            let started = shard.clock.now();
            let work = api::start(&self.context, whole.frame)
                .map_err(|refused| End::Fault(refused.to_string()))?;
            let began = Began {
                asked: Asked::Kafka(key),
                version,
                bytes,
                arrived: whole.arrived,
                started,
                returned: shard.clock.now(),
            };
            shard.metrics.requests.increment();
            self.handle.counted.requests.increment();
            self.pipeline.push_back(InFlight {
                work,
                is_produce,
                began,
                _memory: whole.memory,
            });
        }
        Ok(())
    }

    fn next_frame(&mut self) -> Result<Option<Whole>, End> {
        let bad = |BadLength(len)| {
            End::Fault(format!(
                "a request's length is {len}, and may be 0 to socket.request.max.bytes"
            ))
        };
        if let Some(frame) = self.frames.next().map_err(bad)? {
            let memory = self.intake.take(frame.len());
            return Ok(Some(Whole {
                frame,
                memory,
                arrived: self.read_at,
            }));
        }
        let (len, bytes) = (self.frames.pending_len(), self.frames.buffered());
        self.intake
            .on_partial(len, bytes, || self.shared.shard.clock.now());
        Ok(None)
    }

    /// Answers the request at the front, which is done.
    async fn answer(&mut self, outcome: Outcome) -> Result<(), End> {
        let request = self.pipeline.pop_front().expect("the front was polled");
        let now = self.shared.shard.clock.now();
        self.handle.last_active.set(now);
        let mut answered = Answered::at(now);
        match outcome {
            Outcome::Silent => {}
            Outcome::Close(why) => return Err(End::Fault(why)),
            Outcome::Reply(frame) => {
                answered.times = frame.times;
                answered.bytes = frame.len() as u64;
                self.send(frame).await?;
                // The last write has looked at the clock.
                answered.sent = self.handle.last_active.get();
            }
        }
        timing::note(&self.shared.shard, &self.handle, &request.began, &answered);
        Ok(())
    }

    /// Sends a frame; records go from the cache's pages to the socket without a copy. What the socket does not take at once
    /// waits for the client, and keeps no more of the cache than it has to.
    async fn send(&mut self, mut frame: Frame) -> Result<(), End> {
        self.shared.shard.metrics.bytes_out.add(frame.len() as u64);
        self.handle.counted.sent_bytes.add(frame.len() as u64);
        let sent = self.send_at_once(&mut pieces(&frame)).await?;
        if sent == frame.len() {
            return Ok(());
        }
        let shard = &self.shared.shard;
        frame.settle(&shard.answers);
        let mut sending = Sending {
            since: shard.clock.now(),
            bytes: 0,
        };
        let mut pieces = pieces(&frame);
        let mut slices = pieces.as_mut_slice();
        IoSlice::advance_slices(&mut slices, sent);
        while !slices.is_empty() {
            self.handle.sending.set(Some(sending));
            let count = self.send_some(slices).await?;
            IoSlice::advance_slices(&mut slices, count);
            sending.bytes += count;
        }
        self.handle.sending.set(None);
        Ok(())
    }

    /// Sends what the socket takes without waiting. Returns how many bytes that was.
    async fn send_at_once(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<usize, End> {
        let mut total = 0;
        // Empty ones at the front go.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let sent = poll_fn(|task| match self.socket.poll_write_vectored(task, slices) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => Poll::Ready(None),
            });
            let Some(sent) = sent.await else {
                return Ok(total);
            };
            let sent = self.note_sent(sent?)?;
            IoSlice::advance_slices(&mut slices, sent);
            total += sent;
        }
        Ok(total)
    }

    /// Sends what the socket takes now. A client that reads nothing is waited for until it is ordered to close.
    async fn send_some(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, End> {
        let (handle, socket) = (&self.handle, &mut self.socket);
        let sent = poll_fn(|task| {
            if let Poll::Ready(sent) = socket.poll_write_vectored(task, slices) {
                return Poll::Ready(sent.map_err(End::from));
            }
            // Any other order is looked at again when everything is sent.
            while handle.signal.poll_wait(task).is_ready() {
                if let Order::Close(why) = handle.order.get() {
                    return Poll::Ready(Err(End::Fault(why.into())));
                }
            }
            Poll::Pending
        })
        .await?;
        self.note_sent(sent)
    }

    fn note_sent(&self, sent: usize) -> Result<usize, End> {
        if sent == 0 {
            return Err(End::Gone);
        }
        self.handle.last_active.set(self.shared.shard.clock.now());
        Ok(sent)
    }

    async fn finish_pipeline(&mut self) -> Result<(), End> {
        loop {
            self.start_requests()?;
            let Some(front) = self.pipeline.front_mut() else {
                return Ok(());
            };
            let outcome = front.work.as_mut().await;
            self.answer(outcome).await?;
        }
    }
}

/// A frame's bytes in order, piece by piece.
fn pieces(frame: &Frame) -> SmallVec<[IoSlice<'_>; 8]> {
    let mut slices: SmallVec<[IoSlice<'_>; 8]> =
        SmallVec::with_capacity(frame.splices.len() * 4 + 1);
    let mut start = 0;
    for (splice, data) in frame.splices.iter().zip(&frame.data) {
        slices.push(IoSlice::new(&frame.head[start..splice.at]));
        start = splice.at;
        match data {
            ReadData::Empty => {}
            ReadData::Here(pinned) => slices.extend(pinned.iter().map(|slice| IoSlice::new(slice))),
            ReadData::There(foreign) => slices.extend(foreign.chunks().map(IoSlice::new)),
        }
    }
    slices.push(IoSlice::new(&frame.head[start..]));
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    assert_eq!(total, frame.len(), "the slices hold what the frame says");
    slices
}
