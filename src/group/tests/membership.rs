//! Goal: members come and go as the classic protocol says. Method: a few members, step by step.

use super::bench::{Bench, joining, subscription, syncing};
use crate::group::{GroupReply, GroupRequest, ListFilter};
use crate::protocol::leave_group::LeaveGroupRequest;
use crate::types::Str;

#[test]
fn a_new_member_is_given_an_id_first() {
    let mut bench = Bench::new(&[]);
    let id = bench.new_member();
    assert!(id.starts_with("client-"), "{id}");
    assert_eq!(bench.described(), ("Empty".into(), 0));
    let join = bench.join(9, &id, None);
    bench.pass_ms(0);
    let joined = bench.joined(join);
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.leader, id.as_str());
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn old_clients_join_without_an_id_of_their_own() {
    let mut bench = Bench::new(&[]);
    let join = bench.join(3, "", None);
    bench.pass_ms(0);
    let joined = bench.joined(join);
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
}

#[test]
fn an_id_that_never_joined_expires_and_its_group_with_it() {
    let mut bench = Bench::new(&[]);
    let id = bench.new_member();
    bench.pass_ms(10_001);
    assert_eq!(bench.coordinator.groups_count(), 0);
    let join = bench.join(9, &id, None);
    assert_eq!(bench.joined(join).error_code, 25);
    assert!(bench.log.is_empty(), "nothing was worth storing");
}

#[test]
fn only_the_leader_learns_the_members_and_everyone_gets_an_assignment() {
    let mut bench = Bench::new(&[]);
    let ids: Vec<String> = (0..3).map(|_| bench.new_member()).collect();
    let joins: Vec<_> = ids.iter().map(|id| bench.join(9, id, None)).collect();
    bench.pass_ms(0);
    let joined: Vec<_> = joins.into_iter().map(|token| bench.joined(token)).collect();
    let leader = joined[0].leader.to_string();
    for response in &joined {
        let is_leader = response.member_id == leader.as_str();
        assert_eq!(response.members.len(), if is_leader { 3 } else { 0 });
    }
    let follower = ids.iter().find(|id| **id != leader).unwrap();
    let early = bench.sync(1, follower, &[]);
    assert_eq!(bench.take(early), None, "it waits for the leader");
    let leaders = bench.sync(1, &leader, &[(follower, "mine")]);
    assert_eq!(&bench.synced(early).assignment[..], b"mine");
    assert_eq!(
        &bench.synced(leaders).assignment[..],
        b"",
        "left out is empty"
    );
    assert_eq!(bench.described(), ("Stable".into(), 3));
    // Whoever asks later gets it at once.
    let late = bench.sync(1, follower, &[]);
    assert_eq!(&bench.synced(late).assignment[..], b"mine");
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut bench = Bench::new(&["group.initial.rebalance.delay.ms=3000"]);
    let first = bench.join(3, "", None);
    bench.pass_ms(2_000);
    let second = bench.join(3, "", None);
    bench.pass_ms(1_500);
    assert_eq!(bench.take(first), None, "somebody came, the delay goes on");
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(first).generation_id, 1);
    assert_eq!(bench.joined(second).generation_id, 1);
}

#[test]
fn a_joining_member_sends_the_others_to_join_again() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(2);
    let third = bench.new_member();
    let third = bench.join(9, &third, None);
    assert_eq!(bench.heartbeat(generation, &ids[0]), 27);
    let again: Vec<_> = ids.iter().map(|id| bench.join(9, id, None)).collect();
    for token in again.into_iter().chain([third]) {
        assert_eq!(bench.joined(token).generation_id, generation + 1);
    }
    assert_eq!(bench.heartbeat(generation, &ids[0]), 22);
}

#[test]
fn who_does_not_come_back_in_time_is_out() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(2);
    let join = bench.join(9, &ids[0], None);
    for _ in 0..12 {
        bench.pass_ms(5_000);
        // Alive, but busy: it does not join.
        bench.heartbeat(generation, &ids[1]);
    }
    bench.pass_ms(1);
    let joined = bench.joined(join);
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    assert_eq!(bench.heartbeat(generation, &ids[1]), 25);
}

#[test]
fn a_silent_member_is_out_after_its_session_and_a_waiting_one_is_not() {
    let mut bench = Bench::new(&[]);
    let (ids, _) = bench.stable_group(2);
    let join = bench.join(9, &ids[0], None);
    bench.pass_ms(10_001);
    let joined = bench.joined(join);
    assert_eq!(
        joined.members.len(),
        1,
        "the silent one does not hold it up"
    );
    assert_eq!(joined.member_id, ids[0].as_str());
}

