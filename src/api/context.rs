//! What a handler knows of the connection it serves, and what it gives back.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::fetch_session::Sessions;
use crate::metrics::Stages;
use crate::protocol::{Message, Splice, Writer, write_response};
use crate::rt::{MemoryGate, Reservation};
use crate::shard::{ReadData, Shard, WatchItem};
use crate::types::{Micros, Str};

/// A connection, as the handlers of its requests see it.
pub struct Context {
    pub shard: Rc<Shard>,
    /// Unique on this shard.
    pub connection: u64,
    /// The listener the client came in by: the brokers' addresses of this name are told to it.
    pub listener: Str,
    /// The client's address as Java prints one without a name: `/127.0.0.1`.
    pub client_host: Str,
    pub sessions: Rc<RefCell<Sessions>>,
    /// What the client calls itself; kept with its last request.
    pub client_id: Rc<RefCell<Str>>,
    /// What the connection's Fetch watches; taken back when it closes.
    pub watched: RefCell<Vec<WatchItem>>,
}

impl Context {
    /// Notes what the client calls itself, where that is new.
    pub(super) fn note_client(&self, client_id: Option<&Str>) {
        let new = client_id.map_or("", |id| id.as_str());
        if self.client_id.borrow().as_str() != new {
            // A copy: the name of a client must not keep a frame in memory.
            self.client_id.replace(Str::from(new));
        }
    }

    /// Remembers what is watched from now on, and takes back what was watched before where it is not the same.
    pub(super) fn watch_others(&self, watched: &[WatchItem]) {
        let mut before = self.watched.borrow_mut();
        let place = |item: &WatchItem| (item.topic_id, item.partition);
        if !before.iter().map(place).eq(watched.iter().map(place)) {
            self.shard.unwatch(self.connection, &before);
            *before = watched.to_vec();
        }
    }

    /// The connection is gone: nobody is to be woken for it.
    pub fn close(&self) {
        let watched = self.watched.take();
        if !watched.is_empty() {
            self.shard.unwatch(self.connection, &watched);
        }
    }
}

/// A response, length prefix and all.
pub struct Frame {
    pub head: Vec<u8>,
    /// Where in `head` the bytes of `data` go, slot for slot.
    pub splices: Vec<Splice>,
    pub data: Vec<ReadData>,
    /// What is known of where its time went.
    pub times: Times,
    /// What it takes of the shard's memory for answers, until it is dropped.
    memory: Option<Reservation>,
}

/// Frames up to this size are not counted: every connection may have one.
const FREE_BYTES: usize = 16 << 10;

/// Makes an answer fit to wait for its client: all that it keeps of the cache is counted, and where memory is short it keeps no
/// more than it needs.
///
/// - `head_bytes`: what it has besides.
/// - `memory`: what was reserved for it.
pub(super) fn settle(
    data: &mut [ReadData],
    head_bytes: usize,
    memory: &mut Option<Reservation>,
    answers: &Rc<MemoryGate>,
) {
    let pinned_bytes = |data: &[ReadData]| data.iter().map(ReadData::pinned_bytes).sum();
    let mut pinned: usize = pinned_bytes(data);
    if answers.is_short(pinned) {
        data.iter_mut().for_each(ReadData::compact);
        pinned = pinned_bytes(data);
    }
    let bytes = head_bytes + pinned;
    match memory {
        Some(memory) => memory.resize(bytes),
        None if bytes > FREE_BYTES => *memory = Some(answers.take(bytes)),
        None => {}
    }
}

/// Where a request's time went, as its handler knows it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Times {
    pub stages: Stages,
    /// When its outcome was known; zero where nobody looked.
    pub done_at: Micros,
}

impl Frame {
    /// Encodes a response that carries no records.
    pub fn of<M: Message>(version: i16, correlation_id: i32, body: &M) -> Frame {
        Frame::with_data(version, correlation_id, body, Vec::new())
    }

    /// Encodes a response whose records are `data`, in the order in which they stand in it.
    pub fn with_data<M: Message>(
        version: i16,
        correlation_id: i32,
        body: &M,
        data: Vec<ReadData>,
    ) -> Frame {
        let mut writer = Writer::new();
        write_response(&mut writer, version, correlation_id, body);
        let (head, splices) = writer.take();
        assert_eq!(splices.len(), data.len(), "each splice has its data");
        Frame {
            head,
            splices,
            data,
            times: Times::default(),
            memory: None,
        }
    }

    /// The same, with the memory that was reserved for it.
    pub fn holding(self, memory: Option<Reservation>) -> Frame {
        Frame { memory, ..self }
    }

    /// Makes it fit to wait for a client that does not take it at once: all that it keeps of the cache is counted.
    pub fn settle(&mut self, answers: &Rc<MemoryGate>) {
        let head_bytes = self.head.capacity();
        settle(&mut self.data, head_bytes, &mut self.memory, answers);
    }

    /// The same, with where its time went.
    pub fn timed(self, times: Times) -> Frame {
        Frame { times, ..self }
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.splices.iter().map(|splice| splice.len).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

/// What a request came to.
pub enum Outcome {
    Reply(Frame),
    /// acks=0: nothing is sent.
    Silent,
    /// The protocol leaves no other way to tell the client.
    Close(String),
}

/// A request's work after its start.
pub type Work = Pin<Box<dyn Future<Output = Outcome>>>;
