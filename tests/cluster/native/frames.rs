//! Raw frames: steering, the rules of Produce, credits, and what is refused with a word.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use ringlog::client::ClientError;
use ringlog::client::native::{NativeClient, NativeOptions};
use ringlog::protocol::ErrorCode;
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, EndMarker, Producer};
use ringlog::rt;
use ringlog::types::{ProducerEpoch, ProducerId};
use ringlog::wire::*;

use crate::{groups, transactions};

use super::{Both, NOW, Raw, batch, frame_bytes, hello, kafka_numbers, numbers, subscribe};

#[test]
fn a_connection_is_handed_to_the_shard_it_asks_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let topic_id = both.create("steered", 8);
    for wanted in [0, 1, 0, 1, 1, 0] {
        let mut raw = Raw::connect(both.native);
        let welcome = raw.greet(Some(wanted));
        assert_eq!((welcome.shard, welcome.shards_count), (wanted, 2));
        // However often it is named, a topic is told once.
        let mut topics = vec!["steered".to_owned(); 20_000];
        topics.push("nowhere".into());
        let request = MetadataRequestV1 {
            topics: Some(topics),
        };
        raw.send(2, &request, b"");
        let frame = raw.receive().expect("an answer");
        let answer = frame.read_owned::<MetadataResponseV1>().expect("an answer");
        assert_eq!(answer.endpoints[0].port, both.native.port());
        let told: Vec<_> = answer.topics.iter().map(|t| (&*t.name, t.error)).collect();
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(told, [("nowhere", unknown), ("steered", 0)]);
        let topic = &answer.topics[1];
        assert_eq!((topic.id, topic.partitions.len()), (topic_id, 8));
        let of_each: Vec<usize> = [0, 1]
            .map(|shard| topic.partitions.iter().filter(|p| p.shard == shard).count())
            .to_vec();
        assert_eq!(of_each, [4, 4], "the owners are told, and balanced");
        let number = wanted as u64;
        for partition in 0..8 {
            let answer = raw.produce(topic_id, &[(partition, batch(&[number], None, 8))]);
            assert_eq!(answer[0].error, 0, "every shard serves every partition");
        }
    }
    let welcome = Raw::connect(both.native).greet(Some(999));
    assert!(
        welcome.shard < 2,
        "a shard that is not there is not waited for"
    );
}

#[test]
fn the_rules_are_those_of_kafkas_wire() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &["message.max.bytes=10000"]);
    let topic_id = both.create("ruled", 2);
    let mut raw = both.raw();
    let code = |rows: Vec<ProducedV1>| rows.into_iter().map(|row| row.error).collect::<Vec<_>>();
    let producer = |base_sequence| {
        Some(Producer {
            id: ProducerId(4242),
            epoch: ProducerEpoch(0),
            base_sequence,
        })
    };
    let first = batch(&[0, 1], producer(0), 8);
    let second = batch(&[2, 3], producer(2), 8);
    // Several batches of one partition in one request are appended in their order.
    let rows = raw.produce(
        topic_id,
        &[
            (0, first.clone()),
            (0, second.clone()),
            (1, batch(&[9], None, 8)),
        ],
    );
    let offsets: Vec<_> = rows
        .iter()
        .map(|row| (row.error, row.base_offset))
        .collect();
    assert_eq!(offsets, [(0, 0), (0, 2), (0, 0)]);
    let rows = raw.produce(topic_id, &[(0, second)]);
    assert_eq!(
        (rows[0].error, rows[0].base_offset),
        (0, 2),
        "a second try is not appended again"
    );
    let gap = batch(&[7], producer(100), 8);
    assert_eq!(
        code(raw.produce(topic_id, &[(0, gap)])),
        [ErrorCode::OutOfOrderSequenceNumber.code()]
    );
    let large = batch(&[5], None, 20_000);
    let mut broken = batch(&[6], None, 8).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let rows = raw.produce(
        topic_id,
        &[
            (0, large),
            (0, Bytes::from(broken)),
            (5, batch(&[1], None, 8)),
            (-1, batch(&[1], None, 8)),
            (1, batch(&[10], None, 8)),
        ],
    );
    let wanted = [
        ErrorCode::MessageTooLarge,
        ErrorCode::CorruptMessage,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::None,
    ];
    assert_eq!(code(rows), wanted.map(ErrorCode::code));
    let unknown = raw.produce([9; 16], &[(0, batch(&[1], None, 8))]);
    assert_eq!(code(unknown), [ErrorCode::UnknownTopicId.code()]);
    let mut builder = BatchBuilder::new(Codec::None, 64);
    builder.append(*NOW, None, Some(b"x"), &[]);
    let seal = BatchSeal {
        producer: producer(4),
        is_transactional: true,
        ..BatchSeal::default()
    };
    let transactional = builder.build(&seal, &mut Codecs::new());
    let refused = ErrorCode::TransactionalIdAuthorizationFailed.code();
    assert_eq!(
        code(raw.produce(topic_id, &[(0, transactional)])),
        [refused]
    );
    let mut kafka = both.broker.client();
    assert_eq!(kafka_numbers(&mut kafka, "ruled", 0), [0, 1, 2, 3]);
    assert_eq!(kafka_numbers(&mut kafka, "ruled", 1), [9, 10]);
}

