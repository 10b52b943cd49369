//! Runs held against one another: ratios to the first, and how sure they are by the runs that were repeated.
//!
//! A ratio is that of the geometric means, and its interval is Welch's 95 % t interval of the difference of the mean
//! logarithms, taken back: what is compared are ratios, whose errors multiply, from a few runs each, whose spreads differ.
//! One run a side gives a ratio without an interval, and says so.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::report::{Percentiles, Report};

/// A report and where it was read.
#[derive(Clone, Debug)]
pub struct Labelled {
    pub file: String,
    pub report: Report,
}

/// What comparing found.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the order of their first files; the first is what the others are held against.
    pub sides: Vec<Side>,
    pub measures: Vec<Measure>,
    /// Settings and machines in which the runs differ, and so may differ for another reason than their broker.
    pub unlike: Vec<Unlike>,
    /// How the intervals are made.
    pub method: &'static str,
}

/// The runs of one label.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    pub label: String,
    pub files: Vec<String>,
}

/// One figure of every side.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    pub name: &'static str,
    pub better: Better,
    /// Of each side, geometric; arithmetic where a run has 0. `None` where a run of it lacks the figure.
    pub means: Vec<Option<f64>>,
    /// Of each side to the first, beginning with the second; `None` where either lacks it or has 0.
    pub ratios: Vec<Option<Ratio>>,
}

/// Which way a figure should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Higher,
    Lower,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ratio {
    pub ratio: f64,
    /// The bounds of the 95 % interval; `None` with one run on a side.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub verdict: Verdict,
}

/// What a ratio and its interval say of a side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Better,
    Worse,
    /// The interval holds 1.
    NoDifferenceShown,
    /// One run on a side: nothing is known of its spread.
    NotRepeated,
}

/// A setting, or something of the machine, that is not the same everywhere.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Unlike {
    pub what: String,
    /// Each value that occurs, by label; `None` where it is not set.
    pub values: BTreeMap<String, Vec<Option<Value>>>,
}

/// Runs of one label are repeats of one another; a run without one is called by its file.
pub fn compare(runs: &[Labelled]) -> Comparison {
    let mut sides: Vec<(Side, Vec<&Report>)> = Vec::new();
    for run in runs {
        let label = run.report.label.as_ref().unwrap_or(&run.file);
        let index = sides.iter().position(|(side, _)| side.label == *label);
        let index = index.unwrap_or_else(|| {
            sides.push((
                Side {
                    label: label.clone(),
                    files: Vec::new(),
                },
                Vec::new(),
            ));
            sides.len() - 1
        });
        sides[index].0.files.push(run.file.clone());
        sides[index].1.push(&run.report);
    }
    let measures = MEASURES
        .iter()
        .map(|(name, better, of)| {
            let values: Vec<Option<Vec<f64>>> = sides
                .iter()
                .map(|(_, reports)| reports.iter().map(|report| of(report)).collect())
                .collect();
            measure(name, *better, &values)
        })
        .filter(|measure| measure.means.iter().any(Option::is_some))
        .collect();
    Comparison {
        unlike: unlike(&sides),
        measures,
        sides: sides.into_iter().map(|(side, _)| side).collect(),
        method: METHOD,
    }
}

fn measure(name: &'static str, better: Better, values: &[Option<Vec<f64>>]) -> Measure {
    let first = values.first().and_then(Option::as_ref);
    Measure {
        name,
        better,
        means: values
            .iter()
            .map(|side| side.as_ref().map(|runs| center(runs)))
            .collect(),
        ratios: values
            .iter()
            .skip(1)
            .map(|side| ratio(first?, side.as_ref()?, better))
            .collect(),
    }
}

fn center(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    match values.iter().all(|&value| value > 0.0) {
        true => (values.iter().map(|value| value.ln()).sum::<f64>() / count).exp(),
        false => values.iter().sum::<f64>() / count,
    }
}

