//! The highest rate that keeps a latency goal, by bisection.

use std::time::Duration;

use super::plan::{Pace, Plan};
use super::report::{Percentiles, Report};
use super::run::{LoadError, Progress, run};
use super::schedule::{Arrivals, Shape};

/// What shall hold: a point of the latency distribution at most so high.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Goal {
    pub point: Point,
    /// Of the latency from a record's due time until a consumer has it, not until it is acknowledged.
    pub end_to_end: bool,
    pub at_most: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    P50,
    P90,
    P99,
    P99_9,
    P99_99,
    Max,
}

/// One rate that was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Records a second asked; `None` for the closed loop that comes first, to know how far to look.
    pub rate: Option<f64>,
    /// What came.
    pub records_per_second: f64,
    /// The goal's point, in milliseconds.
    pub found_ms: Option<f64>,
    /// Why the goal was not kept, or `None`.
    pub broken: Option<String>,
    pub limited_by: Option<String>,
}

/// Where the bisection stands. No I/O here.
#[derive(Clone, Copy, Debug)]
struct Bisection {
    kept: f64,
    broken: f64,
}

impl Point {
    pub const ALL: [(&str, Point); 6] = [
        ("p50", Point::P50),
        ("p90", Point::P90),
        ("p99", Point::P99),
        ("p99.9", Point::P99_9),
        ("p99.99", Point::P99_99),
        ("max", Point::Max),
    ];

    fn of(self, points: &Percentiles) -> f64 {
        match self {
            Point::P50 => points.p50,
            Point::P90 => points.p90,
            Point::P99 => points.p99,
            Point::P99_9 => points.p99_9,
            Point::P99_99 => points.p99_99,
            Point::Max => points.max,
        }
    }
}

impl Goal {
    fn found(&self, report: &Report) -> Option<f64> {
        let points = match self.end_to_end {
            true => report.consumed.as_ref()?.end_to_end_ms,
            false => report.latency_ms,
        };
        points.map(|points| self.point.of(&points))
    }

    /// Why a run at `rate` did not keep it.
    fn broken(&self, report: &Report, rate: f64) -> Option<String> {
        let at_most = self.at_most.as_secs_f64() * 1e3;
        let faults = report.check.map_or(0, |check| check.faults());
        if report.errors + faults > 0 {
            return Some(format!(
                "{} records failed or are wrong",
                report.errors + faults
            ));
        }
        let consumed = report.consumed.as_ref();
        if let Some(why) = consumed.and_then(|own| own.unfinished.first()) {
            return Some(why.clone());
        }
        if report.records_per_second < rate * RATE_KEPT {
            let part = report.records_per_second / rate * 100.0;
            return Some(format!("{part:.0} % of the rate came"));
        }
        match self.found(report) {
            None => Some("nothing was measured".to_owned()),
            Some(found) if found > at_most => Some(format!("{found:.3} ms")),
            Some(_) => None,
        }
    }
}

/// Tries rates until the highest that keeps the goal is known to within `precision`, and returns the report of the best, if
/// any kept it.
///
/// - `plan`: its pace is not looked at, but for Poisson arrivals.
/// - `precision`: a part of the rate, as 0.05.
/// - `on_trial`: told of each, when it is over.
pub fn find_max(
    plan: &Plan,
    goal: &Goal,
    precision: f64,
    on_progress: &mut dyn FnMut(Progress),
    on_trial: &mut dyn FnMut(&Trial),
) -> Result<Option<Report>, LoadError> {
    let arrivals = match plan.pace {
        Pace::Open { arrivals, .. } => arrivals,
        Pace::Maximum | Pace::Silent => Arrivals::Even,
    };
    let mut attempt = |rate: Option<f64>| {
        let pace = match rate {
            Some(rate) => Pace::Open {
                shape: Shape::Constant(rate),
                arrivals,
            },
            None => Pace::Maximum,
        };
        let plan = Plan {
            pace,
            ..plan.clone()
        };
        run(plan, on_progress)
    };
    let fastest = attempt(None)?;
    on_trial(&Trial {
        rate: None,
        records_per_second: fastest.records_per_second,
        found_ms: goal.found(&fastest),
        broken: None,
        limited_by: fastest.limited_by.clone(),
    });
    let mut best = None;
    let mut bisection = Bisection::below(fastest.records_per_second * ABOVE_CLOSED);
    while let Some(rate) = bisection.next(precision) {
        let report = attempt(Some(rate))?;
        let broken = goal.broken(&report, rate);
        bisection.tried(rate, broken.is_none());
        on_trial(&Trial {
            rate: Some(rate),
            records_per_second: report.records_per_second,
            found_ms: goal.found(&report),
            broken: broken.clone(),
            limited_by: report.limited_by.clone(),
        });
        if broken.is_none() {
            best = Some(report);
        }
    }
    Ok(best)
}

impl Bisection {
    fn below(rate: f64) -> Bisection {
        Bisection {
            kept: 0.0,
            broken: rate,
        }
    }

    /// The next rate to try; `None` when it is known well enough, or nothing that is worth the name keeps the goal.
    fn next(&self, precision: f64) -> Option<f64> {
        let is_close = self.broken - self.kept <= self.kept * precision;
        let is_nothing = self.kept == 0.0 && self.broken < RATE_LEAST;
        (!is_close && !is_nothing).then(|| round((self.kept + self.broken) / 2.0))
    }

    fn tried(&mut self, rate: f64, is_kept: bool) {
        match is_kept {
            true => self.kept = rate,
            false => self.broken = rate,
        }
    }
}

/// To three digits, which is what a person remembers of a rate.
fn round(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 2.0);
    (rate / unit).round() * unit
}

/// The closed loop's rate is no bound: with fewer records waiting, batches differ.
const ABOVE_CLOSED: f64 = 1.25;
/// A run that brings less of what was asked does not keep up.
const RATE_KEPT: f64 = 0.98;
const RATE_LEAST: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64, from: f64, precision: f64) -> (f64, usize) {
        let mut bisection = Bisection::below(from);
        let mut trials = 0;
        while let Some(rate) = bisection.next(precision) {
            trials += 1;
            assert!(trials < 100);
            bisection.tried(rate, rate <= limit);
        }
        (bisection.kept, trials)
    }

    #[test]
    fn the_highest_rate_is_found_to_within_the_precision_in_few_trials() {
        for limit in [900.0, 12_345.0, 700_000.0, 1_249_000.0] {
            let (found, trials) = search(limit, 1_250_000.0, 0.05);
            assert!(
                found <= limit && found >= limit * 0.95 - 1.0,
                "{limit}: {found}"
            );
            assert!(trials <= 18, "{limit}: {trials}");
        }
    }

    #[test]
    fn a_goal_that_nothing_keeps_ends_the_search() {
        let (found, trials) = search(0.0, 1_000_000.0, 0.05);
        assert_eq!(found, 0.0);
        assert!(trials <= 21, "{trials}");
    }
}
