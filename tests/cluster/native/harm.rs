//! Clients that mean harm, or do not read.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::client::Place;
use ringlog::client::native::{NativeConsumer, NativeConsumerOptions, Steering};
use ringlog::protocol::ErrorCode;
use ringlog::rt;
use ringlog::types::Prng;
use ringlog::wire::*;

use super::{
    Both, Raw, batch, frame_bytes, hello, native, numbers, of_partition, read_numbers, subscribe,
};
use crate::slow_readers::narrow;

#[test]
fn bytes_that_mean_harm_cost_their_own_connection_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut both = Both::start(dir.path(), &[]);
    let topic_id = both.create("harm", 2);
    let before = both.broker.resident();
    let mut healthy = both.raw();
    let mut prng = Prng::new(5);
    let samples = samples(topic_id);
    for round in 0..600 {
        let mut raw = Raw::connect(both.native);
        if round % 6 > 0 {
            raw.greet(Some(round % 2));
        }
        for _ in 0..8 {
            let mut bytes = samples[prng.below(samples.len() as u64) as usize].clone();
            for _ in 0..prng.below(4) {
                let at = prng.below(bytes.len() as u64) as usize;
                bytes[at] = prng.below(256) as u8;
            }
            if prng.below(4) > 0 {
                reseal(&mut bytes);
            }
            // Where it is closed on us, it is.
            if raw.stream.write_all(&bytes).is_err() {
                break;
            }
        }
        if round % 50 == 0 {
            let answer = healthy.produce(topic_id, &[(1, batch(&[round as u64], None, 8))]);
            assert_eq!(answer[0].error, 0);
        }
    }
    promise_much(&both, topic_id);
    let answer = healthy.produce(topic_id, &[(1, batch(&[1], None, 8))]);
    assert_eq!(answer[0].error, 0);
    both.broker.assert_running();
    let output = both.broker.output();
    assert!(!output.contains("panicked"), "{output}");
    let after = both.broker.resident();
    println!(
        "resident {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(
        after < before + (256 << 20),
        "grew from {before} to {after}"
    );
}

/// A client that vanishes in the middle of a frame, wherever that is, leaves nothing behind.
#[test]
fn every_frame_cut_short_anywhere_ends_its_connection_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut both = Both::start(dir.path(), &[]);
    let topic_id = both.create("harm", 2);
    let before = both.broker.descriptors();
    let (mut cut, mut reader) = (0, both.raw());
    for sample in samples(topic_id) {
        for len in 0..sample.len() {
            let mut raw = Raw::connect(both.native);
            // Every second one is cut short in its handshake's place.
            if len % 2 == 0 {
                raw.greet(None);
            }
            raw.stream.write_all(&sample[..len]).expect("it is read");
            raw.stream.shutdown(Shutdown::Write).expect("it is open");
            // Before the handshake a body is refused by its length already.
            if len % 2 == 1 && len >= FRAME_HEADER_BYTES && sample[16..20] != [0; 4] {
                assert!(raw.error().1.closes);
            }
            assert!(raw.receive().is_none(), "closed, and nothing is answered");
            cut += 1;
        }
    }
    assert!(cut > 300, "only {cut} frames were cut");
    let answer = reader.produce(topic_id, &[(1, batch(&[1], None, 8))]);
    assert_eq!((answer[0].error, answer[0].base_offset), (0, 0));
    both.broker.assert_running();
    let output = both.broker.output();
    assert!(!output.contains("panicked"), "{output}");
    let after = both.broker.descriptors();
    assert!(after <= before + 8, "{before} descriptors became {after}");
}

/// Frames that a client might send, to be spoilt.
fn samples(topic_id: [u8; 16]) -> [Vec<u8>; 6] {
    let metadata = MetadataRequestV1 {
        topics: Some(vec!["harm".into()]),
    };
    let offsets = OffsetsRequestV1 {
        isolation: 0,
        partitions: vec![OffsetQueryV1 {
            topic_id,
            partition: 1,
            timestamp: -1,
            leader_epoch: -1,
        }],
    };
    let credits = CreditsV1 {
        stream: 1,
        bytes: u64::MAX,
    };
    [
        frame_bytes(1, &subscribe(topic_id, 1 << 40, &[0, 0]), b""),
        frame_bytes(2, &produce(topic_id, 4), b"abcd"),
        frame_bytes(3, &metadata, b""),
        frame_bytes(4, &offsets, b""),
        frame_bytes(5, &credits, b""),
        frame_bytes(6, &hello(Some(1)), b""),
    ]
}

/// A request of so many batches of one byte.
fn produce(topic_id: [u8; 16], count: usize) -> ProduceRequestV1 {
    let row = ProduceBatchV1 {
        topic_id,
        partition: 0,
        bytes: 1,
    };
    ProduceRequestV1 {
        acks: -1,
        timeout_ms: 30_000,
        batches: vec![row; count],
    }
}

