//! Frames on their way out of a native connection: queued, gathered into few system calls, never copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;

use crate::api::native::NativeFrame;
use crate::rt::Socket;

/// Frames in the order in which they leave.
#[derive(Default)]
pub struct Outgoing {
    frames: VecDeque<NativeFrame>,
    /// Bytes of the front frame that the kernel has.
    sent: usize,
    /// Bytes that the kernel has not.
    bytes: usize,
}

/// Slices given to the kernel at once, at most.
const SLICES_MAX: usize = 64;

impl Outgoing {
    pub fn push(&mut self, frame: NativeFrame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Bytes that the kernel has not taken yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends what the socket takes now; `Ready` with how many bytes it took, 0 if there are none.
    pub fn poll_write(
        &mut self,
        socket: &mut Socket,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let sent = {
            let slices = self.slices();
            ready!(socket.poll_write_vectored(task, &slices))?
        };
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(sent);
        Poll::Ready(Ok(sent))
    }

    /// What is to be sent next, piece by piece.
    fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES_MAX]> {
        let mut slices = SmallVec::new();
        let mut skip = self.sent;
        for frame in &self.frames {
            let mut left = frame.data_bytes;
            let data = frame.data.chunks();
            let data = data.into_iter().map(|chunk| {
                let piece = &chunk[..chunk.len().min(left)];
                left -= piece.len();
                piece
            });
            for piece in std::iter::once(&frame.head[..]).chain(data) {
                let skipped = skip.min(piece.len());
                skip -= skipped;
                if skipped < piece.len() {
                    slices.push(IoSlice::new(&piece[skipped..]));
                }
                if slices.len() == SLICES_MAX {
                    return slices;
                }
            }
        }
        slices
    }

    fn advance(&mut self, sent: usize) {
        self.bytes -= sent;
        self.sent += sent;
        while let Some(front) = self.frames.front().filter(|front| front.len() <= self.sent) {
            self.sent -= front.len();
            self.frames.pop_front();
        }
    }
}
