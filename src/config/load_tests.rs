//! Goal: an operator's file becomes the configuration he meant, or an error that shows him where he
//! went wrong. Method: small files in memory, and what comes of them.

use std::collections::BTreeMap;

use super::{
    BrokerConfig, Dynamic, Protocol, Scope, TOPIC_KEYS, TopicConfig, Warning, Wire, broker_key,
};

fn parse(contents: &str) -> Result<(BrokerConfig, Vec<Warning>), String> {
    BrokerConfig::parse(Some(("server.properties", contents)), &[])
        .map_err(|error| error.to_string())
}

fn config(contents: &str) -> BrokerConfig {
    parse(contents).expect("a good file").0
}

fn refusal(contents: &str) -> String {
    parse(contents).expect_err("a wrong file")
}

#[test]
fn without_a_file_it_is_a_single_node_on_the_loopback() {
    let config = BrokerConfig::default();
    assert_eq!(config.node_id, 1);
    assert!(config.process_roles.broker && config.process_roles.controller);
    let listeners: Vec<String> = config.client_listeners().map(|l| l.to_string()).collect();
    assert_eq!(listeners, ["PLAINTEXT://127.0.0.1:9092"]);
    assert_eq!(config.data_dirs(), [std::path::Path::new("./ringlog-data")]);
}

#[test]
fn a_wrong_value_names_key_value_what_is_allowed_and_the_line() {
    let error = refusal("# partitions\n\nnum.partitions=0\n");
    assert_eq!(
        error,
        "server.properties:3: Invalid value 0 for configuration num.partitions: \
         Value must be at least 1 (allowed: a whole number, at least 1)"
    );
    let error = refusal("log.segment.bytes = 1 GB");
    assert!(
        error.starts_with("server.properties:1: Invalid value 1 GB"),
        "{error}"
    );
    assert!(error.contains("Not a number of type INT"), "{error}");
}

#[test]
fn cordoned_directories_are_among_the_log_dirs_or_all_of_them() {
    let cordoned = |value: &str| {
        let text = format!("log.dirs=/a,/b\ncordoned.log.dirs={value}\n");
        let parsed = BrokerConfig::parse(Some(("server.properties", &text)), &[]);
        parsed.map(|(config, _)| config.cordoned_dirs().collect::<Vec<_>>())
    };
    assert_eq!(cordoned(""), Ok(vec![false, false]));
    assert_eq!(cordoned("/b"), Ok(vec![false, true]));
    assert_eq!(cordoned("*"), Ok(vec![true, true]));
    for (value, why) in [
        (
            "/c,/a",
            "must be present in log.dirs or log.dir. Missing entries : /c",
        ),
        (
            "*,/a",
            "When cordoned.log.dirs is set to *, it must not contain other values",
        ),
    ] {
        let error = cordoned(value).expect_err(value).to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_wrong_override_says_that_it_was_one() {
    let error = BrokerConfig::parse(
        Some(("f", "num.partitions=3")),
        &["num.partitions=-1".into()],
    );
    let error = error.expect_err("less than one").to_string();
    assert!(error.starts_with("--override: Invalid value -1"), "{error}");
    assert!(BrokerConfig::parse(None, &["num.partitions".into()]).is_err());
}

#[test]
fn an_override_counts_more_than_the_file() {
    let overrides = ["num.partitions=5".to_string()];
    let (config, _) = BrokerConfig::parse(Some(("f", "num.partitions=3")), &overrides).unwrap();
    assert_eq!(config.num_partitions, 5);
}

#[test]
fn unused_keys_share_one_warning_and_unknown_ones_get_a_suggestion() {
    let (_, warnings) =
        parse("num.io.threads=8\nnum.network.threads=3\nnum.partition=2\n").unwrap();
    let warnings: Vec<&str> = warnings.iter().map(|warning| warning.0.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "server.properties:3: unknown key num.partition is passed over, did you mean num.partitions?",
            "these keys of Kafka's are not used here: num.io.threads, num.network.threads",
        ]
    );
}

#[test]
fn a_broker_that_cannot_speak_tls_says_so() {
    let error = refusal("listeners=SSL://:9093");
    assert!(
        error.contains("listener SSL speaks SSL, which is not served yet"),
        "{error}"
    );
    assert!(error.starts_with("server.properties:1"), "{error}");
    let error = refusal("listeners=INSIDE://:9093");
    assert!(error.contains("INSIDE has no security protocol"), "{error}");
}

#[test]
fn listeners_of_a_combined_node_are_told_apart() {
    let config = config(
        "process.roles=broker,controller\n\
         listeners=INSIDE://:9092,PUBLIC://0.0.0.0:9094,CONTROLLER://:9093\n\
         advertised.listeners=INSIDE://:9092,\\\n   PUBLIC://kafka.example.org:9094\n\
         listener.security.protocol.map=INSIDE:PLAINTEXT,PUBLIC:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=INSIDE\n",
    );
    let names: Vec<&str> = config.client_listeners().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["INSIDE", "PUBLIC"]);
    assert!(
        config
            .listeners
            .iter()
            .all(|l| l.protocol == Protocol::Plaintext)
    );
    let told: Vec<String> = config
        .advertised("box", |_| None)
        .iter()
        .map(|l| l.to_string())
        .collect();
    assert_eq!(
        told,
        ["INSIDE://box:9092", "PUBLIC://kafka.example.org:9094"]
    );
}

