//! The server-side assignors: who shall own which partition, as pure functions of what is known of a group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

use crate::types::{Str, TopicId};

/// Partitions by topic; a topic without partitions is not in it.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// The assignors a member may ask for (`group.consumer.assignors`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// As many partitions to each as subscriptions allow, and as few moves as that allows.
    Uniform,
    /// Of each topic a run of neighbouring partitions to each, the same run where topics are alike; moves do not count.
    Range,
}

impl Assignor {
    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of a name, which is case sensitive.
    pub fn by_name(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// Gives every partition of a topic that somebody subscribes to exactly one of its subscribers.
    ///
    /// - `members`: any order; the result has theirs.
    /// - `topics`: partition counts; a subscription to a topic that is not here is ignored.
    /// - Source: KIP-848, "Server Side Mode". Where a group is so large that evening out all loads would take long
    ///   ([`STEPS_MAX`]), the uniform assignor stops early: the result is complete, only less even.
    pub fn assign(
        self,
        members: &[Subscriber<'_>],
        topics: &BTreeMap<TopicId, i32>,
    ) -> Vec<Partitions> {
        match self {
            Assignor::Uniform => Uniform::new(members, topics).run(),
            Assignor::Range => range(members, topics),
        }
    }
}

/// What an assignor is told of one member.
#[derive(Clone, Debug)]
pub struct Subscriber<'a> {
    pub member_id: &'a Str,
    /// Keeps a static member's place in the order of [`Assignor::Range`] over restarts.
    pub instance_id: Option<&'a Str>,
    pub topics: Rc<BTreeSet<TopicId>>,
    /// What the assignor gave this member before.
    pub previous: Option<&'a Partitions>,
}

/// How many looks at a (topic, subscriber) pair evening out may take: some tens of milliseconds.
pub const STEPS_MAX: usize = 4_000_000;

/// Members with an instance id first, by it; then the others by member id.
fn range(members: &[Subscriber<'_>], topics: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&at| {
        let member = &members[at];
        let name = member.instance_id.unwrap_or(member.member_id);
        (member.instance_id.is_none(), name)
    });
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for &at in &order {
        for topic in members[at].topics.iter() {
            subscribers.entry(*topic).or_default().push(at);
        }
    }
    let mut result = vec![Partitions::new(); members.len()];
    for (topic, subscribers) in subscribers {
        let count = topics.get(&topic).copied().unwrap_or(0).max(0);
        let (share, more) = (
            count / subscribers.len() as i32,
            count % subscribers.len() as i32,
        );
        let mut next = 0;
        for (place, at) in subscribers.into_iter().enumerate() {
            let end = next + share + i32::from((place as i32) < more);
            if end > next {
                result[at].insert(topic, (next..end).collect());
            }
            next = end;
        }
    }
    result
}

/// The uniform assignor at work: members and topics are numbers here.
struct Uniform {
    ids: Vec<TopicId>,
    counts: Vec<i32>,
    /// Per topic: its subscribers, by member id.
    subscribers: Vec<Vec<usize>>,
    /// Per member: what it has by now.
    held: Vec<BTreeMap<usize, BTreeSet<i32>>>,
    loads: Vec<usize>,
    alike: bool,
    /// Per topic: what nobody has.
    free: Vec<Vec<i32>>,
    steps_left: usize,
}

