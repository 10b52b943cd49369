//! The library's client: records cross between the wires, tails are pushed, kills are outlived.

use std::thread;
use std::time::{Duration, Instant};

use ringlog::client::native::{
    NativeConsumer, NativeConsumerOptions, NativeProducer, NativeProducerOptions, Steering,
};
use ringlog::client::{
    ClientError, Cluster, ClusterOptions, Consumer, ConsumerOptions, Isolation, Place, Producer,
    ProducerOptions,
};
use ringlog::record::{Codec, Codecs, Header, records};
use ringlog::rt;
use ringlog::types::{Offset, Timestamp};

use super::{Both, NOW, batch, kafka_numbers, native, of_partition, read_numbers};
use crate::broker::free_port;
use crate::transactions::{self, end, write};

#[test]
fn what_one_wire_writes_the_other_reads() {
    const EACH: u64 = 2_000;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    both.create("shared", 4);
    for (round, steering) in [Steering::ToOwner, Steering::Anywhere]
        .into_iter()
        .enumerate()
    {
        let native_address = both.native;
        let first = round as u64 * 2 * EACH;
        rt::run_local(async move {
            let client = native(native_address, steering).await;
            let options = NativeProducerOptions {
                batch_bytes: 1_000,
                ..NativeProducerOptions::default()
            };
            let producer = NativeProducer::open(client, "shared", options)
                .await
                .unwrap();
            for number in first..first + EACH {
                for partition in 0..4 {
                    producer.room().await.unwrap();
                    let value = number.to_be_bytes();
                    producer
                        .append(partition, *NOW, None, Some(&value), &[])
                        .unwrap();
                }
            }
            assert_eq!(producer.flush().await.unwrap().records_acked, 4 * EACH);
        })
        .expect("an executor");
        let mut kafka = both.broker.client();
        let wanted: Vec<u64> = (0..first + EACH).collect();
        for partition in 0..4 {
            assert_eq!(kafka_numbers(&mut kafka, "shared", partition), wanted);
            let written: Vec<u64> = (first + EACH..first + 2 * EACH).collect();
            for numbers in written.chunks(100) {
                for number in numbers {
                    kafka
                        .send_batch("shared", partition, batch(&[*number], None, 8))
                        .expect("served");
                }
                for number in numbers {
                    let answer = kafka.receive_batch().expect("served");
                    let place = (answer.error_code, answer.base_offset);
                    assert_eq!(place, (0, *number as i64));
                }
            }
        }
        rt::run_local(async move {
            let client = native(native_address, steering).await;
            let options = NativeConsumerOptions::default();
            let opened = NativeConsumer::open(client, "shared", None, Place::Beginning, options);
            let mut consumer = opened.await.unwrap();
            let total = 4 * (first + 2 * EACH) as usize;
            let all = read_numbers(&mut consumer, total).await;
            let wanted: Vec<u64> = (0..first + 2 * EACH).collect();
            for partition in 0..4 {
                assert_eq!(of_partition(&all, partition), wanted, "{steering:?}");
            }
        })
        .expect("an executor");
    }
}

/// Two headers of one key, one without a value, and an empty one; in batches of every kind.
#[test]
fn headers_cross_the_wires_both_ways() {
    const COUNT: u64 = 300;
    let header = |key, value| Header { key, value };
    let headers = [
        header(&b"trace"[..], Some(&b"\0\xff"[..])),
        header(b"trace", Some(b"again")),
        header(b"absent", None),
        header(b"", Some(b"")),
    ];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    both.create("headed", 2);
    let (kafka, address) = (both.broker.address.to_string(), both.native);
    rt::run_local(async move {
        let cluster = Cluster::connect(&[kafka], ClusterOptions::default()).await?;
        let client = native(address, Steering::ToOwner).await;
        // Every third record has none, the others one or all.
        let of = |number: u64| &headers[..[0, 1, 4][number as usize % 3]];
        let options = NativeProducerOptions {
            batch_bytes: 2_000,
            ..NativeProducerOptions::default()
        };
        let writer = NativeProducer::open(client.clone(), "headed", options).await?;
        let options = ProducerOptions {
            batch_bytes: 2_000,
            codec: Codec::Lz4,
            ..ProducerOptions::default()
        };
        let other = Producer::open(cluster.clone(), "headed", options).await?;
        for number in 0..COUNT {
            let value = number.to_be_bytes();
            let (key, value) = (Some(&b"key"[..]), Some(&value[..]));
            writer.append(0, *NOW, key, value, of(number))?;
            other.append(1, *NOW, key, value, of(number))?;
        }
        assert_eq!(writer.flush().await?.records_acked, COUNT);
        assert_eq!(other.flush().await?.records_acked, COUNT);
        // What each wire wrote, the other reads.
        let (native, plain) = (NativeConsumerOptions::default(), ConsumerOptions::default());
        let (topic, from) = ("headed", Place::Beginning);
        let mut back = NativeConsumer::open(client, topic, Some(&[1]), from, native).await?;
        let mut forth = Consumer::open(cluster, topic, Some(&[0]), from, plain).await?;
        for partition in [0, 1] {
            let (mut read, mut codecs) = (0, Codecs::new());
            while read < COUNT {
                let patience = Duration::from_secs(20);
                let fetched = match partition {
                    0 => rt::timeout(patience, forth.poll()).await,
                    _ => rt::timeout(patience, back.poll()).await,
                };
                let fetched = fetched.expect("it comes")?;
                assert_eq!(fetched.partition, partition);
                for batch in fetched.visible() {
                    let batch = batch.expect("whole batches");
                    for record in records(batch.bytes, 1 << 20, &mut codecs).expect("records") {
                        let record = record.expect("a record");
                        assert_eq!(record.value, Some(&read.to_be_bytes()[..]));
                        let found: Vec<Header<'_>> = record.headers.collect();
                        assert_eq!(found, of(read), "{partition}, record {read}");
                        read += 1;
                    }
                }
            }
        }
        Ok::<_, ClientError>(())
    })
    .expect("an executor")
    .expect("it is served");
}

