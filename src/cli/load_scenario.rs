//! A load scenario: what the flags of `ringlog load` and the keys of a scenario file say, one row each.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::client::native::Steering;
use crate::client::{Acks, Isolation};
use crate::load::{
    Arrivals, AtEnd, BrokerAt, Consume, Contents, Delivery, From, Goal, GroupProtocol, Idle,
    MetricsUrl, Observe, Pace, Plan, Search, Sizes, Spread, Topics, Wire,
};
use crate::record::Codec;

use super::args::{
    Bootstrap, ReachArgs, acks, bootstrap, bytes, codec, duration, duration_or_zero, rate,
};
use super::failure::Failure;
use super::load_output::Outputs;
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

/// One row per key, under headings: doc, name, type, reader, name of the value, default, and what only a flag has.
macro_rules! scenario {
    ($([$heading:expr] $($(#[doc = $doc:literal])+ $name:ident: $type:ty,
        $parse:path, $value:literal, [$($default:literal)?] $(, {$($flag:tt)+})?;)+)+) => {
        /// Every key that was given; a file's keys are the flags without their dashes.
        #[derive(Args, Clone, Default, Debug)]
        pub struct Scenario {
            $($(
                #[arg(
                    long,
                    help_heading = $heading,
                    value_name = $value,
                    value_parser = given::<$type>($parse),
                    help = concat!($($doc,)+ $(" [default: ", $default, "]")?).trim()
                )]
                $(#[arg($($flag)+)])?
                $name: Option<Given<$type>>,
            )+)+

            /// Run a shell command so long after the measured part began, and measure how long nothing was acknowledged
            /// and nothing received after it; repeatable
            #[arg(long, help_heading = MEANWHILE, num_args = 2, value_names = ["TIME", "COMMAND"])]
            pub(super) at: Vec<String>,
        }

        impl Scenario {
            const KEYS: &[&str] = &[$($(stringify!($name),)+)+ HOOKS];

            /// What is given here, else what `file` says.
            pub fn over(self, mut file: Scenario) -> Scenario {
                if self.pid.is_some() || self.metrics.is_some() {
                    // Two ways to say one thing.
                    (file.pid, file.metrics) = (None, None);
                }
                Scenario {
                    $($($name: self.$name.or(file.$name),)+)+
                    at: if self.at.is_empty() { file.at } else { self.at },
                }
            }

            /// Every key with its text, given or by default.
            pub fn texts(&self) -> Vec<(String, Option<String>)> {
                let hooks: Vec<String> = self.at.chunks(2).map(|hook| hook.join(" ")).collect();
                vec![$($({
                    let default: Option<&str> = [$($default)?].first().copied();
                    (key_of(stringify!($name)), self.text(stringify!($name)).or(default).map(str::to_owned))
                },)+)+ (HOOKS.to_owned(), (!hooks.is_empty()).then(|| hooks.join("; ")))]
            }

            /// The text of a key that was given.
            pub(super) fn text(&self, name: &str) -> Option<&str> {
                match name {
                    $($(stringify!($name) => self.$name.as_ref().map(|given| given.text.as_str()),)+)+
                    _ => None,
                }
            }

            pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
                match name {
                    $($(stringify!($name) => self.$name = Some(given::<$type>($parse)(text)?),)+)+
                    _ => unreachable!("the key was found in the list"),
                }
                Ok(())
            }

            $($(scenario!(@value $name, $type, $parse, [$($default)?]);)+)+
        }
    };
    (@value $name:ident, $type:ty, $parse:path, [$default:literal]) => {
        pub(super) fn $name(&self) -> $type {
            match &self.$name {
                Some(given) => given.value.clone(),
                None => $parse($default).expect("the default is one of the values"),
            }
        }
    };
    (@value $name:ident, $type:ty, $parse:path, []) => {
        pub(super) fn $name(&self) -> Option<$type> {
            self.$name.as_ref().map(|given| given.value.clone())
        }
    };
}

