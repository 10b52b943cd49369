//! The task behind a native connection: writes what is submitted, cuts what arrives, both at once.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::client::error::ClientError;
use crate::client::socket::{TURNS_MAX, watch};
use crate::rt;
use crate::wire::FrameBuffer;

use super::connection::Shared;

/// Starts what keeps a connection going, until it is lost or nobody uses it.
pub(super) fn start(shared: &Rc<Shared>, socket: rt::Socket) {
    let pump = Pump {
        frames: FrameBuffer::new(shared.options.limits),
        shared: shared.clone(),
        socket,
        writing: VecDeque::new(),
    };
    rt::spawn(rt::Queue::Net, "native client connection", pump.run());
    let timeout = shared.options.request_timeout;
    let watched = watch(Rc::downgrade(shared), timeout, Shared::check_deadline);
    rt::spawn(rt::Queue::Net, "native client deadline", watched);
}

struct Pump {
    shared: Rc<Shared>,
    socket: rt::Socket,
    frames: FrameBuffer,
    /// What the kernel has not taken yet.
    writing: VecDeque<Bytes>,
}

impl Pump {
    async fn run(mut self) {
        let error = poll_fn(|context| self.poll(context)).await;
        self.shared.fail(error);
    }

    /// Moves bytes both ways until neither can move; ready with why the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ClientError> {
        for _ in 0..TURNS_MAX {
            if let Some(error) = self.shared.failed() {
                return Poll::Ready(error);
            }
            let (wrote, read) = (self.poll_write(context), self.poll_read(context));
            match (wrote, read) {
                // What was read may say why writing failed.
                (_, Err(error)) | (Err(error), _) => return Poll::Ready(error),
                (Ok(false), Ok(false)) => {
                    self.shared.park_writer(context.waker());
                    return Poll::Pending;
                }
                _ => {}
            }
        }
        // The other tasks of the executor get their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether anything was written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, ClientError> {
        self.shared.take_outgoing(&mut self.writing);
        if self.writing.is_empty() {
            return Ok(false);
        }
        let sent = {
            let pieces = self.writing.iter().take(SLICES_MAX);
            let slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> =
                pieces.map(|piece| IoSlice::new(piece)).collect();
            self.socket.poll_write_vectored(context, &slices)
        };
        match sent {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(count)) => {
                self.advance(count);
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(ClientError::lost(&self.shared.address, &error)),
        }
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.writing.front_mut() {
            let taken = count.min(front.len());
            front.advance(taken);
            count -= taken;
            if !front.is_empty() {
                return;
            }
            self.writing.pop_front();
        }
    }

    /// Whether anything was read.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<bool, ClientError> {
        let missing = self.frames.missing();
        self.socket.wait_for_bytes(missing.clamp(1, WAIT_MAX));
        let (input, limit) = self.frames.read_buffer();
        match self.socket.poll_read_buf(context, input, limit) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(self.shared.closed()),
            Poll::Ready(Ok(_)) => self.on_received().map(|()| true),
            Poll::Ready(Err(error)) => Err(ClientError::lost(&self.shared.address, &error)),
        }
    }

    fn on_received(&mut self) -> Result<(), ClientError> {
        loop {
            let next = self.frames.next_frame();
            match next.map_err(|error| self.shared.protocol(error.to_string()))? {
                Some(frame) => self.shared.on_frame(frame)?,
                None => return Ok(()),
            }
        }
    }
}

/// Pieces given to the kernel at once, at most.
const SLICES_MAX: usize = 64;
/// Bytes of a large frame that are waited for at once, at most.
const WAIT_MAX: usize = 1 << 20;
