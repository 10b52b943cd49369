//! One connection of the native wire: a handshake, then requests in and answers out in their order, and between them what
//! its streams push.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::connection::{FINISH_WITHIN, PIPELINE_MAX, WAIT_MAX};
use super::connections::{End, Handle, Order, Sending, Shared};
use super::intake::Intake;
use super::outgoing::Outgoing;
use super::timing::{self, Answered, Asked, Began};
use crate::api::Times;
use crate::api::native::{
    self, Credits, NativeContext, NativeFrame, NativeWork, Pushes, Started, Stream, refusal,
};
use crate::protocol::ErrorCode;
use crate::rt::{self, RawAccepted, Reservation, Socket};
use crate::types::{Micros, ShardId};
use crate::wire::{
    Agreed, BatchesV1, Control, Frame, FrameBuffer, FrameError, FrameLimits, HelloV1, Kind,
    WelcomeV1, agree, offer,
};

/// With so many bytes waiting to be sent, nothing more is read, answered or pushed.
const OUTGOING_MAX: usize = 256 << 10;
/// The longest control part after the handshake.
const CONTROL_BYTES_MAX: usize = 1 << 20;
/// The longest Hello.
const HELLO_BYTES_MAX: usize = 16 << 10;
/// Who has not said Hello after this long is closed.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Streams of one connection, and the partitions of all of them.
const STREAMS_MAX: usize = 64;
const STREAM_PARTITIONS_MAX: usize = 16_384;

struct NativeConnection<'a> {
    shared: &'a Rc<Shared>,
    context: Rc<NativeContext>,
    link: &'a mut Link,
    /// In the order of the requests.
    pipeline: VecDeque<InFlight>,
    streams: Vec<StreamSlot>,
    intake: Intake,
    /// When something was read last.
    read_at: Micros,
    closing: bool,
}

/// The socket and what stands on either side of it.
struct Link {
    handle: Rc<Handle>,
    socket: Socket,
    buffer: FrameBuffer,
    outgoing: Outgoing,
}

struct InFlight {
    work: NativeWork,
    began: Began,
    /// Goes back when the request is answered.
    _memory: Option<Reservation>,
}

struct StreamSlot {
    id: u64,
    credits: Rc<Credits>,
    parts_count: usize,
    work: StreamWork,
    /// Of its Subscribe, as long as it lives.
    _memory: Option<Reservation>,
}

/// A stream looking for what comes next; it comes back with it.
type StreamWork = Pin<Box<dyn Future<Output = (Stream, Option<Pushes>)>>>;

enum Event {
    Read(usize),
    Answer(NativeFrame),
    Push(usize, Stream, Option<Pushes>),
    Reserved,
    Order(Order),
}

/// What the handshake came to.
enum Greeted {
    Agreed(Agreed, Hello),
    /// To be served by that shard, which reads the Hello anew.
    Elsewhere(ShardId, BytesMut),
}

struct Hello {
    correlation: u64,
    /// The longest parts that the client takes.
    limits: FrameLimits,
}

/// Serves a connection until it ends or goes to another shard.
pub async fn serve(shared: Rc<Shared>, listener: usize, mut accepted: RawAccepted) {
    let peer = accepted.peer_addr();
    let (slot, handle) = shared.enter(peer, listener);
    let limits = FrameLimits {
        control_bytes_max: HELLO_BYTES_MAX,
        body_bytes_max: 0,
    };
    let buffer = FrameBuffer::with_input(limits, accepted.take_read());
    if let Ok(socket) = Socket::adopt(accepted) {
        let mut link = Link {
            handle,
            socket,
            buffer,
            outgoing: Outgoing::default(),
        };
        let end = match greet(&shared, &mut link).await {
            Err(end) => Err(end),
            Ok(Greeted::Elsewhere(to, read)) => {
                if let Ok(accepted) = link.socket.release(read) {
                    shared.hand_over(slot, to);
                    let message = crate::shard::Message::Connection { listener, accepted };
                    shared.shard.send(to, message);
                    return;
                }
                shared.leave(slot, peer.ip());
                return;
            }
            Ok(Greeted::Agreed(agreed, hello)) => {
                let context = NativeContext {
                    shard: shared.shard.clone(),
                    listener: shared.listener_name(listener),
                    agreed,
                    limits: hello.limits,
                };
                serve_agreed(&shared, &mut link, context, hello.correlation).await
            }
        };
        if let Err(End::Fault(why)) | Ok(End::Fault(why)) = end {
            shared.shard.metrics.frames_refused.increment();
            shared.lines.warn(shared.shard.clock.now(), peer, &why);
            // The refusal is queued: the client is told if it listens.
            let _ = rt::timeout(FINISH_WITHIN, link.flush(&shared)).await;
        }
        let _ = link.socket.shutdown(Shutdown::Both).await;
    }
    shared.leave(slot, peer.ip());
}