scenario! {
    ["Broker"]
    /// A broker to ask first; several, separated by commas, are tried in turn
    bootstrap: Bootstrap, bootstrap, "HOST:PORT", ["127.0.0.1:9092"];
    /// How long to go on trying before giving up
    timeout: Duration, duration, "TIME", ["30s"];
    /// What the records travel over, there and back: Kafka's wire to any broker, or Ringlog's own to one whose
    /// listeners speak it (native.listener.names)
    wire: WireKind, wire, "kafka|native", ["kafka"];
    /// With --wire native, the listener to ask first; --bootstrap is still asked for the topic
    native_bootstrap: Bootstrap, bootstrap, "HOST:PORT", ["127.0.0.1:9093"];
    /// With --wire native, which shard of a broker a connection goes to: the one that owns the partitions, or any, where
    /// each request for others takes a hop inside the broker
    native_steering: Steering, steering, "owner|any", ["owner"];
    ["Topics"]
    /// The topic, which is created if it does not exist; with --topics, what their names begin with
    topic: String, text, "NAME", ["load"];
    /// How many topics are written to: NAME-0, NAME-1 and so on
    topics: usize, count, "COUNT", ["1"];
    /// Partitions of each topic that is created; one that exists keeps its own
    partitions: i32, partitions, "COUNT", ["6"];
    /// Replicas of each partition that is created [default: as the broker is configured]
    replication_factor: i16, replication, "COUNT", [];
    /// Configuration of each topic that is created
    topic_configs: Vec<(String, String)>, pairs, "KEY=VALUE,...", [];
    /// Remove the topics that were created when the run is over
    remove_topics: bool, yes, "true|false", ["false"], {num_args = 0..=1, require_equals = true, default_missing_value = "true"};
    ["Rate and time"]
    /// Records a second, all producers together: R, a ramp R..R, steps R,R,..., burst:BASE,PEAK,LASTS/EVERY, each with
    /// poisson: before it for random arrivals; max for the closed loop; with --find-max only poisson, or nothing
    /// [default: max, or nothing beside a backlog]
    rate: Rate, shape, "RATE", [];
    /// Length of the measured part
    duration: Duration, duration, "TIME", ["10s"];
    /// Load the broker for so long before anything is measured
    warm_up: Duration, duration_or_zero, "TIME", ["1s"];
    /// Find the highest rate at which a latency stays as low as this, by trial runs of --duration each:
    /// [e2e-]p50|p90|p99|p99.9|p99.99|max=TIME, e2e- for the latency until the record was read
    find_max: Goal, goal, "POINT=TIME", [];
    /// How closely --find-max is to find that rate
    find_precision: f64, part, "PART", ["5%"];
    ["Records"]
    /// Bytes of each record's value: SIZE, MIN..MAX, or a mixture such as 70%:100,30%:1k..10k
    record_bytes: Sizes, sizes, "BYTES", ["1k"], {visible_alias = "size"};
    /// What is in the values: random, zero, compressible:RATIO or lines:FILE, which brings its own sizes
    payload: Contents, contents, "KIND", ["random"];
    /// Headers of every record, the same in each
    headers: Vec<(String, String)>, pairs, "KEY=VALUE,...", [];
    /// How keys are drawn: none, uniform[:N], zipf[:N[:EXPONENT]] or sequential[:N]; a key decides the partition
    keys: KeyDraw, keys, "KIND", ["none"];
    /// How many different keys there are, where --keys does not say
    key_count: u64, many, "COUNT", ["1000000"];
    /// Where records without a key go: batch by batch (sticky), or one by one (round-robin)
    spread: Spread, spread, "sticky|round-robin", ["sticky"];
    /// What random sizes, contents, keys and arrivals are drawn from: the same number draws the same
    seed: u64, seed, "NUMBER", ["1"];
    ["Producers"]
    /// Who must have a record before it is acknowledged: 0 nobody, 1 the leader, all every in-sync replica
    acks: Acks, acks, "0|1|all", ["all"];
    /// Compression of the batches
    codec: Codec, codec, "none|gzip|snappy|lz4|zstd", ["none"];
    /// Send again what fails, in order and without duplicates (KIP-98)
    idempotent: bool, yes, "true|false", ["false"], {num_args = 0..=1, require_equals = true, default_missing_value = "true"};
    /// Send in transactions of so many records of each producer; latency counts until the commit
    transaction_records: u64, many, "COUNT", [];
    /// A batch is full at this size; 0 for a batch a record
    batch_bytes: usize, bytes, "BYTES", ["64k"];
    /// In the open loop, a batch is sent when its first record has waited so long
    linger: Duration, duration_or_zero, "TIME", ["5ms"];
    /// Batches of several partitions share a request up to this size
    request_bytes: usize, bytes, "BYTES", ["1m"];
    /// How many producers there are; 0 to read only, or only keep connections and partitions
    producers: usize, count_or_zero, "COUNT", ["1"];
    /// Connections of each producer to each broker, or to each of its shards on the native wire
    connections: usize, count, "COUNT", ["1"];
    /// Requests in flight on each connection
    window: usize, count, "COUNT", ["5"];
    /// Threads that the producers are spread over
    threads: usize, count, "COUNT", ["1"];
    ["Readers"]
    /// Read the records back, for the end-to-end latency and to check that each comes, once, in order and whole: from the
    /// tail, or from the start of the topic. Without producers the tail is read for --duration, whatever comes
    consume: From, consume, "tail|start", [], {num_args = 0..=1, require_equals = true, default_missing_value = "tail"};
    /// Write so many bytes of values first, then read them: a cold drain
    backlog: u64, large_bytes, "BYTES", [];
    /// Read by so many groups, each of which reads everything; 0 for readers without a group
    groups: usize, count_or_zero, "COUNT", ["0"];
    /// Members of each group, for each topic
    group_members: usize, count, "COUNT", ["1"];
    /// How groups share out their partitions: JoinGroup and SyncGroup (classic), or KIP-848's heartbeats (consumer)
    group_protocol: GroupProtocol, group_protocol, "classic|consumer", ["classic"];
    /// Whether records of open and aborted transactions are read
    isolation: Isolation, isolation, "committed|uncommitted", ["uncommitted"];
    /// Threads that the readers are spread over: the partitions of each topic, or the members of groups
    reader_threads: usize, count, "COUNT", ["1"];
    /// Records a second that each reader takes at most: a slow consumer
    consume_rate: f64, rate, "RECORDS", [];
    ["Idle connections"]
    /// Connections beside all others that only stay, and ask for metadata now and then
    idle_connections: usize, count_or_zero, "COUNT", ["0"];
    /// How often each of them asks
    idle_interval: Duration, duration, "TIME", ["10s"];
    /// Partitions of a topic NAME-idle that nobody writes to, created beside the others; with --consume they are read too,
    /// and without producers nothing else is
    idle_partitions: i32, partitions, "COUNT", [];
    [MEANWHILE]
    /// The broker's process: its processor time, memory, threads and storage are sampled
    /// [default: what listens on the bootstrap port, if it is a process of this machine]
    pid: u32, process, "PID", [], {alias = "broker-pid", conflicts_with = "metrics"};
    /// Read the broker's processor time, memory and device bytes from its metrics endpoint instead
    metrics: MetricsUrl, MetricsUrl::parse, "http://HOST:PORT/PATH", [];
    /// Length of the intervals of the time line [default: 1s, longer in runs of more than 20 minutes]
    interval: Duration, duration, "TIME", [];
    /// A command of --at that takes longer is killed
    at_limit: Duration, duration, "TIME", ["60s"];
    ["Result"]
    /// Write the whole result as JSON, to standard output instead of the table without FILE or with -
    json: PathBuf, path, "FILE|-", [], {num_args = 0..=1, default_missing_value = "-"};
    /// Write a page with plots that needs nothing but itself
    html: PathBuf, path, "FILE", [];
    /// Write the latencies of each interval as HdrHistogram logs: produce.hlog, and end-to-end.hlog with --consume
    hdr_log: PathBuf, path, "DIR", [];
    /// What this run is called where it is compared; runs of one label are repeats of one another
    label: String, text, "NAME", [];
}

