//! Tasks: contained, counted, never cancelled; and what they wait for.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_lite::FutureExt;

use super::blocking::panic_message;
use super::executor::spawn_raw;

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

/// The time given to [`timeout`] ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

thread_local! {
    static STATS: Cell<TaskStats> = const { Cell::new(TaskStats { spawned: 0, finished: 0, panicked: 0 }) };
}

/// Starts a task that nobody waits for. It must end by itself (a closed channel, a shutdown flag): dropping tasks
/// leaks them in this executor, so none is ever cancelled. A panic ends the task, is logged with `name` and counted.
///
/// Panics outside an executor.
pub fn spawn(queue: Queue, name: &'static str, task: impl Future<Output = ()> + 'static) {
    count(|stats| stats.spawned += 1);
    spawn_raw(queue, async move {
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
    });
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

/// Lets the tasks that are ready run first.
pub async fn yield_now() {
    futures_lite::future::yield_now().await;
}

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
