//! What the client of the native wire costs its caller, record by record: batching, sending, being answered, reading back;
//! and the same through the client of Kafka's wire.
//!
//! `cargo bench --bench client` measures, against a broker of this process on the loopback, in a directory under the system's
//! temporary one; with `-- --quick`, or run by `cargo test --benches`, few records go through. Only the client's thread
//! counts: its processor time, the kernel's part included, and its calls of the allocator, which a counter in front of the
//! allocator sees by the thread. That neither side allocates by the record is what `client::native` says, and is held here.
//! The hash is of all records read back, by partition, offset and number.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringlog::client::native::{
    NativeClient, NativeConsumer, NativeConsumerOptions, NativeOptions, NativeProducer,
    NativeProducerOptions,
};
use ringlog::client::{
    ClientError, Cluster, ClusterOptions, Consumer, ConsumerOptions, Fetched, Mode, NewTopic,
    Place, Producer, ProducerOptions, ProducerStats,
};
use ringlog::config::BrokerConfig;
use ringlog::record::{Codecs, Header, records, split};
use ringlog::rt::{run_local, yield_if_needed};
use ringlog::types::Timestamp;

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The broker's allocator, and how often each thread asked it for memory.
struct Counting;

thread_local! {
    // A constant without a destructor: counting needs no memory itself, and works while a thread begins and ends.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn note_allocation() {
    // A thread that is gone has nobody who reads its count.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// How often this thread has asked for memory, or for more of it in the same place.
fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: everything is passed on unchanged to an allocator that keeps the contract; the counter in front touches no memory
// but its own, which needs none to be made.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller's contract, passed on.
        unsafe { ringlog::rt::Allocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract, passed on.
        unsafe { ringlog::rt::Allocator.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller's contract, passed on.
        unsafe { ringlog::rt::Allocator.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_allocation();
        // SAFETY: the caller's contract, passed on.
        unsafe { ringlog::rt::Allocator.realloc(memory, layout, size) }
    }
}

const PARTITIONS: u64 = 3;
const KEY_BYTES: usize = 8;
/// Records between two looks at whether there is room and whose turn it is.
const STRIDE: u64 = 64;
/// Both clients batch alike.
const BATCH_BYTES: usize = 64 << 10;
const LINGER: Duration = Duration::from_millis(1);
/// A batch may take so many calls of the allocator from its first record to its acknowledgement; more is a fault. It is far
/// below the number of records in a batch of small ones, so that none of them can have had one of its own.
const ALLOCATIONS_PER_BATCH_MAX: f64 = 40.0;

/// One side of a client, seen alike on both wires.
trait Produces {
    fn append(
        &self,
        partition: i32,
        key: &[u8],
        value: &[u8],
        headers: &[Header<'_>],
    ) -> Result<(), ClientError>;
    async fn room(&self) -> Result<(), ClientError>;
    async fn flush(&self) -> Result<ProducerStats, ClientError>;
}

trait Consumes {
    async fn poll(&mut self) -> Result<Fetched, ClientError>;
}

/// Both wires' clients have these methods under these names.
macro_rules! sides {
    ($producer:ty, $consumer:ty) => {
        impl Produces for $producer {
            fn append(
                &self,
                partition: i32,
                key: &[u8],
                value: &[u8],
                headers: &[Header<'_>],
            ) -> Result<(), ClientError> {
                <$producer>::append(self, partition, TIMESTAMP, Some(key), Some(value), headers)
            }

            async fn room(&self) -> Result<(), ClientError> {
                <$producer>::room(self).await
            }

            async fn flush(&self) -> Result<ProducerStats, ClientError> {
                <$producer>::flush(self).await
            }
        }

        impl Consumes for $consumer {
            async fn poll(&mut self) -> Result<Fetched, ClientError> {
                <$consumer>::poll(self).await
            }
        }
    };
}

const TIMESTAMP: Timestamp = Timestamp(1_700_000_000_000);
const HEADERS: [Header<'static>; 2] = [
    Header {
        key: b"source",
        value: Some(b"bench"),
    },
    Header {
        key: b"none",
        value: None,
    },
];

sides!(NativeProducer, NativeConsumer);
sides!(Producer, Consumer);

/// What a stretch of work took on this thread.
struct Spent {
    allocations: u64,
    cpu_ns: u64,
    began: Instant,
}

impl Spent {
    fn start() -> Spent {
        Spent {
            cpu_ns: measure::thread_cpu_ns(),
            began: Instant::now(),
            allocations: allocations(),
        }
    }

    /// Prints a line; returns the calls of the allocator for each batch.
    fn line(&self, name: &str, count: u64, batches: u64) -> f64 {
        let allocations = (allocations() - self.allocations) as f64;
        let wall = self.began.elapsed().as_secs_f64();
        let cpu = (measure::thread_cpu_ns() - self.cpu_ns) as f64;
        let (count, batches) = (count as f64, batches as f64);
        println!(
            "{name:<34}{:>14.1}{:>14.4}{:>14.1}{:>14.0}{:>14.0}",
            cpu / count,
            allocations / count,
            allocations / batches,
            count / batches,
            count / wall,
        );
        allocations / batches
    }
}

fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let (kafka, native) = (free_port(), free_port());
    let broker = {
        let config = config(dir.path(), kafka, native);
        std::thread::spawn(move || ringlog::server::run(config))
    };
    let (kafka, native) = (format!("127.0.0.1:{kafka}"), format!("127.0.0.1:{native}"));
    wait_for(&native, &broker);
    println!(
        "{:<34}{:>14}{:>14}{:>14}{:>14}{:>14}",
        "records", "CPU ns/record", "allocs/record", "allocs/batch", "records/batch", "records/s"
    );
    let hash = run_local(all(kafka, native)).expect("io_uring works here");
    let hash = hash.expect("the broker serves");
    println!("hash {hash:016x}");
    // The broker stops as it does in earnest, and must do so cleanly.
    signal_hook::low_level::raise(signal_hook::consts::SIGTERM).expect("the signal is handled");
    broker.join().expect("the broker does not panic")
}

/// The broker: one shard, and no wait for the disk, which is not what is measured here.
fn config(dir: &Path, kafka: u16, native: u16) -> BrokerConfig {
    let overrides = [
        format!("listeners=PLAINTEXT://127.0.0.1:{kafka},NATIVE://127.0.0.1:{native}"),
        "native.listener.names=NATIVE".to_owned(),
        format!("log.dirs={}", dir.display()),
        "admin.listener=".to_owned(),
        "num.shards=1".to_owned(),
        "write.caching=true".to_owned(),
    ];
    let (config, _) = BrokerConfig::load(None, &overrides).expect("a good configuration");
    config
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn wait_for(address: &str, broker: &std::thread::JoinHandle<ExitCode>) {
    while std::net::TcpStream::connect(address).is_err() {
        assert!(!broker.is_finished(), "the broker did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn all(kafka: String, native: String) -> Result<u64, ClientError> {
    let cluster = Cluster::connect(&[kafka], ClusterOptions::default()).await?;
    let client = NativeClient::connect(&[native], NativeOptions::default()).await?;
    let mut hash = measure::HASH_START;
    for (size, count, headers) in [
        (100, 3_000_000, &[][..]),
        (1000, 600_000, &[]),
        (100, 600_000, &HEADERS),
    ] {
        // A multiple of both strides.
        let count = if measure::is_quick() { 19_200 } else { count };
        let topic = format!("native-{size}-{}", headers.len());
        let topic = create(&cluster, &topic).await?;
        let options = NativeProducerOptions {
            batch_bytes: BATCH_BYTES,
            linger: LINGER,
            ..NativeProducerOptions::default()
        };
        let producer = NativeProducer::open(client.clone(), &topic, options).await?;
        produce("native", &producer, size, count, headers).await?;
        let options = NativeConsumerOptions::default();
        let opened = NativeConsumer::open(client.clone(), &topic, None, Place::Beginning, options);
        let read = consume("native", &mut opened.await?, size, count, headers).await?;
        hash = measure::hash_on(hash, &read.to_le_bytes());

        let topic = format!("kafka-{size}-{}", headers.len());
        let topic = create(&cluster, &topic).await?;
        let options = ProducerOptions {
            batch_bytes: BATCH_BYTES,
            linger: LINGER,
            ..ProducerOptions::default()
        };
        let producer = Producer::open(cluster.clone(), &topic, options).await?;
        produce("Kafka's", &producer, size, count, headers).await?;
        let options = ConsumerOptions::default();
        let opened = Consumer::open(cluster.clone(), &topic, None, Place::Beginning, options);
        let again = consume("Kafka's", &mut opened.await?, size, count, headers).await?;
        assert_eq!(again, read, "both wires carry the same records");
    }
    Ok(hash)
}

fn described(size: usize, headers: &[Header<'_>]) -> String {
    match headers.len() {
        0 => format!("{size} B"),
        count => format!("{size} B, {count} headers"),
    }
}

async fn create(cluster: &Rc<Cluster>, name: &str) -> Result<String, ClientError> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(PARTITIONS as i32),
        ..NewTopic::default()
    };
    cluster.create_topic(&topic, Mode::Do).await?;
    Ok(topic.name)
}

/// Sends records of numbers `0..count`, one partition after the other, and prints what appending took, and all of it.
async fn produce(
    wire: &str,
    producer: &impl Produces,
    size: usize,
    count: u64,
    headers: &[Header<'_>],
) -> Result<(), ClientError> {
    let mut value = vec![7; size];
    let spent = Spent::start();
    let (mut append_allocations, mut append_time) = (0, Duration::ZERO);
    for first in (0..count).step_by(STRIDE as usize) {
        producer.room().await?;
        yield_if_needed().await;
        // Nothing else runs on this thread until the stride is over.
        let (began, before) = (Instant::now(), allocations());
        for number in first..first + STRIDE {
            value[..8].copy_from_slice(&number.to_be_bytes());
            let key = &number.to_le_bytes()[..KEY_BYTES];
            producer.append((number % PARTITIONS) as i32, key, &value, headers)?;
        }
        append_time += began.elapsed();
        append_allocations += allocations() - before;
    }
    let stats = producer.flush().await?;
    assert_eq!(stats.records_acked, count);
    let batches = stats.batches_acked;
    let name = format!("{wire} produce, {}", described(size, headers));
    let per_batch = spent.line(&name, count, batches);
    println!(
        "  of it appending{:>30.1} ns wall{:>14.4}{:>14.1}",
        append_time.as_nanos() as f64 / count as f64,
        append_allocations as f64 / count as f64,
        append_allocations as f64 / batches as f64,
    );
    assert!(
        per_batch <= ALLOCATIONS_PER_BATCH_MAX,
        "{name}: {per_batch} allocations a batch"
    );
    Ok(())
}

/// Reads `count` records back; each must be the one that was sent to that place. Returns a hash of them that does not
/// depend on which partition came first.
async fn consume(
    wire: &str,
    consumer: &mut impl Consumes,
    size: usize,
    count: u64,
    headers: &[Header<'_>],
) -> Result<u64, ClientError> {
    let mut codecs = Codecs::new();
    let (mut seen, mut batches, mut hash) = (0, 0, 0u64);
    let spent = Spent::start();
    while seen < count {
        let fetched = consumer.poll().await?;
        for batch in split(&fetched.batches) {
            let batch = batch.expect("the broker sends good batches");
            batches += 1;
            let found = records(batch.bytes, 1 << 20, &mut codecs).expect("good batches");
            for record in found {
                let record = record.expect("good records");
                let value = record.value.expect("all have values");
                let number = u64::from_be_bytes(value[..8].try_into().expect("eight bytes"));
                let (offset, partition) = (record.offset.0 as u64, fetched.partition as u64);
                let is_right = number == offset * PARTITIONS + partition && value.len() == size;
                assert!(is_right, "{partition}-{offset} holds record {number}");
                assert!(record.headers.eq(headers.iter().copied()));
                // Multiplied, so that records cannot change places unnoticed; added, since partitions take turns.
                let mixed = (number ^ offset.rotate_left(32) ^ partition.rotate_left(60)) | 1;
                hash = hash.wrapping_add(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29));
                seen += 1;
            }
        }
        yield_if_needed().await;
    }
    assert_eq!(seen, count);
    let name = format!("{wire} consume, {}", described(size, headers));
    let per_batch = spent.line(&name, count, batches);
    assert!(
        per_batch <= ALLOCATIONS_PER_BATCH_MAX,
        "{name}: {per_batch} allocations a batch"
    );
    Ok(hash)
}
