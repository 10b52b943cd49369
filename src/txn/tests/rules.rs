//! Goal: each rule of producers, partitions, time and what is shown. Method: one short history a rule.

use super::*;

fn code(error: ErrorCode) -> i16 {
    error.code()
}

#[test]
fn a_new_id_begins_at_epoch_zero_and_each_incarnation_one_further() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    assert_eq!(epoch, 0);
    assert_eq!(rig.begin(), (id, 1));
    rig.restart();
    assert_eq!(rig.begin(), (id, 2));
    assert_eq!(rig.value().start, Timestamp::NONE);
}

#[test]
fn bad_arguments_are_refused() {
    let mut rig = Rig::new();
    let timeout = code(ErrorCode::InvalidTransactionTimeout);
    for ms in [900_001, 0, -1] {
        assert_eq!(rig.init(4, None, ms).error_code, timeout);
    }
    assert_eq!(rig.init(4, None, 900_000).error_code, 0);
    let invalid = code(ErrorCode::InvalidRequest);
    assert_eq!(rig.init(4, Some((-1, 3)), 1000).error_code, invalid);
    assert_eq!(rig.init(4, Some((3, -1)), 1000).error_code, invalid);
    let request = InitProducerIdRequest {
        transactional_id: Some(Str::EMPTY),
        transaction_timeout_ms: 1000,
        producer_id: -1,
        producer_epoch: -1,
    };
    match rig.ask(4, TxnRequest::InitProducerId(request)) {
        Some(TxnReply::InitProducerId(reply)) => {
            assert_eq!((reply.error_code, reply.producer_id), (invalid, -1));
        }
        other => panic!("not the reply: {other:?}"),
    }
}

