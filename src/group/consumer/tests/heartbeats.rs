//! What Kafka 4.3.1 answered to the same heartbeats in the same order, and the records it wrote.

use super::*;
use crate::protocol::ErrorCode as E;

fn code(result: &Result<ConsumerGroupHeartbeatResponse, Refused>) -> E {
    result
        .as_ref()
        .err()
        .map_or(E::None, |refused| refused.code)
}

#[test]
fn requests_are_refused_as_kafka_refuses_them() {
    let mut stage = Stage::new();
    stage.topic("t4", 4);
    let good = joining("m", &["t4"]);
    let mut check = |change: &dyn Fn(&mut ConsumerGroupHeartbeatRequest), expected: E| {
        let mut request = good.clone();
        change(&mut request);
        let result = stage.send(&request);
        assert_eq!(code(&result), expected, "{request:?}");
        assert!(stage.log.is_empty(), "a refused request wrote something");
    };
    check(&|r| r.group_id = Str::EMPTY, E::InvalidRequest);
    check(&|r| r.member_id = Str::EMPTY, E::InvalidRequest);
    check(&|r| r.group_id = "  ".into(), E::InvalidRequest);
    check(&|r| r.member_id = "  ".into(), E::InvalidRequest);
    check(&|r| r.instance_id = Some(" \t".into()), E::InvalidRequest);
    check(&|r| r.subscribed_topic_names = None, E::InvalidRequest);
    check(&|r| r.rebalance_timeout_ms = -1, E::InvalidRequest);
    check(&|r| r.topic_partitions = None, E::InvalidRequest);
    check(&|r| r.member_epoch = -3, E::InvalidRequest);
    check(&|r| r.member_epoch = -2, E::InvalidRequest);
    check(&|r| r.instance_id = Some(Str::EMPTY), E::InvalidRequest);
    check(&|r| r.rack_id = Some(Str::EMPTY), E::InvalidRequest);
    check(
        &|r| r.server_assignor = Some("x".into()),
        E::UnsupportedAssignor,
    );
    check(
        &|r| r.subscribed_topic_regex = Some("(".into()),
        E::InvalidRegularExpression,
    );
    check(&|r| r.member_epoch = 5, E::UnknownMemberId);
    check(&|r| r.member_epoch = -1, E::UnknownMemberId);
    let long = "x".repeat(200);
    let huge: Vec<Str> = (0..10_000)
        .map(|n| Str::from(format!("{long}{n}")))
        .collect();
    check(
        &|r| r.subscribed_topic_names = Some(huge.clone()),
        E::InvalidRequest,
    );
    let claims = || TopicPartitions {
        topic_id: topic_id("t4"),
        partitions: vec![0; 300_000],
    };
    check(
        &|r| {
            r.member_epoch = 1;
            r.topic_partitions = Some(vec![claims()]);
        },
        E::InvalidRequest,
    );
}