/// Reads the Hello and decides who serves it, and how.
async fn greet(shared: &Rc<Shared>, link: &mut Link) -> Result<Greeted, End> {
    let read = rt::timeout(HELLO_WITHIN, link.read_hello(shared)).await;
    let late = || End::Fault("no Hello in time".to_owned());
    let (frame, read) = read.map_err(|_| late())??;
    let mut refuse = |code, why: String| {
        let refused = refusal(frame.correlation, code, why.clone(), true);
        link.outgoing.push(refused);
        End::Fault(format!("handshake refused: {why}"))
    };
    let hello = frame
        .read::<HelloV1>()
        .map_err(|error| refuse(ErrorCode::UnsupportedVersion, error.to_string()))?;
    let shard = &shared.shard;
    let cluster_id = shard.image().cluster_id().cloned();
    if let (Some(meant), Some(own)) = (hello.cluster_id.as_ref(), &cluster_id)
        && meant.as_str() != own.as_str()
    {
        let why = format!("cluster {} is meant, and this is {own}", meant.as_str());
        return Err(refuse(ErrorCode::InconsistentClusterId, why));
    }
    if let Some(authentication) = hello.authentication.as_ref() {
        let mechanism = authentication.mechanism.as_str();
        let why = format!("mechanism {mechanism} is not served; this listener asks for none");
        return Err(refuse(ErrorCode::UnsupportedSaslMechanism, why));
    }
    let wanted = hello.shard.as_ref().map(|shard| ShardId(shard.to_native()));
    if let Some(to) = wanted.filter(|to| *to != shard.id && to.0 < shard.shards_count) {
        return Ok(Greeted::Elsewhere(to, read));
    }
    let agreed = agree(Kind::CLIENT, &hello.ranges);
    let hello = Hello {
        correlation: frame.correlation,
        limits: FrameLimits {
            control_bytes_max: hello.control_bytes_max.to_native() as usize,
            body_bytes_max: hello.body_bytes_max.to_native() as usize,
        },
    };
    Ok(Greeted::Agreed(agreed, hello))
}

