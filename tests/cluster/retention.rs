//! Goal: retention in a running broker: who reads what goes is told at once, and what producers wrote last is remembered
//! when nothing of it is left.
//!
//! Method: a broker that looks for old segments all the time and keeps records for a second; raw requests.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::ErrorCode;
use ringlog::protocol::fetch::FetchRequest;
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, Producer};
use ringlog::types::{ProducerEpoch, ProducerId, Timestamp};

use crate::broker::{Broker, free_port};
use crate::wire::{Client, fetch_request};

const OVERRIDES: [&str; 3] = [
    "log.retention.ms=1000",
    "log.retention.check.interval.ms=50",
    "log.initial.task.delay.ms=0",
];

fn start(dir: &Path) -> Broker {
    Broker::start_with(free_port(), dir, &OVERRIDES)
}

/// Five records of now.
fn batch((id, epoch): (ProducerId, ProducerEpoch), base_sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    for _ in 0..5 {
        let time = Timestamp(now.as_millis() as i64);
        builder.append(time, None, Some(b"soon gone"), &[]);
    }
    let seal = BatchSeal {
        producer: Some(Producer {
            id,
            epoch,
            base_sequence,
        }),
        ..BatchSeal::default()
    };
    builder.build(&seal, &mut Codecs::new())
}

/// Waits until a read at `offset` is out of range.
fn gone(client: &mut Client, offset: i64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let data = client.fetch("t", 0, offset, 1 << 20, 0).expect("answers");
        match data.error_code {
            0 => {}
            error => {
                assert_eq!(error, ErrorCode::OffsetOutOfRange as i16);
                return;
            }
        }
        assert!(Instant::now() < deadline, "still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_producer_is_remembered_when_all_its_records_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    let mut client = broker.client();
    client.create_topic("t", 1).unwrap();
    let producer = client.producer_id().unwrap();
    let first = batch(producer, 0);
    let answer = client.produce("t", 0, first.clone()).unwrap();
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    gone(&mut client, 0);
    broker.kill();
    let broker = start(dir.path());
    let mut client = broker.client();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let at_end = client.fetch("t", 0, 5, 1 << 20, 0).unwrap();
        if at_end.error_code == 0 {
            assert_eq!((at_end.high_watermark, at_end.log_start_offset), (5, 5));
            break;
        }
        assert!(Instant::now() < deadline, "{at_end:?}");
    }
    // The answer to the first was lost, say: it is sent again.
    let again = client.produce("t", 0, first).unwrap();
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    let next = client.produce("t", 0, batch(producer, 5)).unwrap();
    assert_eq!((next.error_code, next.base_offset), (0, 5));
}

#[test]
fn a_fetch_that_waits_on_what_is_deleted_is_answered_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut client = broker.client();
    client.create_topic("t", 1).unwrap();
    let producer = client.producer_id().unwrap();
    client.produce("t", 0, batch(producer, 0)).unwrap();
    let request = FetchRequest {
        min_bytes: 1 << 20,
        ..fetch_request("t", 0, 0, 1 << 20, 15_000)
    };
    let began = Instant::now();
    let answer = client.call(12, &request).unwrap();
    let data = &answer.responses[0].partitions[0];
    assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange as i16);
    assert!(began.elapsed() < Duration::from_secs(8), "waited in vain");
    let line = broker.line_with("t-0: deleted 1");
    assert!(line.contains("older than retention.ms=1000"), "{line}");
}

/// Goal: logs that cannot be compacted do not keep the cleaner from the others of their shard.
/// Method: a bit flipped in each of eight logs and none in the ninth. The cleaner rests after each pass; one log a pass would
/// take three rests, as one of two shards has four or more. The first pass may come before all logs are known: two will do.
#[test]
fn a_log_that_cannot_be_compacted_does_not_hold_up_the_others() {
    const ROTTEN: i32 = 8;
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let segments = "log.segment.bytes=1048576";
    let mut broker = Broker::start_with(port, dir.path(), &[segments]);
    let mut client = broker.client();
    client.create_topic("t", ROTTEN + 1).unwrap();
    let mut builder = BatchBuilder::new(Codec::None, 300_000);
    let value = vec![7; 250_000];
    builder.append(Timestamp(1), Some(b"key"), Some(&value), &[]);
    let batch = builder.build(&BatchSeal::default(), &mut Codecs::new());
    for partition in 0..=ROTTEN {
        for _ in 0..6 {
            let answer = client.produce("t", partition, batch.clone()).unwrap();
            assert_eq!(answer.error_code, 0);
        }
    }
    drop(client);
    broker.signal(libc::SIGTERM);
    assert!(broker.wait(Duration::from_secs(30)).status.success());
    for partition in 0..ROTTEN {
        let log = format!("t-{partition}/00000000000000000000.log");
        let log = dir.path().join(log);
        let mut bytes = std::fs::read(&log).unwrap();
        bytes[batch.len() + 5000] ^= 1;
        std::fs::write(&log, bytes).unwrap();
    }
    let rest = Duration::from_secs(5);
    let backoff = format!("log.cleaner.backoff.ms={}", rest.as_millis());
    let overrides = [segments, &backoff, "log.cleanup.policy=compact"];
    let broker = Broker::start_with(port, dir.path(), &overrides);
    let count = |words: &str| broker.output().matches(words).count();
    let told = || {
        let given_up = count("is not compacted until the next start") as i32;
        (given_up, count("t-8 compacted up to"))
    };
    let deadline = Instant::now() + Duration::from_secs(40);
    let wait_for = |holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Instant::now() < deadline, "{}", broker.output());
            std::thread::sleep(Duration::from_millis(5));
        }
        Instant::now()
    };
    let first = wait_for(&|| told() != (0, 0));
    let last = wait_for(&|| told() == (ROTTEN, 1));
    // The first pass may come before all logs are known. A cleaner that rests after each failure rests eight times.
    assert!(last - first < 2 * rest, "{}", broker.output());
}