/// Two members share four partitions: the first must give back before the second gets.
#[test]
fn partitions_are_revoked_before_they_are_given() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    let a = stage.send(&joining("A", &["t4"])).expect("it joins");
    assert_eq!((a.member_epoch, a.heartbeat_interval_ms), (2, 5000));
    assert_eq!(assigned(&a), Some(of(t, &[0, 1, 2, 3])));
    let again = stage.send(&joining("A", &["t4"])).expect("it joins again");
    assert_eq!((again.member_epoch, assigned(&again)), (2, assigned(&a)));
    let all = of(t, &[0, 1, 2, 3]);
    let quiet = stage.send(&staying("A", 2, Some(&all))).expect("it stays");
    assert_eq!((quiet.member_epoch, assigned(&quiet)), (2, None));
    let b = stage.send(&joining("B", &["t4"])).expect("it joins");
    assert_eq!((b.member_epoch, assigned(&b)), (2, Some(of(t, &[]))));
    assert_eq!(stage.group.state(), "Assigning");
    stage.pass(1100);
    let a = stage.send(&staying("A", 2, None)).expect("it stays");
    assert_eq!((a.member_epoch, assigned(&a)), (2, Some(of(t, &[0, 1]))));
    assert_eq!(
        code(&stage.send(&staying("B", 1, None))),
        E::FencedMemberEpoch
    );
    let b = stage.send(&staying("B", 2, None)).expect("it stays");
    assert_eq!((b.member_epoch, assigned(&b)), (3, None));
    assert_eq!(stage.group.state(), "Reconciling");
    let a = stage
        .send(&staying("A", 2, Some(&of(t, &[0, 1]))))
        .expect("it gave back");
    assert_eq!((a.member_epoch, assigned(&a)), (3, None));
    // Its answer was lost: the epoch before is good once more, with what it may own.
    let retry = stage
        .send(&staying("A", 2, Some(&of(t, &[0]))))
        .expect("a retry");
    assert_eq!(retry.member_epoch, 3);
    for request in [
        staying("A", 2, None),
        staying("A", 2, Some(&all)),
        staying("A", 99, None),
    ] {
        assert_eq!(
            code(&stage.send(&request)),
            E::FencedMemberEpoch,
            "{request:?}"
        );
    }
    let b = stage.send(&staying("B", 3, None)).expect("it stays");
    assert_eq!((b.member_epoch, assigned(&b)), (3, Some(of(t, &[2, 3]))));
    assert_eq!(stage.group.state(), "Stable");
    // Commits of an older epoch are good for what was owned since.
    let commit = |epoch, partition| {
        let id = "A";
        let may = stage.group.may_commit(id, None, epoch, Some(9));
        may.and_then(|()| stage.group.may_commit_partition(id, epoch, t, partition))
    };
    assert_eq!(
        (commit(2, 1), commit(2, 2)),
        (Ok(()), Err(E::StaleMemberEpoch))
    );
    assert_eq!(
        (commit(3, 3), commit(4, 0)),
        (Ok(()), Err(E::StaleMemberEpoch))
    );
    assert_eq!(
        stage.group.may_commit("Z", None, 3, Some(9)),
        Err(E::UnknownMemberId)
    );
    assert_eq!(
        stage.group.may_commit("", None, -1, Some(9)),
        Err(E::UnknownMemberId)
    );
    assert_eq!(
        stage.group.may_commit("A", None, 3, Some(8)),
        Err(E::UnsupportedVersion)
    );
    let left = stage.send(&staying("A", -1, None)).expect("it leaves");
    assert_eq!(left.member_epoch, -1);
    assert_eq!(
        code(&stage.send(&staying("A", -1, None))),
        E::UnknownMemberId
    );
    stage.pass(45_000);
    assert_eq!((stage.group.state(), stage.group.epoch), ("Empty", 5));
    assert_eq!(stage.group.may_commit("", None, -1, Some(9)), Ok(()));
    assert_eq!(stage.replayed().snapshot(), stage.group.snapshot());
}

/// The records of the first join, and the hash that Kafka computed for the same topic.
#[test]
fn the_first_join_writes_what_kafka_writes() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    stage.send(&joining("A", &["t4"])).expect("it joins");
    let kinds: Vec<u8> = stage
        .log
        .iter()
        .map(|record| record.encode().0[1])
        .collect();
    assert_eq!(kinds, [5, 3, 7, 6, 8]);
    assert_eq!(
        Change::from_record(&stage.log[1]),
        Some(Change::Epoch(Some((2, 8_729_258_209_520_039_606))))
    );
    let Some(Change::Current(_, Some(current))) = Change::from_record(&stage.log[4]) else {
        panic!("not an assignment: {:?}", stage.log[4]);
    };
    assert_eq!((current.epoch, current.previous_epoch), (2, 0));
    let since: BTreeMap<i32, i32> = (0..4).map(|partition| (partition, 2)).collect();
    assert_eq!(current.assigned, BTreeMap::from([(t, since)]));
}

