//! What the read cache costs: lookups, what comes in and what goes, what a scan leaves of it, and whole reads of a log.
//!
//! `cargo bench --bench cache` measures; with `-- --quick`, or run by `cargo test --benches`, each case runs once so that it
//! does not rot. Each line: median nanoseconds of one operation. The hash is of what was found and what was kept: it is the
//! same however often the cases run, and changes only if the answers do. There is no device: logs lie on a simulated disk,
//! in memory.

use std::cell::RefCell;
use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use futures_lite::future::block_on;
use ringlog::partition::EncodedProducers;
use ringlog::record::{BatchBuilder, BatchSeal, CheckedBatch, Codec, Codecs, Limits, check};
use ringlog::rt::{Buffer, Clock, Disk, Page, SimClock, SimDisk};
use ringlog::storage::{
    CHUNK_BYTES, ChunkCache, ChunkKey, Directories, Log, LogConfig, LogId, Store, StoreConfig,
};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, Str, Timestamp, TopicPartition, Uuid,
};

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

#[global_allocator]
static ALLOCATOR: ringlog::rt::Allocator = ringlog::rt::Allocator;

/// Operations in one measured stretch.
const COUNT: usize = 1024;
/// Chunks share so many pages, or a cache of a gigabyte would take one.
const PAGES: u32 = 16;
/// What a consumer usually asks of a partition, and of the log in these benches.
const READ_BYTES: usize = 64 << 10;

struct Bench {
    rounds: usize,
    hash: u64,
}

