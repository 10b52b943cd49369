//! Groups over the real wire: members of a classic group meet, commit, and are found again after `kill -9`.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::ErrorCode;
use ringlog::protocol::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use ringlog::protocol::end_txn::EndTxnRequest;
use ringlog::protocol::find_coordinator::{Coordinator, FindCoordinatorRequest};
use ringlog::protocol::heartbeat::HeartbeatRequest;
use ringlog::protocol::init_producer_id::InitProducerIdRequest;
use ringlog::protocol::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use ringlog::protocol::list_groups::ListGroupsRequest;
use ringlog::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ringlog::protocol::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ringlog::protocol::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ringlog::protocol::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ringlog::types::Str;

use crate::broker::{Broker, free_port};
use crate::wire::Client;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;
const LOADING: i16 = 14;
const REBALANCING: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

/// Small numbers, so that a broker with debug checks starts quickly.
const OVERRIDES: &[&str] = &[
    "group.initial.rebalance.delay.ms=0",
    "offsets.topic.num.partitions=5",
    "num.shards=2",
];

fn start(port: u16, dir: &Path) -> Broker {
    Broker::start_with(port, dir, OVERRIDES)
}

/// Where a group's coordinator is; made by the first who asks.
pub fn coordinator(client: &mut Client, group: &str) -> Coordinator {
    coordinator_of(client, 0, group)
}

/// The same of a group (0) or a transactional id (1).
pub fn coordinator_of(client: &mut Client, key_type: i8, key: &str) -> Coordinator {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![Str::from(key)],
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut answer = client.call(4, &request).expect("FindCoordinator");
        let found = answer.coordinators.pop().expect("one key, one answer");
        if found.error_code == 0 {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
    }
}

pub fn join_request(group: &str, member: &Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\0"),
        }],
        ..Default::default()
    }
}

/// A member's first words: it is given its id (KIP-394). Loading takes a moment after a start.
pub fn member_id(client: &mut Client, group: &str) -> Str {
    loop {
        let answer = client
            .call(9, &join_request(group, &Str::EMPTY))
            .expect("JoinGroup");
        match answer.error_code {
            MEMBER_ID_REQUIRED => return answer.member_id,
            LOADING => {}
            other => panic!("a new member is given its id first: {other}"),
        }
    }
}

pub fn sync_request(group: &str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    let assignment = |member_id: &Str| SyncGroupRequestAssignment {
        member_id: member_id.clone(),
        assignment: Bytes::from(member_id.to_string().into_bytes()),
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        assignments: joined
            .members
            .iter()
            .map(|m| assignment(&m.member_id))
            .collect(),
        ..Default::default()
    }
}

pub fn heartbeat(client: &mut Client, group: &str, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    client.call(4, &request).expect("Heartbeat").error_code
}

/// Two members in one generation, both with their assignment.
fn two_members(
    group: &str,
    first: &mut Client,
    second: &mut Client,
) -> (JoinGroupResponse, JoinGroupResponse) {
    let id = member_id(first, group);
    let alone = first.call(9, &join_request(group, &id)).expect("JoinGroup");
    assert_eq!((alone.error_code, alone.generation_id), (0, 1));
    assert_eq!(alone.leader, alone.member_id);
    let synced = first
        .call(5, &sync_request(group, &alone))
        .expect("SyncGroup");
    assert_eq!(synced.error_code, 0);
    assert_eq!(synced.assignment, alone.member_id.as_bytes());

    let id = member_id(second, group);
    second
        .send(9, &join_request(group, &id))
        .expect("JoinGroup");
    let deadline = Instant::now() + Duration::from_secs(10);
    while heartbeat(first, group, &alone) != REBALANCING {
        assert!(
            Instant::now() < deadline,
            "the first member is not told to join again"
        );
    }
    let led = first
        .call(9, &join_request(group, &alone.member_id))
        .expect("JoinGroup");
    let followed: JoinGroupResponse = second.receive(9).expect("JoinGroup");
    assert_eq!((led.error_code, followed.error_code), (0, 0));
    assert_eq!((led.generation_id, followed.generation_id), (2, 2));
    assert_eq!((led.members.len(), followed.members.len()), (2, 0));
    second
        .send(5, &sync_request(group, &followed))
        .expect("SyncGroup");
    let synced = first
        .call(5, &sync_request(group, &led))
        .expect("SyncGroup");
    assert_eq!(synced.assignment, led.member_id.as_bytes());
    let synced: ringlog::protocol::sync_group::SyncGroupResponse =
        second.receive(5).expect("SyncGroup");
    assert_eq!(synced.assignment, followed.member_id.as_bytes());
    (led, followed)
}

pub fn commit(client: &mut Client, group: &str, member: Option<&JoinGroupResponse>, base: i64) {
    let partition = |index: i32| OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: base + i64::from(index),
        committed_leader_epoch: 0,
        committed_metadata: Some(Str::from(format!("note {index}"))),
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: member.map_or(-1, |member| member.generation_id),
        member_id: member.map_or(Str::EMPTY, |member| member.member_id.clone()),
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.call(9, &request).expect("OffsetCommit");
    let errors: Vec<i16> = answer.topics[0]
        .partitions
        .iter()
        .map(|p| p.error_code)
        .collect();
    assert_eq!(errors, [0; PARTITIONS as usize]);
}

/// The offsets of a group, once its coordinator has loaded.
pub fn committed(client: &mut Client, group: &str) -> Vec<(i64, Option<Str>)> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.into(),
                partition_indexes: (0..PARTITIONS).collect(),
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut answer = client.call(8, &request).expect("OffsetFetch");
        let group = answer.groups.pop().expect("one group, one answer");
        match group.error_code {
            0 => {
                let rows = group.topics.into_iter().flat_map(|topic| topic.partitions);
                return rows
                    .map(|row| (row.committed_offset, row.metadata))
                    .collect();
            }
            LOADING => assert!(Instant::now() < deadline, "still loading"),
            other => panic!("offsets of {group:?}: {other}"),
        }
    }
}

