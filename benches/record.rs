//! What checking, walking, building and compressing batches costs, in nanoseconds per record.
//!
//! `cargo bench --bench record` measures; with `-- --quick`, or run by `cargo test --benches`, each case runs once so
//! that it does not rot. Times are the best of several rounds, to be compared on one machine. The hash is of what came
//! out: it changes only if the bytes or the answers do.

use std::hint::black_box;
use std::time::Instant;

use ringlog::record::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchSeal, Codec, Codecs, Limits, check_slice, crc32c,
    recompress, records,
};
use ringlog::types::{Prng, Timestamp};

// Each bench uses a part of it.
#[allow(dead_code)]
mod measure;

const CAP: usize = 16 << 20;
const BATCH_BYTES: usize = 128 << 10;

struct Bench {
    rounds: usize,
    hash: u32,
    /// Of the records' values, in bytes.
    size: usize,
}

impl Bench {
    /// Runs `work` again and again and prints the best time per record.
    fn case(&mut self, name: &str, count: usize, bytes: usize, mut work: impl FnMut() -> u32) {
        let answer = work();
        self.hash = crc32c(&[self.hash.to_be_bytes(), answer.to_be_bytes()].concat());
        let repeats = if self.rounds > 1 { 50 } else { 1 };
        let mut best = f64::MAX;
        for _ in 0..self.rounds {
            let label = format!("{name}, records of {} B", self.size);
            let start = Instant::now();
            measure::counted(&label, || {
                for _ in 0..repeats {
                    assert_eq!(black_box(work()), answer, "{name} is not repeatable");
                }
            });
            best = best.min(start.elapsed().as_nanos() as f64 / repeats as f64);
        }
        let per_record = best / count as f64;
        let rate = bytes as f64 / best;
        println!("{name:<34}{per_record:>9.1} ns/record {rate:>8.2} GB/s");
    }
}

/// Values of words with digits between: about as compressible as JSON.
fn values(count: usize, size: usize) -> Vec<Vec<u8>> {
    let mut prng = Prng::new(7);
    let words = [
        "user",
        "\"id\":",
        "{\"page\":",
        "/products/",
        "true,",
        "session",
        "2026-11-",
    ];
    (0..count)
        .map(|_| {
            let mut value = Vec::with_capacity(size + 16);
            while value.len() < size {
                value.extend_from_slice(words[prng.below(words.len() as u64) as usize].as_bytes());
                value.extend_from_slice(prng.below(10_000).to_string().as_bytes());
            }
            value.truncate(size);
            value
        })
        .collect()
}

fn fill(builder: &mut BatchBuilder, values: &[Vec<u8>]) {
    for (i, value) in values.iter().enumerate() {
        builder.append(
            Timestamp(1_700_000_000_000 + i as i64 / 8),
            None,
            Some(value),
            &[],
        );
    }
}

fn size_of_records(bench: &mut Bench, size: usize) {
    let count = BATCH_BYTES / (size + 8);
    let values = values(count, size);
    let mut codecs = Codecs::new();
    let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES + 4096);
    fill(&mut builder, &values);
    let batch = builder.build(&BatchSeal::default(), &mut codecs);
    let bytes = batch.len();
    println!("{count} records of {size} B in {bytes} bytes");

    let limits = Limits::client(1 << 20, CAP);
    bench.case("crc alone", count, bytes, || {
        crc32c(black_box(&batch[21..]))
    });
    bench.case("check (crc and walk)", count, bytes, || {
        let facts = check_slice(black_box(&batch), &limits, &mut codecs).expect("sound");
        facts.max_timestamp.0 as u32
    });
    bench.case("iterate", count, bytes, || {
        let records = records(black_box(&batch), CAP, &mut codecs).expect("sound");
        records.fold(0, |sum, record| {
            let record = record.expect("sound");
            sum + record.value.map_or(0, <[u8]>::len) as u32 + record.offset.0 as u32
        })
    });
    bench.case("build", count, bytes, || {
        fill(&mut builder, black_box(&values));
        builder.build(&BatchSeal::default(), &mut codecs).len() as u32
    });
    for codec in &Codec::ALL[1..] {
        let mut builder = BatchBuilder::new(*codec, BATCH_BYTES + 4096);
        fill(&mut builder, &values);
        let batch = builder.build(&BatchSeal::default(), &mut codecs);
        let checked = ringlog::record::check(batch.clone(), &limits, &mut codecs).expect("sound");
        println!(
            "{codec} makes it {:.2} times smaller",
            bytes as f64 / batch.len() as f64
        );
        bench.case(&format!("{codec} build"), count, bytes, || {
            fill(&mut builder, black_box(&values));
            crc32c(&builder.build(&BatchSeal::default(), &mut codecs))
        });
        bench.case(&format!("{codec} inflate"), count, bytes, || {
            let compressed = &batch[BATCH_HEADER_BYTES..];
            let inflated = codecs.inflate(*codec, black_box(compressed), CAP);
            inflated.expect("sound").len() as u32
        });
        bench.case(&format!("{codec} recompress to none"), count, bytes, || {
            let plain = recompress(black_box(&checked), Codec::None, None, CAP, &mut codecs);
            plain.expect("sound").size() as u32
        });
    }
}

fn main() {
    let mut bench = Bench {
        rounds: measure::rounds(9),
        hash: 0,
        size: 0,
    };
    for size in [100, 1000] {
        bench.size = size;
        size_of_records(&mut bench, size);
    }
    println!("hash {:#010x}", bench.hash);
}
