//! Goal: many producers cost memory by the producer, not more, and are remembered over a crash.
//!
//! Method: idempotent batches, each of an id of its own (`RINGLOG_PRODUCER_IDS`, 100,000); and four thousand connections
//! that produce at once. Resident memory before and after.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ringlog::protocol::{ErrorCode, Records};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, Producer};
use ringlog::types::{ProducerEpoch, ProducerId, Timestamp};

use crate::broker::{Broker, free_port};
use crate::crash::env_number;
use crate::hostile::raise_descriptor_limit;
use crate::wire::Client;

const PARTITIONS: i32 = 50;
const PRODUCE: i16 = 11;
/// What one remembered producer of one batch may cost, hash table and allocator included.
const BYTES_PER_ID: u64 = 600;
const FIRST_ID: i64 = 1_000_000;

fn batch(producer: Option<i64>, base_sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 128);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let time = Timestamp(now.as_millis() as i64);
    builder.append(time, None, Some(b"one of many"), &[]);
    let seal = BatchSeal {
        producer: producer.map(|id| Producer {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            base_sequence,
        }),
        ..BatchSeal::default()
    };
    builder.build(&seal, &mut Codecs::new())
}

/// A batch of another producer for each partition, the first of them `first`.
fn request(first: i64) -> ProduceRequest {
    let row = |index: i32| PartitionProduceData {
        index,
        records: Some(Records::Bytes(batch(
            Some(FIRST_ID + first + i64::from(index)),
            0,
        ))),
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "many".into(),
            partition_data: (0..PARTITIONS).map(row).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn receive(client: &mut Client) {
    let answer: ProduceResponse = client.receive(PRODUCE).expect("answered");
    for row in &answer.responses[0].partition_responses {
        assert_eq!(row.error_code, 0, "partition {}", row.index);
    }
}

#[test]
fn each_of_many_producer_ids_costs_little_and_is_known_after_kill_9() {
    let ids: i64 = env_number("RINGLOG_PRODUCER_IDS", 100_000);
    let rounds = ids / i64::from(PARTITIONS);
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with(free_port(), dir.path(), &["num.shards=2"]);
    let mut client = broker.client();
    client.patient(Duration::from_secs(60)).unwrap();
    client.create_topic("many", PARTITIONS).unwrap();
    // Tails and journals are there before the count begins.
    client.send(PRODUCE, &request(0)).unwrap();
    receive(&mut client);
    let before = broker.resident();
    let began = Instant::now();
    let mut waiting = 0;
    for round in 1..rounds {
        client
            .send(PRODUCE, &request(round * i64::from(PARTITIONS)))
            .unwrap();
        waiting += 1;
        if waiting == 5 {
            receive(&mut client);
            waiting -= 1;
        }
    }
    (0..waiting).for_each(|_| receive(&mut client));
    let (took, after) = (began.elapsed(), broker.resident());
    // What was written is in memory too, as far as it has not left the tails.
    let written = ids as u64 * batch(Some(1), 0).len() as u64;
    println!(
        "{ids} producer ids in {took:?}: resident {} MiB before, {} MiB after; {} MiB written",
        before >> 20,
        after >> 20,
        written >> 20
    );
    assert!(
        after < before + ids as u64 * BYTES_PER_ID + 2 * written + (32 << 20),
        "grew from {before} to {after} bytes by {ids} producer ids"
    );
    broker.kill();
    let began = Instant::now();
    let broker = Broker::start_with(free_port(), dir.path(), &["num.shards=2"]);
    let mut client = broker.client();
    client.patient(Duration::from_secs(60)).unwrap();
    client.led("many", PARTITIONS).unwrap();
    println!("serving again after {:?}", began.elapsed());
    for id in [0, ids / 2, ids - 1] {
        let partition = (id % i64::from(PARTITIONS)) as i32;
        let expected_offset = id / i64::from(PARTITIONS);
        let again = client
            .produce("many", partition, batch(Some(FIRST_ID + id), 0))
            .unwrap();
        assert_eq!(
            (again.error_code, again.base_offset),
            (0, expected_offset),
            "a retry of {id}"
        );
        let gap = client
            .produce("many", partition, batch(Some(FIRST_ID + id), 7))
            .unwrap();
        assert_eq!(
            gap.error_code,
            ErrorCode::OutOfOrderSequenceNumber as i16,
            "a gap of {id}"
        );
    }
}

#[test]
fn four_thousand_producers_at_once_are_all_served() {
    const PRODUCERS: usize = 4_000;
    raise_descriptor_limit();
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with(free_port(), dir.path(), &["num.shards=2"]);
    broker.client().create_topic("many", PARTITIONS).unwrap();
    let address = broker.address;
    let before = broker.resident();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut clients: Vec<Client> = (0..PRODUCERS / 8)
                    .map(|_| Client::connect(address).expect("connected"))
                    .collect();
                for round in 0..3 {
                    for (number, client) in clients.iter_mut().enumerate() {
                        client.patient(Duration::from_secs(60)).unwrap();
                        client
                            .send_batch(
                                "many",
                                (number + round) as i32 % PARTITIONS,
                                batch(None, 0),
                            )
                            .expect("sent");
                    }
                    for client in &mut clients {
                        assert_eq!(client.receive_batch().expect("answered").error_code, 0);
                    }
                }
                clients
            })
        })
        .collect();
    let clients: Vec<_> = writers
        .into_iter()
        .map(|writer| writer.join().expect("served"))
        .collect();
    let after = broker.resident();
    println!(
        "4,000 producers: resident {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(
        after < before + (160 << 20),
        "grew from {before} to {after} bytes"
    );
    broker.assert_running();
    drop(clients);
}

