//! A report as a table for people.

use super::pause::Outage;
use super::report::{Percentiles, Report};
use super::search::Trial;

impl Report {
    /// The rows of the table for people: what, and its figure.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |what: &str, figure: String| rows.push((what.to_owned(), figure));
        row("workload", self.workload());
        row("records/s", grouped(self.records_per_second));
        row("MB/s", format!("{:.1}", self.mb_per_second));
        push_latency(&mut row, "latency", &self.latency_ms);
        if let Some(consumed) = &self.consumed {
            row("consumed records/s", grouped(consumed.records_per_second));
            push_latency(&mut row, "end to end", &consumed.end_to_end_ms);
            row("not read back", consumed.missing.to_string());
            for (why, readers) in &consumed.kept {
                row("  readers kept from reading", format!("{readers}: {why}"));
            }
            for why in &consumed.unfinished {
                row("  not read to the end", why.clone());
            }
        }
        self.push_check(&mut row);
        self.push_idle(&mut row);
        row("errors", self.errors.to_string());
        for (why, count) in &self.errors_by_reason {
            row(&format!("  {why}"), count.to_string());
        }
        row(
            "client CPU",
            format!(
                "{:.2} s ({:.2} cores{}; busiest thread {:.0} %)",
                self.client_cpu_seconds,
                self.client_cpu_cores,
                self.client_cpu_us_per_record
                    .map_or(String::new(), |us| format!(", {us:.2} us a record")),
                self.client_busiest_thread * 100.0
            ),
        );
        row("broker CPU", self.broker_cpu());
        self.push_broker(&mut row);
        self.push_events(&mut row);
        self.push_search(&mut row);
        if let Some(limit) = &self.limited_by {
            row("limited by", limit.clone());
        }
        rows
    }

    fn push_check(&self, row: &mut impl FnMut(&str, String)) {
        if let Some(drained) = &self.drained {
            row(
                "drained",
                format!(
                    "{} records in {:.2} s: {} records/s, {:.1} MB/s{}",
                    grouped(drained.records as f64),
                    drained.seconds,
                    grouped(drained.records_per_second),
                    drained.mb_per_second,
                    match drained.is_complete {
                        Some(true) => "; that is all",
                        Some(false) => "; NOT all",
                        None => "",
                    }
                ),
            );
        }
        if let Some(check) = &self.check {
            row(
                "checked",
                format!(
                    "{} records: {} lost, {} duplicated, {} reordered, {} corrupted",
                    grouped(check.checked as f64),
                    check.lost,
                    check.duplicated,
                    check.reordered,
                    check.corrupted
                ),
            );
            if check.unconfirmed > 0 {
                let count = grouped(check.unconfirmed as f64);
                let what =
                    format!("{count} sent with acks 0 and not read: nobody answered for them");
                row("  unconfirmed", what);
            }
        }
    }

    fn push_idle(&self, row: &mut impl FnMut(&str, String)) {
        if let Some(idle) = &self.idle {
            row(
                "idle connections",
                format!(
                    "{}, {} lost, {} requests",
                    grouped(idle.connections as f64),
                    idle.lost,
                    grouped(idle.requests as f64)
                ),
            );
            push_latency(row, "idle request", &idle.latency_ms);
        }
        if let Some(count) = self.idle_partitions {
            row("idle partitions", grouped(count as f64));
        }
    }

    fn workload(&self) -> String {
        let pace = match self.rate_asked {
            Some(rate) => format!("open loop at {} records/s", grouped(rate)),
            None if self.producers == 0 => "nothing sent".to_owned(),
            None if self.loop_kind == "none" => "nothing sent but a backlog".to_owned(),
            None => "closed loop at the maximum".to_owned(),
        };
        format!(
            "{pace} for {:.1} s over the {} wire, {} B records, acks {}, codec {}, {} B batches, {} partitions, {} × {} connections × {} in flight",
            self.seconds,
            self.wire,
            self.record_bytes,
            self.acks,
            self.codec,
            self.batch_bytes,
            self.partitions,
            self.producers,
            self.connections,
            self.window,
        )
    }

    fn broker_cpu(&self) -> String {
        match (self.broker_cpu_seconds, self.records_per_broker_cpu_second) {
            (Some(seconds), Some(rate)) => format!(
                "{seconds:.2} s ({:.2} cores, {} records per CPU second)",
                seconds / self.seconds,
                grouped(rate)
            ),
            (Some(seconds), None) => format!("{seconds:.2} s"),
            (None, _) if self.broker_pid.is_some() => "unknown: its process has ended".to_owned(),
            (None, _) => {
                "unknown: not a process of this machine (or give --pid or --metrics)".to_owned()
            }
        }
    }

    fn push_broker(&self, row: &mut impl FnMut(&str, String)) {
        let broker = &self.broker;
        let mb = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
        if let Some(bytes) = broker.resident_bytes_max {
            row("broker memory", mb(bytes as f64));
        }
        if let (Some(read), Some(written)) = (broker.read_bytes, broker.written_bytes) {
            row(
                "broker storage",
                format!("{} written, {} read", mb(written), mb(read)),
            );
        }
        if let (Some(read), Some(written)) = (broker.device_read_bytes, broker.device_written_bytes)
        {
            let devices = broker.devices.join(", ");
            row(
                "device",
                format!("{devices}: {} written, {} read", mb(written), mb(read)),
            );
        }
        if let Some(why) = &broker.unanswered {
            row("broker metrics", format!("not always read: {why}"));
        }
    }

    fn push_events(&self, row: &mut impl FnMut(&str, String)) {
        for event in &self.events {
            row(
                &format!("at {:.1} s", event.began_seconds),
                format!("{}: {}", event.command, event.outcome),
            );
            row("  no acknowledgement", outage(&event.unacknowledged));
            let of_one = outage(&event.partition_unacknowledged);
            row("  one partition without service", of_one);
            if self.consumed.is_some() {
                row("  nothing received", outage(&event.unreceived));
            }
        }
    }

    fn push_search(&self, row: &mut impl FnMut(&str, String)) {
        let Some(search) = &self.search else { return };
        row("looked for", search.wanted());
        for trial in &search.trials {
            row(&format!("  trial {}", trial.asked()), trial.outcome());
        }
    }
}