/// The native listener is no way around what Kafka's refuses.
#[test]
fn what_only_coordinators_write_is_refused_to_clients() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let topic_id = both.create("guarded", 1);
    let mut kafka = both.broker.client();
    groups::coordinator(&mut kafka, "made");
    let offsets = kafka
        .topic("__consumer_offsets")
        .expect("it was made")
        .topic_id
        .0;
    let mut raw = both.raw();
    let mut refused = |topic_id, records: Bytes| {
        let rows = raw.produce(topic_id, &[(0, records)]);
        assert_eq!(rows[0].base_offset, -1);
        ErrorCode::from_code(rows[0].error).expect("a code of Kafka's")
    };
    let plain = batch(&[1], None, 8);
    assert_eq!(
        refused(offsets, plain.clone()),
        ErrorCode::InvalidTopicException
    );
    let marker = EndMarker {
        committed: true,
        coordinator_epoch: 0,
    };
    let producer = (ProducerId(1), ProducerEpoch(0));
    let control = marker.batch(producer, *NOW, &mut Codecs::new());
    assert_eq!(
        refused(topic_id, control),
        ErrorCode::TransactionalIdAuthorizationFailed
    );
    // Only the first of a row's batches is looked at for its transaction: there is no second.
    let transactional = transactions::batch(7, 0, 1, true);
    let both_in_one = Bytes::from([plain, transactional].concat());
    assert_eq!(refused(topic_id, both_in_one), ErrorCode::InvalidRecord);
    assert_eq!(refused(topic_id, Bytes::new()), ErrorCode::InvalidRecord);
    assert_eq!(
        kafka_numbers(&mut kafka, "guarded", 0),
        Vec::<u64>::new(),
        "nothing was written"
    );
}

