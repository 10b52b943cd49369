//! How far a load run has come: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{Percentiles, Phase, Progress, grouped};

/// Progress as it is shown on standard error.
pub(super) struct Shown {
    bar: Option<ProgressBar>,
    rate: Rate,
    /// Of the measured part, up to when it was told in lines.
    told: Duration,
}

impl Shown {
    pub fn new() -> Shown {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {msg}")
                .expect("the template is a constant");
            ProgressBar::new(0).with_style(style.progress_chars("=> "))
        });
        Shown {
            bar,
            rate: Rate::default(),
            told: Duration::ZERO,
        }
    }

    pub fn tell(&mut self, progress: &Progress) {
        let rate = self.rate.of(progress);
        let Some(bar) = &self.bar else {
            if let Some(line) = self.due_line(progress, rate) {
                eprintln!("{line}");
            }
            return;
        };
        let (phase, is_timed) = match progress.phase {
            Phase::Connecting => ("connecting", false),
            Phase::WarmUp => ("warm-up", true),
            Phase::Measured => ("measuring", true),
            Phase::Drain => ("draining", false),
        };
        bar.set_prefix(phase);
        if is_timed {
            bar.set_length(progress.length.as_millis() as u64);
            bar.set_position(progress.elapsed.as_millis() as u64);
        }
        bar.set_message(message(progress, rate));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A line about the measured part, every ten seconds of it.
    fn due_line(&mut self, progress: &Progress, rate: f64) -> Option<String> {
        if progress.phase != Phase::Measured || progress.elapsed < self.told + LINE_EVERY {
            return None;
        }
        let whole = progress.elapsed.as_secs() / LINE_EVERY.as_secs() * LINE_EVERY.as_secs();
        self.told = Duration::from_secs(whole);
        let (elapsed, length) = (progress.elapsed.as_secs(), progress.length.as_secs());
        Some(format!(
            "{elapsed} of {length} s: {}",
            message(progress, rate)
        ))
    }
}

fn message(progress: &Progress, rate: f64) -> String {
    let mut message = format!("{} records/s", grouped(rate));
    let mut push = |what: &str, latency: &Option<Percentiles>| {
        if let Some(points) = latency {
            message += &format!(", {what} p50 {:.2} ms p99 {:.2} ms", points.p50, points.p99);
        }
    };
    push("latency", &progress.latency_ms);
    push("end to end", &progress.end_to_end_ms);
    message += &format!(", {} acknowledged", grouped(progress.acked as f64));
    if progress.consumed > 0 {
        message += &format!(", {} read", grouped(progress.consumed as f64));
    }
    if progress.errors > 0 {
        message += &format!(", {} failed", grouped(progress.errors as f64));
    }
    message
}

/// Records acknowledged a second, over the last second or so.
#[derive(Default)]
struct Rate {
    /// When, in which phase, and how many by then: the oldest is a second old.
    seen: std::collections::VecDeque<(Phase, Duration, u64)>,
}

impl Rate {
    fn of(&mut self, progress: &Progress) -> f64 {
        // Every phase has its own clock.
        if self
            .seen
            .back()
            .is_some_and(|seen| seen.0 != progress.phase)
        {
            self.seen.clear();
        }
        self.seen
            .push_back((progress.phase, progress.elapsed, progress.acked));
        while self.seen.len() > 2 && self.seen[1].1 + RATE_OVER <= progress.elapsed {
            self.seen.pop_front();
        }
        let (_, since, before) = self.seen[0];
        let seconds = progress.elapsed.saturating_sub(since).as_secs_f64();
        match seconds > 0.0 {
            true => progress.acked.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        }
    }
}

const LINE_EVERY: Duration = Duration::from_secs(10);
const RATE_OVER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(ms: u64, acked: u64) -> Progress {
        Progress {
            phase: Phase::Measured,
            elapsed: Duration::from_millis(ms),
            length: Duration::from_secs(60),
            acked,
            errors: 0,
            consumed: 0,
            latency_ms: None,
            end_to_end_ms: None,
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut rate = Rate::default();
        assert_eq!(rate.of(&progress(0, 1_000)), 0.0);
        assert_eq!(rate.of(&progress(500, 2_000)), 2_000.0);
        for step in 2..20 {
            rate.of(&progress(step * 500, 2_000));
        }
        assert_eq!(rate.of(&progress(10_000, 2_000)), 0.0, "a stall shows");
        let mut drain = progress(100, 2_000);
        drain.phase = Phase::Drain;
        assert_eq!(rate.of(&drain), 0.0, "another clock");
    }

    #[test]
    fn lines_come_every_ten_seconds_of_the_measured_part() {
        let mut shown = Shown {
            bar: None,
            rate: Rate::default(),
            told: Duration::ZERO,
        };
        let mut lines = Vec::new();
        for step in 0..151 {
            lines.extend(shown.due_line(&progress(step * 200, step * 100), 500.0));
        }
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], "10 of 60 s: 500 records/s, 5,000 acknowledged");
        assert!(lines[1].starts_with("20 of 60 s"), "{lines:?}");
    }
}
