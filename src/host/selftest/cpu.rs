//! One CPU on what a broker does with bytes: checksums, codecs both ways, copies.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::pattern::rate;
use crate::record::{Codec, Codecs, crc32c};
use crate::types::Prng;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CpuFigure {
    pub name: String,
    pub block_bytes: usize,
    /// Of uncompressed bytes.
    pub mib_per_second: f64,
    /// Uncompressed for each compressed byte; of codecs only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// A batch as producers send it.
const BATCH_BYTES: usize = 64 << 10;
const KIB: usize = 1 << 10;
/// Larger than any cache, so that it is memory that is measured.
const MEMORY_BYTES: usize = 64 << 20;

/// Measures within `time`, shared by all measurements alike; each is done once at least.
pub fn cpu(time: Duration) -> Result<Vec<CpuFigure>, String> {
    let codecs = Codec::ALL.into_iter().filter(|codec| *codec != Codec::None);
    let codecs: Vec<Codec> = codecs.collect();
    let count = 4 + 2 * codecs.len() as u32;
    let share = time / count;
    let figure = |name: String, block_bytes, ratio, work: &mut dyn FnMut()| CpuFigure {
        name,
        block_bytes,
        mib_per_second: repeat(block_bytes, share, work),
        ratio,
    };
    let mut figures = Vec::new();
    for block in [4 * KIB, KIB * KIB] {
        let data = text(block);
        let mut work = || _ = black_box(crc32c(black_box(&data)));
        figures.push(figure("crc-32c".to_owned(), block, None, &mut work));
    }
    let mut state = Codecs::new();
    let data = text(BATCH_BYTES);
    for codec in codecs {
        let mut out = Vec::with_capacity(2 * BATCH_BYTES);
        state.deflate(codec, None, &data, &mut out);
        let packed = out.clone();
        let back = state.inflate(codec, &packed, BATCH_BYTES + 1);
        if !back.is_ok_and(|back| back == data) {
            return Err(format!("{codec}: what comes out is not what went in"));
        }
        let ratio = Some(data.len() as f64 / packed.len().max(1) as f64);
        let mut deflate = || {
            out.clear();
            state.deflate(codec, None, black_box(&data), &mut out);
        };
        figures.push(figure(
            format!("{codec} compress"),
            BATCH_BYTES,
            ratio,
            &mut deflate,
        ));
        let mut inflate = || {
            let back = state.inflate(codec, black_box(&packed), BATCH_BYTES + 1);
            _ = black_box(back.is_ok());
        };
        figures.push(figure(
            format!("{codec} decompress"),
            BATCH_BYTES,
            ratio,
            &mut inflate,
        ));
    }
    for block in [KIB * KIB, MEMORY_BYTES] {
        let from = vec![1_u8; block];
        let mut to = vec![0_u8; block];
        let mut work = || black_box(&mut to).copy_from_slice(black_box(&from));
        figures.push(figure("memory copy".to_owned(), block, None, &mut work));
    }
    Ok(figures)
}

/// MiB a second of `work` on blocks of so many bytes, at least once.
fn repeat(block_bytes: usize, time: Duration, work: &mut dyn FnMut()) -> f64 {
    // The first brings caches and tables in.
    work();
    let began = Instant::now();
    let mut done = 0;
    loop {
        work();
        done += block_bytes as u64;
        let took = began.elapsed();
        if took >= time {
            return rate(done, took);
        }
    }
}

/// Lines of JSON, as logs and events are.
fn text(bytes: usize) -> Vec<u8> {
    let mut prng = Prng::new(11);
    let mut out = Vec::with_capacity(bytes + 200);
    let levels = ["info", "warn", "error", "debug"];
    while out.len() < bytes {
        let level = levels[prng.below(4) as usize];
        let (host, user, took) = (prng.below(40), prng.next_u64(), prng.below(100_000));
        let line = format!(
            "{{\"level\":\"{level}\",\"host\":\"web-{host:02}\",\"user\":\"{user:016x}\",\"path\":\"/api/v1/orders\",\"took_us\":{took}}}\n"
        );
        out.extend_from_slice(line.as_bytes());
    }
    out.truncate(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_measured_within_the_bounds() {
        let began = Instant::now();
        let figures = cpu(Duration::from_millis(60)).expect("codecs work");
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(figures.len(), 12);
        for figure in &figures {
            assert!(figure.mib_per_second > 0.0, "{figure:?}");
            let is_codec = figure.name.contains("compress");
            assert_eq!(
                figure.ratio.is_some_and(|ratio| ratio > 1.5),
                is_codec,
                "{figure:?}"
            );
        }
    }
}
