//! A run from its plan to its report: threads, start, measured part, end.

use std::cell::RefCell;
use std::fmt;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use crate::client::{AutoCreate, ClientError, Cluster, Mode, NewTopic, Topic};
use crate::protocol::ErrorCode;
use crate::rt::{self, StartError};
use crate::types::Prng;

use super::control::Control;
use super::cpu;
use super::generator::Generator;
use super::plan::{Consume, Pace, Plan, Wire};
use super::report::{Consumed, Percentiles, Report};
use super::tail::tail;
use super::tally::{Tally, Window};
use super::target::Target;

/// Why a run did not come to a report.
#[derive(Clone, PartialEq, Debug)]
pub enum LoadError {
    /// The plan cannot be carried out by anyone.
    Plan(String),
    /// Some worker could not go on.
    Client(ClientError),
    /// No executor can be started here.
    Start(String),
    /// A thread died: a defect of this program.
    Worker(String),
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub phase: Phase,
    /// Since the start of the phase, and its length as planned.
    pub elapsed: Duration,
    pub length: Duration,
    /// Records acknowledged, and those failed, since the start of the run.
    pub acked: u64,
    pub errors: u64,
    pub consumed: u64,
}

/// The parts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Connecting,
    WarmUp,
    Measured,
    Drain,
}

type Worker = JoinHandle<Result<Tally, LoadError>>;

