//! Groups that change their protocol with members in them (KIP-848, "Online migration"), as Kafka 4.3.1 was seen to do
//! it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::bench::{Bench, joining, subscription};
use crate::group::{GroupReply, GroupRequest};
use crate::protocol::Stored;
use crate::protocol::consumer_group_describe::DescribedGroup;
use crate::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions as Owned,
};
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartitions,
};
use crate::protocol::join_group::JoinGroupResponse;
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::types::{Str, Uuid};

const REBALANCE: i16 = 27;
const NOT_FOUND: i16 = 69;

/// The topic `t` of the bench.
const T: Uuid = Uuid([1; 16]);

/// A member of the new protocol: what it believes to be and to own.
struct Consumer {
    id: String,
    epoch: i32,
    owned: BTreeSet<i32>,
}

impl Consumer {
    fn new(id: &str) -> Consumer {
        Consumer {
            id: id.into(),
            epoch: 0,
            owned: BTreeSet::new(),
        }
    }
}

impl Bench {
    fn consumer_heartbeat(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let token = self.ask(1, GroupRequest::ConsumerHeartbeat(request));
        match self.take(token) {
            Some(GroupReply::ConsumerHeartbeat(response)) => response,
            other => panic!("no answer to a ConsumerGroupHeartbeat: {other:?}"),
        }
    }

    /// One heartbeat that tells everything; the error.
    fn consume(&mut self, consumer: &mut Consumer) -> i16 {
        let owned = Owned {
            topic_id: T,
            partitions: consumer.owned.iter().copied().collect(),
        };
        let owned = if consumer.epoch == 0 {
            vec![]
        } else {
            vec![owned]
        };
        let response = self.consumer_heartbeat(ConsumerGroupHeartbeatRequest {
            group_id: Str::from("g"),
            member_id: Str::from(&*consumer.id),
            member_epoch: consumer.epoch,
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec![Str::from("t")]),
            topic_partitions: Some(owned),
            ..ConsumerGroupHeartbeatRequest::default()
        });
        if response.error_code == 0 {
            consumer.epoch = response.member_epoch;
        }
        if let Some(assignment) = response.assignment {
            let rows = assignment.topic_partitions.into_iter();
            consumer.owned = rows.flat_map(|row| row.partitions).collect();
        }
        response.error_code
    }

    fn leave_consumer(&mut self, consumer: &Consumer) -> i16 {
        let response = self.consumer_heartbeat(ConsumerGroupHeartbeatRequest {
            group_id: Str::from("g"),
            member_id: Str::from(&*consumer.id),
            member_epoch: -1,
            ..ConsumerGroupHeartbeatRequest::default()
        });
        response.error_code
    }

    fn describe_consumers(&mut self) -> DescribedGroup {
        let token = self.ask(1, GroupRequest::ConsumerDescribe(Str::from("g")));
        match self.take(token) {
            Some(GroupReply::ConsumerDescribe(group)) => group,
            other => panic!("no answer to a ConsumerGroupDescribe: {other:?}"),
        }
    }

    /// A classic consumer's request with what it owns; answered at once in a consumer group.
    fn rejoin(&mut self, member: &str, owned: &BTreeSet<i32>) -> JoinGroupResponse {
        let metadata = ConsumerProtocolSubscription {
            topics: vec![Str::from("t")],
            owned_partitions: vec![TopicPartitions {
                topic: Str::from("t"),
                partitions: owned.iter().copied().collect(),
            }],
            ..ConsumerProtocolSubscription::default()
        };
        let token = self.join_with(9, member, None, metadata.encode_stored(2).to_vec());
        self.joined(token)
    }

    fn sync_assigned(&mut self, generation: i32, member: &str) -> BTreeSet<i32> {
        let token = self.sync(generation, member, &[]);
        let response = self.synced(token);
        assert_eq!(response.error_code, 0, "{member}");
        partitions_of(&response.assignment)
    }

    /// Two classic consumers, with two partitions each.
    fn classic_pair(&mut self) -> ([String; 2], i32) {
        let (ids, _) = self.stable_group(2);
        // Again, with an assignment that is a consumer's.
        let joins = [0, 1].map(|at| self.join(9, &ids[at], None));
        let joined = joins.map(|token| self.joined(token));
        let generation = joined[0].generation_id;
        let leader = ids
            .iter()
            .position(|id| joined[0].leader == **id)
            .expect("one leads");
        let follower = self.sync(generation, &ids[1 - leader], &[]);
        let row = |at: usize, partitions: &[i32]| SyncGroupRequestAssignment {
            member_id: Str::from(&*ids[at]),
            assignment: assignment(partitions),
        };
        let request = SyncGroupRequest {
            group_id: Str::from("g"),
            generation_id: generation,
            member_id: Str::from(&*ids[leader]),
            assignments: vec![row(0, &[0, 1]), row(1, &[2, 3])],
            ..SyncGroupRequest::default()
        };
        let leader = self.ask(5, GroupRequest::Sync(request));
        for token in [follower, leader] {
            assert_eq!(self.synced(token).error_code, 0);
        }
        (ids.try_into().expect("two"), generation)
    }
}