/// The heading of `--at`, which is no row: it may be given more than once, and has two values.
const MEANWHILE: &str = "Meanwhile";
pub(super) const HOOKS: &str = "at";

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
    FindMax(Search),
}

impl Scenario {
    /// - `Err`: keys that contradict each other.
    pub fn aim(&self) -> Result<Aim, Failure> {
        let refused = |why: String| Err(Failure::Usage(why));
        let given = self.text("rate").unwrap_or_default();
        let Some(goal) = self.find_max() else {
            return match self.rate() {
                Some(Rate::Poisson) => refused(
                    "--rate poisson is for --find-max: without it, it needs a rate, as in poisson:20k".to_owned(),
                ),
                _ => Ok(Aim::Measure),
            };
        };
        let arrivals = match self.rate() {
            None => Arrivals::Even,
            Some(Rate::Poisson) => Arrivals::Poisson,
            Some(Rate::Max | Rate::Shape(..)) => {
                return refused(format!(
                    "--find-max finds the rate itself: it does not go with --rate {given}, only with --rate poisson"
                ));
            }
        };
        if goal.end_to_end && !self.is_read() {
            return refused("an end-to-end goal needs --consume".to_owned());
        }
        if self.backlog().is_some() {
            return refused("--find-max has no --backlog".to_owned());
        }
        if self.producers() == 0 {
            return refused("--find-max needs producers".to_owned());
        }
        if !self.at.is_empty() {
            let why = "--find-max does not go with --at: the command would run in every trial";
            return refused(why.to_owned());
        }
        Ok(Aim::FindMax(Search {
            goal,
            precision: self.find_precision(),
            arrivals,
        }))
    }

