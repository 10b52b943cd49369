//! Work that blocks, on one thread beside each shard.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::doorbell::own_bell;
use super::executor::is_inside;

/// The closure given to [`blocking`] panicked; holds its message.
#[derive(Debug)]
pub struct Panicked(pub String);

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// This shard's blocking thread, started when first needed; ends when this drops.
    static WORKER: RefCell<Option<Sender<Job>>> = const { RefCell::new(None) };
}

/// Runs `work` on the shard's one blocking thread (tens of microseconds there and back): directory operations, name
/// look-ups, password hashing. Never on the data path. Outside an executor it runs at once, in place.
///
/// If the awaiting future is dropped, `work` still runs to its end.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    if !is_inside() {
        return contain(work);
    }
    let bell = own_bell();
    let slot = Arc::new(Mutex::new(None));
    let (filled, done) = (slot.clone(), bell.remote.clone());
    submit(Box::new(move || {
        let outcome = contain(work);
        *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        done.ring();
    }))?;
    loop {
        let outcome = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(outcome) = outcome {
            return outcome;
        }
        bell.rung.wait().await;
    }
}

/// Lets the blocking thread of this shard end when it has done what it was given.
pub(super) fn dismiss() {
    drop(WORKER.take());
}

fn submit(job: Job) -> Result<(), Panicked> {
    WORKER.with_borrow_mut(|worker| {
        if worker.is_none() {
            let (sender, jobs) = mpsc::channel::<Job>();
            let run = move || jobs.into_iter().for_each(|job| job());
            let started = std::thread::Builder::new()
                .name("blocking".to_owned())
                .spawn(run);
            started.map_err(|error| Panicked(format!("no thread for blocking work: {error}")))?;
            *worker = Some(sender);
        }
        let sent = worker
            .as_ref()
            .is_some_and(|worker| worker.send(job).is_ok());
        if sent {
            Ok(())
        } else {
            Err(Panicked("the blocking thread has ended".to_owned()))
        }
    })
}

fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Panicked(panic_message(&*panic).to_owned()))
}

/// The text of a panic's payload.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking work panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}
