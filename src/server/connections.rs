//! The connections of one shard: limits, idle ones, slow ones, and their end.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::HashMap;
use slab::Slab;

use super::connection::WAIT_MAX;
use super::warn::RateLimited;
use crate::api::Sessions;
use crate::config::Listener;
use crate::metrics::Counter;
use crate::rt::{self, MemoryGate, Signal};
use crate::shard::{ConnectionRow, Shard};
use crate::types::{Micros, ShardId, Str};

/// What the connections of a shard share.
pub struct Shared {
    pub shard: Rc<Shard>,
    pub gate: Rc<MemoryGate>,
    pub sessions: Rc<RefCell<Sessions>>,
    pub listeners: Arc<Vec<Listener>>,
    pub lines: RateLimited,
    handles: RefCell<Slab<Rc<Handle>>>,
    /// Of the whole process; touched only when a connection comes or goes.
    admission: Arc<Mutex<Admission>>,
    stopping: Cell<bool>,
}

/// One connection, as others see it.
pub struct Handle {
    /// Set to have the connection look at `order`.
    pub signal: Signal,
    pub order: Cell<Order>,
    pub last_active: Cell<Micros>,
    /// It was told to shrink since it was active.
    pub shrunk: Cell<bool>,
    /// It waits for the answer to a request: a member in a rebalance may do so longer than an idle connection may live.
    pub serving: Cell<bool>,
    /// Bytes of the frame being read that have arrived, and since when it is being read.
    pub receiving: Cell<Option<Receiving>>,
    /// How far the answer is sent that the client did not take at once.
    pub sending: Cell<Option<Sending>>,
    pub peer: SocketAddr,
    pub listener: usize,
    /// What the client calls itself; on the native wire, nothing.
    pub client_id: Rc<RefCell<Str>>,
    pub counted: Counted,
    opened: Micros,
}

/// What has come and gone on one connection.
#[derive(Default)]
pub struct Counted {
    pub requests: Counter,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
}

/// Why a connection ended.
pub enum End {
    /// The client closed it, or it failed on the way.
    Gone,
    /// It is to be told in the log.
    Fault(String),
    /// The broker stops.
    Stopped,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

/// A frame on its way in that holds reserved memory.
#[derive(Clone, Copy, Debug)]
pub struct Receiving {
    pub since: Micros,
    pub bytes: usize,
}

/// An answer on its way out that is waiting for the client.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    pub since: Micros,
    /// That the client took since then.
    pub bytes: usize,
}

/// What a connection is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    GoOn,
    /// It is idle: let go of buffers.
    Shrink,
    /// Answer what is being served, then close.
    Finish,
    /// Close now.
    Close(&'static str),
}

/// While memory is short, a frame must arrive at least this fast.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
/// While readers wait for memory, an answer must be taken as fast, from this time on.
const SENDING_GRACE_US: u64 = 2_000_000;
/// A connection idle this long lets go of its buffers.
const SHRINK_AFTER_US: u64 = 10_000_000;
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    pub fn new(
        shard: Rc<Shard>,
        gate: Rc<MemoryGate>,
        listeners: Arc<Vec<Listener>>,
        admission: Arc<Mutex<Admission>>,
    ) -> Rc<Shared> {
        let slots = shard.config.max_incremental_fetch_session_cache_slots as usize;
        let slots = slots.div_ceil(shard.shards_count as usize);
        let seed = shard.clock.wall().0 as u64 ^ (shard.id.0 as u64) << 48;
        Rc::new(Shared {
            sessions: Rc::new(RefCell::new(Sessions::new(slots, seed))),
            shard,
            gate,
            listeners,
            lines: RateLimited::new(),
            handles: RefCell::default(),
            admission,
            stopping: Cell::new(false),
        })
    }

    pub fn listener_name(&self, listener: usize) -> Str {
        Str::from(self.listeners[listener].name.as_str())
    }

    /// Enters a connection; its slot is given back by [`Shared::leave`].
    pub fn enter(&self, peer: SocketAddr, listener: usize) -> (usize, Rc<Handle>) {
        let order = if self.stopping.get() {
            Order::Finish
        } else {
            Order::GoOn
        };
        let now = self.shard.clock.now();
        let handle = Rc::new(Handle {
            signal: Signal::default(),
            order: Cell::new(order),
            last_active: Cell::new(now),
            shrunk: Cell::new(false),
            serving: Cell::new(false),
            receiving: Cell::new(None),
            sending: Cell::new(None),
            peer,
            listener,
            client_id: Rc::default(),
            counted: Counted::default(),
            opened: now,
        });
        let slot = self.handles.borrow_mut().insert(handle.clone());
        self.shard.metrics.connections_open.increment();
        (slot, handle)
    }

    pub fn leave(&self, slot: usize, address: IpAddr) {
        self.handles.borrow_mut().remove(slot);
        self.shard.metrics.connections_open.decrement();
        lock(&self.admission).release(address, self.shard.id);
    }

    /// A connection goes on to another shard of this process, which enters it there.
    pub fn hand_over(&self, slot: usize, to: ShardId) {
        self.handles.borrow_mut().remove(slot);
        self.shard.metrics.connections_open.decrement();
        lock(&self.admission).hand_over(self.shard.id, to);
    }

    pub fn count(&self) -> usize {
        self.handles.borrow().len()
    }

    /// The connections from slot `from` on, so many at most.
    pub fn rows(&self, from: usize, limit: usize) -> Vec<ConnectionRow> {
        let now = self.shard.clock.now();
        let handles = self.handles.borrow();
        let later = handles.iter().filter(|(slot, _)| *slot >= from).take(limit);
        let row = |(connection, handle): (usize, &Rc<Handle>)| ConnectionRow {
            shard: self.shard.id.0,
            connection,
            peer: handle.peer.to_string(),
            listener: self.listeners[handle.listener].name.clone(),
            client_id: handle.client_id.borrow().to_string(),
            age_s: now.since(handle.opened) / 1_000_000,
            idle_s: now.since(handle.last_active.get()) / 1_000_000,
            requests: handle.counted.requests.value(),
            received_bytes: handle.counted.received_bytes.value(),
            sent_bytes: handle.counted.sent_bytes.value(),
        };
        later.map(row).collect()
    }

    /// Tells every connection to answer what it serves and close.
    pub fn finish_all(&self) {
        self.stopping.set(true);
        for (_, handle) in self.handles.borrow().iter() {
            handle.tell(Order::Finish);
        }
    }

    /// Once a second: closes what is idle too long, and what holds memory without progress while others wait for it.
    pub async fn sweep(self: Rc<Self>) {
        let idle_ms = self.shard.config.connections_max_idle_ms;
        let idle_us = u64::try_from(idle_ms)
            .ok()
            .map(|ms| ms.saturating_mul(1000));
        loop {
            rt::sleep(SWEEP_EVERY).await;
            let now = self.shard.clock.now();
            let contended = self.gate.is_contended();
            let starved = self.shard.are_readers_starved(now);
            for (_, handle) in self.handles.borrow().iter() {
                let idle = now.since(handle.last_active.get());
                let is_idle = !handle.serving.get();
                if is_idle && idle_us.is_some_and(|limit| idle > limit) {
                    handle.tell(Order::Close("idle for longer than connections.max.idle.ms"));
                } else if contended && handle.is_too_slow(now) {
                    handle.tell(Order::Close(
                        "its request arrives too slowly while memory is short",
                    ));
                } else if starved && handle.is_taking_too_slowly(now) {
                    handle.tell(Order::Close(
                        "its answer is taken too slowly while others wait for memory",
                    ));
                } else if idle > SHRINK_AFTER_US && !handle.shrunk.replace(true) {
                    handle.tell(Order::Shrink);
                }
            }
        }
    }
}

