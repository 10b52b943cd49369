//! Readers of a run: end-to-end latency, and whether every record came, once, in order and whole.
//!
//! Without groups the partitions of each topic are spread over as many readers as there are threads for them; with groups
//! the members are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
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

use super::audience::{Audience, Ending, Part};
use super::check::{Corrupted, Stamp};
use super::control::Stream;
use super::generator::{NEVER, Shared, stopped};
use super::plan::{Consume, From, GroupProtocol, Plan, Wire};
use super::run::LoadError;
use super::tally::{Tally, Window};
use super::target::{TopicLayout, native_options};

/// Where a reader sits: which audience, which of its topics, and which of those who share that topic it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seat {
    audience: usize,
    topic: usize,
    /// Of `of` readers of the topic.
    nth: usize,
    of: usize,
    /// Its own number among the readers of the audience.
    member: usize,
}

/// What the readers of one thread share.
struct Room {
    parts: Vec<Part>,
    ended: usize,
    failure: Option<LoadError>,
}

/// One reader of one topic.
struct Reader {
    shared: Arc<Shared>,
    consume: Consume,
    audiences: Arc<Vec<Audience>>,
    room: Rc<RefCell<Room>>,
    seat: Seat,
    source: Source,
    topic: TopicLayout,
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

/// Opens the readers of thread `thread`, reads until everything acknowledged has been read or nothing more comes, and
/// returns what was counted of each audience.
pub async fn read(
    shared: Arc<Shared>,
    audiences: Arc<Vec<Audience>>,
    thread: usize,
) -> Result<Vec<Part>, LoadError> {
    let consume = shared.plan.consume.clone().expect("only where it is read");
    let part = |_: &Audience| Part::new(Tally::new(NEVER));
    let room = Rc::new(RefCell::new(Room {
        parts: audiences.iter().map(part).collect(),
        ended: 0,
        failure: None,
    }));
    let mut readers = Vec::new();
    let topics = &shared.reading.topics;
    let own = seats(&consume, topics).into_iter().skip(thread);
    for seat in own.step_by(threads(&consume, topics)) {
        readers.push(Reader::open(&shared, &consume, &audiences, &room, seat).await?);
    }
    let count = readers.len();
    let is_early = consume.groups > 0 && consume.backlog_bytes == 0;
    for reader in readers {
        rt::spawn(rt::Queue::Net, "load reader", reader.run(is_early));
    }
    let partitions = shared.reading.partitions_count();
    let mut is_ready = false;
    loop {
        if rt::task_stats().panicked > 0 {
            return Err(LoadError::Worker("a reader panicked".to_owned()));
        }
        let failure = room.borrow_mut().failure.take();
        if let Some(error) = failure {
            return Err(error);
        }
        let mut all = audiences.iter();
        if !is_ready && (!is_early || all.all(|a| a.assigned_count() == partitions)) {
            is_ready = true;
            shared.control.worker_ready();
            shared.control.readers_ready();
        }
        if room.borrow().ended == count {
            break;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    let room = Rc::into_inner(room).expect("its readers have ended");
    Ok(room.into_inner().parts)
}

/// How many threads the readers take: each has one of them at least.
pub fn threads(consume: &Consume, topics: &[TopicLayout]) -> usize {
    consume.threads.min(seats(consume, topics).len())
}

/// Those of all readers, which the threads take in turn.
fn seats(consume: &Consume, topics: &[TopicLayout]) -> Vec<Seat> {
    let mut seats = Vec::new();
    for audience in 0..consume.groups.max(1) {
        let mut member = 0;
        for (topic, layout) in topics.iter().enumerate() {
            let of = match consume.groups {
                0 => consume.threads.min(layout.partitions),
                _ => consume.members,
            };
            for nth in 0..of {
                seats.push(Seat {
                    audience,
                    topic,
                    nth,
                    of,
                    member,
                });
                member += 1;
            }
        }
    }
    seats
}

impl Source {
    /// Without a group, from where the plan says.
    async fn plain(
        shared: &Shared,
        consume: &Consume,
        topic: &TopicLayout,
        audience: &Audience,
        seat: Seat,
    ) -> Result<Source, ClientError> {
        let plan = &shared.plan;
        let place = match consume.from {
            From::Tail => Place::End,
            From::Start => Place::Beginning,
        };
        let own = (seat.nth as i32..topic.partitions as i32).step_by(seat.of);
        let own: Vec<i32> = own.collect();
        let begins = |positions: &BTreeMap<i32, Offset>| {
            for (&partition, &at) in positions {
                audience.begins(topic.number(partition), at);
            }
        };
        match &plan.wire {
            Wire::Kafka => {
                let cluster = connect(plan).await?;
                if plan.is_cold() {
                    let ends = cluster.offsets(&topic.name, &own, Place::End).await?;
                    audience.expect(topic, ends);
                }
                let options = fetching(plan, consume, seat.of);
                let opened = Consumer::open(cluster, &topic.name, Some(&own), place, options);
                let consumer = opened.await?;
                begins(consumer.positions());
                Ok(Source::Kafka(Box::new(consumer)))
            }
            Wire::Native { bootstrap, .. } => {
                let client = NativeClient::connect(bootstrap, native_options(plan)).await?;
                if plan.is_cold() {
                    let mut ends = BTreeMap::new();
                    for &partition in &own {
                        let end = client.offset(&topic.name, partition, Place::End).await?;
                        ends.insert(partition, end);
                    }
                    audience.expect(topic, ends);
                }
                let fetch = fetching(plan, consume, seat.of);
                let options = NativeConsumerOptions {
                    max_bytes: fetch.partition_max_bytes as u32,
                    isolation: fetch.isolation,
                    ..NativeConsumerOptions::default()
                };
                let (name, own) = (&topic.name, Some(own.as_slice()));
                let opened = NativeConsumer::open(client, name, own, place, options);
                let consumer = opened.await?;
                begins(consumer.positions());
                Ok(Source::Native(Box::new(consumer)))
            }
        }
    }

    /// As a member of a group that begins where the plan says.
    async fn group(
        shared: &Shared,
        consume: &Consume,
        topic: &TopicLayout,
        audience: &Audience,
        seat: Seat,
    ) -> Result<Source, ClientError> {
        let cluster = connect(&shared.plan).await?;
        let name = group_name(shared.run, &topic.name, seat.audience);
        let all: Vec<i32> = (0..topic.partitions as i32).collect();
        if seat.nth == 0 {
            if consume.from == From::Tail {
                // Committed before anyone joins: a member that comes late begins here too, and not where it finds the end.
                let ends = cluster.offsets(&topic.name, &all, Place::End).await?;
                let ends = ends.into_iter().map(|(partition, end)| {
                    let topic = Str::from(topic.name.as_str());
                    ((topic, partition), end)
                });
                let committed = cluster.commit_for(&name, &ends.collect()).await?;
                committed.into_values().collect::<Result<(), _>>()?;
            }
            if shared.plan.is_cold() {
                let ends = cluster.offsets(&topic.name, &all, Place::End).await?;
                audience.expect(topic, ends);
            }
            audience.place(seat.topic);
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
            fetch: fetching(&shared.plan, consume, 1),
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

impl Reader {
    async fn open(
        shared: &Arc<Shared>,
        consume: &Consume,
        audiences: &Arc<Vec<Audience>>,
        room: &Rc<RefCell<Room>>,
        seat: Seat,
    ) -> Result<Reader, ClientError> {
        let topic = &shared.reading.topics[seat.topic];
        let audience = &audiences[seat.audience];
        let source = match consume.groups {
            0 => Source::plain(shared, consume, topic, audience, seat).await?,
            _ => Source::group(shared, consume, topic, audience, seat).await?,
        };
        Ok(Reader {
            shared: shared.clone(),
            consume: Consume {
                // Those who share a topic share what one reader of it may take.
                rate: match consume.groups {
                    0 => consume.rate.map(|rate| rate / seat.of as f64),
                    _ => consume.rate,
                },
                ..consume.clone()
            },
            audiences: audiences.clone(),
            room: room.clone(),
            seat,
            source,
            topic: topic.clone(),
            codecs: Codecs::new(),
            taken: 0,
            begun: Instant::now(),
        })
    }

    fn audience(&self) -> &Audience {
        &self.audiences[self.seat.audience]
    }

    /// - `is_early`: joins its group before the run begins.
    async fn run(mut self, is_early: bool) {
        let result = self.read(is_early).await;
        if let Source::Group(group) = self.source {
            // The offsets are of no use to anyone; who could not leave is taken out by its session's end.
            let _ = group.leave().await;
        }
        let mut room = self.room.borrow_mut();
        room.ended += 1;
        if let Err(error) = result {
            room.failure.get_or_insert(error);
            self.shared.control.stop();
        }
    }

    async fn read(&mut self, is_early: bool) -> Result<(), LoadError> {
        let window = loop {
            let is_placed = self.consume.groups == 0 || self.audience().is_placed(self.seat.topic);
            match self.shared.control.begun() {
                Some((_, window)) => break window,
                None if self.shared.control.is_stopped() => return Err(stopped()),
                None if is_early && is_placed => self.turn(NEVER).await?,
                None => rt::sleep(Duration::from_millis(1)).await,
            }
        };
        self.begin(window);
        loop {
            self.turn(window).await?;
            if let Some(ending) = self.is_over(window) {
                self.audience().ended(ending, self.trouble());
                return Ok(());
            }
        }
    }

    /// The measured part is known: what was heard before belongs to it too.
    fn begin(&mut self, window: Window) {
        let mut room = self.room.borrow_mut();
        let part = &mut room.parts[self.seat.audience];
        if part.tally.window().end_ns != window.end_ns {
            part.tally = self.shared.control.tally(window, Stream::Consumed);
            self.audience().arrived(self.shared.control.now_ns());
        }
        self.begun = Instant::now();
    }

    /// What keeps it from reading now.
    fn trouble(&self) -> Option<String> {
        let trouble = match &self.source {
            Source::Kafka(consumer) => consumer.trouble(),
            Source::Native(consumer) => consumer.trouble(),
            Source::Group(group) => group.trouble(),
        };
        trouble.map(ToString::to_string)
    }

    fn is_over(&self, window: Window) -> Option<Ending> {
        self.audience().is_over(&self.shared.control, window)
    }

    /// Takes what comes next; returns without where it is time to look around, or the run is over.
    async fn turn(&mut self, window: Window) -> Result<(), ClientError> {
        let early = self.early();
        if !early.is_zero() {
            // In pieces: it is to see the end of the run.
            rt::sleep(early.min(LOOK)).await;
            return Ok(());
        }
        let (audience, control) = (&self.audiences[self.seat.audience], &self.shared.control);
        let is_over = || audience.is_over(control, window).is_some();
        let fetched = match &mut self.source {
            Source::Kafka(consumer) => unless_over(consumer.poll(), is_over).await,
            Source::Native(consumer) => unless_over(consumer.poll(), is_over).await,
            Source::Group(group) => match group.poll().await? {
                GroupEvent::Records(fetched) => Some(Ok(fetched)),
                GroupEvent::Assigned(partitions) => {
                    for &partition in &partitions {
                        let at = group.next_offset(partition).unwrap_or(Offset::ZERO);
                        audience.begins(self.topic.number(partition), at);
                    }
                    audience.assign(self.seat.member, partitions.len());
                    audience.arrived(control.now_ns());
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
        self.shared.control.count_consumed(count, now_ns);
        if let Source::Group(group) = &mut self.source {
            group.processed(fetched.partition, fetched.next);
        }
        self.taken += count;
        Ok(())
    }

    fn count(&mut self, fetched: &Fetched, now_ns: u64) -> Result<u64, RecordError> {
        let audience = &self.audiences[self.seat.audience];
        audience.arrived(now_ns);
        let mut room = self.room.borrow_mut();
        let part = &mut room.parts[self.seat.audience];
        part.last_ns = now_ns;
        let partition = self.topic.number(fetched.partition);
        let mut checker = audience.checker(partition);
        let (end, run) = (checker.end(partition), checker.run());
        let distinct_before = checker.distinct();
        let takes_all = self.consume.from == From::Start || self.shared.plan.producers == 0;
        let (mut count, mut bytes) = (0, 0);
        // Records that were due together, as those of a closed loop's batch are, are counted together.
        let (mut due_ns, mut alike) = (0, 0);
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
                        checker.redelivered();
                        continue;
                    }
                    Some(Ok(stamp)) => {
                        checker.saw(partition, stamp);
                        if stamp.due_ns != due_ns {
                            part.tally.latency(due_ns, now_ns, alike);
                            (due_ns, alike) = (stamp.due_ns, 0);
                        }
                        alike += 1;
                    }
                    Some(Err(Corrupted)) => checker.corrupted(),
                    None if takes_all => {}
                    None => continue,
                }
                count += 1;
                bytes += (value.len() + record.key.map_or(0, <[u8]>::len)) as u64;
            }
        }
        part.tally.latency(due_ns, now_ns, alike);
        checker.reached(partition, fetched.next);
        let distinct = checker.distinct() - distinct_before;
        audience.counted(partition, distinct, fetched.next);
        part.tally.received(now_ns, count, bytes);
        part.records += count;
        part.bytes += bytes;
        Ok(count)
    }

    /// How long a slow reader must wait before it may take more.
    fn early(&self) -> Duration {
        let due = self.consume.rate.map(|rate| self.taken as f64 / rate);
        let due = Duration::from_secs_f64(due.unwrap_or(0.0));
        due.saturating_sub(self.begun.elapsed())
    }
}

/// Awaits `poll` for as long as the run is not over: one that is dropped may lose the way to a leader that moved.
async fn unless_over<T>(poll: impl Future<Output = T>, is_over: impl Fn() -> bool) -> Option<T> {
    let mut poll = pin!(poll);
    loop {
        match rt::timeout(LOOK, poll.as_mut()).await {
            Ok(fetched) => return Some(fetched),
            Err(rt::Elapsed) if is_over() => return None,
            Err(rt::Elapsed) => {}
        }
    }
}

/// What a fetch asks for: of a slow reader half a second's records, so that a member of a group does not miss its
/// heartbeats over one answer.
///
/// - `sharing`: how many share what one reader may take.
fn fetching(plan: &Plan, consume: &Consume, sharing: usize) -> ConsumerOptions {
    let mut options = ConsumerOptions {
        isolation: consume.isolation,
        ..ConsumerOptions::default()
    };
    if let Some(rate) = consume.rate {
        let bytes = (rate / sharing as f64 / 2.0 * plan.value_bytes_mean()).clamp(1.0, 50e6) as i32;
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
const INFLATED_BYTES_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::target::Layout;

    fn topics(topics: &[(&str, usize)]) -> Vec<TopicLayout> {
        let topics = topics
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        Layout::new(topics).topics
    }

    #[test]
    fn the_partitions_of_a_topic_are_spread_over_the_threads_and_each_is_read_once() {
        let consume = Consume {
            threads: 3,
            ..Consume::at_the_tail()
        };
        let topics = topics(&[("a", 7), ("b", 2)]);
        assert_eq!(threads(&consume, &topics), 3);
        assert_eq!(threads(&consume, &topics[1..]), 2, "none without a reader");
        let seats = seats(&consume, &topics);
        for (topic, partitions) in [(0, 7), (1, 2)] {
            let of_topic = seats.iter().filter(|seat| seat.topic == topic);
            let mut read: Vec<usize> = of_topic
                .flat_map(|seat| (seat.nth..partitions).step_by(seat.of))
                .collect();
            read.sort_unstable();
            assert_eq!(read, (0..partitions).collect::<Vec<_>>());
        }
    }

    #[test]
    fn members_of_groups_are_spread_over_the_threads_and_each_has_its_own_number() {
        let consume = Consume {
            threads: 2,
            groups: 3,
            members: 2,
            ..Consume::at_the_tail()
        };
        let topics = topics(&[("a", 4), ("b", 4)]);
        assert_eq!(threads(&consume, &topics), 2);
        let seats = seats(&consume, &topics);
        for audience in 0..3 {
            let own = seats.iter().filter(|seat| seat.audience == audience);
            let members: Vec<usize> = own.map(|seat| seat.member).collect();
            assert_eq!(members, [0, 1, 2, 3]);
        }
        assert_eq!(seats.len(), 12);
    }
}
