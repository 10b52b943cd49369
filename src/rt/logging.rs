//! The program's own log: lines go to standard error through a thread of their own, so that a slow reader of them never
//! holds up an executor.
//!
//! Two bounds keep whoever provokes lines from hurting the rest: the queue to that thread drops what does not fit, and one
//! place in the code (a cause) writes so many lines a second at most. Both are counted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_appender::non_blocking::ErrorCounter;
pub use tracing_appender::non_blocking::WorkerGuard as LogGuard;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::types::{LOGGERS, LogLevel};

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLines {
    Text,
    Json,
}

/// Lines of the log that were not written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LinesLost {
    /// Because nobody read fast enough.
    pub dropped: u64,
    /// Because their place had written enough in that second.
    pub limited: u64,
}

/// What a logger writes that has no level of its own: what the root does.
const INHERITED: u8 = u8::MAX;
/// Lines that one place writes in a second.
const LINES_PER_SECOND: u32 = 20;
/// Places are told apart by a hash; two that meet here share their lines.
const SLOTS: usize = 1024;

static LEVELS: [AtomicU8; LOGGERS.len()] = [const { AtomicU8::new(INHERITED) }; LOGGERS.len()];
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
static LIMITED: AtomicU64 = AtomicU64::new(0);
/// The second in the upper half, the lines since it began in the lower.
static WRITTEN: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];

/// Starts the log of this process; lines still queued are written when the guard drops. Once.
pub fn start_log(lines: LogLines, levels: &[(&'static str, LogLevel)]) -> LogGuard {
    LEVELS[0].store(LogLevel::Info as u8, Ordering::Relaxed);
    for (name, level) in levels {
        if let Some(place) = place_of(name) {
            LEVELS[place].store(*level as u8, Ordering::Relaxed);
        }
    }
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let _ = DROPPED.set(writer.error_counter());
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer);
    let started = match lines {
        LogLines::Json => {
            let layer = layer.json().with_filter(Gate);
            tracing_subscriber::registry().with(layer).try_init()
        }
        LogLines::Text => {
            let layer = layer.with_filter(Gate);
            tracing_subscriber::registry().with(layer).try_init()
        }
    };
    started.expect("the log is started once");
    guard
}

/// Every logger with the level it writes at now.
pub fn logger_levels() -> impl Iterator<Item = (&'static str, LogLevel)> {
    (0..LOGGERS.len()).map(|place| (LOGGERS[place], level_of(place)))
}

/// Sets a logger's level, or has it follow the root's.
///
/// - `Err`: there is no logger of this name, or it is the root, which follows nobody.
pub fn set_logger_level(name: &str, level: Option<LogLevel>) -> Result<(), NoLogger> {
    let place = place_of(name).ok_or(NoLogger)?;
    let stored = match level {
        Some(level) => level as u8,
        None if place == 0 => return Err(NoLogger),
        None => INHERITED,
    };
    LEVELS[place].store(stored, Ordering::Relaxed);
    // What was found to be off for good is looked at anew.
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// See [`set_logger_level`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoLogger;

/// What was lost so far.
pub fn lines_lost() -> LinesLost {
    LinesLost {
        dropped: DROPPED
            .get()
            .map_or(0, |counter| counter.dropped_lines() as u64),
        limited: LIMITED.load(Ordering::Relaxed),
    }
}

fn place_of(name: &str) -> Option<usize> {
    LOGGERS.iter().position(|logger| *logger == name)
}

fn level_of(place: usize) -> LogLevel {
    let own = LEVELS[place].load(Ordering::Relaxed);
    let stored = match own {
        INHERITED => LEVELS[0].load(Ordering::Relaxed),
        own => own,
    };
    let known = LogLevel::ALL
        .into_iter()
        .find(|level| *level as u8 == stored);
    known.unwrap_or(LogLevel::Info)
}

/// The logger of a module: that of its room, else the root.
fn place_of_target(target: &str) -> usize {
    let is_of = |logger: &&str| {
        let inside = target.strip_prefix(*logger);
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let own = LOGGERS.iter().skip(1).position(is_of);
    own.map_or(0, |place| place + 1)
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Fatal => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Lets through what its logger's level allows and its place has not written too often.
struct Gate;

impl<S> Filter<S> for Gate {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        let level: &Level = metadata.level();
        *level <= filter_of(level_of(place_of_target(metadata.target())))
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let mut hasher = DefaultHasher::new();
        event.metadata().callsite().hash(&mut hasher);
        let slot = &WRITTEN[hasher.finish() as usize % SLOTS];
        let may = may_write(slot, seconds());
        if !may {
            LIMITED.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        (0..LOGGERS.len())
            .map(|place| filter_of(level_of(place)))
            .max()
    }
}

fn seconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs() + 1
}

/// Counts a line in this second. Threads that meet may write a line more than they should.
fn may_write(slot: &AtomicU64, second: u64) -> bool {
    let before = slot.load(Ordering::Relaxed);
    if before >> 32 != second {
        slot.store(second << 32 | 1, Ordering::Relaxed);
        return true;
    }
    if before as u32 >= LINES_PER_SECOND {
        return false;
    }
    slot.fetch_add(1, Ordering::Relaxed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_writes_so_much_a_second_and_others_are_not_kept() {
        let (one, other) = (AtomicU64::new(0), AtomicU64::new(0));
        let written = (0..1000).filter(|_| may_write(&one, 7)).count();
        assert_eq!(written, LINES_PER_SECOND as usize);
        assert!(may_write(&other, 7));
        assert!(may_write(&one, 8), "the next second");
    }

    #[test]
    fn a_line_belongs_to_its_modules_room() {
        assert_eq!(
            LOGGERS[place_of_target("ringlog::storage::commit")],
            "ringlog::storage"
        );
        assert_eq!(
            LOGGERS[place_of_target("ringlog::storage")],
            "ringlog::storage"
        );
        assert_eq!(LOGGERS[place_of_target("ringlog::storages")], "root");
        assert_eq!(
            LOGGERS[place_of_target("ringlog::client::x")],
            "ringlog::client"
        );
        assert_eq!(LOGGERS[place_of_target("hyper")], "root");
    }

    #[test]
    fn a_logger_follows_the_root_until_it_has_a_level() {
        // The one test that touches the levels of the process.
        let level = |name: &str| {
            logger_levels()
                .find(|(logger, _)| *logger == name)
                .map(|l| l.1)
        };
        set_logger_level("root", Some(LogLevel::Warn)).unwrap();
        assert_eq!(level("ringlog::api"), Some(LogLevel::Warn));
        set_logger_level("ringlog::api", Some(LogLevel::Trace)).unwrap();
        assert_eq!(level("ringlog::api"), Some(LogLevel::Trace));
        assert_eq!(level("ringlog::shard"), Some(LogLevel::Warn));
        set_logger_level("ringlog::api", None).unwrap();
        assert_eq!(level("ringlog::api"), Some(LogLevel::Warn));
        assert_eq!(set_logger_level("root", None), Err(NoLogger));
        assert_eq!(
            set_logger_level("ringlog::none", Some(LogLevel::Info)),
            Err(NoLogger)
        );
    }
}