impl Handle {
    /// Gives an order that replaces a milder one.
    fn tell(&self, order: Order) {
        self.order.set(order);
        self.signal.set();
    }

    fn is_too_slow(&self, now: Micros) -> bool {
        self.receiving.get().is_some_and(|receiving| {
            let elapsed_us = now.since(receiving.since);
            let due = due_bytes(elapsed_us);
            // What the kernel holds back until enough is there has arrived too.
            let arrived = receiving.bytes as u64 + WAIT_MAX as u64;
            elapsed_us > 1_000_000 && arrived < due
        })
    }

    fn is_taking_too_slowly(&self, now: Micros) -> bool {
        self.sending.get().is_some_and(|sending| {
            let elapsed_us = now.since(sending.since);
            elapsed_us > SENDING_GRACE_US && (sending.bytes as u64) < due_bytes(elapsed_us)
        })
    }
}

/// The bytes that are due after a time.
fn due_bytes(elapsed_us: u64) -> u64 {
    elapsed_us.saturating_mul(SLOWEST_BYTES_PER_SECOND) / 1_000_000
}

/// The connections of the whole process: how many there are, from where, and on which shard.
pub struct Admission {
    by_address: HashMap<IpAddr, usize>,
    by_shard: Vec<usize>,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany(pub &'static str);

impl Admission {
    pub fn new(shards_count: u16) -> Admission {
        Admission {
            by_address: HashMap::new(),
            by_shard: vec![0; shards_count as usize],
        }
    }

    /// Lets a connection in, to the shard that has the fewest.
    pub fn admit(
        &mut self,
        address: IpAddr,
        total_max: usize,
        per_address_max: usize,
    ) -> Result<ShardId, TooMany> {
        let own = self.by_address.get(&address).copied().unwrap_or(0);
        if self.by_shard.iter().sum::<usize>() >= total_max {
            return Err(TooMany("max.connections is reached"));
        }
        if own >= per_address_max {
            return Err(TooMany("max.connections.per.ip is reached"));
        }
        let fewest = (0..self.by_shard.len()).min_by_key(|shard| self.by_shard[*shard]);
        let shard = fewest.expect("there is a shard");
        self.by_shard[shard] += 1;
        self.by_address.insert(address, own + 1);
        Ok(ShardId(shard as u16))
    }

    /// A connection that is let in moves from one shard to another.
    fn hand_over(&mut self, from: ShardId, to: ShardId) {
        self.by_shard[from.index()] -= 1;
        self.by_shard[to.index()] += 1;
    }

    fn release(&mut self, address: IpAddr, shard: ShardId) {
        self.by_shard[shard.index()] -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// A panic elsewhere leaves the counts as good as they were.
pub fn lock(admission: &Mutex<Admission>) -> std::sync::MutexGuard<'_, Admission> {
    admission
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_few_connections_evenly_and_keeps_to_the_limits() {
        let mut admission = Admission::new(3);
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let shards: Vec<_> = (0..3).map(|_| admission.admit(a, 10, 3)).collect();
        assert_eq!(shards, [Ok(ShardId(0)), Ok(ShardId(1)), Ok(ShardId(2))]);
        assert_eq!(
            admission.admit(a, 10, 3),
            Err(TooMany("max.connections.per.ip is reached"))
        );
        assert_eq!(
            admission.admit(b, 3, 3),
            Err(TooMany("max.connections is reached"))
        );
        admission.release(a, ShardId(1));
        assert_eq!(admission.admit(b, 3, 3), Ok(ShardId(1)));
    }
}