/// Carries out a plan; `on_progress` is called about five times a second.
///
/// Blocks the calling thread, which must not run an executor.
pub fn run(plan: Plan, on_progress: &mut dyn FnMut(Progress)) -> Result<Report, LoadError> {
    if let Some(fault) = plan.fault() {
        return Err(LoadError::Plan(fault));
    }
    let plan = Arc::new(plan);
    let topic = rt::run_local(prepare(&plan))??;
    let control = Arc::new(Control::new(plan.warm_up, plan.duration, plan.producers));
    let seed = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let run = Prng::new(seed).next_u64();

    let producers: Vec<Worker> = (0..plan.threads)
        .map(|thread| spawn_producers(&plan, &control, &topic, run, thread))
        .collect();
    let consumer = (plan.consume == Consume::Yes).then(|| spawn_consumer(&plan, &control, run));
    let workers = || producers.iter().chain(&consumer);
    let ready = plan.producers + consumer.iter().len();
    while control.workers_ready() < ready && !workers().any(JoinHandle::is_finished) {
        on_progress(progress(
            &control,
            Phase::Connecting,
            Duration::ZERO,
            Duration::ZERO,
        ));
        thread::sleep(Duration::from_millis(5));
    }
    let window = control.begin();
    let pid = plan.broker_pid.or_else(|| broker_pid(&plan.bootstrap));
    let cpu = watch(
        &control,
        window,
        pid,
        &mut || workers().all(JoinHandle::is_finished),
        on_progress,
    );

    let mut tally = Tally::new(window);
    let mut first_error = None;
    for worker in producers {
        match joined(worker) {
            Ok(own) => tally.merge(&own),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    let consumed = match consumer.map(joined) {
        Some(Ok(own)) => Some(Consumed::of(&own, window, tally.records_ever)),
        Some(Err(error)) => {
            first_error.get_or_insert(error);
            None
        }
        None => None,
    };
    match first_error {
        Some(error) => Err(error),
        None => Ok(report(&plan, &topic, window, &tally, consumed, cpu)),
    }
}

/// Finds the topic, or creates it as planned.
async fn prepare(plan: &Plan) -> Result<Topic, ClientError> {
    let cluster = Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await?;
    match cluster.learn(&plan.topic, AutoCreate::Forbid).await {
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
        found => return found,
    }
    let topic = NewTopic {
        name: plan.topic.clone(),
        partitions: Some(plan.partitions),
        ..Default::default()
    };
    match cluster.create_topic(&topic, Mode::Do).await {
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
        created => drop(created?),
    }
    // Until every partition has a leader there is nothing to connect to.
    cluster
        .retry(async || {
            let topic = cluster.learn(&plan.topic, AutoCreate::Allow).await?;
            for partition in &topic.partitions {
                topic.leader(partition.index)?;
            }
            Ok(topic)
        })
        .await
}

/// A thread with an executor that runs every producer whose number is `thread` modulo the threads.
fn spawn_producers(
    plan: &Arc<Plan>,
    control: &Arc<Control>,
    topic: &Topic,
    run: u64,
    thread: usize,
) -> Worker {
    let (plan, control) = (plan.clone(), control.clone());
    let name = plan.topic.clone();
    let partitions = topic.partitions.len();
    thread::spawn(move || {
        let tally = rt::run_local(produce(
            plan,
            control.clone(),
            name,
            partitions,
            run,
            thread,
        ))?;
        if tally.is_err() {
            control.stop();
        }
        tally
    })
}

async fn produce(
    plan: Arc<Plan>,
    control: Arc<Control>,
    name: String,
    partitions: usize,
    run: u64,
    thread: usize,
) -> Result<Tally, LoadError> {
    let target = Target::open(&plan, &name).await?;
    if target.partitions_count() != partitions {
        return Err(LoadError::Plan(format!(
            "topic {name} changes while it is used"
        )));
    }
    let mut generators = Vec::new();
    for index in (thread..plan.producers).step_by(plan.threads) {
        let opening = Generator::open(plan.clone(), control.clone(), &target, run, index);
        generators.push(opening.await?);
    }
    let count = generators.len();
    let tallies: Rc<RefCell<Vec<Tally>>> = Rc::default();
    for generator in generators {
        let (tallies, control) = (tallies.clone(), control.clone());
        rt::spawn(rt::Queue::Net, "load producer", async move {
            control.worker_ready();
            let tally = generator.run().await;
            tallies.borrow_mut().push(tally);
            control.producer_ended();
        });
    }
    while tallies.borrow().len() < count {
        if rt::task_stats().panicked > 0 {
            return Err(LoadError::Worker("a producer panicked".to_owned()));
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    let mut tallies = tallies.take().into_iter();
    let mut merged = tallies.next().expect("a thread has at least one producer");
    tallies.for_each(|tally| merged.merge(&tally));
    Ok(merged)
}

fn spawn_consumer(plan: &Arc<Plan>, control: &Arc<Control>, run: u64) -> Worker {
    let (plan, control) = (plan.clone(), control.clone());
    thread::spawn(move || {
        let tally = rt::run_local(async { tail(&plan, &control, run).await })?;
        if tally.is_err() {
            control.stop();
        }
        Ok(tally?)
    })
}

fn joined(worker: Worker) -> Result<Tally, LoadError> {
    worker
        .join()
        .unwrap_or_else(|_| Err(LoadError::Worker("a worker's thread panicked".to_owned())))
}

/// Processor seconds in the measured part.
struct Cpu {
    client_seconds: f64,
    broker_pid: Option<u32>,
    broker_seconds: Option<f64>,
}

/// Tells the progress until `is_done`, and measures processor time over the window.
fn watch(
    control: &Control,
    window: Window,
    pid: Option<u32>,
    is_done: &mut dyn FnMut() -> bool,
    on_progress: &mut dyn FnMut(Progress),
) -> Cpu {
    let sample = || (cpu::own_seconds(), pid.and_then(cpu::process_seconds));
    let (mut at_start, mut at_end) = (None, None);
    while !is_done() {
        let now_ns = control.now_ns();
        if now_ns >= window.start_ns && at_start.is_none() {
            at_start = Some(sample());
        }
        if now_ns >= window.end_ns && at_end.is_none() {
            at_end = Some(sample());
        }
        let warm_up_start = window.start_ns - control.warm_up().as_nanos() as u64;
        let (phase, since, length) = match now_ns {
            now if now < window.start_ns => (Phase::WarmUp, warm_up_start, control.warm_up()),
            now if now < window.end_ns => (Phase::Measured, window.start_ns, control.duration()),
            _ => (Phase::Drain, window.end_ns, Duration::ZERO),
        };
        let elapsed = Duration::from_nanos(now_ns.saturating_sub(since));
        on_progress(progress(control, phase, elapsed, length));
        let next_ns = [window.start_ns, window.end_ns]
            .into_iter()
            .find(|&ns| ns > now_ns);
        let wait = next_ns.map_or(TICK, |ns| Duration::from_nanos(ns - now_ns));
        thread::sleep(wait.min(TICK).max(Duration::from_micros(100)));
    }
    let (start, end) = (
        at_start.unwrap_or_else(sample),
        at_end.unwrap_or_else(sample),
    );
    Cpu {
        client_seconds: end.0 - start.0,
        broker_pid: pid,
        broker_seconds: start.1.zip(end.1).map(|(start, end)| end - start),
    }
}

fn progress(control: &Control, phase: Phase, elapsed: Duration, length: Duration) -> Progress {
    Progress {
        phase,
        elapsed,
        length,
        acked: control.acked(),
        errors: control.errors(),
        consumed: control.consumed(),
    }
}

/// The process behind the first bootstrap address, if it is on this machine.
fn broker_pid(bootstrap: &[String]) -> Option<u32> {
    let address = bootstrap.first()?.to_socket_addrs().ok()?.next()?;
    if !cpu::is_local(address) {
        return None;
    }
    cpu::listener_pid(address)
}

fn report(
    plan: &Plan,
    topic: &Topic,
    window: Window,
    tally: &Tally,
    consumed: Option<Consumed>,
    cpu: Cpu,
) -> Report {
    let seconds = window.seconds();
    let records_per_second = tally.records as f64 / seconds;
    let client_cpu_cores = cpu.client_seconds / seconds;
    let rate_asked = match plan.pace {
        Pace::Rate(rate) => Some(rate),
        Pace::Maximum => None,
    };
    let threads = plan.threads + usize::from(plan.consume == Consume::Yes);
    let broker_rate = cpu.broker_seconds.filter(|&seconds| seconds > 0.0);
    Report {
        topic: plan.topic.clone(),
        wire: match plan.wire {
            Wire::Kafka => "kafka",
            Wire::Native { .. } => "native",
        },
        partitions: topic.partitions.len(),
        loop_kind: if rate_asked.is_some() {
            "open"
        } else {
            "closed"
        },
        rate_asked,
        record_bytes: plan.record_bytes,
        batch_bytes: plan.batch_bytes,
        acks: match plan.acks.code() {
            -1 => "all".to_owned(),
            code => code.to_string(),
        },
        codec: plan.codec.to_string(),
        producers: plan.producers,
        connections: plan.connections,
        window: plan.window,
        seconds,
        records: tally.records,
        records_per_second,
        mb_per_second: tally.bytes as f64 / 1e6 / seconds,
        latency_ms: Percentiles::of(&tally.latency_us),
        consumed,
        errors: tally.errors_total(),
        errors_by_reason: tally.errors.clone(),
        client_cpu_seconds: cpu.client_seconds,
        client_cpu_cores,
        broker_pid: cpu.broker_pid,
        broker_cpu_seconds: cpu.broker_seconds,
        records_per_broker_cpu_second: broker_rate.map(|s| tally.records as f64 / s),
        limited_by: limit(
            rate_asked,
            records_per_second,
            client_cpu_cores / threads as f64,
        ),
    }
}

/// What kept the figures down, as far as this program can see.
fn limit(rate_asked: Option<f64>, rate: f64, busy: f64) -> Option<String> {
    if busy > 0.9 {
        return Some(format!(
            "this program: its threads were busy {:.0} % of the time (see --threads)",
            busy * 100.0
        ));
    }
    let asked = rate_asked.filter(|&asked| rate < 0.98 * asked)?;
    Some(format!(
        "the broker or the way to it: {:.0} % of the rate asked",
        rate / asked * 100.0
    ))
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Plan(why) | LoadError::Start(why) | LoadError::Worker(why) => {
                f.write_str(why)
            }
            LoadError::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<ClientError> for LoadError {
    fn from(error: ClientError) -> LoadError {
        LoadError::Client(error)
    }
}

impl From<StartError> for LoadError {
    fn from(error: StartError) -> LoadError {
        LoadError::Start(error.to_string())
    }
}

const TICK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_only_where_there_is_one() {
        assert_eq!(limit(None, 1e6, 0.5), None);
        assert_eq!(limit(Some(1e6), 0.99e6, 0.5), None);
        assert!(limit(Some(1e6), 0.5e6, 0.5).unwrap().contains("50 %"));
        assert!(limit(None, 1e6, 0.97).unwrap().contains("this program"));
    }
}