impl Uniform {
    /// Every member keeps what it had and may still have; two that claim the same partition are served in the order
    /// of their ids.
    fn new(members: &[Subscriber<'_>], topics: &BTreeMap<TopicId, i32>) -> Uniform {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|&at| members[at].member_id);
        let subscribed: BTreeSet<TopicId> = members
            .iter()
            .flat_map(|member| member.topics.iter().copied())
            .filter(|topic| topics.get(topic).is_some_and(|count| *count > 0))
            .collect();
        let ids: Vec<TopicId> = subscribed.into_iter().collect();
        let index: HashMap<TopicId, usize> =
            ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let counts: Vec<i32> = ids.iter().map(|id| topics[id]).collect();
        let mut subscribers = vec![Vec::new(); ids.len()];
        let mut held = vec![BTreeMap::new(); members.len()];
        let mut loads = vec![0; members.len()];
        let mut taken: Vec<Vec<bool>> = counts.iter().map(|n| vec![false; *n as usize]).collect();
        for &at in &order {
            let member = &members[at];
            for topic in member.topics.iter() {
                if let Some(topic) = index.get(topic) {
                    subscribers[*topic].push(at);
                }
            }
            for (topic, partitions) in member.previous.into_iter().flatten() {
                let Some(&number) = index.get(topic).filter(|_| member.topics.contains(topic))
                else {
                    continue;
                };
                for &partition in partitions {
                    let slot = usize::try_from(partition)
                        .ok()
                        .and_then(|slot| taken[number].get_mut(slot));
                    if let Some(slot) = slot.filter(|slot| !**slot) {
                        *slot = true;
                        held[at]
                            .entry(number)
                            .or_insert_with(BTreeSet::new)
                            .insert(partition);
                        loads[at] += 1;
                    }
                }
            }
        }
        let free = taken
            .iter()
            .map(|slots| (0..slots.len() as i32).filter(|&p| !slots[p as usize]))
            .map(Iterator::collect)
            .collect();
        Uniform {
            alike: subscribers
                .iter()
                .all(|of_topic| of_topic.len() == members.len()),
            ids,
            counts,
            subscribers,
            held,
            loads,
            free,
            steps_left: STEPS_MAX,
        }
    }

    fn run(mut self) -> Vec<Partitions> {
        if self.alike {
            self.even_out_alike();
        } else {
            self.give_free();
            self.even_out();
        }
        let ids = &self.ids;
        let named = |held: BTreeMap<usize, BTreeSet<i32>>| {
            held.into_iter()
                .filter(|(_, partitions)| !partitions.is_empty())
                .map(|(topic, partitions)| (ids[topic], partitions))
                .collect()
        };
        self.held.into_iter().map(named).collect()
    }

    /// Everybody subscribes to everything: whoever has more than its share gives up the rest, whoever has less gets
    /// of what is free. Linear in partitions and members.
    fn even_out_alike(&mut self) {
        let Some(order) = self.subscribers.first().cloned() else {
            return;
        };
        let total: usize = self.counts.iter().map(|count| *count as usize).sum();
        let (share, mut more) = (total / order.len(), total % order.len());
        let mut quota = vec![share; self.loads.len()];
        let (over, under): (Vec<usize>, Vec<usize>) =
            order.iter().partition(|&&at| self.loads[at] > share);
        for at in over {
            if more > 0 {
                quota[at] += 1;
                more -= 1;
            }
            while self.loads[at] > quota[at] {
                self.give_up_one(at);
            }
        }
        for at in under.into_iter().take(more) {
            quota[at] += 1;
        }
        let mut hungry: VecDeque<usize> = order
            .into_iter()
            .filter(|&at| self.loads[at] < quota[at])
            .collect();
        for topic in 0..self.ids.len() {
            for partition in std::mem::take(&mut self.free[topic]) {
                let at = hungry.pop_front().expect("the quotas add up to the total");
                self.take(at, topic, partition);
                if self.loads[at] < quota[at] {
                    hungry.push_back(at);
                }
            }
        }
    }

    /// The member gives up the last partition of the topic it has most of, so that topics stay spread.
    fn give_up_one(&mut self, at: usize) {
        let most = self.held[at].iter().max_by_key(|(_, held)| held.len());
        let topic = *most.expect("its load is above its quota").0;
        let partition = self.give(at, topic);
        self.free[topic].push(partition);
    }

    /// What is free goes to the least loaded subscriber, topics with the smallest choice first.
    fn give_free(&mut self) {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_by_key(|&topic| self.subscribers[topic].len());
        for topic in order {
            let mut by_load: BTreeSet<(usize, usize)> = self.subscribers[topic]
                .iter()
                .map(|&at| (self.loads[at], at))
                .collect();
            for partition in std::mem::take(&mut self.free[topic]) {
                let (load, at) = by_load.pop_first().expect("a topic here has a subscriber");
                self.take(at, topic, partition);
                by_load.insert((load + 1, at));
            }
        }
    }

    /// Moves partitions, over others if need be, from members to such as have at least two less, until there are none
    /// or the steps run out. Then no other way to give makes the loads more even.
    fn even_out(&mut self) {
        loop {
            let mut moved = false;
            // Nobody becomes lighter than the lightest: whoever has one more at most has nothing to give.
            let subscribers = self.subscribers.iter().flatten();
            let lightest = subscribers.map(|&at| self.loads[at]).min().unwrap_or(0);
            let mut order: Vec<usize> = (0..self.loads.len()).collect();
            order.sort_by_key(|&at| (std::cmp::Reverse(self.loads[at]), at));
            for at in order {
                while self.loads[at] > lightest + 1 {
                    let Some(path) = self.path_to_lighter(at) else {
                        break;
                    };
                    for (from, topic, to) in path {
                        let partition = self.give(from, topic);
                        self.take(to, topic, partition);
                    }
                    moved = true;
                }
                if self.steps_left == 0 {
                    return;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// The shortest chain of hand-overs from `start` to a member whose load is at least two below its own, last
    /// hand-over first: so nobody has to give what it is yet to get.
    fn path_to_lighter(&mut self, start: usize) -> Option<Vec<(usize, usize, usize)>> {
        let mut came: HashMap<usize, (usize, usize)> = HashMap::new();
        let mut topics_seen = HashSet::new();
        let mut queue = VecDeque::from([start]);
        let loads = &self.loads;
        while let Some(from) = queue.pop_front() {
            for (&topic, held) in &self.held[from] {
                if held.is_empty() || !topics_seen.insert(topic) {
                    continue;
                }
                let mut lightest: Option<(usize, usize)> = None;
                for &to in &self.subscribers[topic] {
                    self.steps_left = self.steps_left.checked_sub(1)?;
                    if to == start || came.contains_key(&to) {
                        continue;
                    }
                    came.insert(to, (from, topic));
                    queue.push_back(to);
                    if loads[to] + 2 <= loads[start] {
                        let found = (loads[to], to);
                        lightest = Some(lightest.map_or(found, |best| found.min(best)));
                    }
                }
                if let Some((_, end)) = lightest {
                    let mut path = Vec::new();
                    let mut to = end;
                    while to != start {
                        let (from, topic) = came[&to];
                        path.push((from, topic, to));
                        to = from;
                    }
                    return Some(path);
                }
            }
        }
        None
    }

    fn take(&mut self, at: usize, topic: usize, partition: i32) {
        self.held[at].entry(topic).or_default().insert(partition);
        self.loads[at] += 1;
    }

    fn give(&mut self, at: usize, topic: usize) -> i32 {
        let held = self.held[at].get_mut(&topic);
        let partition = held.and_then(BTreeSet::pop_last);
        self.loads[at] -= 1;
        partition.expect("only what is held is given")
    }
}
