//! Goal: what readers of transactions see over the wire, across `kill -9` and a clean stop, and what lies on disk then.
//!
//! Method: batches and markers written as a producer and a coordinator would, without verification, so that no
//! coordinator is needed; every expected number is what Kafka 4.3.1 answered or follows from the offsets.

use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ringlog::protocol::describe_producers::{
    DescribeProducersRequest, ProducerState, TopicRequest,
};
use ringlog::protocol::fetch::{FetchRequest, PartitionData};
use ringlog::protocol::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ringlog::protocol::{ErrorCode, Records};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, Producer};
use ringlog::types::{ProducerEpoch, ProducerId, Str, Timestamp};

use crate::broker::{Broker, free_port};
use crate::wire::{Client, fetch_request};

pub const TOPIC: &str = "transactions";
pub const UNVERIFIED: &[&str] = &["transaction.partition.verification.enable=false"];

pub fn batch(id: i64, base_sequence: i32, count: i32, is_transactional: bool) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    // Of now, as the markers are: a marker a week younger than its segment begins another one.
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let now = Timestamp(since.as_millis() as i64);
    for _ in 0..count {
        builder.append(now, None, Some(b"value"), &[]);
    }
    let producer = Producer {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        base_sequence,
    };
    let seal = BatchSeal {
        producer: Some(producer),
        is_transactional,
        ..BatchSeal::default()
    };
    builder.build(&seal, &mut Codecs::new())
}

/// Error and base offset.
pub fn produce(
    client: &mut Client,
    transactional_id: Option<&str>,
    batch: Bytes,
) -> (ErrorCode, i64) {
    let data = PartitionProduceData {
        index: 0,
        records: Some(Records::Bytes(batch)),
    };
    let request = ProduceRequest {
        transactional_id: transactional_id.map(Str::from),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![data],
            ..Default::default()
        }],
    };
    let mut answer = client.call(9, &request).expect("answered");
    let mut topic = answer.responses.pop().expect("one topic");
    let row = topic.partition_responses.pop().expect("one partition");
    let error = ErrorCode::from_code(row.error_code).expect("a code of Kafka's");
    (error, row.base_offset)
}

pub fn mark(client: &mut Client, id: i64, coordinator_epoch: i32, commit: bool) -> ErrorCode {
    let marker = WritableTxnMarker {
        producer_id: id,
        producer_epoch: 0,
        transaction_result: commit,
        topics: vec![WritableTxnMarkerTopic {
            name: TOPIC.into(),
            partition_indexes: vec![0],
        }],
        coordinator_epoch,
        transaction_version: 0,
    };
    let request = WriteTxnMarkersRequest {
        markers: vec![marker],
    };
    let answer = client.call(1, &request).expect("answered");
    let code = answer.markers[0].topics[0].partitions[0].error_code;
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

/// Writes records that must be taken. Their base offset.
pub fn write(
    client: &mut Client,
    id: i64,
    base_sequence: i32,
    count: i32,
    is_transactional: bool,
) -> i64 {
    let written = batch(id, base_sequence, count, is_transactional);
    let (error, offset) = produce(client, is_transactional.then_some("x"), written);
    assert_eq!(error, ErrorCode::None);
    offset
}

/// Ends a transaction, which must be done.
pub fn end(client: &mut Client, id: i64, commit: bool) {
    assert_eq!(mark(client, id, 0, commit), ErrorCode::None);
}

fn fetch(client: &mut Client, offset: i64, committed: bool, wait_ms: i32) -> PartitionData {
    let request = FetchRequest {
        isolation_level: i8::from(committed),
        ..fetch_request(TOPIC, 0, offset, 1 << 20, wait_ms)
    };
    let mut answer = client.call(12, &request).expect("answered");
    let mut topic = answer.responses.pop().expect("one topic");
    topic.partitions.pop().expect("one partition")
}

/// The offset after the last batch read; `None` if nothing was.
fn end_of(data: &PartitionData) -> Option<i64> {
    let Some(Records::Bytes(bytes)) = &data.records else {
        return None;
    };
    let batches = ringlog::record::split(bytes);
    let ends = batches.map(|batch| batch.expect("whole").header.next_offset().0);
    ends.last()
}

fn aborted(data: &PartitionData) -> Vec<(i64, i64)> {
    let aborted = data.aborted_transactions.iter().flatten();
    aborted.map(|a| (a.producer_id, a.first_offset)).collect()
}

fn producers(client: &mut Client) -> Vec<ProducerState> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: TOPIC.into(),
            partition_indexes: vec![0],
        }],
    };
    let mut answer = client.call(0, &request).expect("answered");
    answer
        .topics
        .pop()
        .expect("one")
        .partitions
        .pop()
        .expect("one")
        .active_producers
}

