//! A load scenario: what the flags of `ringlog load` and the keys of a scenario file say, one row each.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::client::native::Steering;
use crate::client::{Acks, Isolation};
use crate::load::{
    AtEnd, Consume, Contents, Delivery, From, Goal, GroupProtocol, Idle, Observe, Pace, Plan,
    Sizes, Spread, Topics, Wire,
};
use crate::record::Codec;

use super::args::{
    Bootstrap, ReachArgs, acks, bootstrap, bytes, codec, duration, duration_or_zero, rate,
};
use super::failure::Failure;
use super::load_values::*;

/// A value as it was written, and what it means.
#[derive(Clone, Debug)]
pub struct Given<T> {
    text: String,
    value: T,
}

/// What reads a value: for both the flag and the key.
fn given<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Given<T>, String> + Clone + Send + Sync + 'static {
    move |text| {
        let value = parse(text)?;
        Ok(Given {
            text: text.to_owned(),
            value,
        })
    }
}

/// One row a key: doc, name, type, reader, name of the value, default, and what only a flag has.
macro_rules! scenario {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty,
        $parse:path, $value:literal, [$($default:literal)?] $(, {$($flag:tt)+})?;)+) => {
        /// Every key that was given; a file's keys are the flags without their dashes.
        #[derive(Args, Clone, Default, Debug)]
        pub struct Scenario {
            $(
                #[arg(
                    long,
                    value_name = $value,
                    value_parser = given::<$type>($parse),
                    help = concat!($($doc,)+ $(" [default: ", $default, "]")?).trim()
                )]
                $(#[arg($($flag)+)])?
                $name: Option<Given<$type>>,
            )+
        }

        impl Scenario {
            const KEYS: &[&str] = &[$(stringify!($name)),+];

            /// What is given here, else what `file` says.
            pub fn over(self, file: Scenario) -> Scenario {
                Scenario {
                    $($name: self.$name.or(file.$name),)+
                }
            }

            /// Every key with its text, given or by default.
            pub fn texts(&self) -> Vec<(String, Option<String>)> {
                vec![$({
                    let default: Option<&str> = [$($default)?].first().copied();
                    let given = self.$name.as_ref().map(|given| given.text.clone());
                    (key_of(stringify!($name)), given.or(default.map(str::to_owned)))
                },)+]
            }

            fn set<E: de::Error>(&mut self, name: &str, text: &str) -> Result<(), E> {
                match name {
                    $(stringify!($name) => {
                        let read = given::<$type>($parse)(text);
                        self.$name = Some(read.map_err(E::custom)?);
                    })+
                    _ => unreachable!("the key was found in the list"),
                }
                Ok(())
            }

            $(scenario!(@value $name, $type, $parse, [$($default)?]);)+
        }
    };
    (@value $name:ident, $type:ty, $parse:path, [$default:literal]) => {
        fn $name(&self) -> $type {
            match &self.$name {
                Some(given) => given.value.clone(),
                None => $parse($default).expect("the default is one of the values"),
            }
        }
    };
    (@value $name:ident, $type:ty, $parse:path, []) => {
        fn $name(&self) -> Option<$type> {
            self.$name.as_ref().map(|given| given.value.clone())
        }
    };
}