    /// Whether anything is read: backlogs and groups are for readers only.
    pub(super) fn is_read(&self) -> bool {
        self.consume.is_some() || self.backlog.is_some() || self.groups() > 0
    }

    /// - `Err`: keys that contradict each other or do nothing, and whatever [`Plan::fault`] finds.
    pub fn plan(&self) -> Result<Plan, Failure> {
        let reach = ReachArgs {
            bootstrap: self.bootstrap(),
            timeout: self.timeout(),
        };
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
            consume: self.is_read().then(|| self.readers()),
            idle: match self.idle_connections() {
                0 => None,
                connections => Some(Idle {
                    connections,
                    interval: self.idle_interval(),
                }),
            },
            idle_partitions: self.idle_partitions(),
            observe: self.observe()?,
            label: self.label(),
        };
        if matches!(plan.contents, Contents::Lines(_)) && self.record_bytes.is_some() {
            let why =
                "the lines of a file have their own sizes: --record-bytes does not go with them";
            return Err(Failure::Usage(why.to_owned()));
        }
        match self.idle_key().or_else(|| plan.fault()) {
            Some(fault) => Err(Failure::Usage(fault)),
            None => Ok(plan),
        }
    }

    fn pace(&self) -> Pace {
        match self.rate() {
            Some(Rate::Shape(shape, arrivals)) => Pace::Open { shape, arrivals },
            Some(Rate::Max | Rate::Poisson) => Pace::Maximum,
            None if self.backlog().is_some() || self.producers() == 0 => Pace::Silent,
            None => Pace::Maximum,
        }
    }

    fn readers(&self) -> Consume {
        Consume {
            threads: self.reader_threads(),
            from: self.consume().unwrap_or(From::Tail),
            backlog_bytes: self.backlog().unwrap_or(0),
            groups: self.groups(),
            members: self.group_members(),
            protocol: self.group_protocol(),
            isolation: self.isolation(),
            rate: self.consume_rate(),
        }
    }

    fn observe(&self) -> Result<Observe, Failure> {
        let hooks = self.at.chunks_exact(2);
        let hooks = hooks.map(|pair| hook(&pair[0], &pair[1]));
        Ok(Observe {
            interval: self.interval(),
            broker: match (self.metrics(), self.pid()) {
                (Some(_), Some(_)) => {
                    let why = "--pid and --metrics are two ways to look at one broker: give one";
                    return Err(Failure::Usage(why.to_owned()));
                }
                (Some(url), None) => BrokerAt::Metrics(url),
                (None, Some(pid)) => BrokerAt::Pid(pid),
                (None, None) => BrokerAt::Port,
            },
            hooks: hooks
                .collect::<Result<_, _>>()
                .map_err(|why| Failure::Usage(format!("--{HOOKS} {why}")))?,
            hook_limit: self.at_limit(),
        })
    }

    /// Adds a command that a file names, as `--at` does.
    pub(super) fn add_hook(&mut self, at: String, command: String) -> Result<(), String> {
        hook(&at, &command)?;
        self.at.extend([at, command]);
        Ok(())
    }

    pub fn outputs(&self) -> Outputs {
        Outputs {
            json: self.json(),
            html: self.html(),
            hdr_log: self.hdr_log(),
        }
    }

    /// The key that is called so in a file.
    pub(super) fn find_key(key: &str) -> Option<&'static str> {
        let mut names = Scenario::KEYS.iter().copied();
        names.find(|name| key_of(name) == key)
    }

    /// All keys as a file has them.
    pub(super) fn key_names() -> Vec<String> {
        Scenario::KEYS.iter().map(|name| key_of(name)).collect()
    }
}

