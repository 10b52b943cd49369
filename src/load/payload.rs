//! What the records hold: made before the clock starts, so that making it costs the measured run nothing.

use std::sync::Arc;

use crate::types::Prng;

use super::check::Stamp;
use super::plan::Plan;
use super::sizes::Sizes;

/// What is in the values, where no stamp is.
#[derive(Clone, Debug)]
pub enum Contents {
    Random,
    /// Zero bytes.
    Zero,
    /// As random as that a codec makes about a `ratio`-th of it; more than 1.
    Compressible {
        ratio: f64,
    },
    /// One line after the other, without line feeds, and again from the first.
    Lines(Arc<Lines>),
}

/// The lines of a file.
#[derive(Debug)]
pub struct Lines {
    text: Vec<u8>,
    /// Where each line ends in `text`, which has no line feeds.
    ends: Vec<usize>,
}

/// One producer's values, handed out in slices of a pool. A slice comes back only after the whole pool has been used, so
/// no codec finds repeats inside a batch.
#[derive(Debug)]
pub struct Payload {
    pool: Vec<u8>,
    position: usize,
    sizes: Sizes,
    prng: Prng,
    lines: Option<Arc<Lines>>,
    line: usize,
}

impl Lines {
    /// - `Err`: what is wrong with it, for people.
    pub fn of(text: &[u8]) -> Result<Lines, String> {
        let mut lines = Lines {
            text: Vec::with_capacity(text.len()),
            ends: Vec::new(),
        };
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            lines.text.extend_from_slice(line);
            lines.ends.push(lines.text.len());
        }
        match lines.ends.is_empty() {
            true => Err("it has no lines".to_owned()),
            false => Ok(lines),
        }
    }

    fn line(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            index => self.ends[index - 1],
        };
        &self.text[start..self.ends[index]]
    }

    /// Of the longest line.
    pub fn bytes_max(&self) -> usize {
        let lengths = (0..self.ends.len()).map(|index| self.line(index).len());
        lengths.max().unwrap_or(0)
    }

    pub fn mean(&self) -> f64 {
        self.text.len() as f64 / self.ends.len() as f64
    }
}

impl Payload {
    /// That of producer `index`.
    pub fn new(plan: &Plan, index: usize) -> Payload {
        let mut prng = Prng::new(plan.seed.wrapping_add(index as u64));
        let lines = match &plan.contents {
            Contents::Lines(lines) => Some(lines.clone()),
            _ => None,
        };
        let bytes = match lines {
            // Lines come from their own memory; the pool is where a stamp is put before one.
            Some(_) => plan.value_bytes_max(),
            None => {
                let share = (POOLS_BYTES / plan.producers.max(1)).min(POOL_BYTES);
                share.max(2 * plan.value_bytes_max().max(plan.batch_bytes))
            }
        };
        let mut pool = vec![0; bytes];
        match plan.contents {
            Contents::Random => prng.fill(&mut pool),
            Contents::Compressible { ratio } => fill_compressible(&mut pool, ratio, &mut prng),
            Contents::Zero | Contents::Lines(_) => {}
        }
        Payload {
            pool,
            position: 0,
            sizes: plan.sizes.clone(),
            prng,
            lines,
            line: 0,
        }
    }

    pub fn pool_bytes(&self) -> usize {
        self.pool.len()
    }

    /// The size of the next record's value, which [`Payload::value`] is then asked for.
    pub fn next_size(&mut self, stamped: bool) -> usize {
        match &self.lines {
            Some(lines) => {
                let stamp = if stamped { Stamp::BYTES } else { 0 };
                stamp + lines.line(self.line).len()
            }
            None => self.sizes.draw(&mut self.prng),
        }
    }

    /// The next record's value, of the size that was drawn, its stamp first where there is one.
    pub fn value(&mut self, bytes: usize, stamp: Option<Stamp>, key: Option<&[u8]>) -> &[u8] {
        let start = match &self.lines {
            Some(lines) => {
                let line = lines.line(self.line);
                let at = bytes - line.len();
                self.pool[at..bytes].copy_from_slice(line);
                self.line = (self.line + 1) % lines.ends.len();
                0
            }
            None => self.advance(bytes),
        };
        let value = &mut self.pool[start..start + bytes];
        if let Some(stamp) = stamp {
            stamp.write(value, key);
        }
        value
    }

    fn advance(&mut self, bytes: usize) -> usize {
        let start = match self.position + bytes <= self.pool.len() {
            true => self.position,
            false => 0,
        };
        self.position = start + bytes;
        start
    }
}

