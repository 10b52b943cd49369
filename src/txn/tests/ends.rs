//! Goal: a transaction is decided once, by its producer or against it, whatever comes again. Method: one short
//! history a rule, for both versions of transactions.

use super::*;

fn ended(reply: &EndTxnResponse) -> (ErrorCode, i64, i16) {
    let error = ErrorCode::from_code(reply.error_code).expect("Kafka's");
    (error, reply.producer_id, reply.producer_epoch)
}

#[test]
fn version_1_keeps_the_epoch_and_knows_a_retry_by_the_state() {
    for (committed, complete) in [
        (true, TxnState::CompleteCommit),
        (false, TxnState::CompleteAbort),
    ] {
        let mut rig = Rig::new();
        let producer = rig.begin();
        let error = |reply: EndTxnResponse| ended(&reply).0;
        assert_eq!(
            error(rig.end(4, producer, committed)),
            ErrorCode::InvalidTxnState
        );
        rig.add(TV1, producer, &[("a", 1)]);
        assert_eq!(error(rig.end(4, producer, committed)), ErrorCode::None);
        for outcome in [true, false] {
            let concurrent = ErrorCode::ConcurrentTransactions;
            assert_eq!(error(rig.end(4, producer, outcome)), concurrent);
        }
        assert_eq!(rig.markers.len(), 1);
        assert_eq!(rig.markers[0].producer_epoch.0, producer.1);
        assert_eq!(rig.markers[0].transaction_version, 0);
        rig.write_markers();
        assert_eq!(rig.state(), complete);
        assert_eq!(error(rig.end(4, producer, committed)), ErrorCode::None);
        assert_eq!(
            error(rig.end(4, producer, !committed)),
            ErrorCode::InvalidTxnState
        );
        assert_eq!(rig.state(), complete);
    }
}

#[test]
fn version_2_raises_the_epoch_and_knows_a_retry_by_it() {
    for committed in [true, false] {
        let mut rig = Rig::new();
        let (id, epoch) = rig.begin();
        rig.add(TV2, (id, epoch), &[("a", 1)]);
        let won = (ErrorCode::None, id, epoch + 1);
        assert_eq!(ended(&rig.end(5, (id, epoch), committed)), won);
        assert_eq!(rig.markers[0].producer_epoch.0, epoch + 1);
        assert_eq!(rig.markers[0].transaction_version, 2);
        let concurrent = (ErrorCode::ConcurrentTransactions, -1, -1);
        assert_eq!(ended(&rig.end(5, (id, epoch), committed)), concurrent);
        rig.restart();
        rig.write_markers();
        assert_eq!(ended(&rig.end(5, (id, epoch), committed)), won);
        let other = (ErrorCode::InvalidTxnState, -1, -1);
        assert_eq!(ended(&rig.end(5, (id, epoch), !committed)), other);
        let fenced = (ErrorCode::ProducerFenced, -1, -1);
        assert_eq!(ended(&rig.end(5, (id, epoch + 2), committed)), fenced);
        // With the raised epoch it is the end of the next transaction.
        rig.add(TV2, (id, epoch + 1), &[("a", 1)]);
        assert_eq!(ended(&rig.end(5, (id, epoch), committed)), fenced);
        assert_eq!(rig.state(), TxnState::Ongoing);
    }
}

#[test]
fn version_2_aborts_without_a_transaction_but_does_not_commit() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    let invalid = (ErrorCode::InvalidTxnState, -1, -1);
    assert_eq!(ended(&rig.end(5, (id, epoch), true)), invalid);
    let won = (ErrorCode::None, id, epoch + 1);
    assert_eq!(ended(&rig.end(5, (id, epoch), false)), won);
    assert_eq!(
        (rig.state(), rig.markers.len()),
        (TxnState::CompleteAbort, 0)
    );
    assert_eq!(ended(&rig.end(5, (id, epoch), false)), won, "a retry");
    let next = (ErrorCode::None, id, epoch + 2);
    assert_eq!(ended(&rig.end(5, (id, epoch + 1), false)), next);
    assert_eq!(ended(&rig.end(5, (id, epoch + 2), true)), invalid);
}