#[test]
fn a_listener_speaks_the_native_wire_only_where_its_name_is_told() {
    let contents = "listeners=PLAINTEXT://:9092,FAST://:9093";
    let wires = |contents: &str| -> Vec<Wire> {
        let config = config(contents);
        let advertised = config.advertised("box", |_| None);
        let told: Vec<_> = advertised.iter().map(|l| (l.wire, l.protocol)).collect();
        let served: Vec<_> = config.client_listeners().map(|l| l.wire).collect();
        let plain = |wire: &Wire| (*wire, Protocol::Plaintext);
        assert_eq!(told, served.iter().map(plain).collect::<Vec<_>>());
        served
    };
    let native = format!("{contents}\nnative.listener.names=FAST");
    assert_eq!(wires(&native), [Wire::Kafka, Wire::Native]);
    let kafka =
        format!("{contents}\nlistener.security.protocol.map=FAST:PLAINTEXT,PLAINTEXT:PLAINTEXT");
    assert_eq!(wires(&kafka), [Wire::Kafka, Wire::Kafka]);
    assert_eq!(wires(""), [Wire::Kafka]);
}

#[test]
fn a_native_listener_that_cannot_be_is_refused() {
    let contents = "listeners=PLAINTEXT://:9092,FAST://:9093";
    for (more, why) in [
        (
            "native.listener.names=FAST\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,FAST:SSL",
            "FAST speaks SSL",
        ),
        (
            "native.listener.names=FAST\ncontroller.listener.names=FAST",
            "can be one only",
        ),
        (
            "native.listener.names=FAST,FASTER",
            "FASTER is not among listeners",
        ),
        ("", "FAST has no security protocol"),
    ] {
        let error = refusal(&format!("{contents}\n{more}"));
        assert!(error.contains(why), "{more}: {error}");
    }
}

#[test]
fn a_free_port_is_told_as_the_one_it_became() {
    let config = config("listeners=PLAINTEXT://[::1]:0");
    let told = config.advertised("box", |name| (name == "PLAINTEXT").then_some(4242));
    assert_eq!(told[0].to_string(), "PLAINTEXT://[::1]:4242");
}

#[test]
fn what_disagrees_is_refused() {
    for (contents, part) in [
        ("node.id=1\nbroker.id=2", "must be the same"),
        ("process.roles=broker", "only a node that is both"),
        (
            "process.roles=broker,janitor",
            "String must be one of: broker, controller",
        ),
        (
            "listeners=PLAINTEXT://:9092,A://:9092\nlistener.security.protocol.map=A:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "share a port",
        ),
        (
            "listeners=PLAINTEXT://:9092,plaintext://:9093",
            "different name",
        ),
        ("listeners=PLAINTEXT:9092", "no ://"),
        (
            "listeners=PLAINTEXT://host:99999",
            "the port is not a number",
        ),
        ("listeners=", "can't be empty"),
        (
            "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
            "no address a client could reach",
        ),
        (
            "advertised.listeners=OTHER://a:1\nlistener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "not among listeners",
        ),
        ("inter.broker.listener.name=OTHER", "not among listeners"),
        ("log.dirs=/a,/b,/a", "/a is given twice"),
        (
            "log.dirs=/a,/b\njournal.dir=/b/j",
            "/b/j is or lies in a log directory",
        ),
        ("journal.dir=", "can't be empty"),
        (
            "memory.cache.ratio=0.9\nmemory.request.ratio=0.2",
            "more than 1",
        ),
        ("memory.cache.ratio=1.5", "no more than 1"),
        (
            "queued.max.request.bytes=1000",
            "less than socket.request.max.bytes",
        ),
        ("log.retention.hours=0", "allowed: -1 for ever"),
        ("write.caching=yes", "either true or false"),
        ("a=\\u12", "server.properties:1"),
    ] {
        let error = refusal(contents);
        assert!(error.contains(part), "{contents} gave {error}");
    }
}

