//! Goal: groups of the consumer protocol behave as Kafka 4.3.1's do, and keep their invariants whatever happens.
//!
//! Method: a [`Stage`] drives one group in virtual time and keeps its log; [`heartbeats`] and [`classics`] replay what
//! Kafka was asked and check its answers, [`simulation`] runs seeded histories under checkers. Migration goes through the
//! whole coordinator, in its own tests.

mod classics;
mod heartbeats;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};

use super::assign::{Assignor, Partitions};
use super::group::{Change, ConsumerGroup, MemberTimer, Refused, Settings, TimerChange, Work};
use super::heartbeat::check_heartbeat;
use super::leave::Fate;
use crate::group::{Caller, GroupRecord};
use crate::metadata::Image;
use crate::metadata::record::{PartitionV1, RemoveTopicV1, TopicV1};
use crate::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::types::{Micros, Now, Str, Timestamp, TopicId, Uuid};

/// One group on its own, with a clock, deadlines and a log.
struct Stage {
    image: Image,
    settings: Settings,
    now: Now,
    group: ConsumerGroup,
    timers: BTreeMap<(Str, MemberTimer), Micros>,
    log: Vec<GroupRecord>,
    fate: Fate,
}

const GROUP: &str = "g";

impl Stage {
    fn new() -> Stage {
        Stage {
            image: Image::new(),
            settings: Settings {
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5000,
                assignment_interval_ms: 1000,
                size_max: 1000,
                classic_size_max: 1000,
                assignors: vec![Assignor::Uniform, Assignor::Range],
                upgrade: true,
                downgrade: true,
                regex_refresh_ms: 600_000,
            },
            now: Now {
                wall: Timestamp(1_700_000_000_000),
                mono: Micros(1),
            },
            group: ConsumerGroup::new(),
            timers: BTreeMap::new(),
            log: Vec::new(),
            fate: Fate::Stays,
        }
    }

    fn topic(&mut self, name: &str, partitions: i32) -> TopicId {
        add_topic(&mut self.image, name, partitions);
        self.group.on_metadata();
        topic_id(name)
    }

    fn drop_topic(&mut self, name: &str) {
        let record = RemoveTopicV1 {
            id: topic_id(name).0,
        };
        self.image.apply(&record.into()).expect("it is there");
        self.group.on_metadata();
    }

    /// Lets something happen to the group and keeps what comes of it.
    fn on<T>(&mut self, what: impl FnOnce(&mut ConsumerGroup, &mut Work<'_>) -> T) -> T {
        let mut work = Work::new(self.now, &self.image, &self.settings);
        let result = what(&mut self.group, &mut work);
        let Work {
            changes, timers, ..
        } = work;
        let group = Str::from(GROUP);
        let records = changes.into_iter().map(|change| change.into_record(&group));
        self.log.extend(records);
        for change in timers {
            match change {
                TimerChange::Set(member, timer, at) => {
                    self.timers.insert((member, timer), at);
                }
                TimerChange::SetIfNone(member, timer, at) => {
                    self.timers.entry((member, timer)).or_insert(at);
                }
                TimerChange::Cancel(member, timer) => {
                    self.timers.remove(&(member, timer));
                }
            }
        }
        result
    }

    /// Time passes; what becomes due happens.
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        let wall = self.now.wall.0 + ms as i64;
        loop {
            let due = self.timers.iter().filter(|(_, at)| **at <= end);
            let Some(((member, timer), at)) = due.min_by_key(|(_, at)| **at) else {
                break;
            };
            let (member, timer, at) = (member.clone(), *timer, *at);
            self.timers.remove(&(member.clone(), timer));
            self.now.mono = at.max(self.now.mono);
            let fate = self.on(|group, work| group.on_timer(&member, timer, work));
            if fate != Fate::Stays {
                self.fate = fate;
            }
        }
        self.now.mono = end;
        self.now.wall = Timestamp(wall);
    }

