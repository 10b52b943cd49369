//! What a run shall do.

use std::fmt;
use std::time::Duration;

use crate::client::native::Steering;
use crate::client::{Acks, ClusterOptions};
use crate::record::Codec;

use super::check::Stamp;
use super::keys::{Keys, Spread};
use super::observe::{BrokerAt, Observe};
use super::payload::Contents;
use super::schedule::{Arrivals, Curve, Shape};
use super::sizes::Sizes;

/// One workload, complete: nothing is asked of anyone after it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kafka's listeners: topics are looked up, or created, there on either wire.
    pub bootstrap: Vec<String>,
    pub wire: Wire,
    pub cluster: ClusterOptions,
    pub topics: Topics,
    pub pace: Pace,
    /// Before the measured part; what happens in it is not counted.
    pub warm_up: Duration,
    /// The measured part.
    pub duration: Duration,
    /// Executors that the producers are spread over, each a thread.
    pub threads: usize,
    /// 0: the run only reads, or only keeps connections.
    pub producers: usize,
    /// Of each producer to each broker, or on the native wire to each of its shards.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub window: usize,
    /// Of the values; [`Contents::Lines`] bring their own.
    pub sizes: Sizes,
    pub contents: Contents,
    pub keys: Keys,
    pub spread: Spread,
    /// The same ones in every record.
    pub headers: Vec<(String, String)>,
    pub acks: Acks,
    pub codec: Codec,
    pub delivery: Delivery,
    pub batch_bytes: usize,
    pub linger: Duration,
    /// Batches of several partitions share a request up to this size.
    pub request_bytes: usize,
    pub seed: u64,
    pub consume: Option<Consume>,
    /// Connections beside those of the producers, which only stay.
    pub idle: Option<Idle>,
    /// Partitions that nobody writes to, of a topic beside the others, which readers read too.
    pub idle_partitions: Option<i32>,
    /// What is looked at, and done, beside the records.
    pub observe: Observe,
    /// Runs of the same label are repeats of one another to whoever compares.
    pub label: Option<String>,
}

/// What is written to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topics {
    /// Of one topic; several are called `name-0`, `name-1` and so on.
    pub name: String,
    pub count: usize,
    /// Of a topic that is created; one that exists keeps its own.
    pub partitions: i32,
    /// Of a topic that is created; `None`: the broker's default.
    pub replication: Option<i16>,
    /// Of a topic that is created.
    pub configs: Vec<(String, String)>,
    pub at_end: AtEnd,
}

/// What becomes of topics that the run created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtEnd {
    Keep,
    Remove,
}

/// What the records travel over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wire {
    Kafka,
    /// Ringlog's own.
    Native {
        /// Native listeners of the same brokers.
        bootstrap: Vec<String>,
        steering: Steering,
    },
}

/// When records are sent.
#[derive(Clone, PartialEq, Debug)]
pub enum Pace {
    /// Open loop: latency counts from when a record was due, whatever the broker does.
    Open { shape: Shape, arrivals: Arrivals },
    /// Closed loop: as fast as the windows allow; latency counts from when a request was submitted.
    Maximum,
    /// Nothing is sent but the backlog.
    Silent,
}

/// What a producer does about records that fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Nothing: they are counted.
    Once,
    /// It sends them again, in order, and the broker drops doubles (KIP-98).
    Idempotent,
    /// In transactions of so many records each. Latency counts until the commit; where a record fails, its whole
    /// transaction is aborted and counted as failed.
    Transactions { records: u64 },
}

/// Whether and how records are read back.
#[derive(Clone, PartialEq, Debug)]
pub struct Consume {
    /// Executors that the readers are spread over, each a thread.
    pub threads: usize,
    pub from: From,
    /// Bytes of values that are written before the readers begin; 0: none.
    pub backlog_bytes: u64,
    /// Groups, each of which reads everything; 0: one reader without a group.
    pub groups: usize,
    /// Of each group, for each topic.
    pub members: usize,
    pub protocol: GroupProtocol,
    pub isolation: crate::client::Isolation,
    /// Records a second that each reader takes at most.
    pub rate: Option<f64>,
}

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// Where the topic ends when the run begins.
    Tail,
    /// At the first record there is.
    Start,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupProtocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// KIP-848.
    Consumer,
}

/// Connections that only ask for metadata now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Idle {
    pub connections: usize,
    /// Of each.
    pub interval: Duration,
}

