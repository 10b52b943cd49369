//! Goal: whatever a group looks like, the assignors give every partition to exactly one subscriber, evenly, and the
//! uniform one moves no more than it must.
//!
//! Method: groups made from seeds (same and different subscriptions, earlier assignments that are stale or overlap),
//! each result checked against the rules by a checker that knows nothing of the algorithm.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;

use super::assign::{Assignor, Partitions, Subscriber};
use crate::types::{Prng, Str, TopicId, Uuid};

struct Group {
    topics: BTreeMap<TopicId, i32>,
    members: BTreeMap<Str, (Rc<BTreeSet<TopicId>>, Partitions)>,
}

impl Group {
    fn seeded(random: &mut Prng, same: bool) -> Group {
        let topics: BTreeMap<TopicId, i32> = (0..1 + random.below(8))
            .map(|n| (topic(n), 1 + random.below(20) as i32))
            .collect();
        let everything: Rc<BTreeSet<TopicId>> = Rc::new(topics.keys().copied().collect());
        let members = (0..1 + random.below(12))
            .map(|n| {
                let some = everything.iter().filter(|_| random.below(2) == 0);
                let some = Rc::new(some.copied().collect());
                let topics = if same { everything.clone() } else { some };
                (member(n), (topics, Partitions::new()))
            })
            .collect();
        Group { topics, members }
    }

    fn assign(&mut self, assignor: Assignor) {
        let members: Vec<Subscriber> = self
            .members
            .iter()
            .map(|(member_id, (topics, previous))| Subscriber {
                member_id,
                instance_id: None,
                topics: topics.clone(),
                previous: Some(previous),
            })
            .collect();
        let result = assignor.assign(&members, &self.topics);
        for ((_, previous), now) in self.members.values_mut().zip(result) {
            *previous = now;
        }
    }

    /// Every partition of a subscribed topic has one owner, who subscribes to it; nothing else is owned.
    fn check_complete(&self, seed: u64) {
        let mut owned = BTreeSet::new();
        for (member, (topics, partitions)) in &self.members {
            for (topic, partitions) in partitions {
                assert!(topics.contains(topic), "seed {seed}: {member} did not ask");
                assert!(!partitions.is_empty(), "seed {seed}: an empty topic");
                for partition in partitions {
                    let first = owned.insert((*topic, *partition));
                    assert!(first, "seed {seed}: two owners of {topic} {partition}");
                }
            }
        }
        for (topic, count) in &self.topics {
            let wanted = self
                .members
                .values()
                .any(|(topics, _)| topics.contains(topic));
            for partition in 0..*count {
                let has = owned.remove(&(*topic, partition));
                assert_eq!(has, wanted, "seed {seed}: {topic} {partition}");
            }
        }
        assert!(
            owned.is_empty(),
            "seed {seed}: owned, but not there: {owned:?}"
        );
    }

    fn load(&self, member: &Str) -> usize {
        self.members[member].1.values().map(BTreeSet::len).sum()
    }

    /// Nobody has two more than another who could take one of its topics.
    fn check_balance(&self, seed: u64) {
        for (heavy, (_, partitions)) in &self.members {
            for (light, (topics, _)) in &self.members {
                let could = partitions.keys().any(|topic| topics.contains(topic));
                let even = self.load(heavy) < self.load(light) + 2;
                assert!(even || !could, "seed {seed}: {heavy} could give to {light}");
            }
        }
    }

    fn owners(&self) -> BTreeMap<(TopicId, i32), Str> {
        let mut owners = BTreeMap::new();
        for (member, (_, partitions)) in &self.members {
            for (topic, partitions) in partitions {
                owners.extend(partitions.iter().map(|p| ((*topic, *p), member.clone())));
            }
        }
        owners
    }

    fn change(&mut self, random: &mut Prng) {
        let some = random.below(self.members.len() as u64) as usize;
        let name = self.members.keys().nth(some).expect("below").clone();
        match random.below(5) {
            0 if self.members.len() > 1 => drop(self.members.remove(&name)),
            1 => {
                let like = self.members[&name].0.clone();
                let id = member(100 + random.below(1000));
                self.members.entry(id).or_insert((like, Partitions::new()));
            }
            2 => drop(self.topics.insert(topic(50 + random.below(9)), 3)),
            3 if self.topics.len() > 1 => drop(self.topics.pop_first()),
            _ => {
                let topics: BTreeSet<TopicId> = self.topics.keys().copied().collect();
                let kept = topics.into_iter().filter(|_| random.below(3) > 0).collect();
                self.members.get_mut(&name).expect("there").0 = Rc::new(kept);
            }
        }
    }
}

fn topic(number: u64) -> TopicId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Uuid(id)
}

fn member(number: u64) -> Str {
    Str::from(format!("member-{number:05}"))
}

