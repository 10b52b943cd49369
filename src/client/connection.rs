//! One connection to one broker: versions negotiated, requests pipelined, answers matched.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::protocol::{ErrorCode, Message, Reader, Request, Writer, read_response};
use crate::types::Str;

use super::error::ClientError;
use super::frames::FrameBuffer;
use super::pipeline::{Pipeline, Slot};
use super::socket::{connect, start};

/// How a connection behaves.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// Shown by the broker in its logs and quotas.
    pub client_id: Str,
    pub connect_timeout: Duration,
    /// A request unanswered for so long ends the connection: answers come in order, so none will come after it.
    pub request_timeout: Duration,
    /// Requests in flight at most, for those who ask [`Connection::room`].
    pub window: usize,
    /// Answers longer than this end the connection.
    pub frame_bytes_max: usize,
}

/// A connection to one broker, cheap to clone. It ends when the last clone is dropped.
///
/// Requests are written in the order of the calls and answered in that order; calls do not wait for each other.
#[derive(Clone)]
pub struct Connection(Rc<Handle>);

/// What only the users of the connection hold; its tasks hold `Shared`.
struct Handle {
    shared: Rc<Shared>,
    versions: HashMap<i16, (i16, i16)>,
    features: ApiVersionsResponse,
}

pub(super) struct Shared {
    address: String,
    options: ConnectionOptions,
    pipeline: RefCell<Pipeline>,
    /// The writing task, parked until there is something to write.
    writer: RefCell<Option<Waker>>,
    /// Tasks waiting for room in the window.
    waiters: RefCell<Vec<Waker>>,
}

/// An answer to come. Dropping it does not take the request back.
#[must_use = "a reply does nothing until it is awaited"]
pub struct Reply<M> {
    slot: Rc<Slot>,
    shared: Rc<Shared>,
    version: i16,
    answered: bool,
    message: PhantomData<fn() -> M>,
}

