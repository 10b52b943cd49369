//! Goal: groups take no more than their share of memory, and no record that its topic would not take, and whoever is in
//! already goes on. Method: a share, or a topic, that is all but used up, and one request of each kind.

use super::bench::{Bench, committing, joining, subscription};
use crate::group::{GroupReply, GroupRequest, RequireStable};
use crate::protocol::ErrorCode;
use crate::protocol::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::protocol::join_group::JoinGroupRequest;
use crate::types::Str;

const NOT_AVAILABLE: i16 = ErrorCode::CoordinatorNotAvailable as i16;
const UNKNOWN_ERROR: i16 = ErrorCode::UnknownServerError as i16;
const NOBODY: (i32, &str) = (-1, "");

impl Bench {
    fn beat(&mut self, group: &str, member: &str, topics: &[&str]) -> (i16, i32) {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Str::from(group),
            member_id: Str::from(member),
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(topics.iter().map(|topic| Str::from(*topic)).collect()),
            topic_partitions: Some(Vec::new()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let token = self.ask(1, GroupRequest::ConsumerHeartbeat(request));
        match self.take(token) {
            Some(GroupReply::ConsumerHeartbeat(answer)) => (answer.error_code, answer.member_epoch),
            other => panic!("no answer to a heartbeat: {other:?}"),
        }
    }

    fn commit_of(&mut self, group: &str, partition: i32, metadata: usize) -> i16 {
        let mut request = committing(group, NOBODY, "t", partition, 1);
        let text = "x".repeat(metadata);
        request.topics[0].partitions[0].committed_metadata = Some(Str::from(text));
        let token = self.ask(9, GroupRequest::OffsetCommit(request));
        match self.take(token) {
            Some(GroupReply::OffsetCommit(answer)) => answer.topics[0].partitions[0].error_code,
            other => panic!("no answer to an OffsetCommit: {other:?}"),
        }
    }

    fn join_of(&mut self, group: &str) -> i16 {
        let request = JoinGroupRequest {
            group_id: Str::from(group),
            ..joining("", None, subscription(&["t"]))
        };
        let token = self.ask(9, GroupRequest::Join(request));
        self.joined(token).error_code
    }
}

#[test]
fn past_their_memory_nothing_new_is_kept_and_the_others_go_on() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(2);
    assert_eq!(bench.commit((generation, &ids[0]), "t", 5), 0);
    assert_eq!(bench.beat("consumers", "m", &["t"]).0, 0);
    assert_eq!(bench.commit_of("simple", 0, 0), 0);
    bench.bytes_max = bench.coordinator.kept_bytes();
    let (groups, log) = (bench.coordinator.groups_count(), bench.log.len());
    assert_eq!(bench.join_of("new"), NOT_AVAILABLE);
    assert_eq!(bench.join_of("g"), NOT_AVAILABLE);
    assert_eq!(bench.beat("new", "n", &["t"]).0, NOT_AVAILABLE);
    assert_eq!(bench.beat("consumers", "n", &["t"]).0, NOT_AVAILABLE);
    assert_eq!(bench.commit_of("new", 0, 0), NOT_AVAILABLE);
    assert_eq!(bench.commit_of("simple", 1, 0), NOT_AVAILABLE);
    assert_eq!(
        (bench.coordinator.groups_count(), bench.log.len()),
        (groups, log)
    );
    // Members heartbeat, commit, and rebalance; offsets that are known move on.
    assert_eq!(bench.heartbeat(generation, &ids[0]), 0);
    assert_eq!(bench.commit((generation, &ids[0]), "t", 6), 0);
    assert_eq!(bench.commit_of("simple", 0, 10), 0);
    assert_eq!(bench.beat("consumers", "m", &["t"]).0, 0);
    let token = bench.join_with(9, &ids[1], None, subscription(&["u"]));
    let other = bench.join(9, &ids[0], None);
    assert_eq!(bench.joined(token).error_code, 0);
    assert_eq!(bench.joined(other).error_code, 0);
    // Who goes makes room.
    let before = bench.coordinator.kept_bytes();
    let deleted = bench.ask(2, GroupRequest::Delete(Str::from("simple")));
    assert_eq!(
        bench.take(deleted),
        Some(GroupReply::Delete(ErrorCode::None))
    );
    assert!(bench.coordinator.kept_bytes() + 500 < before);
    bench.bytes_max = bench.coordinator.kept_bytes() + 10_000;
    assert_eq!(bench.beat("new", "n", &["t"]).0, 0);
}

