//! Goal: whatever one client does to a group, it gets a clear error, the broker's memory stays bounded, and members of
//! other groups heartbeat and commit meanwhile as if nothing were.
//!
//! Method: attacks beside a neighbour, on the same few coordinators, whose longest wait is measured; resident memory before
//! and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::ErrorCode;
use ringlog::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ringlog::protocol::delete_groups::DeleteGroupsRequest;
use ringlog::protocol::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use ringlog::protocol::list_groups::ListGroupsRequest;
use ringlog::protocol::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ringlog::types::Str;

use crate::broker::{Broker, free_port};
use crate::groups::{
    commit, committed, coordinator, describe, heartbeat, join_request, member_id, sync_request,
};
use crate::wire::Client;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;
const OVERRIDES: &[&str] = &[
    "group.initial.rebalance.delay.ms=0",
    "offsets.topic.num.partitions=2",
];

/// A member of a group of its own that heartbeats and commits all the while.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Neighbour {
    fn start(broker: &Broker) -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = broker.client();
        let id = member_id(&mut client, "neighbour");
        let joined = client
            .call(9, &join_request("neighbour", &id))
            .expect("JoinGroup");
        let synced = client.call(5, &sync_request("neighbour", &joined));
        assert_eq!(synced.expect("SyncGroup").error_code, 0);
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(heartbeat(&mut client, "neighbour", &joined), 0);
                commit(&mut client, "neighbour", Some(&joined), rounds as i64);
                longest = longest.max(began.elapsed());
                rounds += 1;
                thread::sleep(Duration::from_millis(2));
            }
            (rounds, longest)
        });
        Neighbour { stop, thread }
    }

    fn finish(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let (rounds, longest) = self.thread.join().expect("the neighbour was served");
        println!("{what}: {rounds} rounds of the neighbour, longest {longest:?}");
        assert!(rounds > 5, "only {rounds} rounds");
        assert!(
            longest < Duration::from_secs(5),
            "one round took {longest:?}"
        );
    }
}

/// Runs an attack beside a neighbour. Then the broker must run, unpanicked, and have grown by no more than `growth_max`.
fn abused(what: &str, overrides: &[&str], growth_max: u64, attack: impl FnOnce(&Broker)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let overrides = [OVERRIDES, overrides].concat();
    let mut broker = Broker::start_with(free_port(), dir.path(), &overrides);
    let mut client = broker.client();
    client.create_topic(TOPIC, PARTITIONS).expect("set-up");
    coordinator(&mut client, "neighbour");
    let neighbour = Neighbour::start(&broker);
    thread::sleep(Duration::from_millis(50));
    let before = broker.resident();
    attack(&broker);
    let after = broker.resident();
    neighbour.finish(what);
    broker.assert_running();
    let output = broker.output();
    assert!(!output.contains("panicked"), "panicked:\n{output}");
    assert!(
        output.len() < 1 << 20,
        "{} bytes of log lines",
        output.len()
    );
    println!(
        "{what}: resident {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(
        after < before + growth_max,
        "grew from {before} to {after} bytes"
    );
}

fn code(error: ErrorCode) -> i16 {
    error.code()
}

fn beat_request(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    let joins = epoch == 0;
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: if joins { 30_000 } else { -1 },
        subscribed_topic_names: joins.then(|| vec![TOPIC.into()]),
        topic_partitions: joins.then(Vec::new),
        ..Default::default()
    }
}

fn beat(
    client: &mut Client,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    client.call(1, request).expect("ConsumerGroupHeartbeat")
}

/// A classic member that needs no id of its own.
fn old_join(group: &str, metadata: Bytes) -> JoinGroupRequest {
    JoinGroupRequest {
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata,
        }],
        ..join_request(group, &Str::EMPTY)
    }
}

/// The metadata of [`join_request`], filled up with what a consumer may add.
fn metadata(bytes: usize) -> Bytes {
    let mut metadata = b"\0\x01\0\0\0\x01\0\x06orders".to_vec();
    metadata.extend((bytes as u32).to_be_bytes());
    metadata.resize(metadata.len() + bytes, 7);
    metadata.extend([0; 4]);
    metadata.into()
}