/// Welcomes the client and serves it to its end.
async fn serve_agreed(
    shared: &Rc<Shared>,
    link: &mut Link,
    context: NativeContext,
    correlation: u64,
) -> Result<End, End> {
    let shard = &shared.shard;
    let body_bytes_max = shard.config.socket_request_max_bytes as usize;
    let welcome = WelcomeV1 {
        software: "ringlog".to_owned(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: shard
            .image()
            .cluster_id()
            .map_or(String::new(), |id| id.to_string()),
        node_id: shard.node_id().0,
        shard: shard.id.0,
        shards_count: shard.shards_count,
        ranges: offer(Kind::CLIENT),
        control_bytes_max: CONTROL_BYTES_MAX as u32,
        body_bytes_max: body_bytes_max as u32,
    };
    let welcome = NativeFrame::of(correlation, &welcome);
    // Whoever takes the Welcome takes what else has one length only.
    if welcome.control_bytes() > context.limits.control_bytes_max {
        let why = format!(
            "the Welcome has {} bytes, and the client takes {}",
            welcome.control_bytes(),
            context.limits.control_bytes_max
        );
        let refused = refusal(correlation, ErrorCode::MessageTooLarge, why.clone(), true);
        link.outgoing.push(refused);
        return Err(End::Fault(format!("handshake refused: {why}")));
    }
    link.outgoing.push(welcome);
    link.buffer.set_limits(FrameLimits {
        control_bytes_max: CONTROL_BYTES_MAX,
        body_bytes_max,
    });
    let mut connection = NativeConnection {
        shared,
        context: Rc::new(context),
        intake: Intake::new(shared.gate.clone(), link.handle.clone()),
        link,
        pipeline: VecDeque::new(),
        streams: Vec::new(),
        read_at: shard.clock.now(),
        closing: false,
    };
    connection.run().await
}

impl Link {
    /// The first frame, and all that was read, for another shard to read again.
    async fn read_hello(&mut self, shared: &Rc<Shared>) -> Result<(Frame, BytesMut), End> {
        loop {
            let read = BytesMut::from(self.buffer.input());
            match self.buffer.next_frame() {
                Ok(Some(frame)) => return Ok((frame, read)),
                Err(error) => {
                    let why = error.to_string();
                    self.outgoing
                        .push(refusal(0, ErrorCode::InvalidRequest, why, true));
                    return Err(End::Fault(format!("not a Hello: {error}")));
                }
                Ok(None) => {}
            }
            let count = poll_fn(|task| {
                if self.handle.signal.poll_wait(task).is_ready()
                    && matches!(self.handle.order.get(), Order::Finish | Order::Close(_))
                {
                    return Poll::Ready(Err(End::Stopped));
                }
                let (buffer, limit) = self.buffer.read_buffer();
                let read = self.socket.poll_read_buf(task, buffer, limit);
                read.map(|read| read.map_err(End::from))
            })
            .await?;
            if count == 0 {
                return Err(End::Gone);
            }
            shared.shard.metrics.bytes_in.add(count as u64);
            self.handle.last_active.set(shared.shard.clock.now());
        }
    }

    /// Sends everything that waits. A client that reads nothing is waited for until it is ordered to close.
    async fn flush(&mut self, shared: &Rc<Shared>) -> Result<(), End> {
        while !self.outgoing.is_empty() {
            poll_fn(|task| {
                if let Poll::Ready(sent) = self.poll_write(shared, task) {
                    return Poll::Ready(sent);
                }
                while self.handle.signal.poll_wait(task).is_ready() {
                    if let Order::Close(_) = self.handle.order.get() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
                Poll::Pending
            })
            .await?;
        }
        Ok(())
    }

    /// Sends what the socket takes now, and counts it and the answers that have gone with it.
    fn poll_write(
        &mut self,
        shared: &Rc<Shared>,
        task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        let Link {
            handle,
            socket,
            outgoing,
            ..
        } = self;
        let shard = &shared.shard;
        let mut now = None;
        let on_sent = |began: Began, answered: Answered| {
            let sent = *now.get_or_insert_with(|| shard.clock.now());
            timing::note(shard, handle, &began, &Answered { sent, ..answered });
        };
        let Poll::Ready(sent) = outgoing.poll_write(socket, task, on_sent) else {
            outgoing.settle(&shard.answers);
            let since = || Sending {
                since: shard.clock.now(),
                bytes: 0,
            };
            let sending = handle.sending.get().unwrap_or_else(since);
            handle.sending.set(Some(sending));
            return Poll::Pending;
        };
        let (sent, is_whole) = sent?;
        let going_on = handle.sending.get().filter(|_| !is_whole);
        handle.sending.set(going_on.map(|sending| Sending {
            bytes: sending.bytes + sent,
            ..sending
        }));
        shard.metrics.bytes_out.add(sent as u64);
        handle.counted.sent_bytes.add(sent as u64);
        let now = now.unwrap_or_else(|| shard.clock.now());
        handle.last_active.set(now);
        Poll::Ready(Ok(()))
    }
}

impl NativeConnection<'_> {
    async fn run(&mut self) -> Result<End, End> {
        loop {
            self.start_frames()?;
            if self.closing && self.pipeline.is_empty() {
                self.link.flush(self.shared).await?;
                return Ok(End::Stopped);
            }
            // Whoever waits for the broker may be idle as long as it likes; whoever the broker waits for may not.
            let waits = !self.pipeline.is_empty() || !self.streams.is_empty();
            let serving = waits && self.link.outgoing.is_empty();
            self.link.handle.serving.set(serving);
            let event = poll_fn(|task| self.poll_event(task)).await;
            self.link.handle.serving.set(false);
            match event? {
                Event::Read(0) => {
                    // Half-closed: what was asked is answered, but nothing more is pushed.
                    self.streams.clear();
                    let finished = rt::timeout(FINISH_WITHIN, self.finish()).await;
                    finished.unwrap_or(Ok(()))?;
                    return Ok(End::Gone);
                }
                Event::Read(count) => {
                    self.shared.shard.metrics.bytes_in.add(count as u64);
                    let handle = &self.link.handle;
                    handle.counted.received_bytes.add(count as u64);
                    self.read_at = self.shared.shard.clock.now();
                    handle.last_active.set(self.read_at);
                    handle.shrunk.set(false);
                }
                Event::Answer(frame) => self.on_answer(frame),
                Event::Push(slot, stream, pushes) => self.on_push(slot, stream, pushes),
                Event::Reserved => {}
                Event::Order(Order::Close(why)) => return Ok(End::Fault(why.into())),
                Event::Order(Order::Finish) => {
                    self.closing = true;
                    self.streams.clear();
                }
                Event::Order(Order::Shrink) => self.link.buffer.shrink(),
                Event::Order(Order::GoOn) => {}
            }
        }
    }

    /// The first of: an order, what is to be sent, memory, bytes. Answers come before writing, so that one system call
    /// carries all that are due.
    fn poll_event(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<Event, End>> {
        if self.link.handle.signal.poll_wait(task).is_ready() {
            return Poll::Ready(Ok(Event::Order(self.link.handle.order.get())));
        }
        if let Poll::Ready(event) = self.poll_outgoing(task)? {
            return Poll::Ready(Ok(event));
        }
        if self.intake.poll(task).is_ready() {
            return Poll::Ready(Ok(Event::Reserved));
        }
        if self.may_read() && self.intake.waits_for_room(|| self.shared.shard.clock.now()) {
            return self.poll_event(task);
        }
        if !self.may_read() {
            return Poll::Pending;
        }
        let Link { socket, buffer, .. } = &mut *self.link;
        // Nothing can be done before a large frame is here: it is not worth a turn for each of its pieces.
        socket.wait_for_bytes(buffer.missing().clamp(1, WAIT_MAX));
        let (input, limit) = buffer.read_buffer();
        let read = socket.poll_read_buf(task, input, limit);
        read.map(|read| read.map(Event::Read).map_err(End::from))
    }

    /// What is ready to be queued; else sends until the socket takes no more or something is ready again.
    fn poll_outgoing(&mut self, task: &mut TaskContext<'_>) -> Result<Poll<Event>, End> {
        loop {
            if self.link.outgoing.bytes() < OUTGOING_MAX
                && let Poll::Ready(event) = self.poll_due(task)
            {
                return Ok(Poll::Ready(event));
            }
            if self.link.outgoing.is_empty() {
                return Ok(Poll::Pending);
            }
            if self.link.poll_write(self.shared, task)?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
    }

    fn poll_due(&mut self, task: &mut TaskContext<'_>) -> Poll<Event> {
        if let Some(front) = self.pipeline.front_mut()
            && let Poll::Ready(frame) = front.work.as_mut().poll(task)
        {
            return Poll::Ready(Event::Answer(frame));
        }
        for (index, slot) in self.streams.iter_mut().enumerate() {
            if let Poll::Ready((stream, pushes)) = slot.work.as_mut().poll(task) {
                return Poll::Ready(Event::Push(index, stream, pushes));
            }
        }
        Poll::Pending
    }

    /// Back-pressure: nothing is read while a frame waits for memory, or answers for the client.
    fn may_read(&self) -> bool {
        !self.closing
            && !self.intake.is_waiting()
            && self.pipeline.len() < PIPELINE_MAX
            && self.link.outgoing.bytes() < OUTGOING_MAX
    }

    /// Begins every frame that is here, as far as the pipeline has room.
    fn start_frames(&mut self) -> Result<(), End> {
        while !self.closing && self.pipeline.len() < PIPELINE_MAX {
            let Some((frame, memory)) = self.next_frame()? else {
                return Ok(());
            };
            let shard = &self.shared.shard;
            shard.metrics.requests.increment();
            self.link.handle.counted.requests.increment();
            let mut began = Began {
                asked: Asked::native(frame.kind),
                version: frame.version as i16,
                bytes: frame.wire_bytes() as u64,
                arrived: self.read_at,
                started: shard.clock.now(),
                returned: Micros(0),
            };
            let started = native::start(&self.context, frame);
            began.returned = shard.clock.now();
            match started {
                Started::Work(work) => self.queue(work, began, memory),
                Started::Subscribe(stream) => self.subscribe(stream, began, memory),
                // A stream that has ended may have crossed these on the way.
                Started::Credits { stream, bytes } => {
                    if let Some(slot) = self.streams.iter().find(|slot| slot.id == stream) {
                        slot.credits.add(bytes);
                    }
                }
                Started::Unsubscribe { stream } => self.streams.retain(|slot| slot.id != stream),
            }
        }
        Ok(())
    }

    fn queue(&mut self, work: NativeWork, began: Began, memory: Option<Reservation>) {
        self.pipeline.push_back(InFlight {
            work,
            began,
            _memory: memory,
        });
    }

    fn subscribe(&mut self, stream: Stream, began: Began, memory: Option<Reservation>) {
        let partitions: usize = self.streams.iter().map(|slot| slot.parts_count).sum();
        let why = if self.streams.iter().any(|slot| slot.id == stream.id()) {
            Some("a stream of this number is open".to_owned())
        } else if self.streams.len() >= STREAMS_MAX {
            Some(format!("a connection has at most {STREAMS_MAX} streams"))
        } else if partitions + stream.parts_count() > STREAM_PARTITIONS_MAX {
            Some(format!(
                "the streams of a connection have at most {STREAM_PARTITIONS_MAX} partitions"
            ))
        } else {
            None
        };
        if let Some(why) = why {
            self.shared.shard.metrics.native_errors.increment();
            let frame = refusal(stream.id(), ErrorCode::InvalidRequest, why, false);
            return self.queue(Box::pin(std::future::ready(frame)), began, None);
        }
        self.streams.push(StreamSlot {
            id: stream.id(),
            credits: stream.credits().clone(),
            parts_count: stream.parts_count(),
            work: look(stream),
            _memory: memory,
        });
    }

    fn on_answer(&mut self, frame: NativeFrame) {
        let request = self.pipeline.pop_front().expect("the front was polled");
        let answered = Answered {
            times: frame.times,
            bytes: frame.len() as u64,
            ..Answered::at(self.shared.shard.clock.now())
        };
        let note = (request.began, answered);
        self.link.outgoing.push_last(frame, note);
    }

    fn on_push(&mut self, slot: usize, stream: Stream, pushes: Option<Pushes>) {
        match pushes {
            Some(pushes) => {
                self.push(pushes);
                // The one polled last comes first next time, else a busy stream would starve those behind it.
                self.streams[slot].work = look(stream);
                self.streams.rotate_left(slot + 1);
            }
            None => drop(self.streams.remove(slot)),
        }
    }

    /// Queues what a stream has found. Its time is told as a Fetch's would be that was asked when it began to look.
    fn push(&mut self, pushes: Pushes) {
        let Pushes {
            mut frames,
            began,
            stages,
        } = pushes;
        let began = Began {
            asked: Asked::Native(Kind::Batches),
            version: BatchesV1::VERSION as i16,
            bytes: 0,
            arrived: began,
            started: began,
            returned: began,
        };
        let times = Times {
            stages,
            ..Times::default()
        };
        let answered = Answered {
            times,
            bytes: frames.iter().map(|frame| frame.len() as u64).sum(),
            ..Answered::at(self.shared.shard.clock.now())
        };
        let last = frames.pop().expect("a stream pushes one frame at least");
        let outgoing = &mut self.link.outgoing;
        frames.into_iter().for_each(|frame| outgoing.push(frame));
        outgoing.push_last(last, (began, answered));
    }

    fn next_frame(&mut self) -> Result<Option<(Frame, Option<Reservation>)>, End> {
        match self.link.buffer.next_frame() {
            Ok(Some(frame)) => {
                let memory = self.intake.take(frame.control.len() + frame.body.len());
                Ok(Some((frame, memory)))
            }
            Ok(None) => {
                let buffer = &self.link.buffer;
                let (len, bytes) = (buffer.pending_bytes(), buffer.input().len());
                self.intake
                    .on_partial(len, bytes, || self.shared.shard.clock.now());
                Ok(None)
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    /// The stream of bytes makes no sense any more: the client is told, and the connection ends.
    fn lost(&mut self, error: FrameError) -> End {
        let code = match error {
            FrameError::TooLong { .. } => ErrorCode::MessageTooLarge,
            _ => ErrorCode::InvalidRequest,
        };
        let refused = refusal(0, code, error.to_string(), true);
        self.link.outgoing.push(refused);
        End::Fault(error.to_string())
    }

    /// Answers what was asked.
    async fn finish(&mut self) -> Result<(), End> {
        loop {
            self.start_frames()?;
            let Some(front) = self.pipeline.front_mut() else {
                return self.link.flush(self.shared).await;
            };
            let frame = front.work.as_mut().await;
            self.on_answer(frame);
        }
    }
}

/// Begins a stream's next look at its partitions.
fn look(mut stream: Stream) -> StreamWork {
    Box::pin(async move {
        let pushes = stream.next().await;
        (stream, pushes)
    })
}
