//! Frames on their way out of a native connection: queued, gathered into few system calls, never copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;

use super::timing::{Answered, Began};
use crate::api::native::NativeFrame;
use crate::rt::{MemoryGate, Socket};

/// Frames in the order in which they leave.
#[derive(Default)]
pub struct Outgoing {
    frames: VecDeque<Queued>,
    /// Bytes of the front frame that the kernel has.
    sent: usize,
    /// Bytes that the kernel has not.
    bytes: usize,
    /// Of the frames, from the front, those that were made fit to wait.
    settled: usize,
}

struct Queued {
    frame: NativeFrame,
    note: Option<(Began, Answered)>,
}

/// Slices given to the kernel at once, at most.
const SLICES_MAX: usize = 64;

impl Outgoing {
    /// Queues a frame that answers nothing whose time is told.
    pub fn push(&mut self, frame: NativeFrame) {
        self.queue(frame, None);
    }

    /// Queues the last frame of an answer. When the kernel has taken it, `note` is given back (see
    /// [`Outgoing::poll_write`]).
    pub fn push_last(&mut self, frame: NativeFrame, note: (Began, Answered)) {
        self.queue(frame, Some(note));
    }

    fn queue(&mut self, frame: NativeFrame, note: Option<(Began, Answered)>) {
        self.bytes += frame.len();
        self.frames.push_back(Queued { frame, note });
    }

    /// Bytes that the kernel has not taken yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends what the socket takes now; `Ready` with how many bytes it took and whether a frame's last was among them, 0 if
    /// there are none.
    ///
    /// - `on_sent`: called for each answer that has gone to its last byte.
    pub fn poll_write(
        &mut self,
        socket: &mut Socket,
        task: &mut Context<'_>,
        on_sent: impl FnMut(Began, Answered),
    ) -> Poll<io::Result<(usize, bool)>> {
        if self.is_empty() {
            return Poll::Ready(Ok((0, false)));
        }
        let sent = {
            let slices = self.slices();
            ready!(socket.poll_write_vectored(task, &slices))?
        };
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let frames = self.frames.len();
        self.advance(sent, on_sent);
        Poll::Ready(Ok((sent, self.frames.len() < frames)))
    }

    /// Makes all frames fit to wait for a client that takes no more now.
    pub fn settle(&mut self, answers: &Rc<MemoryGate>) {
        for Queued { frame, .. } in self.frames.range_mut(self.settled..) {
            frame.settle(answers);
        }
        self.settled = self.frames.len();
    }

    /// What is to be sent next, piece by piece.
    fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES_MAX]> {
        let mut slices = SmallVec::new();
        let mut skip = self.sent;
        for Queued { frame, .. } in &self.frames {
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

    fn advance(&mut self, sent: usize, mut on_sent: impl FnMut(Began, Answered)) {
        self.bytes -= sent;
        self.sent += sent;
        while let Some(Queued { frame, note }) = self.frames.front() {
            if self.sent < frame.len() {
                return;
            }
            if let Some((began, answered)) = *note {
                on_sent(began, answered);
            }
            self.sent -= frame.len();
            self.frames.pop_front();
            self.settled = self.settled.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::timing::Asked;
    use crate::types::Micros;
    use crate::wire::{ErrorV1, Kind};

    #[test]
    fn an_answer_has_gone_with_its_last_byte_and_not_before() {
        let error = ErrorV1 {
            code: 1,
            message: "no".to_owned(),
            closes: false,
        };
        let frame = || NativeFrame::of(1, &error);
        let len = frame().len();
        let note = |bytes| {
            let began = Began {
                asked: Asked::Native(Kind::Error),
                version: 1,
                bytes,
                arrived: Micros(0),
                started: Micros(0),
                returned: Micros(0),
            };
            (began, Answered::at(Micros(0)))
        };
        let mut outgoing = Outgoing::default();
        outgoing.push_last(frame(), note(1));
        outgoing.push(frame());
        outgoing.push_last(frame(), note(2));
        let mut gone = Vec::new();
        for sent in [len - 1, 1, len, len - 1, 1] {
            outgoing.advance(sent, |began, _| gone.push((began.bytes, sent)));
        }
        assert_eq!(gone, [(1, 1), (2, 1)]);
        assert!(outgoing.is_empty() && outgoing.bytes() == 0);
    }
}
