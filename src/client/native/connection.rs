//! One native connection: handshake, requests answered in order, streams.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::error::ClientError;
use crate::client::socket::connect;
use crate::wire::{
    Agreed, Control, CreditsV1, ErrorV1, FRAME_HEADER_BYTES, Frame, FrameLimits, HelloV1, Kind,
    SubscribeV1, UnsubscribeV1, WelcomeV1, agree, encode, offer,
};

use super::pump;

/// How a native connection behaves.
#[derive(Clone, Debug)]
pub struct NativeConnectionOptions {
    pub connect_timeout: Duration,
    /// A request unanswered for so long ends the connection: answers come in order, so none will come after it.
    pub request_timeout: Duration,
    /// The cluster meant; a broker of another one refuses.
    pub cluster_id: Option<String>,
    /// The shard that shall serve the connection.
    pub shard: Option<u16>,
    /// Frames with longer parts end the connection.
    pub limits: FrameLimits,
}

/// A connection to one shard of one broker, cheap to clone. It ends when the last clone, reply and stream is dropped.
#[derive(Clone)]
pub struct NativeConnection(Rc<Handle>);

/// What only the users of the connection hold; its tasks hold `Shared`.
struct Handle {
    shared: Rc<Shared>,
    welcome: WelcomeV1,
    agreed: Agreed,
}

pub(super) struct Shared {
    pub address: String,
    pub options: NativeConnectionOptions,
    /// The longest parts that the broker takes.
    takes: Cell<FrameLimits>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    correlation_last: u64,
    outgoing: VecDeque<Bytes>,
    /// In the order of the requests, which is that of the answers.
    pending: VecDeque<Pending>,
    streams: HashMap<u64, Rc<Inbound>>,
    failed: Option<ClientError>,
    /// The writing task, parked until there is something to write.
    writer: Option<Waker>,
}

struct Pending {
    correlation: u64,
    asked_at: Instant,
    inbound: Rc<Inbound>,
}

/// Frames for one request or stream, until whoever waits takes them.
#[derive(Default)]
struct Inbound {
    frames: RefCell<VecDeque<Result<Frame, ClientError>>>,
    waker: RefCell<Option<Waker>>,
}

/// An answer to come. Dropping it does not take the request back.
#[must_use = "a reply does nothing until it is awaited"]
pub struct NativeReply {
    inbound: Rc<Inbound>,
    _connection: NativeConnection,
}

/// A subscription's frames, as they come. Dropping it ends the subscription.
pub struct BatchStream {
    id: u64,
    inbound: Rc<Inbound>,
    connection: NativeConnection,
}

impl Default for NativeConnectionOptions {
    fn default() -> NativeConnectionOptions {
        NativeConnectionOptions {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            cluster_id: None,
            shard: None,
            limits: FrameLimits {
                control_bytes_max: 64 << 20,
                body_bytes_max: 256 << 20,
            },
        }
    }
}

