//! The modules that write log lines, and how much they say.

use std::fmt;
use std::str::FromStr;

/// How grave a line is, by Kafka's names, the gravest first; a logger writes lines of its level and graver ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// Nothing here is graver than ERROR, so this is the quietest.
    Fatal = 0,
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

/// Every logger by name, the one first that stands for all that have no level of their own.
pub const LOGGERS: [&str; 8] = [
    ROOT_LOGGER,
    "ringlog::api",
    "ringlog::cli",
    "ringlog::client",
    "ringlog::rt",
    "ringlog::server",
    "ringlog::shard",
    "ringlog::storage",
];

/// See [`LOGGERS`].
pub const ROOT_LOGGER: &str = "root";

impl LogLevel {
    pub const ALL: [LogLevel; 6] = [
        LogLevel::Fatal,
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];

    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Fatal => "FATAL",
            LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
            LogLevel::Debug => "DEBUG",
            LogLevel::Trace => "TRACE",
        }
    }
}

/// Not a level's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoLevel;

impl FromStr for LogLevel {
    type Err = NoLevel;

    /// Without regard to case.
    fn from_str(text: &str) -> Result<LogLevel, NoLevel> {
        let is_named = |level: &LogLevel| level.name().eq_ignore_ascii_case(text);
        LogLevel::ALL.into_iter().find(is_named).ok_or(NoLevel)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