fn assignment(partitions: &[i32]) -> Bytes {
    ConsumerProtocolAssignment {
        assigned_partitions: vec![TopicPartitions {
            topic: Str::from("t"),
            partitions: partitions.to_vec(),
        }],
        user_data: None,
    }
    .encode_stored(0)
}

fn partitions_of(bytes: &Bytes) -> BTreeSet<i32> {
    let read = ConsumerProtocolAssignment::parse(bytes).expect("it is a consumer's");
    let rows = read.assigned_partitions.into_iter();
    rows.flat_map(|row| row.partitions).collect()
}

/// There and back again: a consumer joins two classic members, all share, it leaves, and they rebalance alone. The
/// coordinator restarts in between, and offsets stay.
#[test]
fn a_classic_group_becomes_a_consumer_group_and_goes_back() {
    let bench = &mut Bench::new(&[]);
    let (ids, generation) = bench.classic_pair();
    assert_eq!(bench.commit((generation, &ids[0]), "t", 7), 0);
    let mut e = Consumer::new("e");
    assert_eq!(bench.consume(&mut e), 0);
    assert_eq!((e.epoch, e.owned.len()), (generation + 1, 0));
    assert_eq!(bench.describe_consumers().members.len(), 3);
    let mut owned = [BTreeSet::from([0, 1]), BTreeSet::from([2, 3])];
    let mut generations = [generation; 2];
    for round in 0..4 {
        for at in [0, 1] {
            match bench.heartbeat(generations[at], &ids[at]) {
                0 => continue,
                code => assert_eq!(code, REBALANCE, "round {round}, {at}"),
            }
            let joined = bench.rejoin(&ids[at], &owned[at]);
            assert_eq!(joined.error_code, 0);
            generations[at] = joined.generation_id;
            owned[at] = bench.sync_assigned(joined.generation_id, &ids[at]);
        }
        assert_eq!(bench.consume(&mut e), 0);
        if round == 1 {
            bench.restart();
        }
    }
    let described = bench.describe_consumers();
    assert_eq!(&*described.group_state, "Stable");
    let types: Vec<i8> = described
        .members
        .iter()
        .map(|member| member.member_type)
        .collect();
    assert_eq!(
        types.iter().filter(|kind| **kind == 0).count(),
        2,
        "{types:?}"
    );
    let mut all: Vec<i32> = owned.iter().flatten().chain(&e.owned).copied().collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert!(!e.owned.is_empty());
    assert_eq!(bench.fetch("t", 0, crate::group::RequireStable::No), (7, 0));
    // By member epoch, and by the generation that is one.
    assert_eq!(bench.commit((e.epoch, "e"), "t", 8), 0);
    assert_eq!(bench.commit((e.epoch + 1, "e"), "t", 9), 113);
    assert_eq!(bench.commit((generations[0], &ids[0]), "t", 9), 0);
    assert_eq!(bench.commit((generations[0] - 1, &ids[0]), "t", 10), 22);
    // The last one of the new protocol leaves.
    assert_eq!(bench.leave_consumer(&e), 0);
    assert_eq!(bench.leave_consumer(&e), NOT_FOUND);
    assert_eq!(bench.described(), ("PreparingRebalance".into(), 2));
    assert_eq!(bench.describe_consumers().error_code, NOT_FOUND);
    let joins = [0, 1].map(|at| bench.join(9, &ids[at], None));
    let joined = joins.map(|token| bench.joined(token));
    assert_eq!((joined[0].error_code, joined[1].error_code), (0, 0));
    assert!(joined[0].generation_id > e.epoch);
    assert_eq!(bench.fetch("t", 0, crate::group::RequireStable::No), (9, 0));
    bench.restart();
    assert_eq!(bench.described().1, 2);
}