#[test]
fn a_static_member_keeps_its_place() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    let with = |mut request: ConsumerGroupHeartbeatRequest, instance: &str| {
        request.instance_id = Some(Str::from(instance));
        request
    };
    let all = Some(of(t, &[0, 1, 2, 3]));
    let s1 = stage
        .send(&with(joining("S1", &["t4"]), "i1"))
        .expect("it joins");
    assert_eq!((s1.member_epoch, assigned(&s1)), (2, all.clone()));
    for id in ["S1", "S2"] {
        let result = stage.send(&with(joining(id, &["t4"]), "i1"));
        assert_eq!(code(&result), E::UnreleasedInstanceId);
    }
    let result = stage.send(&with(staying("S2", 2, None), "i1"));
    assert_eq!(code(&result), E::FencedInstanceId);
    let result = stage.send(&with(staying("S1", 2, None), "i9"));
    assert_eq!(code(&result), E::UnknownMemberId);
    let away = stage
        .send(&with(staying("S1", -2, None), "i1"))
        .expect("it goes");
    assert_eq!(away.member_epoch, -2);
    let result = stage.send(&with(staying("S1", 2, None), "i1"));
    assert_eq!(code(&result), E::FencedMemberEpoch);
    stage.pass(20_000);
    let s2 = stage
        .send(&with(joining("S2", &["t4"]), "i1"))
        .expect("it takes over");
    assert_eq!((s2.member_epoch, assigned(&s2)), (2, all.clone()));
    let result = stage.send(&with(staying("S1", 2, None), "i1"));
    assert_eq!(code(&result), E::FencedInstanceId);
    stage
        .send(&with(staying("S2", -2, None), "i1"))
        .expect("it goes");
    stage.pass(45_001);
    assert!(stage.group.is_empty(), "who does not come back is gone");
    assert_eq!(stage.replayed().snapshot(), stage.group.snapshot());
}

#[test]
fn expressions_follow_topics_that_come_and_go() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    let u = stage.topic("u2", 2);
    let mut request = joining("R", &[]);
    request.subscribed_topic_names = None;
    request.subscribed_topic_regex = Some("t.*".into());
    let r = stage.send(&request).expect("it joins");
    assert_eq!(
        (r.member_epoch, assigned(&r)),
        (2, Some(of(t, &[0, 1, 2, 3])))
    );
    assert!(stage.group.subscribes_to("t4") && !stage.group.subscribes_to("u2"));
    let t5 = stage.topic("t5", 1);
    stage.pass(2000);
    let r = stage.send(&staying("R", 2, None)).expect("it stays");
    let mut both = of(t, &[0, 1, 2, 3]);
    both.extend(of(t5, &[0]));
    assert_eq!((r.member_epoch, assigned(&r)), (3, Some(both)));
    stage.drop_topic("t5");
    let mut request = staying("R", 3, None);
    request.subscribed_topic_names = Some(vec!["u2".into()]);
    request.subscribed_topic_regex = Some(Str::EMPTY);
    stage.pass(2000);
    let r = stage.send(&request).expect("it changes its mind");
    assert_eq!(
        assigned(&r),
        Some(Partitions::new()),
        "it must give back first"
    );
    let r = stage
        .send(&staying("R", 3, Some(&Partitions::new())))
        .expect("it gave back");
    assert_eq!(assigned(&r), Some(of(u, &[0, 1])));
    assert!(stage.group.regexes.is_empty(), "nobody uses it any more");
    assert_eq!(stage.replayed().snapshot(), stage.group.snapshot());
}

