//! Transactions from end to end over the real wire: a producer's records and its group's offsets become visible together
//! or not at all, also when the broker is killed right after the decision.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::add_offsets_to_txn::AddOffsetsToTxnRequest;
use ringlog::protocol::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ringlog::protocol::describe_transactions::DescribeTransactionsRequest;
use ringlog::protocol::end_txn::{EndTxnRequest, EndTxnResponse};
use ringlog::protocol::fetch::{AbortedTransaction, FetchRequest, PartitionData};
use ringlog::protocol::find_coordinator::FindCoordinatorRequest;
use ringlog::protocol::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ringlog::protocol::list_transactions::ListTransactionsRequest;
use ringlog::protocol::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ringlog::protocol::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ringlog::protocol::{Records, Request};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, Producer, records, split};
use ringlog::types::{ProducerEpoch, ProducerId, Str, Timestamp};

use crate::broker::{Broker, free_port};
use crate::wire::{Client, fetch_request};

const TOPIC: &str = "ledger";
const GROUP: &str = "readers";
const OVERRIDES: &[&str] = &[
    "num.shards=2",
    "offsets.topic.num.partitions=3",
    "transaction.state.log.num.partitions=3",
];

/// What clients of either kind of transactions send (KIP-890).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    V1,
    V2,
}

struct Writer {
    id: &'static str,
    kind: Kind,
    producer_id: i64,
    epoch: i16,
    sequence: i32,
}

/// Asks until the answer is none of the errors that pass: loading, no coordinator yet, markers under way.
fn patiently<R: Request>(
    client: &mut Client,
    version: i16,
    request: &R,
    error: impl Fn(&R::Response) -> i16,
) -> R::Response {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.call(version, request).expect("answered");
        let code = error(&answer);
        if !matches!(code, 14 | 15 | 16 | 51) {
            return answer;
        }
        assert!(Instant::now() < deadline, "still error {code}");
    }
}

fn start(port: u16, dir: &Path) -> Broker {
    Broker::start_with(port, dir, OVERRIDES)
}

fn find(client: &mut Client, key: &str, key_type: i8) {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![key.into()],
        ..Default::default()
    };
    let answer = patiently(client, 4, &request, |a| a.coordinators[0].error_code);
    assert_eq!(answer.coordinators[0].error_code, 0);
}

fn init(client: &mut Client, id: &str) -> InitProducerIdResponse {
    find(client, id, 1);
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let answer = patiently(client, 4, &request, |a| a.error_code);
    assert_eq!(answer.error_code, 0, "InitProducerId of {id}");
    answer
}

impl Writer {
    fn new(client: &mut Client, id: &'static str, kind: Kind) -> Writer {
        let given = init(client, id);
        Writer {
            id,
            kind,
            producer_id: given.producer_id,
            epoch: given.producer_epoch,
            sequence: 0,
        }
    }

    fn batch(&self, value: &str) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None, 1024);
        builder.append(
            Timestamp(1_700_000_000_000),
            None,
            Some(value.as_bytes()),
            &[],
        );
        let seal = BatchSeal {
            producer: Some(Producer {
                id: ProducerId(self.producer_id),
                epoch: ProducerEpoch(self.epoch),
                base_sequence: self.sequence,
            }),
            is_transactional: true,
            ..BatchSeal::default()
        };
        builder.build(&seal, &mut Codecs::new())
    }

    /// Writes one record; the error of its partition.
    fn produce(&mut self, client: &mut Client, value: &str) -> i16 {
        let request = ProduceRequest {
            transactional_id: Some(self.id.into()),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(Records::Bytes(self.batch(value))),
                }],
                ..Default::default()
            }],
        };
        let version = if self.kind == Kind::V2 { 12 } else { 9 };
        let answer = patiently(client, version, &request, |a| {
            a.responses[0].partition_responses[0].error_code
        });
        let error = answer.responses[0].partition_responses[0].error_code;
        self.sequence += i32::from(error == 0);
        error
    }

    fn add_partition(&self, client: &mut Client) {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.into(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: TOPIC.into(),
                partitions: vec![0],
            }],
            ..Default::default()
        };
        let code = |a: &ringlog::protocol::add_partitions_to_txn::AddPartitionsToTxnResponse| {
            a.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        };
        let answer = patiently(client, 3, &request, code);
        assert_eq!(code(&answer), 0, "AddPartitionsToTxn");
    }

    fn commit_offset(&self, client: &mut Client, offset: i64) -> i16 {
        if self.kind == Kind::V1 {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.id.into(),
                producer_id: self.producer_id,
                producer_epoch: self.epoch,
                group_id: GROUP.into(),
            };
            let answer = patiently(client, 3, &request, |a| a.error_code);
            assert_eq!(answer.error_code, 0, "AddOffsetsToTxn");
        }
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.into(),
            group_id: GROUP.into(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: TOPIC.into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: None,
                }],
            }],
            ..Default::default()
        };
        let version = if self.kind == Kind::V2 { 5 } else { 3 };
        let answer = patiently(client, version, &request, |a| {
            a.topics[0].partitions[0].error_code
        });
        answer.topics[0].partitions[0].error_code
    }

    fn end(&mut self, client: &mut Client, committed: bool) {
        let request = EndTxnRequest {
            transactional_id: self.id.into(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed,
        };
        let version = if self.kind == Kind::V2 { 5 } else { 3 };
        let answer: EndTxnResponse = patiently(client, version, &request, |a| a.error_code);
        assert_eq!(answer.error_code, 0, "EndTxn");
        if self.kind == Kind::V2 {
            assert!(
                (answer.producer_id, answer.producer_epoch) > (self.producer_id, self.epoch),
                "every end bumps the epoch"
            );
            (self.producer_id, self.epoch) = (answer.producer_id, answer.producer_epoch);
            self.sequence = 0;
        }
    }
}