/// A key as a file and, behind two dashes, the command line have it.
pub(super) fn key_of(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
pub(super) mod tests {
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
    fn every_default_is_one_of_the_values() {
        for (key, text) in Scenario::default().texts() {
            if let Some(text) = text {
                let quoted = format!("{key} = \"{text}\"");
                assert!(Scenario::parse(&quoted).is_ok(), "{quoted}");
            }
        }
    }

    /// Why what a file says cannot be done.
    pub fn refused(text: &str) -> Option<String> {
        let scenario = Scenario::parse(text).unwrap();
        let outcome = scenario.aim().and_then(|_| scenario.plan());
        match outcome {
            Ok(_) => None,
            Err(Failure::Usage(why)) => Some(why),
            Err(other) => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_a_search_cannot_do_is_refused_in_the_words_of_the_flags() {
        for (more, wanted) in [
            ("rate = \"5..10k\"", "go with --rate 5..10k, only"),
            ("rate = \"max\"", "go with --rate max, only"),
            ("backlog = \"1m\"", "no --backlog"),
            ("producers = 0\nidle-connections = 1", "needs producers"),
            ("at = [{ at = \"1s\", run = \"true\" }]", "in every trial"),
        ] {
            let why = refused(&format!("find-max = \"p99=1ms\"\n{more}")).expect(more);
            assert!(why.contains(wanted), "{why}");
        }
        let end_to_end = "find-max = \"e2e-p99=1ms\"";
        assert!(refused(end_to_end).unwrap().contains("needs --consume"));
        assert_eq!(refused(&format!("{end_to_end}\ngroups = 2")), None);
        assert!(
            refused("rate = \"poisson\"")
                .unwrap()
                .contains("needs a rate")
        );
    }

    #[test]
    fn a_search_may_have_random_arrivals() {
        for (more, arrivals) in [
            ("", Arrivals::Even),
            ("\nrate = \"poisson\"", Arrivals::Poisson),
        ] {
            let scenario = Scenario::parse(&format!("find-max = \"p99=1ms\"{more}")).unwrap();
            match scenario.aim().unwrap() {
                Aim::FindMax(search) => assert_eq!(search.arrivals, arrivals),
                Aim::Measure => panic!("it looks for a rate"),
            }
        }
    }

    #[test]
    fn a_flag_wins_over_a_file_in_what_may_be_said_in_two_ways() {
        let file = "metrics = \"http://a:1/m\"\nat = [{ at = \"1s\", run = \"a\" }]";
        let file = Scenario::parse(file).unwrap();
        let flags = Scenario::parse("pid = 7\nat = [{ at = \"2s\", run = \"b\" }]").unwrap();
        let plan = flags.over(file).plan().unwrap();
        assert_eq!(plan.observe.broker, BrokerAt::Pid(7));
        let commands: Vec<&str> = plan
            .observe
            .hooks
            .iter()
            .map(|h| h.command.as_str())
            .collect();
        assert_eq!(commands, ["b"]);
        let both = refused("pid = 7\nmetrics = \"http://a:1/m\"").unwrap();
        assert!(both.contains("give one"), "{both}");
    }
}