impl Default for ConnectionOptions {
    fn default() -> ConnectionOptions {
        ConnectionOptions {
            client_id: Str::from_static("ringlog"),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            window: 5,
            frame_bytes_max: 256 << 20,
        }
    }
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`) and agrees on versions.
    pub async fn open(
        address: &str,
        options: &ConnectionOptions,
    ) -> Result<Connection, ClientError> {
        let socket = connect(address, options.connect_timeout).await?;
        let shared = Rc::new(Shared {
            address: address.to_owned(),
            options: options.clone(),
            pipeline: RefCell::new(Pipeline::new(options.client_id.clone())),
            writer: RefCell::new(None),
            waiters: RefCell::new(Vec::new()),
        });
        let mut handle = Handle {
            shared: shared.clone(),
            versions: HashMap::new(),
            features: ApiVersionsResponse::default(),
        };
        start(&shared, socket);
        handle.negotiate().await?;
        Ok(Connection(Rc::new(handle)))
    }

    /// Asks and waits for the answer, in the highest version that both sides speak.
    ///
    /// Errors inside the answer are the caller's to look at; `Err` means that there is no answer.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let version = self.version::<R>()?;
        self.call_at(request, version).await
    }

    /// As [`Connection::call`], in a version of the caller's choice.
    pub async fn call_at<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        self.submit(request, version)?.await
    }

    /// Puts a request in line at once, without waiting for the window; the reply is awaited separately.
    pub fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Reply<R::Response>, ClientError> {
        self.0.shared.submit(request, version, true)
    }

    /// As [`Connection::submit`] for the one request that is not answered, Produce with acks 0: the reply is ready
    /// at once and empty.
    pub fn submit_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Reply<R::Response>, ClientError> {
        self.0.shared.submit(request, version, false)
    }

    /// The highest version of `R` that both sides speak.
    pub fn version<R: Request>(&self) -> Result<i16, ClientError> {
        let ours = R::KEY.versions();
        let common = self
            .0
            .versions
            .get(&R::KEY.code())
            .and_then(|&(min, max)| highest_common((*ours.start(), *ours.end()), (min, max)));
        common.ok_or_else(|| ClientError::Unsupported {
            address: self.0.shared.address.clone(),
            api: R::KEY.name(),
        })
    }

    /// Waits until fewer requests are in flight than the window allows, or the connection is lost.
    pub async fn room(&self) {
        let shared = &self.0.shared;
        poll_fn(|context| match shared.has_room() {
            true => Poll::Ready(()),
            false => {
                shared.waiters.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Waits until little is left to be written, or the connection is lost: what holds back a caller whose requests
    /// are not answered.
    pub async fn drained(&self) {
        self.0.shared.wait_outgoing(OUTGOING_BYTES_MAX).await
    }

    /// Whether [`Connection::drained`] would return at once.
    pub fn is_drained(&self) -> bool {
        let pipeline = self.0.shared.pipeline.borrow();
        pipeline.failed().is_some() || pipeline.outgoing_bytes() <= OUTGOING_BYTES_MAX
    }

    /// Waits until everything submitted has been given to the kernel, or the connection is lost.
    pub async fn written(&self) {
        self.0.shared.wait_outgoing(0).await
    }

    /// Whether a request submitted now would be within the window.
    pub fn has_room(&self) -> bool {
        self.0.shared.has_room()
    }

    /// False once the connection is lost.
    pub fn is_open(&self) -> bool {
        self.0.shared.pipeline.borrow().failed().is_none()
    }

    pub fn address(&self) -> &str {
        &self.0.shared.address
    }

    /// What the broker said about itself: API versions and features.
    pub fn api_versions(&self) -> &ApiVersionsResponse {
        &self.0.features
    }
}

impl Handle {
    /// Asks for ApiVersions in our highest version; a broker that does not know it answers in version 0 with the
    /// range it does know (KIP-511), and is asked again.
    async fn negotiate(&mut self) -> Result<(), ClientError> {
        let ours = ApiVersionsRequest::KEY.versions();
        let mut version = *ours.end();
        loop {
            let request = ApiVersionsRequest {
                client_software_name: Str::from_static("ringlog"),
                client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            };
            let mut reply = self.shared.submit(&request, version, true)?;
            let frame = poll_fn(|context| reply.poll_frame(context)).await?;
            // The error code is the first field of every version, right after the correlation id.
            let refused =
                frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes()[..]);
            let answer: ApiVersionsResponse = self
                .shared
                .decode(frame, if refused { 0 } else { version })?;
            if !refused {
                ClientError::check(answer.error_code, || "ApiVersions".to_owned(), None)?;
                for api in &answer.api_keys {
                    self.versions
                        .insert(api.api_key, (api.min_version, api.max_version));
                }
                self.features = answer;
                return Ok(());
            }
            let theirs = answer
                .api_keys
                .iter()
                .find(|api| api.api_key == ApiVersionsRequest::KEY.code())
                .map_or((0, 0), |api| (api.min_version, api.max_version));
            version = highest_common((*ours.start(), version - 1), theirs).ok_or_else(|| {
                ClientError::Unsupported {
                    address: self.shared.address.clone(),
                    api: ApiVersionsRequest::KEY.name(),
                }
            })?;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The connection's task sees it and closes the socket.
        self.shared.fail(self.shared.closed());
    }
}

impl Shared {
    fn submit<R: Request>(
        self: &Rc<Shared>,
        request: &R,
        version: i16,
        answered: bool,
    ) -> Result<Reply<R::Response>, ClientError> {
        let slot = self
            .pipeline
            .borrow_mut()
            .submit(request, version, answered, Instant::now())?;
        wake(&self.writer);
        Ok(Reply {
            slot,
            shared: self.clone(),
            version,
            answered,
            message: PhantomData,
        })
    }

    async fn wait_outgoing(&self, bytes_max: usize) {
        poll_fn(|context| {
            let pipeline = self.pipeline.borrow();
            if pipeline.failed().is_some() || pipeline.outgoing_bytes() <= bytes_max {
                return Poll::Ready(());
            }
            self.waiters.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn has_room(&self) -> bool {
        let pipeline = self.pipeline.borrow();
        pipeline.failed().is_some() || pipeline.in_flight() < self.options.window
    }

    fn decode<M: Message>(&self, frame: Bytes, version: i16) -> Result<M, ClientError> {
        match read_response(Reader::new(frame), version) {
            Ok((_, message)) => Ok(message),
            Err(error) => Err(self.protocol(format!(
                "the answer, {} version {version}, cannot be read: {error}",
                M::NAME
            ))),
        }
    }

    pub fn frame_bytes_max(&self) -> usize {
        self.options.frame_bytes_max
    }

    pub fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Why the connection is over, once it is.
    pub fn failed(&self) -> Option<ClientError> {
        self.pipeline.borrow().failed().cloned()
    }

    /// Keeps the waker of the task that writes, for when there is something to write.
    pub fn park_writer(&self, waker: &Waker) {
        let mut parked = self.writer.borrow_mut();
        if !parked.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *parked = Some(waker.clone());
        }
    }

    /// Exchanges what is to be written with `empty`; false if there is nothing.
    pub fn take_outgoing(&self, empty: &mut Writer) -> bool {
        self.pipeline.borrow_mut().take_outgoing(empty)
    }

    /// What was taken is in the kernel.
    pub fn on_written(&self) {
        self.pipeline.borrow_mut().on_written();
        self.wake_waiters();
    }

    /// Fails everything if the oldest request has waited too long. Returns whether the connection is over.
    pub fn check_deadline(&self) -> bool {
        let oldest = self.pipeline.borrow().oldest();
        if oldest.is_some_and(|asked_at| asked_at.elapsed() >= self.options.request_timeout) {
            self.fail(ClientError::Timeout {
                what: self.address.clone(),
                after: self.options.request_timeout,
            });
        }
        self.failed().is_some()
    }

    pub fn closed(&self) -> ClientError {
        ClientError::Closed {
            address: self.address.clone(),
        }
    }

    pub fn lost(&self, error: &io::Error) -> ClientError {
        ClientError::lost(&self.address, error)
    }

    fn protocol(&self, what: String) -> ClientError {
        ClientError::Protocol {
            address: self.address.clone(),
            what,
        }
    }

    /// Ends the connection: everything in flight and everything later fails with `error`.
    pub fn fail(&self, error: ClientError) {
        self.pipeline.borrow_mut().fail(error);
        wake(&self.writer);
        self.wake_waiters();
    }

    fn wake_waiters(&self) {
        for waiter in self.waiters.take() {
            waiter.wake();
        }
    }

    /// Takes what has been received; `Err` ends the connection.
    pub fn on_received(&self, frames: &mut FrameBuffer) -> Result<(), ClientError> {
        while let Some(frame) = frames
            .next_frame()
            .map_err(|error| self.protocol(error.to_string()))?
        {
            self.pipeline
                .borrow_mut()
                .on_frame(frame)
                .map_err(|what| self.protocol(what))?;
        }
        self.wake_waiters();
        Ok(())
    }
}

impl<M: Message> Reply<M> {
    /// Whether awaiting the reply would return at once.
    pub fn is_ready(&self) -> bool {
        self.slot.is_filled()
    }

    /// True once awaiting the reply would return at once; until then, `context` is woken when that changes.
    pub fn poll_ready(&self, context: &Context<'_>) -> bool {
        self.slot.poll_ready(context.waker())
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, ClientError>> {
        self.slot.poll_take(context.waker())
    }
}

impl<M: Message> Future for Reply<M> {
    type Output = Result<M, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_frame(context).map(|frame| {
            let frame = frame?;
            match self.answered {
                true => self.shared.decode(frame, self.version),
                false => Ok(M::default()),
            }
        })
    }
}

/// The highest version in both ranges.
fn highest_common(ours: (i16, i16), theirs: (i16, i16)) -> Option<i16> {
    let (min, max) = (ours.0.max(theirs.0), ours.1.min(theirs.1));
    (min <= max).then_some(max)
}

fn wake(parked: &RefCell<Option<Waker>>) {
    if let Some(waker) = parked.take() {
        waker.wake();
    }
}

/// Requests waiting to be written, in bytes, beyond which [`Connection::drained`] waits.
const OUTGOING_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
