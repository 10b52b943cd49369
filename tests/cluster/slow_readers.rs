//! Goal: readers that take their answers slowly, or never, cost a bounded memory, whatever they ask for, and keep nobody from
//! being served.
//!
//! Method: little memory, much history, and connections that each ask for a part of their own of it and read nothing.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::fetch::FetchResponse;
use ringlog::protocol::{Reader, Records, read_response};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs};
use ringlog::types::Timestamp;
use socket2::{Domain, Socket, Type};

use crate::broker::{Broker, free_port};
use crate::wire::{Client, fetch_request, read_frame, request_bytes};

const PARTITIONS: i32 = 4;
const VALUE_BYTES: usize = 1_000_000;
const FETCH: i16 = 12;
/// The records are of years ago.
const FOR_EVER: &str = "log.retention.ms=-1";
/// For a reader that reads, however many others do not.
const PATIENCE: Duration = Duration::from_secs(60);

/// One record whose bytes tell where it stands.
fn batch(number: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    let value: Vec<u8> = (0..VALUE_BYTES as i64 / 8)
        .flat_map(|i| (i * 7919 + number).to_le_bytes())
        .collect();
    let time = Timestamp(1_700_000_000_000);
    builder.append(time, None, Some(&value), &[]);
    builder.build(&BatchSeal::default(), &mut Codecs::new())
}

/// Writes `count` batches of a megabyte to each partition.
fn fill(client: &mut Client, count: i64) {
    client.patient(Duration::from_secs(60)).expect("a socket");
    client.create_topic("cold", PARTITIONS).expect("set-up");
    for number in 0..count {
        for partition in 0..PARTITIONS {
            let sent = client.send_batch("cold", partition, batch(number));
            sent.expect("written");
        }
        for _ in 0..PARTITIONS {
            assert_eq!(client.receive_batch().expect("answered").error_code, 0);
        }
    }
}

fn fetch(partition: i32, offset: i64, bytes_max: i32) -> Vec<u8> {
    request_bytes(
        FETCH,
        &fetch_request("cold", partition, offset, bytes_max, 500),
    )
}

/// A connection whose kernel takes little for it.
pub fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("an option");
    socket.connect(&address.into()).expect("accepted");
    let stream = TcpStream::from(socket);
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("an option");
    stream
}

/// The records that an answer brings of the one partition asked for.
fn records(frame: Bytes) -> Bytes {
    let (_, answer) =
        read_response::<FetchResponse>(Reader::new(frame), FETCH).expect("an answer to a Fetch");
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    match &partition.records {
        Some(Records::Bytes(bytes)) => bytes.clone(),
        other => panic!("no records: {other:?}"),
    }
}

/// Reads a partition from its start as a consumer does. Returns how long it took.
fn read_all(client: &mut Client, partition: i32, count: i64) -> Duration {
    let began = Instant::now();
    let mut offset = 0;
    while offset < count {
        let read = client
            .fetch("cold", partition, offset, 10 << 20, 500)
            .expect("a reader that reads is served");
        assert_eq!(read.error_code, 0);
        let bytes = match read.records {
            Some(Records::Bytes(bytes)) => bytes,
            _ => Bytes::new(),
        };
        // Where it waited for memory in vain, it asks again.
        assert!(began.elapsed() < PATIENCE, "at {offset}");
        let size = batch(0).len();
        assert!(
            bytes.is_empty() || bytes.len() >= size,
            "{} bytes",
            bytes.len()
        );
        for whole in bytes.chunks_exact(size) {
            assert_eq!(whole[61..], batch(offset)[61..], "batch {offset}");
            offset += 1;
        }
    }
    began.elapsed()
}

/// What was lost: pages that answers kept after the cache had let them go were counted nowhere, up to `fetch.max.bytes` for
/// each connection.
#[test]
fn parts_of_history_that_nobody_takes_stay_inside_the_budget() {
    const BATCHES: i64 = 60;
    const READERS: i64 = 200;
    const MEMORY: u64 = 256 << 20;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let memory = format!("memory.bytes={MEMORY}");
    let mut broker = Broker::start_with(free_port(), dir.path(), &[&memory, FOR_EVER]);
    let before = broker.resident();
    let mut client = broker.client();
    fill(&mut client, BATCHES);
    let full = broker.resident();
    // Neighbours are far apart: what one has read is not in the cache any more when the next comes by.
    let place = |n: i64| ((n % 4) as i32, n * 17 % (BATCHES - 20));
    let mut readers: Vec<TcpStream> = (0..READERS)
        .map(|n| {
            let (partition, offset) = place(n);
            let mut stream = narrow(broker.address);
            let asked = fetch(partition, offset, 20_000_000);
            stream.write_all(&asked).expect("written");
            stream
        })
        .collect();
    thread::sleep(Duration::from_secs(3));
    let held = broker.resident();
    let took = read_all(&mut client, 1, BATCHES);
    let after = broker.resident();
    println!(
        "resident {} MiB before, {} with tails, {} with {READERS} readers, {} after one has read {BATCHES} MB in {took:?}",
        before >> 20,
        full >> 20,
        held >> 20,
        after >> 20
    );
    for resident in [held, after] {
        assert!(resident < before + MEMORY, "{} MiB", resident >> 20);
    }
    assert!(took < Duration::from_secs(20), "{took:?}");
    // What was kept waiting is whole, be it kept or copied.
    for n in [0, 1, READERS / 2, READERS - 1] {
        let (_, offset) = place(n);
        let frame = read_frame(&mut readers[n as usize]).expect("the answer waits");
        let bytes = records(frame);
        let size = batch(0).len();
        assert!(bytes.len() >= size, "reader {n}: {} bytes", bytes.len());
        for (number, whole) in (offset..).zip(bytes.chunks_exact(size)) {
            assert_eq!(whole[61..], batch(number)[61..], "reader {n}");
        }
    }
    drop(readers);
    broker.assert_running();
}

/// Goal: where not even first batches have room, those who take nothing are found and closed, and who waits goes on.
#[test]
fn who_takes_nothing_while_others_starve_is_closed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let small = ["memory.bytes=67108864", FOR_EVER];
    let mut broker = Broker::start_with(free_port(), dir.path(), &small);
    let mut client = broker.client();
    fill(&mut client, 16);
    let readers: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut stream = narrow(broker.address);
            // More than kernels take for a connection.
            let asked = fetch(n % PARTITIONS, 0, 16_000_000);
            (0..8).for_each(|_| stream.write_all(&asked).expect("written"));
            stream
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    let took = read_all(&mut client, 2, 16);
    println!("a reader among 40 that take nothing has read 16 MB in {took:?}");
    drop(readers);
    let output = broker.output();
    assert!(
        output.contains("its answer is taken too slowly while others wait for memory"),
        "{output}"
    );
    broker.assert_running();
}
