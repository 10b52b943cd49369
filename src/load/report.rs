//! What a run found, as JSON for programs and as rows for people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::audience::Drained;
use super::check::Verdict;
use super::hdr::{self, Logged};
use super::idle::IdleReport;
use super::limit::{Effort, limit};
use super::observe::{BrokerUse, Observed, Usage};
use super::pause::{Outage, Pause, outages};
pub use super::percentiles::Percentiles;
use super::plan::Plan;
use super::search::Searched;
use super::series::Series;
use super::settings::{self, Machine, Settings, TopicFound};
use super::tally::{Tally, Window};
use super::target::Layout;

/// The result of one run. Times in milliseconds where the name does not say otherwise, sizes in bytes, MB = 1,000,000
/// bytes. Programs may rely on every name of a version: later ones only add.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`Report::FORMAT`].
    pub format: String,
    /// [`Report::VERSION`] of the program that wrote it.
    pub version: u32,
    pub label: Option<String>,
    /// When the measured part began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    pub machine: Machine,
    pub settings: Settings,
    pub topic: String,
    /// `kafka` or `native`.
    pub wire: String,
    pub partitions: usize,
    pub loop_kind: String,
    /// What was asked in the open loop.
    pub rate_asked: Option<f64>,
    pub record_bytes: usize,
    pub batch_bytes: usize,
    pub acks: String,
    pub codec: String,
    pub producers: usize,
    pub connections: usize,
    pub window: usize,
    /// Length of the measured part.
    pub seconds: f64,
    /// Acknowledged (acks 0: sent) inside the measured part.
    pub records: u64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// From when a record was due (closed loop: sent) until it was acknowledged.
    pub latency_ms: Option<Percentiles>,
    pub consumed: Option<Consumed>,
    pub errors: u64,
    pub errors_by_reason: BTreeMap<String, u64>,
    pub client_cpu_seconds: f64,
    /// Cores' worth of time the client used; near its thread count, it was the limit.
    pub client_cpu_cores: f64,
    /// What a record cost the client, acknowledged and read back where it is, in microseconds of processor time.
    #[serde(default)]
    pub client_cpu_us_per_record: Option<f64>,
    /// The part of a core that the client's busiest thread used: at 1, it was the limit.
    #[serde(default)]
    pub client_busiest_thread: f64,
    /// By how much one record in a hundred was made later than due because of the client itself; open loop.
    #[serde(default)]
    pub client_late_ms: Option<f64>,
    /// Whether every record came, once, in order and whole; where they are read back.
    #[serde(default)]
    pub check: Option<Verdict>,
    /// Of a backlog that was built first, or was there before.
    #[serde(default)]
    pub drained: Option<Drained>,
    #[serde(default)]
    pub idle: Option<IdleReport>,
    /// Of a topic that nobody wrote to.
    #[serde(default)]
    pub idle_partitions: Option<usize>,
    pub broker_pid: Option<u32>,
    pub broker_cpu_seconds: Option<f64>,
    /// Records acknowledged or read, whichever are more, for each second of the broker's processor time.
    pub records_per_broker_cpu_second: Option<f64>,
    pub broker: BrokerUse,
    /// What made the figures smaller than the broker's own limit, if this program knows.
    pub limited_by: Option<String>,
    /// The search that this run was the best trial of.
    #[serde(default)]
    pub search: Option<Searched>,
    pub events: Vec<Event>,
    /// The time line: the measured part and the drain after it.
    pub intervals: Vec<Interval>,
    pub histograms: Histograms,
    /// What the intervals' histograms are made from; they are not in the JSON, but in HDR interval logs.
    #[serde(skip)]
    pub logs: Logs,
}

/// What the consumers of a run saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consumed {
    pub records: u64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// Records acknowledged but not read when the run gave up waiting.
    pub missing: u64,
    /// Readers that were kept from reading when the run ended, by what kept them.
    #[serde(default)]
    pub kept: BTreeMap<String, u64>,
    /// Why readers did not come to the end of what they were to read; those that are slow are to lag.
    #[serde(default)]
    pub unfinished: Vec<String>,
    /// From when a record was due until a consumer had it.
    pub end_to_end_ms: Option<Percentiles>,
}

