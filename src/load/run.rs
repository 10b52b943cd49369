//! A run from its plan to its report: threads, start, measured part, end.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::{AutoCreate, ClientError, Cluster, Mode, NewTopic, Topic};
use crate::protocol::ErrorCode;
use crate::rt::{self, StartError};
use crate::types::Prng;

use super::control::{Control, Stream};
use super::generator::Generator;
use super::observe::Observer;
use super::plan::{Consume, Plan};
use super::report::{Found, Percentiles, Report};
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
    /// What shall be looked at beside the records cannot be.
    Observe(String),
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
    /// Of the newest interval of the time line that is over.
    pub latency_ms: Option<Percentiles>,
    pub end_to_end_ms: Option<Percentiles>,
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
    let observer =
        Observer::new(plan.observe.clone(), &plan.bootstrap).map_err(LoadError::Observe)?;
    let topic = rt::run_local(prepare(&plan))??;
    let interval = plan.observe.interval(plan.duration);
    let control = Arc::new(Control::new(
        plan.warm_up,
        plan.duration,
        plan.producers,
        interval,
    ));
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
    let began =
        SystemTime::now() + Duration::from_nanos(window.start_ns.saturating_sub(control.now_ns()));
    let observing = observer.begin(&control, window);
    let mut is_done = || workers().all(JoinHandle::is_finished);
    watch(&control, window, &mut is_done, on_progress);

    let mut tally = control.tally(window, Stream::Produced);
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
        Some(Ok(own)) => Some(own),
        Some(Err(error)) => {
            first_error.get_or_insert(error);
            None
        }
        None => None,
    };
    let observed = observing.end();
    match first_error {
        Some(error) => Err(error),
        None => Ok(Report::of(
            &plan,
            Found {
                partitions: topic.partitions.len(),
                began,
                window,
                produced: tally,
                consumed,
                produced_pauses: control.pauses(Stream::Produced).all(window),
                consumed_pauses: control.pauses(Stream::Consumed).all(window),
                observed,
            },
        )),
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

/// Tells the progress until `is_done`.
fn watch(
    control: &Control,
    window: Window,
    is_done: &mut dyn FnMut() -> bool,
    on_progress: &mut dyn FnMut(Progress),
) {
    while !is_done() {
        let now_ns = control.now_ns();
        let warm_up_start = window.start_ns - control.warm_up().as_nanos() as u64;
        let (phase, since, length) = match now_ns {
            now if now < window.start_ns => (Phase::WarmUp, warm_up_start, control.warm_up()),
            now if now < window.end_ns => (Phase::Measured, window.start_ns, control.duration()),
            _ => (Phase::Drain, window.end_ns, Duration::ZERO),
        };
        let elapsed = Duration::from_nanos(now_ns.saturating_sub(since));
        on_progress(progress(control, phase, elapsed, length));
        thread::sleep(TICK);
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
        latency_ms: control.live(Stream::Produced).percentiles(),
        end_to_end_ms: control.live(Stream::Consumed).percentiles(),
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Plan(why)
            | LoadError::Observe(why)
            | LoadError::Start(why)
            | LoadError::Worker(why) => f.write_str(why),
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