#[test]
fn broker_id_alone_is_the_node_id() {
    assert_eq!(config("broker.id=7").node_id, 7);
    assert_eq!(config("node.id=7").broker_id, 7);
}

#[test]
fn a_topic_takes_the_first_twin_that_has_a_value() {
    let none: BTreeMap<String, String> = BTreeMap::new();
    let effective =
        |contents: &str| TopicConfig::effective(&config(contents), Dynamic::NONE, &none);
    assert_eq!(effective("").retention_ms, 604_800_000);
    assert_eq!(effective("log.retention.hours=2").retention_ms, 7_200_000);
    assert_eq!(
        effective("log.retention.hours=2\nlog.retention.minutes=1").retention_ms,
        60_000
    );
    assert_eq!(
        effective("log.retention.minutes=1\nlog.retention.ms=5").retention_ms,
        5
    );
    assert_eq!(effective("log.retention.hours=-1").retention_ms, -1);
    assert_eq!(effective("log.roll.hours=1").segment_ms, 3_600_000);
    assert_eq!(effective("log.flush.scheduler.interval.ms=9").flush_ms, 9);
    assert!(effective("write.caching=true").write_caching);
}

#[test]
fn an_override_of_the_topic_counts_most_and_a_broken_one_not_at_all() {
    let broker = config("log.segment.bytes=2000000");
    let cluster = BTreeMap::from([("log.segment.bytes", "3000000"), ("message.max.bytes", "x")]);
    let dynamic = Dynamic {
        broker: &(),
        cluster: &cluster,
    };
    let effective =
        |overrides: &BTreeMap<&str, &str>| TopicConfig::effective(&broker, dynamic, overrides);
    assert_eq!(effective(&BTreeMap::new()).segment_bytes, 3_000_000);
    assert_eq!(effective(&BTreeMap::new()).max_message_bytes, 1_048_588);
    assert_eq!(
        effective(&BTreeMap::from([("segment.bytes", "4000000")])).segment_bytes,
        4_000_000
    );
    assert_eq!(
        effective(&BTreeMap::from([("segment.bytes", "many")])).segment_bytes,
        3_000_000
    );
    assert_eq!(broker.with_dynamic(dynamic).log_segment_bytes, 3_000_000);
    assert_eq!(broker.with_dynamic(dynamic).message_max_bytes, 1_048_588);
}

#[test]
fn memory_divides_by_its_ratios() {
    let budget = config("memory.bytes=1000000\nmemory.cache.ratio=0.5").memory(7);
    assert_eq!(
        (budget.total, budget.cache, budget.requests, budget.groups),
        (1_000_000, 500_000, 300_000, 100_000)
    );
    assert_eq!(config("").memory(1000).total, 500);
}

/// Else a broker's value could be none that the topic's type can hold.
#[test]
fn whatever_a_twin_may_be_its_topic_key_may_be() {
    let numbers = [
        "-9223372036854775808",
        "-3",
        "-2",
        "-1",
        "0",
        "1",
        "4",
        "10",
        "23",
        "1048576",
        "2147483647",
        "9223372036854775807",
        "0.3",
    ];
    for key in TOPIC_KEYS {
        let Scope::Topic(twins) = key.scope else {
            panic!("{} is not a topic's key", key.name)
        };
        for twin in twins {
            let broker = broker_key(twin.name).expect("a twin is a broker's key");
            for text in numbers.iter().filter(|text| broker.check(text).is_ok()) {
                let scaled = super::topic::scale(text, twin.factor);
                assert_eq!(key.check(&scaled), Ok(()), "{} = {text}", twin.name);
            }
        }
    }
}
