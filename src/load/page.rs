//! A report as one HTML page that needs nothing but itself: no script, no font, no picture from elsewhere.

use std::fmt::Write;

use super::chart::{Axis, Chart, Line, Mark};
use super::hdr;
use super::report::{Event, Interval, Percentiles, Report};
use super::rows::outage;

/// The page of one run.
pub fn page(report: &Report) -> String {
    let title = match &report.label {
        Some(label) => format!("ringlog load: {label}"),
        None => format!("ringlog load: topic {}", report.topic),
    };
    let mut out = String::new();
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escaped(&title)
    )
    .expect("memory takes what is written");
    let began = format!(
        "Began {} ms after 1970-01-01 UTC on {}.",
        report.began_unix_ms,
        report.machine.line()
    );
    out += &format!("<p>{}</p>\n", escaped(&began));
    out += &table("Measured", &report.rows());
    events(&mut out, &report.events);
    let marks = marks(&report.events);
    out += "<h2>Over time</h2>\n";
    for chart in over_time(report, &marks) {
        out += &chart.svg();
    }
    out += "<h2>Latencies</h2>\n";
    out += &percentile_curves(report).svg();
    out += &percentile_table(report);
    let settings: Vec<(String, String)> = report
        .settings
        .iter()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        })
        .collect();
    out += &table("Settings", &settings);
    out += "</body>\n</html>\n";
    out
}

/// Text as it may stand in HTML, in attributes too.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // No character reference may name these.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn table(heading: &str, rows: &[(String, String)]) -> String {
    let mut out = format!("<h2>{}</h2>\n<table>\n", escaped(heading));
    for (what, figure) in rows {
        out += &format!(
            "<tr><th>{}</th><td>{}</td></tr>\n",
            escaped(what),
            escaped(figure)
        );
    }
    out + "</table>\n"
}

fn events(out: &mut String, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    *out += "<h2>Events</h2>\n<table>\n<tr><th></th><th>began</th><th>ended</th><th>command</th><th>outcome</th><th>no acknowledgement</th><th>nothing received</th></tr>\n";
    for (index, event) in events.iter().enumerate() {
        *out += &format!(
            "<tr><td>{}</td><td>{:.3} s</td><td>{:.3} s</td><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            index + 1,
            event.began_seconds,
            event.ended_seconds,
            escaped(&event.command),
            escaped(&event.outcome),
            escaped(&outage(&event.unacknowledged)),
            escaped(&outage(&event.unreceived)),
        );
    }
    *out += "</table>\n";
}

fn marks(events: &[Event]) -> Vec<Mark> {
    events
        .iter()
        .map(|event| Mark {
            at_seconds: event.began_seconds,
            outage_seconds: event
                .unacknowledged
                .as_ref()
                .map(|outage| (outage.from_seconds, outage.to_seconds)),
        })
        .collect()
}

