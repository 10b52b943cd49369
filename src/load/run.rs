//! A run from its plan to its report: threads, start, measured part, end.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::{Acks, AutoCreate, ClientError, Cluster, Mode, NewTopic, Resource, Topic};
use crate::protocol::ErrorCode;
use crate::rt::{self, StartError};
use crate::types::Prng;

use super::audience::{Audience, Drained, Heard, Part};
use super::check::{Ledger, Verdict};
use super::control::{Control, Stream};
use super::descriptors::descriptors_suffice;
use super::generator::{Shared, stopped};
use super::idle::{IdleFound, IdleReport};
use super::limit::Effort;
use super::observe::Observer;
use super::pause::Services;
use super::plan::{AtEnd, Pace, Plan};
use super::reader::{self, group_name};
use super::report::{Found, Percentiles, Report};
use super::schedule::Curve;
use super::settings::TopicFound;
use super::tally::{Tally, Window};
use super::target::Layout;
use super::worker::{Thread, Worked, joined, spawn_idle, spawn_producers, spawn_readers};

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

/// The threads of a run.
struct Threads {
    producers: Vec<Thread<(Tally, Worked)>>,
    readers: Vec<Thread<Vec<Part>>>,
    audiences: Arc<Vec<Audience>>,
    idle: Option<Thread<IdleFound>>,
}

/// What all of them came back with.
struct Results {
    produced: Tally,
    worked: Worked,
    heard: Vec<Heard>,
    idle: Option<IdleFound>,
    busiest_thread: f64,
}

/// Carries out a plan; `on_progress` is called about five times a second.
///
/// Blocks the calling thread, which must not run an executor.
pub fn run(plan: Plan, on_progress: &mut dyn FnMut(Progress)) -> Result<Report, LoadError> {
    if let Some(fault) = plan.fault() {
        return Err(LoadError::Plan(fault));
    }
    descriptors_suffice(&plan)?;
    let plan = Arc::new(plan);
    let observer =
        Observer::new(plan.observe.clone(), &plan.bootstrap).map_err(LoadError::Observe)?;
    let prepared = rt::run_local(prepare(&plan))??;
    let interval = plan.observe.interval(plan.duration);
    let (warm_up, duration) = (plan.warm_up, plan.duration);
    let reader_threads = plan.consume.as_ref().map_or(0, |consume| {
        reader::threads(consume, &prepared.reading.topics)
    });
    let seed = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let shared = Arc::new(Shared {
        services: Services::new(prepared.layout.partitions_count()),
        layout: Arc::new(prepared.layout),
        reading: Arc::new(prepared.reading),
        control: Arc::new(Control::new(
            warm_up,
            duration,
            plan.producers,
            reader_threads,
            interval,
        )),
        curve: match &plan.pace {
            Pace::Open { shape, .. } => Some(Arc::new(Curve::new(shape, warm_up, duration))),
            Pace::Maximum | Pace::Silent => None,
        },
        run: Prng::new(seed).next_u64(),
        plan: plan.clone(),
    });
    let outcome = carry_out(&shared, prepared.first, observer, on_progress);
    let swept = rt::run_local(sweep(&shared, &prepared.created))?;
    let report = outcome?;
    swept?;
    Ok(report)
}