impl Default for Plan {
    /// A closed loop of 1 KB records to one topic of six partitions, not read back.
    fn default() -> Plan {
        Plan {
            bootstrap: vec!["127.0.0.1:9092".to_owned()],
            wire: Wire::Kafka,
            cluster: ClusterOptions::default(),
            topics: Topics {
                name: "load".to_owned(),
                count: 1,
                partitions: 6,
                replication: None,
                configs: Vec::new(),
                at_end: AtEnd::Keep,
            },
            pace: Pace::Maximum,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            threads: 1,
            producers: 1,
            connections: 1,
            window: 5,
            sizes: Sizes::fixed(1 << 10),
            contents: Contents::Random,
            keys: Keys::None,
            spread: Spread::Sticky,
            headers: Vec::new(),
            acks: Acks::All,
            codec: Codec::None,
            delivery: Delivery::Once,
            batch_bytes: 64 << 10,
            linger: Duration::from_millis(5),
            request_bytes: 1 << 20,
            seed: 1,
            consume: None,
            idle: None,
            idle_partitions: None,
            observe: Observe {
                interval: None,
                broker: BrokerAt::Port,
                hooks: Vec::new(),
                hook_limit: Duration::from_secs(60),
            },
            label: None,
        }
    }
}

impl fmt::Display for GroupProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GroupProtocol::Classic => "classic",
            GroupProtocol::Consumer => "consumer",
        })
    }
}

impl Topics {
    /// The names of all.
    pub fn names(&self) -> Vec<String> {
        match self.count {
            1 => vec![self.name.clone()],
            count => (0..count)
                .map(|nth| format!("{}-{nth}", self.name))
                .collect(),
        }
    }

    /// The name of that with partitions that nobody writes to.
    pub fn idle_name(&self) -> String {
        format!("{}-idle", self.name)
    }
}

impl Pace {
    /// Records a second asked on average over the measured part, in the open loop.
    pub fn rate(&self, duration: Duration) -> Option<f64> {
        match self {
            Pace::Open { shape, .. } => {
                let curve = Curve::new(shape, Duration::ZERO, duration);
                Some(curve.total() / duration.as_secs_f64())
            }
            Pace::Maximum | Pace::Silent => None,
        }
    }
}

impl Plan {
    /// Whether records carry a stamp: where somebody reads them.
    pub fn is_stamped(&self) -> bool {
        self.consume.is_some()
    }

    /// The largest value there may be, its stamp included.
    pub fn value_bytes_max(&self) -> usize {
        match &self.contents {
            Contents::Lines(lines) => lines.bytes_max() + self.stamp_bytes(),
            _ => self.sizes.max(),
        }
    }

    pub fn value_bytes_mean(&self) -> f64 {
        match &self.contents {
            Contents::Lines(lines) => lines.mean() + self.stamp_bytes() as f64,
            _ => self.sizes.mean(),
        }
    }

    /// Whether what was there before the run is read, and nothing else.
    pub fn is_cold(&self) -> bool {
        let from = self.consume.as_ref().map(|consume| consume.from);
        self.producers == 0 && from == Some(From::Start)
    }

    /// How many topics are written to, or read although nobody in this run writes to them; and that of idle partitions.
    ///
    /// A run that has idle partitions and no producers has no others.
    pub fn topics_used(&self) -> (usize, usize) {
        let idle = usize::from(self.idle_partitions.is_some());
        let is_used = self.producers > 0 || (self.consume.is_some() && idle == 0);
        (if is_used { self.topics.count } else { 0 }, idle)
    }

    fn stamp_bytes(&self) -> usize {
        match self.is_stamped() {
            true => Stamp::BYTES,
            false => 0,
        }
    }

    pub fn backlog_bytes(&self) -> u64 {
        self.consume
            .as_ref()
            .map_or(0, |consume| consume.backlog_bytes)
    }

    /// What makes the plan impossible, for people.
    pub fn fault(&self) -> Option<String> {
        let parts = [
            Plan::counts_fault,
            Plan::records_fault,
            Plan::delivery_fault,
            Plan::consume_fault,
        ];
        let own = parts.into_iter().find_map(|part| part(self));
        own.or_else(|| self.observe.fault(self.duration))
    }