#[test]
fn every_partition_has_one_owner_and_loads_are_even() {
    for seed in 0..600 {
        let random = &mut Prng::new(seed);
        let mut group = Group::seeded(random, seed % 2 == 0);
        for _ in 0..6 {
            group.assign(Assignor::Uniform);
            group.check_complete(seed);
            group.check_balance(seed);
            let before = group.owners();
            group.assign(Assignor::Uniform);
            assert_eq!(group.owners(), before, "seed {seed}: moved without a cause");
            group.change(random);
        }
        group.assign(Assignor::Range);
        group.check_complete(seed);
    }
}

#[test]
fn who_leaves_moves_only_its_own_partitions() {
    for seed in 0..300 {
        let random = &mut Prng::new(seed);
        let mut group = Group::seeded(random, true);
        group.assign(Assignor::Uniform);
        if group.members.len() < 2 {
            continue;
        }
        let before = group.owners();
        let some = random.below(group.members.len() as u64) as usize;
        let gone = group.members.keys().nth(some).expect("below").clone();
        group.members.remove(&gone);
        group.assign(Assignor::Uniform);
        for (partition, owner) in group.owners() {
            let stays = before[&partition] == gone || before[&partition] == owner;
            assert!(stays, "seed {seed}: {partition:?} moved to {owner}");
        }
    }
}

#[test]
fn who_joins_takes_no_more_than_its_share() {
    for seed in 0..300 {
        let random = &mut Prng::new(seed);
        let mut group = Group::seeded(random, true);
        group.assign(Assignor::Uniform);
        let before = group.owners();
        let topics = group.members.values().next().expect("one").0.clone();
        group
            .members
            .insert(member(777), (topics, Partitions::new()));
        group.assign(Assignor::Uniform);
        for (partition, owner) in group.owners() {
            let fair = before[&partition] == owner || owner == member(777);
            assert!(fair, "seed {seed}: {partition:?} moved to {owner}");
        }
        group.check_balance(seed);
    }
}

/// A chain: c can relieve b, b can relieve a, c cannot relieve a.
#[test]
fn loads_are_evened_out_over_third_members() {
    let (one, two) = (topic(1), topic(2));
    let topics = BTreeMap::from([(one, 2), (two, 1)]);
    let only = |topics: &[TopicId]| Rc::new(topics.iter().copied().collect());
    let mut group = Group {
        topics,
        members: BTreeMap::from([
            (
                member(0),
                (only(&[one]), BTreeMap::from([(one, [0, 1].into())])),
            ),
            (
                member(1),
                (only(&[one, two]), BTreeMap::from([(two, [0].into())])),
            ),
            (member(2), (only(&[two]), Partitions::new())),
        ]),
    };
    group.assign(Assignor::Uniform);
    group.check_complete(0);
    assert!(group.members.keys().all(|member| group.load(member) == 1));
}

#[test]
fn earlier_assignments_that_overlap_or_are_stale_are_survived() {
    let one = topic(1);
    let claim = || BTreeMap::from([(one, [-1, 0, 1, 99].into()), (topic(9), [0].into())]);
    let topics = Rc::new(BTreeSet::from([one]));
    let mut group = Group {
        topics: BTreeMap::from([(one, 3)]),
        members: (0..2)
            .map(|n| (member(n), (topics.clone(), claim())))
            .collect(),
    };
    group.assign(Assignor::Uniform);
    group.check_complete(0);
    group.check_balance(0);
}

#[test]
fn range_gives_alike_topics_alike_and_static_members_their_place() {
    let topics = BTreeMap::from([(topic(1), 5), (topic(2), 5)]);
    let all: Rc<BTreeSet<TopicId>> = Rc::new(topics.keys().copied().collect());
    let ids = [member(3), member(2), member(1)];
    let instance = Str::from("i-1");
    let members: Vec<Subscriber> = ids
        .iter()
        .map(|member_id| Subscriber {
            member_id,
            instance_id: (*member_id == member(3)).then_some(&instance),
            topics: all.clone(),
            previous: None,
        })
        .collect();
    let result = Assignor::Range.assign(&members, &topics);
    let both = |set: &[i32]| -> Partitions {
        let set: BTreeSet<i32> = set.iter().copied().collect();
        topics.keys().map(|topic| (*topic, set.clone())).collect()
    };
    assert_eq!(result, [both(&[0, 1]), both(&[4]), both(&[2, 3])]);
}