scenario! {
    /// Created with --partitions if it does not exist; with --topics, what their names begin with
    topic: String, text, "NAME", ["load"];
    /// How many topics are written to: NAME-0, NAME-1 and so on
    topics: usize, count, "COUNT", ["1"];
    /// Of each topic that is created
    partitions: i32, partitions, "COUNT", ["6"];
    /// Of each topic that is created; the broker's own default if it is not given
    replication_factor: i16, replication, "COUNT", [];
    /// Of each topic that is created
    topic_configs: Vec<(String, String)>, pairs, "KEY=VALUE,...", [];
    /// Remove the topics that were created when the run is over
    remove_topics: bool, yes, "true|false", ["false"], {num_args = 0..=1, require_equals = true, default_missing_value = "true"};
    /// What the records travel over, there and back: Kafka's wire to any broker, or Ringlog's own to one whose
    /// listeners speak it (native.listener.names)
    wire: WireKind, wire, "kafka|native", ["kafka"];
    /// With --wire native, the listener to ask first; --bootstrap is still asked for the topic
    native_bootstrap: Bootstrap, bootstrap, "HOST:PORT", ["127.0.0.1:9093"];
    /// With --wire native, which shard of a broker a connection goes to: the one that owns the partitions, or any, where
    /// each request for others takes a hop inside the broker
    native_steering: Steering, steering, "owner|any", ["owner"];
    /// Records a second, all producers together: R, a ramp R..R, steps R,R,..., burst:BASE,PEAK,LASTS/EVERY, each with
    /// poisson: before it for random arrivals; max for the closed loop [default: max, or nothing beside a backlog]
    rate: Rate, shape, "RATE", [];
    /// Length of the measured part
    duration: Duration, duration, "TIME", ["10s"];
    /// Run so long before it is measured
    warm_up: Duration, duration_or_zero, "TIME", ["1s"];
    /// Bytes of each record's value: SIZE, MIN..MAX, or a mixture such as 70%:100,30%:1k..10k
    record_bytes: Sizes, sizes, "BYTES", ["1k"], {visible_alias = "size"};
    /// What is in the values: random, zero, compressible:RATIO or lines:FILE, which brings its own sizes
    payload: Contents, contents, "KIND", ["random"];
    /// The same in every record
    headers: Vec<(String, String)>, pairs, "KEY=VALUE,...", [];
    /// none, uniform[:N], zipf[:N[:EXPONENT]] or sequential[:N]; a key decides the partition
    keys: KeyDraw, keys, "KIND", ["none"];
    /// How many different keys there are, where --keys does not say
    key_count: u64, many, "COUNT", ["1000000"];
    /// Where records without a key go: batch by batch (sticky), or one by one (round-robin)
    spread: Spread, spread, "sticky|round-robin", ["sticky"];
    /// Who must have a record before it is acknowledged: 0 nobody, 1 the leader, all every in-sync replica
    acks: Acks, acks, "0|1|all", ["all"];
    /// Of the batches
    codec: Codec, codec, "none|gzip|snappy|lz4|zstd", ["none"];
    /// Send again what fails, in order and without duplicates (KIP-98)
    idempotent: bool, yes, "true|false", ["false"], {num_args = 0..=1, require_equals = true, default_missing_value = "true"};
    /// In transactions of so many records of each producer; latency counts until the commit
    transaction_records: u64, many, "COUNT", [];
    /// A batch is full at this size; 0 for a batch a record
    batch_bytes: usize, bytes, "BYTES", ["64k"];
    /// In the open loop, a batch is sent when its first record has waited so long
    linger: Duration, duration_or_zero, "TIME", ["5ms"];
    /// Batches of several partitions share a request up to this size
    request_bytes: usize, bytes, "BYTES", ["1m"];
    /// 0 to read only, or only keep connections and partitions
    producers: usize, count_or_zero, "COUNT", ["1"];
    /// Of each producer to each broker, or to each of its shards on the native wire
    connections: usize, count, "COUNT", ["1"];
    /// Requests in flight on each connection
    window: usize, count, "COUNT", ["5"];
    /// Threads that the producers are spread over
    threads: usize, count, "COUNT", ["1"];
    /// Read the records back, for the end-to-end latency and to check that each comes, once, in order and whole: from the
    /// tail, or from the start of the topic. Without producers the tail is read for --duration, whatever comes
    consume: From, consume, "tail|start", [], {num_args = 0..=1, require_equals = true, default_missing_value = "tail"};
    /// Write so many bytes of values first, then read them: a cold drain
    backlog: u64, large_bytes, "BYTES", [];
    /// Read by so many groups, each of which reads everything
    groups: usize, count_or_zero, "COUNT", ["0"];
    /// Of each group, for each topic
    group_members: usize, count, "COUNT", ["1"];
    /// JoinGroup and SyncGroup, or KIP-848's
    group_protocol: GroupProtocol, group_protocol, "classic|consumer", ["classic"];
    /// Whether records of open and aborted transactions are read
    isolation: Isolation, isolation, "committed|uncommitted", ["uncommitted"];
    /// Threads that the readers are spread over: the partitions of each topic, or the members of groups
    reader_threads: usize, count, "COUNT", ["1"];
    /// Records a second that each reader takes at most: a slow consumer
    consume_rate: f64, rate, "RECORDS", [];
    /// Connections beside all others that only stay, and ask for metadata now and then
    idle_connections: usize, count_or_zero, "COUNT", ["0"];
    /// How often each of them asks
    idle_interval: Duration, duration, "TIME", ["10s"];
    /// Partitions of a topic NAME-idle that nobody writes to, created beside the others; with --consume they are read too,
    /// and without producers nothing else is
    idle_partitions: i32, partitions, "COUNT", [];
    /// Find the highest rate at which this holds by bisection: [e2e-]p50|p90|p99|p99.9|p99.99|max=TIME
    find_max: Goal, goal, "POINT=TIME", [];
    /// How closely that rate is to be known
    find_precision: f64, part, "PART", ["5%"];
    /// Of everything random
    seed: u64, seed, "NUMBER", ["1"];
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireKind {
    Kafka,
    Native,
}

fn wire(text: &str) -> Result<WireKind, String> {
    match text {
        "kafka" => Ok(WireKind::Kafka),
        "native" => Ok(WireKind::Native),
        _ => Err("expected kafka or native".to_owned()),
    }
}

fn steering(text: &str) -> Result<Steering, String> {
    match text {
        "owner" => Ok(Steering::ToOwner),
        "any" => Ok(Steering::Anywhere),
        _ => Err("expected owner or any".to_owned()),
    }
}

/// What a run shall find.
pub enum Aim {
    Measure,
    FindMax(Goal, f64),
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// - `Err(Usage)`: with the line and the key, and what is allowed.
    pub fn read(path: &Path) -> Result<Scenario, Failure> {
        let told = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        Scenario::parse(&text).map_err(told)
    }

    fn parse(text: &str) -> Result<Scenario, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    pub fn aim(&self) -> Result<Aim, Failure> {
        match self.find_max() {
            None => Ok(Aim::Measure),
            Some(goal) => {
                if let Some(Rate::Shape(shape, _)) = self.rate() {
                    return Err(Failure::Usage(format!(
                        "find-max finds the rate itself: it does not go with {shape:?}"
                    )));
                }
                if goal.end_to_end && self.consume().is_none() {
                    let why = "an end-to-end goal needs --consume";
                    return Err(Failure::Usage(why.to_owned()));
                }
                if self.backlog().is_some() {
                    let why = "find-max has no backlog";
                    return Err(Failure::Usage(why.to_owned()));
                }
                Ok(Aim::FindMax(goal, self.find_precision()))
            }
        }
    }

    /// - `Err`: keys that contradict each other, and whatever [`Plan::fault`] finds.
    pub fn plan(
        &self,
        reach: &ReachArgs,
        observe: Observe,
        label: Option<String>,
    ) -> Result<Plan, Failure> {
        let plan = Plan {
            bootstrap: reach.bootstrap.0.clone(),
            wire: match self.wire() {
                WireKind::Kafka => Wire::Kafka,
                WireKind::Native => Wire::Native {
                    bootstrap: self.native_bootstrap().0,
                    steering: self.native_steering(),
                },
            },
            cluster: reach.cluster_options(),
            topics: Topics {
                name: self.topic(),
                count: self.topics(),
                partitions: self.partitions(),
                replication: self.replication_factor(),
                configs: self.topic_configs().unwrap_or_default(),
                at_end: match self.remove_topics() {
                    true => AtEnd::Remove,
                    false => AtEnd::Keep,
                },
            },
            pace: self.pace(),
            warm_up: self.warm_up(),
            duration: self.duration(),
            threads: self.threads(),
            producers: self.producers(),
            connections: self.connections(),
            window: self.window(),
            sizes: self.record_bytes(),
            contents: self.payload(),
            keys: self.keys().keys(self.key_count()),
            spread: self.spread(),
            headers: self.headers().unwrap_or_default(),
            acks: self.acks(),
            codec: self.codec(),
            delivery: match (self.transaction_records(), self.idempotent()) {
                (Some(records), _) => Delivery::Transactions { records },
                (None, true) => Delivery::Idempotent,
                (None, false) => Delivery::Once,
            },
            batch_bytes: self.batch_bytes(),
            linger: self.linger(),
            request_bytes: self.request_bytes(),
            seed: self.seed(),
            consume: self.readers()?,
            idle: match self.idle_connections() {
                0 => None,
                connections => Some(Idle {
                    connections,
                    interval: self.idle_interval(),
                }),
            },
            idle_partitions: self.idle_partitions(),
            observe,
            label,
        };
        if matches!(plan.contents, Contents::Lines(_)) && self.record_bytes.is_some() {
            let why =
                "the lines of a file have their own sizes: record-bytes does not go with them";
            return Err(Failure::Usage(why.to_owned()));
        }
        match plan.fault() {
            Some(fault) => Err(Failure::Usage(fault)),
            None => Ok(plan),
        }
    }

    fn pace(&self) -> Pace {
        match self.rate() {
            Some(Rate::Shape(shape, arrivals)) => Pace::Open { shape, arrivals },
            Some(Rate::Max) => Pace::Maximum,
            None if self.backlog().is_some() || self.producers() == 0 => Pace::Silent,
            None => Pace::Maximum,
        }
    }

    fn readers(&self) -> Result<Option<Consume>, Failure> {
        let (backlog, groups) = (self.backlog(), self.groups());
        let from = match self.consume() {
            Some(from) => from,
            // Both are for readers only.
            None if backlog.is_some() || groups > 0 => From::Tail,
            None => {
                let isolation = self.isolation.as_ref().map(|_| "isolation");
                let rate = self.consume_rate.as_ref().map(|_| "consume-rate");
                let threads = self.reader_threads.as_ref().map(|_| "reader-threads");
                return match isolation.or(rate).or(threads) {
                    Some(key) => Err(Failure::Usage(format!(
                        "{key} is for readers: it needs consume, groups or a backlog"
                    ))),
                    None => Ok(None),
                };
            }
        };
        Ok(Some(Consume {
            threads: self.reader_threads(),
            from,
            backlog_bytes: backlog.unwrap_or(0),
            groups,
            members: self.group_members(),
            protocol: self.group_protocol(),
            isolation: self.isolation(),
            rate: self.consume_rate(),
        }))
    }
}

/// A key as a file and, behind two dashes, the command line have it.
fn key_of(name: &str) -> String {
    name.replace('_', "-")
}

impl<'de> Deserialize<'de> for Scenario {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scenario, D::Error> {
        deserializer.deserialize_map(Rows)
    }
}

struct Rows;

impl<'de> Visitor<'de> for Rows {
    type Value = Scenario;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys of a load scenario")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scenario, A::Error> {
        let mut scenario = Scenario::default();
        while let Some(name) = map.next_key_seed(Key)? {
            map.next_value_seed(Value {
                scenario: &mut scenario,
                name,
            })?;
        }
        Ok(scenario)
    }
}

