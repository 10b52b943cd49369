//! When each record is due, for the open loop.
//!
//! A shape is a rate over time; its integral is how many records are due. Record `x` of all producers is due when the
//! integral reaches `x`, whatever became of the records before it. Latency counts from that moment, so that a stall of
//! the broker shows in every record it delayed and not only in the one that met it (coordinated omission).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::types::Prng;

/// A rate over the measured part, in records a second of all producers together. The warm-up runs at the rate that the
/// measured part begins with.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    Constant(f64),
    /// From one rate to another, evenly over the measured part.
    Ramp {
        from: f64,
        to: f64,
    },
    /// Each for an equal part of the time.
    Steps(Vec<f64>),
    /// `peak` for the first `lasts` of every `every`, else `base`, which may be 0.
    Burst {
        base: f64,
        peak: f64,
        lasts: Duration,
        every: Duration,
    },
}

/// How records are spread about their rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrivals {
    /// At even distances.
    Even,
    /// Independent of each other, as those of many clients are: a Poisson process.
    Poisson,
}

/// A shape as pieces whose rate changes evenly, from the start of the warm-up to the end of the measured part.
#[derive(Clone, Debug)]
pub struct Curve {
    pieces: Vec<Piece>,
    /// Where the last piece ends.
    end_ns: f64,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Since the start of the run.
    start_ns: f64,
    /// Records a nanosecond at its start, and what is added to that each nanosecond.
    rate: f64,
    slope: f64,
    /// Records due before it and at its end.
    count_start: f64,
    count_end: f64,
}

/// One producer's records, in order.
#[derive(Clone, Debug)]
pub struct Schedule {
    curve: Arc<Curve>,
    start_ns: u64,
    /// Records of all producers for each of this one.
    stride: f64,
    arrivals: Option<Prng>,
    /// The next record's number among those of all producers, whole only where arrivals are even.
    place: f64,
    first: f64,
    made: u64,
    piece: usize,
    next_ns: u64,
}

impl Shape {
    /// What makes it no shape, for people.
    pub fn fault(&self) -> Option<String> {
        let too_low = |rate: f64| !(rate > 0.0 && rate.is_finite());
        match self {
            Shape::Constant(rate) if too_low(*rate) => Some("a rate of no records".to_owned()),
            Shape::Ramp { from, to } if too_low(from.max(*to)) || *from < 0.0 || *to < 0.0 => {
                Some("a ramp of no records".to_owned())
            }
            Shape::Steps(rates) if rates.iter().all(|rate| too_low(*rate)) => {
                Some("steps of no records".to_owned())
            }
            Shape::Burst {
                peak, lasts, every, ..
            } if too_low(*peak) || lasts >= every || lasts.is_zero() => Some(
                "a burst must be shorter than the time from one to the next, and have records"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// As `--rate` takes it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Constant(rate) => write!(f, "{rate}"),
            Shape::Ramp { from, to } => write!(f, "{from}..{to}"),
            Shape::Steps(rates) => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                f.write_str(&rates.join(","))
            }
            Shape::Burst {
                base,
                peak,
                lasts,
                every,
            } => write!(f, "burst:{base},{peak},{lasts:?}/{every:?}"),
        }
    }
}

impl Curve {
    /// - `warm_up`, `measured`: how long both parts of the run are.
    pub fn new(shape: &Shape, warm_up: Duration, measured: Duration) -> Curve {
        let mut curve = Curve {
            pieces: Vec::new(),
            end_ns: 0.0,
        };
        let (warm_up_ns, ns) = (warm_up.as_nanos() as f64, measured.as_nanos() as f64);
        let first = match shape {
            Shape::Constant(rate) => *rate,
            Shape::Ramp { from, .. } => *from,
            Shape::Steps(rates) => rates.first().copied().unwrap_or(0.0),
            Shape::Burst { base, .. } => *base,
        };
        curve.push(warm_up_ns, first, first);
        match shape {
            Shape::Constant(rate) => curve.push(ns, *rate, *rate),
            Shape::Ramp { from, to } => curve.push(ns, *from, *to),
            Shape::Steps(rates) => {
                for &rate in rates {
                    curve.push(ns / rates.len() as f64, rate, rate);
                }
            }
            Shape::Burst {
                base,
                peak,
                lasts,
                every,
            } => {
                let (lasts_ns, every_ns) = (lasts.as_nanos() as f64, every.as_nanos() as f64);
                let mut left_ns = ns;
                while left_ns > 0.0 {
                    curve.push(left_ns.min(lasts_ns), *peak, *peak);
                    curve.push((left_ns - lasts_ns).min(every_ns - lasts_ns), *base, *base);
                    left_ns -= every_ns;
                }
            }
        }
        curve
    }