/// One interval of the time line. Seconds since the measured part began.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Interval {
    pub start_seconds: f64,
    pub end_seconds: f64,
    pub part: Part,
    pub produced: Flow,
    pub consumed: Option<Flow>,
    /// `None` where the run ended inside it.
    pub usage: Option<Usage>,
}

/// Where in the run an interval lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Measured,
    Drain,
}

/// What went one way in an interval.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Flow {
    pub records: u64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// Of the records due in this interval, those that were never acknowledged.
    pub errors: u64,
    /// Of the answers that came in this interval, for records due in the measured part.
    pub latency_ms: Option<Percentiles>,
}

/// A command that was run, and how long the service was away after it. Seconds since the measured part began.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    pub command: String,
    pub began_seconds: f64,
    pub ended_seconds: f64,
    pub outcome: String,
    pub exit_status: Option<i32>,
    /// The longest time without an acknowledgement; `None` where none was longer than everyday pauses are.
    pub unacknowledged: Option<Outage>,
    /// The longest time in which one partition that was being written to had none, whatever the others had.
    #[serde(default)]
    pub partition_unacknowledged: Option<Outage>,
    /// The longest time in which consumers received nothing.
    pub unreceived: Option<Outage>,
}

/// Latencies in microseconds, as HdrHistogram's V2 encoding, deflated, in base64.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Histograms {
    pub latency_us: Option<String>,
    pub end_to_end_us: Option<String>,
}

/// The counts behind the time line.
#[derive(Clone, Default, Debug)]
pub struct Logs {
    pub produced: Option<Series>,
    pub consumed: Option<Series>,
}

/// What a run has to make a report from.
pub struct Found {
    pub layout: Arc<Layout>,
    pub topic: TopicFound,
    /// When the measured part began.
    pub began: SystemTime,
    pub window: Window,
    pub produced: Tally,
    pub consumed: Option<Tally>,
    pub produced_pauses: Vec<Pause>,
    /// The same, of single partitions that were being written to.
    pub partition_pauses: Vec<Pause>,
    pub consumed_pauses: Vec<Pause>,
    pub observed: Observed,
    pub effort: Effort,
    pub check: Option<Verdict>,
    /// Records acknowledged that the readers, each group by itself, have not read.
    pub missing: u64,
    /// Why readers did not come to the end of what they were to read.
    pub unfinished: Vec<String>,
    pub drained: Option<Drained>,
    pub idle: Option<IdleReport>,
}

impl Consumed {
    pub fn of(tally: &mut Tally, window: Window, missing: u64) -> Consumed {
        Consumed {
            records: tally.records,
            records_per_second: tally.records as f64 / window.seconds(),
            mb_per_second: tally.bytes as f64 / 1e6 / window.seconds(),
            missing,
            kept: tally.errors.clone(),
            unfinished: Vec::new(),
            end_to_end_ms: Percentiles::of(tally.latency_us()),
        }
    }
}

impl Report {
    pub const FORMAT: &str = "ringlog-load";
    pub const VERSION: u32 = 1;