/// Goal: ids past their share of the memory are forgotten, those first that wrote longest ago; the broker says so, and who was
/// forgotten goes on writing. Method: little memory, and one producer that writes all the while.
#[test]
fn ids_past_their_share_of_memory_are_forgotten_and_it_is_told() {
    const IDS: i64 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    // A quarter of the cache's share for both shards is 9.6 MB, and an id takes 150 to 300 bytes.
    let memory = ["num.shards=2", "memory.bytes=67108864"];
    let broker = Broker::start_with(free_port(), dir.path(), &memory);
    let mut client = broker.client();
    client.patient(Duration::from_secs(60)).unwrap();
    client.create_topic("many", PARTITIONS).unwrap();
    for round in 0..IDS / i64::from(PARTITIONS) {
        client
            .send(PRODUCE, &request(round * i64::from(PARTITIONS)))
            .unwrap();
        receive(&mut client);
    }
    let busy = FIRST_ID + IDS;
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut sequence = 0;
    // It takes as long as a producer has to be silent.
    let line = loop {
        let sent = client.produce("many", 0, batch(Some(busy), sequence));
        assert_eq!(sent.unwrap().error_code, 0);
        sequence += 1;
        let output = broker.output();
        let told = "are forgotten before producer.id.expiration.ms";
        let line = output.lines().find(|line| line.contains(told));
        let line = line.filter(|line| !line.contains(": 0 that"));
        if let Some(line) = line {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "nothing told:\n{output}");
        thread::sleep(Duration::from_millis(500));
    };
    println!("{line}");
    // Partitions come to it one by one.
    let old = loop {
        let old = client.produce("many", 0, batch(Some(FIRST_ID), 0)).unwrap();
        assert_eq!(old.error_code, 0);
        if old.base_offset > IDS / i64::from(PARTITIONS) {
            break old;
        }
        assert!(Instant::now() < deadline, "{FIRST_ID} is known still");
        thread::sleep(Duration::from_millis(500));
        let sent = client.produce("many", 0, batch(Some(busy), sequence));
        assert_eq!(sent.unwrap().error_code, 0);
        sequence += 1;
    };
    let again = client.produce("many", 0, batch(Some(busy), sequence - 1));
    let last = again.unwrap().base_offset;
    assert_eq!(last + 1, old.base_offset, "the busy one is known still");
}
