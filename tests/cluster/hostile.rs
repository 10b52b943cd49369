//! Connections that mean harm, or are merely broken, while a healthy client works: no panic, no memory without end,
//! and the healthy one notices nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::Records;
use ringlog::protocol::api_versions::ApiVersionsRequest;
use ringlog::protocol::fetch::FetchRequest;
use ringlog::protocol::metadata::{MetadataRequest, MetadataRequestTopic};
use ringlog::protocol::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs};
use ringlog::types::{Prng, Timestamp};

use crate::broker::{Broker, free_port};
use crate::wire::{Client, fetch_request, read_frame, request_bytes};

/// What a flood may add to the broker's memory: its budget for requests in flight and what an allocator keeps.
const GROWTH_MAX: u64 = 512 << 20;

fn batch(records: usize, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    for _ in 0..records {
        builder.append(
            Timestamp(1_700_000_000_000),
            Some(b"key"),
            Some(&vec![7; bytes]),
            &[],
        );
    }
    builder.build(&BatchSeal::default(), &mut Codecs::new())
}

/// A client that writes and reads back all the while, and counts.
struct Healthy {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Healthy {
    fn start(broker: &Broker) -> Healthy {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = broker.client();
        client.create_topic("healthy", 1).expect("set-up");
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = client
                    .produce("healthy", 0, batch(1, 100))
                    .expect("the healthy client is served");
                assert_eq!(answer.error_code, 0);
                let read = client
                    .fetch("healthy", 0, answer.base_offset, 1 << 20, 0)
                    .expect("the healthy client is served");
                assert!(
                    matches!(read.records, Some(Records::Bytes(b)) if !b.is_empty()),
                    "reads back what it wrote"
                );
                longest = longest.max(began.elapsed());
                rounds += 1;
                thread::sleep(Duration::from_millis(2));
            }
            (rounds, longest)
        });
        Healthy { stop, thread }
    }

    /// It was served all the time, and never waited long.
    fn finish(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let (rounds, longest) = self.thread.join().expect("the healthy client was served");
        println!("{what}: {rounds} healthy rounds, longest {longest:?}");
        assert!(rounds > 5, "only {rounds} rounds");
        assert!(
            longest < Duration::from_secs(5),
            "one round took {longest:?}"
        );
    }
}

/// Runs an attack beside a healthy client; then the broker must run, unpanicked, and not have grown without bound.
fn under_attack(what: &str, attack: impl FnOnce(&Broker)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut broker = Broker::start(free_port(), dir.path());
    let healthy = Healthy::start(&broker);
    thread::sleep(Duration::from_millis(100));
    let before = broker.resident();
    attack(&broker);
    let after = broker.resident();
    healthy.finish(what);
    broker.assert_running();
    let output = broker.output();
    assert!(!output.contains("panicked"), "panicked:\n{output}");
    assert!(
        output.len() < 1 << 20,
        "{} bytes of log lines",
        output.len()
    );
    println!(
        "{what}: resident {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    assert!(
        after < before + GROWTH_MAX,
        "grew from {before} to {after} bytes"
    );
    broker
        .client()
        .create_topic("afterwards", 1)
        .expect("served as before");
}

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a ready broker accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a socket option");
    stream
        .set_write_timeout(Some(Duration::from_secs(10)))
        .expect("a socket option");
    stream
}

/// The broker hangs up within ten seconds, having said nothing more.
fn hung_up(stream: &mut TcpStream, what: &str) {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => {}
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            ) => {}
        other => panic!("{what}: wanted a closed connection, got {other:?}"),
    }
}

fn metadata() -> Vec<u8> {
    request_bytes(
        9,
        &MetadataRequest {
            topics: None,
            ..Default::default()
        },
    )
}