    pub fn of(plan: &Plan, mut found: Found) -> Report {
        let seconds = found.window.seconds();
        let intervals = intervals(&mut found);
        let events = events(&found);
        let Found {
            window,
            mut produced,
            mut consumed,
            observed,
            ..
        } = found;
        let records_per_second = produced.records as f64 / seconds;
        let client_cpu_cores = observed.client_cpu_seconds / seconds;
        let rate_asked = settings::rate_asked(plan);
        let moved = produced
            .records
            .max(consumed.as_ref().map_or(0, |own| own.records));
        let cost = observed.client_cpu_seconds * 1e6 / moved as f64;
        let broker_cpu = observed.broker_cpu_seconds.filter(|&seconds| seconds > 0.0);
        let broker_rate = broker_cpu.map(|seconds| moved as f64 / seconds);
        let latency_ms = Percentiles::of(produced.latency_us());
        let histogram = |us: &Histogram<u64>| (!us.is_empty()).then(|| hdr::encoded(us));
        Report {
            format: Report::FORMAT.to_owned(),
            version: Report::VERSION,
            label: plan.label.clone(),
            began_unix_ms: found
                .began
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            machine: Machine::this(),
            settings: settings::settings(plan, found.layout.partitions_count(), &found.topic),
            topic: plan.topics.name.clone(),
            wire: settings::wire(plan).to_owned(),
            partitions: found.layout.partitions_count(),
            loop_kind: settings::loop_kind(plan).to_owned(),
            rate_asked,
            record_bytes: plan.value_bytes_mean().round() as usize,
            batch_bytes: plan.batch_bytes,
            acks: settings::acks(plan),
            codec: plan.codec.to_string(),
            producers: plan.producers,
            connections: plan.connections,
            window: plan.window,
            seconds,
            records: produced.records,
            records_per_second,
            mb_per_second: produced.bytes as f64 / 1e6 / seconds,
            latency_ms,
            consumed: consumed.as_mut().map(|own| Consumed {
                unfinished: found.unfinished,
                ..Consumed::of(own, window, found.missing)
            }),
            errors: produced.errors_total(),
            errors_by_reason: produced.errors.clone(),
            client_cpu_seconds: observed.client_cpu_seconds,
            client_cpu_cores,
            client_cpu_us_per_record: (moved > 0).then_some(cost),
            client_busiest_thread: found.effort.busiest_thread,
            client_late_ms: found.effort.late_p99_ms,
            check: found.check,
            drained: found.drained,
            idle: found.idle,
            idle_partitions: plan.idle_partitions.map(|count| count as usize),
            broker_pid: observed.broker_pid,
            broker_cpu_seconds: observed.broker_cpu_seconds,
            records_per_broker_cpu_second: broker_rate.filter(|_| moved > 0),
            broker: observed.broker,
            limited_by: limit(rate_asked, records_per_second, &found.effort, &latency_ms),
            search: None,
            events,
            intervals,
            histograms: Histograms {
                latency_us: histogram(produced.latency_us()),
                end_to_end_us: consumed
                    .as_mut()
                    .and_then(|own| histogram(own.latency_us())),
            },
            logs: Logs {
                produced: Some(produced.series),
                consumed: consumed.map(|own| own.series),
            },
        }
    }

    /// Reads what an earlier run wrote. `Err` says what is wrong with it, for people.
    pub fn read(text: &str) -> Result<Report, String> {
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        if json["format"] != Report::FORMAT {
            return Err(
                "no result of ringlog load: it lacks \"format\": \"ringlog-load\"".to_owned(),
            );
        }
        match json["version"].as_u64() {
            Some(version) if version <= Report::VERSION as u64 => {}
            Some(version) => {
                return Err(format!(
                    "version {version} of the format: this program reads up to {}",
                    Report::VERSION
                ));
            }
            None => return Err("no version".to_owned()),
        }
        serde_json::from_value(json)
            .map_err(|error| format!("a broken result of ringlog load: {error}"))
    }
}

impl Logs {
    /// The intervals of a time line for an HDR interval log.
    pub fn logged(series: &mut Series) -> Vec<Logged> {
        let grid = series.grid();
        let since = |ns| std::time::Duration::from_secs_f64(grid.seconds_at(ns).max(0.0));
        let intervals = series.intervals().iter().enumerate();
        intervals
            .map(|(index, counted)| {
                let (start_ns, end_ns) = grid.bounds(index);
                Logged {
                    since: since(start_ns),
                    length: std::time::Duration::from_nanos(end_ns - start_ns),
                    latency_us: counted.latency_us(),
                }
            })
            .collect()
    }
}