    /// Adds a piece of `ns` nanoseconds between two rates a second.
    fn push(&mut self, ns: f64, from: f64, to: f64) {
        if ns <= 0.0 {
            return;
        }
        let count_start = self.total();
        self.pieces.push(Piece {
            start_ns: self.end_ns,
            rate: from / 1e9,
            slope: (to - from) / 1e9 / ns,
            count_start,
            count_end: count_start + (from + to) / 2.0 * ns / 1e9,
        });
        self.end_ns += ns;
    }

    /// Records due in the whole run.
    pub fn total(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.count_end)
    }

    /// When `place` records are due, looking from the piece numbered `piece` on; that piece too.
    fn reach(&self, place: f64, mut piece: usize) -> (Option<f64>, usize) {
        while self
            .pieces
            .get(piece)
            .is_some_and(|of| place >= of.count_end)
        {
            piece += 1;
        }
        let found = self.pieces.get(piece).map(|of| of.reach(place));
        (found, piece)
    }
}

impl Piece {
    /// The time at which `place` records are due. The form of the quadratic's root that loses nothing where the slope is
    /// small, and is the plain division where it is 0.
    fn reach(&self, place: f64) -> f64 {
        let count = place - self.count_start;
        if count <= 0.0 {
            return self.start_ns;
        }
        let under = self.rate * self.rate + 2.0 * self.slope * count;
        self.start_ns + 2.0 * count / (self.rate + under.max(0.0).sqrt())
    }
}

impl Schedule {
    /// That of producer `index` of `producers`, which take turns.
    ///
    /// - `start_ns`: when the warm-up begins. `seed`: of Poisson arrivals, different for each producer.
    pub fn new(
        curve: Arc<Curve>,
        start_ns: u64,
        (index, producers): (usize, usize),
        arrivals: Arrivals,
        seed: u64,
    ) -> Schedule {
        let mut schedule = Schedule {
            curve,
            start_ns,
            stride: producers as f64,
            arrivals: (arrivals == Arrivals::Poisson).then(|| Prng::new(seed)),
            place: 0.0,
            first: index as f64,
            made: 0,
            piece: 0,
            next_ns: 0,
        };
        schedule.place = match &mut schedule.arrivals {
            Some(prng) => apart(prng) * schedule.stride,
            None => schedule.first,
        };
        schedule.find();
        schedule
    }

    /// When the next record is due; `u64::MAX` after the last.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// The next record is made.
    pub fn advance(&mut self) {
        self.made += 1;
        self.place = match &mut self.arrivals {
            Some(prng) => self.place + apart(prng) * self.stride,
            // Not a sum: a day of additions would drift.
            None => self.first + self.made as f64 * self.stride,
        };
        self.find();
    }

    /// When the record that comes `count` after the next is due, as far as that is known before.
    pub fn ahead_ns(&self, count: u64) -> u64 {
        let place = self.place + count as f64 * self.stride;
        self.absolute(self.curve.reach(place, self.piece).0)
    }

    fn find(&mut self) {
        let (found, piece) = self.curve.reach(self.place, self.piece);
        self.piece = piece;
        self.next_ns = self.absolute(found);
    }

    fn absolute(&self, since_start: Option<f64>) -> u64 {
        since_start.map_or(u64::MAX, |ns| self.start_ns + ns.round() as u64)
    }
}