#[test]
fn readers_see_transactions_as_kafkas_readers_do() {
    let dir = tempfile::tempdir().expect("a place for the data");
    let port = free_port();
    let mut broker = Broker::start_with(port, dir.path(), UNVERIFIED);
    let mut client = broker.client();
    client.create_topic(TOPIC, 1).expect("created");
    let id = Some("t");
    assert_eq!(
        produce(&mut client, id, batch(1, 0, 3, true)),
        (ErrorCode::None, 0)
    );
    assert_eq!(
        produce(&mut client, id, batch(2, 0, 2, true)),
        (ErrorCode::None, 3)
    );

    let data = fetch(&mut client, 0, true, 0);
    assert_eq!((data.last_stable_offset, data.high_watermark), (0, 5));
    assert_eq!(end_of(&data), None, "nothing is stable");
    assert_eq!(data.aborted_transactions, Some(Vec::new()));
    let data = fetch(&mut client, 0, false, 0);
    assert_eq!((end_of(&data), data.aborted_transactions), (Some(5), None));

    let refused = |error| (error, -1);
    let plain = produce(&mut client, None, batch(1, 3, 1, false));
    assert_eq!(plain, refused(ErrorCode::InvalidTxnState));
    let nameless = produce(&mut client, None, batch(1, 3, 1, true));
    assert_eq!(
        nameless,
        refused(ErrorCode::TransactionalIdAuthorizationFailed)
    );

    // A reader that waits is woken by the end of the first transaction.
    let mut reader = broker.client();
    let waiting = thread::spawn(move || {
        let since = Instant::now();
        (fetch(&mut reader, 0, true, 15_000), since.elapsed())
    });
    thread::sleep(Duration::from_millis(200));
    assert_eq!(mark(&mut client, 1, 7, false), ErrorCode::None);
    let (data, waited) = waiting.join().expect("answered");
    assert!(waited < Duration::from_secs(5), "woken after {waited:?}");
    assert_eq!((end_of(&data), data.last_stable_offset), (Some(3), 3));
    assert_eq!(aborted(&data), [(1, 0)]);

    assert_eq!(
        mark(&mut client, 1, 6, false),
        ErrorCode::TransactionCoordinatorFenced
    );
    assert_eq!(mark(&mut client, 2, 7, true), ErrorCode::None);
    assert_eq!(
        produce(&mut client, id, batch(1, 3, 1, true)),
        (ErrorCode::None, 7)
    );
    let told = producers(&mut client);
    let open: Vec<_> = told
        .iter()
        .map(|p| {
            (
                p.producer_id,
                p.coordinator_epoch,
                p.current_txn_start_offset,
            )
        })
        .collect();
    assert_eq!(open, [(1, 7, 7), (2, 7, -1)]);

    broker.kill();
    let mut broker = Broker::start_with(port, dir.path(), UNVERIFIED);
    let mut client = broker.client();
    client.led(TOPIC, 1).expect("led");
    let all = |client: &mut Client| {
        let data = fetch(client, 0, true, 0);
        assert_eq!((end_of(&data), data.last_stable_offset), (Some(7), 7));
        assert_eq!(aborted(&data), [(1, 0)]);
        let later = fetch(client, 6, true, 0);
        assert_eq!((end_of(&later), aborted(&later)), (Some(7), vec![]));
    };
    all(&mut client);
    assert_eq!(producers(&mut client), told);

    broker.signal(libc::SIGTERM);
    broker.wait(Duration::from_secs(20));
    let index = dir
        .path()
        .join(format!("{TOPIC}-0/00000000000000000000.txnindex"));
    let mut expected = vec![0, 0];
    for field in [1_i64, 0, 5, 3] {
        expected.extend_from_slice(&field.to_be_bytes());
    }
    assert_eq!(fs::read(&index).expect("the index is there"), expected);

    // An index that is lost or spoilt is built again from the log.
    for spoilt in [Vec::new(), vec![0xff; 34]] {
        fs::write(&index, spoilt).expect("it can be written");
        let mut broker = Broker::start_with(port, dir.path(), UNVERIFIED);
        let mut client = broker.client();
        client.led(TOPIC, 1).expect("led");
        all(&mut client);
        broker.signal(libc::SIGTERM);
        broker.wait(Duration::from_secs(20));
    }
}
