//! `ringlog load`: a workload against a broker, and a table of what came of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::load::{LoadError, Pace, Plan, Report, Trial, find_max, grouped, run};

use super::args::ReachArgs;
use super::failure::Failure;
use super::load_compare::Compare;
use super::load_output::{ObserveArgs, OutputArgs};
use super::load_progress::Shown;
use super::load_scenario::{Aim, Scenario};
use super::output::Rows;

/// Load a broker with records and measure it
///
/// With --rate an open loop: records are due at that rate whatever the broker does, and latency counts from when a
/// record was due, so that a stall shows. Without it a closed loop at the maximum: --window requests are kept in flight
/// on every connection, and latency counts from when a request was submitted.
///
/// Records that are read back carry the run, the producer, their number in it and a checksum. Lost is what was acknowledged
/// and did not come, though a reader came to the end; what was refused or never answered is not, and what was sent with
/// acks 0 and did not come is told as unconfirmed. A record at two offsets is duplicated, one behind a later one of its
/// producer and partition reordered.
///
/// Exit status 1 where a record failed, or one was lost, duplicated, reordered or corrupted, and where readers did not come
/// to the end of what they were to read: something kept them from it, or --duration was over before a cold read was. Those
/// that are slow by --consume-rate are to lag.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Load {
    #[command(subcommand)]
    command: Option<LoadCommand>,

    /// A TOML file of keys that are called as the flags are; flags go before it
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,

    /// Print what would be done, after everything was checked, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    keys: Scenario,

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

impl Load {
    pub fn run(self) -> Result<(), Failure> {
        if let Some(LoadCommand::Compare(compare)) = self.command {
            return compare.run();
        }
        let keys = match &self.scenario {
            Some(path) => self.keys.over(Scenario::read(path)?),
            None => self.keys,
        };
        let aim = keys.aim()?;
        let observe = self.observe.observe()?;
        let plan = keys.plan(&self.reach, observe, self.output.label.clone())?;
        if self.dry_run {
            return print_plan(&keys, &plan);
        }
        let targets = self.output.open()?;
        let mut shown = Shown::new();
        let outcome = match &aim {
            Aim::Measure => run(plan, &mut |progress| shown.tell(&progress)).map(Some),
            Aim::FindMax(goal, precision) => find_max(
                &plan,
                goal,
                *precision,
                &mut |progress| shown.tell(&progress),
                &mut tell_trial,
            ),
        };
        shown.end();
        let report = outcome.map_err(|error| match error {
            LoadError::Plan(why) => Failure::Usage(why),
            LoadError::Client(error) => error.into(),
            other => Failure::Fault(other.to_string()),
        })?;
        let Some(mut report) = report else {
            let why = "no rate keeps the goal: see the trials above";
            return Err(Failure::Fault(why.to_owned()));
        };
        if let (Aim::FindMax(..), Some(rate)) = (&aim, report.rate_asked) {
            eprintln!(
                "the highest rate that keeps the goal: {} records/s",
                grouped(rate)
            );
        }
        targets.write(&mut report)?;
        let unfinished = report
            .consumed
            .as_ref()
            .map(|consumed| &consumed.unfinished);
        match unfinished {
            // A table, or JSON, may be looked at for its figures alone.
            Some(whys) if !whys.is_empty() => {
                let what = format!("not everything was read: {}", whys.join("; "));
                Err(Failure::Fault(what))
            }
            _ if is_faultless(&report) => Ok(()),
            _ => Err(Failure::Told),
        }
    }
}

fn is_faultless(report: &Report) -> bool {
    let lost = report.idle.as_ref().map_or(0, |idle| idle.lost);
    let faults = report.check.map_or(0, |check| check.faults());
    report.errors == 0 && faults == 0 && lost == 0
}

fn tell_trial(trial: &Trial) {
    let asked = match trial.rate {
        Some(rate) => format!("{} records/s", grouped(rate)),
        None => "closed loop".to_owned(),
    };
    let outcome = match (&trial.broken, trial.rate) {
        (Some(why), _) => format!("not kept: {why}"),
        (None, Some(_)) => "kept".to_owned(),
        (None, None) => "to know how far to look".to_owned(),
    };
    let found = trial
        .found_ms
        .map_or("nothing measured".to_owned(), |ms| format!("{ms:.3} ms"));
    let came = grouped(trial.records_per_second);
    eprintln!("trial: {asked}: {came} records/s came, {found}: {outcome}");
    if let Some(limit) = &trial.limited_by {
        eprintln!("  limited by {limit}");
    }
}

/// The keys, and what follows from them.
fn print_plan(keys: &Scenario, plan: &Plan) -> Result<(), Failure> {
    let mut rows = Rows::new(&["key", "value"]);
    for (key, text) in keys.texts() {
        rows.push(vec![key, text.unwrap_or_else(|| "-".to_owned())]);
    }
    rows.print()?;
    let mut rows = Rows::new(&["planned", ""]);
    let mut row = |what: &str, figure: String| rows.push(vec![what.to_owned(), figure]);
    row("brokers", plan.bootstrap.join(", "));
    let (topics, idle_topics) = plan.topics_used();
    let names: Vec<String> = plan.topics.names().into_iter().take(topics).collect();
    row("topics", names.join(", "));
    let seconds = plan.duration.as_secs_f64();
    row(
        "time",
        format!(
            "{} s of warm-up, {seconds} s measured",
            plan.warm_up.as_secs_f64()
        ),
    );
    let mean = plan.value_bytes_mean();
    row(
        "value",
        format!(
            "{mean:.1} bytes on average, {} at most",
            plan.value_bytes_max()
        ),
    );
    match (&plan.pace, plan.pace.rate(plan.duration)) {
        (_, Some(rate)) => {
            row(
                "records/s",
                format!("{} on average while measured", grouped(rate)),
            );
            row(
                "measured",
                format!(
                    "{} records, {:.1} MB of values",
                    grouped(rate * seconds),
                    rate * seconds * mean / 1e6
                ),
            );
        }
        (Pace::Silent, None) => row("records/s", "none but a backlog".to_owned()),
        (_, None) => row("records/s", "as many as the windows allow".to_owned()),
    }
    row(
        "connections",
        format!(
            "{} producers x {} to each broker, on {} threads; {} idle",
            plan.producers,
            plan.connections,
            plan.threads,
            plan.idle.map_or(0, |idle| idle.connections)
        ),
    );
    if let Some(count) = plan.idle_partitions {
        let name = plan.topics.idle_name();
        row("idle partitions", format!("{count} of {name}"));
    }
    if let Some(consume) = &plan.consume {
        let readers = (topics + idle_topics)
            * match consume.groups {
                0 => 1,
                groups => groups * consume.members,
            };
        row("readers", format!("{readers}, {consume:?}"));
    }
    rows.print()
}
