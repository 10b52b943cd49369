//! The admin listener: metrics, health and state over HTTP, on a thread of its own.
//!
//! That thread asks shard 0 through a door, and shard 0 the others by mail; it shares nothing with them, and no shard ever
//! waits for it. A connection carries one request and has a deadline for all of it, headers are bounded, bodies are not
//! read, and so many connections are served at once: who is slow or hostile costs its own connection.

mod answers;
mod http;
mod known;
mod process;
mod text;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::known::{Known, Step};
use crate::config::{AdminAddress, BrokerConfig};
use crate::rt::{self, Door, DoorKeeper, Queue};
use crate::shard::Shard;

/// Work for shard 0; it answers by a channel of its own.
pub(super) type Ask = Box<dyn FnOnce(Rc<Shard>) + Send>;

/// Asks that may wait for shard 0; the connections that are served at once bound them too.
const ASKS_MAX: usize = 128;
/// A shard that has not answered after this long is not well.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

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
    /// Runs `work` on shard 0 and waits for what it gives, for [`ANSWER_WITHIN`] at most.
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Silent>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<Shard>) -> F + Send + 'static,
    {
        self.ask_within(ANSWER_WITHIN, work).await
    }

    /// [`Shards::ask`], for so long at most.
    async fn ask_within<T, F, W>(&self, patience: Duration, work: W) -> Result<T, Silent>
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
        let answer = tokio::time::timeout(patience, answer).await;
        answer.map_err(|_| Silent::Late)?.map_err(|_| Silent::Late)
    }
}