/// The last consumer comes back, by its instance id, as a classic member: it has its partitions, and nobody rebalances. Where
/// it wants other topics than the target was made for, the group assigns anew.
#[test]
fn a_static_member_goes_back_to_the_classic_protocol_without_a_rebalance() {
    for (topics, rebalances) in [(["t"], false), (["u"], true)] {
        let bench = &mut Bench::new(&[]);
        bench.add_topic("u", 2);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Str::from("g"),
            member_id: Str::from("e"),
            instance_id: Some(Str::from("fixed")),
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(vec![Str::from("t")]),
            topic_partitions: Some(Vec::new()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let token = bench.ask(1, GroupRequest::ConsumerHeartbeat(request));
        assert!(bench.take(token).is_some());
        let token = bench.join_with(9, "", Some("fixed"), subscription(&topics));
        let joined = bench.joined(token);
        assert_eq!(joined.error_code, 0);
        assert_eq!(bench.describe_consumers().error_code, NOT_FOUND);
        if rebalances {
            assert_eq!(bench.described(), ("PreparingRebalance".into(), 1));
            continue;
        }
        assert_eq!(bench.described(), ("Stable".into(), 1));
        let all = bench.sync_assigned(joined.generation_id, &joined.member_id);
        assert_eq!(all, BTreeSet::from([0, 1, 2, 3]));
        assert_eq!(bench.heartbeat(joined.generation_id, &joined.member_id), 0);
        bench.restart();
        assert_eq!(bench.described(), ("Stable".into(), 1));
        assert_eq!(bench.heartbeat(joined.generation_id, &joined.member_id), 0);
    }
}

#[test]
fn the_policy_says_who_may_migrate() {
    for policy in ["disabled", "downgrade"] {
        let bench = &mut Bench::new(&[&format!("group.consumer.migration.policy={policy}")]);
        let (ids, generation) = bench.classic_pair();
        let before = bench.log.len();
        assert_eq!(
            bench.consume(&mut Consumer::new("e")),
            NOT_FOUND,
            "{policy}"
        );
        assert_eq!(bench.log.len(), before, "a refused join wrote something");
        assert_eq!(bench.heartbeat(generation, &ids[0]), 0);
    }
    let bench = &mut Bench::new(&["group.consumer.migration.policy=upgrade"]);
    bench.classic_pair();
    let mut e = Consumer::new("e");
    assert_eq!(bench.consume(&mut e), 0);
    assert_eq!(bench.leave_consumer(&e), 0);
    assert_eq!(
        bench.describe_consumers().error_code,
        0,
        "it stays a consumer group"
    );
}

#[test]
fn groups_of_other_types_are_left_alone() {
    let bench = &mut Bench::new(&[]);
    let mut request = joining("", None, vec![1, 2, 3]);
    request.protocol_type = Str::from("connect");
    let token = bench.ask(3, GroupRequest::Join(request));
    bench.pass_ms(0);
    assert_eq!(bench.joined(token).error_code, 0);
    assert_eq!(bench.consume(&mut Consumer::new("e")), NOT_FOUND);
}

/// Whoever waits in the classic group's rebalance is sent to join again.
#[test]
fn waiting_members_are_told_to_join_again() {
    let bench = &mut Bench::new(&[]);
    bench.classic_pair();
    let new = bench.new_member();
    let waiting = bench.join(9, &new, None);
    assert_eq!(bench.take(waiting), None, "the others have not joined yet");
    assert_eq!(bench.consume(&mut Consumer::new("e")), 0);
    let answer = bench.joined(waiting);
    assert_eq!(answer.error_code, REBALANCE);
    let again = bench.rejoin(&new, &BTreeSet::new());
    assert_eq!(again.error_code, 0);
    assert_eq!(bench.describe_consumers().members.len(), 4);
}

#[test]
fn an_empty_group_gives_way_to_either_protocol() {
    let bench = &mut Bench::new(&[]);
    let mut e = Consumer::new("e");
    assert_eq!(bench.consume(&mut e), 0);
    assert_eq!((e.epoch, e.owned.len()), (2, 4));
    assert_eq!(bench.leave_consumer(&e), 0);
    let token = bench.join_with(3, "", None, subscription(&["t"]));
    bench.pass_ms(0);
    let joined = bench.joined(token);
    assert_eq!(joined.error_code, 0);
    assert_eq!(bench.leave(&joined.member_id, None).error_code, 0);
    let mut f = Consumer::new("f");
    assert_eq!(bench.consume(&mut f), 0);
    assert_eq!(f.owned.len(), 4);
    bench.restart();
    assert_eq!(bench.consume(&mut f), 0);
    assert_eq!(&*bench.describe_consumers().group_state, "Stable");
}

/// Sessions go on through the coordinator's own clock, and the group's setting is heard.
#[test]
fn a_silent_consumer_is_taken_out() {
    let bench = &mut Bench::new(&["group.consumer.session.timeout.ms=50000"]);
    let (mut e, mut f) = (Consumer::new("e"), Consumer::new("f"));
    assert_eq!(bench.consume(&mut e), 0);
    bench.pass_ms(2000);
    assert_eq!(bench.consume(&mut f), 0);
    for _ in 0..6 {
        bench.pass_ms(9000);
        assert_eq!(bench.consume(&mut f), 0);
    }
    assert_eq!(bench.describe_consumers().members.len(), 1);
    assert_eq!(f.owned.len(), 4);
    assert_eq!(bench.consume(&mut e), 25);
    bench.pass_ms(50_001);
    assert_eq!(&*bench.describe_consumers().group_state, "Empty");
}
