//! How much each side takes of the other: what a Hello and a Welcome say is held to.

use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use ringlog::client::native::{
    NativeConnection, NativeConnectionOptions, NativeConsumer, NativeConsumerOptions,
    NativeProducer, NativeProducerOptions, Steering,
};
use ringlog::client::{ClientError, Place};
use ringlog::protocol::ErrorCode;
use ringlog::rt;
use ringlog::types::Offset;
use ringlog::wire::*;

use crate::transactions;

use super::{
    Both, NOW, Raw, batch, hello, kafka_numbers, native, numbers, read_numbers, subscribe,
};

/// A connection of a client that takes parts of these lengths.
fn greeted(both: &Both, control_bytes_max: u32, body_bytes_max: u32) -> Raw {
    let mut raw = Raw::connect(both.native);
    let hello = HelloV1 {
        control_bytes_max,
        body_bytes_max,
        ..hello(None)
    };
    raw.send(1, &hello, b"");
    let frame = raw.receive().expect("a Welcome");
    frame.read::<WelcomeV1>().expect("a Welcome");
    raw
}

fn next(raw: &mut Raw) -> (BatchesV1, Bytes) {
    let frame = raw.receive().expect("a frame");
    let control = frame.read_owned::<BatchesV1>().expect("Batches");
    (control, frame.body)
}

#[test]
fn no_body_is_longer_than_the_client_takes_and_a_batch_that_is_ends_its_partition_only() {
    const TAKES: u32 = 10_000;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let topic_id = both.create("bodies", 3);
    let mut writer = both.raw();
    for number in 0..20 {
        let rows = [0, 1, 2].map(|partition| {
            // One that is too long, in the midst of one partition.
            let bytes = if (partition, number) == (1, 7) {
                20_000
            } else {
                3_000
            };
            (partition, batch(&[number], None, bytes))
        });
        let answer = writer.produce(topic_id, &rows);
        assert!(answer.iter().all(|row| row.error == 0), "{answer:?}");
    }
    let mut raw = greeted(&both, 1 << 20, TAKES);
    raw.send(5, &subscribe(topic_id, 1 << 30, &[0, 0, 0]), b"");
    let (mut read, mut refused) = ([(); 3].map(|()| Vec::new()), 0);
    while read.iter().map(Vec::len).sum::<usize>() < 47 || refused == 0 {
        let (control, body) = next(&mut raw);
        assert!(body.len() <= TAKES as usize, "{} bytes", body.len());
        if control.error == 0 {
            read[control.index as usize].extend(numbers(&body));
            continue;
        }
        let told = (control.index, control.error, body.len());
        assert_eq!(told, (1, ErrorCode::MessageTooLarge.code(), 0));
        refused += 1;
    }
    let all: Vec<u64> = (0..20).collect();
    assert_eq!(read, [all.clone(), all[..7].to_vec(), all.clone()]);
    assert_eq!(refused, 1);
    // The connection serves on: behind it, and to a client that takes more, all of it.
    raw.send(6, &subscribe(topic_id, 1 << 20, &[20, 8]), b"");
    let mut behind = Vec::new();
    while behind.len() < 12 {
        let (control, body) = next(&mut raw);
        assert_eq!((control.index, control.error), (1, 0));
        behind.extend(numbers(&body));
    }
    assert_eq!(behind, all[8..]);
    let mut raw = greeted(&both, 1 << 20, 30_000);
    let mut request = subscribe(topic_id, 1 << 20, &[20, 7]);
    request.max_bytes = 1;
    raw.send(5, &request, b"");
    assert_eq!(numbers(&next(&mut raw).1), [7]);
}

#[test]
fn a_list_of_aborted_transactions_is_not_longer_than_the_client_takes() {
    const ABORTED: i64 = 300;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), transactions::UNVERIFIED);
    let topic_id = both.create(transactions::TOPIC, 1);
    let mut kafka = both.broker.client();
    for id in 0..ABORTED {
        transactions::write(&mut kafka, id, 0, 1, true);
        transactions::end(&mut kafka, id, false);
    }
    let request = SubscribeV1 {
        isolation: 1,
        ..subscribe(topic_id, 1 << 20, &[0])
    };
    for (takes, error) in [
        (4_000, ErrorCode::MessageTooLarge),
        (8_000, ErrorCode::None),
    ] {
        let mut raw = greeted(&both, takes, 1 << 20);
        raw.send(5, &request, b"");
        let (control, body) = next(&mut raw);
        assert_eq!(control.error, error.code(), "{takes}");
        let aborted = control.aborted.len() as i64;
        assert_eq!(aborted, if body.is_empty() { 0 } else { ABORTED });
        assert_eq!(body.is_empty(), error != ErrorCode::None);
    }
}