impl NativeConnection {
    /// Connects to `address` (`HOST:PORT`, a native listener) and agrees on layouts.
    ///
    /// - `Err(Server)`: the broker refused, and says why. `Err(Protocol)`: what listens there is no native listener.
    pub async fn open(
        address: &str,
        options: &NativeConnectionOptions,
    ) -> Result<NativeConnection, ClientError> {
        let socket = connect(address, options.connect_timeout).await?;
        let shared = Rc::new(Shared {
            address: address.to_owned(),
            options: options.clone(),
            // Of the Hello nothing is known yet.
            takes: Cell::new(FrameLimits {
                control_bytes_max: u32::MAX as usize,
                body_bytes_max: u32::MAX as usize,
            }),
            state: RefCell::default(),
        });
        let guard = Guard {
            shared: shared.clone(),
            is_armed: Cell::new(true),
        };
        pump::start(&shared, socket);
        let hello = HelloV1 {
            software: "ringlog".to_owned(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: options.cluster_id.clone(),
            ranges: offer(Kind::CLIENT),
            authentication: None,
            shard: options.shard,
            control_bytes_max: length(options.limits.control_bytes_max),
            body_bytes_max: length(options.limits.body_bytes_max),
        };
        let inbound = shared.submit(&hello, [])?;
        let frame = poll_fn(|context| inbound.poll_take(context)).await?;
        let unreadable = |error| shared.protocol(format!("its Welcome cannot be read: {error}"));
        let agreed = agree(
            Kind::CLIENT,
            &frame.read::<WelcomeV1>().map_err(unreadable)?.ranges,
        );
        let welcome = frame.read_owned::<WelcomeV1>().map_err(unreadable)?;
        shared.takes.set(FrameLimits {
            control_bytes_max: welcome.control_bytes_max as usize,
            body_bytes_max: welcome.body_bytes_max as usize,
        });
        guard.is_armed.set(false);
        Ok(NativeConnection(Rc::new(Handle {
            shared,
            welcome,
            agreed,
        })))
    }

    /// What the broker said of itself: cluster, node, and the shard that serves this connection.
    pub fn welcome(&self) -> &WelcomeV1 {
        &self.0.welcome
    }

    /// The longest parts of a frame that the broker takes, as its Welcome has them.
    pub fn takes(&self) -> FrameLimits {
        self.0.shared.takes.get()
    }

    /// Puts a request in line at once; its reply is awaited separately.
    ///
    /// - `body`: what follows the control part, piece by piece; not copied.
    /// - `Err(Unsupported)`: the broker does not speak this version of the kind. `Err(Invalid)`: the request is longer
    ///   than the broker [`takes`](Self::takes); nothing was sent.
    pub fn submit<M: Control>(
        &self,
        request: &M,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<NativeReply, ClientError> {
        self.check::<M>()?;
        let inbound = self.0.shared.submit(request, body)?;
        Ok(NativeReply {
            inbound,
            _connection: self.clone(),
        })
    }

    /// Asks and waits for the answer.
    ///
    /// Errors inside the answer are the caller's to look at; `Err` means that there is no answer.
    pub async fn call<M: Control, A: Control>(&self, request: &M) -> Result<A, ClientError> {
        let frame = self.submit(request, [])?.await?;
        self.read(&frame, Frame::read_owned::<A>)
    }

    /// Reads an answer; what cannot be read is an error of this connection.
    pub fn read<'a, T>(
        &self,
        frame: &'a Frame,
        read: impl FnOnce(&'a Frame) -> Result<T, crate::wire::FrameError>,
    ) -> Result<T, ClientError> {
        let shared = &self.0.shared;
        read(frame).map_err(|error| shared.protocol(format!("the answer cannot be read: {error}")))
    }

    /// Begins a stream. Errors are those of [`submit`](Self::submit).
    pub fn subscribe(&self, request: &SubscribeV1) -> Result<BatchStream, ClientError> {
        self.check::<SubscribeV1>()?;
        let inbound = Rc::new(Inbound::default());
        let id = self.0.shared.send(request, [], |state, correlation| {
            state.streams.insert(correlation, inbound.clone());
        })?;
        Ok(BatchStream {
            id,
            inbound,
            connection: self.clone(),
        })
    }

    /// False once the connection is lost.
    pub fn is_open(&self) -> bool {
        self.0.shared.state.borrow().failed.is_none()
    }

    pub fn address(&self) -> &str {
        &self.0.shared.address
    }

    fn check<M: Control>(&self) -> Result<(), ClientError> {
        match self.0.agreed.version(M::KIND) {
            Some(version) if version == M::VERSION => Ok(()),
            _ => Err(ClientError::Unsupported {
                address: self.0.shared.address.clone(),
                api: M::KIND.name(),
            }),
        }
    }
}

/// A length as a Hello tells it.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The connection's task sees it and closes the socket.
        self.shared.fail(self.shared.closed());
    }
}

/// Ends a connection that is given up while it is being made.
struct Guard {
    shared: Rc<Shared>,
    is_armed: Cell<bool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_armed.get() {
            self.shared.fail(self.shared.closed());
        }
    }
}