    fn counts_fault(&self) -> Option<String> {
        for (what, count) in [
            ("topics", self.topics.count),
            ("threads", self.threads),
            ("connections", self.connections),
            ("window", self.window),
        ] {
            if count == 0 {
                return Some(format!("{what}: at least 1"));
            }
        }
        if self.threads > self.producers.max(1) {
            return Some(format!(
                "{} threads for {} producers: a producer runs on one thread",
                self.threads, self.producers
            ));
        }
        if let Some(idle) = self.idle.filter(|idle| idle.connections == 0) {
            return Some(format!("no connections that ask every {:?}", idle.interval));
        }
        let is_idle = self.idle.is_some() || self.idle_partitions.is_some();
        if self.producers == 0 && self.consume.is_none() && !is_idle {
            let why = "no producers, nothing that is read, no idle connections or partitions: nothing to do";
            return Some(why.to_owned());
        }
        match &self.pace {
            Pace::Open { .. } if self.producers == 0 => {
                Some("a rate of records and no producers".to_owned())
            }
            Pace::Open { shape, .. } => shape.fault(),
            Pace::Maximum => None,
            Pace::Silent if self.backlog_bytes() == 0 && self.producers > 0 => {
                Some("nothing to send: neither a rate nor a backlog".to_owned())
            }
            Pace::Silent => None,
        }
    }

    fn records_fault(&self) -> Option<String> {
        let least = Stamp::BYTES;
        let is_lines = matches!(self.contents, Contents::Lines(_));
        if self.is_stamped() && self.producers > 0 && !is_lines && self.sizes.min() < least {
            return Some(format!(
                "records of {} bytes cannot carry the {least}-byte stamp by which what is read is checked",
                self.sizes.min()
            ));
        }
        if let Contents::Compressible { ratio } = self.contents
            && !(1.0..=1000.0).contains(&ratio)
        {
            return Some(format!("compressible by {ratio}: from 1 to 1000"));
        }
        if self.value_bytes_max() > 1 << 30 {
            return Some("values of more than 1 GiB".to_owned());
        }
        if self.headers.len() > HEADERS_MAX {
            return Some(format!("more than {HEADERS_MAX} headers"));
        }
        match self.keys {
            Keys::Uniform { count: 0 }
            | Keys::Zipf { count: 0, .. }
            | Keys::Sequential { count: 0 } => Some("no keys to draw from".to_owned()),
            Keys::Zipf { exponent, .. } if !(0.0..=10.0).contains(&exponent) => {
                Some(format!("a zipf exponent of {exponent}: from 0 to 10"))
            }
            Keys::None => None,
            _ if self.spread == Spread::RoundRobin => Some(
                "keys decide the partition: --spread round-robin is for records without".to_owned(),
            ),
            _ => None,
        }
    }

    fn delivery_fault(&self) -> Option<String> {
        let what = match self.delivery {
            Delivery::Once => return None,
            Delivery::Idempotent => "idempotent producers",
            Delivery::Transactions { records: 0 } => {
                return Some("transactions of no records".to_owned());
            }
            Delivery::Transactions { .. } => "transactions",
        };
        let is_native = self.wire != Wire::Kafka;
        if is_native && matches!(self.delivery, Delivery::Transactions { .. }) {
            return Some("the native wire has no transactions yet: --wire kafka has".to_owned());
        }
        if self.acks != Acks::All {
            return Some(format!("{what} need --acks all"));
        }
        if self.window > IDEMPOTENT_WINDOW_MAX {
            return Some(format!(
                "{what} may have {IDEMPOTENT_WINDOW_MAX} batches of a partition in flight, which is what brokers remember: --window {} is more",
                self.window
            ));
        }
        None
    }

    fn consume_fault(&self) -> Option<String> {
        let consume = self.consume.as_ref()?;
        let is_native = self.wire != Wire::Kafka;
        if is_native && consume.groups > 0 {
            return Some("the native wire has no groups yet: --wire kafka has".to_owned());
        }
        if consume.threads == 0 {
            return Some("reader threads: at least 1".to_owned());
        }
        if consume.groups > 0 && consume.members == 0 {
            return Some("groups without members".to_owned());
        }
        if consume.backlog_bytes > 0 && self.producers == 0 {
            return Some("a backlog needs producers to build it".to_owned());
        }
        if consume.from == From::Start && self.producers == 0 && self.idle_partitions.is_some() {
            let why = "idle partitions have nothing to be read from the start: --consume=tail";
            return Some(why.to_owned());
        }
        None
    }
}

/// So many are put into a record without memory of their own.
pub const HEADERS_MAX: usize = 8;
/// Kafka's brokers keep the last five batches of each producer in a partition.
const IDEMPOTENT_WINDOW_MAX: usize = 5;