#[test]
fn who_does_not_take_a_welcome_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let mut raw = Raw::connect(both.native);
    let narrow = HelloV1 {
        control_bytes_max: 100,
        ..hello(None)
    };
    raw.send(3, &narrow, b"");
    let (correlation, error) = raw.error();
    let code = ErrorCode::MessageTooLarge.code();
    assert_eq!((correlation, error.code, error.closes), (3, code, true));
    assert!(error.message.contains("100"), "{}", error.message);
    assert!(raw.receive().is_none(), "the connection is closed");
    let mut raw = greeted(&both, 4_000, 0);
    raw.send(2, &ProducerIdsRequestV1 { count: 900 }, b"");
    assert_eq!(raw.error().1.code, ErrorCode::InvalidRequest.code());
    raw.send(3, &ProducerIdsRequestV1 { count: 1 }, b"");
    raw.receive().expect("it serves on");
}

/// A broker of one connection that takes short frames only, and does as it is told.
fn scripted<T: Send + 'static>(
    script: impl FnOnce(&mut Raw, SocketAddr) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let broker = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("a socket option");
        let mut raw = Raw::over(stream);
        let hello = raw.receive().expect("a Hello");
        let welcome = WelcomeV1 {
            software: "scripted".into(),
            software_version: "0".into(),
            cluster_id: "scripted".into(),
            node_id: 1,
            shard: 0,
            shards_count: 1,
            ranges: offer(Kind::CLIENT),
            control_bytes_max: CONTROL_MAX as u32,
            body_bytes_max: BODY_MAX as u32,
        };
        raw.send(hello.correlation, &welcome, b"");
        script(&mut raw, address)
    });
    (address, broker)
}

const CONTROL_MAX: usize = 1_000;
const BODY_MAX: usize = 10_000;

#[test]
fn what_the_broker_does_not_take_is_not_sent() {
    let (address, broker) = scripted(|raw, _| {
        let mut kinds = Vec::new();
        while let Some(frame) = raw.receive() {
            kinds.push((frame.kind, frame.body.len()));
            let answer = ProducerIdsResponseV1 {
                error: 0,
                ids: vec![7],
            };
            raw.send(frame.correlation, &answer, b"");
        }
        kinds
    });
    let produce = |bytes: usize| ProduceRequestV1 {
        acks: -1,
        timeout_ms: 1_000,
        batches: vec![ProduceBatchV1 {
            topic_id: [1; 16],
            partition: 0,
            bytes: bytes as u32,
        }],
    };
    rt::run_local(async move {
        let options = NativeConnectionOptions::default();
        let connection = NativeConnection::open(&address.to_string(), &options).await?;
        let takes = connection.takes();
        let told = (takes.control_bytes_max, takes.body_bytes_max);
        assert_eq!(told, (CONTROL_MAX, BODY_MAX));
        let is_told = |refused: Result<(), ClientError>, bytes_max: usize| {
            let error = refused.expect_err("it is longer than that");
            assert!(matches!(error, ClientError::Invalid(_)), "{error:?}");
            let wanted = format!("and the broker takes {bytes_max}");
            assert!(error.to_string().contains(&wanted), "{error}");
        };
        // Its pieces together are one too long.
        let pieces = [vec![0; BODY_MAX], vec![0]].map(Bytes::from);
        let refused = connection.submit(&produce(BODY_MAX + 1), pieces);
        is_told(refused.map(drop), BODY_MAX);
        let names = MetadataRequestV1 {
            topics: Some(vec!["a topic of some length".to_owned(); 50]),
        };
        is_told(connection.submit(&names, []).map(drop), CONTROL_MAX);
        let many = subscribe([1; 16], 1, &[0; 100]);
        is_told(connection.subscribe(&many).map(drop), CONTROL_MAX);
        // The connection is whole, and the correlations have no gap that an answer would stumble over.
        let body = Bytes::from(vec![0; BODY_MAX]);
        connection.submit(&produce(BODY_MAX), [body])?.await?;
        let ids: ProducerIdsResponseV1 =
            connection.call(&ProducerIdsRequestV1 { count: 1 }).await?;
        assert_eq!(ids.ids, [7]);
        Ok::<_, ClientError>(())
    })
    .expect("an executor")
    .expect("it is served");
    let kinds = broker.join().expect("the script ends");
    let wanted = [
        (Kind::ProduceRequest as u16, BODY_MAX),
        (Kind::ProducerIdsRequest as u16, 0),
    ];
    assert_eq!(kinds, wanted);
}

