//! Goal: a client that describes a topic or a broker cannot tell us from Kafka 4.3.1.
//! Method: Kafka's own answers, recorded, with the same file and the same dynamic values set.

use std::collections::BTreeMap;

use super::{
    BrokerConfig, ConfigEntry, Dynamic, Kind, Source, TOPIC_KEYS, describe_broker,
    describe_cluster_defaults, describe_topic,
};

const GOLDEN: &str = include_str!("golden/kafka_4_3_1.txt");

/// The file Kafka was started with, as far as its keys are used here.
const FILE: &str = "\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:19520,CONTROLLER://127.0.0.1:19620
advertised.listeners=PLAINTEXT://127.0.0.1:19520,CONTROLLER://127.0.0.1:19620
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=/data
num.partitions=4
auto.create.topics.enable=true
delete.topic.enable=true
log.retention.hours=24
log.roll.hours=12
log.roll.jitter.hours=1
log.flush.scheduler.interval.ms=60000
log.segment.bytes= 2097152\u{20}
log.cleanup.policy=compact, delete
log.cleaner.min.cleanable.ratio=0.25
log.preallocate=TRUE
compression.type=lz4
message.max.bytes=+2000000
max.connections.per.ip=77
num.partitions=3
";

type Map = BTreeMap<&'static str, &'static str>;

/// Kafka itself sets this one for the cluster when it is formatted (eligible leader replicas).
fn formatted() -> Map {
    Map::from([("min.insync.replicas", "1")])
}

fn cluster() -> Map {
    let mut map = formatted();
    map.extend([
        ("log.retention.ms", "2000000"),
        ("log.roll.ms", "3000000"),
        ("message.max.bytes", "1500000"),
        ("log.cleanup.policy", "delete"),
        ("compression.type", "zstd"),
    ]);
    map
}

fn of_broker() -> Map {
    Map::from([
        ("log.retention.ms", "1000000"),
        ("message.max.bytes", "1600000"),
        ("log.flush.interval.ms", "700"),
    ])
}

fn configured() -> BrokerConfig {
    BrokerConfig::parse(Some(("server.properties", FILE)), &[])
        .expect("Kafka took it")
        .0
}

fn golden(section: &str) -> BTreeMap<&'static str, &'static str> {
    let head = format!("[{section}]");
    let lines = GOLDEN.lines().skip_while(|line| *line != head).skip(1);
    let map: BTreeMap<_, _> = lines
        .take_while(|line| !line.starts_with('['))
        .map(|line| {
            (
                line.split('|').next().expect("split yields at least one"),
                line,
            )
        })
        .collect();
    assert!(!map.is_empty(), "no section {section}");
    map
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Topic => "TOPIC",
        Source::Group => "GROUP",
        Source::DynamicBroker => "BROKER",
        Source::DynamicCluster => "CLUSTER",
        Source::Static => "STATIC",
        Source::Default => "DEFAULT",
    }
}

/// An entry as the golden file writes it.
fn line(entry: &ConfigEntry) -> String {
    let synonym = |s: &super::Synonym| {
        format!(
            "{}={}@{};",
            s.name,
            s.value.as_deref().unwrap_or("null"),
            source(s.source)
        )
    };
    let synonyms: String = entry.synonyms.iter().map(synonym).collect();
    format!(
        "{}|{}|{}|{}|{}|{}|{synonyms}",
        entry.name,
        entry.value.as_deref().unwrap_or("null"),
        source(entry.source),
        if entry.read_only { "RO" } else { "rw" },
        if entry.sensitive { "S" } else { "-" },
        entry.kind.name(),
    )
}

/// Every key of Kafka's section is told alike, and what is told beyond them is ours.
fn compare(section: &str, entries: &[ConfigEntry], different: &[&str]) {
    let golden = golden(section);
    for (name, expected) in &golden {
        let entry = entries.iter().find(|entry| entry.name == *name);
        let entry = entry.unwrap_or_else(|| panic!("{section}: {name} is missing"));
        if !different.contains(name) {
            assert_eq!(&line(entry), expected, "{section}");
        }
    }
    for entry in entries {
        let known = golden.contains_key(entry.name);
        let ours = super::key::OURS.contains(&entry.name);
        assert_eq!(known, !ours, "{section}: {}", entry.name);
    }
}

#[test]
fn a_topic_is_described_as_kafka_describes_it() {
    let (plain, configured) = (BrokerConfig::default(), configured());
    let (none, formatted, cluster, broker) = (Map::new(), formatted(), cluster(), of_broker());
    let fresh = Dynamic {
        broker: &(),
        cluster: &formatted,
    };
    let set = Dynamic {
        broker: &broker,
        cluster: &cluster,
    };
    let s1 = Map::from([("retention.ms", "777"), ("cleanup.policy", "delete,delete")]);

    compare(
        "topic, unconfigured",
        &describe_topic(&plain, fresh, &none),
        &[],
    );
    compare(
        "topic s1, static",
        &describe_topic(&configured, fresh, &s1),
        &[],
    );
    compare(
        "topic s1, dynamic",
        &describe_topic(&configured, set, &s1),
        &[],
    );
    compare(
        "topic s2, dynamic",
        &describe_topic(&configured, set, &none),
        &[],
    );
}

/// Ours alone: loopback and `./ringlog-data` as defaults, a default node and roles, listeners that do
/// not change while the broker runs.
const DIFFERENT: &[&str] = &[
    "controller.listener.names",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "node.id",
    "process.roles",
];