#[test]
fn members_that_do_not_fetch_their_assignment_are_out() {
    let mut bench = Bench::new(&[]);
    let ids: Vec<String> = (0..2).map(|_| bench.new_member()).collect();
    let joins: Vec<_> = ids.iter().map(|id| bench.join(9, id, None)).collect();
    bench.pass_ms(0);
    let joined: Vec<_> = joins.into_iter().map(|token| bench.joined(token)).collect();
    let leader = joined[0].leader.to_string();
    let other = ids.iter().find(|id| **id != leader).unwrap().clone();
    let sync = bench.sync(1, &leader, &[]);
    assert_eq!(bench.synced(sync).error_code, 0);
    for _ in 0..12 {
        bench.pass_ms(5_001);
        bench.heartbeat(1, &leader);
        bench.heartbeat(1, &other);
    }
    assert_eq!(bench.heartbeat(1, &other), 25);
    assert_eq!(bench.heartbeat(1, &leader), 27);
}

#[test]
fn a_follower_with_nothing_new_stays_and_a_leader_asks_for_a_rebalance() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(2);
    let follower = bench.join(9, &ids[1], None);
    let joined = bench.joined(follower);
    assert_eq!((joined.error_code, joined.generation_id), (0, generation));
    assert_eq!(bench.described().0, "Stable");
    let changed = bench.join_with(9, &ids[1], None, subscription(&["t", "u"]));
    assert_eq!(bench.take(changed), None);
    assert_eq!(bench.described().0, "PreparingRebalance");
    let leader = bench.join(9, &ids[0], None);
    assert_eq!(bench.joined(leader).generation_id, generation + 1);
    assert_eq!(bench.joined(changed).generation_id, generation + 1);
}

#[test]
fn a_rebalance_takes_the_assignment_back_from_who_waits_for_it() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(2);
    let joins: Vec<_> = ids.iter().map(|id| bench.join(9, id, None)).collect();
    let joined: Vec<_> = joins.into_iter().map(|token| bench.joined(token)).collect();
    assert_eq!(joined[0].generation_id, generation + 1);
    let leader = joined[0].leader.to_string();
    let follower = ids.iter().find(|id| **id != leader).unwrap().clone();
    let waiting = bench.sync(generation + 1, &follower, &[]);
    bench.leave(&leader, None);
    assert_eq!(bench.synced(waiting).error_code, 27);
}

#[test]
fn leaving_rebalances_at_once_and_the_last_one_leaves_an_empty_group() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(2);
    assert_eq!(bench.leave(&ids[1], None).members[0].error_code, 0);
    assert_eq!(bench.heartbeat(generation, &ids[0]), 27);
    assert_eq!(bench.leave(&ids[0], None).members[0].error_code, 0);
    assert_eq!(bench.described(), ("Empty".into(), 0));
    bench.restart();
    assert_eq!(bench.described(), ("Empty".into(), 0));
    assert_eq!(bench.leave(&ids[0], None).members[0].error_code, 25);
    // Up to v2 the error is the whole answer's.
    let request = LeaveGroupRequest {
        group_id: Str::from("nobody"),
        member_id: Str::from("x"),
        ..LeaveGroupRequest::default()
    };
    let token = bench.ask(1, GroupRequest::Leave(request));
    let Some(GroupReply::Leave(response)) = bench.take(token) else {
        panic!("no answer");
    };
    assert_eq!((response.error_code, response.members.len()), (25, 0));
}

#[test]
fn a_generation_survives_a_restart_and_its_members_go_on() {
    let mut bench = Bench::new(&[]);
    let (ids, generation) = bench.stable_group(3);
    bench.restart();
    assert_eq!(bench.described(), ("Stable".into(), 3));
    assert_eq!(bench.heartbeat(generation, &ids[1]), 0);
    let sync = bench.sync(generation, &ids[1], &[]);
    assert_eq!(&bench.synced(sync).assignment[..], ids[1].as_bytes());
    bench.pass_ms(9_000);
    bench.heartbeat(generation, &ids[0]);
    bench.pass_ms(2_000);
    assert_eq!(
        bench.heartbeat(generation, &ids[2]),
        25,
        "sessions began anew"
    );
    assert_eq!(bench.heartbeat(generation, &ids[0]), 27);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut bench = Bench::new(&["group.max.size=2"]);
    let (ids, generation) = bench.stable_group(2);
    let third = bench.join(3, "", None);
    assert_eq!(bench.joined(third).error_code, 81);
    let mut request = joining("", None, Vec::new());
    request.session_timeout_ms = 5_999;
    let token = bench.ask(9, GroupRequest::Join(request.clone()));
    assert_eq!(bench.joined(token).error_code, 26);
    request.session_timeout_ms = 10_000;
    request.group_id = Str::EMPTY;
    let token = bench.ask(9, GroupRequest::Join(request.clone()));
    assert_eq!(bench.joined(token).error_code, 24);
    request.group_id = Str::from("g");
    request.member_id = Str::from(ids[0].as_str());
    request.protocol_type = Str::from("connect");
    let token = bench.ask(9, GroupRequest::Join(request.clone()));
    assert_eq!(bench.joined(token).error_code, 23);
    request.protocol_type = Str::from("consumer");
    request.protocols[0].name = Str::from("sticky");
    let token = bench.ask(9, GroupRequest::Join(request.clone()));
    assert_eq!(bench.joined(token).error_code, 23);
    request.group_id = Str::from("other");
    request.member_id = Str::EMPTY;
    request.protocols.clear();
    let token = bench.ask(9, GroupRequest::Join(request));
    assert_eq!(bench.joined(token).error_code, 23);
    assert_eq!(
        bench.coordinator.groups_count(),
        1,
        "no group was left by it"
    );
    assert_eq!(bench.heartbeat(generation, "stranger"), 25);
    assert_eq!(bench.heartbeat(generation + 1, &ids[0]), 22);
    let mut request = syncing(generation, &ids[0], &[]);
    request.protocol_name = Some(Str::from("sticky"));
    let token = bench.ask(5, GroupRequest::Sync(request));
    assert_eq!(bench.synced(token).error_code, 23);
}