/// Reads a key, which is one of those there are.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        let key = String::deserialize(deserializer)?;
        let found = Scenario::KEYS.iter().find(|name| key_of(name) == key);
        found.copied().ok_or_else(|| {
            let all: Vec<String> = Scenario::KEYS.iter().map(|name| key_of(name)).collect();
            let all = all.join(", ");
            de::Error::custom(format!("unknown key '{key}'; allowed are {all}"))
        })
    }
}

/// Reads the value of a key into its row.
struct Value<'a> {
    scenario: &'a mut Scenario,
    name: &'static str,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        self.scenario.set(self.name, &text)
    }
}

/// A value as a flag would have it: text, a number, a truth value, or a list of those.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true, false or a list of those")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_bool<E>(self, is: bool) -> Result<Text, E> {
                Ok(Text(is.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                let mut parts = Vec::new();
                while let Some(Text(part)) = list.next_element()? {
                    parts.push(part);
                }
                Ok(Text(parts.join(",")))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(scenario: &Scenario, key: &str) -> Option<String> {
        let texts = scenario.texts().into_iter();
        texts
            .filter(|(name, _)| name == key)
            .find_map(|(_, text)| text)
    }

    #[test]
    fn a_file_says_what_flags_say() {
        let text = "topic = \"orders\"\nrate = 50000\nrecord-bytes = \"100..1k\"\nidempotent = true\n\
            headers = [\"a=1\", \"b=2\"]\nwarm-up = \"2s\"\n";
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.topic(), "orders");
        assert!(scenario.idempotent());
        assert_eq!(scenario.headers().unwrap().len(), 2);
        assert_eq!(scenario.warm_up(), Duration::from_secs(2));
        assert_eq!(text_of(&scenario, "rate").as_deref(), Some("50000"));
        assert_eq!(text_of(&scenario, "linger").as_deref(), Some("5ms"));
        assert_eq!(text_of(&scenario, "backlog"), None);
        let flags = Scenario::parse("topic = \"mine\"").unwrap();
        let both = flags.over(scenario);
        assert_eq!((both.topic().as_str(), both.idempotent()), ("mine", true));
    }

    #[test]
    fn what_a_file_says_wrong_is_told_with_its_line_and_what_is_allowed() {
        let unknown = Scenario::parse("topic = \"a\"\nrte = 5\n").unwrap_err();
        assert!(unknown.contains("line 2"), "{unknown}");
        assert!(unknown.contains("unknown key 'rte'"), "{unknown}");
        assert!(unknown.contains("record-bytes"), "{unknown}");
        let wrong = Scenario::parse("topic = \"a\"\n\nacks = \"some\"\n").unwrap_err();
        assert!(wrong.contains("line 3"), "{wrong}");
        assert!(wrong.contains("expected 0, 1 or all"), "{wrong}");
        assert!(Scenario::parse("topic = { a = 1 }").is_err());
        assert!(Scenario::parse("topic = \"a\"\ntopic = \"b\"").is_err());
    }

    #[test]
    fn every_default_is_one_of_the_values() {
        let scenario = Scenario::default();
        for (key, text) in scenario.texts() {
            if let Some(text) = text {
                let quoted = format!("{key} = \"{text}\"");
                assert!(Scenario::parse(&quoted).is_ok(), "{quoted}");
            }
        }
    }
}
