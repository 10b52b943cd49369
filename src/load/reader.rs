//! Readers of a run: end-to-end latency, and whether every record came, once, in order and whole.
//!
//! An audience reads everything once: a reader without a group for each topic, or the members of one group for each topic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::native::{NativeClient, NativeConsumer, NativeConsumerOptions};
use crate::client::{
    Assignor, ClientError, Cluster, Consumer, ConsumerOptions, Fetched, GroupConsumer, GroupEvent,
    GroupOptions, MemberOptions, Place,
};
use crate::protocol::ErrorCode;
use crate::record::{Codecs, RecordError, records};
use crate::rt;
use crate::types::{Offset, Str};

use super::check::{Checker, Corrupted, Reach, Stamp};
use super::control::{Control, Stream};
use super::generator::{NEVER, Shared, stopped};
use super::plan::{Consume, From, GroupProtocol, Plan, Wire};
use super::run::LoadError;
use super::tally::{Tally, Window};
use super::target::{TopicLayout, native_options};

/// What an audience has heard.
pub struct Heard {
    pub tally: Tally,
    pub checker: Checker,
    pub reach: Reach,
    /// All records that came, whosesoever, and their bytes; and when the last did.
    pub records: u64,
    pub bytes: u64,
    pub last_ns: u64,
}

/// What the readers of one audience share; they run on one executor.
struct Audience {
    heard: Heard,
    last_arrival: Instant,
    /// Where each partition ended when the run began, for a run that only reads.
    ends: BTreeMap<u32, Offset>,
    is_group: bool,
    /// Partitions of each member of a group.
    assigned: BTreeMap<usize, usize>,
    ended: usize,
    failure: Option<LoadError>,
}

type Shares = Rc<RefCell<Audience>>;

/// One reader of one topic.
struct Reader {
    shared: Arc<Shared>,
    consume: Consume,
    audience: Shares,
    source: Source,
    topic: TopicLayout,
    /// Its own number among the members of its audience.
    member: usize,
    codecs: Codecs,
    /// Records taken, for one that is slow, since when.
    taken: u64,
    begun: Instant,
}

enum Source {
    Kafka(Box<Consumer>),
    Native(Box<NativeConsumer>),
    Group(Box<GroupConsumer>),
}