/// In every piece a part is random and the rest is zero: codecs find the zeroes at once, and nothing in the other part.
fn fill_compressible(pool: &mut [u8], ratio: f64, prng: &mut Prng) {
    for piece in pool.chunks_mut(PIECE_BYTES) {
        let random = (piece.len() as f64 / ratio.max(1.0)).round() as usize;
        prng.fill(&mut piece[..random]);
    }
}

/// Long enough that what a codec writes for a run of zeroes does not count.
const PIECE_BYTES: usize = 256;
/// Of one producer: larger than most batches that a codec sees at once.
const POOL_BYTES: usize = 8 << 20;
/// Of all producers, as far as two batches each allow.
const POOLS_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Consume;
    use crate::record::{BatchBuilder, BatchSeal, Codec, Codecs};
    use crate::types::Timestamp;

    fn plan(bytes: usize, batch_bytes: usize) -> Plan {
        Plan {
            sizes: Sizes::fixed(bytes),
            batch_bytes,
            ..Plan::default()
        }
    }

    fn payload(bytes: usize, batch_bytes: usize, index: usize) -> Payload {
        Payload::new(&plan(bytes, batch_bytes), index)
    }

    fn next(payload: &mut Payload) -> Vec<u8> {
        let size = payload.next_size(false);
        payload.value(size, None, None).to_vec()
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let mut three = [0, 0, 1].map(|index| payload(100, 1000, index));
        for _ in 0..1000 {
            let [a, b, c] = three.each_mut().map(next);
            assert_eq!(a, b);
            assert_ne!(a, c);
        }
    }

    #[test]
    fn values_differ_until_the_pool_is_used_and_then_begin_again() {
        let mut payload = payload(1 << 20, 0, 0);
        let first = next(&mut payload);
        for _ in 1..POOL_BYTES >> 20 {
            assert_ne!(next(&mut payload), first);
        }
        assert_eq!(next(&mut payload), first);
    }

    #[test]
    fn thousands_of_producers_share_a_bounded_memory() {
        let size = |producers| {
            let plan = Plan {
                producers,
                ..plan(100, 64 << 10)
            };
            Payload::new(&plan, 0).pool.len()
        };
        assert_eq!(size(1), POOL_BYTES);
        assert_eq!(size(2000), POOLS_BYTES / 2000);
        assert_eq!(size(4000), 128 << 10);
    }

    #[test]
    fn records_of_any_size_fit() {
        for bytes in [0, 1, 16, POOL_BYTES + 1] {
            let mut payload = payload(bytes, 0, 0);
            for _ in 0..3 {
                assert_eq!(next(&mut payload).len(), bytes);
            }
        }
    }

    #[test]
    fn what_is_compressible_compresses_about_as_asked() {
        for (ratio, codec) in [(2.0, Codec::Lz4), (4.0, Codec::Zstd), (10.0, Codec::Zstd)] {
            let plan = Plan {
                contents: Contents::Compressible { ratio },
                ..plan(1000, 64 << 10)
            };
            let mut payload = Payload::new(&plan, 0);
            let mut batch = BatchBuilder::new(codec, 0);
            for _ in 0..60 {
                let value = next(&mut payload);
                batch.append(Timestamp(0), None, Some(&value), &[]);
            }
            let before = batch.size();
            let after = batch.build(&BatchSeal::default(), &mut Codecs::new()).len();
            let found = before as f64 / after as f64;
            assert!((0.7..1.3).contains(&(found / ratio)), "{ratio}: {found}");
        }
    }

    #[test]
    fn lines_come_one_after_the_other_with_and_without_a_stamp() {
        assert!(Lines::of(b"").is_err());
        let lines = Lines::of(b"one\n\nthree").unwrap();
        assert_eq!((lines.bytes_max(), lines.mean()), (5, 8.0 / 3.0));
        let plan = Plan {
            contents: Contents::Lines(Arc::new(lines)),
            ..plan(1, 1000)
        };
        let mut payload = Payload::new(&plan, 0);
        let found: Vec<Vec<u8>> = (0..4).map(|_| next(&mut payload)).collect();
        assert_eq!(found, [b"one".as_slice(), b"", b"three", b"one"]);
        let stamp = Stamp {
            run: 1,
            due_ns: 2,
            producer: 3,
            sequence: 4,
        };
        let plan = Plan {
            consume: Some(Consume::at_the_tail()),
            ..plan
        };
        let mut payload = Payload::new(&plan, 0);
        payload.line = 2;
        let size = payload.next_size(true);
        let value = payload.value(size, Some(stamp), None);
        assert_eq!(&value[Stamp::BYTES..], b"three");
        assert_eq!(Stamp::read(value, None, 1), Some(Ok(stamp)));
    }
}
