//! The closed list of what a shard counts and times, and how the shards' counts become one.
//!
//! **Path.** A shard owns one [`Metrics`] and bumps its fields where things happen → [`Metrics::snapshot`] on scrape →
//! the snapshot travels by mailbox → [`Snapshot::merge`] → [`Snapshot::rows`] for whoever prints. What has a row for each
//! of many things, the lag of groups, is no field: it is measured when a snapshot is taken and goes with it as [`Sample`]s.
//! Uses nothing.
//!
//! **Invariants.** One row per metric in `list.rs`: the field, the name, the unit and the help cannot disagree. Counters
//! only grow. Whoever adds samples bounds how many. Nothing is shared between shards, nothing is atomic, nothing allocates after [`Metrics::new`].
//!
//! **Faults survived.** None met here: a value out of a histogram's range is counted at its end, a counter wraps.
//!
//! **Not obvious.** Histograms keep two significant digits (1 % at worst) from 1 to 60,000,000, which is 1 µs to a
//! minute, and 1 B to 57 MiB for sizes; each takes 20 KiB.

mod cell;
mod list;
mod sample;
mod snapshot;

pub use cell::{Counter, Gauge, Histogram, Peak};
pub use list::{
    GROUP_COMMITTED_OFFSET, GROUP_LAG_RECORDS, GROUP_LAG_TIME, GROUP_LOG_END, METRICS, Metrics,
};
pub use sample::Sample;
pub use snapshot::{Kind, Metric, Row, Snapshot, Summary, Unit, Value};