#[test]
fn without_a_transactional_id_nothing_is_remembered() {
    let mut rig = Rig::new();
    let request = InitProducerIdRequest {
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match rig.ask(4, TxnRequest::InitProducerId(request)) {
        Some(TxnReply::InitProducerId(reply)) => {
            assert_eq!((reply.error_code, reply.producer_epoch), (0, 0));
            assert_eq!(reply.producer_id, 1001);
        }
        other => panic!("not the reply: {other:?}"),
    }
    assert!(rig.log.is_empty());
}

/// KIP-360.
#[test]
fn the_present_epoch_is_raised_the_previous_is_a_retry_and_others_are_fenced() {
    let mut rig = Rig::new();
    let (id, _) = rig.begin();
    rig.begin();
    let again = |rig: &mut Rig, expected, version| {
        let reply = rig.init(version, Some(expected), 60_000);
        (reply.error_code, reply.producer_epoch)
    };
    assert_eq!(again(&mut rig, (id, 1), 4), (0, 2));
    assert_eq!(again(&mut rig, (id, 1), 4), (0, 2));
    assert_eq!(again(&mut rig, (id, 2), 4), (0, 3));
    let (fenced, older) = (ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch);
    assert_eq!(again(&mut rig, (id, 1), 4), (code(fenced), -1));
    assert_eq!(again(&mut rig, (id, 4), 4), (code(fenced), -1));
    assert_eq!(again(&mut rig, (id, 1), 3), (code(older), -1));
    assert_eq!(again(&mut rig, (id + 1, 3), 4), (code(fenced), -1));
}

#[test]
fn a_producer_unknown_here_gets_what_is_new() {
    let mut rig = Rig::new();
    let reply = rig.init(4, Some((77, 7)), 60_000);
    assert_eq!((reply.error_code, reply.producer_epoch), (0, 0));
    assert_ne!(reply.producer_id, 77);
}

#[test]
fn used_up_epochs_lead_to_a_new_producer_id() {
    let mut rig = Rig::new();
    let (id, _) = rig.begin();
    let mut record = rig.log[0].clone();
    let value = record.value.as_mut().expect("no tombstone");
    value.producer_epoch = ProducerEpoch(i16::MAX - 2);
    rig.log.push(record);
    rig.restart();
    assert_eq!(rig.begin(), (id, i16::MAX - 1));
    let next = rig.init(4, Some((id, i16::MAX - 1)), 60_000);
    assert_eq!((next.producer_id, next.producer_epoch), (id + 1, 0));
    // The answer was lost: the old id with its last epoch is recognised, and raises nothing.
    let again = rig.init(4, Some((id, i16::MAX - 1)), 60_000);
    assert_eq!((again.producer_id, again.producer_epoch), (id + 1, 0));
    let stale = rig.init(4, Some((id, i16::MAX - 2)), 60_000);
    assert_eq!(stale.error_code, code(ErrorCode::ProducerFenced));
}

#[test]
fn an_open_transaction_is_aborted_before_its_id_has_another_producer() {
    for (version, raised) in [(TV1, 0), (TV2, 2)] {
        let mut rig = Rig::new();
        let (id, epoch) = rig.begin();
        assert_eq!(
            rig.add(version, (id, epoch), &[("a", 1)]),
            Some(ErrorCode::None)
        );
        let concurrent = code(ErrorCode::ConcurrentTransactions);
        assert_eq!(rig.init(4, None, 60_000).error_code, concurrent);
        assert_eq!(rig.state(), TxnState::PrepareAbort);
        assert_eq!(rig.init(4, None, 60_000).error_code, concurrent);
        assert_eq!(rig.markers.len(), 1, "decided once");
        let job = rig.markers[0].clone();
        assert_eq!((job.committed, job.producer_epoch.0), (false, epoch + 1));
        assert_eq!(
            (job.coordinator_epoch, job.transaction_version),
            (7, raised)
        );
        assert_eq!(job.partitions, [(Str::from("a"), 1)]);
        rig.write_markers();
        assert_eq!(rig.begin(), (id, epoch + 2));
        let late = rig.end(1, (id, epoch), true);
        assert_eq!(late.error_code, code(ErrorCode::InvalidProducerEpoch));
    }
}

/// Kafka asks only for the producer id here, and lets the past abort the present.
#[test]
fn an_older_incarnation_cannot_abort_the_newer_ones_transaction() {
    let mut rig = Rig::new();
    let (id, _) = rig.begin();
    let newer = rig.begin();
    rig.add(TV1, newer, &[("a", 1)]);
    let reply = rig.init(4, Some((id, 0)), 60_000);
    assert_eq!(reply.error_code, code(ErrorCode::ProducerFenced));
    assert_eq!(rig.state(), TxnState::Ongoing);
}

#[test]
fn partitions_join_only_for_the_present_producer() {
    let mut rig = Rig::new();
    let a = [("a", 1)];
    assert_eq!(
        rig.add(TV1, (1, 0), &a),
        Some(ErrorCode::InvalidProducerIdMapping)
    );
    let (id, epoch) = rig.begin();
    assert_eq!(
        rig.add(TV1, (id + 5, epoch), &a),
        Some(ErrorCode::InvalidProducerIdMapping)
    );
    assert_eq!(
        rig.add(TV1, (id, epoch + 1), &a),
        Some(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        rig.add(1, (id, epoch + 1), &a),
        Some(ErrorCode::InvalidProducerEpoch)
    );
    let records = rig.log.len();
    assert_eq!(
        rig.add(TV1, (id, epoch), &[("b", 2), ("a", 1)]),
        Some(ErrorCode::None)
    );
    assert_eq!(rig.add(TV1, (id, epoch), &a), Some(ErrorCode::None));
    assert_eq!(
        rig.log.len(),
        records + 1,
        "what is in already is not recorded again"
    );
    assert_eq!(
        rig.value().partitions,
        [(Str::from("a"), 1), (Str::from("b"), 2)]
    );
    assert_eq!(rig.value().start, rig.now.wall);
}

#[test]
fn partitions_that_do_not_exist_keep_the_others_out() {
    let mut rig = Rig::new();
    let producer = rig.begin();
    let request = adding(producer, &[("a", 0), ("a", 4), ("c", 0), ("b", -1)], false);
    let Some(TxnReply::AddPartitions(rows)) = rig.ask(TV2, request) else {
        panic!("not the reply");
    };
    let errors: Vec<ErrorCode> = rows.into_iter().map(|row| row.2).collect();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(
        errors,
        [ErrorCode::OperationNotAttempted, unknown, unknown, unknown]
    );
    assert_eq!(rig.state(), TxnState::Empty);
}

#[test]
fn a_groups_offsets_join_as_a_partition() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    let ask = |rig: &mut Rig, epoch, version| {
        let request = TxnRequest::AddOffsets {
            transactional_id: Str::from("t"),
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            partition: (Str::from("__consumer_offsets"), 17),
        };
        match rig.ask(version, request) {
            Some(TxnReply::AddOffsets(reply)) => reply.error_code,
            other => panic!("not the reply: {other:?}"),
        }
    };
    assert_eq!(
        ask(&mut rig, epoch + 1, 1),
        code(ErrorCode::InvalidProducerEpoch)
    );
    assert_eq!(ask(&mut rig, epoch, 3), 0);
    assert_eq!(
        rig.value().partitions,
        [(Str::from("__consumer_offsets"), 17)]
    );
}

#[test]
fn verifying_changes_nothing_and_tells_each_partition() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    rig.add(TV1, (id, epoch), &[("a", 1)]);
    let records = rig.log.len();
    let verify = |rig: &mut Rig, producer| match rig
        .ask(TV2, adding(producer, &[("a", 1), ("a", 2)], true))
    {
        Some(TxnReply::AddPartitions(rows)) => [rows[0].2, rows[1].2],
        other => panic!("not the reply: {other:?}"),
    };
    let (none, abortable) = (ErrorCode::None, ErrorCode::TransactionAbortable);
    assert_eq!(verify(&mut rig, (id, epoch)), [none, abortable]);
    let fenced = ErrorCode::ProducerFenced;
    assert_eq!(verify(&mut rig, (id, epoch + 1)), [fenced, fenced]);
    rig.end(1, (id, epoch), true);
    let concurrent = ErrorCode::ConcurrentTransactions;
    assert_eq!(verify(&mut rig, (id, epoch)), [concurrent, concurrent]);
    assert_eq!(rig.log.len(), records + 1);
}