#[test]
fn ten_thousand_consumers_in_one_group_and_a_thousand_too_many() {
    let limit = ["group.consumer.max.size=10000"];
    abused("consumers", &limit, 200 << 20, |broker| {
        let mut client = broker.client();
        let (mut inside, mut refused) = (0, 0);
        for number in 0..11_000 {
            let answer = beat(
                &mut client,
                &beat_request("crowd", &format!("m{number}"), 0),
            );
            match answer.error_code {
                0 => inside += 1,
                error => {
                    assert_eq!(error, code(ErrorCode::GroupMaxSizeReached));
                    assert!(
                        answer
                            .error_message
                            .is_some_and(|why| why.contains("10000"))
                    );
                    refused += 1;
                }
            }
        }
        assert_eq!((inside, refused), (10_000, 1000));
        // Who is in stays in, and leaves room when it goes.
        let epoch = beat(&mut client, &beat_request("crowd", "m0", 0)).member_epoch;
        assert!(epoch > 0);
        assert_eq!(
            beat(&mut client, &beat_request("crowd", "m0", -1)).error_code,
            0
        );
        assert_eq!(
            beat(&mut client, &beat_request("crowd", "late", 0)).error_code,
            0
        );
    });
}

#[test]
fn ten_thousand_classic_members_in_one_group_and_a_thousand_too_many() {
    // A record of the whole group is larger than Kafka's default allows.
    let overrides = [
        "group.max.size=10000",
        "group.initial.rebalance.delay.ms=5000",
        "message.max.bytes=8000000",
    ];
    abused("members", &overrides, 600 << 20, |broker| {
        let mut members: Vec<Client> = (0..11_000).map(|_| broker.client()).collect();
        for member in &mut members {
            let request = JoinGroupRequest {
                rebalance_timeout_ms: 30_000,
                ..old_join("crowd", metadata(10))
            };
            member.send(3, &request).expect("JoinGroup");
        }
        let mut joined: Vec<(usize, JoinGroupResponse)> = Vec::new();
        let mut refused = 0;
        for (number, member) in members.iter_mut().enumerate() {
            member.patient(Duration::from_secs(60)).expect("a time-out");
            let answer: JoinGroupResponse = member.receive(3).expect("JoinGroup");
            match answer.error_code {
                0 => joined.push((number, answer)),
                error => {
                    assert_eq!(error, code(ErrorCode::GroupMaxSizeReached));
                    refused += 1;
                }
            }
        }
        assert_eq!((joined.len(), refused), (10_000, 1000));
        let leads = |(_, answer): &&(usize, JoinGroupResponse)| answer.leader == answer.member_id;
        let (number, leader) = joined.iter().find(leads).expect("one leads");
        assert_eq!(leader.members.len(), 10_000);
        let synced = members[*number].call(3, &sync_request("crowd", leader));
        assert_eq!(synced.expect("SyncGroup").error_code, 0);
        assert_eq!(
            describe(&mut broker.client(), "crowd").members.len(),
            10_000
        );
    });
}

#[test]
fn hostile_names_are_names() {
    let long = "x".repeat(32_000);
    let names = [
        "a\0b",
        "line\nbreak",
        "\"quoted\\\"",
        "../../etc/passwd",
        "\u{202e}gnirts",
        "🦀",
        " ",
        "__consumer_offsets",
        "{}%s%n",
        long.as_str(),
    ];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut broker = Broker::start_with(free_port(), dir.path(), OVERRIDES);
    for round in 0..2 {
        let mut client = broker.client();
        client.create_topic(TOPIC, PARTITIONS).expect("set-up");
        for (number, name) in (1..).zip(names) {
            coordinator(&mut client, name);
            if round == 0 {
                let id = member_id(&mut client, name);
                let alone = client.call(9, &join_request(name, &id)).expect("JoinGroup");
                assert_eq!(alone.error_code, 0, "{name:?}");
                let synced = client.call(5, &sync_request(name, &alone));
                assert_eq!(synced.expect("SyncGroup").error_code, 0, "{name:?}");
                commit(&mut client, name, Some(&alone), number * 100);
            }
            // Also after `kill -9`.
            assert_eq!(committed(&mut client, name)[0].0, number * 100, "{name:?}");
            let described = describe(&mut client, name);
            assert_eq!(
                (described.error_code, described.members.len()),
                (0, 1),
                "{name:?}"
            );
        }
        let listed = client.call(5, &ListGroupsRequest::default());
        assert_eq!(listed.expect("ListGroups").groups.len(), names.len());
        let refused = client.call(9, &join_request("", &Str::EMPTY));
        assert_eq!(
            refused.expect("JoinGroup").error_code,
            code(ErrorCode::InvalidGroupId)
        );
        let blank = beat(&mut client, &beat_request(" \t", "m", 0));
        assert_eq!(blank.error_code, code(ErrorCode::InvalidRequest));
        if round == 0 {
            broker.kill();
            broker = Broker::start_with(broker.address.port(), dir.path(), OVERRIDES);
        }
    }
    let output = broker.output();
    assert!(!output.contains("panicked"), "panicked:\n{output}");
}

