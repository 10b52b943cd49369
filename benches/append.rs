//! What it costs to append and commit: CPU of this process (kernel included) per record, rate, and latency of a round.
//!
//! `cargo bench --bench append` measures on the real disk, in a directory under the system's temporary one (or
//! `RINGLOG_BENCH_DIR`); with `-- --quick`, or run by `cargo test --benches`, each case runs a few rounds. The hash is of the
//! offsets and bytes that came out: it changes only if they do.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use ringlog::record::{
    BatchBuilder, BatchSeal, CheckedBatch, Codec, Codecs, Limits, check, crc32c,
};
use ringlog::rt::{Clock, Disk, run_local};
use ringlog::storage::{Directories, Log, LogConfig, Store, StoreConfig};
use ringlog::types::{
    LeaderEpoch, NodeId, PartitionIndex, Prng, Str, Timestamp, TopicPartition, Uuid,
};

use measure::process_cpu_seconds;

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

/// One workload: every round appends `batches` to each partition and commits.
struct Case {
    name: &'static str,
    partitions: usize,
    batches: usize,
    records: usize,
    value_bytes: usize,
    rounds: usize,
}

const CASES: [Case; 5] = [
    Case {
        name: "6 x 16 KiB",
        partitions: 6,
        batches: 1,
        records: 16,
        value_bytes: 1000,
        rounds: 2000,
    },
    Case {
        name: "6 x 8 x 16 KiB",
        partitions: 6,
        batches: 8,
        records: 16,
        value_bytes: 1000,
        rounds: 600,
    },
    Case {
        name: "100 x 5 x 170 B",
        partitions: 100,
        batches: 5,
        records: 1,
        value_bytes: 100,
        rounds: 400,
    },
    Case {
        name: "1000 x 1 x 170 B",
        partitions: 1000,
        batches: 1,
        records: 1,
        value_bytes: 100,
        rounds: 100,
    },
    Case {
        name: "1 x 1 MiB",
        partitions: 1,
        batches: 1,
        records: 1000,
        value_bytes: 1040,
        rounds: 1000,
    },
];

fn main() {
    let quick = measure::is_quick();
    let base = std::env::var_os("RINGLOG_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("ringlog-append-{}", std::process::id()));
    let mut hash = 0;
    println!(
        "{:<20}{:>14}{:>14}{:>12}{:>14}{:>10}",
        "case", "ns CPU/record", "records/s", "MB/s", "us/round p50", "p99"
    );
    for case in &CASES {
        let answer = run_local(run(case, &dir, quick)).expect("io_uring works here");
        hash = crc32c(&[u32::to_be_bytes(hash), answer.to_be_bytes()].concat());
        std::fs::remove_dir_all(&dir).expect("the bench made it");
    }
    println!("hash {hash:08x}");
}

async fn run(case: &Case, dir: &Path, quick: bool) -> u32 {
    let disk = Disk::Ring;
    let directories = Directories::prepare(&disk, &[dir.to_owned()], NodeId(1), None)
        .await
        .expect("prepares");
    let store = Store::open(disk, &directories, StoreConfig::default(), Clock::Real);
    let mut logs = Vec::new();
    for i in 0..case.partitions {
        let partition = TopicPartition {
            topic: Str::from("bench"),
            partition: PartitionIndex(i as i32),
        };
        let log = store
            .open_log(&partition, Uuid([1; 16]), LogConfig::default())
            .await
            .expect("opens");
        log.recover(|_| ()).await.expect("recovers");
        logs.push(log);
    }
    let batch = batch(case);
    let rounds = if quick { 3 } else { case.rounds };
    // Warm: files made, extents sized.
    for _ in 0..rounds.min(3) {
        round(case, &store, &logs, &batch).await;
    }
    let mut micros = Vec::with_capacity(rounds);
    let (start, cpu) = (Instant::now(), process_cpu_seconds());
    for _ in 0..rounds {
        let begin = Instant::now();
        round(case, &store, &logs, &batch).await;
        micros.push(begin.elapsed().as_micros() as u64);
    }
    let wall = start.elapsed().as_secs_f64();
    let cpu = process_cpu_seconds() - cpu;
    let records = (rounds * case.partitions * case.batches * case.records) as f64;
    let bytes = (rounds * case.partitions * case.batches * batch.size()) as f64;
    micros.sort_unstable();
    println!(
        "{:<20}{:>14.0}{:>14.0}{:>12.1}{:>14}{:>10}",
        case.name,
        cpu * 1e9 / records,
        records / wall,
        bytes / wall / 1e6,
        micros[rounds / 2],
        micros[rounds * 99 / 100],
    );
    let answer = digest(&logs).await;
    store.close().await.expect("closes");
    answer
}

async fn round(case: &Case, store: &Store, logs: &[Rc<Log>], batch: &CheckedBatch) {
    for log in logs {
        for _ in 0..case.batches {
            log.append(batch, log.end_offset(), LeaderEpoch(0), Timestamp(0))
                .expect("there is room");
        }
    }
    let committed = store.commit().await;
    assert!(committed.failed.is_empty(), "{:?}", committed.failed);
    assert!(logs.iter().all(|log| log.durable_end() == log.end_offset()));
}

fn batch(case: &Case) -> CheckedBatch {
    let (mut codecs, mut prng) = (Codecs::new(), Prng::new(3));
    let mut builder = BatchBuilder::new(Codec::None, 1 << 20);
    let mut value = vec![0; case.value_bytes];
    for i in 0..case.records {
        prng.fill(&mut value);
        builder.append(Timestamp(1_000 + i as i64), None, Some(&value), &[]);
    }
    let bytes = builder.build(&BatchSeal::default(), &mut codecs);
    check(bytes, &Limits::client(64 << 20, 64 << 20), &mut codecs)
        .expect("the builder makes good batches")
}

/// The logs' ends, and the bytes of the first one's last batch.
async fn digest(logs: &[Rc<Log>]) -> u32 {
    let mut bytes = Vec::new();
    for log in logs {
        bytes.extend_from_slice(&log.end_offset().0.to_be_bytes());
    }
    let end = logs[0].end_offset();
    let read = logs[0]
        .read(end.plus(-1), end, 1 << 20, true)
        .await
        .expect("reads");
    read.slices
        .iter()
        .for_each(|slice| bytes.extend_from_slice(slice));
    crc32c(&bytes)
}
