//! Goal: what a client sets is taken or refused as Kafka 4.3.1 does, in the same words.
//! Method: the requests that were put to Kafka, and its answers.

use super::{
    BrokerConfig, ConfigError, Dynamic, Op, Refusal, Resource, Whose, apply_op,
    validate_broker_dynamic, validate_topic, validate_topic_overrides,
};

fn topic_refusal(name: &str, value: &str) -> String {
    validate_topic(name, value)
        .expect_err("Kafka refused it")
        .message()
        .to_string()
}

/// Key, value, and what Kafka 4.3.1 says to it.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "retention.ms",
        "x",
        "Invalid value x for configuration retention.ms: Not a number of type LONG",
    ),
    (
        "retention.ms",
        "-2",
        "Invalid value -2 for configuration retention.ms: Value must be at least -1",
    ),
    (
        "retention.ms",
        "",
        "Invalid value  for configuration retention.ms: Not a number of type LONG",
    ),
    ("nonsense", "x", "Unknown topic config name: nonsense"),
    (
        "cleanup.policy",
        "nothing",
        "Invalid value nothing for configuration cleanup.policy: String must be one of: compact, delete",
    ),
    (
        "cleanup.policy",
        "delete,nothing,compact",
        "Invalid value nothing for configuration cleanup.policy: String must be one of: compact, delete",
    ),
    (
        "cleanup.policy",
        "nothing,",
        "Invalid value nothing for configuration cleanup.policy: String must be one of: compact, delete",
    ),
    (
        "cleanup.policy",
        "Delete",
        "Invalid value Delete for configuration cleanup.policy: String must be one of: compact, delete",
    ),
    (
        "cleanup.policy",
        ",",
        "Configuration 'cleanup.policy' values must not be empty.",
    ),
    (
        "cleanup.policy",
        "delete,",
        "Configuration 'cleanup.policy' values must not be empty.",
    ),
    (
        "compression.type",
        "none",
        "Invalid value none for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
    ),
    (
        "compression.gzip.level",
        "0",
        "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
    ),
    (
        "compression.gzip.level",
        "10",
        "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
    ),
    (
        "compression.lz4.level",
        "18",
        "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
    ),
    (
        "compression.zstd.level",
        "-131073",
        "Invalid value -131073 for configuration compression.zstd.level: Value must be at least -131072",
    ),
    (
        "preallocate",
        "yes",
        "Invalid value yes for configuration preallocate: Expected value to be either true or false",
    ),
    (
        "min.cleanable.dirty.ratio",
        "1.5",
        "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    ),
    (
        "min.cleanable.dirty.ratio",
        "2",
        "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    ),
    (
        "min.cleanable.dirty.ratio",
        "abc",
        "Invalid value abc for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
    ),
    (
        "min.cleanable.dirty.ratio",
        "-0.1",
        "Invalid value -0.1 for configuration min.cleanable.dirty.ratio: Value must be at least 0",
    ),
    (
        "message.timestamp.type",
        "createtime",
        "Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
    ),
    (
        "segment.bytes",
        "100",
        "Invalid value 100 for configuration segment.bytes: Value must be at least 1048576",
    ),
    (
        "segment.bytes",
        "3000000000",
        "Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT",
    ),
    (
        "flush.messages",
        "0",
        "Invalid value 0 for configuration flush.messages: Value must be at least 1",
    ),
    (
        "min.insync.replicas",
        "0",
        "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
    ),
    (
        "leader.replication.throttled.replicas",
        "x",
        "Invalid value [x] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
    ),
    (
        "leader.replication.throttled.replicas",
        "*,1:2",
        "Invalid value [*, 1:2] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
    ),
    (
        "remote.storage.enable",
        "true",
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    ),
];

#[test]
fn wrong_topic_values_are_refused_in_kafkas_words() {
    for (name, value, expected) in REFUSED {
        assert_eq!(topic_refusal(name, value), *expected);
    }
}

#[test]
fn what_kafka_takes_is_taken() {
    for (name, value) in [
        ("retention.ms", " 5 "),
        ("retention.bytes", "-5"),
        ("retention.ms", "0"),
        ("segment.bytes", "+2000000"),
        ("segment.bytes", "007000000"),
        ("preallocate", "TRUE"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "compact, delete"),
        ("compression.type", " gzip"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "1:2, 3:4"),
        ("leader.replication.throttled.replicas", ""),
        ("remote.storage.enable", "false"),
        ("remote.log.copy.disable", "true"),
        ("local.retention.ms", "99999999999"),
        ("write.caching", "true"),
    ] {
        assert_eq!(validate_topic(name, value), Ok(()), "{name}={value}");
    }
}

fn together(overrides: &[(&str, &str)]) -> Result<(), String> {
    let result = validate_topic_overrides(
        &BrokerConfig::default(),
        Dynamic::NONE,
        overrides.iter().copied(),
    );
    result.map_err(|error| error.message().to_string())
}

#[test]
fn overrides_are_checked_together_names_first() {
    assert_eq!(
        together(&[("min.compaction.lag.ms", "100"), ("max.compaction.lag.ms", "50")]),
        Err("conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)".into())
    );
    assert_eq!(
        together(&[("flush.ms", "-1"), ("nonsense", "1")]),
        Err("Unknown topic config name: nonsense".into())
    );
    assert_eq!(
        together(&[
            ("min.compaction.lag.ms", "50"),
            ("max.compaction.lag.ms", "50")
        ]),
        Ok(())
    );
}

#[test]
fn an_inherited_value_can_conflict_with_an_override() {
    let overrides = ["log.cleaner.max.compaction.lag.ms=10".to_string()];
    let (broker, _) = BrokerConfig::parse(None, &overrides).expect("a good override");
    let result =
        validate_topic_overrides(&broker, Dynamic::NONE, [("min.compaction.lag.ms", "11")]);
    assert!(result.is_err());
}

fn topic_op(
    name: &str,
    current: Option<&str>,
    op: Op,
    value: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    apply_op(Resource::Topic, name, current, op, value)
}

#[test]
fn lists_grow_and_shrink_as_kafkas_do() {
    let policy = |current, op, value| {
        let result = topic_op("cleanup.policy", current, op, Some(value));
        result.expect("a list").expect("still set")
    };
    assert_eq!(policy(None, Op::Append, "compact"), "delete,compact");
    assert_eq!(
        policy(Some("delete,compact"), Op::Append, "compact,delete"),
        "delete,compact"
    );
    assert_eq!(
        policy(Some("delete,compact"), Op::Subtract, "delete"),
        "compact"
    );
    assert_eq!(policy(Some("compact"), Op::Subtract, "compact"), "");
    assert_eq!(policy(Some(""), Op::Append, "compact"), "compact");
    // Subtracting what is not there from what is not set stores the default.
    assert_eq!(policy(None, Op::Subtract, "compact"), "delete");
    assert_eq!(
        policy(Some("compact, delete"), Op::Subtract, "delete"),
        "compact"
    );
    assert_eq!(policy(Some("compact"), Op::Set, "delete"), "delete");
}

#[test]
fn a_broker_list_grows_from_the_default_and_not_from_what_it_inherits() {
    let result = apply_op(
        Resource::Broker,
        "log.cleanup.policy",
        None,
        Op::Append,
        Some("compact"),
    );
    assert_eq!(result, Ok(Some("delete,compact".to_string())));
}

#[test]
fn deleting_ignores_the_value_and_needs_no_known_key() {
    assert_eq!(
        topic_op("retention.ms", Some("5"), Op::Delete, Some("6")),
        Ok(None)
    );
    assert_eq!(topic_op("nonsense", None, Op::Delete, None), Ok(None));
    assert_eq!(
        apply_op(Resource::Broker, "num.partitions", None, Op::Delete, None),
        Ok(None)
    );
}

#[test]
fn operations_that_make_no_sense_are_refused_in_kafkas_words() {
    use Op::{Append, Set, Subtract};
    use Refusal::{Config, Request};
    use Resource::{Broker, Topic};
    for (resource, name, op, value, refusal, expected) in [
        (
            Topic,
            "retention.bytes",
            Set,
            None,
            Request,
            "Null value not supported for : retention.bytes",
        ),
        (
            Topic,
            "cleanup.policy",
            Append,
            None,
            Request,
            "Null value not supported for : cleanup.policy",
        ),
        (
            Topic,
            "segment.bytes",
            Append,
            Some("5"),
            Config,
            "Can't APPEND to key segment.bytes because its type is not LIST.",
        ),
        (
            Topic,
            "compression.type",
            Subtract,
            Some("gzip"),
            Config,
            "Can't SUBTRACT to key compression.type because its type is not LIST.",
        ),
        (
            Topic,
            "nonsense",
            Append,
            Some("x"),
            Config,
            "Can't APPEND to key nonsense because its type is not LIST.",
        ),
        (
            Broker,
            "message.max.bytes",
            Append,
            Some("5"),
            Config,
            "Config value append is not allowed for config key: message.max.bytes",
        ),
        (
            Broker,
            "message.max.bytes",
            Subtract,
            Some("5"),
            Config,
            "Config value subtract is not allowed for config key: message.max.bytes",
        ),
        (
            Broker,
            "nonsense",
            Append,
            Some("5"),
            Config,
            "Unknown config name: nonsense",
        ),
        (
            Broker,
            "message.max.bytes",
            Set,
            None,
            Request,
            "Null value not supported for : message.max.bytes",
        ),
    ] {
        let error = apply_op(resource, name, None, op, value).expect_err("Kafka refused it");
        assert_eq!((error.message(), error.refusal()), (expected, refusal));
    }
}

#[test]
fn broker_keys_that_need_a_restart_are_refused_while_it_runs() {
    let text = "log.dirs=/a,/b/";
    let (config, _) = BrokerConfig::parse(Some(("server.properties", text)), &[]).expect("good");
    let refusal = |pairs: &[(&'static str, &'static str)]| {
        let error = validate_broker_dynamic(&config, Whose::OneBroker, pairs.iter().copied())
            .expect_err("Kafka refused it");
        assert_eq!(error.refusal(), Refusal::Request);
        error.message().to_string()
    };
    for (pairs, expected) in [
        (
            &[("num.partitions", "3")][..],
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (
            &[("log.retention.hours", "3"), ("num.partitions", "4")],
            "Cannot update these configs dynamically: [log.retention.hours, num.partitions]",
        ),
        (
            &[("message.max.bytes", "x")],
            "Invalid value x for configuration message.max.bytes: Not a number of type INT",
        ),
        (
            &[("message.max.bytes", "-1")],
            "Invalid value -1 for configuration message.max.bytes: Value must be at least 0",
        ),
        (
            &[("log.cleaner.min.cleanable.ratio", "2")],
            "Invalid value 2.0 for configuration log.cleaner.min.cleanable.ratio: Value must be no more than 1",
        ),
        (
            &[("log.retention.ms", "0")],
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        // Kafka takes these two, and then cannot describe any topic, or keeps what nothing reads.
        (
            &[("log.flush.interval.ms", "-5")],
            "Invalid value -5 for configuration log.flush.interval.ms: Value must be at least 0",
        ),
        (&[("nonsense", "3")], "Unknown config name: nonsense"),
        (
            &[("leader.replication.throttled.rate", "-1")],
            "Invalid value -1 for configuration leader.replication.throttled.rate: Value must be at least 0",
        ),
    ] {
        assert_eq!(refusal(pairs), expected);
    }
    let of_all = validate_broker_dynamic(&config, Whose::AllBrokers, [("cordoned.log.dirs", "*")]);
    assert_eq!(
        of_all.expect_err("Kafka refused it").message(),
        "Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]"
    );
    assert_eq!(
        validate_broker_dynamic(
            &config,
            Whose::OneBroker,
            [("message.max.bytes", "3000000"), ("log.retention.ms", "-1")]
        ),
        Ok(())
    );
    for whose in [Whose::OneBroker, Whose::AllBrokers] {
        let throttles = [
            ("leader.replication.throttled.rate", "5000000"),
            ("follower.replication.throttled.rate", "0"),
            (
                "replica.alter.log.dirs.io.max.bytes.per.second",
                "9223372036854775807",
            ),
        ];
        assert_eq!(validate_broker_dynamic(&config, whose, throttles), Ok(()));
    }
    for good in ["", "*", "/a", "/b/", " /b/ , /a ", "/a,/a"] {
        let cordoned = [("cordoned.log.dirs", good)];
        let checked = validate_broker_dynamic(&config, Whose::OneBroker, cordoned);
        assert_eq!(checked, Ok(()), "{good}");
    }
    for (bad, why) in [
        (
            "/b,/a,/c",
            "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing \
             entries : /b, /c",
        ),
        (
            "/a,*",
            "requirement failed: When cordoned.log.dirs is set to *, it must not contain other values",
        ),
        (
            ",/a",
            "Configuration 'cordoned.log.dirs' values must not be empty.",
        ),
    ] {
        assert_eq!(refusal(&[("cordoned.log.dirs", bad)]), why);
    }
}