#[cfg(test)]
impl Consume {
    /// One reader without a group, of what comes.
    pub fn at_the_tail() -> Consume {
        Consume {
            threads: 1,
            from: From::Tail,
            backlog_bytes: 0,
            groups: 0,
            members: 1,
            protocol: GroupProtocol::Classic,
            isolation: crate::client::Isolation::Uncommitted,
            rate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Isolation;

    fn fault(change: impl FnOnce(&mut Plan)) -> Option<String> {
        let mut plan = Plan::default();
        change(&mut plan);
        plan.fault()
    }

    fn native() -> Wire {
        Wire::Native {
            bootstrap: Vec::new(),
            steering: Steering::ToOwner,
        }
    }

    #[test]
    fn what_can_work_has_no_fault() {
        assert_eq!(fault(|_| ()), None);
        assert_eq!(
            fault(|plan| plan.consume = Some(Consume::at_the_tail())),
            None
        );
        let committed = fault(|plan| {
            plan.wire = native();
            plan.consume = Some(Consume {
                isolation: Isolation::Committed,
                ..Consume::at_the_tail()
            });
        });
        assert_eq!(committed, None);
        let idle = fault(|plan| {
            plan.producers = 0;
            plan.idle = Some(Idle {
                connections: 10,
                interval: Duration::from_secs(1),
            });
        });
        assert_eq!(idle, None);
        for idle_partitions in [None, Some(10)] {
            let tail = fault(|plan| {
                plan.producers = 0;
                plan.idle_partitions = idle_partitions;
                plan.consume = Some(Consume::at_the_tail());
            });
            assert_eq!(tail, None, "it is read for its time");
        }
    }

    #[test]
    fn without_producers_idle_partitions_take_the_place_of_the_topics() {
        let used = |producers, consume: Option<Consume>, idle_partitions| {
            let plan = Plan {
                producers,
                consume,
                idle_partitions,
                ..Plan::default()
            };
            plan.topics_used()
        };
        let reads = || Some(Consume::at_the_tail());
        assert_eq!(used(1, None, None), (1, 0));
        assert_eq!(used(1, reads(), Some(9)), (1, 1));
        assert_eq!(used(0, reads(), None), (1, 0));
        assert_eq!(used(0, reads(), Some(9)), (0, 1));
        assert_eq!(used(0, None, Some(9)), (0, 1));
        assert_eq!(used(0, None, None), (0, 0));
    }

    #[test]
    fn what_cannot_work_is_told_before_anything_begins() {
        type Change = Box<dyn FnOnce(&mut Plan)>;
        let cases: Vec<(&str, Change)> = vec![
            (
                "native wire has no transactions",
                Box::new(|plan| {
                    plan.wire = native();
                    plan.delivery = Delivery::Transactions { records: 10 };
                }),
            ),
            (
                "native wire has no groups",
                Box::new(|plan| {
                    plan.wire = native();
                    plan.consume = Some(Consume {
                        groups: 1,
                        ..Consume::at_the_tail()
                    });
                }),
            ),
            (
                "need --acks all",
                Box::new(|plan| {
                    plan.delivery = Delivery::Idempotent;
                    plan.acks = Acks::Leader;
                }),
            ),
            (
                "--window 6 is more",
                Box::new(|plan| {
                    plan.delivery = Delivery::Idempotent;
                    plan.window = 6;
                }),
            ),
            (
                "32-byte stamp",
                Box::new(|plan| {
                    plan.consume = Some(Consume::at_the_tail());
                    plan.sizes = Sizes::mix(&[(1, 31, 100)]);
                }),
            ),
            ("nothing to do", Box::new(|plan| plan.producers = 0)),
            ("nothing to send", Box::new(|plan| plan.pace = Pace::Silent)),
            (
                "nothing to be read from the start",
                Box::new(|plan| {
                    plan.producers = 0;
                    plan.idle_partitions = Some(10);
                    plan.consume = Some(Consume {
                        from: From::Start,
                        ..Consume::at_the_tail()
                    });
                }),
            ),
            (
                "keys decide the partition",
                Box::new(|plan| {
                    plan.keys = Keys::Uniform { count: 3 };
                    plan.spread = Spread::RoundRobin;
                }),
            ),
            (
                "a producer runs on one thread",
                Box::new(|plan| plan.threads = 2),
            ),
        ];
        for (wanted, change) in cases {
            let found = fault(change);
            assert!(
                found.as_ref().is_some_and(|f| f.contains(wanted)),
                "{wanted}: {found:?}"
            );
        }
    }
}