#[test]
fn oversized_metadata_and_assignments_are_refused_and_harm_nobody() {
    let mut bench = Bench::new(&["message.max.bytes=10000"]);
    let huge = bench.join_with(3, "", None, vec![0; 10_000]);
    assert_eq!(bench.joined(huge).error_code, 42);
    let (ids, generation) = bench.stable_group(2);
    let log_len = bench.log.len();
    let joins: Vec<_> = ids.iter().map(|id| bench.join(9, id, None)).collect();
    for token in joins {
        assert_eq!(bench.joined(token).error_code, 0);
    }
    let assignment = "x".repeat(10_000);
    let waiting = bench.sync(generation + 1, &ids[1], &[]);
    let leaders = bench.sync(generation + 1, &ids[0], &[(&ids[1], &assignment)]);
    assert_eq!(bench.synced(leaders).error_code, -1);
    assert_eq!(bench.synced(waiting).error_code, -1);
    assert_eq!(bench.log.len(), log_len, "nothing was stored of it");
    assert_eq!(bench.described().0, "PreparingRebalance");
    // Many members that are each small enough are refused before they are more than could be kept.
    let mut refused = 0;
    for _ in 0..100 {
        let token = bench.join_with(3, "", None, vec![0; 5_000]);
        let reply = bench.take(token);
        refused += matches!(reply, Some(GroupReply::Join(r)) if r.error_code == 81) as usize;
    }
    assert!(refused > 90, "{refused}");
}

#[test]
fn ids_given_out_are_bounded() {
    let mut bench = Bench::new(&[]);
    let first = bench.new_member();
    for _ in 0..16_384 {
        bench.new_member();
    }
    let join = bench.join(9, &first, None);
    assert_eq!(bench.joined(join).error_code, 25, "the oldest had to go");
}

#[test]
fn whoever_asks_twice_is_answered_twice() {
    let mut bench = Bench::new(&[]);
    let (ids, _) = bench.stable_group(2);
    let first = bench.join(9, &ids[0], None);
    let second = bench.join(9, &ids[0], None);
    assert_eq!(bench.joined(first).error_code, 27);
    let other = bench.join(9, &ids[1], None);
    assert_eq!(bench.joined(second).error_code, 0);
    assert_eq!(bench.joined(other).error_code, 0);
}

#[test]
fn a_forgotten_request_is_not_answered_and_does_not_hold_up_the_group() {
    let mut bench = Bench::new(&[]);
    let (ids, _) = bench.stable_group(2);
    let gone = bench.join_with(9, &ids[1], None, subscription(&["u"]));
    bench.coordinator.forget(gone);
    let join = bench.join(9, &ids[0], None);
    assert_eq!(bench.take(join), None, "the other may come back");
    bench.pass_ms(60_001);
    assert_eq!(bench.joined(join).members.len(), 1);
    assert_eq!(bench.take(gone), None);
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut bench = Bench::new(&[]);
    bench.stable_group(1);
    let count = |bench: &mut Bench, states: &[&str], types: &[&str]| {
        let words = |words: &[&str]| words.iter().map(|word| Str::from(*word)).collect();
        let filter = ListFilter {
            states: words(states),
            types: words(types),
        };
        let token = bench.ask(5, GroupRequest::List(filter));
        match bench.take(token) {
            Some(GroupReply::List(groups)) => {
                assert!(groups.iter().all(|group| group.group_type == *"classic"));
                groups.len()
            }
            other => panic!("no answer: {other:?}"),
        }
    };
    assert_eq!(count(&mut bench, &[], &[]), 1);
    assert_eq!(count(&mut bench, &["stable"], &["classic"]), 1);
    assert_eq!(count(&mut bench, &["Empty"], &[]), 0);
    assert_eq!(count(&mut bench, &[], &["Consumer"]), 0);
}

#[test]
fn an_unknown_group_is_dead_or_not_found_by_version() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.described(), ("Dead".into(), 0));
    let token = bench.ask(6, GroupRequest::Describe(Str::from("g")));
    match bench.take(token) {
        Some(GroupReply::Describe(group)) => {
            assert_eq!(group.error_code, 69);
            assert_eq!(group.error_message, Some(Str::from("Group g not found.")));
        }
        other => panic!("no answer: {other:?}"),
    }
}