#[test]
fn a_large_group_takes_milliseconds() {
    for (same, limit_ms) in [(true, 60), (false, 400)] {
        let random = &mut Prng::new(5);
        let topics: BTreeMap<TopicId, i32> = (0..10).map(|n| (topic(n), 100)).collect();
        let all: Rc<BTreeSet<TopicId>> = Rc::new(topics.keys().copied().collect());
        let members = (0..200)
            .map(|n| {
                let some = all.iter().filter(|_| same || random.below(3) > 0);
                (
                    member(n),
                    (Rc::new(some.copied().collect()), Partitions::new()),
                )
            })
            .collect();
        let mut group = Group { topics, members };
        let begin = Instant::now();
        group.assign(Assignor::Uniform);
        let first = begin.elapsed();
        group.members.pop_first();
        let begin = Instant::now();
        group.assign(Assignor::Uniform);
        println!("same {same}: {first:?}, one left: {:?}", begin.elapsed());
        assert!(first.as_millis() < limit_ms, "{first:?}");
        group.check_complete(5);
        group.check_balance(5);
    }
}

/// Goal: the range assignor gives what Kafka 4.3.1's gives, which forgets what members had. Method: its own answers to
/// groups made from a seed, each member with a part of the partitions at random before. Topics' partition counts;
/// `member/instance:topics`; `member:topic=partitions`.
#[test]
fn range_gives_what_kafka_gives_whatever_members_had() {
    let cases = [
        (
            "4,5",
            "m0:0,1 m1:0,1 m2:0,1",
            "m0:0=0,1;1=0,1 m1:0=2;1=2,3 m2:0=3;1=4",
        ),
        ("5", "m0/i9:0 m1:0 m2/i7:", "m0:0=0,1,2 m1:0=3,4 m2:"),
        (
            "5,1,4",
            "m0/i9:0,1,2 m1:0,1,2 m2:0,1,2 m3:0,1,2",
            "m0:0=0,1;1=0;2=0 m1:0=2;2=1 m2:0=3;2=2 m3:0=4;2=3",
        ),
        ("2", "m0: m1:0 m2:0 m3:", "m0: m1:0=0 m2:0=1 m3:"),
        ("4,4", "m0/i9:0,1", "m0:0=0,1,2,3;1=0,1,2,3"),
        (
            "4,3,6",
            "m0:0,1 m1:2 m2/i7:",
            "m0:0=0,1,2,3;1=0,1,2 m1:2=0,1,2,3,4,5 m2:",
        ),
        ("3", "m0:0 m1:0", "m0:0=0,1 m1:0=2"),
        (
            "2,2",
            "m0:0,1 m1/i8:0 m2:0 m3/i6:0",
            "m0:1=0,1 m1:0=1 m2: m3:0=0",
        ),
        ("5", "m0:0", "m0:0=0,1,2,3,4"),
        ("6,4,6", "m0/i9:2 m1/i8: m2:", "m0:2=0,1,2,3,4,5 m1: m2:"),
        (
            "4,6",
            "m0:0,1 m1:0,1 m2:0,1 m3:0,1",
            "m0:0=0;1=0,1 m1:0=1;1=2,3 m2:0=2;1=4 m3:0=3;1=5",
        ),
        ("1", "m0: m1/i8: m2:0", "m0: m1: m2:0=0"),
    ];
    for (counts, members, expected) in cases {
        let counts: Vec<i32> = counts
            .split(',')
            .map(|n| n.parse().expect("a count"))
            .collect();
        let topics: BTreeMap<TopicId, i32> = (0..).map(topic).zip(counts.iter().copied()).collect();
        let everything: Partitions = topics
            .iter()
            .map(|(id, count)| (*id, (0..*count).collect()))
            .collect();
        let parsed: Vec<(Str, Option<Str>, Rc<BTreeSet<TopicId>>)> = members
            .split(' ')
            .map(|member| {
                let (name, named) = member.split_once(':').expect("a member's topics");
                let (name, instance) = match name.split_once('/') {
                    Some((name, instance)) => (name, Some(Str::from(instance))),
                    None => (name, None),
                };
                let named = named.split(',').filter(|text| !text.is_empty());
                let ids = named.map(|text| topic(text.parse().expect("a topic's number")));
                (Str::from(name), instance, Rc::new(ids.collect()))
            })
            .collect();
        let subscribers: Vec<Subscriber<'_>> = parsed
            .iter()
            .map(|(name, instance, topics)| Subscriber {
                member_id: name,
                instance_id: instance.as_ref(),
                topics: topics.clone(),
                // Whoever had everything gets no more than others.
                previous: Some(&everything),
            })
            .collect();
        let result = Assignor::Range.assign(&subscribers, &topics);
        let shown: Vec<String> = parsed
            .iter()
            .zip(&result)
            .map(|((name, ..), owned)| {
                let topics = topics.keys().enumerate();
                let rows = topics.filter_map(|(at, id)| {
                    let partitions: Vec<String> =
                        owned.get(id)?.iter().map(i32::to_string).collect();
                    Some(format!("{at}={}", partitions.join(",")))
                });
                format!("{name}:{}", rows.collect::<Vec<_>>().join(";"))
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{members}");
    }
}