/// Opens all readers, reads until everything acknowledged has been read or nothing more comes, and returns what each
/// audience heard.
pub async fn read(shared: Arc<Shared>) -> Result<Vec<Heard>, LoadError> {
    let consume = shared.plan.consume.clone().expect("only where it is read");
    let mut audiences = Vec::new();
    let mut readers = Vec::new();
    for group in 0..consume.groups.max(1) {
        let audience = Rc::new(RefCell::new(Audience::new(&shared)));
        readers.extend(seat(&shared, &consume, group, &audience).await?);
        audiences.push(audience);
    }
    let count = readers.len();
    let is_early = consume.groups > 0 && consume.backlog_bytes == 0;
    for reader in readers {
        rt::spawn(rt::Queue::Net, "load reader", reader.run(is_early));
    }
    let partitions = shared.layout.partitions_count();
    let mut is_ready = false;
    loop {
        if rt::task_stats().panicked > 0 {
            return Err(LoadError::Worker("a reader panicked".to_owned()));
        }
        let failure = audiences.iter().find_map(|a| a.borrow_mut().failure.take());
        if let Some(error) = failure {
            return Err(error);
        }
        let all_assigned = || {
            audiences
                .iter()
                .all(|a| a.borrow().assigned_count() == partitions)
        };
        if !is_ready && (!is_early || all_assigned()) {
            is_ready = true;
            shared.control.worker_ready();
            shared.control.readers_ready();
        }
        if audiences.iter().map(|a| a.borrow().ended).sum::<usize>() == count {
            break;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    let heard = audiences.into_iter().map(|audience| {
        let audience = Rc::into_inner(audience).expect("its readers have ended");
        audience.into_inner().heard
    });
    Ok(heard.collect())
}

/// The readers of one audience, not yet begun.
async fn seat(
    shared: &Arc<Shared>,
    consume: &Consume,
    group: usize,
    audience: &Shares,
) -> Result<Vec<Reader>, ClientError> {
    let mut readers = Vec::new();
    for topic in &shared.layout.topics {
        let members = if consume.groups == 0 {
            1
        } else {
            consume.members
        };
        for member in 0..members {
            let source = match consume.groups {
                0 => Source::plain(shared, consume, topic, audience).await?,
                _ => Source::group(shared, consume, topic, group, member).await?,
            };
            readers.push(Reader {
                shared: shared.clone(),
                consume: consume.clone(),
                audience: audience.clone(),
                source,
                topic: topic.clone(),
                member: readers.len(),
                codecs: Codecs::new(),
                taken: 0,
                begun: Instant::now(),
            });
        }
    }
    Ok(readers)
}

impl Source {
    /// Without a group, from where the plan says.
    async fn plain(
        shared: &Shared,
        consume: &Consume,
        topic: &TopicLayout,
        audience: &Shares,
    ) -> Result<Source, ClientError> {
        let plan = &shared.plan;
        let place = match consume.from {
            From::Tail => Place::End,
            From::Start => Place::Beginning,
        };
        let all: Vec<i32> = (0..topic.partitions as i32).collect();
        match &plan.wire {
            Wire::Kafka => {
                let cluster = connect(plan).await?;
                if plan.producers == 0 {
                    let ends = cluster.offsets(&topic.name, &all, Place::End).await?;
                    audience.borrow_mut().expect(topic, ends);
                }
                let options = fetching(plan, consume);
                let opened = Consumer::open(cluster, &topic.name, None, place, options);
                Ok(Source::Kafka(Box::new(opened.await?)))
            }
            Wire::Native { bootstrap } => {
                let client = NativeClient::connect(bootstrap, native_options(plan)).await?;
                if plan.producers == 0 {
                    let mut ends = BTreeMap::new();
                    for &partition in &all {
                        let end = client.offset(&topic.name, partition, Place::End).await?;
                        ends.insert(partition, end);
                    }
                    audience.borrow_mut().expect(topic, ends);
                }
                let fetch = fetching(plan, consume);
                let options = NativeConsumerOptions {
                    max_bytes: fetch.partition_max_bytes as u32,
                    ..NativeConsumerOptions::default()
                };
                let opened = NativeConsumer::open(client, &topic.name, None, place, options);
                Ok(Source::Native(Box::new(opened.await?)))
            }
        }
    }

    /// As a member of a group that begins where the plan says.
    async fn group(
        shared: &Shared,
        consume: &Consume,
        topic: &TopicLayout,
        group: usize,
        member: usize,
    ) -> Result<Source, ClientError> {
        let cluster = connect(&shared.plan).await?;
        let name = group_name(shared.run, &topic.name, group);
        let all: Vec<i32> = (0..topic.partitions as i32).collect();
        if member == 0 && consume.from == From::Tail {
            // Committed before anyone joins: a member that comes late begins here too, and not where it finds the end.
            let ends = cluster.offsets(&topic.name, &all, Place::End).await?;
            let ends = ends.into_iter().map(|(partition, end)| {
                let topic = Str::from(topic.name.as_str());
                ((topic, partition), end)
            });
            let committed = cluster.commit_for(&name, &ends.collect()).await?;
            committed.into_values().collect::<Result<(), _>>()?;
        }
        let options = GroupOptions {
            member: MemberOptions {
                protocol: match consume.protocol {
                    GroupProtocol::Classic => crate::client::GroupProtocol::Classic,
                    GroupProtocol::Consumer => crate::client::GroupProtocol::Consumer,
                },
                group: name,
                topic: topic.name.clone(),
                assignor: Assignor::CooperativeSticky,
                instance_id: None,
                session_timeout: Duration::from_secs(30),
                rebalance_timeout: Duration::from_secs(60),
            },
            start: Place::Beginning,
            commit_interval: Duration::from_secs(5),
            fetch: fetching(&shared.plan, consume),
        };
        Ok(Source::Group(Box::new(GroupConsumer::new(
            cluster, options,
        ))))
    }
}

async fn connect(plan: &Plan) -> Result<Rc<Cluster>, ClientError> {
    Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await
}

/// Of one audience in one topic.
pub fn group_name(run: u64, topic: &str, group: usize) -> String {
    format!("ringlog-load-{run:016x}-{topic}-{group}")
}

impl Audience {
    fn new(shared: &Shared) -> Audience {
        Audience {
            heard: Heard {
                tally: Tally::new(NEVER),
                checker: Checker::new(shared.run),
                reach: Reach::End,
                records: 0,
                bytes: 0,
                last_ns: 0,
            },
            last_arrival: Instant::now(),
            ends: BTreeMap::new(),
            is_group: shared.plan.consume.as_ref().is_some_and(|c| c.groups > 0),
            assigned: BTreeMap::new(),
            ended: 0,
            failure: None,
        }
    }

    fn expect(&mut self, topic: &TopicLayout, ends: BTreeMap<i32, Offset>) {
        for (partition, end) in ends {
            self.ends
                .insert((topic.first + partition as usize) as u32, end);
        }
    }

    fn assigned_count(&self) -> usize {
        self.assigned.values().sum()
    }

    /// Whether a run that only reads has read what there was.
    fn is_at_ends(&self) -> bool {
        let checker = &self.heard.checker;
        self.ends
            .iter()
            .all(|(&partition, &end)| checker.end(partition) >= end)
    }

    /// Whether there is nothing more to come, and if so, how far it came.
    fn is_over(
        &self,
        plan: &Plan,
        control: &Control,
        window: Window,
        is_slow: bool,
    ) -> Option<Reach> {
        let is_past = control.now_ns() >= window.end_ns;
        let quiet = self.last_arrival.elapsed();
        if control.is_stopped() {
            return Some(Reach::Partway);
        }
        if plan.producers == 0 {
            return match self.is_at_ends() {
                true => Some(Reach::End),
                false => is_past.then_some(Reach::Partway),
            };
        }
        if control.is_producing() {
            return None;
        }
        // What comes twice may come behind everything else.
        if self.heard.checker.distinct() >= control.acked() && quiet > QUIET {
            return Some(Reach::End);
        }
        if is_slow && is_past {
            return Some(Reach::Partway);
        }
        let is_joining = self.is_group && self.assigned_count() == 0;
        let patience = if is_joining { JOIN_PATIENCE } else { PATIENCE };
        (quiet > patience).then_some(Reach::End)
    }
}

impl Reader {
    /// - `is_early`: joins its group before the run begins.
    async fn run(mut self, is_early: bool) {
        let result = self.read(is_early).await;
        if let Source::Group(group) = self.source {
            // The offsets are of no use to anyone; who could not leave is taken out by its session's end.
            let _ = group.leave().await;
        }
        let mut audience = self.audience.borrow_mut();
        audience.ended += 1;
        if let Err(error) = result {
            audience.failure.get_or_insert(error);
            self.shared.control.stop();
        }
    }

    async fn read(&mut self, is_early: bool) -> Result<(), LoadError> {
        let window = loop {
            match self.shared.control.begun() {
                Some((_, window)) => break window,
                None if self.shared.control.is_stopped() => return Err(stopped()),
                None if is_early => self.turn().await?,
                None => rt::sleep(Duration::from_millis(1)).await,
            }
        };
        self.begin(window);
        loop {
            self.turn().await?;
            let is_slow = self.consume.rate.is_some();
            let mut audience = self.audience.borrow_mut();
            let (plan, control) = (&self.shared.plan, &self.shared.control);
            if let Some(reach) = audience.is_over(plan, control, window, is_slow) {
                if reach == Reach::Partway {
                    audience.heard.reach = reach;
                }
                return Ok(());
            }
        }
    }

    /// The measured part is known: what was heard before belongs to it too.
    fn begin(&mut self, window: Window) {
        let mut audience = self.audience.borrow_mut();
        if audience.heard.tally.window().end_ns != window.end_ns {
            audience.heard.tally = self.shared.control.tally(window, Stream::Consumed);
            audience.last_arrival = Instant::now();
        }
        self.begun = Instant::now();
    }

    /// Takes what comes next, if it comes soon.
    async fn turn(&mut self) -> Result<(), ClientError> {
        let early = self.early();
        if !early.is_zero() {
            // In pieces: it is to see the end of the run.
            rt::sleep(early.min(LOOK)).await;
            return Ok(());
        }
        let fetched = match &mut self.source {
            Source::Kafka(consumer) => rt::timeout(LOOK, consumer.poll()).await.ok(),
            Source::Native(consumer) => rt::timeout(LOOK, consumer.poll()).await.ok(),
            Source::Group(group) => match group.poll().await? {
                GroupEvent::Records(fetched) => Some(Ok(fetched)),
                GroupEvent::Assigned(partitions) => {
                    let mut audience = self.audience.borrow_mut();
                    audience.assigned.insert(self.member, partitions.len());
                    audience.last_arrival = Instant::now();
                    None
                }
                GroupEvent::Idle => None,
            },
        };
        let Some(fetched) = fetched.transpose()? else {
            return Ok(());
        };
        let now_ns = self.shared.control.now_ns();
        let count = self
            .count(&fetched, now_ns)
            .map_err(|error| corrupt(&fetched, &error))?;
        self.shared.control.count_consumed(count);
        if let Source::Group(group) = &mut self.source {
            group.processed(fetched.partition, fetched.next);
        }
        self.taken += count;
        Ok(())
    }

    fn count(&mut self, fetched: &Fetched, now_ns: u64) -> Result<u64, RecordError> {
        let mut audience = self.audience.borrow_mut();
        let audience = &mut *audience;
        audience.last_arrival = Instant::now();
        let heard = &mut audience.heard;
        heard.last_ns = now_ns;
        let partition = (self.topic.first + fetched.partition as usize) as u32;
        let (end, run) = (heard.checker.end(partition), heard.checker.run());
        let takes_all = self.consume.from == From::Start;
        let (mut count, mut bytes) = (0, 0);
        for batch in fetched.visible() {
            for record in records(batch?.bytes, INFLATED_BYTES_MAX, &mut self.codecs)? {
                let record = record?;
                if record.offset < fetched.from {
                    continue;
                }
                let value = record.value.unwrap_or_default();
                let stamp = Stamp::read(value, record.key, run);
                match stamp {
                    Some(_) if record.offset < end => {
                        heard.checker.redelivered();
                        continue;
                    }
                    Some(Ok(stamp)) => {
                        heard.checker.saw(partition, stamp);
                        heard.tally.latency(stamp.due_ns, now_ns, 1);
                    }
                    Some(Err(Corrupted)) => heard.checker.corrupted(),
                    None if takes_all => {}
                    None => continue,
                }
                count += 1;
                bytes += (value.len() + record.key.map_or(0, <[u8]>::len)) as u64;
            }
        }
        heard.checker.reached(partition, fetched.next);
        heard.tally.received(now_ns, count, bytes);
        heard.records += count;
        heard.bytes += bytes;
        Ok(count)
    }

    /// How long a slow reader must wait before it may take more.
    fn early(&self) -> Duration {
        let due = self.consume.rate.map(|rate| self.taken as f64 / rate);
        let due = Duration::from_secs_f64(due.unwrap_or(0.0));
        due.saturating_sub(self.begun.elapsed())
    }
}

/// What a fetch asks for: of a slow reader half a second's records, so that a member of a group does not miss its
/// heartbeats over one answer.
fn fetching(plan: &Plan, consume: &Consume) -> ConsumerOptions {
    let mut options = ConsumerOptions {
        isolation: consume.isolation,
        ..ConsumerOptions::default()
    };
    if let Some(rate) = consume.rate {
        let bytes = (rate / 2.0 * plan.value_bytes_mean()).clamp(1.0, 50e6) as i32;
        options.max_bytes = bytes;
        options.partition_max_bytes = bytes;
    }
    options
}

fn corrupt(fetched: &Fetched, error: &RecordError) -> ClientError {
    ClientError::Server {
        code: ErrorCode::CorruptMessage,
        about: format!(
            "partition {} from offset {}",
            fetched.partition, fetched.from
        ),
        message: Some(error.to_string()),
    }
}

/// How often a reader looks whether the run is over.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may come behind the last record that is awaited.
const QUIET: Duration = Duration::from_millis(200);
/// How long nothing may come before the rest is called missing.
const PATIENCE: Duration = Duration::from_secs(3);
/// and before a group has its first member: brokers wait for more of them, three seconds by default.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
const INFLATED_BYTES_MAX: usize = 1 << 30;
