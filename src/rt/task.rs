//! Tasks: contained, counted, never cancelled; and what they wait for.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement, TaskQueueHandle};

use super::checks::{StartError, check_io_uring};

/// Which of the shard's queues a task runs in; the executor shares the core between them by weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queue {
    /// Connections and mailboxes.
    Net,
    /// Flushes and what waits for them.
    Storage,
    /// Retention, compaction, cold reads: a twentieth of the network's weight.
    Background,
}

/// What this shard's tasks have come to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct TaskStats {
    pub spawned: u64,
    pub finished: u64,
    /// Of the finished ones, those that panicked.
    pub panicked: u64,
}

/// The closure given to [`blocking`] panicked; holds its message.
#[derive(Debug)]
pub struct Panicked(pub String);

/// The time given to [`timeout`] ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

thread_local! {
    static QUEUES: RefCell<Option<[TaskQueueHandle; 3]>> = const { RefCell::new(None) };
    static STATS: Cell<TaskStats> = const { Cell::new(TaskStats { spawned: 0, finished: 0, panicked: 0 }) };
}

/// Starts a task that nobody waits for. It must end by itself (a closed channel, a shutdown flag): dropping tasks
/// leaks them in this executor, so none is ever cancelled. A panic ends the task, is logged with `name` and counted.
///
/// Panics outside an executor.
pub fn spawn(queue: Queue, name: &'static str, task: impl Future<Output = ()> + 'static) {
    let handle = QUEUES.with_borrow(|queues| {
        queues.expect("tasks are spawned inside an executor")[queue as usize]
    });
    count(|stats| stats.spawned += 1);
    let contained = async move {
        let outcome = AssertUnwindSafe(task).catch_unwind().await;
        count(|stats| stats.finished += 1);
        if let Err(panic) = outcome {
            count(|stats| stats.panicked += 1);
            tracing::error!(
                task = name,
                panic = panic_message(&*panic),
                "a task panicked; its shard goes on"
            );
        }
    };
    glommio::spawn_local_into(contained, handle)
        .expect("the queue was created with the executor")
        .detach();
}

/// What the tasks of this shard have come to so far.
pub fn task_stats() -> TaskStats {
    STATS.get()
}

fn count(change: impl FnOnce(&mut TaskStats)) {
    let mut stats = STATS.get();
    change(&mut stats);
    STATS.set(stats);
}

/// The text of a panic's payload.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Runs `work` on the shard's one blocking thread (about 20 µs there and back): directory operations, name
/// look-ups, password hashing. Never on the data path. Outside an executor it runs at once, in place.
///
/// If the awaiting future is dropped, `work` still runs to its end.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    if !in_executor() {
        return contain(work);
    }
    // The executor's own slot for the result would leak it when the awaiter is gone, and a panic in the closure
    // would hang the awaiter for ever: so the result travels in ours, and the closure cannot panic.
    let slot = Arc::new(Mutex::new(None));
    let filled = slot.clone();
    glommio::executor()
        .spawn_blocking(move || {
            let outcome = contain(work);
            if let Ok(mut slot) = filled.lock() {
                *slot = Some(outcome);
            }
        })
        .await;
    let outcome = slot.lock().ok().and_then(|mut slot| slot.take());
    outcome.unwrap_or_else(|| Err(Panicked("the blocking thread left no result".to_owned())))
}

fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Panicked(panic_message(&*panic).to_owned()))
}

/// Waits at least `time`; about 50 µs more when parked. Panics outside an executor.
pub async fn sleep(time: Duration) {
    glommio::timer::sleep(time).await;
}

/// Waits for `work` at most `time`. `work` is a plain future and is dropped when the time is out.
pub async fn timeout<T>(time: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    async { Ok(work.await) }
        .or(async {
            sleep(time).await;
            Err(Elapsed)
        })
        .await
}

/// Lets other tasks run if this one has had its share; nearly free if not. Long loops call it.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// Lets the tasks that are ready run first.
pub async fn yield_now() {
    futures_lite::future::yield_now().await;
}

/// Whether this thread is running an executor of ours.
pub(super) fn in_executor() -> bool {
    QUEUES.with_borrow(Option::is_some)
}

/// Runs `main` on an executor of this thread and returns what it gives: for programs that are clients, and tests.
///
/// - Tasks still running when `main` ends are dropped.
/// - `Err`: io_uring is not to be had, or memory cannot be locked.
pub fn run_local<T>(main: impl Future<Output = T>) -> Result<T, StartError> {
    check_io_uring()?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(128)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(|error| StartError::Executor(error.to_string()))?;
    // Boxed, because the executor moves its main future about on the stack.
    let main = Box::pin(main);
    Ok(executor.run(async move {
        let _queues = enter_executor();
        main.await
    }))
}

/// Registered memory of each ring; larger pools gain nothing and are charged to the user's locked memory.
pub(super) const IO_MEMORY_BYTES: usize = 64 << 10;
/// How long a queue may run before the executor looks at its rings.
pub(super) const PREEMPT: Duration = Duration::from_millis(2);

/// Creates this executor's queues; they are forgotten when the guard drops, at the end of its main future.
pub(super) fn enter_executor() -> ExecutorGuard {
    use glommio::{Latency, Shares};
    let queue = |shares, name| {
        glommio::executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
    };
    QUEUES.set(Some([
        queue(1000, "net"),
        queue(500, "storage"),
        queue(50, "background"),
    ]));
    ExecutorGuard
}

pub(super) struct ExecutorGuard;

impl Drop for ExecutorGuard {
    fn drop(&mut self) {
        QUEUES.set(None);
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking work panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> std::io::Error {
        std::io::ErrorKind::TimedOut.into()
    }
}
