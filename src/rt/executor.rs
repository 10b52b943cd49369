//! What every executor of ours is made of and brings along: its queues, its bell, its pulse.
//!
//! The executor has a flaw that all of this is shaped by (0.9.0 and its fork: `run_task_queues` answers "nothing ran" both
//! when no task is runnable and when a completion on its latency ring asks it to look at its rings first; on that answer
//! it sleeps). So a preemption timer that fires between the poll that wakes a task and the task's turn, as it does
//! on a busy machine when the thread loses its CPU there for longer than the timer, puts the shard to sleep with
//! runnable tasks: a request hangs until something unrelated wakes the shard. Hence:
//! - The preemption timer is so long that it does not fire. Tasks that had their share ask for the poll themselves
//!   ([`yield_if_needed`]): a datagram to the shard's own socket completes on the latency ring, and always wakes the task
//!   that waits for it, which keeps the executor from sleeping.
//! - Nothing uses the executor's own cross-thread wakers (see `doorbell`).
//! - A heartbeat bounds what else may come of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use glommio::net::UnixDatagram;
use glommio::{Latency, LocalExecutorBuilder, Placement, PoolPlacement, Shares, TaskQueueHandle};

use super::checks::{StartError, check_io_uring};
use super::sys::Cpus;
use super::task::{Queue, sleep};
use super::{blocking, doorbell};

/// Registered memory of each ring; larger pools gain nothing and are charged to the user's locked memory.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// So long that no thread loses its CPU for that long; shorter than for ever, for tasks that never yield.
const PREEMPT: Duration = Duration::from_secs(1);
/// How long tasks may run before one of them lets the shard look at its rings,
const TURN: Duration = Duration::from_millis(1);
/// and how much they may move through sockets: commits wait for these looks, and whoever drains a backlog fills every turn.
const TURN_BYTES: usize = 512 << 10;
/// An idle shard's only cost: about 100 µs of CPU each.
const HEARTBEAT: Duration = Duration::from_millis(250);

thread_local! {
    static QUEUES: Cell<Option<[TaskQueueHandle; 3]>> = const { Cell::new(None) };
    static PULSE: RefCell<Option<Rc<Pulse>>> = const { RefCell::new(None) };
}

/// An executor's settings, the same for shards and clients but for their place and the depth of the rings.
pub(super) fn builder(placement: Placement, ring_depth: usize) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(placement)
        .name("shard")
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(ring_depth)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
}

/// Runs `main` on an executor of this thread and returns what it gives: for programs that are clients, and tests.
///
/// - Tasks still running when `main` ends are dropped.
/// - `Err`: io_uring is not to be had, or memory cannot be locked.
pub fn run_local<T>(main: impl Future<Output = T>) -> Result<T, StartError> {
    run_local_deep(128, main)
}

/// [`run_local`], with rings that take so many operations at once.
pub fn run_local_deep<T>(
    ring_depth: usize,
    main: impl Future<Output = T>,
) -> Result<T, StartError> {
    check_io_uring()?;
    let made = builder(Placement::Unbound, ring_depth).make();
    let executor = made.map_err(|error| StartError::Executor(error.to_string()))?;
    // Boxed, because the executor moves its main future about on the stack.
    let main = Box::pin(main);
    executor.run(async move {
        let _inside = enter().await?;
        Ok(main.await)
    })
}

/// The CPUs that the process was given, before any of its threads was pinned.
static CPUS: OnceLock<Option<Cpus>> = OnceLock::new();

/// To be called before a thread is pinned.
pub(super) fn remember_cpus() {
    CPUS.get_or_init(|| Cpus::own().ok());
}

/// Lets the calling thread run on all CPUs of the process, though the one that started it is pinned. Where the kernel does not
/// have it, it stays where it is.
pub(super) fn leave_core() {
    if let Some(Some(cpus)) = CPUS.get() {
        let _ = cpus.adopt();
    }
}

/// Whether this thread is running an executor of ours.
pub(super) fn is_inside() -> bool {
    QUEUES.get().is_some()
}

/// Starts a task of this executor's; it must contain its panics itself. Panics outside an executor.
pub(super) fn spawn_raw(queue: Queue, task: impl Future<Output = ()> + 'static) {
    let queues = QUEUES.get().expect("tasks are spawned inside an executor");
    let spawned = glommio::spawn_local_into(task, queues[queue as usize]);
    spawned
        .expect("the queue was created with the executor")
        .detach();
}