fn expected(base: i64) -> Vec<(i64, Option<Str>)> {
    let row = |index| {
        (
            base + i64::from(index),
            Some(Str::from(format!("note {index}"))),
        )
    };
    (0..PARTITIONS).map(row).collect()
}

pub fn describe(client: &mut Client, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest {
        groups: vec![group.into()],
        ..Default::default()
    };
    let mut answer = client.call(5, &request).expect("DescribeGroups");
    answer.groups.pop().expect("one group, one answer")
}

#[test]
fn a_group_and_its_offsets_are_found_again_after_kill_9() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let mut broker = start(port, dir.path());
    let mut first = broker.client();
    first.create_topic(TOPIC, PARTITIONS).expect("set-up");
    assert_eq!(coordinator(&mut first, "app").port, i32::from(port));
    let mut second = broker.client();
    let (led, followed) = two_members("app", &mut first, &mut second);
    commit(&mut first, "app", Some(&led), 100);
    // Offsets of many groups that have no members, on every partition of the internal topic.
    for number in 0..40 {
        commit(&mut first, &format!("simple-{number}"), None, number * 10);
    }
    commit(&mut second, "app", Some(&followed), 200);
    assert_eq!(committed(&mut first, "app"), expected(200));
    for round in 0..2 {
        broker.kill();
        broker = start(port, dir.path());
        let mut client = broker.client();
        assert_eq!(
            committed(&mut client, "app"),
            expected(200),
            "round {round}"
        );
        for number in 0..40 {
            let group = format!("simple-{number}");
            assert_eq!(
                committed(&mut client, &group),
                expected(number * 10),
                "round {round}"
            );
        }
        // The members' sessions began anew: they go on as if nothing had been.
        for member in [&led, &followed] {
            assert_eq!(heartbeat(&mut client, "app", member), 0, "round {round}");
        }
        let group = describe(&mut client, "app");
        assert_eq!((&*group.group_state, group.members.len()), ("Stable", 2));
        let listed = client
            .call(5, &ListGroupsRequest::default())
            .expect("ListGroups");
        assert_eq!(
            (listed.error_code, listed.groups.len()),
            (0, 41),
            "round {round}"
        );
    }
}

#[test]
fn a_member_that_hangs_up_while_it_waits_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut broker = start(free_port(), dir.path());
    let mut first = broker.client();
    first.create_topic(TOPIC, PARTITIONS).expect("set-up");
    coordinator(&mut first, "app");
    let id = member_id(&mut first, "app");
    let alone = first.call(9, &join_request("app", &id)).expect("JoinGroup");
    first
        .call(5, &sync_request("app", &alone))
        .expect("SyncGroup");
    for _ in 0..5 {
        let mut other = broker.client();
        let id = member_id(&mut other, "app");
        other.send(9, &join_request("app", &id)).expect("JoinGroup");
    }
    // Other groups of the same coordinators are served meanwhile, and the broker stops without waiting for anybody.
    let mut client = broker.client();
    commit(&mut client, "simple", None, 1);
    assert_eq!(committed(&mut client, "simple"), expected(1));
    broker.assert_running();
    broker.signal(libc::SIGTERM);
    let began = Instant::now();
    let ended = broker.wait(Duration::from_secs(20));
    assert!(ended.status.success(), "{}", ended.output);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// The first offsets of a transaction have its coordinator confirm the producer; the others go straight to the group, as in
/// Kafka, until the transaction ends.
#[test]
fn a_transaction_is_confirmed_by_its_first_offsets() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = start(free_port(), dir.path());
    let mut client = broker.client();
    client.create_topic(TOPIC, PARTITIONS).expect("set-up");
    coordinator(&mut client, "app");
    coordinator_of(&mut client, 1, "tx");
    let request = InitProducerIdRequest {
        transactional_id: Some("tx".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let producer = loop {
        let answer = client.call(4, &request).expect("InitProducerId");
        if answer.error_code == 0 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
    };
    let commit = |id: &str, epoch: i16, offset: i64| {
        let partition = TxnOffsetCommitRequestPartition {
            committed_offset: offset,
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: id.into(),
            group_id: "app".into(),
            producer_id: producer.producer_id,
            producer_epoch: epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: TOPIC.into(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let answer = broker.client().call(5, &request).expect("TxnOffsetCommit");
        ErrorCode::from_code(answer.topics[0].partitions[0].error_code).expect("a code of Kafka's")
    };
    let epoch = producer.producer_epoch;
    let unmapped = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(commit("nobody", epoch, 1), unmapped);
    assert_eq!(commit("tx", epoch, 2), ErrorCode::None);
    assert_eq!(commit("nobody", epoch, 3), ErrorCode::None, "it is open");
    let end = EndTxnRequest {
        transactional_id: "tx".into(),
        producer_id: producer.producer_id,
        producer_epoch: epoch,
        committed: true,
    };
    let ended = client.call(5, &end).expect("EndTxn");
    assert_eq!((ended.error_code, ended.producer_epoch), (0, epoch + 1));
    // What was pending shows when the marker is written.
    while committed(&mut client, "app")[0].0 != 3 {
        assert!(Instant::now() < deadline, "the marker does not come");
    }
    assert_eq!(commit("tx", epoch, 4), ErrorCode::InvalidProducerEpoch);
    assert_eq!(commit("nobody", epoch + 1, 5), unmapped);
    assert_eq!(commit("tx", epoch + 1, 6), ErrorCode::None);
}