impl Shared {
    fn submit<M: Control>(
        &self,
        request: &M,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<Rc<Inbound>, ClientError> {
        let inbound = Rc::new(Inbound::default());
        self.send(request, body, |state, correlation| {
            state.pending.push_back(Pending {
                correlation,
                asked_at: Instant::now(),
                inbound: inbound.clone(),
            });
        })?;
        Ok(inbound)
    }

    /// Queues a frame and returns its correlation number, which `note` is told before. What the broker does not take is
    /// not queued: it would end the connection, and what else is in flight with it.
    fn send<M: Control>(
        &self,
        request: &M,
        body: impl IntoIterator<Item = Bytes>,
        note: impl FnOnce(&mut State, u64),
    ) -> Result<u64, ClientError> {
        let body: Vec<Bytes> = body.into_iter().collect();
        let body_bytes: usize = body.iter().map(Bytes::len).sum();
        let state = &mut *self.state.borrow_mut();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let takes = self.takes.get();
        self.check_length::<M>("body", body_bytes, takes.body_bytes_max)?;
        let correlation = state.correlation_last + 1;
        let mut head = Vec::with_capacity(256);
        encode(&mut head, correlation, request, body_bytes);
        let control_bytes = head.len() - FRAME_HEADER_BYTES;
        self.check_length::<M>("control part", control_bytes, takes.control_bytes_max)?;
        state.correlation_last = correlation;
        state.outgoing.push_back(Bytes::from(head));
        state.outgoing.extend(body);
        note(state, correlation);
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
        Ok(correlation)
    }

    fn check_length<M: Control>(
        &self,
        part: &str,
        bytes: usize,
        bytes_max: usize,
    ) -> Result<(), ClientError> {
        if bytes <= bytes_max {
            return Ok(());
        }
        let (address, kind) = (&self.address, M::KIND.name());
        Err(ClientError::Invalid(format!(
            "{address}: a {kind} whose {part} has {bytes} bytes, and the broker takes {bytes_max}"
        )))
    }

    /// Moves what is to be written behind what `into` has.
    pub fn take_outgoing(&self, into: &mut VecDeque<Bytes>) {
        into.append(&mut self.state.borrow_mut().outgoing);
    }

    /// Keeps the waker of the task that writes, for when there is something to write.
    pub fn park_writer(&self, waker: &Waker) {
        let writer = &mut self.state.borrow_mut().writer;
        if !writer.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *writer = Some(waker.clone());
        }
    }

    /// Why the connection is over, once it is.
    pub fn failed(&self) -> Option<ClientError> {
        self.state.borrow().failed.clone()
    }

    /// Gives a frame to whoever waits for it; `Err` ends the connection.
    pub fn on_frame(&self, frame: Frame) -> Result<(), ClientError> {
        let state = &mut *self.state.borrow_mut();
        let correlation = frame.correlation;
        if frame.kind == Kind::Batches as u16 {
            // Of a stream that was dropped, some may still be on their way.
            if let Some(inbound) = state.streams.get(&correlation) {
                inbound.put(Ok(frame));
            }
            return Ok(());
        }
        let answer = match frame.kind == Kind::Error as u16 {
            true => Err(self.refused(&frame)?),
            false => Ok(frame),
        };
        if answer.is_err() && correlation == 0 {
            return answer.map(drop);
        }
        if answer.is_err()
            && let Some(inbound) = state.streams.remove(&correlation)
        {
            inbound.put(answer);
            return Ok(());
        }
        let oldest = state.pending.front().map(|pending| pending.correlation);
        match (oldest == Some(correlation), answer) {
            (true, answer) => {
                let pending = state.pending.pop_front().expect("it has a front");
                pending.inbound.put(answer);
                Ok(())
            }
            // Of a stream that was dropped before it was refused.
            (false, Err(_)) => Ok(()),
            (false, Ok(_)) => {
                Err(self.protocol(format!("answer {correlation} comes out of order")))
            }
        }
    }

