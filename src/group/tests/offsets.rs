//! Goal: offsets are committed by whoever may, found again, and go when they should. Method: one group, step by step.

use super::bench::{Bench, committing};
use crate::group::{GroupReply, GroupRequest, RequireStable};
use crate::protocol::offset_commit::OffsetCommitResponse;
use crate::protocol::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::protocol::offset_fetch::OffsetFetchRequestGroup;
use crate::types::{Str, Uuid};

const NOBODY: (i32, &str) = (-1, "");
const WEEK_MS: u64 = 7 * 24 * 3_600_000;

fn fetched(bench: &mut Bench) -> i64 {
    let (offset, error) = bench.fetch("t", 0, RequireStable::No);
    assert_eq!(error, 0);
    offset
}

#[test]
fn an_unknown_group_has_committed_nothing_and_that_is_no_error() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.fetch("t", 0, RequireStable::Yes), (-1, 0));
    assert_eq!(bench.fetch("nowhere", 9, RequireStable::No), (-1, 0));
}

#[test]
fn a_simple_consumer_commits_without_joining_and_finds_it_again() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.commit(NOBODY, "t", 5), 0);
    assert_eq!(fetched(&mut bench), 5);
    bench.restart();
    assert_eq!(fetched(&mut bench), 5);
    assert_eq!(bench.described(), ("Empty".into(), 0));
    let request = OffsetFetchRequestGroup {
        group_id: Str::from("g"),
        ..OffsetFetchRequestGroup::default()
    };
    let token = bench.ask(9, GroupRequest::OffsetFetch(request, RequireStable::No));
    match bench.take(token) {
        Some(GroupReply::OffsetFetch(response)) => {
            assert_eq!(response.topics.len(), 1);
            let row = &response.topics[0].partitions[0];
            assert_eq!(row.metadata, Some(Str::from("m")));
            assert_eq!(row.committed_leader_epoch, -1);
        }
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn only_members_of_the_generation_commit_to_a_group_with_members() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.commit((3, "m"), "t", 1), 69, "v9 of no such group");
    let (ids, generation) = bench.stable_group(1);
    let member = ids[0].as_str();
    assert_eq!(bench.commit((generation, member), "t", 1), 0);
    assert_eq!(bench.commit((generation + 1, member), "t", 2), 22);
    assert_eq!(bench.commit((generation, "stranger"), "t", 2), 25);
    assert_eq!(bench.commit(NOBODY, "t", 2), 25);
    assert_eq!(bench.commit((-1, member), "t", 2), 22);
    let join = bench.join(9, member, None);
    bench.joined(join);
    assert_eq!(bench.commit((generation + 1, member), "t", 2), 27);
    assert_eq!(fetched(&mut bench), 1);
}

#[test]
fn committing_keeps_a_member_alive() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(1);
    for offset in 0..5 {
        bench.pass_ms(9_000);
        assert_eq!(bench.commit((generation, &ids[0]), "t", offset), 0);
    }
}

#[test]
fn unknown_topics_and_partitions_and_long_metadata_are_refused_one_by_one() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.commit(NOBODY, "nowhere", 1), 3);
    assert_eq!(bench.coordinator.groups_count(), 0);
    let mut request = committing("g", NOBODY, "t", 4, 1);
    request.topics[0].partitions.push(Default::default());
    request.topics[0].partitions[1].committed_metadata = Some(Str::from("é".repeat(4096)));
    request.topics[0].partitions.push(Default::default());
    request.topics[0].partitions[2].committed_metadata = Some(Str::from("é".repeat(4097)));
    let token = bench.ask(9, GroupRequest::OffsetCommit(request));
    assert_eq!(errors(bench.take(token)), [3, 0, 12]);
}

