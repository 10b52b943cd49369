//! The load generator: a workload, a schedule, histograms, a report.
//!
//! **What lives here.** [`run`] carries out a [`Plan`] against any Kafka broker, or over Ringlog's own wire, and gives a
//! [`Report`], which is written as JSON, as a [`page()`] with plots and as HDR interval logs, and which [`compare()`] holds
//! against others.
//!
//! **Path.** A [`Plan`] → a thread with an executor for some producers each, one more for the consumer → each
//! producer makes records when they are due, fills batches, and keeps its connections' windows full through `client`
//! → answers are counted, by interval too → the counts of all are merged. Beside them a thread samples the broker's
//! process and another runs the commands that shall disturb it. Uses `client`, `rt`, `wire`, `protocol`, `record` and `types`.
//!
//! **Invariants.** In the open loop a record is due when the schedule says, whatever became of those before it, and
//! its latency counts from then. Warm-up and drain are not in the figures: throughput counts what was answered inside
//! the window, latency and errors what was due inside it. Nothing is allocated, and no shared memory touched, per record.
//!
//! **Faults survived.** Brokers that fail, stall or go away: records lost with a connection are counted by reason and
//! not sent again, the connection is made anew, the schedule goes on. A producer's buffer is bounded; what does not fit
//! stays due.
//!
//! **Not obvious.** Producers are not idempotent and do not retry: a second try would hide the error that is to be
//! measured. Without keys the open loop fills one partition's batch before the next one's, as Kafka's clients do; one
//! request carries at most one batch of each partition, which is the protocol's rule.

mod chaos;
mod chart;
mod compare;
mod control;
mod cpu;
mod device;
mod generator;
mod hdr;
mod line;
mod link;
mod observe;
mod page;
mod pause;
mod payload;
mod plan;
mod report;
mod rows;
mod run;
mod schedule;
mod scrape;
mod series;
mod settings;
mod slot;
mod tail;
mod tally;
mod target;

pub use chaos::Hook;
pub use compare::{Better, Comparison, Labelled, Ratio, Verdict, compare};
pub use hdr::write_log;
pub use observe::{BrokerAt, Observe};
pub use page::page;
pub use payload::{Keys, Stamp};
pub use plan::{Consume, Pace, Plan, Wire};
pub use report::{Consumed, Logs, Percentiles, Report};
pub use rows::grouped;
pub use run::{LoadError, Phase, Progress, run};
pub use scrape::MetricsUrl;
