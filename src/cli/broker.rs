//! `ringlog broker`: the broker itself, in the foreground.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::config::{BROKER_KEYS, BrokerConfig};
use crate::server;

/// Run a broker in the foreground
///
/// Without configuration it is a single-node broker and controller on 127.0.0.1:9092, with its data in ./ringlog-data.
/// It prints one line, `ringlog ready listeners=…`, when clients are served. SIGTERM and SIGINT end it cleanly, a second
/// one at once.
#[derive(Args, Debug)]
#[command(after_long_help = keys())]
pub(super) struct Broker {
    /// A server.properties with Kafka's keys; `ringlog config list` has them all
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Over what the file says; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

impl Broker {
    /// The exit status: 0 stopped cleanly, 1 a fault, 2 bad configuration.
    pub fn run(self) -> ExitCode {
        let loaded = BrokerConfig::load(self.config.as_deref(), &self.overrides);
        let (config, warnings) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                eprintln!("ringlog: {error}");
                return ExitCode::from(2);
            }
        };
        // Lines still in the writer's queue are written when the guard drops, after the broker has ended.
        let _guard = start_log(self.log_json);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        server::run(config)
    }
}

/// Log lines go to standard error through a thread of their own, so that a slow reader of them never holds up an
/// executor: past its queue, lines are dropped. `RINGLOG_LOG` chooses what is logged, as in `info,ringlog::storage=debug`.
fn start_log(json: bool) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let filter = EnvFilter::builder()
        .with_env_var("RINGLOG_LOG")
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer);
    let started = match json {
        true => builder.json().try_init(),
        false => builder.try_init(),
    };
    started.expect("the log is started once");
    guard
}

/// The keys and their defaults, for the long help.
fn keys() -> String {
    let mut text = "Keys and defaults (`ringlog config list` says what each does):\n".to_owned();
    for key in BROKER_KEYS {
        let default = match key.default {
            None => "not set",
            Some("") => "empty",
            Some(default) => default,
        };
        text.push_str(&format!("  {} = {default}\n", key.name));
    }
    text
}
