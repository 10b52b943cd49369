//! Mail between shards: every shard may send to every other, nobody ever waits to send, and order is kept per pair.
//!
//! A message goes into its sender's outbox; one flush per turn hands each receiver its batch, through one lane a pair of
//! shards, under a lock that is held for a swap of two vectors. So a hundred messages of a turn cost one lock and at most
//! one wake-up, and no bounded queue exists that two full shards could both wait on. What bounds the mail is the memory
//! budget of the requests that send it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::buffer::Slice;
use super::doorbell::{Doorbell, OwnBell, own_bell};
use super::foreign::{Foreign, Parcel, Route};
use super::notify::Signal;
use super::task::{Queue, spawn};
use crate::types::ShardId;

/// Makes the mailboxes of `shards` shards, one seat for each, to be joined on its own executor.
pub fn mesh<M: Send + 'static>(shards: usize) -> Vec<Seat<M>> {
    static MESHES: AtomicU64 = AtomicU64::new(0);
    let shards = u16::try_from(shards).expect("fewer than 65536 shards");
    let posts = (0..shards).map(|_| Post::new(shards)).collect();
    let mesh = Arc::new(Mesh {
        id: MESHES.fetch_add(1, Ordering::Relaxed),
        posts,
    });
    (0..shards)
        .map(|index| Seat {
            mesh: mesh.clone(),
            me: ShardId(index),
        })
        .collect()
}

/// One shard's place in the [`mesh`], before it joins.
pub struct Seat<M> {
    mesh: Arc<Mesh<M>>,
    me: ShardId,
}

struct Mesh<M> {
    id: u64,
    posts: Vec<Post<M>>,
}

/// Where one shard's mail arrives.
struct Post<M> {
    /// One lane for each sender, so that senders do not meet.
    lanes: Vec<Mutex<Vec<Envelope<M>>>>,
    /// Bit `sender % 64`: its lane has mail. Whoever turns this from zero wakes the receiver.
    dirty: AtomicU64,
    /// The receiver's, once it has taken its seat.
    bell: OnceLock<Doorbell>,
}

enum Envelope<M> {
    Message(M),
    /// Memory of the receiver's that the sender has done with.
    Home(Parcel),
}

impl<M> Post<M> {
    fn new(senders: u16) -> Post<M> {
        let lanes = (0..senders).map(|_| Mutex::default()).collect();
        Post {
            lanes,
            dirty: AtomicU64::new(0),
            bell: OnceLock::new(),
        }
    }

    /// Takes all of `batch`, leaving an empty vector.
    fn deliver(&self, sender: ShardId, batch: &mut Vec<Envelope<M>>) {
        {
            // Nothing runs under the lock that could panic and leave a lane half way.
            let mut lane = self.lanes[sender.index()]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if lane.is_empty() {
                mem::swap(&mut *lane, batch)
            } else {
                lane.append(batch)
            }
        }
        // The read-modify-write orders this with the receiver's `swap`: either it sees the bit and the lane behind it,
        // or this sees the bell that it hung up before.
        let before = self.dirty.fetch_or(bit(sender), Ordering::AcqRel);
        if before == 0
            && let Some(bell) = self.bell.get()
        {
            bell.ring();
        }
    }
}

fn bit(sender: ShardId) -> u64 {
    1 << (sender.0 % 64)
}

impl<M: Send + 'static> Seat<M> {
    /// The shard that this seat is for.
    pub fn shard(&self) -> ShardId {
        self.me
    }

    /// Takes the seat on this thread's executor, where it starts the two tasks that send and collect.
    ///
    /// Others may have sent already; nothing is lost.
    pub fn join(self) -> (Mailbox<M>, Inbox<M>) {
        let shards = self.mesh.posts.len();
        let inbound = Rc::new(Inbound {
            queue: RefCell::default(),
            arrived: Signal::default(),
            closed: Cell::new(false),
        });
        let outgoing = Rc::new(Outgoing {
            outboxes: RefCell::new((0..shards).map(|_| Vec::new()).collect()),
            flush: Signal::default(),
            closed: Cell::new(false),
            inbound: inbound.clone(),
            mesh: self.mesh.clone(),
            me: self.me,
        });
        let bell = own_bell();
        // Hung up before the first look.
        if self.mesh.posts[self.me.index()]
            .bell
            .set(bell.remote.clone())
            .is_err()
        {
            unreachable!("a shard has one seat");
        }
        spawn(Queue::Net, "mailbox: send", outgoing.clone().run());
        spawn(
            Queue::Net,
            "mailbox: collect",
            collect(self.mesh.clone(), self.me, inbound.clone(), bell),
        );
        let route = outgoing.clone();
        let route = Route::register(
            self.mesh.id,
            Rc::new(move |to, parcel| route.push(to, Envelope::Home(parcel))),
        );
        (
            Mailbox(Rc::new(Open {
                outgoing,
                _route: route,
            })),
            Inbox(inbound),
        )
    }
}

