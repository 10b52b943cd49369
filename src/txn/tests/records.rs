//! Goal: Kafka's tools read our log and we read Kafka's. Method: bytes that Kafka 4.3.1's serialiser wrote; every
//! prefix of them, and what no version has.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn value(state: TxnState, version: i16) -> TxnValue {
    TxnValue {
        version,
        producer_id: ProducerId(1),
        previous_producer_id: ProducerId(1),
        next_producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(5),
        next_producer_epoch: ProducerEpoch::NONE,
        timeout_ms: 1000,
        state,
        partitions: Vec::new(),
        last_update: Timestamp(60),
        start: Timestamp(50),
        client_version: 0,
    }
}

fn golden() -> Vec<(TxnValue, &'static str)> {
    let full = TxnValue {
        previous_producer_id: ProducerId(9),
        next_producer_id: ProducerId(2),
        partitions: vec![(Str::from("a"), 0), (Str::from("a"), 3)],
        client_version: 2,
        ..value(TxnState::PrepareCommit, 1)
    };
    let ongoing = |version, previous| TxnValue {
        previous_producer_id: ProducerId(previous),
        partitions: vec![(Str::from("a"), 7)],
        ..value(TxnState::Ongoing, version)
    };
    let empty = |version| TxnValue {
        previous_producer_id: ProducerId::NONE,
        start: Timestamp::NONE,
        ..value(TxnState::Empty, version)
    };
    let complete = TxnValue {
        client_version: 2,
        ..value(TxnState::CompleteCommit, 1)
    };
    vec![
        (
            full,
            "000100000000000000010005000003e80202026103000000000000000300000000000000003c000000000000003203000800000000000000090108000000000000000202020002",
        ),
        (
            ongoing(0, -1),
            "000000000000000000010005000003e801000000010001610000000100000007000000000000003c0000000000000032",
        ),
        (
            ongoing(1, 1),
            "000100000000000000010005000003e801020261020000000700000000000000003c00000000000000320100080000000000000001",
        ),
        (
            empty(0),
            "000000000000000000010005000003e800ffffffff000000000000003cffffffffffffffff",
        ),
        (
            empty(1),
            "000100000000000000010005000003e80000000000000000003cffffffffffffffff00",
        ),
        (
            complete,
            "000100000000000000010005000003e80401000000000000003c0000000000000032020008000000000000000102020002",
        ),
    ]
}

#[test]
fn records_are_kafkas_byte_for_byte() {
    for (value, hex) in golden() {
        let record = TxnRecord {
            transactional_id: Str::from("my-id"),
            value: Some(value),
        };
        let (key, encoded) = record.encode();
        assert_eq!(key, bytes("000000056d792d6964"));
        assert_eq!(encoded.as_deref(), Some(&bytes(hex)[..]), "{record:?}");
        let decoded = TxnRecord::decode(Some(key.into()), Some(bytes(hex).into()));
        assert_eq!(decoded, Ok(Some(record)));
    }
}

#[test]
fn a_null_value_is_a_tombstone() {
    let tombstone = TxnRecord {
        transactional_id: Str::from("my-id"),
        value: None,
    };
    let (key, value) = tombstone.encode();
    assert_eq!(value, None);
    assert_eq!(
        TxnRecord::decode(Some(key.into()), None),
        Ok(Some(tombstone))
    );
}

#[test]
fn what_is_cut_short_or_too_long_is_an_error() {
    let key = bytes("000000056d792d6964");
    for end in 0..key.len() {
        assert!(TxnRecord::decode(Some(key[..end].to_vec().into()), None).is_err());
    }
    assert_eq!(TxnRecord::decode(None, None), Err(RecordError::NoKey));
    for (_, hex) in golden() {
        let whole = bytes(hex);
        let longer = [whole.clone(), vec![0]].concat();
        for wrong in (0..whole.len())
            .map(|end| whole[..end].to_vec())
            .chain([longer])
        {
            let decoded = TxnRecord::decode(Some(key.clone().into()), Some(wrong.clone().into()));
            assert!(decoded.is_err(), "{wrong:?}");
        }
    }
}

#[test]
fn future_versions_are_passed_over_and_unknown_states_are_not() {
    let key = bytes("000000056d792d6964");
    let newer_key = bytes("000100056d792d6964");
    assert_eq!(TxnRecord::decode(Some(newer_key.into()), None), Ok(None));
    let newer = bytes("0002ff");
    let decoded = TxnRecord::decode(Some(key.clone().into()), Some(newer.into()));
    assert_eq!(decoded, Ok(None));
    let mut value = bytes(golden()[3].1);
    value[16] = 8;
    let decoded = TxnRecord::decode(Some(key.into()), Some(value.into()));
    assert_eq!(decoded, Err(RecordError::State(8)));
}

#[test]
fn an_unknown_tag_is_passed_over() {
    let key = bytes("000000056d792d6964");
    let mut value = bytes(golden()[4].1);
    assert_eq!(value.pop(), Some(0));
    value.extend([1, 9, 2, 7, 7]);
    let decoded = TxnRecord::decode(Some(key.into()), Some(value.into()));
    let record = decoded.expect("it decodes").expect("it is known");
    assert_eq!(record.value, Some(golden()[4].0.clone()));
}