/// Options that ask for more in a request than the broker takes are no error: several go out.
#[test]
fn a_producers_requests_keep_to_what_the_broker_takes_and_a_batch_that_cannot_fails_it() {
    const EACH: u64 = 40;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &["socket.request.max.bytes=60000"]);
    both.create("narrow", 6);
    let address = both.native;
    let failed = rt::run_local(async move {
        let client = native(address, Steering::Anywhere).await;
        let open = async |batch_bytes| {
            let options = NativeProducerOptions {
                batch_bytes,
                linger: Duration::from_millis(50),
                ..NativeProducerOptions::default()
            };
            let opened = NativeProducer::open(client.clone(), "narrow", options).await;
            opened.expect("it is served")
        };
        let producer = open(20_000).await;
        for number in 0..EACH {
            for partition in 0..6 {
                let mut value = number.to_be_bytes().to_vec();
                value.resize(3_000, 7);
                let appended = producer.append(partition, *NOW, None, Some(&value), &[]);
                appended.expect("it has not failed");
            }
        }
        let stats = producer.flush().await.expect("all is taken");
        assert_eq!(stats.records_acked, 6 * EACH);
        let wide = open(100_000).await;
        let value = vec![7; 70_000];
        let appended = wide.append(0, *NOW, None, Some(&value), &[]);
        appended.expect("it is not sent yet");
        wide.flush().await.expect_err("no broker takes it")
    });
    let failed = failed.expect("an executor").to_string();
    assert!(failed.contains("the broker takes 60000"), "{failed}");
    let mut kafka = both.broker.client();
    for partition in 0..6 {
        let wanted: Vec<u64> = (0..EACH).collect();
        assert_eq!(kafka_numbers(&mut kafka, "narrow", partition), wanted);
    }
}

/// What was lost: batches that came spoilt, when the next frame of the same stream came whole.
#[test]
fn a_consumer_begins_its_stream_anew_where_it_brought_no_batches() {
    let numbered = |number: u64| {
        let mut bytes = batch(&[number], None, 8).to_vec();
        // The base offset is not under the checksum.
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let (address, broker) = scripted(move |raw, address| {
        let mut asked = Vec::new();
        while let Some(frame) = raw.receive() {
            match Kind::from_u16(frame.kind).expect("a kind that was offered") {
                Kind::MetadataRequest => raw.send(frame.correlation, &described(address), b""),
                Kind::Subscribe => {
                    let request = frame.read_owned::<SubscribeV1>().expect("a Subscribe");
                    let offset = request.partitions[0].offset;
                    asked.push(offset);
                    let pushed = BatchesV1 {
                        index: 0,
                        error: 0,
                        high_watermark: 3,
                        last_stable_offset: 3,
                        log_start: 0,
                        aborted: Vec::new(),
                    };
                    for number in offset as u64..3 {
                        let mut bytes = numbered(number);
                        if asked.len() == 1 && number == 1 {
                            bytes.pop();
                        }
                        raw.send(frame.correlation, &pushed, &bytes);
                    }
                }
                _ => {}
            }
        }
        asked
    });
    let read = rt::run_local(async move {
        let client = native(address, Steering::Anywhere).await;
        let options = NativeConsumerOptions::default();
        let from = Place::At(Offset(0));
        let opened = NativeConsumer::open(client, "spoilt", None, from, options);
        let mut consumer = opened.await.expect("it is served");
        let first = read_numbers(&mut consumer, 1).await;
        let rest = read_numbers(&mut consumer, 2).await;
        assert!(consumer.trouble().is_none(), "it is served again");
        [first, rest].concat()
    });
    let read = read.expect("an executor");
    assert_eq!(read, [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(broker.join().expect("the script ends"), [0, 1]);
}

/// One topic of one partition, which is led here.
fn described(address: SocketAddr) -> MetadataResponseV1 {
    MetadataResponseV1 {
        endpoints: vec![EndpointV1 {
            node_id: 1,
            host: address.ip().to_string(),
            port: address.port(),
            rack: None,
        }],
        topics: vec![TopicV1 {
            error: 0,
            name: "spoilt".into(),
            id: [1; 16],
            is_internal: false,
            partitions: vec![PartitionV1 {
                error: 0,
                leader: 1,
                leader_epoch: 0,
                endpoint: 0,
                shard: 0,
            }],
        }],
    }
}