/// A thousand groups, each with a member and an offset, come and go: what is counted for them goes with them.
#[test]
fn what_groups_take_is_given_back() {
    let mut bench = Bench::new(&[]);
    let before = bench.coordinator.kept_bytes();
    for round in 0..2 {
        for number in 0..500 {
            let group = format!("g{number}");
            assert_eq!(bench.beat(&group, "m", &["t", "u"]).0, 0);
            assert_eq!(bench.commit_of(&format!("s{number}"), 2, 100), 0);
        }
        let bytes = bench.coordinator.kept_bytes() - before;
        assert!(
            (500_000..5_000_000).contains(&bytes),
            "{bytes}, round {round}"
        );
        // All sessions end.
        bench.pass_ms(50_000);
        for number in 0..500 {
            for group in [format!("g{number}"), format!("s{number}")] {
                let token = bench.ask(2, GroupRequest::Delete(Str::from(group)));
                assert_eq!(bench.take(token), Some(GroupReply::Delete(ErrorCode::None)));
            }
        }
        assert_eq!(bench.coordinator.kept_bytes(), before);
        assert!(bench.coordinator.subscribers.is_empty());
    }
}

#[test]
fn an_offset_that_its_topic_would_not_take_is_refused_as_kafka_does() {
    let mut bench = Bench::new(&["offset.metadata.max.bytes=100000"]);
    bench.batch_bytes_max = 10_000;
    let mut request = committing("g", NOBODY, "t", 0, 1);
    let small = request.topics[0].partitions[0].clone();
    request.topics[0].partitions[0].committed_metadata = Some(Str::from("x".repeat(20_000)));
    request.topics[0].partitions.push(small);
    request.topics[0].partitions[1].partition_index = 1;
    let log = bench.log.len();
    let token = bench.ask(9, GroupRequest::OffsetCommit(request));
    let Some(GroupReply::OffsetCommit(answer)) = bench.take(token) else {
        panic!("no answer");
    };
    let errors = answer.topics[0].partitions.iter().map(|p| p.error_code);
    assert_eq!(errors.collect::<Vec<_>>(), [UNKNOWN_ERROR; 2]);
    assert_eq!(bench.log.len(), log);
    assert_eq!(bench.commit_of("g", 0, 9000), 0);
    assert_eq!(bench.fetch("t", 0, RequireStable::No), (1, 0));
}

#[test]
fn a_member_whose_record_would_not_fit_is_refused_before_it_joins() {
    let mut bench = Bench::new(&[]);
    bench.batch_bytes_max = 10_000;
    let name = "n".repeat(249);
    let names: Vec<String> = (0..100).map(|number| format!("{name}{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let log = bench.log.len();
    assert_eq!(bench.beat("g", "m", &names).0, UNKNOWN_ERROR);
    assert_eq!(
        (bench.coordinator.groups_count(), bench.log.len()),
        (0, log)
    );
    assert_eq!(bench.beat("g", "m", &["t"]).0, 0);
}

/// A change of the metadata concerns the groups that name the topic, and those with an expression.
#[test]
fn only_subscribers_are_told_of_a_topic() {
    let mut bench = Bench::new(&[]);
    for (group, topics) in [
        ("a", vec!["t"]),
        ("b", vec!["u", "t"]),
        ("c", vec!["later"]),
    ] {
        assert_eq!(bench.beat(group, "m", &topics).0, 0);
    }
    let request = ConsumerGroupHeartbeatRequest {
        group_id: Str::from("r"),
        member_id: Str::from("m"),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_regex: Some(Str::from("l.*")),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let token = bench.ask(1, GroupRequest::ConsumerHeartbeat(request));
    assert!(bench.take(token).is_some());
    let concerned = |bench: &Bench, topic: &str| {
        let groups = bench.coordinator.subscribers.of(&[Str::from(topic)].into());
        groups.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(concerned(&bench, "t"), ["a", "b", "r"]);
        assert_eq!(concerned(&bench, "later"), ["c", "r"]);
        assert_eq!(concerned(&bench, "other"), ["r"]);
        bench.restart();
    }
    // The topic comes, and whoever waits for it has it with the next heartbeat.
    bench.pass_ms(2000);
    bench.add_topic("later", 9);
    bench.on_metadata();
    let (error, epoch) = bench.beat("c", "m", &["later"]);
    assert_eq!((error, epoch), (0, 3));
    assert_eq!(bench.beat("a", "m", &["t"]).1, 2, "nothing is new to it");
    // Another subscription, and a member that goes.
    assert_eq!(bench.beat("b", "m", &["u"]).0, 0);
    assert_eq!(concerned(&bench, "t"), ["a", "r"]);
    bench.pass_ms(50_000);
    assert_eq!(concerned(&bench, "t"), Vec::<String>::new());
    assert!(bench.coordinator.subscribers.is_empty());
}