/// Once `.ms` is dynamic, Kafka forgets what the file says of these and tells its default as static.
const FORGOTTEN: &[&str] = &[
    "log.flush.scheduler.interval.ms",
    "log.retention.hours",
    "log.roll.hours",
];

#[test]
fn a_broker_is_described_as_kafka_describes_it() {
    let configured = configured();
    let (formatted, cluster, broker) = (formatted(), cluster(), of_broker());
    let fresh = Dynamic {
        broker: &(),
        cluster: &formatted,
    };
    let set = Dynamic {
        broker: &broker,
        cluster: &cluster,
    };
    let different = [DIFFERENT, FORGOTTEN].concat();

    compare(
        "broker 1, static",
        &describe_broker(&configured, fresh),
        DIFFERENT,
    );
    compare(
        "broker 1, dynamic",
        &describe_broker(&configured, set),
        &different,
    );
    compare(
        "broker defaults, dynamic",
        &described_defaults(&cluster),
        &[],
    );
    let hours = describe_broker(&configured, set);
    let hours = hours
        .iter()
        .find(|entry| entry.name == "log.retention.hours")
        .expect("a key");
    assert_eq!(
        (hours.value.as_deref(), hours.source),
        (Some("24"), Source::Static)
    );
}

fn described_defaults(cluster: &Map) -> Vec<ConfigEntry> {
    describe_cluster_defaults(cluster)
}

/// Clients read a topic's full set and write all of it back.
#[test]
fn what_is_described_can_be_written_back() {
    let described = describe_topic(&configured(), Dynamic::NONE, &());
    assert_eq!(described.len(), TOPIC_KEYS.len());
    for entry in &described {
        let value = entry.value.as_deref().expect("every topic key has a value");
        assert_eq!(super::validate_topic(entry.name, value), Ok(()));
    }
    let all = described
        .iter()
        .map(|entry| (entry.name, entry.value.as_deref().expect("as above")));
    assert_eq!(
        super::validate_topic_overrides(&configured(), Dynamic::NONE, all),
        Ok(())
    );
}

#[test]
fn defaults_that_are_equal_are_not_told_as_overrides_and_explicit_ones_are() {
    let broker = BrokerConfig::default();
    let explicit = Map::from([("retention.ms", "604800000")]);
    let source = |overrides: &Map| {
        let entries = describe_topic(&broker, Dynamic::NONE, overrides);
        entries
            .iter()
            .find(|entry| entry.name == "retention.ms")
            .expect("a key")
            .source
    };
    assert_eq!(source(&Map::new()), Source::Default);
    assert_eq!(source(&explicit), Source::Topic);
}

#[test]
fn numbers_with_a_fraction_are_written_as_java_writes_them() {
    let key = super::topic_key("min.cleanable.dirty.ratio").expect("a key");
    assert_eq!(key.kind, Kind::Double);
    for (text, expected) in [
        ("1", "1.0"),
        ("0.0001", "1.0E-4"),
        ("0.000123", "1.23E-4"),
        ("0.001", "0.001"),
        ("0", "0.0"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("12345678", "1.2345678E7"),
        ("9999999", "9999999.0"),
    ] {
        assert_eq!(key.canonical(text), expected);
    }
}

const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// Kafka has these nowhere but in what was set while it runs: no default is told, and the file does not count.
#[test]
fn what_is_set_only_while_the_broker_runs_is_told_where_it_is_set() {
    let line_of = |config: &BrokerConfig, cluster: &Map, broker: &Map| {
        let entries = describe_broker(config, Dynamic { broker, cluster });
        entries.iter().find(|entry| entry.name == RATE).map(line)
    };
    let (none, of_all) = (Map::new(), Map::from([(RATE, "5000000")]));
    let (plain, of_one) = (BrokerConfig::default(), Map::from([(RATE, "7000000")]));
    assert_eq!(line_of(&plain, &none, &none), None);
    assert_eq!(
        line_of(&plain, &of_all, &none).as_deref(),
        Some(concat!(
            "replica.alter.log.dirs.io.max.bytes.per.second|5000000|CLUSTER|rw|-|LONG|",
            "replica.alter.log.dirs.io.max.bytes.per.second=5000000@CLUSTER;",
        ))
    );
    assert_eq!(
        line_of(&plain, &of_all, &of_one).as_deref(),
        Some(concat!(
            "replica.alter.log.dirs.io.max.bytes.per.second|7000000|BROKER|rw|-|LONG|",
            "replica.alter.log.dirs.io.max.bytes.per.second=7000000@BROKER;",
            "replica.alter.log.dirs.io.max.bytes.per.second=5000000@CLUSTER;",
        ))
    );
    let in_force = |cluster: &Map, broker: &Map| {
        let config = plain.with_dynamic(Dynamic { broker, cluster });
        config.replica_alter_log_dirs_io_max_bytes_per_second
    };
    assert_eq!(in_force(&none, &none), i64::MAX);
    assert_eq!(in_force(&of_all, &none), 5_000_000);
    assert_eq!(in_force(&of_all, &of_one), 7_000_000);

    let file = (
        "server.properties",
        "replica.alter.log.dirs.io.max.bytes.per.second=9\n",
    );
    let (given, warnings) = BrokerConfig::parse(Some(file), &[]).expect("it is passed over");
    assert_eq!(
        given.replica_alter_log_dirs_io_max_bytes_per_second,
        i64::MAX
    );
    assert_eq!(line_of(&given, &none, &none), None);
    let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [format!(
            "server.properties:1: {RATE} is passed over: it is set while the broker runs"
        )]
    );
}
