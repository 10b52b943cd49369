//! The word to stop: from a signal, or from anywhere in the process, to every shard.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::checks::StartError;
use super::doorbell::{Doorbell, own_bell};
use super::notify::Notify;

/// Tells every shard to stop. May be cloned and sent anywhere.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// A [`Stage`]; it only goes up.
    stage: AtomicU8,
    /// The bells of all shards that have ever waited.
    bells: Mutex<Vec<Doorbell>>,
}

/// How far the process is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Stage {
    /// Some shard has not passed its self-test.
    Starting,
    Running,
    /// Graceful stop.
    Stopping,
    /// Some shard did not start: none shall run.
    Abandoned,
}

impl Stop {
    /// Asks for a graceful stop; asking again changes nothing.
    pub fn request(&self) {
        self.raise(Stage::Stopping);
    }

    pub(super) fn raise(&self, stage: Stage) {
        self.0.stage.fetch_max(stage as u8, Ordering::AcqRel);
        for bell in self
            .0
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            bell.ring();
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Running,
            2 => Stage::Stopping,
            _ => Stage::Abandoned,
        }
    }

    /// Waits until the stage is at least `stage`, and returns it.
    pub(super) async fn reached(&self, stage: Stage) -> Stage {
        let bell = own_bell();
        // Hung up before the first look, lest a change between the two be missed.
        self.0
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bell.remote);
        while self.stage() < stage {
            bell.rung.wait().await;
        }
        self.stage()
    }
}

/// The word to stop, on one shard. Clones share it.
#[derive(Clone, Default)]
pub struct Shutdown(Rc<State>);

#[derive(Default)]
struct State {
    requested: Cell<bool>,
    notify: Notify,
}

impl Shutdown {
    /// Whether the shard shall stop.
    pub fn is_requested(&self) -> bool {
        self.0.requested.get()
    }

    /// Waits until the shard shall stop; returns at once if it shall already. Any number of tasks may wait.
    pub async fn requested(&self) {
        if !self.is_requested() {
            self.0.notify.wait().await;
        }
    }

    /// Tells this shard alone, as tests do.
    pub fn request(&self) {
        self.0.requested.set(true);
        self.0.notify.notify_all();
    }
}

/// Turns SIGTERM and SIGINT into a stop, until dropped: the first is graceful, the second ends the process at once with
/// status 128 plus the signal's number.
pub(super) struct SignalThread(Handle);

impl SignalThread {
    pub(super) fn start(stop: Stop) -> Result<SignalThread, StartError> {
        let failed = |error: std::io::Error| {
            StartError::Executor(format!("signals cannot be handled: {error}"))
        };
        let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
        let handle = signals.handle();
        let listen = move || {
            let mut first = true;
            for signal in signals.forever() {
                if !first {
                    eprintln!("second signal: stopping at once");
                    signal_hook::low_level::exit(128 + signal);
                }
                first = false;
                tracing::info!(signal, "stopping; a second signal stops at once");
                stop.request();
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .map_err(failed)?;
        Ok(SignalThread(handle))
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.0.close();
    }
}
