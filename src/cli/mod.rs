//! The command line: one file per subcommand.
//!
//! **What lives here.** Arguments and what is allowed in them, what is asked of which room, and how the answer is
//! printed: tables for people, JSON for programs (`--json`), progress on a terminal; `load`, which may run for hours, also
//! tells it elsewhere, a line now and then.
//!
//! **Path.** `main` → [`run`] → a subcommand → `client` or `load` (most), `record` (on segment files), `config` and
//! `protocol` (their tables), `server` (the broker), `host` (check, selftest) → an exit status: 0 done, 1 a fault, 2 bad usage or configuration.
//!
//! **Invariants.** Everything that is not the broker is a client and works against any Kafka broker. What a program
//! may want to read goes to standard output, everything else to standard error. Bad usage is told before anything is
//! asked of a broker, and names the flag, the value and what is allowed.
//!
//! **Faults survived.** A reader that goes away (`ringlog consume | head`) ends the program quietly. Input that is no
//! text, has no last line feed, or never a line feed at all is taken as it is, within bounds.
//!
//! **Not obvious.** A record is a line without its line feed, and `consume` writes each value and a line feed, so
//! `produce` and `consume` of one partition give a file back byte by byte, but for a last line that had none: `produce`
//! says so.

mod admin;
mod args;
mod broker;
mod check;
mod cluster;
mod completions;
mod config;
mod consume;
mod consume_group;
mod explain;
mod failure;
mod group;
mod input;
mod lines;
mod load;
mod load_compare;
mod load_file;
mod load_needs;
mod load_output;
mod load_plan;
mod load_progress;
mod load_scenario;
mod load_values;
mod log;
mod log_import;
mod log_verify;
mod metrics;
mod output;
mod produce;
mod protocol;
mod reset;
mod selftest;
mod time;
mod top;
mod top_draw;
mod top_view;
mod topic;
mod txn;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Kafka-compatible broker, and the tools to use it
#[derive(Parser, Debug)]
#[command(name = "ringlog", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Broker(broker::Broker),
    Check(check::Check),
    #[command(subcommand)]
    Selftest(selftest::Command),
    #[command(subcommand)]
    Topic(topic::Command),
    #[command(subcommand)]
    Config(config::Command),
    Produce(produce::Produce),
    Consume(consume::Consume),
    #[command(subcommand)]
    Group(group::Command),
    #[command(subcommand)]
    Txn(txn::Command),
    Cluster(cluster::Cluster),
    Load(Box<load::Load>),
    #[command(subcommand)]
    Log(log::Command),
    #[command(subcommand)]
    Metrics(metrics::Command),
    #[command(subcommand)]
    Explain(explain::Command),
    Top(top::Top),
    #[command(subcommand)]
    Protocol(protocol::Command),
    Completions(completions::Completions),
}

/// Does what the process's arguments ask for.
///
/// Returns the exit status: 0 done, 1 a fault, 2 bad usage or configuration.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Broker(broker) => return broker.run(),
        Command::Check(command) => command.run(),
        Command::Selftest(command) => command.run(),
        Command::Topic(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Produce(command) => command.run(),
        Command::Consume(command) => command.run(),
        Command::Group(command) => command.run(),
        Command::Txn(command) => command.run(),
        Command::Cluster(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Metrics(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Protocol(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_values_name_the_flag_the_value_and_what_is_allowed() {
        for (line, names) in [
            (
                "produce --topic t --acks two",
                &["--acks", "two", "0", "1", "all"][..],
            ),
            ("produce --topic t --codec zip", &["--codec", "zip", "zstd"]),
            (
                "consume --topic t --from now",
                &["--from", "now", "beginning", "end"],
            ),
            ("topic create t --partitions 0", &["--partitions", "0", "1"]),
            ("load --rate fast", &["--rate", "fast", "records a second"]),
            (
                "cluster --bootstrap here",
                &["--bootstrap", "here", "HOST:PORT"],
            ),
            (
                "topic create t --config retention.ms",
                &["--config", "retention.ms", "KEY=VALUE"],
            ),
        ] {
            let words = std::iter::once("ringlog").chain(line.split(' '));
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            let text = error.to_string();
            for name in names {
                assert!(text.contains(name), "{line}: {name} is missing in: {text}");
            }
        }
    }
}
