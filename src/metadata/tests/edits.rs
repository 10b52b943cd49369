//! Changes of overrides: what Kafka 4.3.1 refuses and how, and what is left of the rest.

use super::*;

type Edit<'a> = (&'a str, i8, Option<&'a str>);

fn incremental(
    cluster: &mut Cluster,
    kind: i8,
    name: &str,
    edits: &[Edit<'_>],
) -> Result<(), ApiError> {
    let edit = |(key, op, value): &Edit<'_>| ConfigEdit {
        key: Str::from(*key),
        op: *op,
        value: value.map(Str::from),
    };
    let resource = EditedResource {
        resource_type: kind,
        name: Str::from(name),
        edits: edits.iter().map(edit).collect(),
    };
    match cluster.run(Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources: vec![resource],
        validate_only: false,
    })) {
        Reply::IncrementalAlterConfigs(mut rows) => rows.remove(0).result,
        other => panic!("not the reply: {other:?}"),
    }
}

/// A resource by type and name, and all that it shall have.
type Wanted<'a> = (i8, &'a str, &'a [(&'a str, Option<&'a str>)]);

fn alter(cluster: &mut Cluster, resources: &[Wanted<'_>]) -> Vec<ConfigRow> {
    let resource = |(kind, name, edits): &Wanted<'_>| EditedResource {
        resource_type: *kind,
        name: Str::from(*name),
        edits: edits
            .iter()
            .map(|(key, value)| change(key, *value))
            .collect(),
    };
    match cluster.run(Command::AlterConfigs(AlterConfigs {
        resources: resources.iter().map(resource).collect(),
        validate_only: false,
    })) {
        Reply::AlterConfigs(rows) => rows,
        other => panic!("not the reply: {other:?}"),
    }
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// A resource, edits of it, and how they are refused.
type Case<'a> = (i8, &'a str, &'a [Edit<'a>], ErrorCode, &'a str);

