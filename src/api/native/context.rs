//! What a handler knows of its connection, and the frames it gives back.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::Started;
use crate::api::Times;
use crate::api::context::settle;
use crate::protocol::ErrorCode;
use crate::rt::{MemoryGate, Reservation};
use crate::shard::{ReadData, Shard};
use crate::types::Str;
use crate::wire::{Agreed, Control, ErrorV1, FRAME_HEADER_BYTES, Frame, FrameLimits, encode};

/// A native connection, as the handlers of its frames see it.
pub struct NativeContext {
    pub shard: Rc<Shard>,
    /// The listener the client came in by: the brokers' addresses of this name are told to it.
    pub listener: Str,
    pub agreed: Agreed,
    /// The longest parts that the client takes.
    pub limits: FrameLimits,
}

/// A frame to be sent: header and control part, then so many bytes of pinned data.
pub struct NativeFrame {
    pub head: Vec<u8>,
    pub data: ReadData,
    /// Of `data`, from its front.
    pub data_bytes: usize,
    /// What is known of where its time went.
    pub times: Times,
    /// What it and the frames pushed with it take of the shard's memory for answers, until it is dropped.
    memory: Option<Reservation>,
}

/// A request's work after its start.
pub type NativeWork = Pin<Box<dyn Future<Output = NativeFrame>>>;

impl NativeFrame {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.data_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Bytes of the control part.
    pub fn control_bytes(&self) -> usize {
        self.head.len() - FRAME_HEADER_BYTES
    }

    /// A frame without a body.
    pub fn of<M: Control>(correlation: u64, control: &M) -> NativeFrame {
        NativeFrame::with_data(correlation, control, ReadData::Empty, 0)
    }

    /// A frame whose body is the first `data_bytes` bytes of `data`.
    pub fn with_data<M: Control>(
        correlation: u64,
        control: &M,
        data: ReadData,
        data_bytes: usize,
    ) -> NativeFrame {
        let mut head = Vec::with_capacity(128);
        encode(&mut head, correlation, control, data_bytes);
        NativeFrame {
            head,
            data,
            data_bytes,
            times: Times::default(),
            memory: None,
        }
    }

    /// The same, with memory that was reserved for it.
    pub(super) fn holding(self, memory: Reservation) -> NativeFrame {
        NativeFrame {
            memory: Some(memory),
            ..self
        }
    }

    /// Makes it fit to wait for a client that does not take it at once: all that it keeps of the cache is counted.
    pub fn settle(&mut self, answers: &Rc<MemoryGate>) {
        let data = std::slice::from_mut(&mut self.data);
        settle(data, self.head.capacity(), &mut self.memory, answers);
    }

    /// The same, with where its time went.
    pub(super) fn timed(self, times: Times) -> NativeFrame {
        NativeFrame { times, ..self }
    }
}

/// The frame that refuses another one.
pub fn refusal(correlation: u64, code: ErrorCode, why: String, closes: bool) -> NativeFrame {
    let error = ErrorV1 {
        code: code.code(),
        message: why,
        closes,
    };
    NativeFrame::of(correlation, &error)
}

impl NativeContext {
    /// The answer to a request, or, where it is longer than the client takes, an error.
    pub(super) fn answer<M: Control>(&self, correlation: u64, control: &M) -> NativeFrame {
        let frame = NativeFrame::of(correlation, control);
        let bytes = frame.control_bytes();
        if bytes <= self.limits.control_bytes_max {
            return frame;
        }
        let why = format!("the answer has {bytes} bytes, more than the client takes");
        refusal(correlation, ErrorCode::InvalidRequest, why, false)
    }

    /// Begins to refuse a frame; the connection goes on.
    pub(super) fn refuse(&self, frame: &Frame, code: ErrorCode, why: String) -> Started {
        self.shard.metrics.native_errors.increment();
        let frame = refusal(frame.correlation, code, why, false);
        Started::Work(Box::pin(std::future::ready(frame)))
    }
}
