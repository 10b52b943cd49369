//! The runtime's only door: executors, tasks, files, sockets, clocks, mail between shards. No other room names the
//! executor.
//!
//! **Path.** The kernel before it; here bytes become [`Page`]s and [`Socket`]s, futures become tasks of one pinned core,
//! and a message goes from one core to another; every shell room after it. Uses `types` only.
//!
//! **Invariants.** A task is detached and ends by itself; a panic ends that task and is counted. Memory that was
//! published (a [`Slice`], a [`Page`]) is never written again, and the page written is the page cached; lent to another
//! shard, it is released at home. Nobody waits to send mail, so no two shards can wait for each other. Every disk
//! operation exists twice, on the ring and on a simulated disk, behind one `enum`.
//!
//! **Faults survived.** The executor's own defects, each with a test or a start-up check: a shard that sleeps while tasks
//! are runnable (`executor`), reads that fail for ever after an empty file was opened first ([`Disk::open`]), panics that
//! kill the core or hang the waiter ([`spawn`], [`blocking()`]), a port shared with strangers ([`BoundListener`]), vectored
//! writes that send one slice ([`Socket::write_vectored`]), lengths asked of a path that was renamed ([`File::len`]),
//! uninitialised memory on its way to the disk ([`AppendBuffer::seal`]). A kernel without io_uring, too little lockable
//! memory and unusable directories are refused in words before any shard runs ([`start()`]).
//!
//! **Not obvious.** The executor logs through the `log` crate; we do not bridge it to `tracing`, because its lines are
//! noise (the probe of a device says "error" when all is well). Dropping an unfinished task leaks it: never race a task,
//! race plain futures. Never wake a shard from another thread by a task's waker: use mail, a [`door()`], [`blocking()`] or [`Stop`]. Each
//! executor that ends leaks a few descriptors, so tests make few. Network data does not travel through io_uring but by
//! plain system calls; file data does. Sockets yield by themselves; other long loops call [`yield_if_needed`], or the shard
//! does not see its rings for a second.

mod allocator;
mod blocking;
mod buffer;
mod checks;
mod clock;
mod dir_lock;
mod disk;
mod door;
mod doorbell;
mod executor;
mod foreign;
mod listener;
mod logging;
mod mailbox;
mod memory_gate;
mod notify;
pub mod procfs;
mod ring_file;
mod shutdown;
mod sim_disk;
mod sim_image;
mod socket;
mod start;
mod sys;
mod task;
mod unnamed;
mod wheel;

pub use allocator::Allocator;
pub use blocking::{Panicked, blocking};
pub use buffer::{AppendBuffer, BLOCK_BYTES, Buffer, Page, Slice, block_ceil, block_floor};
pub use checks::{StartError, check_io_uring, open_files_max};
pub use clock::{Clock, SimClock};
pub use dir_lock::DirLock;
pub use disk::{Disk, Entry, File, Open};
pub use door::{Door, DoorFull, DoorKeeper, door};
pub use executor::{run_local, run_local_deep, yield_if_needed};
pub use foreign::Foreign;
pub use listener::{BoundListener, ListenOptions, Listener, resolve};
pub use logging::{
    LinesLost, LogGuard, LogLines, NoLogger, lines_lost, logger_levels, set_logger_level, start_log,
};
pub use mailbox::{Inbox, Mailbox, Seat, mesh};
pub use memory_gate::{MemoryGate, Reservation};
pub use notify::{Closed, Notified, Notify, Receiver, Sender, Signal, oneshot};
pub use ring_file::RingFile;
pub use shutdown::{Shutdown, Stop};
pub use sim_disk::{Faulty, SimDisk, SimFile};
pub use socket::{READ_BYTES, RawAccepted, Socket, connect, connect_host};
pub use start::{Options, Shard, Shards, SignalHandling, cpu_count, exit, start};
pub use sys::{Space, space};
pub use task::{Elapsed, Queue, TaskStats, sleep, spawn, task_stats, timeout, yield_now};
pub use unnamed::Unnamed;
pub use wheel::{TimerKey, Wheel};