    fn refused(&self, frame: &Frame) -> Result<ClientError, ClientError> {
        let error = frame
            .read_owned::<ErrorV1>()
            .map_err(|error| self.protocol(format!("an Error cannot be read: {error}")))?;
        let about = || self.address.clone();
        let refused = ClientError::from_code(error.code, about, Some(&error.message));
        Ok(refused.unwrap_or_else(|| self.protocol("an Error without a code".to_owned())))
    }

    /// Fails everything if the oldest request has waited too long. Returns whether the connection is over.
    pub fn check_deadline(&self) -> bool {
        let timeout = self.options.request_timeout;
        let oldest = self.state.borrow().pending.front().map(|p| p.asked_at);
        if oldest.is_some_and(|asked_at| asked_at.elapsed() >= timeout) {
            self.fail(ClientError::Timeout {
                what: self.address.clone(),
                after: timeout,
            });
        }
        self.failed().is_some()
    }

    pub fn closed(&self) -> ClientError {
        ClientError::Closed {
            address: self.address.clone(),
        }
    }

    pub fn protocol(&self, what: String) -> ClientError {
        ClientError::Protocol {
            address: self.address.clone(),
            what,
        }
    }

    /// Ends the connection: everything in flight and everything later fails with the first error.
    pub fn fail(&self, error: ClientError) {
        let state = &mut *self.state.borrow_mut();
        let error = state.failed.get_or_insert(error).clone();
        let pending = state.pending.drain(..).map(|pending| pending.inbound);
        let streams = state.streams.drain().map(|(_, inbound)| inbound);
        for inbound in pending.chain(streams) {
            inbound.put(Err(error.clone()));
        }
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}

impl Inbound {
    fn put(&self, frame: Result<Frame, ClientError>) {
        self.frames.borrow_mut().push_back(frame);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_ready(&self, context: &Context<'_>) -> bool {
        if !self.frames.borrow().is_empty() {
            return true;
        }
        let mut kept = self.waker.borrow_mut();
        if !kept
            .as_ref()
            .is_some_and(|kept| kept.will_wake(context.waker()))
        {
            *kept = Some(context.waker().clone());
        }
        false
    }

    fn poll_take(&self, context: &Context<'_>) -> Poll<Result<Frame, ClientError>> {
        if !self.poll_ready(context) {
            return Poll::Pending;
        }
        let frame = self.frames.borrow_mut().pop_front();
        Poll::Ready(frame.expect("one is ready"))
    }
}

impl NativeReply {
    /// Whether awaiting the reply would return at once.
    pub fn is_ready(&self) -> bool {
        !self.inbound.frames.borrow().is_empty()
    }

    /// True once awaiting the reply would return at once; until then, `context` is woken when that changes.
    pub fn poll_ready(&self, context: &Context<'_>) -> bool {
        self.inbound.poll_ready(context)
    }
}

impl Future for NativeReply {
    type Output = Result<Frame, ClientError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.inbound.poll_take(context)
    }
}

impl BatchStream {
    /// The next frame, of kind [`Kind::Batches`]. After an error there are no more.
    pub fn poll_next(&self, context: &Context<'_>) -> Poll<Result<Frame, ClientError>> {
        self.inbound.poll_take(context)
    }

    /// Lets so many bytes more come.
    pub fn credit(&self, bytes: u64) -> Result<(), ClientError> {
        let credits = CreditsV1 {
            stream: self.id,
            bytes,
        };
        let sent = self.connection.0.shared.send(&credits, [], |_, _| {});
        sent.map(drop)
    }

    pub fn connection(&self) -> &NativeConnection {
        &self.connection
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        let shared = &self.connection.0.shared;
        if shared.state.borrow_mut().streams.remove(&self.id).is_some() {
            let request = UnsubscribeV1 { stream: self.id };
            // Where it cannot be sent there is no connection, and so no stream.
            let _ = shared.send(&request, [], |_, _| {});
        }
    }
}
