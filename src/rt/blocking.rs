//! Work that blocks, on a few threads beside each shard.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::doorbell::own_bell;
use super::executor::{is_inside, leave_core};

/// The closure given to [`blocking`] panicked; holds its message.
#[derive(Debug)]
pub struct Panicked(pub String);

type Job = Box<dyn FnOnce() + Send>;

/// Threads of one shard, at most: a start lists a directory for each partition, and where nothing of them is cached each
/// takes seeks of the disk, several of which go on at once in a RAID or an SSD.
const THREADS_MAX: usize = 4;

thread_local! {
    /// This shard's blocking threads; they end when this drops and their work is done.
    static WORKERS: RefCell<Option<Workers>> = const { RefCell::new(None) };
}

struct Workers {
    jobs: Sender<Job>,
    source: Arc<Mutex<Receiver<Job>>>,
    threads: usize,
    /// Given and not ended.
    open: Arc<AtomicUsize>,
}

/// Runs `work` on a blocking thread of the shard's, of which there are more while there is more to do (tens of microseconds
/// there and back): directory operations, name look-ups, password hashing. Never on the data path. Outside an executor it
/// runs at once, in place.
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

/// Lets the blocking threads of this shard end when they have done what they were given.
pub(super) fn dismiss() {
    drop(WORKERS.take());
}

fn submit(job: Job) -> Result<(), Panicked> {
    WORKERS.with_borrow_mut(|workers| workers.get_or_insert_with(Workers::new).submit(job))
}

impl Workers {
    fn new() -> Workers {
        let (jobs, source) = mpsc::channel();
        Workers {
            jobs,
            source: Arc::new(Mutex::new(source)),
            threads: 0,
            open: Arc::default(),
        }
    }

    fn submit(&mut self, job: Job) -> Result<(), Panicked> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        if open > self.threads && self.threads < THREADS_MAX {
            match self.start() {
                Err(error) if self.threads == 0 => {
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    return Err(Panicked(format!("no thread for blocking work: {error}")));
                }
                // Those that there are do it.
                _ => {}
            }
        }
        let sent = self.jobs.send(job);
        sent.map_err(|_| Panicked("the blocking threads have ended".to_owned()))
    }

    fn start(&mut self) -> std::io::Result<()> {
        let (source, open) = (self.source.clone(), self.open.clone());
        let run = move || {
            // What blocks is not to run where its shard does: a thread inherits that.
            leave_core();
            loop {
                let next = source.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                job();
                open.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let name = "blocking".to_owned();
        std::thread::Builder::new().name(name).spawn(run)?;
        self.threads += 1;
        Ok(())
    }
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