/// Sends to any shard, this one included. Clones share it.
pub struct Mailbox<M: Send + 'static>(Rc<Open<M>>);

/// Held by the mailboxes alone, not by the sending task, which ends when this drops.
struct Open<M: Send + 'static> {
    outgoing: Rc<Outgoing<M>>,
    _route: Route,
}

struct Outgoing<M> {
    /// One for each receiver.
    outboxes: RefCell<Vec<Vec<Envelope<M>>>>,
    flush: Signal,
    closed: Cell<bool>,
    inbound: Rc<Inbound<M>>,
    mesh: Arc<Mesh<M>>,
    me: ShardId,
}

impl<M: Send + 'static> Mailbox<M> {
    /// Sends `message` at the end of this turn; to this shard itself, at once. Never waits and never fails: mail to a
    /// shard that has stopped is dropped when the mesh is.
    pub fn send(&self, to: ShardId, message: M) {
        let outgoing = &self.0.outgoing;
        if to == outgoing.me {
            outgoing.inbound.queue.borrow_mut().push_back((to, message));
            outgoing.inbound.arrived.set();
        } else {
            outgoing.push(to, Envelope::Message(message));
        }
    }

    /// Pins slices of this shard's memory to be read by any shard of the mesh, and released here when dropped there.
    pub fn lend(&self, slices: impl IntoIterator<Item = Slice>) -> Foreign {
        Foreign::new(slices, self.0.outgoing.mesh.id, self.0.outgoing.me)
    }

    /// The shard that sends.
    pub fn shard(&self) -> ShardId {
        self.0.outgoing.me
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.outgoing.mesh.posts.len()
    }
}

impl<M: Send + 'static> Clone for Mailbox<M> {
    fn clone(&self) -> Mailbox<M> {
        Mailbox(self.0.clone())
    }
}

impl<M: Send + 'static> Drop for Open<M> {
    fn drop(&mut self) {
        self.outgoing.closed.set(true);
        self.outgoing.flush.set();
    }
}

impl<M> Outgoing<M> {
    fn push(&self, to: ShardId, envelope: Envelope<M>) {
        self.outboxes.borrow_mut()[to.index()].push(envelope);
        self.flush.set();
    }

    /// Flushes after every turn in which something was sent, until the last mailbox is gone.
    async fn run(self: Rc<Self>) {
        loop {
            self.flush.wait().await;
            for (to, batch) in self
                .outboxes
                .borrow_mut()
                .iter_mut()
                .enumerate()
                .filter(|(_, batch)| !batch.is_empty())
            {
                self.mesh.posts[to].deliver(self.me, batch);
            }
            if self.closed.get() {
                return;
            }
        }
    }
}

/// Receives what was sent to this shard.
pub struct Inbox<M>(Rc<Inbound<M>>);

struct Inbound<M> {
    queue: RefCell<VecDeque<(ShardId, M)>>,
    arrived: Signal,
    closed: Cell<bool>,
}

impl<M> Inbox<M> {
    /// The next message and who sent it. One task receives. Loses nothing when dropped half way.
    pub async fn recv(&self) -> (ShardId, M) {
        loop {
            if let Some(mail) = self.try_recv() {
                return mail;
            }
            self.0.arrived.wait().await;
        }
    }

    /// The next message that is here already.
    pub fn try_recv(&self) -> Option<(ShardId, M)> {
        self.0.queue.borrow_mut().pop_front()
    }

    /// How many messages are here.
    pub fn len(&self) -> usize {
        self.0.queue.borrow().len()
    }

    /// Whether no message is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.queue.borrow_mut().clear();
    }
}

/// Moves arrived mail to the inbox, whenever the shard's bell rings. Ends with its executor.
async fn collect<M>(mesh: Arc<Mesh<M>>, me: ShardId, inbound: Rc<Inbound<M>>, bell: OwnBell) {
    let post = &mesh.posts[me.index()];
    let mut batch = Vec::new();
    loop {
        let dirty = post.dirty.swap(0, Ordering::AcqRel);
        if dirty == 0 {
            // Nothing rings between the look and the wait: the bell is answered by a task of this thread.
            bell.rung.wait().await;
            continue;
        }
        for (sender, lane) in post.lanes.iter().enumerate() {
            let sender = ShardId(sender as u16);
            if dirty & bit(sender) != 0 {
                mem::swap(
                    &mut *lane.lock().unwrap_or_else(PoisonError::into_inner),
                    &mut batch,
                );
                inbound.take_in(sender, &mut batch);
            }
        }
        inbound.arrived.set();
    }
}

impl<M> Inbound<M> {
    fn take_in(&self, sender: ShardId, batch: &mut Vec<Envelope<M>>) {
        let mut queue = self.queue.borrow_mut();
        for envelope in batch.drain(..) {
            match envelope {
                Envelope::Message(message) if !self.closed.get() => {
                    queue.push_back((sender, message))
                }
                Envelope::Message(_) => {}
                Envelope::Home(parcel) => drop(parcel),
            }
        }
    }
}