#[test]
fn a_stream_goes_as_far_as_its_credits_and_ends_where_an_error_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let topic_id = both.create("credits", 1);
    let mut raw = both.raw();
    for number in 0..10 {
        raw.produce(topic_id, &[(0, batch(&[number], None, 1_000))]);
    }
    let next = |raw: &mut Raw| {
        let frame = raw.receive().expect("a frame");
        assert_eq!(frame.correlation, 5);
        let control = frame.read_owned::<BatchesV1>().expect("Batches");
        (control, numbers(&frame.body))
    };
    let quiet = Duration::from_millis(300);
    raw.send(5, &subscribe(topic_id, 1, &[0]), b"");
    let (control, read) = next(&mut raw);
    assert_eq!(
        (control.error, control.high_watermark, read),
        (0, 10, vec![0])
    );
    assert!(raw.is_silent(quiet), "the credits are spent");
    raw.send(
        0,
        &CreditsV1 {
            stream: 5,
            bytes: 1,
        },
        b"",
    );
    assert!(
        raw.is_silent(quiet),
        "one byte does not pay for what was sent"
    );
    raw.send(
        0,
        &CreditsV1 {
            stream: 5,
            bytes: 1_500,
        },
        b"",
    );
    assert_eq!(next(&mut raw).1, [1]);
    assert!(raw.is_silent(quiet));
    raw.send(
        0,
        &CreditsV1 {
            stream: 5,
            bytes: u64::MAX,
        },
        b"",
    );
    let mut read = Vec::new();
    while read.len() < 8 {
        read.extend(next(&mut raw).1);
    }
    assert_eq!(read, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(raw.is_silent(quiet), "there is no more");
    raw.send(0, &UnsubscribeV1 { stream: 5 }, b"");
    raw.produce(topic_id, &[(0, batch(&[10], None, 8))]);
    assert!(raw.is_silent(quiet), "what was ended pushes nothing");
    // Offsets out of range take the partition out of its stream, and the connection serves on.
    raw.send(5, &subscribe(topic_id, 1 << 20, &[99]), b"");
    assert_eq!(next(&mut raw).0.error, ErrorCode::OffsetOutOfRange.code());
    raw.send(5, &subscribe(topic_id, 1 << 20, &[10]), b"");
    assert_eq!(next(&mut raw).1, [10]);
    // Two partitions of which one does not exist: the other is served.
    raw.send(0, &UnsubscribeV1 { stream: 5 }, b"");
    raw.send(5, &subscribe(topic_id, 1 << 20, &[10, 0]), b"");
    let mut told = [next(&mut raw), next(&mut raw)];
    told.sort_by_key(|(control, _)| control.index);
    assert_eq!(told[0].1, [10]);
    assert_eq!(told[1].0.error, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn a_stream_of_what_is_committed_waits_for_the_end_of_a_transaction() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), transactions::UNVERIFIED);
    let topic_id = both.create(transactions::TOPIC, 1);
    let mut kafka = both.broker.client();
    let written = transactions::batch(7, 0, 2, true);
    let answer = transactions::produce(&mut kafka, Some("x"), written);
    assert_eq!(answer, (ErrorCode::None, 0));
    let (mut committed, mut all) = (both.raw(), both.raw());
    let request = subscribe(topic_id, 1 << 20, &[0]);
    all.send(5, &request, b"");
    let frame = all.receive().expect("what is not committed yet");
    let told = frame.read_owned::<BatchesV1>().expect("Batches");
    assert_eq!((told.high_watermark, told.last_stable_offset), (2, 0));
    assert!(told.aborted.is_empty());
    let isolated = SubscribeV1 {
        isolation: 1,
        ..request
    };
    committed.send(5, &isolated, b"");
    assert!(committed.is_silent(Duration::from_millis(300)));
    let marked = transactions::mark(&mut kafka, 7, 0, false);
    assert_eq!(marked, ErrorCode::None);
    let frame = committed.receive().expect("the transaction has ended");
    let told = frame.read_owned::<BatchesV1>().expect("Batches");
    assert_eq!((told.high_watermark, told.last_stable_offset), (3, 3));
    let aborted = AbortedV1 {
        producer_id: 7,
        first_offset: 0,
    };
    assert_eq!(told.aborted, [aborted]);
}