#[test]
fn refuses_edits_of_topics_in_kafkas_words() {
    use ErrorCode::{
        InvalidConfig, InvalidRequest, InvalidTopicException, UnknownTopicOrPartition,
    };
    let cases: [Case<'_>; 11] = [
        (
            TOPIC,
            "nope",
            &[("retention.ms", 0, Some("1"))],
            UnknownTopicOrPartition,
            "The topic 'nope' does not exist.",
        ),
        (
            TOPIC,
            "",
            &[("retention.ms", 0, Some("1"))],
            InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (
            TOPIC,
            "b ad",
            &[],
            InvalidTopicException,
            "Topic name is invalid: 'b ad' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            TOPIC,
            "plain",
            &[("retention.ms", 0, Some("x"))],
            InvalidConfig,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            TOPIC,
            "plain",
            &[("x.y", 0, Some("x"))],
            InvalidConfig,
            "Unknown topic config name: x.y",
        ),
        (
            TOPIC,
            "plain",
            &[("retention.ms", 0, None), ("flush.ms", 2, None)],
            InvalidRequest,
            "Null value not supported for : retention.ms, flush.ms",
        ),
        (
            TOPIC,
            "plain",
            &[("retention.ms", 0, None), ("retention.ms", 1, None)],
            InvalidRequest,
            "Error due to duplicate config keys",
        ),
        (
            TOPIC,
            "plain",
            &[("retention.ms", 2, Some("1"))],
            InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "plain",
            &[("retention.ms", 3, Some("1"))],
            InvalidConfig,
            "Can't SUBTRACT to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "plain",
            &[("cleanup.policy", 2, Some("foo"))],
            InvalidConfig,
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            TOPIC,
            "plain",
            &[("cleanup.policy", 9, Some("foo"))],
            InvalidRequest,
            "Unknown config operation 9",
        ),
    ];
    assert_refused(&cases);
}

#[test]
fn refuses_edits_of_other_resources_in_kafkas_words() {
    use ErrorCode::InvalidRequest;
    let cases: [Case<'_>; 9] = [
        (
            BROKER,
            "99",
            &[("message.max.bytes", 0, Some("1"))],
            InvalidRequest,
            "Unexpected broker id, expected 1, but received 99",
        ),
        (
            BROKER,
            "abc",
            &[],
            InvalidRequest,
            "Node id must be an integer, but it is: abc",
        ),
        (
            BROKER,
            "01",
            &[],
            InvalidRequest,
            "Node id must be an integer, but it is: 01",
        ),
        (
            BROKER,
            "",
            &[("retention.ms", 0, Some("x"))],
            InvalidRequest,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (0, "x", &[], InvalidRequest, "Unknown resource type 0"),
        (77, "x", &[], InvalidRequest, "Unknown resource type 77"),
        (8, "1", &[], InvalidRequest, "Unknown resource type 8"),
        (
            32,
            "",
            &[],
            InvalidRequest,
            "Default group resources are not allowed.",
        ),
        (
            16,
            "",
            &[],
            InvalidRequest,
            "Subscription name can't be empty",
        ),
    ];
    assert_refused(&cases);
}

fn assert_refused(cases: &[Case<'_>]) {
    let mut cluster = one_broker();
    let before = cluster.image.clone();
    for (kind, name, edits, code, words) in cases {
        let result = incremental(&mut cluster, *kind, name, edits);
        assert_eq!(
            refusal(&result),
            (*code, Some(*words)),
            "{kind} {name} {edits:?}"
        );
    }
    assert_eq!(cluster.image, before);
}

#[test]
fn incremental_edits_touch_only_their_keys() {
    let mut cluster = one_broker();
    let cleanup = |cluster: &Cluster| {
        let overrides = cluster.image.overrides(ResourceKind::Topic, "plain");
        overrides
            .get("cleanup.policy")
            .map(|policy| policy.to_string())
    };
    let set = [("retention.ms", 0, Some("5")), ("flush.ms", 0, Some("6"))];
    assert_eq!(incremental(&mut cluster, TOPIC, "plain", &set), Ok(()));
    let append = [("cleanup.policy", 2, Some("compact"))];
    assert_eq!(incremental(&mut cluster, TOPIC, "plain", &append), Ok(()));
    assert_eq!(cleanup(&cluster).as_deref(), Some("delete,compact"));
    let subtract = [("cleanup.policy", 3, Some("delete"))];
    assert_eq!(incremental(&mut cluster, TOPIC, "plain", &subtract), Ok(()));
    assert_eq!(cleanup(&cluster).as_deref(), Some("compact"));
    // Deleting ignores the value, and may name what is not set or not known.
    let delete = [("flush.ms", 1, Some("zzz")), ("x.y", 1, None)];
    assert_eq!(incremental(&mut cluster, TOPIC, "plain", &delete), Ok(()));
    let overrides = cluster.image.overrides(ResourceKind::Topic, "plain");
    let keys: Vec<&str> = overrides.keys().map(Str::as_str).collect();
    assert_eq!(keys, ["cleanup.policy", "retention.ms"]);
    assert_eq!(
        incremental(
            &mut cluster,
            BROKER,
            "",
            &[("message.max.bytes", 0, Some("9"))]
        ),
        Ok(())
    );
    assert_eq!(
        incremental(
            &mut cluster,
            BROKER,
            "1",
            &[("message.max.bytes", 0, Some("8"))]
        ),
        Ok(())
    );
    let overridden: Vec<&str> = cluster
        .image
        .overridden(ResourceKind::Broker)
        .map(Str::as_str)
        .collect();
    assert_eq!(overridden, ["", "1"]);
}

#[test]
fn altering_resets_what_is_not_named_and_answers_each_resource_once() {
    let mut cluster = one_broker();
    alter(
        &mut cluster,
        &[(
            TOPIC,
            "plain",
            &[("retention.ms", Some("1")), ("flush.ms", Some("2"))],
        )],
    );
    let rows = alter(
        &mut cluster,
        &[
            (TOPIC, "plain", &[("flush.ms", Some("3"))]),
            (TOPIC, "nope", &[]),
            (TOPIC, "co.llide_x", &[("flush.ms", Some("1"))]),
            (TOPIC, "co.llide_x", &[("flush.ms", Some("2"))]),
        ],
    );
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].result, Ok(()));
    assert_eq!(
        refusal(&rows[1].result).0,
        ErrorCode::UnknownTopicOrPartition
    );
    // Kafka never answers this one.
    assert_eq!(
        refusal(&rows[2].result),
        (
            ErrorCode::InvalidRequest,
            Some("Each resource must appear at most once.")
        )
    );
    let overrides = cluster.image.overrides(ResourceKind::Topic, "plain");
    let held: Vec<(&str, &str)> = overrides
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(held, [("flush.ms", "3")]);
    assert!(
        cluster
            .image
            .overrides(ResourceKind::Topic, "co.llide_x")
            .is_empty()
    );
    alter(&mut cluster, &[(TOPIC, "plain", &[])]);
    assert_eq!(cluster.image.overridden(ResourceKind::Topic).count(), 0);
}

#[test]
fn an_edit_that_changes_nothing_writes_nothing() {
    let mut cluster = one_broker();
    let edit = [("retention.ms", 0, Some("5"))];
    assert_eq!(incremental(&mut cluster, TOPIC, "plain", &edit), Ok(()));
    let again = Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources: vec![EditedResource {
            resource_type: TOPIC,
            name: Str::from("plain"),
            edits: vec![ConfigEdit {
                key: Str::from("retention.ms"),
                op: ConfigOp::Set as i8,
                value: Some(Str::from("5")),
            }],
        }],
        validate_only: false,
    });
    assert_eq!(cluster.decide(&again).records, []);
}

#[test]
fn a_validated_edit_answers_and_writes_nothing() {
    let mut cluster = one_broker();
    let resource = |name: &str| EditedResource {
        resource_type: TOPIC,
        name: Str::from(name),
        edits: vec![change("retention.ms", Some("5"))],
    };
    let decision = cluster.decide(&Command::AlterConfigs(AlterConfigs {
        resources: vec![resource("plain"), resource("nope")],
        validate_only: true,
    }));
    assert_eq!(decision.records, []);
    let Reply::AlterConfigs(rows) = decision.reply else {
        panic!("not the reply")
    };
    assert_eq!(rows[0].result, Ok(()));
    assert!(rows[1].result.is_err());
}
