//! How the keys of records are chosen.

use crate::types::Prng;

/// Keys have eight bytes, a number in network order; a key decides the partition.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Keys {
    /// No key: see [`Spread`].
    None,
    /// One of `count`, each as likely.
    Uniform { count: u64 },
    /// One of `count`; the one of rank k is `k^-exponent` as likely as the first.
    Zipf { count: u64, exponent: f64 },
    /// 0, 1, … up to `count`, and again; all producers together.
    Sequential { count: u64 },
}

/// Where records without a key go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Batch by batch over the partitions, as Kafka's clients do.
    Sticky,
    /// Record by record.
    RoundRobin,
}

/// One producer's keys, in order.
#[derive(Clone, Debug)]
pub struct KeySource {
    keys: Keys,
    prng: Prng,
    next: u64,
    stride: u64,
    zipf: Zipf,
}

/// Draws ranks of a Zipf distribution in constant time and memory: rejection-inversion (Hörmann and Derflinger, 1996).
#[derive(Clone, Copy, Default, Debug)]
struct Zipf {
    count: f64,
    exponent: f64,
    /// The hat's integral at both ends, and where the first rank is taken without a look.
    low: f64,
    high: f64,
    sure: f64,
}

impl KeySource {
    /// Of producer `index` of `producers`.
    pub fn new(keys: Keys, (index, producers): (usize, usize), seed: u64) -> KeySource {
        let zipf = match keys {
            Keys::Zipf { count, exponent } => Zipf::new(count, exponent),
            _ => Zipf::default(),
        };
        KeySource {
            keys,
            prng: Prng::new(seed ^ 0x6b65_7973),
            next: index as u64,
            stride: producers as u64,
            zipf,
        }
    }

    /// The next record's key, if it has one.
    pub fn draw(&mut self) -> Option<u64> {
        match self.keys {
            Keys::None => None,
            Keys::Uniform { count } => Some(self.prng.below(count)),
            Keys::Zipf { .. } => Some(self.zipf.draw(&mut self.prng)),
            Keys::Sequential { count } => {
                let key = self.next % count;
                self.next = self.next.wrapping_add(self.stride);
                Some(key)
            }
        }
    }
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Zipf {
        let mut zipf = Zipf {
            count: count as f64,
            exponent,
            ..Zipf::default()
        };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    /// A rank counted from 0.
    fn draw(&self, prng: &mut Prng) -> u64 {
        loop {
            let at = self.high + prng.unit() * (self.low - self.high);
            let x = self.inverse(at);
            let rank = x.round().clamp(1.0, self.count);
            let is_sure = rank - x <= self.sure;
            if is_sure || at >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of `x^-exponent` from 1, whose form near exponent 1 must not cancel.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        over((1.0 - self.exponent) * log, f64::exp_m1) * log
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.exponent)).max(-1.0);
        (over(t, f64::ln_1p) * y).exp()
    }
}

/// `of(x) / x`, whose limit at 0 is 1.
fn over(x: f64, of: fn(f64) -> f64) -> f64 {
    match x.abs() < 1e-12 {
        true => 1.0,
        false => of(x) / x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_ranks_come_as_often_as_their_weight_says() {
        for (count, exponent) in [(1000_u64, 1.0), (1000, 0.8), (50, 1.5), (1, 1.0)] {
            let mut source = KeySource::new(Keys::Zipf { count, exponent }, (0, 1), 11);
            let draws = 400_000;
            let mut found = vec![0_u64; count as usize];
            for _ in 0..draws {
                found[source.draw().unwrap() as usize] += 1;
            }
            let weights: Vec<f64> = (1..=count).map(|k| (k as f64).powf(-exponent)).collect();
            let sum: f64 = weights.iter().sum();
            for rank in [0, 1, 2, 9, 49, 499] {
                let (Some(weight), Some(&found)) = (weights.get(rank), found.get(rank)) else {
                    continue;
                };
                let wanted = weight / sum * draws as f64;
                let spread = 5.0 * wanted.sqrt() + 1.0;
                assert!(
                    (found as f64 - wanted).abs() < spread,
                    "{count} {exponent} rank {rank}: {found}, {wanted}"
                );
            }
        }
    }

    #[test]
    fn sequential_keys_of_all_producers_are_each_taken_once_in_a_round() {
        let keys = Keys::Sequential { count: 12 };
        let mut all: Vec<u64> = (0..3)
            .flat_map(|index| {
                let mut source = KeySource::new(keys, (index, 3), 1);
                (0..4).map(move |_| source.draw().unwrap())
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<_>>());
        let mut alone = KeySource::new(Keys::Sequential { count: 2 }, (0, 1), 1);
        let drawn: Vec<u64> = (0..5).map(|_| alone.draw().unwrap()).collect();
        assert_eq!(drawn, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn uniform_keys_are_all_drawn_and_no_keys_are_none() {
        let mut source = KeySource::new(Keys::Uniform { count: 4 }, (0, 1), 5);
        let mut found = [0; 4];
        for _ in 0..4000 {
            found[source.draw().unwrap() as usize] += 1;
        }
        assert!(
            found.iter().all(|count| (850..1150).contains(count)),
            "{found:?}"
        );
        assert_eq!(KeySource::new(Keys::None, (0, 1), 5).draw(), None);
    }
}