#[test]
fn who_begins_early_waits_for_the_markers_and_not_longer_than_a_second() {
    let mut rig = Rig::new();
    let producer = rig.begin();
    rig.add(TV1, producer, &[("a", 1)]);
    rig.end(1, producer, true);
    assert_eq!(rig.add(TV1, producer, &[("b", 1)]), None);
    let token = Token(rig.next_token);
    rig.write_markers();
    assert_eq!(rig.state(), TxnState::Ongoing);
    let granted = vec![(Str::from("b"), 1, ErrorCode::None)];
    assert_eq!(rig.late, [(token, TxnReply::AddPartitions(granted))]);
    rig.late.clear();

    rig.end(1, producer, true);
    assert_eq!(rig.add(TV1, producer, &[("b", 2)]), None);
    let token = Token(rig.next_token);
    assert_eq!(rig.add(TV1, producer, &[("b", 3)]), None);
    rig.coordinator.forget(Token(rig.next_token));
    assert_eq!(
        rig.coordinator.next_deadline(),
        Some(rig.now.mono.plus_ms(1000))
    );
    rig.pass(999);
    assert!(rig.late.is_empty());
    rig.pass(1);
    let refused = vec![(Str::from("b"), 2, ErrorCode::ConcurrentTransactions)];
    assert_eq!(rig.late, [(token, TxnReply::AddPartitions(refused))]);
}

#[test]
fn only_so_many_wait() {
    let mut rig = Rig::new();
    let producer = rig.begin();
    rig.add(TV1, producer, &[("a", 1)]);
    rig.end(1, producer, true);
    for _ in 0..64 {
        assert_eq!(rig.add(TV1, producer, &[("b", 1)]), None);
    }
    let refused = Some(ErrorCode::ConcurrentTransactions);
    assert_eq!(rig.add(TV1, producer, &[("b", 1)]), refused);
    rig.write_markers();
    assert_eq!(rig.late.len(), 64);
}

#[test]
fn a_transaction_past_its_time_is_aborted_and_its_producer_fenced() {
    for version in [TV1, TV2] {
        let mut rig = Rig::new();
        rig.init(4, None, 25_000);
        let (id, epoch) = (rig.value().producer_id.0, rig.value().producer_epoch.0);
        rig.add(version, (id, epoch), &[("a", 1)]);
        assert_eq!(rig.coordinator.oldest_open(), Some(rig.now.wall));
        // Looked at every ten seconds since loading.
        assert_eq!(
            rig.coordinator.next_deadline(),
            Some(rig.now.mono.plus_ms(30_000))
        );
        rig.pass(29_999);
        assert_eq!(rig.state(), TxnState::Ongoing);
        rig.pass(1);
        assert_eq!(rig.state(), TxnState::PrepareAbort);
        assert_eq!(rig.markers[0].producer_epoch.0, epoch + 1);
        rig.write_markers();
        assert_eq!(rig.state(), TxnState::CompleteAbort);
        assert_eq!(rig.coordinator.oldest_open(), None);
        let reply = rig.add(version, (id, epoch), &[("a", 1)]);
        assert_eq!(reply, Some(ErrorCode::ProducerFenced));
    }
}