/// The distance to the next arrival of a Poisson process of rate 1.
fn apart(prng: &mut Prng) -> f64 {
    -(1.0 - prng.unit()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn curve(shape: &Shape, warm_up: u64, seconds: u64) -> Arc<Curve> {
        Arc::new(Curve::new(
            shape,
            SECOND * warm_up as u32,
            SECOND * seconds as u32,
        ))
    }

    fn all(mut schedule: Schedule) -> Vec<u64> {
        let mut dues = Vec::new();
        while schedule.next_ns() < u64::MAX {
            dues.push(schedule.next_ns());
            schedule.advance();
        }
        dues
    }

    fn one(shape: &Shape, warm_up: u64, seconds: u64) -> Vec<u64> {
        let curve = curve(shape, warm_up, seconds);
        all(Schedule::new(curve, 0, (0, 1), Arrivals::Even, 1))
    }

    fn within(dues: &[u64], from_s: f64, to_s: f64) -> usize {
        let range = (from_s * 1e9) as u64..(to_s * 1e9) as u64;
        dues.iter().filter(|due| range.contains(due)).count()
    }

    #[test]
    fn a_constant_rate_is_even_and_does_not_drift_in_a_day() {
        let curve = curve(&Shape::Constant(30_000.0), 0, 100_000);
        let mut schedule = Schedule::new(curve, 7, (0, 1), Arrivals::Even, 1);
        for n in 0..10_u64 {
            let wanted = 7 + n * 1_000_000_000 / 30_000;
            assert!(schedule.next_ns().abs_diff(wanted) <= 1, "{n}");
            schedule.advance();
        }
        schedule.made = 30_000 * 86_400 - 1;
        schedule.advance();
        assert_eq!(schedule.next_ns(), 7 + 86_400 * 1_000_000_000);
    }

    #[test]
    fn producers_take_turns_and_together_make_what_one_would() {
        for shape in [
            Shape::Constant(1000.0),
            Shape::Ramp {
                from: 10.0,
                to: 900.0,
            },
        ] {
            let curve = curve(&shape, 1, 2);
            let mut together: Vec<u64> = (0..3)
                .flat_map(|index| {
                    let share = (index, 3);
                    all(Schedule::new(curve.clone(), 0, share, Arrivals::Even, 1))
                })
                .collect();
            together.sort_unstable();
            assert_eq!(together, one(&shape, 1, 2), "{shape:?}");
        }
    }

    #[test]
    fn a_ramp_ends_at_its_second_rate_and_warms_up_at_its_first() {
        let dues = one(
            &Shape::Ramp {
                from: 1000.0,
                to: 3000.0,
            },
            1,
            10,
        );
        assert!(dues.len().abs_diff(1_000 + 20_000) <= 1);
        assert_eq!(within(&dues, 0.0, 1.0), 1_000);
        assert!(within(&dues, 1.0, 2.0).abs_diff(1_100) <= 1);
        assert!(within(&dues, 10.0, 11.0).abs_diff(2_900) <= 1);
        assert!(dues.is_sorted());
        let down = one(
            &Shape::Ramp {
                from: 1000.0,
                to: 0.0,
            },
            0,
            2,
        );
        assert!(down.len().abs_diff(1_000) <= 1);
        assert!(within(&down, 0.0, 1.0).abs_diff(750) <= 1);
    }

    #[test]
    fn steps_share_the_time() {
        let dues = one(&Shape::Steps(vec![100.0, 0.0, 400.0]), 0, 3);
        let counts = [0.0, 1.0, 2.0].map(|s| within(&dues, s, s + 1.0));
        assert_eq!(counts, [100, 0, 400]);
    }

    #[test]
    fn bursts_come_again_and_leave_the_rest_to_the_base() {
        let shape = Shape::Burst {
            base: 10.0,
            peak: 1000.0,
            lasts: Duration::from_millis(500),
            every: 2 * SECOND,
        };
        let dues = one(&shape, 0, 5);
        for start in [0.0, 2.0, 4.0] {
            assert!(within(&dues, start, start + 0.5).abs_diff(500) <= 1);
        }
        for start in [0.5, 2.5] {
            assert!(within(&dues, start, start + 1.5).abs_diff(15) <= 1);
        }
        let silent = Shape::Burst {
            base: 0.0,
            peak: 100.0,
            lasts: SECOND,
            every: 10 * SECOND,
        };
        assert_eq!(one(&silent, 3, 15).len(), 200);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let curve = curve(&Shape::Constant(10_000.0), 0, 10);
        let dues = all(Schedule::new(curve, 0, (0, 1), Arrivals::Poisson, 42));
        // The count's standard deviation is √100,000 ≈ 316.
        assert!(dues.len().abs_diff(100_000) < 5 * 316, "{}", dues.len());
        let apart: Vec<f64> = dues.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = apart.iter().sum::<f64>() / apart.len() as f64;
        let variance = apart.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / apart.len() as f64;
        // An exponential distribution's deviation is its mean; that of even arrivals would be 0.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
        let again = curve_of_poisson(43);
        assert_ne!(dues[..10], again[..10]);
    }

    fn curve_of_poisson(seed: u64) -> Vec<u64> {
        let curve = curve(&Shape::Constant(10_000.0), 0, 1);
        all(Schedule::new(curve, 0, (0, 1), Arrivals::Poisson, seed))
    }

    #[test]
    fn what_is_ahead_is_when_that_record_will_be_due() {
        let shape = Shape::Steps(vec![100.0, 1000.0]);
        let mut schedule = Schedule::new(curve(&shape, 0, 2), 0, (1, 3), Arrivals::Even, 1);
        let ahead = schedule.ahead_ns(50);
        for _ in 0..50 {
            schedule.advance();
        }
        assert_eq!(schedule.next_ns(), ahead);
        assert_eq!(schedule.ahead_ns(1_000_000), u64::MAX);
    }

    #[test]
    fn what_is_no_shape_is_told() {
        let burst = |lasts, every| Shape::Burst {
            base: 1.0,
            peak: 2.0,
            lasts,
            every,
        };
        assert!(burst(SECOND, SECOND).fault().is_some());
        assert!(burst(SECOND, 2 * SECOND).fault().is_none());
        assert!(Shape::Steps(vec![0.0, 0.0]).fault().is_some());
        assert!(Shape::Constant(0.0).fault().is_some());
    }
}