/// A member may bring as much as its group's record could hold; a group no more than a few times that, and all groups
/// together no more than their share of memory.
#[test]
fn member_metadata_at_the_limit_is_bounded() {
    let overrides = ["memory.bytes=400000000", "memory.group.ratio=0.1"];
    abused("metadata", &overrides, 250 << 20, |broker| {
        let mut client = broker.client();
        let mut join = |group: &str, bytes: usize| {
            let answer = client.call(3, &old_join(group, metadata(bytes)));
            answer.expect("JoinGroup").error_code
        };
        assert_eq!(join("large", 2_000_000), code(ErrorCode::InvalidRequest));
        assert_eq!(join("large", 1_040_000), 0);
        let (mut inside, mut refused) = (0, 0);
        for number in 0..200 {
            match join(&format!("many-{number}"), 1_000_000) {
                0 => inside += 1,
                error => {
                    assert_eq!(error, code(ErrorCode::CoordinatorNotAvailable));
                    refused += 1;
                }
            }
        }
        // 40 MB for both shards.
        assert!(
            (20..40).contains(&inside) && refused > 100,
            "{inside} and {refused}"
        );
        assert!(
            broker.output().contains("memory.group.ratio"),
            "{}",
            broker.output()
        );
        // A group that goes makes room.
        let groups = (0..200).map(|number| Str::from(format!("many-{number}")));
        let request = DeleteGroupsRequest {
            groups_names: groups.collect(),
        };
        let answer = broker.client().call(2, &request).expect("DeleteGroups");
        let busy = code(ErrorCode::NonEmptyGroup);
        let kept = answer.results.iter().filter(|row| row.error_code == busy);
        assert_eq!(kept.count(), inside, "who is in is not deleted");
    });
}

/// One group of many members that each bring much, all waiting for one another.
#[test]
fn a_group_cannot_keep_more_than_it_could_store() {
    abused(
        "one group",
        &["group.initial.rebalance.delay.ms=3000"],
        150 << 20,
        |broker| {
            let mut members: Vec<Client> = (0..100).map(|_| broker.client()).collect();
            for member in &mut members {
                let request = old_join("large", metadata(900_000));
                member.send(3, &request).expect("JoinGroup");
            }
            let mut errors: Vec<i16> = Vec::new();
            for member in &mut members {
                let answer: JoinGroupResponse = member.receive(3).expect("JoinGroup");
                errors.push(answer.error_code);
            }
            let inside = errors.iter().filter(|error| **error == 0).count();
            assert!((1..=4).contains(&inside), "{errors:?}");
            let full = code(ErrorCode::GroupMaxSizeReached);
            assert!(
                errors.iter().all(|error| [0, full].contains(error)),
                "{errors:?}"
            );
        },
    );
}

#[test]
fn ids_of_others_forged_epochs_and_unknown_assignors_change_nothing() {
    abused("forgeries", &[], 100 << 20, |broker| {
        let mut client = broker.client();
        let theirs = describe(&mut client, "neighbour").members[0]
            .member_id
            .clone();
        let id = member_id(&mut client, "own");
        let own = client
            .call(9, &join_request("own", &id))
            .expect("JoinGroup");
        client
            .call(5, &sync_request("own", &own))
            .expect("SyncGroup");
        // Another group's id here, ours there.
        let as_them = JoinGroupResponse {
            member_id: theirs.clone(),
            ..own.clone()
        };
        let unknown = code(ErrorCode::UnknownMemberId);
        assert_eq!(heartbeat(&mut client, "own", &as_them), unknown);
        assert_eq!(heartbeat(&mut client, "neighbour", &own), unknown);
        let joined = client
            .call(9, &join_request("own", &theirs))
            .expect("JoinGroup");
        assert_eq!(joined.error_code, unknown);
        let synced = client
            .call(5, &sync_request("neighbour", &own))
            .expect("SyncGroup");
        assert_eq!(synced.error_code, unknown);
        for generation_id in [i32::MIN, -1, 0, 2, i32::MAX] {
            let forged = JoinGroupResponse {
                generation_id,
                ..own.clone()
            };
            let error = heartbeat(&mut client, "own", &forged);
            assert_eq!(error, code(ErrorCode::IllegalGeneration), "{generation_id}");
        }
        assert_eq!(
            beat(&mut client, &beat_request("new", "a", 0)).error_code,
            0
        );
        for (epoch, error) in [
            (1, ErrorCode::FencedMemberEpoch),
            (i32::MAX, ErrorCode::FencedMemberEpoch),
            (i32::MIN, ErrorCode::InvalidRequest),
            (-3, ErrorCode::InvalidRequest),
            (-2, ErrorCode::InvalidRequest),
        ] {
            let answer = beat(&mut client, &beat_request("new", "a", epoch));
            assert_eq!(answer.error_code, code(error), "{epoch}");
        }
        let stranger = beat(&mut client, &beat_request("new", &theirs, 2));
        assert_eq!(stranger.error_code, unknown);
        let unsupported = ConsumerGroupHeartbeatRequest {
            server_assignor: Some("cunning".into()),
            ..beat_request("new", "b", 0)
        };
        let answer = beat(&mut client, &unsupported);
        assert_eq!(answer.error_code, code(ErrorCode::UnsupportedAssignor));
        assert!(
            answer
                .error_message
                .is_some_and(|why| why.contains("uniform"))
        );
        assert_eq!(heartbeat(&mut client, "own", &own), 0);
        assert_eq!(
            beat(&mut client, &beat_request("new", "a", 2)).error_code,
            0
        );
    });
}

