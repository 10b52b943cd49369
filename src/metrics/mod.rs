//! The closed list of what a shard counts and times, and how the shards' counts become one.
//!
//! **Path.** A shard owns one [`Metrics`] and bumps its fields where things happen → [`Metrics::snapshot`] on scrape →
//! the snapshot travels by mailbox → [`Snapshot::merge`] → [`Snapshot::rows`] for whoever prints. What has a row for each
//! of many things (partitions, groups, directories, APIs) is no field: it is measured when a snapshot is taken and goes
//! with it as [`Sample`]s. Uses `types` only.
//!
//! **Invariants.** One row per metric in `list.rs`: the field, the name, the unit, Kafka's names and the help cannot
//! disagree, and the scrape, `ringlog metrics list` and the tests are made from it ([`families`]). Counters only grow.
//! Whoever adds samples bounds how many. Nothing is shared between shards, nothing is atomic, nothing allocates after
//! [`Metrics::new`] but the first value of an API.
//!
//! **Faults survived.** None met here: a value out of a histogram's range is counted at its end, a counter wraps.
//!
//! **Not obvious.** A histogram is a hundred plain counters, four to each doubling: recording is two additions. What is
//! printed are the doublings from 16 on, so that a scrape stays small.

mod alias;
mod cell;
mod list;
mod sample;
mod snapshot;
mod stages;

pub use alias::Alias;
pub use cell::{ByKey, Counter, Counts, Gauge, Histogram, Peak};
pub use list::*;
pub use sample::{Label, Sample};
pub use snapshot::{Kind, Metric, Row, Snapshot, Unit, Value};
pub use stages::{Stage, StageTimes, Stages};