    fn send(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        check_heartbeat(request, 1, &self.settings.assignors)?;
        if request.member_epoch < 0 {
            let (response, fate) = self.on(|group, work| group.leave(request, work))?;
            if fate != Fate::Stays {
                self.fate = fate;
            }
            return Ok(response);
        }
        let id = request.member_id.clone();
        self.on(|group, work| group.heartbeat(&id, &caller(), request, work))
    }

    /// The group that its log makes.
    fn replayed(&self) -> ConsumerGroup {
        let mut group = ConsumerGroup::new();
        for record in &self.log {
            let (key, value) = record.encode();
            let read = GroupRecord::decode(&key, value.as_ref()).expect("it was just written");
            let change = Change::from_record(&read.expect("its kind is known"));
            group.apply(&change.expect("a consumer group's record"));
        }
        group
    }
}

impl ConsumerGroup {
    /// All that is stored, as the fewest changes that bring an empty group to it. Equal groups give equal lists.
    fn snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, member) in &self.members {
            changes.push(Change::Member(id.clone(), Some(member.profile.clone())));
        }
        if self.stored {
            changes.push(Change::Epoch(Some((self.epoch, self.metadata_hash))));
        }
        for (regex, resolved) in &self.regexes {
            changes.push(Change::Regex(regex.clone(), Some(resolved.clone())));
        }
        for (id, target) in &self.targets {
            changes.push(Change::Target(id.clone(), Some(target.clone())));
        }
        changes.push(Change::TargetEpoch(Some((
            self.target_epoch,
            self.target_at,
        ))));
        for (id, member) in &self.members {
            changes.push(Change::Current(id.clone(), Some(member.current.clone())));
        }
        changes
    }
}

fn caller() -> Caller {
    Caller {
        client_id: Str::from("client"),
        client_host: Str::from("/127.0.0.1"),
        version: 9,
    }
}

fn add_topic(image: &mut Image, name: &str, partitions: i32) {
    let id = topic_id(name).0;
    let topic = TopicV1 {
        name: name.into(),
        id,
    };
    image.apply(&topic.into()).expect("a new topic");
    for partition in 0..partitions {
        let record = PartitionV1 {
            topic_id: id,
            partition,
            replicas: vec![1],
            isr: vec![1],
            adding: Vec::new(),
            removing: Vec::new(),
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: Vec::new(),
        };
        image.apply(&record.into()).expect("the next partition");
    }
}

/// A topic's id, made of its name; that of "t4" is the one Kafka was asked with.
fn topic_id(name: &str) -> TopicId {
    if name == "t4" {
        return "C8pOspG7QbS8UmNHCyIXhA".parse().expect("an id");
    }
    let mut id = [9; 16];
    for (at, byte) in name.bytes().enumerate() {
        id[at % 15] ^= byte.rotate_left(at as u32 / 15);
    }
    Uuid(id)
}

/// A first heartbeat.
fn joining(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from(GROUP),
        member_id: Str::from(member),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| Str::from(*topic)).collect()),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A later heartbeat, with what is owned where that is told.
fn staying(member: &str, epoch: i32, owned: Option<&Partitions>) -> ConsumerGroupHeartbeatRequest {
    let row = |(topic, partitions): (&TopicId, &BTreeSet<i32>)| TopicPartitions {
        topic_id: *topic,
        partitions: partitions.iter().copied().collect(),
    };
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from(GROUP),
        member_id: Str::from(member),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        topic_partitions: owned.map(|owned| owned.iter().map(row).collect()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// The assignment of an answer; `None` where it says "as before".
fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Partitions> {
    let assignment = response.assignment.as_ref()?;
    let row = |topic: &crate::protocol::consumer_group_heartbeat::AssignedTopicPartitions| {
        (topic.topic_id, topic.partitions.iter().copied().collect())
    };
    Some(assignment.topic_partitions.iter().map(row).collect())
}

fn of(topic: TopicId, partitions: &[i32]) -> Partitions {
    match partitions.is_empty() {
        true => Partitions::new(),
        false => BTreeMap::from([(topic, partitions.iter().copied().collect())]),
    }
}
