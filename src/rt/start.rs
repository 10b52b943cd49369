//! Starting the shards: one pinned executor a core, tested before any of them runs its main.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use super::blocking::panic_message;
use super::buffer::{BLOCK_BYTES, Buffer};
use super::checks::{StartError, check_io_uring};
use super::disk::{Disk, Open};
use super::executor::{self, enter};
use super::shutdown::{Shutdown, SignalThread, Stage, Stop};
use super::task::{Queue, spawn};

use crate::types::ShardId;

/// How the shards run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directories that every shard must be able to write to, read and sync with direct I/O.
    pub log_dirs: Vec<PathBuf>,
    /// How long a shard without work looks for some before it sleeps. Answers faster (mail between shards in a fifth of
    /// the time), and burns its core meanwhile. Only for shards on a core of their own.
    pub spin: Duration,
    /// Operations a ring takes at once; more wait in memory.
    pub ring_depth: usize,
    pub signals: SignalHandling,
}

/// Who handles SIGTERM and SIGINT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalHandling {
    /// The first stops the shards gracefully, the second the process.
    Stop,
    /// Not the shards.
    Leave,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            log_dirs: Vec::new(),
            spin: Duration::ZERO,
            ring_depth: 512,
            signals: SignalHandling::Stop,
        }
    }
}

/// What a shard's main is given to know itself by.
pub struct Shard {
    pub id: ShardId,
    /// How many shards there are.
    pub count: usize,
    pub shutdown: Shutdown,
    /// Stops all shards.
    pub stop: Stop,
}

/// The running shards.
pub struct Shards {
    handles: Vec<ExecutorJoinHandle<()>>,
    stop: Stop,
    _signals: Option<SignalThread>,
}

/// How many shards this process may well run: the CPUs it is allowed to use, by affinity and by quota.
pub fn cpu_count() -> usize {
    let pinned = core_affinity::get_core_ids().map_or(usize::MAX, |cores| cores.len());
    pinned
        .min(std::thread::available_parallelism().map_or(1, usize::from))
        .max(1)
}

/// Starts one shard for each of `seeds`, which it hands to that shard's `main`.
///
/// - Checks kernel, io_uring and limits, then each shard tests itself on every log directory. Only when all have passed
///   does any `main` run; else nothing does, and the `Err` says what to mend.
/// - With a CPU for every shard, each is pinned to one; else the kernel places them.
/// - A `main` that panics, or an executor that fails, ends the process: half a broker serves nobody.
pub fn start<S, F, R>(options: &Options, seeds: Vec<S>, main: F) -> Result<Shards, StartError>
where
    S: Send + 'static,
    F: Fn(Shard, S) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + 'static,
{
    check_io_uring()?;
    executor::remember_cpus();
    let stop = Stop::default();
    let signals = match options.signals {
        SignalHandling::Stop => Some(SignalThread::start(stop.clone())?),
        SignalHandling::Leave => None,
    };
    let count = seeds.len();
    let cpus = core_affinity::get_core_ids().filter(|cores| cores.len() >= count);
    let (report, reports) = mpsc::channel();
    let mut shards = Shards {
        handles: Vec::with_capacity(count),
        stop: stop.clone(),
        _signals: signals,
    };
    for (index, seed) in seeds.into_iter().enumerate() {
        let id = ShardId(u16::try_from(index).expect("fewer than 65536 shards"));
        let placement = cpus
            .as_ref()
            .map_or(Placement::Unbound, |cpus| Placement::Fixed(cpus[index].id));
        let body = Body {
            id,
            count,
            log_dirs: options.log_dirs.clone(),
            stop: stop.clone(),
            report: report.clone(),
        };
        let main = main.clone();
        let spawned =
            builder(placement, options).spawn(move || body.run(move |shard| main(shard, seed)));
        match spawned {
            Ok(handle) => shards.handles.push(handle),
            Err(error) => return Err(shards.abandon(StartError::Executor(error.to_string()))),
        }
    }
    drop(report);
    for _ in 0..count {
        match reports.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(shards.abandon(error)),
            Err(mpsc::RecvError) => {
                return Err(shards.abandon(StartError::Executor(
                    "a shard ended before it began".to_owned(),
                )));
            }
        }
    }
    stop.raise(Stage::Running);
    Ok(shards)
}

fn builder(placement: Placement, options: &Options) -> LocalExecutorBuilder {
    let builder = executor::builder(placement, options.ring_depth);
    // The executor spins only where it is pinned, whatever it is told.
    if options.spin.is_zero() {
        builder
    } else {
        builder.spin_before_park(options.spin)
    }
}

impl Shards {
    /// A handle to stop them from anywhere.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits until every shard's main has returned.
    pub fn join(self) {
        for handle in self.handles {
            if let Err(error) = handle.join() {
                // A panic has ended the process already; this executor could not even be made.
                die(&format!("a shard failed: {error}"));
            }
        }
    }

