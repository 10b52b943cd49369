//! What a run was told to do, and where, as its report keeps it.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Isolation;
use crate::client::native::Steering;
use crate::rt::procfs::memory_bytes;

use super::keys::{Keys, Spread};
use super::payload::Contents;
use super::plan::{Consume, Delivery, From, Pace, Plan, Wire};
use super::schedule::{Arrivals, Shape};

/// The settings of a run by name: sizes in bytes, times in milliseconds.
///
/// Runs are alike where all of these are: what only names or places a run is not among them.
pub type Settings = BTreeMap<String, Value>;

/// How the first topic of a run is kept, which may not be what was asked for: it may have been there before.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct TopicFound {
    pub replication_factor: Option<usize>,
    /// All that is not the default of whoever made the broker.
    pub configs: BTreeMap<String, String>,
}

/// Where a run was made.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The version of this program.
    pub ringlog: String,
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
}

/// - `partitions`: of all topics, their own, which may differ from those asked for.
pub fn settings(plan: &Plan, partitions: usize, topic: &TopicFound) -> Settings {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let (keys, key_count) = match plan.keys {
        Keys::None => ("none", None),
        Keys::Uniform { count } => ("uniform", Some(count)),
        Keys::Zipf { count, .. } => ("zipf", Some(count)),
        Keys::Sequential { count } => ("sequential", Some(count)),
    };
    let zipf = match plan.keys {
        Keys::Zipf { exponent, .. } => Some(exponent),
        _ => None,
    };
    let shape = match &plan.pace {
        // A constant rate is told by its figure alone.
        Pace::Open {
            shape: Shape::Constant(_),
            ..
        }
        | Pace::Maximum
        | Pace::Silent => None,
        Pace::Open { shape, .. } => Some(shape.to_string()),
    };
    let arrivals = match plan.pace {
        Pace::Open {
            arrivals: Arrivals::Poisson,
            ..
        } => Some("poisson"),
        _ => None,
    };
    let sizes = (plan.sizes.min() != plan.sizes.max()).then(|| plan.sizes.to_string());
    let contents = match &plan.contents {
        Contents::Random => None,
        Contents::Zero => Some("zero".to_owned()),
        Contents::Compressible { ratio } => Some(format!("compressible by {ratio}")),
        Contents::Lines(lines) => Some(format!("lines of {:.1} bytes", lines.mean())),
    };
    let delivery = match plan.delivery {
        Delivery::Once => None,
        Delivery::Idempotent => Some("idempotent".to_owned()),
        Delivery::Transactions { records } => Some(format!("transactions of {records} records")),
    };
    let all = json!({
        "wire": wire(plan),
        "native_steering": match &plan.wire {
            Wire::Native { steering: Steering::Anywhere, .. } => Some("any"),
            _ => None,
        },
        "partitions": partitions,
        "replication_factor": topic.replication_factor,
        "topic_configs": (!topic.configs.is_empty()).then_some(&topic.configs),
        "loop": loop_kind(plan),
        "rate": rate_asked(plan),
        "warm_up_ms": ms(plan.warm_up),
        "duration_ms": ms(plan.duration),
        "threads": plan.threads,
        "producers": plan.producers,
        "connections": plan.connections,
        "window": plan.window,
        "topics": (plan.topics.count > 1).then_some(plan.topics.count),
        "shape": shape,
        "arrivals": arrivals,
        "record_bytes": plan.value_bytes_mean().round() as u64,
        "sizes": sizes,
        "contents": contents,
        "headers": (!plan.headers.is_empty()).then_some(plan.headers.len()),
        "spread": (plan.spread == Spread::RoundRobin).then_some("round-robin"),
        "delivery": delivery,
        "zipf_exponent": zipf,
        "keys": keys,
        "key_count": key_count,
        "acks": acks(plan),
        "codec": plan.codec.to_string(),
        "batch_bytes": plan.batch_bytes,
        "linger_ms": ms(plan.linger),
        "request_bytes": plan.request_bytes,
        "consume": plan.consume.is_some(),
        "reader_threads": plan.consume.as_ref()
            .and_then(|consume| (consume.threads > 1).then_some(consume.threads)),
        "readers": plan.consume.as_ref().and_then(readers),
        "idle_connections": plan.idle.map(|idle| idle.connections),
        "idle_partitions": plan.idle_partitions,
        "interval_ms": ms(plan.observe.interval(plan.duration)),
        "hooks": plan.observe.hooks.iter()
            .map(|hook| format!("{}s {}", hook.at.as_secs_f64(), hook.command))
            .collect::<Vec<_>>(),
    });
    match all {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect(),
        _ => unreachable!("an object was made"),
    }
}

pub fn wire(plan: &Plan) -> &'static str {
    match plan.wire {
        Wire::Kafka => "kafka",
        Wire::Native { .. } => "native",
    }
}

/// What is more to the readers than one of them at the tail.
fn readers(consume: &Consume) -> Option<String> {
    let mut parts = Vec::new();
    if consume.from == From::Start {
        parts.push("from the start".to_owned());
    }
    if consume.backlog_bytes > 0 {
        parts.push(format!("behind {} bytes", consume.backlog_bytes));
    }
    if consume.groups > 0 {
        parts.push(format!(
            "{} {} groups of {}",
            consume.groups, consume.protocol, consume.members
        ));
    }
    if consume.isolation == Isolation::Committed {
        parts.push("read committed".to_owned());
    }
    if let Some(rate) = consume.rate {
        parts.push(format!("{rate} records/s at most"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

pub fn rate_asked(plan: &Plan) -> Option<f64> {
    plan.pace.rate(plan.duration)
}

pub fn loop_kind(plan: &Plan) -> &'static str {
    match plan.pace {
        Pace::Open { .. } => "open",
        Pace::Maximum => "closed",
        Pace::Silent => "none",
    }
}

pub fn acks(plan: &Plan) -> String {
    match plan.acks.code() {
        -1 => "all".to_owned(),
        code => code.to_string(),
    }
}

impl Machine {
    /// This one; what the kernel does not tell is left empty.
    pub fn this() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Machine {
            ringlog: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: after(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")).unwrap_or(0),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let cpu = match self.cpu.as_str() {
            "" => "unknown processor",
            cpu => cpu,
        };
        format!(
            "{} cores of {cpu}, {:.1} GB memory, Linux {}, ringlog {}",
            self.cores,
            self.memory_bytes as f64 / 1e9,
            self.kernel,
            self.ringlog
        )
    }
}
