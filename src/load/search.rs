//! The highest rate that keeps a latency goal, by bisection.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::{Pace, Plan};
use super::report::{Percentiles, Report};
use super::run::{LoadError, Progress, run};
use super::schedule::{Arrivals, Shape};

/// What is looked for, and how.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Search {
    pub goal: Goal,
    /// How closely the rate is to be known: a part of it, as 0.05.
    pub precision: f64,
    /// Of the trials.
    pub arrivals: Arrivals,
}

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

/// A search, as the report of the rate that it found keeps it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Searched {
    /// As `p99`.
    pub point: String,
    pub end_to_end: bool,
    pub at_most_ms: f64,
    pub precision: f64,
    /// In the order in which they were made.
    pub trials: Vec<Trial>,
}

/// One rate that was tried.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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

impl Search {
    /// How many rates are tried at least, the closed loop at the beginning included.
    pub fn trials_least(&self) -> usize {
        let mut bisection = Bisection::below(RATE_LEAST);
        let mut trials = 1;
        while let Some(rate) = bisection.next(self.precision) {
            bisection.tried(rate, true);
            trials += 1;
        }
        trials
    }
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

    pub fn name(self) -> &'static str {
        let found = Point::ALL.iter().find(|(_, point)| *point == self);
        found.expect("every point has a name").0
    }

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
    fn at_most_ms(&self) -> f64 {
        self.at_most.as_micros() as f64 / 1e3
    }

    fn found(&self, report: &Report) -> Option<f64> {
        let points = match self.end_to_end {
            true => report.consumed.as_ref()?.end_to_end_ms,
            false => report.latency_ms,
        };
        points.map(|points| self.point.of(&points))
    }

    /// Why a run at `rate` did not keep it.
    fn broken(&self, report: &Report, rate: f64) -> Option<String> {
        let at_most = self.at_most_ms();
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

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&goal_text(
            self.point.name(),
            self.end_to_end,
            self.at_most_ms(),
        ))
    }
}

impl Searched {
    /// The goal, for people.
    pub fn goal(&self) -> String {
        goal_text(&self.point, self.end_to_end, self.at_most_ms)
    }

    /// What was looked for, for people.
    pub fn wanted(&self) -> String {
        wanted_text(&self.goal(), self.precision)
    }
}

impl Search {
    /// What is looked for, for people.
    pub fn wanted(&self) -> String {
        wanted_text(&self.goal.to_string(), self.precision)
    }
}

fn wanted_text(goal: &str, precision: f64) -> String {
    let percent = (precision * 1e5).round() / 1e3;
    format!("the highest rate with {goal}, to within {percent} %")
}

fn goal_text(point: &str, end_to_end: bool, at_most_ms: f64) -> String {
    let of = if end_to_end { " end to end" } else { "" };
    format!("{point}{of} of at most {at_most_ms} ms")
}

/// Tries rates until the highest that keeps the goal is known, and returns the report of the best, if any kept it.
///
/// - `plan`: its pace is not looked at.
/// - `on_trial`: told of each, when it is over.
pub fn find_max(
    plan: &Plan,
    search: &Search,
    on_progress: &mut dyn FnMut(Progress),
    on_trial: &mut dyn FnMut(&Trial),
) -> Result<Option<Report>, LoadError> {
    let goal = &search.goal;
    let mut trials = Vec::new();
    let mut tried = |trial: Trial| {
        on_trial(&trial);
        trials.push(trial);
    };
    let mut attempt = |rate: Option<f64>| {
        let pace = match rate {
            Some(rate) => Pace::Open {
                shape: Shape::Constant(rate),
                arrivals: search.arrivals,
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
    tried(Trial {
        rate: None,
        records_per_second: fastest.records_per_second,
        found_ms: goal.found(&fastest),
        broken: None,
        limited_by: fastest.limited_by.clone(),
    });
    let mut best = None;
    let mut bisection = Bisection::below(fastest.records_per_second * ABOVE_CLOSED);
    while let Some(rate) = bisection.next(search.precision) {
        let report = attempt(Some(rate))?;
        let broken = goal.broken(&report, rate);
        bisection.tried(rate, broken.is_none());
        tried(Trial {
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
    Ok(best.map(|report: Report| report.found_by(search, trials)))
}

impl Report {
    /// The report of the best trial, with the search that led to it.
    fn found_by(mut self, search: &Search, trials: Vec<Trial>) -> Report {
        let goal = &search.goal;
        // Runs that looked for different things are not alike.
        let setting = goal.to_string().into();
        self.settings.insert("find_max".to_owned(), setting);
        self.search = Some(Searched {
            point: goal.point.name().to_owned(),
            end_to_end: goal.end_to_end,
            at_most_ms: goal.at_most_ms(),
            precision: search.precision,
            trials,
        });
        self
    }
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
    fn what_was_looked_for_and_tried_is_in_the_report_and_its_rows() {
        let search = Search {
            goal: Goal {
                point: Point::P99_9,
                end_to_end: true,
                at_most: Duration::from_micros(2_500),
            },
            precision: 0.05,
            arrivals: Arrivals::Even,
        };
        let trial = |rate, broken: Option<&str>| Trial {
            rate,
            records_per_second: 1_000.0,
            found_ms: Some(2.0),
            broken: broken.map(str::to_owned),
            limited_by: None,
        };
        let trials = vec![
            trial(None, None),
            trial(Some(2_000.0), Some("9.000 ms")),
            trial(Some(1_000.0), None),
        ];
        let report = super::super::report::tests::sample().found_by(&search, trials.clone());
        let text = serde_json::to_string(&report).unwrap();
        let back = Report::read(&text).unwrap();
        let searched = back.search.as_ref().unwrap();
        assert_eq!(searched.trials, trials);
        assert_eq!(searched.goal(), "p99.9 end to end of at most 2.5 ms");
        assert_eq!(searched.goal(), search.goal.to_string());
        assert_eq!(back.settings["find_max"], searched.goal());
        let rows = back.rows();
        let of = |what: &str| {
            let row = rows.iter().find(|(name, _)| name == what);
            row.map(|(_, figure)| figure.as_str())
        };
        assert!(of("looked for").unwrap().contains(&searched.goal()));
        let kept = "1,000 records/s came, 2.000 ms: kept";
        assert_eq!(of("  trial at 1,000 records/s"), Some(kept));
        let broken = "1,000 records/s came, 2.000 ms: not kept: 9.000 ms";
        assert_eq!(of("  trial at 2,000 records/s"), Some(broken));
        assert!(of("  trial in the closed loop").is_some());
        assert!((5..8).contains(&search.trials_least()), "{search:?}");
    }

    #[test]
    fn a_goal_that_nothing_keeps_ends_the_search() {
        let (found, trials) = search(0.0, 1_000_000.0, 0.05);
        assert_eq!(found, 0.0);
        assert!(trials <= 21, "{trials}");
    }
}