/// The time line: the whole of the measured part, and the drain as far as anything was counted in it.
fn intervals(found: &mut Found) -> Vec<Interval> {
    let grid = found.produced.series.grid();
    let produced = flows(&mut found.produced.series);
    let consumed = found
        .consumed
        .as_mut()
        .map(|tally| flows(&mut tally.series));
    let reached = consumed.as_ref().map_or(0, Vec::len).max(produced.len());
    let seconds = |index| {
        let (start_ns, end_ns) = grid.bounds(index);
        (end_ns - start_ns) as f64 / 1e9
    };
    let at = |flows: &[Flow], index: usize| {
        let empty = || Flow::new(0, 0, 0, None, seconds(index));
        flows.get(index).cloned().unwrap_or_else(empty)
    };
    (0..reached.max(grid.measured_count()))
        .map(|index| {
            let (start_ns, end_ns) = grid.bounds(index);
            Interval {
                start_seconds: grid.seconds_at(start_ns),
                end_seconds: grid.seconds_at(end_ns),
                part: match index < grid.measured_count() {
                    true => Part::Measured,
                    false => Part::Drain,
                },
                produced: at(&produced, index),
                consumed: consumed.as_ref().map(|flows| at(flows, index)),
                usage: found.observed.usage.get(index).cloned(),
            }
        })
        .collect()
}

fn flows(series: &mut Series) -> Vec<Flow> {
    let grid = series.grid();
    let intervals = series.intervals().iter().enumerate();
    intervals
        .map(|(index, counted)| {
            let (start_ns, end_ns) = grid.bounds(index);
            let latency_ms = Percentiles::of(&counted.latency_us());
            let seconds = (end_ns - start_ns) as f64 / 1e9;
            Flow::new(
                counted.records,
                counted.bytes,
                counted.errors,
                latency_ms,
                seconds,
            )
        })
        .collect()
}

impl Flow {
    fn new(
        records: u64,
        bytes: u64,
        errors: u64,
        latency_ms: Option<Percentiles>,
        seconds: f64,
    ) -> Flow {
        Flow {
            records,
            records_per_second: records as f64 / seconds,
            mb_per_second: bytes as f64 / 1e6 / seconds,
            errors,
            latency_ms,
        }
    }
}

