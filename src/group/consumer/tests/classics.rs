//! Members of the classic protocol inside a consumer group, and the way back to a classic group.

use bytes::Bytes;

use super::*;
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartitions as Named,
};
use crate::protocol::heartbeat::HeartbeatRequest;
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use crate::protocol::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::sync_group::SyncGroupRequest;
use crate::protocol::{ErrorCode as E, Stored};

/// What a classic consumer sends, its metadata in version 3.
pub(super) fn subscription(topics: &[&str], owned: &[(&str, Vec<i32>)]) -> Bytes {
    ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| Str::from(*topic)).collect(),
        owned_partitions: owned
            .iter()
            .map(|(topic, partitions)| Named {
                topic: Str::from(*topic),
                partitions: partitions.clone(),
            })
            .collect(),
        ..ConsumerProtocolSubscription::default()
    }
    .encode_stored(3)
}

pub(super) fn join_request(member: &str, metadata: Bytes) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(GROUP),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: Str::from(member),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata,
        }],
        ..JoinGroupRequest::default()
    }
}

impl Stage {
    pub(super) fn join(&mut self, request: &JoinGroupRequest) -> Result<JoinGroupResponse, E> {
        let new_id = Str::from("made");
        let result = self.on(|group, work| group.classic_join(&new_id, &caller(), request, work));
        let (response, fate) = result.map_err(|refused| refused.code)?;
        if fate != Fate::Stays {
            self.fate = fate;
        }
        Ok(response)
    }

    /// What the member may own now, by topic name.
    pub(super) fn sync(
        &mut self,
        member: &str,
        generation: i32,
    ) -> Result<Vec<(Str, Vec<i32>)>, E> {
        let request = SyncGroupRequest {
            group_id: Str::from(GROUP),
            generation_id: generation,
            member_id: Str::from(member),
            ..SyncGroupRequest::default()
        };
        let response = self.on(|group, work| group.classic_sync(&request, work))?;
        let read = ConsumerProtocolAssignment::parse(&response.assignment).expect("it is ours");
        let rows = read.assigned_partitions.into_iter();
        Ok(rows.map(|row| (row.topic, row.partitions)).collect())
    }

    pub(super) fn beat(&mut self, member: &str, generation: i32) -> Result<(), E> {
        let request = HeartbeatRequest {
            group_id: Str::from(GROUP),
            generation_id: generation,
            member_id: Str::from(member),
            ..HeartbeatRequest::default()
        };
        self.on(|group, work| group.classic_heartbeat(&request, work))
    }

    fn leave_classic(&mut self, ids: &[&str]) -> Vec<i16> {
        let row = |id: &&str| MemberIdentity {
            member_id: Str::from(*id),
            ..MemberIdentity::default()
        };
        let request = LeaveGroupRequest {
            group_id: Str::from(GROUP),
            members: ids.iter().map(row).collect(),
            ..LeaveGroupRequest::default()
        };
        let (response, fate) = self.on(|group, work| group.classic_leave(&request, work));
        if fate != Fate::Stays {
            self.fate = fate;
        }
        response.members.iter().map(|row| row.error_code).collect()
    }
}

