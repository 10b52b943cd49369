//! The threads of a run: producers, readers, idle connections.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::rt;

use super::audience::{Audience, Part};
use super::check::Ledger;
use super::control::Control;
use super::cpu;
use super::generator::{Generator, Shared};
use super::idle::{self, IdleFound};
use super::leaders::Leaders;
use super::reader;
use super::run::LoadError;
use super::tally::{SharedTally, Tally};
use super::target::Target;

/// What a producer knows of its own work, beside what the tally has.
pub struct Worked {
    pub ledger: Ledger,
    /// Of the backlog.
    pub backlog_records: u64,
    pub failed_records: u64,
    /// Microseconds by which records were made later than planned, because the producer itself was late.
    late_us: Histogram<u64>,
}

/// What a thread comes back with, and the part of one core that it used in the measured part.
pub struct Done<T> {
    pub found: T,
    pub busy: f64,
}

pub type Thread<T> = JoinHandle<Result<Done<T>, LoadError>>;

/// What became of one generator.
type Outcome = Result<(Tally, Worked), LoadError>;

impl Default for Worked {
    fn default() -> Worked {
        Worked {
            ledger: Ledger::new(),
            backlog_records: 0,
            failed_records: 0,
            late_us: Histogram::new_with_bounds(1, LATE_US_MAX, 2)
                .expect("1 µs to a minute with two digits is a valid histogram"),
        }
    }
}

impl Worked {
    /// `count` records were made `late_ns` after their turn was planned.
    pub fn late(&mut self, late_ns: u64, count: u64) {
        let us = (late_ns / 1000).clamp(1, LATE_US_MAX);
        self.late_us.saturating_record_n(us, count);
    }

    /// The lateness that one record in a hundred exceeds, in milliseconds; `None` in the closed loop.
    pub fn late_p99_ms(&self) -> Option<f64> {
        (!self.late_us.is_empty()).then(|| self.late_us.value_at_quantile(0.99) as f64 / 1e3)
    }

    pub fn merge(&mut self, other: Worked) {
        self.ledger.extend(other.ledger);
        self.backlog_records += other.backlog_records;
        self.failed_records += other.failed_records;
        let added = self.late_us.add(other.late_us);
        added.expect("all have the same bounds");
    }
}

/// A thread with an executor that runs every producer whose number is `thread` modulo the threads.
pub fn spawn_producers(shared: &Arc<Shared>, thread: usize) -> Thread<(Tally, Worked)> {
    let own = shared.clone();
    spawn(shared, move || {
        rt::run_local(measured(own.clone(), produce(own, thread)))?
    })
}

/// A thread with every reader whose number is `thread` modulo the threads for readers.
pub fn spawn_readers(
    shared: &Arc<Shared>,
    audiences: &Arc<Vec<Audience>>,
    thread: usize,
) -> Thread<Vec<Part>> {
    let (own, audiences) = (shared.clone(), audiences.clone());
    spawn(shared, move || {
        let reading = reader::read(own.clone(), audiences, thread);
        rt::run_local(measured(own, reading))?
    })
}

/// A thread with all idle connections.
pub fn spawn_idle(shared: &Arc<Shared>) -> Thread<IdleFound> {
    let own = shared.clone();
    spawn(shared, move || {
        rt::run_local(measured(own.clone(), idle::keep(own)))?
    })
}

fn spawn<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce() -> Result<Done<T>, LoadError> + Send + 'static,
) -> Thread<T> {
    let control = shared.control.clone();
    thread::spawn(move || {
        let found = work();
        if found.is_err() {
            control.stop();
        }
        found
    })
}

/// The result of a thread.
pub fn joined<T>(thread: Thread<T>) -> Result<Done<T>, LoadError> {
    thread
        .join()
        .unwrap_or_else(|_| Err(LoadError::Worker("a worker's thread panicked".to_owned())))
}

/// Does `work` and measures how busy this thread is in the measured part of the run.
async fn measured<T>(
    shared: Arc<Shared>,
    work: impl Future<Output = Result<T, LoadError>>,
) -> Result<Done<T>, LoadError> {
    let busy = Rc::new(RefCell::new(0.0));
    let (control, into) = (shared.control.clone(), busy.clone());
    rt::spawn(rt::Queue::Net, "load processor time", async move {
        *into.borrow_mut() = busy_in_window(&control).await;
    });
    let found = work.await?;
    let busy = *busy.borrow();
    Ok(Done { found, busy })
}

/// The part of a core that this thread uses between the start and the end of the measured part.
async fn busy_in_window(control: &Control) -> f64 {
    let (_, window) = loop {
        match control.begun() {
            Some(begun) => break begun,
            None if control.is_stopped() => return 0.0,
            None => rt::sleep(Duration::from_millis(5)).await,
        }
    };
    let until = |ns: u64| Duration::from_nanos(ns.saturating_sub(control.now_ns()));
    rt::sleep(until(window.start_ns)).await;
    let (start_ns, before) = (control.now_ns(), cpu::own_thread_seconds());
    rt::sleep(until(window.end_ns)).await;
    let seconds = (control.now_ns() - start_ns) as f64 / 1e9;
    match seconds > 0.0 {
        true => (cpu::own_thread_seconds() - before) / seconds,
        false => 0.0,
    }
}

async fn produce(shared: Arc<Shared>, thread: usize) -> Outcome {
    let plan = shared.plan.clone();
    let leaders = Leaders::new(Target::open(&plan, &shared.layout).await?);
    let mut generators = Vec::new();
    for index in (thread..plan.producers).step_by(plan.threads) {
        generators.push(Generator::open(shared.clone(), leaders.clone(), index).await?);
    }
    // A backlog is built when the readers know where it begins.
    while !shared.control.are_readers_ready() {
        if shared.control.is_stopped() {
            break;
        }
        rt::sleep(Duration::from_millis(1)).await;
    }
    let count = generators.len();
    let tally: Rc<OnceCell<SharedTally>> = Rc::default();
    let ended: Rc<RefCell<Vec<Result<Generator, LoadError>>>> = Rc::default();
    for mut generator in generators {
        let (tally, ended, shared) = (tally.clone(), ended.clone(), shared.clone());
        rt::spawn(rt::Queue::Net, "load producer", async move {
            let built = match shared.plan.backlog_bytes() {
                0 => Ok(()),
                _ => generator.build_backlog().await,
            };
            generator.prepare();
            shared.control.worker_ready();
            let result = match built {
                Ok(()) => generator.run(&tally).await,
                Err(error) => Err(error),
            };
            if result.is_err() {
                shared.control.stop();
            }
            ended.borrow_mut().push(result.map(|()| generator));
            shared.control.producer_ended();
        });
    }
    while ended.borrow().len() < count {
        if rt::task_stats().panicked > 0 {
            return Err(LoadError::Worker("a producer panicked".to_owned()));
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    // What each has made is gathered when none waits for an answer any more: with many partitions it takes its time.
    let mut worked = Worked::default();
    for generator in ended.take() {
        worked.merge(generator?.end());
    }
    let tally = Rc::into_inner(tally)
        .expect("the producers have ended")
        .into_inner()
        .expect("a producer that has ended well saw the start");
    Ok((tally.into_inner(), worked))
}

/// A record that is made later than this is as late as this.
const LATE_US_MAX: u64 = 60_000_000;
