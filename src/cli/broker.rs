//! `ringlog broker`: the broker itself, in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{BROKER_KEYS, BrokerConfig, Key, LogFormat, LoggerLevels, Scope};
use crate::rt::{self, LogGuard, LogLines};
use crate::server;
use clap::Args;

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
        let _guard = start_log(self.log_json, &config);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        server::run(config)
    }
}

/// Starts the log as the configuration says. `--log-json` and `RINGLOG_LOG`, which is written as `logger.levels` is (or as
/// `info,ringlog::storage=debug`), override it.
fn start_log(json: bool, config: &BrokerConfig) -> LogGuard {
    let lines = match json || config.logger_format == LogFormat::Json {
        true => LogLines::Json,
        false => LogLines::Text,
    };
    let mut levels = config.logger_levels.0.clone();
    let named = std::env::var("RINGLOG_LOG").unwrap_or_default();
    match LoggerLevels::read(&named) {
        Ok(LoggerLevels(more)) => levels.extend(more),
        Err(why) => eprintln!("ringlog: RINGLOG_LOG is passed over: {why}"),
    }
    rt::start_log(lines, &levels)
}

/// The keys and their defaults, for the long help.
fn keys() -> String {
    let mut text = "Keys and defaults (`ringlog config list` says what each does):\n".to_owned();
    let of_the_file = |key: &&Key| key.scope != Scope::WhileRunning;
    for key in BROKER_KEYS.iter().filter(of_the_file) {
        let default = match key.default {
            None => "not set",
            Some("") => "empty",
            Some(default) => default,
        };
        text.push_str(&format!("  {} = {default}\n", key.name));
    }
    text
}