#[test]
fn oversized_assignments_and_claims_are_refused() {
    abused("assignments", &[], 300 << 20, |broker| {
        let mut client = broker.client();
        let id = member_id(&mut client, "large");
        for bytes in [1_048_588, 20 << 20, 60 << 20] {
            let joined = client
                .call(9, &join_request("large", &id))
                .expect("JoinGroup");
            assert_eq!(joined.error_code, 0);
            let request = SyncGroupRequest {
                assignments: vec![SyncGroupRequestAssignment {
                    member_id: id.clone(),
                    assignment: vec![7; bytes].into(),
                }],
                ..sync_request("large", &joined)
            };
            let synced = client.call(5, &request).expect("SyncGroup");
            assert_eq!(
                synced.error_code,
                code(ErrorCode::UnknownServerError),
                "{bytes}"
            );
        }
        // For members that there are not nothing is kept.
        let joined = client
            .call(9, &join_request("large", &id))
            .expect("JoinGroup");
        let stranger = |number: usize| SyncGroupRequestAssignment {
            member_id: format!("stranger-{number}").into(),
            assignment: vec![7; 1000].into(),
        };
        let request = SyncGroupRequest {
            assignments: (0..10_000).map(stranger).collect(),
            ..sync_request("large", &joined)
        };
        assert_eq!(client.call(5, &request).expect("SyncGroup").error_code, 0);
        assert_eq!(
            beat(&mut client, &beat_request("claims", "m", 0)).error_code,
            0
        );
        let claims = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(vec![TopicPartitions {
                topic_id: ringlog::types::Uuid([7; 16]),
                partitions: (0..1_000_000).collect(),
            }]),
            ..beat_request("claims", "m", 2)
        };
        let answer = beat(&mut client, &claims);
        assert_eq!(answer.error_code, code(ErrorCode::InvalidRequest));
        let names = (0..100_000).map(|number| Str::from(format!("topic-{number}")));
        let names = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(names.collect()),
            ..beat_request("claims", "n", 0)
        };
        let answer = beat(&mut client, &names);
        assert_eq!(answer.error_code, code(ErrorCode::InvalidRequest));
        assert_eq!(
            beat(&mut client, &beat_request("claims", "m", 2)).error_code,
            0
        );
    });
}

#[test]
fn exploding_expressions_are_refused_or_cheap() {
    abused("expressions", &[], 150 << 20, |broker| {
        let mut client = broker.client();
        let mut enter = |regex: &str, number: usize| {
            let request = ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                subscribed_topic_regex: Some(regex.into()),
                ..beat_request("patterns", &format!("m{number}"), 0)
            };
            beat(&mut client, &request).error_code
        };
        let began = Instant::now();
        let invalid = code(ErrorCode::InvalidRegularExpression);
        let nested = "(".repeat(5000) + "a" + &")".repeat(5000);
        let repeated = "((((((a{900}){900}){900}){900}){900}){900})";
        for (number, regex) in [repeated, nested.as_str(), "(?=a)", "a{1001}", "("]
            .iter()
            .enumerate()
        {
            assert_eq!(enter(regex, number), invalid, "{number}");
        }
        for number in 0..50 {
            assert_eq!(
                enter(&format!("(a*)*(a|aa)+(x+x+)+{number}y"), 100 + number),
                0
            );
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
    });
}

/// Every one of them waits in the rebalance when it hangs up.
#[test]
fn thousands_that_hang_up_while_they_wait_disturb_nobody() {
    abused("hanging up", &[], 200 << 20, |broker| {
        for _ in 0..5 {
            let mut members: Vec<Client> = (0..400).map(|_| broker.client()).collect();
            for member in &mut members {
                let request = old_join("leavers", metadata(10));
                member.send(3, &request).expect("JoinGroup");
            }
        }
        let mut client = broker.client();
        let deadline = Instant::now() + Duration::from_secs(10);
        while describe(&mut client, "leavers").members.len() < 2000 {
            assert!(Instant::now() < deadline, "not all have come in");
            thread::sleep(Duration::from_millis(20));
        }
    });
}