#[test]
fn version_2_goes_on_with_a_new_producer_id_when_epochs_are_used_up() {
    let mut rig = Rig::new();
    rig.begin();
    let mut record = rig.log[0].clone();
    let value = record.value.as_mut().expect("no tombstone");
    value.producer_epoch = ProducerEpoch(i16::MAX - 1);
    rig.log.push(record);
    rig.restart();
    let id = rig.value().producer_id.0;
    let producer = (id, i16::MAX - 1);
    rig.add(TV2, producer, &[("a", 1)]);
    let won = (ErrorCode::None, id + 1, 0);
    assert_eq!(ended(&rig.end(5, producer, true)), won);
    let job = &rig.markers[0];
    assert_eq!((job.producer_id.0, job.producer_epoch.0), (id, i16::MAX));
    assert_eq!(job.transaction_version, 0, "an equal epoch must pass, too");
    rig.restart();
    rig.write_markers();
    assert_eq!(ended(&rig.end(5, producer, true)), won, "a retry");
    assert_eq!(
        ended(&rig.end(5, producer, false)).0,
        ErrorCode::InvalidTxnState
    );
    assert_eq!(
        rig.add(TV2, (id + 1, 0), &[("a", 1)]),
        Some(ErrorCode::None)
    );
    // As in Kafka, the old id is nobody's from the next transaction on.
    assert_eq!(
        ended(&rig.end(5, producer, true)).0,
        ErrorCode::InvalidProducerIdMapping
    );
}

#[test]
fn the_highest_epoch_of_all_can_still_be_aborted() {
    for version in [TV1, TV2] {
        let mut rig = Rig::new();
        rig.begin();
        let mut record = rig.log[0].clone();
        let value = record.value.as_mut().expect("no tombstone");
        value.producer_epoch = ProducerEpoch(i16::MAX);
        rig.log.push(record);
        rig.restart();
        let id = rig.value().producer_id.0;
        rig.add(version, (id, i16::MAX), &[("a", 1)]);
        rig.pass(70_000);
        assert_eq!(rig.markers[0].producer_epoch.0, i16::MAX);
        assert_eq!(rig.markers[0].transaction_version, 0);
        rig.write_markers();
        assert_eq!(rig.begin(), (id + 1, 0));
    }
}

/// A time-out raises the epoch by one; the producer that did not notice may abort again and go on (KIP-890).
#[test]
fn after_a_time_out_an_abort_is_a_retry_and_a_commit_is_refused() {
    let mut rig = Rig::new();
    let (id, epoch) = rig.begin();
    rig.add(TV2, (id, epoch), &[("a", 1)]);
    rig.end(5, (id, epoch), true);
    rig.write_markers();
    let epoch = epoch + 1;
    rig.add(TV2, (id, epoch), &[("a", 1)]);
    rig.pass(70_000);
    rig.write_markers();
    let refused = (ErrorCode::InvalidTxnState, -1, -1);
    assert_eq!(ended(&rig.end(5, (id, epoch), true)), refused);
    let again = (ErrorCode::None, id, epoch + 1);
    assert_eq!(ended(&rig.end(5, (id, epoch), false)), again);
}

#[test]
fn strangers_decide_nothing() {
    let mut rig = Rig::new();
    for version in [1, 5] {
        let unknown = ended(&rig.end(version, (1, 0), true)).0;
        assert_eq!(unknown, ErrorCode::InvalidProducerIdMapping);
    }
    let (id, epoch) = rig.begin();
    rig.add(TV1, (id, epoch), &[("a", 1)]);
    for (version, fenced) in [
        (1, ErrorCode::InvalidProducerEpoch),
        (2, ErrorCode::ProducerFenced),
        (5, ErrorCode::ProducerFenced),
    ] {
        for other in [epoch - 1, epoch + 1, i16::MIN, i16::MAX] {
            assert_eq!(ended(&rig.end(version, (id, other), true)).0, fenced);
        }
        let mapping = ErrorCode::InvalidProducerIdMapping;
        assert_eq!(ended(&rig.end(version, (id + 1, epoch), true)).0, mapping);
    }
    let request = TxnRequest::End(EndTxnRequest::default());
    match rig.ask(5, request) {
        Some(TxnReply::End(reply)) => assert_eq!(ended(&reply).0, ErrorCode::InvalidRequest),
        other => panic!("not the reply: {other:?}"),
    }
    assert_eq!(rig.state(), TxnState::Ongoing);
}

/// Without the finalised feature values are of version 0, unless that would lose the client's version.
#[test]
fn the_finalised_level_gives_the_version_of_values() {
    let mut rig = Rig::new();
    rig.image = image(0);
    let producer = rig.begin();
    rig.add(TV1, producer, &[("a", 1)]);
    assert_eq!(rig.value().version, 0);
    rig.end(5, producer, true);
    assert_eq!((rig.value().version, rig.value().client_version), (1, 2));
}
