//! `ringlog load`: a workload against a broker, and a table of what came of it.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::client::Acks;
use crate::load::{Consume, Keys, LoadError, Observe, Pace, Plan, Wire, run};
use crate::record::Codec;

use super::args::{
    Bootstrap, ReachArgs, acks, bootstrap, bytes, codec, duration, duration_or_zero, rate,
};
use super::failure::Failure;
use super::load_compare::Compare;
use super::load_output::{ObserveArgs, OutputArgs};
use super::load_progress::Shown;

/// Load a broker with records and measure it
///
/// With --rate an open loop: records are due at that rate whatever the broker does, and latency counts from when a
/// record was due, so that a stall shows. Without it a closed loop at the maximum: --window requests are kept in flight
/// on every connection, and latency counts from when a request was submitted.
///
/// Exit status 1 where a record was not acknowledged or not read back.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Load {
    #[command(subcommand)]
    command: Option<LoadCommand>,

    /// Created with --partitions if it does not exist
    #[arg(long, default_value = "load")]
    topic: String,

    /// Partitions of a topic that is created
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// What the records travel over, there and back: Kafka's wire to any broker, or Ringlog's own to one whose listeners
    /// speak it (native.listener.names)
    #[arg(long, default_value = "kafka")]
    wire: WireKind,

    /// With --wire native, the listener to ask first; --bootstrap is still asked for the topic
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9093", value_parser = bootstrap)]
    native_bootstrap: Bootstrap,

    /// Records a second, all producers together
    #[arg(long, value_name = "RECORDS", value_parser = rate)]
    rate: Option<f64>,

    /// Length of the measured part
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,

    /// Run so long before it is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration_or_zero)]
    warm_up: Duration,

    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value = "1k", value_parser = bytes)]
    record_bytes: usize,

    /// Keys: none, or drawn with the same chance from --key-count; a key decides the partition
    #[arg(long, default_value = "none")]
    keys: KeyKind,

    /// How many different keys there are
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    key_count: u64,

    /// Who must have a record before it is acknowledged: 0 nobody, 1 the leader, all every in-sync replica
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: Acks,

    #[arg(long, value_name = "none|gzip|snappy|lz4|zstd", default_value = "none", value_parser = codec)]
    codec: Codec,

    /// A batch is full at this size; 0 for a batch a record
    #[arg(long, value_name = "BYTES", default_value = "64k", value_parser = bytes)]
    batch_bytes: usize,

    /// In the open loop, a batch is sent when its first record has waited so long
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration_or_zero)]
    linger: Duration,

    /// Batches of several partitions share a request up to this size
    #[arg(long, value_name = "BYTES", default_value = "1m", value_parser = bytes)]
    request_bytes: usize,

    #[arg(long, default_value_t = 1, value_parser = count)]
    producers: usize,

    /// Connections of each producer to each broker, or to each of its shards on the native wire
    #[arg(long, default_value_t = 1, value_parser = count)]
    connections: usize,

    /// Requests in flight on each connection
    #[arg(long, default_value_t = 5, value_parser = count)]
    window: usize,

    /// Threads that the producers are spread over
    #[arg(long, default_value_t = 1, value_parser = count)]
    threads: usize,

    /// Read the records back while they are written, for the end-to-end latency
    #[arg(long)]
    consume: bool,

    /// Of the records' contents
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    reach: ReachArgs,
}

#[derive(Subcommand, Debug)]
enum LoadCommand {
    Compare(Compare),
}

#[derive(Clone, Copy, ValueEnum, Debug)]
enum WireKind {
    Kafka,
    Native,
}

#[derive(Clone, Copy, ValueEnum, Debug)]
enum KeyKind {
    None,
    Uniform,
}

impl Load {
    pub fn run(self) -> Result<(), Failure> {
        if let Some(LoadCommand::Compare(compare)) = self.command {
            return compare.run();
        }
        let targets = self.output.open()?;
        let mut shown = Shown::new();
        let plan = self.plan(self.observe.observe()?);
        let outcome = run(plan, &mut |progress| shown.tell(&progress));
        shown.end();
        let mut report = outcome.map_err(|error| match error {
            LoadError::Plan(why) => Failure::Usage(why),
            LoadError::Client(error) => error.into(),
            other => Failure::Fault(other.to_string()),
        })?;
        targets.write(&mut report)?;
        let missing = report
            .consumed
            .as_ref()
            .map_or(0, |consumed| consumed.missing);
        if report.errors > 0 || missing > 0 {
            Err(Failure::Told)
        } else {
            Ok(())
        }
    }

    fn plan(&self, observe: Observe) -> Plan {
        Plan {
            bootstrap: self.reach.bootstrap.0.clone(),
            wire: match self.wire {
                WireKind::Kafka => Wire::Kafka,
                WireKind::Native => Wire::Native {
                    bootstrap: self.native_bootstrap.0.clone(),
                },
            },
            cluster: self.reach.cluster_options(),
            topic: self.topic.clone(),
            partitions: self.partitions,
            pace: self.rate.map_or(Pace::Maximum, Pace::Rate),
            warm_up: self.warm_up,
            duration: self.duration,
            threads: self.threads,
            producers: self.producers,
            connections: self.connections,
            window: self.window,
            record_bytes: self.record_bytes,
            keys: match self.keys {
                KeyKind::None => Keys::None,
                KeyKind::Uniform => Keys::Uniform {
                    count: self.key_count,
                },
            },
            acks: self.acks,
            codec: self.codec,
            batch_bytes: self.batch_bytes,
            linger: self.linger,
            request_bytes: self.request_bytes,
            seed: self.seed,
            consume: if self.consume {
                Consume::Yes
            } else {
                Consume::No
            },
            observe,
            label: self.output.label.clone(),
        }
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=100_000) => Ok(count),
        _ => Err("expected a whole number from 1 to 100000".to_owned()),
    }
}