#[test]
fn who_does_not_give_back_in_time_is_fenced() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    stage.settings.assignment_interval_ms = 0;
    stage.send(&joining("A", &["t4"])).expect("it joins");
    stage.send(&joining("B", &["t4"])).expect("it joins");
    stage
        .send(&staying("A", 2, None))
        .expect("it is asked to give back");
    for _ in 0..3 {
        stage.pass(10_000);
        stage.send(&staying("A", 2, None)).ok();
        stage.send(&staying("B", 3, None)).ok();
    }
    assert!(!stage.group.members.contains_key("A"));
    let b = stage.send(&staying("B", stage.group.members["B"].current.epoch, None));
    let owned = stage.group.members["B"].current.assigned.get(&t);
    assert_eq!(owned.map(BTreeMap::len), Some(4), "{b:?}");
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut stage = Stage::new();
    stage.topic("t4", 4);
    stage.settings.size_max = 2;
    for id in ["A", "B", "A"] {
        stage.send(&joining(id, &["t4"])).expect("there is room");
    }
    assert_eq!(
        code(&stage.send(&joining("C", &["t4"]))),
        E::GroupMaxSizeReached
    );
}

/// While the target waits for its interval, a topic that is no longer asked for is taken at once.
#[test]
fn a_dropped_topic_is_given_back_before_the_next_target() {
    let mut stage = Stage::new();
    let t = stage.topic("t4", 4);
    stage.topic("u2", 2);
    stage.send(&joining("A", &["t4", "u2"])).expect("it joins");
    let mut request = staying("A", 2, None);
    request.subscribed_topic_names = Some(vec!["t4".into()]);
    let a = stage.send(&request).expect("it stays");
    assert_eq!(
        (stage.group.state(), assigned(&a)),
        ("Assigning", Some(of(t, &[0, 1, 2, 3])))
    );
}

#[test]
fn a_large_group_settles_in_time() {
    let mut stage = Stage::new();
    stage.settings.assignment_interval_ms = 1000;
    stage.topic("big", 1000);
    let begin = std::time::Instant::now();
    for n in 0..200 {
        stage
            .send(&joining(&format!("m{n:03}"), &["big"]))
            .expect("it joins");
    }
    let mut owned: BTreeMap<String, Partitions> = BTreeMap::new();
    for round in 0..6 {
        stage.pass(5000);
        for n in 0..200 {
            let id = format!("m{n:03}");
            let epoch = stage.group.members[&*id].current.epoch;
            let own = owned.entry(id.clone()).or_default();
            let answer = stage
                .send(&staying(&id, epoch, Some(own)))
                .expect("it stays");
            if let Some(now) = assigned(&answer) {
                *own = now;
            }
        }
        println!("round {round}: {}", stage.group.state());
    }
    assert_eq!(stage.group.state(), "Stable");
    assert!(
        owned
            .values()
            .all(|own| own.values().map(BTreeSet::len).sum::<usize>() == 5)
    );
    println!(
        "200 members, 1000 partitions: {:?}, {} records",
        begin.elapsed(),
        stage.log.len()
    );
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}

/// Records whose order compaction has changed make the same group.
#[test]
fn a_compacted_log_makes_the_same_group() {
    let mut stage = Stage::new();
    stage.topic("t4", 4);
    stage.settings.assignment_interval_ms = 0;
    for id in ["A", "B", "C"] {
        stage.send(&joining(id, &["t4"])).expect("it joins");
    }
    // The profile is written anew: its record is now behind the assignment's.
    let mut request = staying("A", 2, Some(&Partitions::new()));
    request.rack_id = Some("r".into());
    stage.send(&request).expect("it stays");
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (at, record) in stage.log.iter().enumerate() {
        last.insert(record.encode().0.to_vec(), at);
    }
    let full = stage.log.clone();
    let kept = |(at, record): (usize, &GroupRecord)| {
        (last[&record.encode().0.to_vec()] == at).then(|| record.clone())
    };
    stage.log = full.iter().enumerate().filter_map(kept).collect();
    assert!(stage.log.len() < full.len());
    assert_eq!(stage.replayed().snapshot(), stage.group.snapshot());
}