fn events(found: &Found) -> Vec<Event> {
    let window = found.window;
    let at_ns: Vec<u64> = found
        .observed
        .ran
        .iter()
        .map(|ran| window.start_ns + (ran.began_seconds.max(0.0) * 1e9) as u64)
        .collect();
    let of = |pauses: &[Pause]| outages(&at_ns, pauses, window, &found.layout).into_iter();
    let unacknowledged = of(&found.produced_pauses).zip(of(&found.partition_pauses));
    let unreceived = of(match found.consumed {
        Some(_) => &found.consumed_pauses,
        None => &[],
    });
    let ran = found.observed.ran.iter().cloned();
    ran.zip(unacknowledged.zip(unreceived))
        .map(
            |(ran, ((unacknowledged, of_partition), unreceived))| Event {
                command: ran.command,
                began_seconds: ran.began_seconds,
                ended_seconds: ran.ended_seconds,
                outcome: ran.outcome,
                exit_status: ran.exit_status,
                unacknowledged,
                partition_unacknowledged: of_partition,
                unreceived,
            },
        )
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::pause::Ends;
    use super::super::series::Grid;
    use super::*;

    #[test]
    fn what_was_acknowledged_and_not_read_is_missing() {
        let window = Window {
            start_ns: 0,
            end_ns: 2_000_000_000,
        };
        let mut tally = Tally::new(window);
        tally.answered(0, 1_000_000, 10, 1_000);
        let consumed = Consumed::of(&mut tally, window, 2);
        assert_eq!((consumed.records, consumed.missing), (10, 2));
        assert_eq!(consumed.records_per_second, 5.0);
    }

    const SECOND_NS: u64 = 1_000_000_000;

    /// Ten records a second for four seconds and a half, none for 1.5 seconds from 2.0 on, one late answer.
    fn found() -> Found {
        let window = Window {
            start_ns: SECOND_NS,
            end_ns: SECOND_NS * 11 / 2,
        };
        let grid = Grid::new(window, Duration::from_secs(1));
        let mut produced = Tally::with_series(window, Series::new(grid, None));
        let mut consumed = produced.clone();
        for tenth in (0..45).filter(|tenth| !(20..35).contains(tenth)) {
            let due_ns = window.start_ns + tenth * SECOND_NS / 10;
            produced.answered(due_ns, due_ns + 1_000_000, 1, 100);
            consumed.answered(due_ns, due_ns + 2_000_000, 1, 100);
        }
        produced.failed(SECOND_NS * 3, 2, "connection closed");
        produced.answered(SECOND_NS * 5, SECOND_NS * 6, 1, 100);
        let ran = super::super::chaos::Ran {
            command: "kill -9 '1' <&2".to_owned(),
            began_seconds: 2.0,
            ended_seconds: 2.1,
            outcome: "exit status 0".to_owned(),
            exit_status: Some(0),
        };
        Found {
            layout: Arc::new(Layout::new([("load".to_owned(), 6)].into_iter())),
            topic: TopicFound::default(),
            began: UNIX_EPOCH + Duration::from_millis(5_000),
            window,
            produced,
            consumed: Some(consumed),
            produced_pauses: vec![Pause {
                start_ns: SECOND_NS * 29 / 10,
                end_ns: SECOND_NS * 45 / 10,
                ends: Ends::WithAnArrival,
                partition: None,
            }],
            partition_pauses: Vec::new(),
            consumed_pauses: Vec::new(),
            observed: Observed {
                ran: vec![ran],
                client_cpu_seconds: 0.9,
                broker_cpu_seconds: Some(2.0),
                usage: vec![Usage::default(); 3],
                ..Default::default()
            },
            effort: Effort::default(),
            check: None,
            missing: 0,
            unfinished: Vec::new(),
            drained: None,
            idle: None,
        }
    }

    /// A report with an outage, an event and consumers.
    pub fn sample() -> Report {
        Report::of(&Plan::default(), found())
    }

    #[test]
    fn a_report_comes_back_from_its_json() {
        let report = sample();
        let text = serde_json::to_string(&report).unwrap();
        let back = Report::read(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        assert_eq!(back.intervals, report.intervals);
        assert_eq!(back.events, report.events);
        assert_eq!(back.began_unix_ms, 5_000);
        let encoded = back.histograms.latency_us.as_deref().unwrap();
        let points = Percentiles::of(&hdr::decoded(encoded).unwrap());
        assert_eq!(points, report.latency_ms);
    }

    #[test]
    fn the_time_line_shows_the_outage_and_the_drain() {
        let report = sample();
        let rates: Vec<f64> = report
            .intervals
            .iter()
            .map(|i| i.produced.records_per_second)
            .collect();
        assert_eq!(
            rates,
            [10.0, 10.0, 0.0, 5.0, 10.0, 1.0],
            "the fifth is half a second long"
        );
        assert_eq!(report.intervals[5].part, Part::Drain);
        assert_eq!(report.intervals[2].produced.errors, 2);
        assert!(report.intervals[2].usage.is_some() && report.intervals[3].usage.is_none());
        let outage = report.events[0].unacknowledged.as_ref().unwrap();
        assert!(
            (outage.seconds - 1.6).abs() < 1e-9 && outage.is_over,
            "{outage:?}"
        );
        assert_eq!(report.events[0].unreceived, None);
        assert_eq!(report.records, 30);
        assert_eq!(report.records_per_broker_cpu_second, Some(15.0));
    }

    #[test]
    fn what_a_broker_has_for_its_processor_time_counts_where_it_is_only_read_from() {
        let mut reading = found();
        reading.produced = Tally::with_series(reading.window, reading.produced.series);
        let report = Report::of(&Plan::default(), reading);
        assert_eq!(report.records, 0);
        assert_eq!(report.records_per_broker_cpu_second, Some(15.0));
        let mut idle = found();
        idle.produced = Tally::with_series(idle.window, idle.produced.series);
        idle.consumed = None;
        let report = Report::of(&Plan::default(), idle);
        assert_eq!(report.records_per_broker_cpu_second, None);
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_reason() {
        let report = sample();
        let mut newer = serde_json::to_value(&report).unwrap();
        newer["version"] = 2.into();
        let mut broken = serde_json::to_value(&report).unwrap();
        broken["records_per_second"] = "fast".into();
        let whole = serde_json::to_string(&report).unwrap();
        for (text, why) in [
            (&whole[..whole.len() / 2], "no JSON"),
            ("{}", "no result of ringlog load"),
            ("[1]", "no result of ringlog load"),
            (&newer.to_string(), "version 2"),
            (&broken.to_string(), "broken result"),
        ] {
            let error = Report::read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