/// As Kafka was asked: a classic member joins two others, gets a partition, and is left alone.
#[test]
fn a_classic_member_joins_gets_its_share_and_is_left_alone() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    stage.send(&joining("A", &["t4"])).expect("it joins");
    stage.pass(1100);
    stage.send(&joining("B", &["t4"])).expect("it joins");
    stage
        .send(&staying("A", 2, Some(&of(t, &[0, 1, 2, 3]))))
        .expect("it is asked");
    stage
        .send(&staying("A", 2, Some(&of(t, &[0, 1]))))
        .expect("it gave back");
    let b = stage.send(&staying("B", 3, None)).expect("it stays");
    assert_eq!(assigned(&b), Some(of(t, &[2, 3])));
    assert_eq!(
        stage
            .join(&join_request("", subscription(&["t4"], &[])))
            .err(),
        Some(E::MemberIdRequired)
    );
    let joined = stage
        .join(&join_request("C", subscription(&["t4"], &[])))
        .expect("it joins");
    assert_eq!(
        (joined.generation_id, joined.protocol_name),
        (3, Some("range".into()))
    );
    // The target is still to come: nothing yet, and no rebalance either.
    assert_eq!(stage.sync("C", 3), Ok(vec![]));
    assert_eq!(stage.beat("C", 3), Ok(()));
    assert_eq!(stage.beat("C", 4), Err(E::IllegalGeneration));
    assert_eq!(stage.beat("A", 3), Err(E::UnknownMemberId));
    stage.pass(1100);
    assert_eq!(stage.beat("C", 3), Err(E::RebalanceInProgress));
    stage
        .send(&staying("A", 3, Some(&of(t, &[0, 1]))))
        .expect("it stays");
    stage
        .send(&staying("B", 3, Some(&of(t, &[2, 3]))))
        .expect("it stays");
    stage
        .send(&staying("B", 3, Some(&of(t, &[2]))))
        .expect("it gave back");
    let joined = stage
        .join(&join_request("C", subscription(&["t4"], &[])))
        .expect("it joins");
    assert_eq!(joined.generation_id, 4);
    assert_eq!(stage.sync("C", 4), Ok(vec![("t4".into(), vec![3])]));
    assert_eq!(stage.beat("C", 4), Ok(()));
    let bad = |mut request: JoinGroupRequest, kind: &str, name: &str| {
        request.protocol_type = Str::from(kind);
        request.protocols[0].name = Str::from(name);
        request
    };
    let good = join_request("D", subscription(&["t4"], &[]));
    for request in [
        bad(good.clone(), "x", "range"),
        bad(good, "consumer", "zzz"),
    ] {
        assert_eq!(
            stage.join(&request).err(),
            Some(E::InconsistentGroupProtocol)
        );
    }
    let broken = join_request("D", Bytes::from_static(&[255]));
    assert_eq!(
        stage.join(&broken).err(),
        Some(E::InconsistentGroupProtocol)
    );
    assert_eq!(stage.sync("C", 1).err(), Some(E::IllegalGeneration));
    assert_eq!(stage.sync("A", 4).err(), Some(E::UnknownMemberId));
    assert_eq!(
        stage.group.may_commit("C", None, 3, Some(8)),
        Err(E::IllegalGeneration)
    );
    assert_eq!(stage.group.may_commit("C", None, 4, Some(8)), Ok(()));
    // The others go; what is left is a classic group, as the record says.
    assert_eq!(
        stage.leave_classic(&["A", "zz"]),
        [0, E::UnknownMemberId.code()]
    );
    assert_eq!(stage.fate, Fate::Stays);
    stage.send(&staying("B", -1, None)).expect("it leaves");
    let Fate::Downgraded(value, _) = &stage.fate else {
        panic!("it should be a classic group: {:?}", stage.fate);
    };
    assert_eq!((value.generation, &*value.protocol_type), (5, "consumer"));
    assert_eq!(value.protocol, Some("range".into()));
    let member = &value.members[0];
    assert_eq!((&*member.member_id, member.session_timeout), ("C", 10_000));
    let assignment = ConsumerProtocolAssignment::parse(&member.assignment).expect("it is ours");
    assert_eq!(assignment.assigned_partitions[0].partitions, [3]);
    let replayed = stage.replayed();
    assert!(!replayed.stored && replayed.members.is_empty() && replayed.targets.is_empty());
}

/// A classic member gives back by joining with less.
#[test]
fn a_classic_member_gives_back_before_others_get() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    stage.settings.assignment_interval_ms = 0;
    stage.send(&joining("A", &["none"])).expect("it joins");
    let all = vec![("t4", vec![0, 1, 2, 3])];
    let joined = stage
        .join(&join_request("C", subscription(&["t4"], &[])))
        .expect("it joins");
    let whole = vec![(Str::from("t4"), vec![0, 1, 2, 3])];
    assert_eq!(stage.sync("C", joined.generation_id), Ok(whole));
    let e = stage.send(&joining("E", &["t4"])).expect("it joins");
    assert_eq!(assigned(&e), Some(Partitions::new()));
    assert_eq!(
        stage.beat("C", joined.generation_id),
        Err(E::RebalanceInProgress)
    );
    let again = stage
        .join(&join_request("C", subscription(&["t4"], &all)))
        .expect("it joins");
    assert_eq!(again.generation_id, joined.generation_id);
    let half = vec![(Str::from("t4"), vec![0, 1])];
    assert_eq!(stage.sync("C", again.generation_id), Ok(half.clone()));
    assert_eq!(
        stage.beat("C", again.generation_id),
        Err(E::RebalanceInProgress)
    );
    assert_eq!(
        stage.group.owner(t, 3),
        Some(&Str::from("C")),
        "it has not said so yet"
    );
    let owns = vec![("t4", vec![0, 1])];
    let last = stage
        .join(&join_request("C", subscription(&["t4"], &owns)))
        .expect("it joins");
    assert_eq!(stage.sync("C", last.generation_id), Ok(half));
    assert_eq!(stage.beat("C", last.generation_id), Ok(()));
    let e = stage
        .send(&staying("E", e.member_epoch, None))
        .expect("it stays");
    assert_eq!(assigned(&e), Some(of(t, &[2, 3])));
}

/// Told to join, it must come within its rebalance time-out; a session of its own length does not save it.
#[test]
fn a_classic_member_that_does_not_join_is_fenced() {
    let mut stage = Stage::new();
    stage.topic("t4", 4);
    stage.settings.assignment_interval_ms = 0;
    stage.send(&joining("A", &["t4"])).expect("it joins");
    let joined = stage
        .join(&join_request("C", subscription(&["t4"], &[])))
        .expect("it joins");
    stage.sync("C", joined.generation_id).expect("it asks");
    stage.send(&joining("E", &["t4"])).expect("it joins");
    for _ in 0..5 {
        stage.pass(5000);
        stage.beat("C", joined.generation_id).ok();
    }
    stage.pass(1000);
    assert!(!stage.group.members.contains_key("C"));
}
