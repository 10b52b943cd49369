//! Requests on one connection: numbered, written in order, answered in order. No I/O here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use crate::protocol::{Request, Writer, write_request};
use crate::types::Str;

use super::error::ClientError;

/// What was asked and is not answered yet, and what is still to be written.
#[derive(Debug)]
pub(super) struct Pipeline {
    client_id: Str,
    correlation_next: i32,
    outgoing: Writer,
    /// Bytes taken to be written and not yet in the kernel.
    writing_bytes: usize,
    pending: VecDeque<Pending>,
    /// Set once, when the connection is lost; every later request fails with it.
    failed: Option<ClientError>,
}

#[derive(Debug)]
struct Pending {
    correlation: i32,
    asked_at: Instant,
    slot: Rc<Slot>,
}

/// Where one answer arrives: a frame without its length, or why none will come.
#[derive(Default, Debug)]
pub(super) struct Slot(RefCell<Answer>);

#[derive(Debug)]
enum Answer {
    Awaited(Option<Waker>),
    Arrived(Result<Bytes, ClientError>),
    Taken,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer::Awaited(None)
    }
}

impl Pipeline {
    pub fn new(client_id: Str) -> Pipeline {
        Pipeline {
            client_id,
            correlation_next: 0,
            outgoing: Writer::new(),
            writing_bytes: 0,
            pending: VecDeque::new(),
            failed: None,
        }
    }

    /// Appends a request to what is to be written. The slot gets the answer; `answered` is false for the one
    /// request that has none (Produce with acks 0), whose slot is given an empty frame at once.
    pub fn submit<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        answered: bool,
        now: Instant,
    ) -> Result<Rc<Slot>, ClientError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let correlation = self.correlation_next;
        self.correlation_next = correlation.wrapping_add(1) & i32::MAX;
        write_request(
            &mut self.outgoing,
            version,
            correlation,
            Some(&self.client_id),
            request,
        );
        let slot = Rc::new(Slot::default());
        if answered {
            self.pending.push_back(Pending {
                correlation,
                asked_at: now,
                slot: slot.clone(),
            });
        } else {
            slot.fill(Ok(Bytes::new()));
        }
        Ok(slot)
    }

    /// Exchanges what is to be written with `empty`; false if there is nothing.
    pub fn take_outgoing(&mut self, empty: &mut Writer) -> bool {
        if self.outgoing.total_len() == 0 {
            return false;
        }
        empty.clear();
        std::mem::swap(&mut self.outgoing, empty);
        self.writing_bytes = empty.total_len();
        true
    }

    /// What was taken has been given to the kernel.
    pub fn on_written(&mut self) {
        self.writing_bytes = 0;
    }

    /// Bytes submitted that the kernel does not have yet.
    pub fn outgoing_bytes(&self) -> usize {
        self.outgoing.total_len() + self.writing_bytes
    }

    /// Gives a frame to the oldest request. Kafka answers in order, so any other correlation id is a fault.
    pub fn on_frame(&mut self, frame: Bytes) -> Result<(), String> {
        let id: [u8; 4] = frame
            .get(..4)
            .and_then(|id| id.try_into().ok())
            .ok_or("a response without correlation id")?;
        let found = i32::from_be_bytes(id);
        let Some(oldest) = self.pending.front() else {
            return Err(format!("response {found}, though nothing was asked"));
        };
        if oldest.correlation != found {
            return Err(format!(
                "response {found} where that to request {} is next",
                oldest.correlation
            ));
        }
        let oldest = self.pending.pop_front().expect("seen above");
        oldest.slot.fill(Ok(frame));
        Ok(())
    }

    /// Fails everything that is in flight and everything that will be asked.
    pub fn fail(&mut self, error: ClientError) {
        if self.failed.is_none() {
            self.failed = Some(error.clone());
        }
        for pending in self.pending.drain(..) {
            pending.slot.fill(Err(error.clone()));
        }
        self.outgoing.clear();
    }

    pub fn failed(&self) -> Option<&ClientError> {
        self.failed.as_ref()
    }

    /// Requests asked and not answered.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// When the oldest request without an answer was asked.
    pub fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|oldest| oldest.asked_at)
    }
}

impl Slot {
    fn fill(&self, answer: Result<Bytes, ClientError>) {
        let before = self.0.replace(Answer::Arrived(answer));
        if let Answer::Awaited(Some(waker)) = before {
            waker.wake();
        }
    }