/// `None` where a value is not above 0: it has no logarithm.
fn ratio(base: &[f64], other: &[f64], better: Better) -> Option<Ratio> {
    if base.iter().chain(other).any(|&value| value <= 0.0) {
        return None;
    }
    let (a, b) = (Logs::of(base), Logs::of(other));
    let difference = b.mean - a.mean;
    let half = half_width(&a, &b);
    let (low, high) = (
        half.map(|half| (difference - half).exp()),
        half.map(|half| (difference + half).exp()),
    );
    let verdict = match (low, high) {
        (Some(low), Some(high)) if low > 1.0 || high < 1.0 => {
            match (low > 1.0) == (better == Better::Higher) {
                true => Verdict::Better,
                false => Verdict::Worse,
            }
        }
        (Some(_), Some(_)) => Verdict::NoDifferenceShown,
        _ => Verdict::NotRepeated,
    };
    Some(Ratio {
        ratio: difference.exp(),
        low,
        high,
        verdict,
    })
}

/// Mean and variance of the logarithms of some values.
struct Logs {
    count: f64,
    mean: f64,
    /// 0 of one value.
    variance: f64,
}

impl Logs {
    fn of(values: &[f64]) -> Logs {
        let count = values.len() as f64;
        let mean = values.iter().map(|value| value.ln()).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value.ln() - mean).powi(2)).sum();
        Logs {
            count,
            mean,
            variance: squares / (count - 1.0).max(1.0),
        }
    }
}

/// Half of Welch's 95 % interval of the difference of two means; `None` with fewer than two values on a side.
///
/// Source: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
/// involved", 1947; degrees of freedom after Satterthwaite.
fn half_width(a: &Logs, b: &Logs) -> Option<f64> {
    if a.count < 2.0 || b.count < 2.0 {
        return None;
    }
    let (of_a, of_b) = (a.variance / a.count, b.variance / b.count);
    if of_a + of_b == 0.0 {
        return Some(0.0);
    }
    let freedom =
        (of_a + of_b).powi(2) / (of_a.powi(2) / (a.count - 1.0) + of_b.powi(2) / (b.count - 1.0));
    Some(t_975(freedom) * (of_a + of_b).sqrt())
}

/// The 97.5 % quantile of Student's t distribution.
///
/// With t = √ν·tan θ its density is proportional to cos^(ν-1) θ, which is integrated as it stands.
fn t_975(freedom: f64) -> f64 {
    if freedom > NORMAL_FREEDOM {
        return NORMAL_975;
    }
    let freedom = freedom.max(1.0);
    let step = std::f64::consts::FRAC_PI_2 / STEPS as f64;
    let density = |angle: f64| angle.cos().max(0.0).powf(freedom - 1.0);
    // Up to each angle, by Simpson's rule.
    let mut sums = vec![0.0];
    for index in 0..STEPS {
        let angle = index as f64 * step;
        let part = density(angle) + 4.0 * density(angle + step / 2.0) + density(angle + step);
        sums.push(sums[index] + part * step / 6.0);
    }
    let wanted = 0.95 * sums[STEPS];
    let after = sums.partition_point(|&sum| sum < wanted);
    let (from, to) = (sums[after - 1], sums[after]);
    let angle = (after as f64 - 1.0 + (wanted - from) / (to - from)) * step;
    freedom.sqrt() * angle.tan()
}