fn errors(reply: Option<GroupReply>) -> Vec<i16> {
    let Some(GroupReply::OffsetCommit(OffsetCommitResponse { topics, .. })) = reply else {
        panic!("no answer to an OffsetCommit: {reply:?}");
    };
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

#[test]
fn topics_by_id_must_exist() {
    let mut bench = Bench::new(&[]);
    let mut request = committing("g", NOBODY, "", 0, 7);
    request.topics[0].topic_id = Uuid([1; 16]);
    let token = bench.ask(10, GroupRequest::OffsetCommit(request.clone()));
    assert_eq!(errors(bench.take(token)), [0]);
    request.topics[0].topic_id = Uuid([9; 16]);
    let token = bench.ask(10, GroupRequest::OffsetCommit(request));
    assert_eq!(errors(bench.take(token)), [100]);
    assert_eq!(fetched(&mut bench), 7);
}

#[test]
fn offsets_of_a_transaction_are_pending_until_its_marker() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.commit(NOBODY, "t", 1), 0);
    assert_eq!(bench.commit_in_txn(7, NOBODY, 5), 0);
    assert_eq!(fetched(&mut bench), 1);
    assert_eq!(bench.fetch("t", 0, RequireStable::Yes), (-1, 88));
    assert_eq!(bench.fetch("t", 1, RequireStable::Yes), (-1, 0));
    bench.restart();
    assert_eq!(bench.fetch("t", 0, RequireStable::Yes), (-1, 88));
    bench.end_transaction(7, false);
    assert_eq!(bench.fetch("t", 0, RequireStable::Yes), (1, 0));
    assert_eq!(bench.commit_in_txn(7, NOBODY, 6), 0);
    bench.end_transaction(7, true);
    assert_eq!(bench.fetch("t", 0, RequireStable::Yes), (6, 0));
    bench.restart();
    assert_eq!(fetched(&mut bench), 6);
}

#[test]
fn a_later_plain_commit_beats_one_that_was_pending() {
    let mut bench = Bench::new(&[]);
    bench.commit_in_txn(7, NOBODY, 5);
    bench.commit(NOBODY, "t", 9);
    bench.end_transaction(7, true);
    assert_eq!(fetched(&mut bench), 9);
    bench.restart();
    assert_eq!(fetched(&mut bench), 9);
}

#[test]
fn transactional_commits_check_the_member_where_they_name_it() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.commit_in_txn(7, (3, "m"), 1), 22);
    let (ids, generation) = bench.stable_group(1);
    assert_eq!(bench.commit_in_txn(7, (generation, &ids[0]), 1), 0);
    assert_eq!(bench.commit_in_txn(7, (generation - 1, &ids[0]), 1), 22);
    assert_eq!(bench.commit_in_txn(7, (generation, "stranger"), 1), 25);
    assert_eq!(
        bench.commit_in_txn(7, NOBODY, 1),
        0,
        "old clients do not name it"
    );
    // A rebalance does not stop a transaction (but it does stop plain commits).
    let join = bench.join(9, &ids[0], None);
    bench.joined(join);
    assert_eq!(bench.commit_in_txn(7, (generation + 1, &ids[0]), 1), 0);
}

#[test]
fn offsets_go_with_their_topic_also_while_the_broker_is_down() {
    let mut bench = Bench::new(&[]);
    bench.add_topic("u", 2);
    bench.commit(NOBODY, "t", 1);
    bench.commit(NOBODY, "u", 2);
    bench.commit_in_txn(7, NOBODY, 3);
    bench.remove_topic(1);
    bench.add_topic("t", 3);
    assert_eq!(fetched(&mut bench), -1, "of the older topic");
    bench.on_metadata();
    bench.end_transaction(7, true);
    assert_eq!(fetched(&mut bench), -1);
    assert_eq!(bench.fetch("u", 0, RequireStable::No), (2, 0));
    bench.restart();
    assert_eq!(fetched(&mut bench), -1);
    bench.remove_topic(2);
    bench.restart();
    bench.add_topic("u", 4);
    assert_eq!(bench.fetch("u", 0, RequireStable::No), (-1, 0));
}

#[test]
fn offsets_of_an_empty_group_expire_and_the_group_with_them() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(1);
    bench.commit((generation, &ids[0]), "t", 1);
    for _ in 0..200 {
        bench.pass_ms(WEEK_MS / 100);
        // Without a session the group would be empty: a member that waits does not expire.
        let generation = bench.described();
        assert!(generation.1 <= 1);
    }
    assert_eq!(fetched(&mut bench), -1);
    assert_eq!(bench.described(), ("Dead".into(), 0));
    bench.restart();
    assert_eq!(bench.coordinator.groups_count(), 0);
}