/// The run between its preparation and its cleaning up.
fn carry_out(
    shared: &Arc<Shared>,
    topic: TopicFound,
    observer: Observer,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Report, LoadError> {
    let (plan, control) = (&shared.plan, &shared.control);
    let threads = Threads::spawn(shared);
    while control.workers_ready() < threads.workers(plan) && !threads.is_any_over() {
        on_progress(progress(
            control,
            Phase::Connecting,
            Duration::ZERO,
            Duration::ZERO,
        ));
        thread::sleep(Duration::from_millis(5));
    }
    let window = control.begin();
    let began =
        SystemTime::now() + Duration::from_nanos(window.start_ns.saturating_sub(control.now_ns()));
    let observing = observer.begin(control, window);
    // Idle partitions need nobody to be there: the time is what they are held for.
    let is_held = || {
        let is_early = control.now_ns() < window.end_ns && !control.is_stopped();
        plan.idle_partitions.is_some() && is_early
    };
    let mut is_done = || threads.are_all_over() && !is_held();
    watch(control, window, &mut is_done, on_progress);
    let results = threads.join(control, window);
    let observed = observing.end();
    let Results {
        produced,
        worked,
        mut heard,
        idle,
        busiest_thread,
    } = results?;
    let begun_ns = window.start_ns - warm_up_ns(plan);
    let acked = match plan.acks {
        Acks::None => 0,
        Acks::Leader | Acks::All => control.acked(),
    };
    let judged = judge(&mut heard, &worked.ledger, acked, window);
    let is_drain = plan.backlog_bytes() > 0 || plan.is_cold();
    let drained = is_drain.then(|| Drained::of(&heard, begun_ns));
    let consumed = heard.into_iter().map(|heard| heard.part.tally);
    let consumed = consumed.reduce(|mut all, own| {
        all.merge(&own);
        all
    });
    Ok(Report::of(
        plan,
        Found {
            layout: shared.layout.clone(),
            topic,
            began,
            window,
            produced,
            consumed,
            produced_pauses: control.pauses(Stream::Produced).all(window),
            partition_pauses: shared.services.all(window),
            consumed_pauses: control.pauses(Stream::Consumed).all(window),
            observed,
            effort: Effort {
                busiest_thread,
                late_p99_ms: worked.late_p99_ms(),
            },
            check: judged.check,
            missing: judged.missing,
            unfinished: judged.unfinished,
            drained,
            idle: idle.map(|found| IdleReport {
                connections: found.connections,
                lost: found.lost,
                requests: found.requests,
                latency_ms: Percentiles::of(&found.latency_us),
            }),
        },
    ))
}

impl Threads {
    fn spawn(shared: &Arc<Shared>) -> Threads {
        let plan = &shared.plan;
        let producing = if plan.producers > 0 { plan.threads } else { 0 };
        let consume = plan.consume.as_ref();
        let audiences = consume.map_or(0, |consume| consume.groups.max(1));
        let audiences = (0..audiences).map(|_| Audience::new(shared)).collect();
        let audiences = Arc::new(audiences);
        let reading = consume.map_or(0, |c| reader::threads(c, &shared.reading.topics));
        Threads {
            producers: (0..producing)
                .map(|thread| spawn_producers(shared, thread))
                .collect(),
            readers: (0..reading)
                .map(|thread| spawn_readers(shared, &audiences, thread))
                .collect(),
            audiences,
            idle: plan.idle.map(|_| spawn_idle(shared)),
        }
    }

    /// How many say that they are ready.
    fn workers(&self, plan: &Plan) -> usize {
        plan.producers + self.readers.len() + self.idle.iter().len()
    }

    fn over(&self) -> impl Iterator<Item = bool> {
        let producers = self.producers.iter().map(JoinHandle::is_finished);
        let readers = self.readers.iter().map(JoinHandle::is_finished);
        producers
            .chain(readers)
            .chain(self.idle.iter().map(JoinHandle::is_finished))
    }

    fn is_any_over(&self) -> bool {
        self.over().any(|is_over| is_over)
    }

    fn are_all_over(&self) -> bool {
        self.over().all(|is_over| is_over)
    }

    /// Waits for all of them; the first error that is not another's consequence.
    ///
    /// - `window`: the measured part.
    fn join(self, control: &Control, window: Window) -> Result<Results, LoadError> {
        let mut results = Results {
            produced: control.tally(window, Stream::Produced),
            worked: Worked::default(),
            heard: Vec::new(),
            idle: None,
            busiest_thread: 0.0,
        };
        let mut errors = Vec::new();
        let mut busy = |of: f64| results.busiest_thread = of.max(results.busiest_thread);
        for thread in self.producers {
            match joined(thread) {
                Ok(done) => {
                    busy(done.busy);
                    results.produced.merge(&done.found.0);
                    results.worked.merge(done.found.1);
                }
                Err(error) => errors.push(error),
            }
        }
        let mut parts: Vec<Vec<Part>> = self.audiences.iter().map(|_| Vec::new()).collect();
        for thread in self.readers {
            match joined(thread) {
                Ok(done) => {
                    busy(done.busy);
                    for (of, part) in parts.iter_mut().zip(done.found) {
                        of.push(part);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        match self.idle.map(joined) {
            Some(Ok(done)) => {
                busy(done.busy);
                results.idle = Some(done.found);
            }
            Some(Err(error)) => errors.push(error),
            None => {}
        }
        for (audience, parts) in self.audiences.iter().zip(parts) {
            let empty = Part::new(control.tally(window, Stream::Consumed));
            results.heard.push(audience.heard(parts.into_iter(), empty));
        }
        let first = errors.iter().position(|error| *error != stopped());
        match errors.is_empty() {
            true => Ok(results),
            false => Err(errors.swap_remove(first.unwrap_or(0))),
        }
    }
}

/// What came of the records, and how far the readers came.
#[derive(Default)]
struct Judged {
    /// `None` where nobody reads what is produced.
    check: Option<Verdict>,
    /// Of the records acknowledged, how many no reader of an audience has read.
    missing: u64,
    /// Why readers did not come to the end of what they were to read, each reason once.
    unfinished: Vec<String>,
}

/// - `acked`: how many records were acknowledged.
fn judge(heard: &mut [Heard], ledger: &Ledger, acked: u64, window: Window) -> Judged {
    let mut judged = Judged::default();
    for heard in heard {
        if let Some(verdict) = heard.judge(ledger) {
            judged.check.get_or_insert_default().merge(&verdict);
            judged.missing += acked.saturating_sub(heard.checker.distinct());
        }
        let Some(why) = heard.unfinished() else {
            continue;
        };
        for kept in &heard.kept {
            heard.part.tally.failed(window.end_ns - 1, 1, kept);
        }
        if !judged.unfinished.contains(&why) {
            judged.unfinished.push(why);
        }
    }
    judged
}

fn warm_up_ns(plan: &Plan) -> u64 {
    plan.warm_up.as_nanos() as u64
}

/// The topics of a run, and which of them were created for it.
struct Prepared {
    layout: Layout,
    reading: Layout,
    created: Vec<String>,
    first: TopicFound,
}

/// Finds the topics, or creates them as planned.
async fn prepare(plan: &Plan) -> Result<Prepared, ClientError> {
    let cluster = Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await?;
    let mut created = Vec::new();
    let mut found = Vec::new();
    let mut first = None;
    // A run that only keeps connections has no topics.
    let (count, _) = plan.topics_used();
    for name in plan.topics.names().into_iter().take(count) {
        let topic = match cluster.learn(&name, AutoCreate::Forbid).await {
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                if plan.producers == 0 {
                    return Err(error);
                }
                let partitions = plan.topics.partitions;
                create(&cluster, plan, &name, partitions, &mut created).await?
            }
            known => known?,
        };
        if first.is_none() {
            first = Some(as_kept(&cluster, plan, &topic).await);
        }
        found.push((name, topic.partitions.len()));
    }
    let layout = Layout::new(found.iter().cloned());
    if let Some(partitions) = plan.idle_partitions {
        let name = plan.topics.idle_name();
        let topic = create(&cluster, plan, &name, partitions, &mut created).await?;
        let has = topic.partitions.len();
        if has != partitions as usize {
            return Err(ClientError::Invalid(format!(
                "topic {name} has {has} partitions, and {partitions} shall be idle: remove it, or choose another --topic"
            )));
        }
        found.push((name, has));
    }
    Ok(Prepared {
        layout,
        reading: Layout::new(found.into_iter()),
        created,
        first: first.unwrap_or_default(),
    })
}

/// How a topic is kept, as far as that may be asked.
async fn as_kept(cluster: &Cluster, plan: &Plan, topic: &Topic) -> TopicFound {
    let resource = Resource::Topic(topic.name.to_string());
    let configs = match cluster.describe_configs(&resource).await {
        Ok(all) => all
            .into_iter()
            .filter(|config| CONFIGURED.contains(&config.config_source) && !config.is_sensitive)
            .filter_map(|config| Some((config.name.to_string(), config.value?.to_string())))
            .collect(),
        // Who may write to a topic need not be allowed to see how it is kept.
        Err(_) => plan.topics.configs.iter().cloned().collect(),
    };
    let one = topic.partitions.first();
    TopicFound {
        replication_factor: one.map(|partition| partition.replicas.len()),
        configs,
    }
}

/// Creates a topic, unless there is one.
async fn create(
    cluster: &Cluster,
    plan: &Plan,
    name: &str,
    partitions: i32,
    created: &mut Vec<String>,
) -> Result<Topic, ClientError> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: plan.topics.replication,
        configs: plan.topics.configs.clone(),
    };
    match cluster.create_topic(&topic, Mode::Do).await {
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
        outcome => {
            outcome?;
            created.push(name.to_owned());
        }
    }
    // Until every partition has a leader there is nothing to connect to.
    cluster
        .retry(async || {
            let topic = cluster.learn(name, AutoCreate::Allow).await?;
            for partition in &topic.partitions {
                topic.leader(partition.index)?;
            }
            Ok(topic)
        })
        .await
}

/// Takes away the groups of the run, and where asked for the topics that it created.
async fn sweep(shared: &Shared, created: &[String]) -> Result<(), ClientError> {
    let plan = &shared.plan;
    let groups = plan.consume.as_ref().map_or(0, |consume| consume.groups);
    let removes = plan.topics.at_end == AtEnd::Remove;
    if groups == 0 && !removes {
        return Ok(());
    }
    let cluster = Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await?;
    for topic in &shared.reading.topics {
        for group in 0..groups {
            // One that is still there has no members and goes by its retention.
            let name = group_name(shared.run, &topic.name, group);
            let _ = cluster.delete_group(&name).await;
        }
    }
    if removes {
        for topic in created {
            cluster.delete_topic(topic).await?;
        }
    }
    Ok(())
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

/// DescribeConfigs' numbers for what somebody has set: for the topic, for a broker or for all of them.
const CONFIGURED: [i8; 4] = [1, 2, 3, 4];
const TICK: Duration = Duration::from_millis(200);