#[test]
fn what_cannot_be_served_is_answered_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let topic_id = both.create("answered", 1);
    let mut raw = both.raw();
    // A kind of the future, with a body: skipped by its lengths.
    let mut unknown = frame_bytes(40, &UnsubscribeV1 { stream: 1 }, b"body");
    unknown[6..8].copy_from_slice(&999u16.to_le_bytes());
    reseal(&mut unknown);
    raw.stream.write_all(&unknown).unwrap();
    let (correlation, error) = raw.error();
    assert_eq!(
        (correlation, error.code, error.closes),
        (40, ErrorCode::UnsupportedVersion.code(), false)
    );
    assert!(error.message.contains("999"), "{}", error.message);
    // A version of the future, and kinds that a broker does not serve to clients.
    let mut newer = frame_bytes(41, &UnsubscribeV1 { stream: 1 }, b"");
    newer[8..10].copy_from_slice(&2u16.to_le_bytes());
    reseal(&mut newer);
    raw.stream.write_all(&newer).unwrap();
    assert_eq!(raw.error().1.code, ErrorCode::UnsupportedVersion.code());
    let ack = ReplicaAckV1 {
        credit_bytes: 1,
        partitions: Vec::new(),
    };
    raw.send(42, &ack, b"");
    assert_eq!(
        (raw.error().1.code, 42),
        (ErrorCode::UnsupportedVersion.code(), 42)
    );
    raw.send(43, &hello(None), b"");
    assert_eq!(raw.error().1.code, ErrorCode::InvalidRequest.code());
    // Lengths that do not add up, isolation levels and acks that are none, streams of nothing.
    let produce = |acks, bytes| ProduceRequestV1 {
        acks,
        timeout_ms: 30_000,
        batches: vec![ProduceBatchV1 {
            topic_id,
            partition: 0,
            bytes,
        }],
    };
    for (acks, bytes, code) in [
        (-1, 3, ErrorCode::InvalidRequest),
        (-1, 5, ErrorCode::InvalidRequest),
        (-1, u32::MAX, ErrorCode::InvalidRequest),
        (2, 4, ErrorCode::InvalidRequiredAcks),
    ] {
        raw.send(44, &produce(acks, bytes), b"abcd");
        let (correlation, error) = raw.error();
        assert_eq!(
            (correlation, error.code),
            (44, code.code()),
            "{}",
            error.message
        );
    }
    raw.send(45, &subscribe(topic_id, 1, &[]), b"");
    assert_eq!(raw.error().1.code, ErrorCode::InvalidRequest.code());
    raw.send(
        46,
        &SubscribeV1 {
            isolation: 9,
            ..subscribe(topic_id, 1, &[0])
        },
        b"",
    );
    assert_eq!(raw.error().1.code, ErrorCode::InvalidRequest.code());
    for count in [0, 1001] {
        raw.send(47, &ProducerIdsRequestV1 { count }, b"");
        assert_eq!(raw.error().1.code, ErrorCode::InvalidRequest.code());
    }
    raw.send(48, &ProducerIdsRequestV1 { count: 3 }, b"");
    let ids = raw
        .receive()
        .unwrap()
        .read_owned::<ProducerIdsResponseV1>()
        .unwrap();
    assert_eq!((ids.error, ids.ids.len()), (0, 3));
    assert!(ids.ids.windows(2).all(|pair| pair[0] < pair[1]));
    let answer = raw.produce(topic_id, &[(0, batch(&[1], None, 8))]);
    assert_eq!(answer[0].error, 0, "after all that it serves");
}

#[test]
fn handshakes_that_cannot_be_are_refused_with_a_word() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let refused = |hello: HelloV1| {
        let mut raw = Raw::connect(both.native);
        raw.send(3, &hello, b"");
        let (correlation, error) = raw.error();
        assert_eq!((correlation, error.closes), (3, true));
        assert!(raw.receive().is_none(), "the connection is closed");
        ErrorCode::from_code(error.code).unwrap()
    };
    let elsewhere = HelloV1 {
        cluster_id: Some("elsewhere".into()),
        ..hello(None)
    };
    assert_eq!(refused(elsewhere), ErrorCode::InconsistentClusterId);
    let authentication = AuthenticationV1 {
        mechanism: "PLAIN".into(),
        data: b"\0u\0p".to_vec(),
    };
    let plain = HelloV1 {
        authentication: Some(authentication),
        ..hello(None)
    };
    assert_eq!(refused(plain), ErrorCode::UnsupportedSaslMechanism);
    // A handshake by Kafka's wire is told from the first four bytes.
    let mut raw = Raw::connect(both.native);
    raw.stream
        .write_all(b"\0\0\0\x10\0\x12\0\x03\0\0\0\x01")
        .unwrap();
    assert_eq!(raw.error().1.code, ErrorCode::InvalidRequest.code());
    assert!(raw.receive().is_none());
    // Nothing but a Hello opens a connection.
    let mut raw = Raw::connect(both.native);
    raw.send(9, &ProducerIdsRequestV1 { count: 1 }, b"");
    assert!(raw.error().1.closes);
    // A client that speaks nothing of ours is welcome, and is told so request by request.
    let mut raw = Raw::connect(both.native);
    raw.send(
        1,
        &HelloV1 {
            ranges: Vec::new(),
            ..hello(None)
        },
        b"",
    );
    raw.receive().unwrap().read::<WelcomeV1>().unwrap();
    raw.send(2, &ProducerIdsRequestV1 { count: 1 }, b"");
    assert_eq!(raw.error().1.code, ErrorCode::UnsupportedVersion.code());
    let wrong = rt::run_local(async move {
        let kafka = both.broker.address.to_string();
        let opened = NativeClient::connect(&[kafka], NativeOptions::default()).await;
        opened.err().map(|error| (error, both))
    });
    let (error, _both) = wrong.unwrap().expect("Kafka's listener is no native one");
    assert!(
        matches!(
            error,
            ClientError::Closed { .. } | ClientError::Protocol { .. }
        ),
        "{error}"
    );
}