/// Lengths that promise much and bring nothing hold nothing; those past the limit are refused at once.
fn promise_much(both: &Both, topic_id: [u8; 16]) {
    let promise = |bytes: u32| {
        let mut frame = frame_bytes(1, &produce(topic_id, 1), b"a");
        frame[16..20].copy_from_slice(&bytes.to_le_bytes());
        reseal(&mut frame);
        let mut raw = both.raw();
        raw.stream.write_all(&frame).expect("the broker reads");
        raw
    };
    let promises: Vec<Raw> = (0..50).map(|_| promise(90 << 20)).collect();
    let mut raw = promise(u32::MAX);
    assert_eq!(raw.error().1.code, ErrorCode::MessageTooLarge.code());
    assert!(raw.receive().is_none());
    drop(promises);
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up_and_little_memory() {
    const TOTAL: u64 = 256;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &["memory.bytes=268435456"]);
    let topic_id = both.create("slow", 2);
    let mut writer = both.raw();
    let mut slow: Vec<Raw> = (0..8)
        .map(|index| {
            let mut raw = Raw::connect(both.native);
            raw.greet(Some(index % 2));
            raw.send(9, &subscribe(topic_id, u64::MAX, &[0, 0]), b"");
            raw
        })
        .collect();
    let before = both.broker.resident();
    for number in 0..TOTAL {
        let rows = [
            (0, batch(&[number], None, 500_000)),
            (1, batch(&[number], None, 500_000)),
        ];
        let answer = writer.produce(topic_id, &rows);
        assert!(answer.iter().all(|row| row.error == 0), "{answer:?}");
    }
    let grown = both.broker.resident().saturating_sub(before);
    println!(
        "{} MiB written, the broker grew by {} MiB",
        TOTAL,
        grown >> 20
    );
    assert!(grown < 400 << 20, "grew by {grown}");
    let address = both.native;
    rt::run_local(async move {
        let client = native(address, Steering::ToOwner).await;
        let options = NativeConsumerOptions {
            buffer_bytes: 1 << 20,
            ..Default::default()
        };
        let opened = NativeConsumer::open(client, "slow", None, Place::Beginning, options);
        let mut consumer = opened.await.unwrap();
        let all = read_numbers(&mut consumer, 2 * TOTAL as usize).await;
        assert_eq!(of_partition(&all, 0), (0..TOTAL).collect::<Vec<_>>());
        assert_eq!(of_partition(&all, 1), (0..TOTAL).collect::<Vec<_>>());
    })
    .expect("an executor");
    // One of the slow wakes up at last, and misses nothing.
    let raw = &mut slow[3];
    let mut read = [0u64, 0];
    while read != [TOTAL, TOTAL] {
        let frame = raw.receive().expect("it was kept");
        let control = frame.read_owned::<BatchesV1>().expect("Batches");
        for number in numbers(&frame.body) {
            assert_eq!(number, read[control.index as usize]);
            read[control.index as usize] += 1;
        }
    }
}

/// Goal: streams whose clients take nothing keep a bounded part of memory, each though it reads what nobody else does, and who
/// reads is served. Method: little memory, more history than it holds, and a stream at each megabyte of it.
#[test]
fn streams_of_history_that_nobody_takes_stay_inside_the_budget() {
    const MEMORY: u64 = 256 << 20;
    /// Megabytes of a partition, and batches of each.
    const PARTS: u64 = 60;
    const BATCHES: u64 = 64;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[&format!("memory.bytes={MEMORY}")]);
    let before = both.broker.resident();
    let topic_id = both.create("cold", 4);
    let mut writer = both.raw();
    for part in 0..PARTS {
        let numbers = part * BATCHES..(part + 1) * BATCHES;
        let rows: Vec<_> = (0..4)
            .flat_map(|partition| numbers.clone().map(move |number| (partition, number)))
            .map(|(partition, number)| (partition, batch(&[number], None, 16_000)))
            .collect();
        let answer = writer.produce(topic_id, &rows);
        assert!(answer.iter().all(|row| row.error == 0), "{answer:?}");
    }
    let full = both.broker.resident();
    let places = (0..PARTS * BATCHES)
        .step_by(BATCHES as usize)
        .flat_map(|offset| [0, 1, 2, 3].map(|place| (place, offset as i64)));
    let readers: Vec<Raw> = places
        .map(|(partition, offset)| {
            let mut raw = Raw::over(narrow(both.native));
            raw.greet(None);
            let mut wanted = subscribe(topic_id, u64::MAX, &[offset]);
            wanted.partitions[0].partition = partition;
            raw.send(9, &wanted, b"");
            raw
        })
        .collect();
    thread::sleep(Duration::from_secs(3));
    let held = both.broker.resident();
    let (address, began) = (both.native, Instant::now());
    rt::run_local(async move {
        let client = native(address, Steering::ToOwner).await;
        let options = NativeConsumerOptions::default();
        let opened = NativeConsumer::open(client, "cold", None, Place::Beginning, options);
        let mut consumer = opened.await.unwrap();
        let all = read_numbers(&mut consumer, (4 * PARTS * BATCHES) as usize).await;
        for partition in 0..4 {
            assert_eq!(
                of_partition(&all, partition),
                (0..PARTS * BATCHES).collect::<Vec<_>>()
            );
        }
    })
    .expect("an executor");
    let after = both.broker.resident();
    println!(
        "resident {} MiB before, {} with tails, {} with {} readers, {} after one has read all in {:?}",
        before >> 20,
        full >> 20,
        held >> 20,
        readers.len(),
        after >> 20,
        began.elapsed()
    );
    for resident in [held, after] {
        assert!(resident < before + MEMORY, "{} MiB", resident >> 20);
    }
    let mut broker = both.broker;
    broker.assert_running();
}