fn unlike(sides: &[(Side, Vec<&Report>)]) -> Vec<Unlike> {
    let mut known: BTreeMap<String, BTreeMap<String, Vec<Option<Value>>>> = BTreeMap::new();
    let names: BTreeSet<String> = sides
        .iter()
        .flat_map(|(_, reports)| reports.iter().flat_map(|report| facts(report).into_keys()))
        .collect();
    for name in names {
        for (side, reports) in sides {
            for report in reports {
                let value = facts(report).remove(&name);
                let of_side = known.entry(name.clone()).or_default();
                let values = of_side.entry(side.label.clone()).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
    }
    known
        .into_iter()
        .filter(|(_, by_side)| {
            let mut all = by_side.values().flatten();
            let first = all.next();
            all.any(|value| Some(value) != first)
        })
        .map(|(what, values)| Unlike { what, values })
        .collect()
}

/// What must be the same for two runs to measure the same thing.
fn facts(report: &Report) -> BTreeMap<String, Value> {
    let mut facts = BTreeMap::new();
    for (name, value) in &report.settings {
        match value {
            // Told key by key: of a topic's configuration most is the same.
            Value::Object(parts) => facts.extend(
                parts
                    .iter()
                    .map(|(key, part)| (format!("{name}: {key}"), part.clone())),
            ),
            _ => drop(facts.insert(name.clone(), value.clone())),
        }
    }
    let machine = &report.machine;
    facts.insert("machine: kernel".to_owned(), machine.kernel.clone().into());
    facts.insert("machine: cpu".to_owned(), machine.cpu.clone().into());
    facts.insert("machine: cores".to_owned(), machine.cores.into());
    facts.insert(
        "machine: memory_bytes".to_owned(),
        machine.memory_bytes.into(),
    );
    facts.insert("ringlog".to_owned(), machine.ringlog.clone().into());
    facts
}

type Figure = fn(&Report) -> Option<f64>;

fn end_to_end(report: &Report) -> Option<Percentiles> {
    report.consumed.as_ref()?.end_to_end_ms
}

/// The worst time without service of all events of a run.
fn outage_seconds(report: &Report) -> Option<f64> {
    let outages = report
        .events
        .iter()
        .filter_map(|event| event.unacknowledged.as_ref());
    outages.map(|outage| outage.seconds).reduce(f64::max)
}

const MEASURES: [(&str, Better, Figure); 20] = [
    ("records/s", Better::Higher, |r| Some(r.records_per_second)),
    ("MB/s", Better::Higher, |r| Some(r.mb_per_second)),
    ("latency p50 ms", Better::Lower, |r| Some(r.latency_ms?.p50)),
    ("latency p90 ms", Better::Lower, |r| Some(r.latency_ms?.p90)),
    ("latency p99 ms", Better::Lower, |r| Some(r.latency_ms?.p99)),
    ("latency p99.9 ms", Better::Lower, |r| {
        Some(r.latency_ms?.p99_9)
    }),
    ("latency p99.99 ms", Better::Lower, |r| {
        Some(r.latency_ms?.p99_99)
    }),
    ("latency max ms", Better::Lower, |r| Some(r.latency_ms?.max)),
    ("consumed records/s", Better::Higher, |r| {
        Some(r.consumed.as_ref()?.records_per_second)
    }),
    ("drained records/s", Better::Higher, |r| {
        Some(r.drained.as_ref()?.records_per_second)
    }),
    ("end to end p50 ms", Better::Lower, |r| {
        Some(end_to_end(r)?.p50)
    }),
    ("end to end p99 ms", Better::Lower, |r| {
        Some(end_to_end(r)?.p99)
    }),
    ("end to end p99.9 ms", Better::Lower, |r| {
        Some(end_to_end(r)?.p99_9)
    }),
    ("errors", Better::Lower, |r| Some(r.errors as f64)),
    ("records per broker CPU s", Better::Higher, |r| {
        r.records_per_broker_cpu_second
    }),
    ("client CPU us per record", Better::Lower, |r| {
        r.client_cpu_us_per_record
    }),
    ("broker memory bytes", Better::Lower, |r| {
        Some(r.broker.resident_bytes_max? as f64)
    }),
    ("broker bytes written", Better::Lower, |r| {
        r.broker.written_bytes
    }),
    ("device bytes written", Better::Lower, |r| {
        r.broker.device_written_bytes
    }),
    ("time without service s", Better::Lower, outage_seconds),
];

const METHOD: &str = "ratios of geometric means to the first label; bounds are Welch's 95 % t interval of the difference of the mean logarithms";

const STEPS: usize = 4_000;
/// With more degrees of freedom the normal distribution is as good to three digits.
const NORMAL_FREEDOM: f64 = 5_000.0;
const NORMAL_975: f64 = 1.960;

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64, part: f64) {
        assert!(
            (found / wanted - 1.0).abs() < part,
            "{found} is not {wanted}"
        );
    }

    #[test]
    fn quantiles_are_those_of_every_table() {
        let tabled = [
            (1.0, 12.7062),
            (2.0, 4.3027),
            (3.0, 3.1824),
            (11.0, 2.2010),
            (40.0, 2.0211),
            (1_000.0, 1.9623),
        ];
        for (freedom, wanted) in tabled {
            close(t_975(freedom), wanted, 1e-4);
        }
        assert!((3.183..4.302).contains(&t_975(2.5)));
        assert_eq!((t_975(0.3), t_975(1e9)), (t_975(1.0), NORMAL_975));
    }

    #[test]
    fn a_ratio_has_welchs_interval_of_its_logarithm() {
        // Logarithms 0, 1, 2 against 2, 4, 6: difference 3, standard error sqrt(1/3 + 4/3), 2.94 degrees of freedom.
        let e = std::f64::consts::E;
        let base = [1.0, e, e * e];
        let other = [e.powi(2), e.powi(4), e.powi(6)];
        let found = ratio(&base, &other, Better::Higher).unwrap();
        close(found.ratio, e.powi(3), 1e-12);
        let half = t_975(50.0 / 17.0) * (5.0f64 / 3.0).sqrt();
        close(found.low.unwrap(), (3.0 - half).exp(), 1e-9);
        close(found.high.unwrap(), (3.0 + half).exp(), 1e-9);
        assert_eq!(found.verdict, Verdict::NoDifferenceShown);
    }

    #[test]
    fn a_verdict_needs_repeats_and_goes_the_way_of_the_measure() {
        let (slow, fast) = ([100.0, 101.0, 99.0], [200.0, 199.0, 202.0]);
        let verdict =
            |base: &[f64], other: &[f64], better| ratio(base, other, better).unwrap().verdict;
        assert_eq!(verdict(&slow, &fast, Better::Higher), Verdict::Better);
        assert_eq!(verdict(&slow, &fast, Better::Lower), Verdict::Worse);
        assert_eq!(verdict(&fast, &slow, Better::Lower), Verdict::Better);
        assert_eq!(
            verdict(&slow, &[99.5, 100.5, 100.0], Better::Lower),
            Verdict::NoDifferenceShown
        );
        let once = ratio(&slow[..1], &fast, Better::Higher).unwrap();
        assert_eq!((once.verdict, once.low), (Verdict::NotRepeated, None));
        assert_eq!(ratio(&[0.0], &fast, Better::Higher), None);
    }

    fn run(file: &str, label: Option<&str>, rate: f64) -> Labelled {
        let mut report = super::super::report::tests::sample();
        report.label = label.map(str::to_owned);
        report.records_per_second = rate;
        Labelled {
            file: file.to_owned(),
            report,
        }
    }

    #[test]
    fn runs_of_one_label_are_repeats_and_others_are_called_by_their_files() {
        let runs = [
            run("a.json", Some("kafka"), 100.0),
            run("b.json", None, 150.0),
            run("c.json", Some("kafka"), 400.0),
        ];
        let found = compare(&runs);
        let labels: Vec<&str> = found.sides.iter().map(|side| side.label.as_str()).collect();
        assert_eq!(labels, ["kafka", "b.json"]);
        assert_eq!(found.sides[0].files, ["a.json", "c.json"]);
        let rate = &found.measures[0];
        close(rate.means[0].unwrap(), 200.0, 1e-9);
        close(rate.ratios[0].as_ref().unwrap().ratio, 0.75, 1e-9);
        assert!(found.unlike.is_empty(), "{:?}", found.unlike);
    }

    #[test]
    fn a_figure_that_a_run_lacks_has_no_ratio() {
        let (a, mut b) = (run("a", None, 1.0), run("b", None, 1.0));
        b.report.consumed = None;
        b.report.records_per_broker_cpu_second = None;
        let found = compare(&[a, b]);
        let of = |name| {
            found
                .measures
                .iter()
                .find(|measure| measure.name == name)
                .unwrap()
        };
        assert_eq!(of("end to end p99 ms").ratios, [None]);
        assert!(of("records per broker CPU s").means[0].is_some());
        assert_eq!(of("errors").means, [Some(2.0), Some(2.0)]);
        assert!(
            found
                .measures
                .iter()
                .all(|measure| measure.name != "broker memory bytes")
        );
    }

    #[test]
    fn settings_and_machines_that_differ_are_told() {
        let (a, mut b) = (run("a", Some("x"), 1.0), run("b", Some("y"), 1.0));
        let mut c = run("c", Some("y"), 1.0);
        b.report
            .settings
            .insert("record_bytes".to_owned(), 5.into());
        c.report.settings.remove("record_bytes");
        c.report.machine.kernel = "0.0".to_owned();
        let found = compare(&[a, b, c]);
        let names: Vec<&str> = found
            .unlike
            .iter()
            .map(|unlike| unlike.what.as_str())
            .collect();
        assert_eq!(names, ["machine: kernel", "record_bytes"]);
        assert_eq!(found.unlike[1].values["y"], [Some(5.into()), None]);
        assert_eq!(found.unlike[1].values["x"], [Some(1024.into())]);
    }

    #[test]
    fn topics_that_are_kept_in_different_ways_are_told_key_by_key() {
        let (mut a, mut b) = (run("a", Some("x"), 1.0), run("b", Some("y"), 1.0));
        let kept = |run: &mut Labelled, replicas: usize, configs: Value| {
            let settings = &mut run.report.settings;
            settings.insert("replication_factor".to_owned(), replicas.into());
            settings.insert("topic_configs".to_owned(), configs);
        };
        let flushed = serde_json::json!({"flush.messages": "1", "retention.ms": "5"});
        kept(&mut a, 1, flushed);
        kept(&mut b, 3, serde_json::json!({"retention.ms": "5"}));
        let unlike = compare(&[a, b]).unlike;
        let names: Vec<&str> = unlike.iter().map(|unlike| unlike.what.as_str()).collect();
        assert_eq!(
            names,
            ["replication_factor", "topic_configs: flush.messages"]
        );
        assert_eq!(unlike[1].values["x"], [Some("1".into())]);
        assert_eq!(unlike[1].values["y"], [None]);
    }

    #[test]
    fn drains_and_what_a_record_costs_the_client_are_compared() {
        let (mut a, mut b) = (run("a", None, 0.0), run("b", None, 0.0));
        for (run, rate, cost) in [(&mut a, 1_000.0, 4.0), (&mut b, 3_000.0, 2.0)] {
            run.report.drained = Some(crate::load::audience::Drained {
                is_complete: Some(true),
                records: 9,
                seconds: 1.0,
                records_per_second: rate,
                mb_per_second: 1.0,
            });
            run.report.client_cpu_us_per_record = Some(cost);
            run.report.broker.written_bytes = Some(cost);
        }
        let found = compare(&[a, b]);
        let ratio = |name| {
            let mut all = found.measures.iter();
            let measure = all.find(|measure| measure.name == name).unwrap();
            measure.ratios[0].as_ref().unwrap().ratio
        };
        close(ratio("drained records/s"), 3.0, 1e-9);
        close(ratio("client CPU us per record"), 0.5, 1e-9);
        close(ratio("broker bytes written"), 0.5, 1e-9);
    }

    #[test]
    fn the_interval_holds_the_true_ratio_as_often_as_it_says() {
        // 2,000 comparisons of three log-normal runs against four of another spread, true ratio 1.5.
        let mut prng = crate::types::Prng::new(7);
        let mut uniform = move || prng.unit();
        let mut normal = move || {
            let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
            radius * (std::f64::consts::TAU * uniform()).cos()
        };
        let mut held = 0;
        for _ in 0..2_000 {
            let base: Vec<f64> = (0..3).map(|_| (0.10 * normal()).exp()).collect();
            let other: Vec<f64> = (0..4).map(|_| 1.5 * (0.05 * normal()).exp()).collect();
            let found = ratio(&base, &other, Better::Higher).unwrap();
            held += usize::from(found.low.unwrap() <= 1.5 && 1.5 <= found.high.unwrap());
        }
        // Four standard deviations of such a count about 94.6 %, which is what Welch's interval reaches at these sizes.
        assert!((1_850..=1_935).contains(&held), "{held} of 2000");
    }
}