impl Trial {
    /// How it was run, for people.
    pub fn asked(&self) -> String {
        match self.rate {
            Some(rate) => format!("at {} records/s", grouped(rate)),
            None => "in the closed loop".to_owned(),
        }
    }

    /// What came of it, for people.
    pub fn outcome(&self) -> String {
        let verdict = match (&self.broken, self.rate) {
            (Some(why), _) => format!("not kept: {why}"),
            (None, Some(_)) => "kept".to_owned(),
            (None, None) => "to know how far to look".to_owned(),
        };
        let found = self
            .found_ms
            .map_or("nothing measured".to_owned(), |ms| format!("{ms:.3} ms"));
        let came = grouped(self.records_per_second);
        format!("{came} records/s came, {found}: {verdict}")
    }
}

/// How long a service was away, for people.
pub fn outage(outage: &Option<Outage>) -> String {
    match outage {
        None => "no longer than everyday".to_owned(),
        Some(outage) => format!(
            "{}for {:.3} s, from {:.3} s {} (before: {:.3} s at most)",
            outage
                .partition
                .as_ref()
                .map_or(String::new(), |name| format!("{name} ")),
            outage.seconds,
            outage.from_seconds,
            match outage.is_over {
                true => format!("to {:.3} s", outage.to_seconds),
                false => "to the end of the measured part".to_owned(),
            },
            outage.usual_seconds
        ),
    }
}

fn push_latency(row: &mut impl FnMut(&str, String), what: &str, points: &Option<Percentiles>) {
    let Some(points) = points else {
        row(what, "nothing measured".to_owned());
        return;
    };
    for (name, ms) in [
        ("p50", points.p50),
        ("p99", points.p99),
        ("p99.9", points.p99_9),
        ("max", points.max),
    ] {
        row(&format!("{what} {name}"), format!("{ms:.3} ms"));
    }
}

/// A count with its thousands apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1234567.0), "1,234,567");
    }

    #[test]
    fn an_outage_that_does_not_end_says_so() {
        let mut away = Outage {
            partition: None,
            from_seconds: 30.0,
            to_seconds: 32.5,
            seconds: 2.5,
            is_over: true,
            usual_seconds: 0.02,
        };
        let told = outage(&Some(away.clone()));
        assert_eq!(
            told,
            "for 2.500 s, from 30.000 s to 32.500 s (before: 0.020 s at most)"
        );
        away.partition = Some("load-3".to_owned());
        let told = outage(&Some(away.clone()));
        assert!(told.starts_with("load-3 for 2.500 s"), "{told}");
        away.is_over = false;
        assert!(outage(&Some(away)).contains("to the end of the measured part"));
    }
}
