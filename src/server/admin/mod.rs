//! The admin listener: metrics, health and state over HTTP, on a thread of its own.
//!
//! That thread asks shard 0 through a door, and shard 0 the others by mail; it shares nothing with them, and no shard ever
//! waits for it. A connection carries one request and has a deadline for all of it, headers are bounded, bodies are not
//! read, and so many connections are served at once: who is slow or hostile costs its own connection.

mod answers;
mod http;
mod process;
mod text;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use crate::config::{AdminAddress, BrokerConfig};
use crate::rt::{self, Door, DoorKeeper, Queue};
use crate::shard::Shard;
use crate::types::ShardId;

/// Work for shard 0; it answers by a channel of its own.
pub(super) type Ask = Box<dyn FnOnce(Rc<Shard>) + Send>;

/// Asks that may wait for shard 0; the connections that are served at once bound them too.
const ASKS_MAX: usize = 128;
/// A shard that has not answered after this long is not well.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How far a start has come, for `/readyz`; shared with whoever asks.
#[derive(Default)]
pub(super) struct Progress(AtomicU8);

/// A step of the start, or its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Logs are recovered and the controller is known.
    Recovered = 1,
    /// Clients are served.
    Listening = 2,
    Stopping = 4,
}

impl Progress {
    pub fn note(&self, step: Step) {
        self.0.fetch_or(step as u8, Ordering::Release);
    }

    pub fn has(&self, step: Step) -> bool {
        self.0.load(Ordering::Acquire) & step as u8 != 0
    }
}

/// What the admin thread knows of the shards without asking: how far they have come, and their threads.
pub(super) struct Known {
    pub progress: Progress,
    /// Each shard's thread, as the kernel numbers it; 0 before it runs.
    threads: Vec<AtomicU32>,
}

impl Known {
    pub fn new(shards_count: u16) -> Known {
        Known {
            progress: Progress::default(),
            threads: (0..shards_count).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// This thread is that shard's.
    pub fn note_thread(&self, shard: ShardId) {
        if let Some(thread) = process::own_thread() {
            self.threads[shard.index()].store(thread, Ordering::Relaxed);
        }
    }

    fn threads(&self) -> impl Iterator<Item = u32> {
        self.threads
            .iter()
            .map(|thread| thread.load(Ordering::Relaxed))
    }
}

/// The admin listener before its thread runs: a taken port is told at once.
pub(super) struct BoundAdmin {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// Listens where `admin.listener` says.
///
/// - `Ok(None)`: nowhere, because it is empty, or because nobody set it and somebody else listens there: several brokers of
///   one host start without a word of configuration, and all but the first tell in a warning that they have none.
/// - `Err`: it was set, and cannot be had.
pub(super) fn bind(config: &BrokerConfig) -> Result<Option<BoundAdmin>, String> {
    let AdminAddress(Some((host, port))) = &config.admin_listener else {
        return Ok(None);
    };
    let bound = rt::resolve(host, *port).and_then(|found| {
        let first = found
            .into_iter()
            .next()
            .ok_or(std::io::ErrorKind::NotFound)?;
        let listener = std::net::TcpListener::bind(first)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(BoundAdmin { listener, address })
    });
    match bound {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if config.is_set("admin.listener") => {
            Err(format!("admin.listener {host}:{port}: {error}"))
        }
        Err(error) => {
            tracing::warn!(
                "no metrics, health or state over HTTP: {host}:{port}: {error}; set admin.listener to another address, or to nothing"
            );
            Ok(None)
        }
    }
}

impl BoundAdmin {
    /// Serves on a thread of its own, until the process ends. Gives the shard's side of the door.
    pub fn start(self, known: Arc<Known>) -> Result<DoorKeeper<Ask>, String> {
        let (door, keeper) = rt::door(ASKS_MAX);
        let shards = Shards { door, known };
        let serve = move || http::serve(self.listener, shards);
        let started = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(serve);
        started.map_err(|error| format!("no thread for the admin listener: {error}"))?;
        tracing::info!("admin listener on http://{}", self.address);
        Ok(keeper)
    }
}

/// On shard 0: carries out what is asked, each ask a task of its own.
pub(super) fn attend(shard: &Rc<Shard>, keeper: DoorKeeper<Ask>) {
    let shard = shard.clone();
    let attend = keeper.attend(move |ask: Ask| ask(shard.clone()));
    rt::spawn(Queue::Net, "admin door", attend);
}

/// The admin thread's way to the shards.
#[derive(Clone)]
struct Shards {
    door: Door<Ask>,
    known: Arc<Known>,
}

/// The shards did not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Silent {
    /// Too many ask already.
    Full,
    /// Not within the time.
    Late,
}

impl Shards {
    /// Runs `work` on shard 0 and waits for what it gives, for so long at most.
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Silent>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<Shard>) -> F + Send + 'static,
    {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let ask: Ask = Box::new(move |shard| {
            let work = work(shard);
            rt::spawn(Queue::Net, "admin", async move {
                // Who asked may have given up.
                let _ = sender.send(work.await);
            });
        });
        self.door.send(ask).map_err(|_| Silent::Full)?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
        answer.map_err(|_| Silent::Late)?.map_err(|_| Silent::Late)
    }
}
