//! The load generator: a workload, a schedule, histograms, a report.
//!
//! **What lives here.** [`run`] carries out a [`Plan`] against any Kafka broker, or over Ringlog's own wire, and gives a
//! [`Report`], which is written as JSON, as a [`page()`] with plots and as HDR interval logs, and which [`compare()`] holds
//! against others.
//!
//! **Path.** A [`Plan`] → threads with an executor each, some producers or some readers on each of them, idle connections on
//! another → each producer makes records when they are due, fills batches, and keeps its connections' windows full
//! through `client`; readers follow the numbers that records carry → answers are counted, by interval too → the counts of
//! all are merged, and what was read is held against what was acknowledged. Beside them a thread samples the broker's
//! process and others run the commands that shall disturb it. [`find_max`] does runs until it knows a rate. Uses `client`,
//! `rt`, `wire`, `protocol`, `record` and `types`.
//!
//! **Invariants.** In the open loop a record is due when the schedule says, whatever became of those before it, and
//! its latency counts from then. Warm-up and drain are not in the figures: throughput counts what was answered inside
//! the window, latency and errors what was due inside it. Nothing is allocated, no clock is read and no shared memory touched per record; records that are
//! all alike are encoded before the clock starts, and a batch of them is a copy.
//! A record that is read carries its run, its producer, its number and a checksum; `check` says what lost means.
//!
//! **Faults survived.** Brokers that fail, stall or go away: records lost with a connection are counted by reason, the
//! connection is made anew, the schedule goes on. Idempotent producers send them again, in order; transactions are aborted
//! and begun anew. A producer's buffer is bounded; what does not fit stays due. Leaders that move are followed, by
//! producers and readers: what was sent to the old one fails by its reason, what was not goes to the new one.
//!
//! **Not obvious.** Producers that are not idempotent do not retry: a second try would hide the error that is to be
//! measured. Without keys the open loop fills one partition's batch before the next one's, as Kafka's clients do; one
//! request carries at most one batch of each partition, which is the protocol's rule. The client knows when it was the
//! limit itself: a thread without time to spare, or records that were made late.

mod audience;
mod chaos;
mod chart;
mod check;
mod compare;
mod control;
mod cpu;
mod descriptors;
mod device;
mod generator;
mod hdr;
mod idle;
mod keys;
mod leaders;
mod limit;
mod line;
mod link;
mod observe;
mod page;
mod pause;
mod payload;
mod percentiles;
mod plan;
mod reader;
mod report;
mod rows;
mod run;
mod schedule;
mod scrape;
mod search;
mod series;
mod settings;
mod sizes;
mod slot;
mod tally;
mod target;
mod template;
mod transact;
mod worker;

pub use chaos::Hook;
pub use compare::{Better, Comparison, Labelled, Ratio, Verdict, compare};
pub use descriptors::descriptors_suffice;
pub use hdr::write_log;
pub use keys::{Keys, Spread};
pub use observe::{BrokerAt, Observe};
pub use page::page;
pub use payload::{Contents, Lines};
pub use plan::{AtEnd, Consume, Delivery, From, GroupProtocol, Idle, Pace, Plan, Topics, Wire};
pub use report::{Consumed, Logs, Percentiles, Report};
pub use rows::grouped;
pub use run::{LoadError, Phase, Progress, run};
pub use schedule::{Arrivals, Shape};
pub use scrape::MetricsUrl;
pub use search::{Goal, Point, Search, Searched, Trial, find_max};
pub use sizes::Sizes;