/// The offsets of the records that the consumer's next batches let the caller see, up to `count` of them.
async fn seen(consumer: &mut NativeConsumer, count: usize) -> Vec<i64> {
    let (mut offsets, mut codecs) = (Vec::new(), Codecs::new());
    while offsets.len() < count {
        let fetched = rt::timeout(Duration::from_secs(20), consumer.poll()).await;
        let fetched = fetched.unwrap_or_else(|_| panic!("nothing comes after {offsets:?}"));
        let fetched = fetched.expect("it is served");
        for batch in fetched.visible() {
            let batch = batch.expect("whole batches");
            let read = records(batch.bytes, 1 << 20, &mut codecs).expect("records");
            offsets.extend(read.map(|record| record.expect("a record").offset.0));
        }
    }
    offsets
}

/// Batches, markers and aborted transactions are the log's, whichever wire wrote them.
#[test]
fn a_consumer_of_what_is_committed_sees_no_open_and_no_aborted_transaction_of_the_other_wire() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), transactions::UNVERIFIED);
    both.create(transactions::TOPIC, 1);
    let mut kafka = both.broker.client();
    // 7 aborts at 6 and 9 is of no transaction; 8 commits at 7, and 7 its second one at 9. 8 begins anew at 10.
    write(&mut kafka, 7, 0, 2, true);
    write(&mut kafka, 8, 0, 3, true);
    write(&mut kafka, 9, 0, 1, false);
    end(&mut kafka, 7, false);
    end(&mut kafka, 8, true);
    assert_eq!(write(&mut kafka, 7, 2, 1, true), 8);
    end(&mut kafka, 7, true);
    assert_eq!(write(&mut kafka, 8, 3, 1, true), 10);
    let address = both.native;
    rt::run_local(async move {
        let client = native(address, Steering::ToOwner).await;
        let open = async |isolation, place| {
            let options = NativeConsumerOptions {
                isolation,
                ..NativeConsumerOptions::default()
            };
            let topic = transactions::TOPIC;
            let opened = NativeConsumer::open(client.clone(), topic, None, place, options);
            opened.await.expect("it is served")
        };
        let mut all = open(Isolation::Uncommitted, Place::Beginning).await;
        assert_eq!(seen(&mut all, 8).await, [0, 1, 2, 3, 4, 5, 8, 10]);
        let mut committed = open(Isolation::Committed, Place::Beginning).await;
        assert_eq!(seen(&mut committed, 5).await, [2, 3, 4, 5, 8]);
        // It begins within what was aborted.
        let mut within = open(Isolation::Committed, Place::At(Offset(1))).await;
        assert_eq!(seen(&mut within, 5).await, [2, 3, 4, 5, 8]);
        let open_one = rt::timeout(Duration::from_millis(500), seen(&mut committed, 1)).await;
        assert!(open_one.is_err(), "{open_one:?} is not committed");
        end(&mut kafka, 8, true);
        assert_eq!(seen(&mut committed, 1).await, [10]);
    })
    .expect("an executor");
}