fn produce(partition_bytes: usize) -> Vec<u8> {
    let data = PartitionProduceData {
        index: 0,
        records: Some(Records::Bytes(batch(3, partition_bytes))),
    };
    let topic = TopicProduceData {
        name: "healthy".into(),
        partition_data: vec![data],
        ..Default::default()
    };
    request_bytes(
        9,
        &ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![topic],
            ..Default::default()
        },
    )
}

fn fetch(offset: i64) -> Vec<u8> {
    let request = FetchRequest {
        max_bytes: 50 << 20,
        ..fetch_request("large", 0, offset, 1 << 20, 0)
    };
    request_bytes(12, &request)
}

#[test]
fn frames_that_are_no_requests_close_the_connection() {
    under_attack("bad frames", |broker| {
        let lengths: [i32; 7] = [-1, i32::MIN, i32::MAX, 104_857_601, 0, 1, 7];
        for length in lengths {
            let mut stream = open(broker.address);
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend([0; 16]);
            stream.write_all(&bytes).expect("written");
            hung_up(&mut stream, &format!("length {length}"));
        }
        for (key, version) in [
            (999, 0),
            (-1, 0),
            (3, 99),
            (3, -1),
            (0, 14),
            (0, 2),
            (1, 3),
            (18, -32768),
        ] {
            let mut stream = open(broker.address);
            let mut bytes = 24_i32.to_be_bytes().to_vec();
            bytes.extend(i16::to_be_bytes(key));
            bytes.extend(i16::to_be_bytes(version));
            bytes.extend([0, 0, 0, 1, 255, 255]);
            bytes.extend([0; 14]);
            stream.write_all(&bytes).expect("written");
            if key == 18 {
                read_frame(&mut stream).expect("ApiVersions of any version is answered");
            } else {
                hung_up(&mut stream, &format!("key {key} version {version}"));
            }
        }
    });
}

#[test]
fn rubbish_and_damaged_requests_harm_nobody() {
    under_attack("rubbish", |broker| {
        let mut prng = Prng::new(7);
        let whole = [metadata(), produce(50), fetch(0)];
        for round in 0..3000 {
            let mut bytes = match round % 4 {
                0 => {
                    let mut rubbish = vec![0; 1 + prng.below(4000) as usize];
                    prng.fill(&mut rubbish);
                    rubbish
                }
                n => whole[n - 1].clone(),
            };
            if round % 4 != 0 {
                for _ in 0..=prng.below(3) {
                    let at = 4 + prng.below(bytes.len() as u64 - 4) as usize;
                    bytes[at] ^= 1 << prng.below(8);
                }
            }
            if prng.below(5) == 0 {
                bytes.truncate(prng.below(bytes.len() as u64) as usize);
            }
            let mut stream = open(broker.address);
            // The broker may hang up in the middle; that is its right.
            let _ = stream.write_all(&bytes);
            if prng.below(2) == 0 {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                let _ = stream.read(&mut [0; 4096]);
            }
        }
    });
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    under_attack("byte by byte", |broker| {
        let bytes = request_bytes(
            3,
            &ApiVersionsRequest {
                client_software_name: "slow".into(),
                client_software_version: "1".into(),
            },
        );
        let slow: Vec<_> = (0..20)
            .map(|n| {
                let (address, bytes) = (broker.address, bytes.clone());
                thread::spawn(move || {
                    let mut stream = open(address);
                    stream.set_nodelay(true).expect("a socket option");
                    for byte in bytes {
                        stream.write_all(&[byte]).expect("written");
                        thread::sleep(Duration::from_millis(5 + n % 4 * 20));
                    }
                    assert!(read_frame(&mut stream).expect("answered").len() > 20);
                })
            })
            .collect();
        slow.into_iter()
            .for_each(|t| t.join().expect("a slow client is served"));
    });
}