    /// Ends the shards that did start, and looks for the better error in those that did not.
    fn abandon(self, error: StartError) -> StartError {
        self.stop.raise(Stage::Abandoned);
        let failures = self
            .handles
            .into_iter()
            .filter_map(|handle| handle.join().err());
        let failures: Vec<String> = failures.map(|failure| failure.to_string()).collect();
        match failures.into_iter().next() {
            Some(failure) if matches!(error, StartError::Executor(_)) => {
                StartError::Executor(failure)
            }
            _ => error,
        }
    }
}

/// What runs on a shard's thread.
struct Body {
    id: ShardId,
    count: usize,
    log_dirs: Vec<PathBuf>,
    stop: Stop,
    report: mpsc::Sender<Result<(), StartError>>,
}

impl Body {
    async fn run<R: Future<Output = ()>>(self, main: impl FnOnce(Shard) -> R) {
        let _inside = match enter().await {
            Ok(inside) => inside,
            // The starter stops listening at the first failure.
            Err(error) => return drop(self.report.send(Err(error))),
        };
        SENTINEL.with(|sentinel| sentinel.armed.set(true));
        let contained = AssertUnwindSafe(self.test_and_run(main))
            .catch_unwind()
            .await;
        if let Err(panic) = contained {
            die(&format!(
                "a shard's main panicked: {}",
                panic_message(&*panic)
            ));
        }
        SENTINEL.with(|sentinel| sentinel.armed.set(false));
    }

    async fn test_and_run<R: Future<Output = ()>>(self, main: impl FnOnce(Shard) -> R) {
        let tested = self.test().await;
        let passed = tested.is_ok();
        // The starter stops listening at the first failure.
        let _ = self.report.send(tested);
        drop(self.report);
        if !passed || self.stop.reached(Stage::Running).await == Stage::Abandoned {
            return;
        }
        let shutdown = Shutdown::default();
        spawn(Queue::Net, "shutdown", {
            let (stop, shutdown) = (self.stop.clone(), shutdown.clone());
            async move {
                stop.reached(Stage::Stopping).await;
                shutdown.request();
            }
        });
        // Boxed, because the executor moves its main future about on the stack.
        Box::pin(main(Shard {
            id: self.id,
            count: self.count,
            shutdown,
            stop: self.stop,
        }))
        .await;
    }

    async fn test(&self) -> Result<(), StartError> {
        for directory in &self.log_dirs {
            let tested = test_directory(directory, self.id).await;
            tested.map_err(|why| StartError::Directory {
                path: directory.clone(),
                why,
            })?;
        }
        Ok(())
    }
}

/// Writes, syncs and reads back one block on this executor, in a file that it then removes.
async fn test_directory(directory: &Path, shard: ShardId) -> Result<(), String> {
    let path = directory.join(format!(".ringlog-selftest-{}-{shard}", std::process::id()));
    let tried = try_block(&path, shard).await;
    let _ = std::fs::remove_file(&path);
    match tried {
        Ok(true) => Ok(()),
        Ok(false) => Err("the block read back is not the block written".to_owned()),
        Err((step, error)) => Err(match error.raw_os_error() {
            Some(libc::EINVAL) if step == "opened" => {
                "its file system does not take direct I/O".to_owned()
            }
            Some(libc::ENOENT | libc::ENOTDIR) => "is not a directory".to_owned(),
            _ => format!("a test file cannot be {step}: {error}"),
        }),
    }
}

async fn try_block(path: &Path, shard: ShardId) -> Result<bool, (&'static str, io::Error)> {
    let file = Disk::Ring
        .open(path, Open::CREATE)
        .await
        .map_err(|error| ("opened", error))?;
    let block = Buffer::copy_of(&[0xA5 ^ shard.0 as u8; BLOCK_BYTES]).freeze();
    file.write(block.clone(), 0)
        .await
        .map_err(|error| ("written", error))?;
    if shard == ShardId(0) {
        // Once is enough, and a sync may cost a journal commit.
        file.datasync().await.map_err(|error| ("synced", error))?;
    }
    let read = file
        .read(0, BLOCK_BYTES)
        .await
        .map_err(|error| ("read", error))?;
    file.close().await.map_err(|error| ("closed", error))?;
    Ok(*read == *block)
}

thread_local! {
    /// Notices that a shard's thread ends while its main has not.
    static SENTINEL: Sentinel = const { Sentinel { armed: Cell::new(false) } };
}

struct Sentinel {
    armed: Cell<bool>,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if self.armed.get() {
            die("a shard's executor failed");
        }
    }
}

/// Ends the process with `status`, wherever it stands: for a shard that has said why it cannot go on.
pub fn exit(status: i32) -> ! {
    SENTINEL.with(|sentinel| sentinel.armed.set(false));
    std::process::exit(status)
}

/// Ends the process at once: what is not on disk was not acknowledged.
fn die(why: &str) -> ! {
    tracing::error!("{why}; the process ends");
    eprintln!("fatal: {why}; the process ends");
    std::process::abort();
}