impl Bench {
    /// Prints the median nanoseconds of one of the `count` operations of `work`, which is given what `prepare` makes outside
    /// the measured time. Its first answer goes into the hash.
    fn case<S>(
        &mut self,
        name: &str,
        count: usize,
        mut prepare: impl FnMut() -> S,
        mut work: impl FnMut(S) -> u64,
    ) {
        let answer = work(prepare());
        self.note(answer);
        let mut times: Vec<f64> = (0..self.rounds)
            .map(|_| {
                let state = prepare();
                let start = Instant::now();
                black_box(measure::counted(name, || work(state)));
                start.elapsed().as_nanos() as f64 / count as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{name:<58}{:>12.1} ns", times[times.len() / 2]);
    }

    fn note(&mut self, answer: u64) {
        self.hash = measure::hash_on(self.hash, &answer.to_le_bytes());
    }
}

fn main() {
    let mut bench = Bench {
        rounds: measure::rounds(200),
        hash: measure::HASH_START,
    };
    let chunks = Chunks::new();
    // 64 MiB, which is what the cache has before anything was missed again, and 1 GiB.
    for held in [256, 4096] {
        lookups(&mut bench, &chunks, held);
        changes(&mut bench, &chunks, held);
        scan(&mut bench, &chunks, held);
    }
    bench.rounds = measure::rounds(20);
    logs(&mut bench);
    println!("hash {:016x}", bench.hash);
}

/// Stand-ins for what was read: chunk `n` has page `n % PAGES`, whose bytes are all that number.
struct Chunks(Vec<Page>);

impl Chunks {
    fn new() -> Chunks {
        let page = |fill| Buffer::copy_of(&vec![fill as u8; CHUNK_BYTES as usize]).freeze();
        Chunks((0..PAGES).map(page).collect())
    }

    fn page(&self, number: u32) -> Page {
        self.0[(number % PAGES) as usize].clone()
    }

    /// A cache that holds chunks `0..held` and has no room for more.
    fn cache(&self, held: u32) -> ChunkCache {
        let bytes = (held * CHUNK_BYTES) as usize;
        let mut cache = ChunkCache::new(bytes);
        cache.grow(bytes);
        for number in 0..held {
            cache.insert(key(number), self.page(number));
        }
        assert_eq!(cache.size(), bytes);
        cache
    }
}

fn key(number: u32) -> ChunkKey {
    ChunkKey {
        log: LogId(number % 7),
        generation: 3,
        base: Offset(1000),
        number,
    }
}

/// Looks a chunk up as a reader does; what it finds must be that chunk's.
fn find(cache: &mut ChunkCache, number: u32) -> bool {
    let (from, to) = (4000, 4000 + READ_BYTES as u32);
    let Some(slice) = cache.find(key(number), from, to) else {
        return false;
    };
    assert_eq!(u32::from(slice[0]), number % PAGES, "another chunk's bytes");
    true
}

fn numbers(of: Range<u32>, seed: u64) -> Vec<u32> {
    let mut prng = Prng::new(seed);
    let length = u64::from(of.end - of.start);
    (0..COUNT)
        .map(|_| of.start + prng.below(length) as u32)
        .collect()
}

fn lookups(bench: &mut Bench, chunks: &Chunks, held: u32) {
    let mut cache = chunks.cache(held);
    let (here, absent) = (numbers(0..held, 1), numbers(held..9 * held, 2));
    bench.case(
        &format!("{held} chunks: find one that is there"),
        COUNT,
        || (),
        |()| {
            let found = here.iter().filter(|number| find(&mut cache, **number));
            found.count() as u64
        },
    );
    bench.case(
        &format!("{held} chunks: find one that is not"),
        COUNT,
        || (),
        |()| {
            let found = absent.iter().filter(|number| find(&mut cache, **number));
            found.count() as u64
        },
    );
    for number in 0..held {
        cache.note_checked(key(number), 0, CHUNK_BYTES / 2);
    }
    bench.case(
        &format!("{held} chunks: was it held against its checksums"),
        COUNT,
        || (),
        |()| {
            let ends = here
                .iter()
                .zip([CHUNK_BYTES / 2, CHUNK_BYTES].iter().cycle());
            let checked = ends.filter(|(number, to)| cache.is_checked(key(**number), 9, **to));
            checked.count() as u64
        },
    );
}

fn changes(bench: &mut Bench, chunks: &Chunks, held: u32) {
    let mut misses = |name: &str, first: u32, after: &dyn Fn(u32) -> u32| {
        let (mut cache, mut next) = (chunks.cache(held), first);
        bench.case(
            &format!("{held} chunks: {name}"),
            COUNT,
            || (),
            |()| {
                let mut found = 0;
                for _ in 0..COUNT {
                    found += u64::from(find(&mut cache, next));
                    cache.insert(key(next), chunks.page(next));
                    next = after(next);
                }
                found + cache.size() as u64
            },
        );
    };
    misses("miss, insert, evict", held, &|next| next + 1);
    // Each was evicted a hundred chunks ago, and the cache knows that it was here.
    let of_late = |next| (next + 1) % (held + 100);
    misses("miss, insert what was evicted lately", 0, &of_late);
    // The longest way to something that may go: all have been used since the hand came by.
    let (cache, mut next) = (RefCell::new(chunks.cache(held)), held);
    let mut there: Vec<u32> = (0..held).collect();
    bench.case(
        &format!("{held} chunks: insert when all were used"),
        1,
        || {
            let mut cache = cache.borrow_mut();
            there.retain(|number| find(&mut cache, *number));
            there.push(next);
            next += 1;
            next - 1
        },
        |number| {
            let mut cache = cache.borrow_mut();
            cache.insert(key(number), chunks.page(number));
            cache.size() as u64
        },
    );
}

/// Readers of half the cache, and beside them one who goes through eight times as much and never comes back. Each step of
/// it is a lookup of either, and what is missed is brought in.
fn scan(bench: &mut Bench, chunks: &Chunks, held: u32) {
    let steps = 8 * held;
    let pass = |cache: &mut ChunkCache| {
        let (mut prng, mut kept) = (Prng::new(11), 0);
        for step in 0..steps {
            let scanned = held + step;
            if !find(cache, scanned) {
                cache.insert(key(scanned), chunks.page(scanned));
            }
            let hot = prng.below(u64::from(held / 2)) as u32;
            match find(cache, hot) {
                true => kept += 1,
                false => cache.insert(key(hot), chunks.page(hot)),
            }
        }
        kept
    };
    let kept = pass(&mut chunks.cache(held));
    bench.note(kept);
    let share = 100.0 * kept as f64 / f64::from(steps);
    println!("{held} chunks: a scan beside readers leaves them {share:.1} % of their lookups");
    assert!(
        share > 50.0,
        "a scan drives out what is read again and again"
    );
    bench.case(
        &format!("{held} chunks: step of a scan beside readers"),
        steps as usize,
        || chunks.cache(held),
        |mut cache| pass(&mut cache),
    );
}

/// Records of a log that was closed and opened again, so that none of it is in its tail.
const BATCHES: i64 = 512;
const BATCH_RECORDS: i64 = 16;

fn logs(bench: &mut Bench) {
    let sim = SimDisk::new(5);
    let (store, log) = block_on(open(&sim));
    block_on(fill_and_close(&store, &log));
    drop((store, log));
    let begins = block_on(async {
        let (_store, log) = open(&sim).await;
        begins(&log).await
    });
    let reads = begins.len();
    bench.case(
        "log: read 64 KiB from the disk, checked",
        reads,
        || block_on(open(&sim)),
        |(store, log)| {
            let bytes = block_on(read_all(&log));
            assert!(store.stats().reads_device > 0, "it was in memory");
            bytes
        },
    );
    let (store, log) = block_on(open(&sim));
    block_on(read_all(&log));
    let before = store.stats().reads_device;
    bench.case(
        "log: read 64 KiB from the cache",
        reads,
        || (),
        |()| {
            let mut bytes = 0;
            for from in &begins {
                let read = log.try_read(*from, log.end_offset(), READ_BYTES, true);
                let read = read.expect("reads").expect("it is in memory");
                bytes += read.bytes as u64 + u64::from(read.slices[0][20]);
            }
            bytes
        },
    );
    assert_eq!(store.stats().reads_device, before, "it was not in memory");
}

async fn open(sim: &SimDisk) -> (Store, Rc<Log>) {
    let (disk, paths) = (Disk::Sim(sim.clone()), [Path::new("/bench").to_owned()]);
    let prepared = Directories::prepare(&disk, &paths, NodeId(1), None).await;
    let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
    let directories = prepared.expect("prepares");
    let store = Store::open(disk, &directories, StoreConfig::default(), clock);
    let partition = TopicPartition {
        topic: Str::from("bench"),
        partition: PartitionIndex(0),
    };
    let opened = store.open_log(&partition, Uuid([3; 16]), LogConfig::default());
    let log = opened.await.expect("opens");
    // Else all of it is replayed, for its producers.
    log.latest_snapshot().await.expect("reads");
    log.recover(|_| ()).await.expect("recovers");
    (store, log)
}

async fn fill_and_close(store: &Store, log: &Log) {
    let batch = batch();
    for number in 0..BATCHES {
        let stamped = log.append(&batch, log.end_offset(), LeaderEpoch(0), Timestamp(0));
        stamped.expect("there is room");
        if number % 64 == 0 {
            assert!(store.commit().await.failed.is_empty());
        }
    }
    assert!(store.commit().await.failed.is_empty());
    let end = log.end_offset();
    assert_eq!(end, Offset(BATCHES * BATCH_RECORDS));
    log.write_snapshot(end, &EncodedProducers::default())
        .await
        .expect("writes");
    store.close().await.expect("closes");
}

fn batch() -> CheckedBatch {
    let (mut codecs, mut prng) = (Codecs::new(), Prng::new(3));
    let mut builder = BatchBuilder::new(Codec::None, 32 << 10);
    let mut value = [0; 1000];
    for number in 0..BATCH_RECORDS {
        prng.fill(&mut value);
        builder.append(Timestamp(1_000 + number), None, Some(&value), &[]);
    }
    let bytes = builder.build(&BatchSeal::default(), &mut codecs);
    let limits = Limits::client(1 << 20, 1 << 20);
    check(bytes, &limits, &mut codecs).expect("the builder makes good batches")
}

/// Where the reads of a reader in sequence begin.
async fn begins(log: &Log) -> Vec<Offset> {
    let (mut begins, mut next) = (Vec::new(), Offset::ZERO);
    while next < log.end_offset() {
        begins.push(next);
        let read = log.read(next, log.end_offset(), READ_BYTES, true).await;
        next = read.expect("reads").end_offset();
    }
    begins
}

/// Reads the log from its beginning to its end; returns the bytes of whole batches.
async fn read_all(log: &Log) -> u64 {
    let (mut bytes, mut next) = (0, Offset::ZERO);
    while next < log.end_offset() {
        let read = log.read(next, log.end_offset(), READ_BYTES, true).await;
        let read = read.expect("reads");
        bytes += read.bytes as u64 + u64::from(read.slices[0][20]);
        next = read.end_offset();
    }
    bytes
}