#[test]
fn half_closed_and_abandoned_connections_are_let_go() {
    under_attack("half-closed and abandoned", |broker| {
        for round in 0..300 {
            let mut stream = open(broker.address);
            match round % 5 {
                0 => stream.write_all(&metadata()[..10]).expect("written"),
                1 => stream
                    .write_all(&produce(100_000)[..50_000])
                    .expect("written"),
                2 => {
                    stream.write_all(&metadata()).expect("written");
                    stream.shutdown(Shutdown::Write).expect("half-closed");
                    read_frame(&mut stream).expect("what was asked before closing is answered");
                    hung_up(&mut stream, "half-closed");
                }
                3 => stream.shutdown(Shutdown::Write).expect("half-closed"),
                _ => {
                    stream.write_all(&fetch(0)).expect("written");
                    stream.write_all(&produce(10)).expect("written");
                }
            }
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while broker.descriptors() > 200 {
            assert!(
                Instant::now() < deadline,
                "{} descriptors still open",
                broker.descriptors()
            );
            thread::sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn ten_thousand_idle_connections_are_held() {
    raise_descriptor_limit();
    under_attack("10,000 connections", |broker| {
        let connections: Vec<TcpStream> = (0..10_000).map(|_| open(broker.address)).collect();
        // Each works, the last as the first.
        for mut stream in [&connections[0], &connections[5_000], &connections[9_999]] {
            stream.write_all(&metadata()).expect("written");
            read_frame(&mut stream.try_clone().expect("a descriptor")).expect("answered");
        }
        thread::sleep(Duration::from_millis(500));
    });
}

pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a live, properly sized struct.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    assert!(
        limit.rlim_cur > 11_000,
        "needs 11,000 descriptors, may have {}",
        limit.rlim_cur
    );
}

#[test]
fn readers_that_never_read_do_not_fill_the_memory() {
    under_attack("unread answers", |broker| {
        let mut client = broker.client();
        client.create_topic("large", 1).expect("set-up");
        for _ in 0..30 {
            assert_eq!(
                client
                    .produce("large", 0, batch(1, 900_000))
                    .expect("produced")
                    .error_code,
                0
            );
        }
        // A thousand connections ask for a hundred megabytes each and read none of it.
        let connections: Vec<TcpStream> = (0..1000)
            .map(|_| {
                let mut stream = open(broker.address);
                stream.set_nonblocking(true).expect("a socket option");
                for _ in 0..100 {
                    if stream.write_all(&fetch(0)).is_err() {
                        break;
                    }
                }
                stream
            })
            .collect();
        thread::sleep(Duration::from_secs(2));
        let resident = broker.resident();
        assert!(resident < 2 << 30, "{} MiB resident", resident >> 20);
        drop(connections);
    });
}

#[test]
fn large_requests_that_stall_do_not_fill_the_memory() {
    under_attack("stalled requests", |broker| {
        // Four hundred connections announce a hundred megabytes each, send a little, and stop.
        let connections: Vec<TcpStream> = (0..400)
            .map(|_| {
                let mut stream = open(broker.address);
                let mut bytes = 100_000_000_i32.to_be_bytes().to_vec();
                bytes.extend(&metadata()[4..]);
                bytes.resize(20_000, 0);
                let _ = stream.write_all(&bytes);
                stream
            })
            .collect();
        thread::sleep(Duration::from_secs(1));
        let resident = broker.resident();
        assert!(resident < 2 << 30, "{} MiB resident", resident >> 20);
        drop(connections);
    });
}

#[test]
fn a_metadata_request_for_many_names_is_bounded() {
    under_attack("many names", |broker| {
        let names = (0..20_000).map(|n| MetadataRequestTopic {
            name: Some(format!("no-such-topic-{n}").as_str().into()),
            ..Default::default()
        });
        let request = MetadataRequest {
            topics: Some(names.collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let mut client = Client::connect(broker.address).expect("accepts");
        for _ in 0..5 {
            assert_eq!(
                client.call(9, &request).expect("answered").topics.len(),
                20_000
            );
        }
    });
}
