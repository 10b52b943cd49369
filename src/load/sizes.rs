//! How large records are.

use std::fmt;

use crate::types::Prng;

/// Bytes of a record's value: one of some ranges, by weight, and in it each size as likely as any other.
#[derive(Clone, PartialEq, Debug)]
pub struct Sizes {
    ranges: Vec<Range>,
    weight: u64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Range {
    /// Of this range and all before it.
    weight_end: u64,
    min: usize,
    max: usize,
}

impl Sizes {
    /// Every record of `bytes`.
    pub fn fixed(bytes: usize) -> Sizes {
        Sizes::mix(&[(1, bytes, bytes)])
    }

    /// - `parts`: weight, smallest and largest size of each range; at least one, each of some weight.
    pub fn mix(parts: &[(u64, usize, usize)]) -> Sizes {
        let mut weight = 0;
        let ranges = parts.iter().map(|&(own, min, max)| {
            assert!(own > 0 && min <= max, "{own} of {min} to {max} bytes");
            weight += own;
            Range {
                weight_end: weight,
                min,
                max,
            }
        });
        let ranges: Vec<Range> = ranges.collect();
        assert!(!ranges.is_empty(), "records of no size");
        Sizes { ranges, weight }
    }

    pub fn draw(&self, prng: &mut Prng) -> usize {
        let range = match self.ranges.as_slice() {
            [only] => only,
            ranges => {
                let place = prng.below(self.weight);
                let found = ranges.iter().find(|range| place < range.weight_end);
                found.expect("the last range ends at the whole weight")
            }
        };
        match range.max - range.min {
            0 => range.min,
            more => range.min + prng.below(more as u64 + 1) as usize,
        }
    }

    pub fn min(&self) -> usize {
        let sizes = self.ranges.iter().map(|range| range.min);
        sizes.min().expect("at least one range")
    }

    pub fn max(&self) -> usize {
        let sizes = self.ranges.iter().map(|range| range.max);
        sizes.max().expect("at least one range")
    }

    pub fn mean(&self) -> f64 {
        let mut before = 0;
        let parts = self.ranges.iter().map(|range| {
            let weight = (range.weight_end - before) as f64;
            before = range.weight_end;
            weight * (range.min + range.max) as f64 / 2.0
        });
        parts.sum::<f64>() / self.weight as f64
    }
}

/// As `--record-bytes` takes them.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = 0;
        for range in &self.ranges {
            let percent = (range.weight_end - before) as f64 * 100.0 / self.weight as f64;
            if self.ranges.len() > 1 {
                let comma = if before > 0 { "," } else { "" };
                write!(f, "{comma}{percent}%:")?;
            }
            before = range.weight_end;
            match range.min == range.max {
                true => write!(f, "{}", range.min)?,
                false => write!(f, "{}..{}", range.min, range.max)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_drawn_by_weight_and_evenly_within_a_range() {
        let sizes = Sizes::mix(&[(70, 100, 100), (30, 1000, 2000)]);
        let mut prng = Prng::new(7);
        let drawn: Vec<usize> = (0..100_000).map(|_| sizes.draw(&mut prng)).collect();
        let small = drawn.iter().filter(|&&size| size == 100).count();
        assert!(small.abs_diff(70_000) < 1_000, "{small}");
        let large = drawn.iter().filter(|&&size| size != 100);
        assert!(large.clone().all(|size| (1000..=2000).contains(size)));
        let above = large.filter(|&&size| size > 1500).count();
        assert!(above.abs_diff(15_000) < 1_000, "{above}");
        let mean = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
        assert!((mean / sizes.mean() - 1.0).abs() < 0.02, "{mean}");
        assert_eq!((sizes.min(), sizes.max(), sizes.mean()), (100, 2000, 520.0));
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let sizes = Sizes::mix(&[(1, 5, 7)]);
        let mut prng = Prng::new(1);
        let drawn: std::collections::BTreeSet<usize> =
            (0..100).map(|_| sizes.draw(&mut prng)).collect();
        assert_eq!(drawn, [5, 6, 7].into());
        assert_eq!(Sizes::fixed(9).draw(&mut prng), 9);
    }
}
