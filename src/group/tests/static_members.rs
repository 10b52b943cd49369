//! Goal: static members keep their place over restarts of their process (KIP-345, KIP-814). Method: one instance
//! that comes back under a new member id.

use super::bench::{Bench, subscription};

/// A stable group of one static member `i` and, by v9, its id and generation.
fn one_static(bench: &mut Bench) -> (String, i32) {
    let join = bench.join(9, "", Some("i"));
    bench.pass_ms(0);
    let joined = bench.joined(join);
    let id = joined.member_id.to_string();
    assert!(id.starts_with("i-"), "{id}");
    let sync = bench.sync(joined.generation_id, &id, &[(&id, "mine")]);
    assert_eq!(bench.synced(sync).error_code, 0);
    (id, joined.generation_id)
}

#[test]
fn an_instance_comes_back_without_a_rebalance_and_fences_its_older_self() {
    let mut bench = Bench::new(&[]);
    let (old, generation) = one_static(&mut bench);
    let join = bench.join(9, "", Some("i"));
    let joined = bench.joined(join);
    assert_eq!((joined.error_code, joined.generation_id), (0, generation));
    assert!(joined.skip_assignment && joined.members.len() == 1);
    let new = joined.member_id.to_string();
    assert_eq!(joined.leader, new.as_str());
    let sync = bench.sync(generation, &new, &[]);
    assert_eq!(&bench.synced(sync).assignment[..], b"mine");
    assert_eq!(bench.heartbeat(generation, &new), 0);
    assert_eq!(bench.heartbeat(generation, &old), 25);
    let join = bench.join(9, &old, Some("i"));
    assert_eq!(bench.joined(join).error_code, 82);
    assert_eq!(bench.leave(&old, Some("i")).members[0].error_code, 82);
    // The new id was stored.
    bench.restart();
    assert_eq!(bench.heartbeat(generation, &new), 0);
}

#[test]
fn an_older_client_that_leads_is_not_told_so() {
    let mut bench = Bench::new(&[]);
    let (old, generation) = one_static(&mut bench);
    let join = bench.join(8, "", Some("i"));
    let joined = bench.joined(join);
    assert_eq!((joined.error_code, joined.generation_id), (0, generation));
    assert!(!joined.skip_assignment && joined.members.is_empty());
    assert_eq!(joined.leader, old.as_str());
}

#[test]
fn an_instance_that_comes_back_changed_rebalances_by_its_protocol_only() {
    let mut bench = Bench::new(&[]);
    let (_, generation) = one_static(&mut bench);
    let join = bench.join_with(9, "", Some("i"), subscription(&["t", "u"]));
    let joined = bench.joined(join);
    assert_eq!((joined.error_code, joined.generation_id), (0, generation));
}

#[test]
fn an_older_self_that_waits_is_fenced() {
    let mut bench = Bench::new(&[]);
    let (id, generation) = one_static(&mut bench);
    // Another member begins a rebalance, so the instance waits in it, twice.
    let other = bench.new_member();
    let other = bench.join(9, &other, None);
    assert_eq!(bench.heartbeat(generation, &id), 27);
    let late = bench.new_member();
    let first = bench.join(9, "", Some("i"));
    let second = bench.join(9, "", Some("i"));
    assert_eq!(bench.joined(first).error_code, 82);
    let late = bench.join(9, &late, None);
    for token in [second, other, late] {
        let joined = bench.joined(token);
        assert_eq!(
            (joined.error_code, joined.generation_id),
            (0, generation + 1)
        );
    }
}

#[test]
fn a_silent_instance_holds_its_place_over_a_rebalance_until_its_session_ends() {
    let mut bench = Bench::new(&[]);
    let (id, generation) = one_static(&mut bench);
    let other = bench.new_member();
    let other = bench.join(9, &other, None);
    bench.pass_ms(9_999);
    assert_eq!(bench.take(other), None);
    bench.pass_ms(2);
    let joined = bench.joined(other);
    assert_eq!(
        (joined.generation_id, joined.members.len()),
        (generation + 1, 1)
    );
    assert_eq!(bench.heartbeat(generation, &id), 25);
}

#[test]
fn an_administrator_removes_an_instance_by_its_name() {
    let mut bench = Bench::new(&[]);
    one_static(&mut bench);
    assert_eq!(bench.leave("", Some("j")).members[0].error_code, 25);
    assert_eq!(bench.leave("", Some("i")).members[0].error_code, 0);
    assert_eq!(bench.described(), ("Empty".into(), 0));
}

#[test]
fn an_illegal_instance_id_is_refused() {
    let mut bench = Bench::new(&[]);
    for instance in ["", ".", "a b", "ü"] {
        let join = bench.join(9, "", Some(instance));
        assert_eq!(bench.joined(join).error_code, 42, "{instance:?}");
    }
}