fn over_time<'a>(report: &'a Report, marks: &'a [Mark]) -> Vec<Chart<'a>> {
    let line = |name, of: &dyn Fn(&Interval) -> Option<f64>| Line {
        name,
        points: report
            .intervals
            .iter()
            .map(|i| ((i.start_seconds + i.end_seconds) / 2.0, of(i)))
            .collect(),
    };
    let chart = |title, y, lines: Vec<Line<'a>>| {
        let known = |line: &Line| line.points.iter().any(|point| point.1.is_some());
        let lines: Vec<Line> = lines.into_iter().filter(known).collect();
        (!lines.is_empty()).then_some(Chart {
            title,
            x: Axis::Seconds,
            y,
            lines,
            marks,
        })
    };
    let latencies = |of: &dyn Fn(&Interval) -> Option<Percentiles>| {
        vec![
            line("p50", &|i| Some(of(i)?.p50)),
            line("p99", &|i| Some(of(i)?.p99)),
            line("p99.9", &|i| Some(of(i)?.p99_9)),
            line("max", &|i| Some(of(i)?.max)),
        ]
    };
    let mb = |bytes: Option<f64>| bytes.map(|bytes| bytes / 1e6);
    [
        chart(
            "Throughput",
            Axis::RecordsPerSecond,
            vec![
                line("acknowledged", &|i| Some(i.produced.records_per_second)),
                line("received", &|i| {
                    Some(i.consumed.as_ref()?.records_per_second)
                }),
                line("failed", &|i| {
                    let seconds = i.end_seconds - i.start_seconds;
                    (report.errors > 0).then_some(i.produced.errors as f64 / seconds)
                }),
            ],
        ),
        chart(
            "Latency of acknowledgements",
            Axis::Milliseconds,
            latencies(&|i| i.produced.latency_ms),
        ),
        chart(
            "Latency end to end",
            Axis::Milliseconds,
            latencies(&|i| i.consumed.as_ref()?.latency_ms),
        ),
        chart(
            "Processor time",
            Axis::Cores,
            vec![
                line("broker", &|i| i.usage.as_ref()?.broker_cpu_cores),
                line("broker, user", &|i| i.usage.as_ref()?.broker_user_cores),
                line("broker, system", &|i| i.usage.as_ref()?.broker_system_cores),
                line("this program", &|i| {
                    Some(i.usage.as_ref()?.client_cpu_cores)
                }),
            ],
        ),
        chart(
            "Memory of the broker",
            Axis::Megabytes,
            vec![line("resident", &|i| {
                mb(i.usage
                    .as_ref()?
                    .broker_resident_bytes
                    .map(|bytes| bytes as f64))
            })],
        ),
        chart(
            "Storage",
            Axis::MegabytesPerSecond,
            vec![
                line("broker writes", &|i| {
                    mb(i.usage.as_ref()?.broker_written_bytes_per_second)
                }),
                line("broker reads", &|i| {
                    mb(i.usage.as_ref()?.broker_read_bytes_per_second)
                }),
                line("device writes", &|i| {
                    mb(i.usage.as_ref()?.device_written_bytes_per_second)
                }),
                line("device reads", &|i| {
                    mb(i.usage.as_ref()?.device_read_bytes_per_second)
                }),
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Both distributions over the nines of their quantiles, as far as there are records to tell them.
fn percentile_curves(report: &Report) -> Chart<'_> {
    let curve = |name, encoded: &Option<String>| {
        let us = hdr::decoded(encoded.as_ref()?).ok()?;
        let nines = (us.len() as f64).log10().min(6.0);
        let steps = (nines * 20.0).ceil() as u64;
        let points = (0..=steps).map(|step| {
            let x = step as f64 / 20.0;
            let quantile = 1.0 - 10f64.powf(-x);
            (x, Some(us.value_at_quantile(quantile) as f64 / 1e3))
        });
        Some(Line {
            name,
            points: points.collect(),
        })
    };
    let lines = [
        curve("acknowledged", &report.histograms.latency_us),
        curve("end to end", &report.histograms.end_to_end_us),
    ];
    Chart {
        title: "Latency by percentile",
        x: Axis::Quantile,
        y: Axis::Milliseconds,
        lines: lines.into_iter().flatten().collect(),
        marks: &[],
    }
}

fn percentile_table(report: &Report) -> String {
    let mut out = "<table>\n<tr><th></th><th>records</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th><th>max</th></tr>\n".to_owned();
    let end_to_end = report.consumed.as_ref().and_then(|seen| seen.end_to_end_ms);
    for (what, points) in [
        ("acknowledged, ms", report.latency_ms),
        ("end to end, ms", end_to_end),
    ] {
        let Some(points) = points else { continue };
        out += &format!("<tr><th>{what}</th><td>{}</td>", points.count);
        let all = [
            points.mean,
            points.p50,
            points.p90,
            points.p99,
            points.p99_9,
            points.p99_99,
            points.max,
        ];
        for ms in all {
            out += &format!("<td>{ms:.3}</td>");
        }
        out += "</tr>\n";
    }
    out + "</table>\n"
}

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}table{border-collapse:collapse}\
th,td{text-align:left;padding:.15em .8em .15em 0;border-bottom:1px solid #ddd;vertical-align:top}\
th{font-weight:600}svg{max-width:100%;height:auto;display:block;margin:.5em 0}";

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn everything_that_others_named_is_escaped() {
        let mut report = sample();
        report.label = Some("<script>alert('1')</script>".to_owned());
        report.topic = "\"><img src=x>".to_owned();
        report.errors_by_reason.insert("<b>".to_owned(), 1);
        report.settings.insert("<i>".to_owned(), "<u>".into());
        let page = page(&report);
        for raw in ["<script>", "<img", "<b>", "<i>", "<u>", "kill -9 '1' <&2"] {
            assert!(!page.contains(raw), "{raw}");
        }
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
        assert!(page.contains("kill -9 &#39;1&#39; &lt;&amp;2"));
        assert_eq!(escaped("a\u{0}\u{1b}[1m\n"), "a\u{fffd}\u{fffd}[1m\n");
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let page = page(&sample());
        for outside in ["src=", "href=", "@import", "url(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        // A name, not an address: nothing is fetched for it.
        let addresses = page.matches("http").count();
        assert_eq!(
            addresses,
            page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
        );
    }

    #[test]
    fn a_page_has_the_plots_of_what_was_measured() {
        let whole = page(&sample());
        for title in [
            "Throughput",
            "Latency of acknowledgements",
            "Latency end to end",
            "Processor time",
            "Latency by percentile",
        ] {
            assert!(whole.contains(title), "{title}");
        }
        assert!(
            !whole.contains("Memory of the broker"),
            "its memory was not known"
        );
        let tags = |tag: &str| whole.matches(tag).count();
        assert_eq!(tags("<svg"), 5);
        assert_eq!(tags("<svg"), tags("</svg>"));
        assert_eq!(tags("<table"), tags("</table>"));
        let mut alone = sample();
        alone.consumed = None;
        alone
            .intervals
            .iter_mut()
            .for_each(|interval| interval.consumed = None);
        assert!(!page(&alone).contains("Latency end to end"));
    }
}