/// Makes the running executor one of ours until the guard drops, at the end of its main future.
pub(super) async fn enter() -> Result<Inside, StartError> {
    let failed = |error: std::io::Error| StartError::Executor(error.to_string());
    let queue = |shares, name| {
        glommio::executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
    };
    QUEUES.set(Some([
        queue(1000, "net"),
        queue(500, "storage"),
        queue(50, "background"),
    ]));
    let inside = Inside;
    spawn_raw(Queue::Net, doorbell::hang_up().map_err(failed)?);
    let datagrams = || UnixDatagram::pair().map_err(|error| failed(error.into()));
    let ((even, even_end), (odd, odd_end)) = (datagrams()?, datagrams()?);
    let pulse = Rc::new(Pulse {
        began: Cell::new(Instant::now()),
        moved_bytes: Cell::new(0),
        asked: Cell::new(false),
        next: Cell::new(0),
        senders: [even, odd],
    });
    PULSE.set(Some(pulse.clone()));
    spawn_raw(Queue::Net, pulse.clone().answer(even_end));
    spawn_raw(Queue::Net, pulse.answer(odd_end));
    spawn_raw(Queue::Background, async {
        loop {
            sleep(HEARTBEAT).await;
        }
    });
    // The tasks above begin to wait, and the executor submits what they wait for, before anyone else runs. It also is the
    // process's first sleep, which comes 11 to 50 ms late.
    sleep(Duration::from_micros(1)).await;
    Ok(inside)
}

pub(super) struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        QUEUES.set(None);
        drop(PULSE.take());
        doorbell::take_down();
        blocking::dismiss();
    }
}

/// Lets the shard look at its rings, and other tasks run, if tasks have run for a millisecond or moved half a megabyte; a
/// clock reading (25 ns) if not. Loops call it once a step; reading and writing a [`super::Socket`] does it by itself.
/// Outside an executor it does nothing.
pub async fn yield_if_needed() {
    if turn_is_over() {
        // The whole queue steps back, not this task alone: what answers the pulse waits in another queue perhaps.
        glommio::executor().yield_task_queue_now().await;
    }
}

/// As [`yield_if_needed`], for hand-written futures: `Pending` has woken the task already.
pub(super) fn poll_turn(context: &mut Context<'_>) -> Poll<()> {
    if !turn_is_over() {
        return Poll::Ready(());
    }
    let executor = glommio::executor();
    std::pin::pin!(executor.yield_task_queue_now()).poll(context)
}

/// A socket of this shard took or gave so many bytes.
pub(super) fn note_moved(bytes: usize) {
    PULSE.with_borrow(|pulse| {
        if let Some(pulse) = pulse {
            pulse.moved_bytes.set(pulse.moved_bytes.get() + bytes);
        }
    });
}

/// Whether the turn of this shard's tasks is over: they ran for long, or moved much, since it looked at its rings. If so it
/// is asked to look.
fn turn_is_over() -> bool {
    PULSE.with_borrow(|pulse| pulse.as_ref().is_some_and(|pulse| pulse.turn_is_over()))
}

/// Makes the executor look at its rings while tasks are runnable.
///
/// Two sockets take turns: the receive that answers a poll is submitted only at the next one, so the next one must be
/// asked for through the other.
struct Pulse {
    /// The first time anyone asked since the executor last looked.
    began: Cell<Instant>,
    /// Through sockets since then.
    moved_bytes: Cell<usize>,
    /// A datagram is on its way.
    asked: Cell<bool>,
    next: Cell<usize>,
    senders: [UnixDatagram; 2],
}

impl Pulse {
    fn turn_is_over(&self) -> bool {
        let now = Instant::now();
        // Taking the executor's statistics resets them, and it adds to this one once a look at its rings.
        if !glommio::executor()
            .executor_stats()
            .total_runtime()
            .is_zero()
        {
            self.began.set(now);
            self.moved_bytes.set(0);
            return false;
        }
        let over =
            now.duration_since(self.began.get()) >= TURN || self.moved_bytes.get() >= TURN_BYTES;
        if over {
            self.ask_for_look();
        }
        over
    }

    fn ask_for_look(&self) {
        if self.asked.replace(true) {
            return;
        }
        let next = self.next.get();
        self.next.set(1 - next);
        // One byte into an empty socket: sent at the first poll. If not, this turn is long, no more.
        let sending = std::pin::pin!(self.senders[next].send(&[0]));
        if !matches!(
            sending.poll(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Ok(_))
        ) {
            self.asked.set(false);
        }
    }

    async fn answer(self: Rc<Self>, receiver: UnixDatagram) {
        let mut byte = [0];
        // Fails only when the sender is gone, with the executor.
        while receiver.recv(&mut byte).await.is_ok() {
            self.asked.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_when_much_was_moved() {
        run_local(async {
            let began = Instant::now();
            assert!(!turn_is_over(), "whoever asks first begins the turn");
            note_moved(TURN_BYTES - 1);
            // A test machine may be slower than the turn is long.
            assert!(!turn_is_over() || began.elapsed() >= TURN / 2);
            note_moved(1);
            assert!(turn_is_over());
            sleep(Duration::from_millis(1)).await;
            let is_over = (0..100).all(|_| turn_is_over());
            assert!(
                !is_over,
                "the count begins anew with each look at the rings"
            );
        })
        .unwrap();
    }
}