#[test]
fn a_tail_is_pushed_as_it_grows_and_places_are_found() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    both.create("tail", 2);
    let address = both.native;
    let mut kafka = both.broker.client();
    kafka
        .produce("tail", 0, batch(&[0, 1, 2], None, 8))
        .expect("served");
    rt::run_local(async move {
        let client = native(address, Steering::ToOwner).await;
        let end = client.offset("tail", 0, Place::End).await.unwrap();
        assert_eq!(end.0, 3);
        let since = Place::Since(Timestamp(NOW.0 + 1));
        assert_eq!(client.offset("tail", 0, since).await.unwrap().0, 3);
        let since = client.offset("tail", 0, Place::Since(*NOW)).await.unwrap();
        assert_eq!(since.0, 0);
        let open = NativeConsumer::open(
            client.clone(),
            "tail",
            None,
            Place::End,
            NativeConsumerOptions::default(),
        );
        let mut consumer = open.await.unwrap();
        let options = NativeProducerOptions::default();
        let producer = NativeProducer::open(client, "tail", options).await.unwrap();
        for number in 3..200u64 {
            let partition = (number % 2) as i32;
            producer
                .append(partition, *NOW, None, Some(&number.to_be_bytes()), &[])
                .unwrap();
            producer.flush().await.unwrap();
            let began = Instant::now();
            assert_eq!(read_numbers(&mut consumer, 1).await, [(partition, number)]);
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "woken, not looked for"
            );
        }
    })
    .expect("an executor");
}

#[test]
fn an_idempotent_producer_loses_and_doubles_nothing_when_the_broker_is_killed() {
    const ROUNDS: u64 = 4;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (port, native_port) = (free_port(), free_port());
    let both = Both::at(port, native_port, dir.path(), &[]);
    both.create("killed", 3);
    let address = both.native;
    let path = dir.path().to_owned();
    let killer = thread::spawn(move || {
        let mut both = both;
        for _ in 0..ROUNDS {
            thread::sleep(Duration::from_millis(400));
            both.broker.kill();
            both = Both::at(port, native_port, &path, &[]);
        }
        both
    });
    let (sender, done) = std::sync::mpsc::channel();
    let writer = thread::spawn(move || {
        rt::run_local(async move {
            let client = native(address, Steering::ToOwner).await;
            let options = NativeProducerOptions {
                batch_bytes: 500,
                ..NativeProducerOptions::default()
            };
            let producer = NativeProducer::open(client, "killed", options)
                .await
                .unwrap();
            let mut number = 0u64;
            while done.try_recv().is_err() {
                for partition in 0..3 {
                    let value = number.to_be_bytes();
                    producer
                        .append(partition, *NOW, None, Some(&value), &[])
                        .unwrap();
                }
                number += 1;
                if number.is_multiple_of(50) {
                    rt::sleep(Duration::from_millis(1)).await;
                }
                producer.room().await.unwrap();
            }
            let stats = producer.flush().await.unwrap();
            assert_eq!(stats.records_acked, 3 * number);
            number
        })
        .expect("an executor")
    });
    let both = killer.join().expect("the broker starts again");
    sender.send(()).expect("the writer waits for it");
    let count = writer.join().expect("the writer was served in the end");
    println!("{count} records on each of 3 partitions over {ROUNDS} kills");
    assert!(count > 100, "only {count} records");
    let mut kafka = both.broker.client();
    for partition in 0..3 {
        let wanted: Vec<u64> = (0..count).collect();
        assert_eq!(kafka_numbers(&mut kafka, "killed", partition), wanted);
    }
}

/// A consumer goes on where it was when the broker comes back.
#[test]
fn a_consumer_outlives_a_killed_broker() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (port, native_port) = (free_port(), free_port());
    let mut both = Both::at(port, native_port, dir.path(), &[]);
    both.create("outlived", 1);
    let mut kafka = both.broker.client();
    kafka
        .produce("outlived", 0, batch(&[0, 1], None, 8))
        .expect("served");
    let (sender, commands) = std::sync::mpsc::channel::<()>();
    let (told, heard) = std::sync::mpsc::channel();
    let address = both.native;
    let reader = thread::spawn(move || {
        rt::run_local(async move {
            let client = native(address, Steering::ToOwner).await;
            let options = NativeConsumerOptions::default();
            let opened = NativeConsumer::open(client, "outlived", None, Place::Beginning, options);
            let mut consumer = opened.await.unwrap();
            assert_eq!(read_numbers(&mut consumer, 2).await, [(0, 0), (0, 1)]);
            told.send(()).expect("the test waits");
            // The broker is killed meanwhile; nothing else runs on this executor.
            commands.recv().expect("the test goes on");
            assert_eq!(read_numbers(&mut consumer, 1).await, [(0, 2)]);
        })
        .expect("an executor");
    });
    heard.recv().expect("the first records are read");
    both.broker.kill();
    let both = Both::at(port, native_port, dir.path(), &[]);
    let mut kafka = both.broker.client();
    kafka
        .produce("outlived", 0, batch(&[2], None, 8))
        .expect("served");
    sender.send(()).expect("the reader waits");
    reader.join().expect("the reader goes on");
}
