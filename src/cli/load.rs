//! `ringlog load`: a workload against a broker, and a table of what came of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::load::{LoadError, Report, Trial, descriptors_suffice, find_max, grouped, run};

use super::failure::Failure;
use super::load_compare::Compare;
use super::load_plan::print_plan;
use super::load_progress::Shown;
use super::load_scenario::{Aim, Scenario};

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

    /// Read keys from a TOML file: every flag below without its dashes, as in rate = "20k", and [[at]] with at = TIME and
    /// run = COMMAND; a flag that is given wins over the file
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,

    /// Check everything that can be checked without a broker, print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    keys: Scenario,
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
        let (aim, plan) = (keys.aim()?, keys.plan()?);
        descriptors_suffice(&plan).map_err(failure)?;
        let targets = keys.outputs().open()?;
        if self.dry_run {
            return print_plan(&keys, &plan, &aim);
        }
        let mut shown = Shown::new();
        let outcome = match &aim {
            Aim::Measure => run(plan, &mut |progress| shown.tell(&progress)).map(Some),
            Aim::FindMax(search) => find_max(
                &plan,
                search,
                &mut |progress| shown.tell(&progress),
                &mut tell_trial,
            ),
        };
        shown.end();
        let Some(mut report) = outcome.map_err(failure)? else {
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

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Plan(why) => Failure::Usage(why),
        LoadError::Client(error) => error.into(),
        other => Failure::Fault(other.to_string()),
    }
}

fn is_faultless(report: &Report) -> bool {
    let lost = report.idle.as_ref().map_or(0, |idle| idle.lost);
    let faults = report.check.map_or(0, |check| check.faults());
    report.errors == 0 && faults == 0 && lost == 0
}

fn tell_trial(trial: &Trial) {
    eprintln!("trial {}: {}", trial.asked(), trial.outcome());
    if let Some(limit) = &trial.limited_by {
        eprintln!("  limited by {limit}");
    }
}