/// What one Fetch of a reader of what is committed brings.
fn fetch(client: &mut Client, offset: i64) -> PartitionData {
    let request = FetchRequest {
        isolation_level: 1,
        ..fetch_request(TOPIC, 0, offset, 1 << 20, 0)
    };
    let mut answer = client.call(12, &request).expect("answered");
    let topic = answer.responses.pop();
    topic
        .and_then(|mut topic| topic.partitions.pop())
        .expect("one partition")
}

/// Values visible to readers of what is committed, markers and aborted records left out.
fn visible(client: &mut Client) -> Vec<String> {
    let mut codecs = Codecs::new();
    let mut open: Vec<i64> = Vec::new();
    let mut values = Vec::new();
    let mut offset = 0;
    loop {
        let data = fetch(client, offset);
        let bytes = match data.records {
            Some(Records::Bytes(bytes)) if !bytes.is_empty() => bytes,
            _ => return values,
        };
        let aborted = data.aborted_transactions.unwrap_or_default();
        for batch in split(&bytes) {
            let batch = batch.expect("whole");
            let producer = batch.header.producer_id().0;
            let starts = |a: &&AbortedTransaction| {
                a.producer_id == producer && a.first_offset == batch.header.base_offset().0
            };
            open.extend(aborted.iter().find(starts).map(|a| a.producer_id));
            offset = batch.header.next_offset().0;
            if batch.header.is_control() {
                open.retain(|id| *id != producer);
            } else if !open.contains(&producer) {
                let found = records(batch.bytes, 1 << 20, &mut codecs).expect("well formed");
                for record in found {
                    let value = record.expect("well formed").value.expect("a value");
                    values.push(String::from_utf8_lossy(value).into_owned());
                }
            }
        }
    }
}

/// The group's stable offset.
fn committed(client: &mut Client) -> i64 {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = patiently(client, 8, &request, |a| a.groups[0].error_code);
        let row = &answer.groups[0].topics[0].partitions[0];
        match row.error_code {
            0 => return row.committed_offset,
            88 => assert!(Instant::now() < deadline, "the offset stays unstable"),
            other => panic!("offset: {other}"),
        }
    }
}

/// Waits until readers see just these values: markers follow the answer of EndTxn.
fn sees(client: &mut Client, expected: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let values = visible(client);
        if values == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{values:?}, not {expected:?}");
    }
}

fn records_and_offsets_go_together(kind: Kind) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let mut broker = start(port, dir.path());
    let mut client = broker.client();
    client.create_topic(TOPIC, 1).expect("set-up");
    find(&mut client, GROUP, 0);
    let mut writer = Writer::new(&mut client, "writer", kind);
    let step = |writer: &mut Writer, client: &mut Client, value: &str, offset, commit| {
        if kind == Kind::V1 {
            writer.add_partition(client);
        }
        assert_eq!(writer.produce(client, value), 0, "{value}");
        assert_eq!(writer.commit_offset(client, offset), 0, "{value}");
        writer.end(client, commit);
    };
    step(&mut writer, &mut client, "one", 10, true);
    sees(&mut client, &["one"]);
    assert_eq!(committed(&mut client), 10);
    step(&mut writer, &mut client, "two", 20, false);
    sees(&mut client, &["one"]);
    assert_eq!(committed(&mut client), 10, "an aborted offset is none");
    // Killed right after the decision was answered: its markers are written all the same.
    step(&mut writer, &mut client, "three", 30, true);
    broker.kill();
    broker = start(port, dir.path());
    let mut client = broker.client();
    sees(&mut client, &["one", "three"]);
    assert_eq!(committed(&mut client), 30);
    // Killed in the middle: the same id comes again, and what it left open is aborted.
    if kind == Kind::V1 {
        writer.add_partition(&mut client);
    }
    assert_eq!(writer.produce(&mut client, "four"), 0);
    broker.kill();
    broker = start(port, dir.path());
    let mut client = broker.client();
    let mut next = Writer::new(&mut client, "writer", kind);
    assert_ne!(
        (next.producer_id, next.epoch),
        (writer.producer_id, writer.epoch)
    );
    assert_ne!(
        writer.produce(&mut client, "zombie"),
        0,
        "the one before is fenced"
    );
    step(&mut next, &mut client, "five", 50, true);
    sees(&mut client, &["one", "three", "five"]);
    assert_eq!(committed(&mut client), 50);
    shown(&mut client);
    broker.assert_running();
}

/// The id is listed and described.
fn shown(client: &mut Client) {
    let listed = client
        .call(0, &ListTransactionsRequest::default())
        .expect("answered");
    assert_eq!(listed.error_code, 0);
    assert_eq!(listed.transaction_states.len(), 1);
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![Str::from("writer"), Str::from("nobody")],
    };
    let described = client.call(0, &request).expect("answered");
    let errors: Vec<i16> = described
        .transaction_states
        .iter()
        .map(|s| s.error_code)
        .collect();
    assert_eq!(errors, [0, 105]);
}

#[test]
fn records_and_offsets_go_together_as_clients_of_version_1_do_it() {
    records_and_offsets_go_together(Kind::V1);
}

#[test]
fn records_and_offsets_go_together_as_clients_of_version_2_do_it() {
    records_and_offsets_go_together(Kind::V2);
}