    /// Whether the answer is there (or was taken).
    pub fn is_filled(&self) -> bool {
        !matches!(*self.0.borrow(), Answer::Awaited(_))
    }

    /// As [`Slot::is_filled`]; keeps `waker` for when it becomes so.
    pub fn poll_ready(&self, waker: &Waker) -> bool {
        match &mut *self.0.borrow_mut() {
            Answer::Awaited(Some(kept)) if kept.will_wake(waker) => false,
            Answer::Awaited(kept) => {
                *kept = Some(waker.clone());
                false
            }
            Answer::Arrived(_) | Answer::Taken => true,
        }
    }

    /// The answer once; afterwards it is taken, and asking again is a mistake of the caller.
    pub fn poll_take(&self, waker: &Waker) -> Poll<Result<Bytes, ClientError>> {
        if !self.poll_ready(waker) {
            return Poll::Pending;
        }
        match self.0.replace(Answer::Taken) {
            Answer::Arrived(arrived) => Poll::Ready(arrived),
            Answer::Awaited(_) | Answer::Taken => panic!("an answer is taken once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::metadata::MetadataRequest;

    fn submit(pipeline: &mut Pipeline) -> Rc<Slot> {
        pipeline
            .submit(&MetadataRequest::default(), 9, true, Instant::now())
            .unwrap()
    }

    fn frame(correlation: i32) -> Bytes {
        Bytes::copy_from_slice(&correlation.to_be_bytes())
    }

    fn take(slot: &Slot) -> Option<Result<Bytes, ClientError>> {
        match slot.poll_take(Waker::noop()) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    #[test]
    fn answers_reach_requests_in_order() {
        let mut pipeline = Pipeline::new(Str::from("t"));
        let (a, b) = (submit(&mut pipeline), submit(&mut pipeline));
        assert_eq!(pipeline.in_flight(), 2);
        pipeline.on_frame(frame(0)).unwrap();
        assert_eq!(take(&b), None);
        assert_eq!(take(&a), Some(Ok(frame(0))));
        pipeline.on_frame(frame(1)).unwrap();
        assert_eq!(take(&b), Some(Ok(frame(1))));
        assert_eq!(pipeline.in_flight(), 0);
    }

    #[test]
    fn an_answer_out_of_order_or_unasked_is_a_fault() {
        let mut pipeline = Pipeline::new(Str::from("t"));
        assert!(pipeline.on_frame(frame(0)).is_err());
        let _a = submit(&mut pipeline);
        assert!(pipeline.on_frame(frame(1)).is_err());
        assert!(pipeline.on_frame(Bytes::from_static(b"abc")).is_err());
    }

    #[test]
    fn losing_the_connection_fails_what_is_in_flight_and_what_comes() {
        let mut pipeline = Pipeline::new(Str::from("t"));
        let slot = submit(&mut pipeline);
        let closed = ClientError::Closed {
            address: "a:1".to_owned(),
        };
        pipeline.fail(closed.clone());
        pipeline.fail(ClientError::Invalid("later".to_owned()));
        assert_eq!(take(&slot), Some(Err(closed.clone())));
        let later = pipeline.submit(&MetadataRequest::default(), 9, true, Instant::now());
        assert_eq!(later.err(), Some(closed));
        assert!(!pipeline.take_outgoing(&mut Writer::new()));
    }

    #[test]
    fn what_is_not_answered_waits_for_nothing() {
        let mut pipeline = Pipeline::new(Str::from("t"));
        let slot = pipeline
            .submit(&MetadataRequest::default(), 9, false, Instant::now())
            .unwrap();
        assert!(slot.is_filled());
        assert_eq!(pipeline.in_flight(), 0);
        // The next one still gets the next number.
        let _b = submit(&mut pipeline);
        assert!(pipeline.on_frame(frame(1)).is_ok());
    }

    #[test]
    fn outgoing_bytes_are_taken_whole_and_once() {
        let mut pipeline = Pipeline::new(Str::from("t"));
        submit(&mut pipeline);
        submit(&mut pipeline);
        let mut writer = Writer::new();
        assert!(pipeline.take_outgoing(&mut writer));
        let bytes = writer.as_slice();
        let first = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(
            bytes.len(),
            2 * (4 + first),
            "two equal requests, one buffer"
        );
        assert!(!pipeline.take_outgoing(&mut Writer::new()));
    }
}