#[test]
fn offsets_of_a_subscribed_topic_do_not_expire_and_others_do() {
    let mut bench = Bench::new(&["group.max.session.timeout.ms=2147483647"]);
    bench.add_topic("u", 2);
    let mut request = super::bench::joining("", None, super::bench::subscription(&["t"]));
    request.session_timeout_ms = i32::MAX;
    let token = bench.ask(3, GroupRequest::Join(request));
    bench.pass_ms(0);
    let joined = bench.joined(token);
    let member = joined.member_id.to_string();
    let sync = bench.sync(1, &member, &[]);
    bench.synced(sync);
    bench.commit((1, &member), "t", 1);
    bench.commit((1, &member), "u", 2);
    bench.pass_ms(WEEK_MS - 1);
    assert_eq!(bench.fetch("u", 0, RequireStable::No), (2, 0));
    bench.pass_ms(600_001);
    assert_eq!(bench.fetch("u", 0, RequireStable::No), (-1, 0));
    assert_eq!(fetched(&mut bench), 1);
}

#[test]
fn pending_offsets_hold_expiry_up() {
    let mut bench = Bench::new(&[]);
    bench.commit(NOBODY, "t", 1);
    bench.commit_in_txn(7, NOBODY, 2);
    bench.pass_ms(2 * WEEK_MS);
    assert_eq!(fetched(&mut bench), 1);
    bench.end_transaction(7, false);
    bench.pass_ms(600_001);
    assert_eq!(fetched(&mut bench), -1);
    assert_eq!(bench.coordinator.groups_count(), 0);
}

#[test]
fn groups_are_deleted_when_empty_and_stay_deleted() {
    let mut bench = Bench::new(&[]);
    let delete = |bench: &mut Bench| {
        let token = bench.ask(2, GroupRequest::Delete(Str::from("g")));
        match bench.take(token) {
            Some(GroupReply::Delete(error)) => error.code(),
            other => panic!("no answer: {other:?}"),
        }
    };
    assert_eq!(delete(&mut bench), 69);
    let (ids, generation) = bench.stable_group(1);
    bench.commit((generation, &ids[0]), "t", 1);
    assert_eq!(delete(&mut bench), 68);
    bench.leave(&ids[0], None);
    assert_eq!(delete(&mut bench), 0);
    assert_eq!(fetched(&mut bench), -1);
    bench.restart();
    assert_eq!((fetched(&mut bench), delete(&mut bench)), (-1, 69));
}

#[test]
fn offsets_are_deleted_where_nobody_is_subscribed() {
    let mut bench = Bench::new(&[]);
    bench.add_topic("u", 2);
    let delete_of = |bench: &mut Bench, group: &str, topic: &str, partition_index: i32| {
        let topic = OffsetDeleteRequestTopic {
            name: Str::from(topic),
            partitions: vec![OffsetDeleteRequestPartition { partition_index }],
        };
        let request = OffsetDeleteRequest {
            group_id: Str::from(group),
            topics: vec![topic],
        };
        let token = bench.ask(0, GroupRequest::OffsetDelete(request));
        match bench.take(token) {
            Some(GroupReply::OffsetDelete(response)) => match response.topics.first() {
                Some(topic) => topic.partitions[0].error_code,
                None => response.error_code,
            },
            other => panic!("no answer: {other:?}"),
        }
    };
    let delete = |bench: &mut Bench, topic: &str| delete_of(bench, "g", topic, 0);
    assert_eq!(delete(&mut bench, "t"), 69);
    assert_eq!(delete_of(&mut bench, "", "t", 0), 24);
    let (ids, generation) = bench.stable_group(1);
    let member = (generation, ids[0].as_str());
    bench.commit(member, "t", 1);
    bench.commit(member, "u", 2);
    assert_eq!(delete(&mut bench, "t"), 86);
    assert_eq!(delete(&mut bench, "nowhere"), 3);
    assert_eq!(delete_of(&mut bench, "g", "u", 9), 3);
    assert_eq!(delete(&mut bench, "u"), 0);
    assert_eq!(bench.fetch("u", 0, RequireStable::No), (-1, 0));
    assert_eq!(fetched(&mut bench), 1);
}