#[test]
fn a_time_out_counts_on_after_loading_and_a_jump_of_the_clock_does_not_lengthen_it() {
    let mut rig = Rig::new();
    let producer = rig.begin();
    rig.add(TV1, producer, &[("a", 1)]);
    rig.pass(50_000);
    rig.restart();
    assert_eq!(
        rig.coordinator.next_deadline(),
        Some(rig.now.mono.plus_ms(10_000))
    );
    rig.now.wall.0 -= 1_000_000;
    rig.restart();
    assert_eq!(
        rig.coordinator.next_deadline(),
        Some(rig.now.mono.plus_ms(60_000))
    );
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_and_one_in_use_is_not() {
    let mut rig = Rig::new();
    rig.begin();
    let week = 604_800_000;
    rig.pass(week - 1);
    let producer = rig.begin();
    rig.pass(1);
    assert_eq!(rig.coordinator.transactions_count(), 1);
    rig.pass(week + 3_600_000);
    assert_eq!(rig.coordinator.transactions_count(), 0);
    let tombstone = rig.log.last().expect("a record");
    assert_eq!(tombstone.value, None);
    let gone = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(rig.add(TV1, producer, &[("a", 1)]), Some(gone));
    assert_eq!(rig.coordinator.next_deadline(), None);
    rig.restart();
    assert_eq!(rig.coordinator.transactions_count(), 0);
}

#[test]
fn what_is_decided_resumes_after_loading() {
    let mut rig = Rig::new();
    let producer = rig.begin();
    rig.add(TV1, producer, &[("a", 1), ("b", 3)]);
    rig.end(1, producer, true);
    let before = rig.markers.clone();
    rig.restart();
    let mut after = rig.markers.clone();
    assert_eq!(after[0].coordinator_epoch, 8);
    after[0].coordinator_epoch = 7;
    assert_eq!(after, before);
    rig.write_markers();
    assert_eq!(rig.state(), TxnState::CompleteCommit);
    // Written again, by whom it may: nothing more happens.
    let records = rig.log.len();
    rig.write(&before[0]);
    assert_eq!(rig.log.len(), records);
}

#[test]
fn a_description_tells_all_there_is() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    rig.add(TV1, (id, epoch), &[("a", 1), ("b", 3), ("a", 0)]);
    let describe = |rig: &mut Rig, id: &str| match rig.ask(0, TxnRequest::Describe(Str::from(id))) {
        Some(TxnReply::Describe(state)) => state,
        other => panic!("not the reply: {other:?}"),
    };
    let state = describe(&mut rig, "t");
    assert_eq!(
        (state.error_code, &*state.transaction_state),
        (0, "Ongoing")
    );
    assert_eq!((state.producer_id, state.producer_epoch), (id, epoch));
    assert_eq!(state.transaction_timeout_ms, 60_000);
    assert_eq!(state.transaction_start_time_ms, rig.now.wall.0);
    let topics: Vec<_> = state
        .topics
        .iter()
        .map(|t| (&*t.topic, &t.partitions[..]))
        .collect();
    assert_eq!(topics, [("a", &[0, 1][..]), ("b", &[3][..])]);
    let missing = code(ErrorCode::TransactionalIdNotFound);
    assert_eq!(describe(&mut rig, "u").error_code, missing);
}

#[test]
fn a_list_passes_every_filter_or_none() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    rig.add(TV1, (id, epoch), &[("a", 1)]);
    rig.pass(5000);
    let request = InitProducerIdRequest {
        transactional_id: Some(Str::from("other")),
        transaction_timeout_ms: 1000,
        producer_id: -1,
        producer_epoch: -1,
    };
    rig.ask(4, TxnRequest::InitProducerId(request));
    let ids = |rig: &mut Rig, filter| rig.list(filter).1;
    assert_eq!(ids(&mut rig, no_filter()), ["other", "t"]);
    let states = |names: &[&str]| TxnFilter {
        states: names.iter().map(|name| Str::from(*name)).collect(),
        ..no_filter()
    };
    let (_, listed, unknown) = rig.list(states(&["Ongoing", "ongoing", "None"]));
    assert_eq!(
        (listed, unknown),
        (vec!["t".into()], vec!["ongoing".into(), "None".into()])
    );
    let of = TxnFilter {
        producer_ids: vec![id, -5],
        ..no_filter()
    };
    assert_eq!(ids(&mut rig, of), ["t"]);
    for (ms, expected) in [(4999, true), (5000, false)] {
        let older = TxnFilter {
            states: vec![Str::from("Ongoing")],
            duration_ms: ms,
            ..no_filter()
        };
        assert_eq!(!ids(&mut rig, older).is_empty(), expected);
    }
}

#[test]
fn a_pattern_matches_whole_ids_and_is_bounded() {
    let mut rig = Rig::new();
    rig.begin();
    let with = |text: &str| TxnFilter {
        transactional_id_pattern: Some(Str::from(text)),
        ..no_filter()
    };
    for (pattern, found) in [
        ("t", true),
        ("", true),
        ("t|x", true),
        ("x|tt?", true),
        ("tt", false),
    ] {
        let (error, ids, _) = rig.list(with(pattern));
        assert_eq!((error, !ids.is_empty()), (0, found), "{pattern}");
    }
    let invalid = code(ErrorCode::InvalidRegularExpression);
    for pattern in ["(", "t)|(x", "((((x{100}){100}){100}){100})", "a{2,1}"] {
        assert_eq!(rig.list(with(pattern)).0, invalid, "{pattern}");
    }
}
