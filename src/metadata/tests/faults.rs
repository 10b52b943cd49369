//! Each fault of a request against the code and the words that Kafka 4.3.1 gives it.

use super::*;

/// Creates each topic alone in a cluster of one broker that has `plain` (3 partitions) and `co.llide_x`.
fn create_refused(topic: NewTopic) -> (ErrorCode, String) {
    let mut cluster = one_broker();
    let before = cluster.image.clone();
    let rows = cluster.create(vec![topic]);
    assert_eq!(cluster.image, before, "a refused topic leaves no trace");
    let (code, message) = refusal(&rows[0].result);
    (code, message.expect("Kafka says why").to_owned())
}

#[test]
fn refuses_a_topic_in_kafkas_words() {
    use ErrorCode::{
        InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
        InvalidRequest, InvalidTopicException, PolicyViolation, TopicAlreadyExists,
    };
    let few = "cannot be reached because only 1 broker(s) are registered or some brokers have all their log \
               directories cordoned.";
    let auto = || topic("t", -1, -1);
    let cases = [
        (topic("plain", 1, 1), TopicAlreadyExists, "Topic 'plain' already exists.".to_owned()),
        (topic("co_llide.x", 1, 1), InvalidTopicException, "Topic 'co_llide.x' collides with existing topic: co.llide_x".to_owned()),
        (topic("", 1, 1), InvalidTopicException, "Topic name is invalid: the empty string is not allowed".to_owned()),
        (topic("__cluster_metadata", 1, 1), InvalidRequest, "Creation of internal topic __cluster_metadata is prohibited.".to_owned()),
        (topic("t", 0, 1), InvalidPartitions, "Number of partitions was set to an invalid non-positive value.".to_owned()),
        (topic("t", -2, 1), InvalidPartitions, "Number of partitions was set to an invalid non-positive value.".to_owned()),
        (topic("t", 0, 0), InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.".to_owned()),
        (topic("t", 1, -2), InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.".to_owned()),
        (topic("t", 1, 5), InvalidReplicationFactor, format!("Unable to replicate the partition 5 time(s): The target replication factor of 5 {few}")),
        (topic("t", 10_001, 1), PolicyViolation, "Excessively large number of partitions per request.".to_owned()),
        (topic("t", i32::MAX, 1), PolicyViolation, "Excessively large number of partitions per request.".to_owned()),
        (topic("t", 10_000, 1), PolicyViolation, "Unable to perform excessively large batch operation.".to_owned()),
        (with_config(auto(), "retention.ms", Some("abc")), InvalidConfig, "Invalid value abc for configuration retention.ms: Not a number of type LONG".to_owned()),
        (with_config(topic("t", 0, 4), "no.such", Some("1")), InvalidConfig, "Unknown topic config name: no.such".to_owned()),
        (with_config(with_config(auto(), "retention.ms", None), "retention.bytes", None), InvalidConfig, "Null value not supported for topic configs: retention.ms,retention.bytes".to_owned()),
        (with_assignment(topic("t", 2, -1), 0, &[1]), InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.".to_owned()),
        (with_assignment(topic("t", 2, 4), 0, &[1]), InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.".to_owned()),
        (with_assignment(with_assignment(auto(), 0, &[1]), 2, &[1]), InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence".to_owned()),
        (with_assignment(auto(), -1, &[1]), InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence".to_owned()),
        (with_assignment(auto(), 0, &[]), InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.".to_owned()),
        (with_assignment(auto(), 0, &[1, 1]), InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once.".to_owned()),
        (with_assignment(auto(), 1, &[9]), InvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered.".to_owned()),
        (with_assignment(with_assignment(auto(), 0, &[1]), 1, &[1, 2]), InvalidReplicaAssignment, "The manual partition assignment includes broker 2, but no such broker is registered.".to_owned()),
        (with_assignment(with_assignment(auto(), 0, &[1]), 0, &[1]), InvalidReplicaAssignment, "Found multiple manual partition assignments for partition 0".to_owned()),
    ];
    for (topic, code, words) in cases {
        let label = format!("{topic:?}");
        assert_eq!(create_refused(topic), (code, words), "{label}");
    }
}

#[test]
fn refuses_assignments_that_disagree_or_name_only_fenced_brokers() {
    let mut cluster = Cluster::new(&[(1, None), (2, None), (3, None)]);
    cluster.set_fenced(3, true);
    let uneven = with_assignment(with_assignment(topic("a", -1, -1), 0, &[1]), 1, &[1, 2]);
    let fenced = with_assignment(topic("b", -1, -1), 0, &[3]);
    let mixed = with_assignment(topic("c", -1, -1), 0, &[3, 1]);
    let rows = cluster.create(vec![uneven, fenced, mixed]);
    assert_eq!(
        refusal(&rows[0].result).1,
        Some(
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with \
             previous partitions, which have 1 replica(s)."
        )
    );
    assert_eq!(
        refusal(&rows[1].result).1,
        Some(
            "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled \
             shutdown."
        )
    );
    let created = cluster
        .image
        .topic("c")
        .expect("one active replica is enough");
    let partition = created.partition(PartitionIndex(0)).expect("one partition");
    assert_eq!(partition.replicas[..], [NodeId(3), NodeId(1)]);
    assert_eq!(partition.isr[..], [NodeId(1)]);
    assert_eq!(partition.leader, Some(NodeId(1)));
}

#[test]
fn a_bad_topic_does_not_leak_to_its_siblings_and_doubled_names_come_last() {
    let mut cluster = one_broker();
    let rows = cluster.create(vec![
        topic("plain", 1, 1),
        topic("a a", 1, 1),
        topic("twice", 1, 1),
        topic("good", 2, -1),
        topic("twice", 2, 1),
    ]);
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["plain", "a a", "good", "twice"]);
    assert_eq!(
        refusal(&rows[3].result),
        (ErrorCode::InvalidRequest, Some("Duplicate topic name."))
    );
    let good = rows[2]
        .result
        .as_ref()
        .expect("its siblings' faults are theirs");
    assert_eq!((good.partitions, good.replication_factor), (2, 1));
    assert_eq!(
        cluster.image.topic_by_id(good.id).map(|t| t.name.as_str()),
        Some("good")
    );
    assert!(cluster.image.topic("twice").is_none());
}

#[test]
fn too_many_partitions_refuse_the_whole_request_with_one_row_a_name() {
    let mut cluster = one_broker();
    cluster.default_partitions = 6000;
    let rows = cluster.create(vec![
        topic("a", 6000, 1),
        topic("b", -1, 1),
        topic("a a", 1, 1),
    ]);
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let words = "Excessively large number of partitions per request.";
        assert_eq!(
            refusal(&row.result),
            (ErrorCode::PolicyViolation, Some(words))
        );
    }
    assert_eq!(cluster.image.topics_count(), 2);
    let rows = cluster.create(vec![topic("a", 9999, 1)]);
    assert!(
        rows[0].result.is_ok(),
        "9,999 partitions and their topic are 10,000 records"
    );
}

#[test]
fn defaults_stand_in_for_minus_one_and_validation_changes_nothing() {
    let mut cluster = one_broker();
    let wanted = with_config(topic("t", -1, -1), "retention.ms", Some("1000"));
    let validate = Command::CreateTopics(CreateTopics {
        topics: vec![wanted.clone(), topic("plain", 1, 1)],
        validate_only: true,
    });
    let decision = cluster.decide(&validate);
    assert_eq!(decision.records, []);
    let Reply::CreateTopics(rows) = decision.reply else {
        panic!("not the reply")
    };
    assert_eq!(
        rows[0].result.as_ref().map(|created| created.partitions),
        Ok(4)
    );
    assert!(rows[1].result.is_err());
    cluster.create(vec![wanted]);
    assert_eq!(
        cluster.image.topic("t").map(Topic::partitions_count),
        Some(4)
    );
    let overrides = cluster.image.overrides(ResourceKind::Topic, "t");
    assert_eq!(overrides.get("retention.ms").map(Str::as_str), Some("1000"));
    assert_eq!(overrides.len(), 1, "defaults are not stored");
}

fn delete(cluster: &mut Cluster, topics: &[(Option<&str>, TopicId)]) -> Vec<DeletedTopic> {
    let target = |(name, id): &(Option<&str>, TopicId)| TopicTarget {
        name: name.map(Str::from),
        id: *id,
    };
    match cluster.run(Command::DeleteTopics(DeleteTopics {
        topics: topics.iter().map(target).collect(),
    })) {
        Reply::DeleteTopics(rows) => rows,
        other => panic!("not the reply: {other:?}"),
    }
}

#[test]
fn refuses_deletions_in_kafkas_words() {
    use ErrorCode::{InvalidRequest, UnknownTopicId, UnknownTopicOrPartition};
    let mut cluster = one_broker();
    let plain = cluster.image.topic("plain").expect("created").id;
    let unknown = Uuid([7; 16]);
    let (none, zero) = (None, Uuid::ZERO);
    let name = "This server does not host this topic-partition.";
    let maps = "The provided topic name maps to an ID that was already supplied.";
    type Case<'a> = (Vec<(Option<&'a str>, TopicId)>, ErrorCode, &'a str, TopicId);
    let cases: [Case<'_>; 9] = [
        (
            vec![(Some("nope"), zero)],
            UnknownTopicOrPartition,
            name,
            zero,
        ),
        (
            vec![(Some("b ad"), zero)],
            UnknownTopicOrPartition,
            name,
            zero,
        ),
        (
            vec![(none, unknown)],
            UnknownTopicId,
            "This server does not host this topic ID.",
            unknown,
        ),
        (
            vec![(none, zero)],
            InvalidRequest,
            "Neither topic name nor id were specified.",
            zero,
        ),
        (
            vec![(Some("plain"), plain)],
            InvalidRequest,
            "You may not specify both topic name and topic id.",
            plain,
        ),
        (
            vec![(Some("plain"), zero); 2],
            InvalidRequest,
            "Duplicate topic name.",
            zero,
        ),
        (
            vec![(none, plain); 2],
            InvalidRequest,
            "Duplicate topic id.",
            plain,
        ),
        (
            vec![(none, unknown); 3],
            InvalidRequest,
            "Duplicate topic id.",
            unknown,
        ),
        (
            vec![(none, plain), (Some("plain"), zero)],
            InvalidRequest,
            maps,
            plain,
        ),
    ];
    for (topics, code, words, id) in cases {
        let rows = delete(&mut cluster, &topics);
        assert_eq!(rows.len(), 1, "{topics:?}");
        assert_eq!(refusal(&rows[0].result), (code, Some(words)), "{topics:?}");
        assert_eq!(rows[0].id, id, "{topics:?}");
    }
    assert!(cluster.image.topic("plain").is_some());
}

#[test]
fn deletes_by_name_and_by_id_and_answers_both() {
    let mut cluster = one_broker();
    let wanted = with_config(topic("t", 1, 1), "retention.ms", Some("1"));
    cluster.create(vec![wanted.clone()]);
    let id = |cluster: &Cluster, name: &str| cluster.image.topic(name).expect("there").id;
    let (plain, t) = (id(&cluster, "plain"), id(&cluster, "t"));
    let rows = delete(
        &mut cluster,
        &[
            (Some("plain"), Uuid::ZERO),
            (Some("nope"), Uuid::ZERO),
            (None, t),
        ],
    );
    assert_eq!((rows[0].id, &rows[0].result), (plain, &Ok(())));
    assert!(rows[1].result.is_err());
    assert_eq!(rows[2].name.as_deref(), Some("t"));
    assert_eq!(cluster.image.partitions_count(), 1);
    assert!(cluster.image.overrides(ResourceKind::Topic, "t").is_empty());
    cluster.create(vec![topic("t", 1, 1)]);
    assert_ne!(
        id(&cluster, "t"),
        t,
        "a topic that comes again is another topic"
    );
    assert!(cluster.image.overrides(ResourceKind::Topic, "t").is_empty());
}

fn partitions(
    cluster: &mut Cluster,
    name: &str,
    count: i32,
    assignments: Option<&[&[i32]]>,
) -> TopicRow<()> {
    let nodes = |ids: &&[i32]| ids.iter().copied().map(NodeId).collect();
    let wanted = NewPartitions {
        name: Str::from(name),
        count,
        assignments: assignments.map(|lists| lists.iter().map(nodes).collect()),
    };
    match cluster.run(Command::CreatePartitions(CreatePartitions {
        topics: vec![wanted],
        validate_only: false,
    })) {
        Reply::CreatePartitions(mut rows) => rows.remove(0),
        other => panic!("not the reply: {other:?}"),
    }
}

#[test]
fn refuses_more_partitions_in_kafkas_words() {
    use ErrorCode::{
        InvalidPartitions, InvalidReplicaAssignment, PolicyViolation, UnknownTopicOrPartition,
    };
    let uneven = "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent \
                  with previous partitions, which have 1 replica(s).";
    type Case<'a> = (
        &'a str,
        i32,
        Option<&'a [&'a [i32]]>,
        ErrorCode,
        Option<&'a str>,
    );
    let cases: [Case<'_>; 12] = [
        ("nope", 3, None, UnknownTopicOrPartition, None),
        (
            "plain",
            3,
            None,
            InvalidPartitions,
            Some("Topic already has 3 partition(s)."),
        ),
        (
            "plain",
            2,
            None,
            InvalidPartitions,
            Some("The topic plain currently has 3 partition(s); 2 would not be an increase."),
        ),
        (
            "plain",
            -1,
            None,
            InvalidPartitions,
            Some("The topic plain currently has 3 partition(s); -1 would not be an increase."),
        ),
        (
            "plain",
            5,
            Some(&[&[1]]),
            InvalidReplicaAssignment,
            Some(
                "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
            ),
        ),
        (
            "plain",
            4,
            Some(&[]),
            InvalidReplicaAssignment,
            Some(
                "Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified.",
            ),
        ),
        (
            "plain",
            4,
            Some(&[&[]]),
            InvalidReplicaAssignment,
            Some("The manual partition assignment includes an empty replica list."),
        ),
        (
            "plain",
            4,
            Some(&[&[1, 1]]),
            InvalidReplicaAssignment,
            Some("The manual partition assignment includes the broker 1 more than once."),
        ),
        (
            "plain",
            4,
            Some(&[&[9]]),
            InvalidReplicaAssignment,
            Some(
                "The manual partition assignment includes broker 9, but no such broker is registered.",
            ),
        ),
        (
            "plain",
            4,
            Some(&[&[1, 2]]),
            InvalidReplicaAssignment,
            Some(uneven),
        ),
        (
            "plain",
            10_004,
            None,
            PolicyViolation,
            Some("Excessively large number of partitions per request."),
        ),
        (
            "plain",
            i32::MAX,
            None,
            PolicyViolation,
            Some("Excessively large number of partitions per request."),
        ),
    ];
    let mut cluster = Cluster::new(&[(1, None), (2, None)]);
    cluster.create(vec![topic("plain", 3, 1)]);
    let before = cluster.image.clone();
    for (name, count, assignments, code, words) in cases {
        let row = partitions(&mut cluster, name, count, assignments);
        assert_eq!(
            refusal(&row.result),
            (code, words),
            "{name} {count} {assignments:?}"
        );
    }
    assert_eq!(cluster.image, before);
}

#[test]
fn adds_partitions_behind_those_there_are() {
    let mut cluster = one_broker();
    let before = cluster.image.topic("plain").expect("there").clone();
    assert_eq!(partitions(&mut cluster, "plain", 5, None).result, Ok(()));
    assert_eq!(
        partitions(&mut cluster, "plain", 6, Some(&[&[1]])).result,
        Ok(())
    );
    let after = cluster.image.topic("plain").expect("there");
    assert_eq!(after.partitions_count(), 6);
    assert_eq!(after.id, before.id);
    assert!(before.partitions().eq(after.partitions().take(3)));
    assert_eq!(cluster.image.partitions_count(), 7);
    let twice = NewPartitions {
        name: Str::from("plain"),
        count: 9,
        assignments: None,
    };
    let decision = cluster.decide(&Command::CreatePartitions(CreatePartitions {
        topics: vec![twice.clone(), twice],
        validate_only: false,
    }));
    let Reply::CreatePartitions(rows) = decision.reply else {
        panic!("not the reply")
    };
    assert_eq!(rows.len(), 1);
    assert_eq!(
        refusal(&rows[0].result),
        (ErrorCode::InvalidRequest, Some("Duplicate topic name."))
    );
}
