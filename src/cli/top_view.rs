//! What `ringlog top` shows: two looks at a broker, and what happened between them.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde::Deserialize;

use super::admin::AdminArgs;
use super::failure::Failure;
use super::output::size;

/// A broker at one moment.
pub(super) struct Look {
    at: Instant,
    scrape: Scrape,
    shards: Vec<Shard>,
    groups: Vec<Group>,
}

/// The values of a scrape, by name and labels as printed.
#[derive(Default)]
pub(super) struct Scrape(HashMap<String, f64>);

/// As `/api/v1/shards` tells it.
#[derive(Clone, Deserialize)]
struct Shard {
    shard: u16,
    partitions: usize,
    connections: i64,
    timer_late_p99_us: u64,
    stalls: u64,
    cpu_us: u64,
    run_queue_us: u64,
}

/// As `/api/v1/groups` tells it.
#[derive(Clone, Deserialize)]
struct Group {
    group: String,
    kind: String,
    state: String,
    partitions: usize,
    lag_records: i64,
}

#[derive(Deserialize)]
struct Groups {
    items: Vec<Group>,
    /// What the next page comes after.
    next: Option<String>,
}

/// Groups asked for at once, and how often: of more than these together the rest is not looked at.
const GROUP_PAGE: usize = 1000;
const GROUP_PAGES_MAX: usize = 50;

/// What is shown.
#[derive(Default)]
pub(super) struct View {
    /// A second.
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub records_in: f64,
    pub requests: f64,
    pub connections: f64,
    pub resident_bytes: f64,
    /// Topics and groups there are, also those that no row is shown of.
    pub topics_total: usize,
    pub groups_total: usize,
    shards: Vec<Vec<String>>,
    topics: Vec<Vec<String>>,
    groups: Vec<Vec<String>>,
    devices: Vec<Vec<String>>,
}

/// One of its tables: columns with their widths, and rows.
pub(super) struct TableView<'a> {
    pub title: &'static str,
    pub columns: &'static [(&'static str, u16)],
    pub rows: &'a [Vec<String>],
    /// Rows there would be if all were shown.
    pub total: usize,
}

impl Scrape {
    /// Reads the older text format; lines that it does not have are passed over.
    pub fn parse(text: &str) -> Scrape {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Scrape(values.collect())
    }

    fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// The values of a name that has these labels, by what they are set to.
    fn of(&self, name: &str, keys: &[&str]) -> BTreeMap<Vec<String>, f64> {
        let mut found = BTreeMap::new();
        for (printed, value) in &self.0 {
            let labels = printed
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('{'));
            let values = labels.and_then(|labels| labels_of(labels.trim_end_matches('}'), keys));
            if let Some(values) = values {
                found.insert(values, *value);
            }
        }
        found
    }
}

/// The values of `key="value",…`, of just these keys in their order.
fn labels_of(mut text: &str, keys: &[&str]) -> Option<Vec<String>> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        text = text
            .trim_start_matches(',')
            .strip_prefix(key)?
            .strip_prefix("=\"")?;
        let mut value = String::new();
        let mut characters = text.char_indices();
        loop {
            match characters.next()? {
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (end, '"') => {
                    text = &text[end + 1..];
                    break;
                }
                (_, other) => value.push(other),
            }
        }
        values.push(value);
    }
    text.is_empty().then_some(values)
}

impl Look {
    pub fn take(admin: &AdminArgs) -> Result<Look, Failure> {
        let scrape = admin.fetch("/metrics?without=partitions,groups")?;
        Ok(Look {
            at: Instant::now(),
            scrape: Scrape::parse(&scrape),
            shards: admin.fetch_json("/api/v1/shards")?,
            groups: groups(admin)?,
        })
    }
}

/// All groups, page by page: the one that lags most may be on the last.
fn groups(admin: &AdminArgs) -> Result<Vec<Group>, Failure> {
    let mut all = Vec::new();
    let mut after = String::new();
    for _ in 0..GROUP_PAGES_MAX {
        let path = format!("/api/v1/groups?limit={GROUP_PAGE}&after={after}");
        let page: Groups = admin.fetch_json(&path)?;
        all.extend(page.items);
        match page.next {
            Some(next) => after = encoded(&next),
            None => break,
        }
    }
    Ok(all)
}

/// Every byte that is no letter or digit as `%XX`, for a query.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl View {
    /// - `rows`: topics and groups, at most.
    pub fn between(before: &Look, now: &Look, rows: usize) -> View {
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let rate = |from: f64, to: f64| match seconds > 0.0 {
            true => (to - from).max(0.0) / seconds,
            false => 0.0,
        };
        let of = |name: &str| rate(before.scrape.value(name), now.scrape.value(name));
        let mut groups = now.groups.clone();
        groups.sort_by(|a, b| (b.lag_records, &a.group).cmp(&(a.lag_records, &b.group)));
        let topics = topics(&before.scrape, &now.scrape, rate);
        View {
            bytes_in: of("ringlog_appended_bytes_total"),
            bytes_out: of("ringlog_fetched_bytes_total"),
            records_in: of("ringlog_appended_records_total"),
            requests: of("ringlog_requests_total"),
            connections: now.scrape.value("ringlog_connections"),
            resident_bytes: now.scrape.value("process_resident_memory_bytes"),
            topics_total: topics.len(),
            groups_total: groups.len(),
            shards: shards(before, now, seconds),
            topics: topics.into_iter().take(rows).collect(),
            groups: groups.iter().take(rows).map(group_cells).collect(),
            devices: devices(&before.scrape, &now.scrape, rate),
        }
    }

    pub fn tables(&self) -> [TableView<'_>; 4] {
        [
            table("SHARDS", SHARD_COLUMNS, &self.shards, 0),
            table(
                "TOPICS by bytes in",
                TOPIC_COLUMNS,
                &self.topics,
                self.topics_total,
            ),
            table(
                "GROUPS by lag",
                GROUP_COLUMNS,
                &self.groups,
                self.groups_total,
            ),
            table("DEVICES", DEVICE_COLUMNS, &self.devices, 0),
        ]
    }

    /// So much of everything, for tests of how it is drawn.
    #[cfg(test)]
    pub fn sample(shards: usize, topics: usize, groups: usize) -> View {
        let cells = |cells: &[&str]| -> Vec<String> {
            cells.iter().map(|cell| (*cell).to_owned()).collect()
        };
        let shard = |number: usize| {
            let number = number.to_string();
            cells(&[&number, "50.0%", "1.0%", "1234", "123", "1.5 ms", "7"])
        };
        let topic = |number: usize| {
            let name = format!("topic-{number:03}");
            cells(&[&name, "123456", "117.7 MiB", "22.4 MiB"])
        };
        let group = |number: usize| {
            let name = format!("group-with-a-long-name-{number:03}");
            let lag = (1_000_015 - number).to_string();
            cells(&[&name, "consumer", "PreparingRebalance", "12", &lag])
        };
        let device = |operation: &str| {
            let path = "/var/lib/ringlog/data-1";
            cells(&[path, operation, "1234", "117.7 MiB", "0.12 ms"])
        };
        View {
            bytes_in: 123_456_789.0,
            bytes_out: 23_456_789.0,
            records_in: 123_456.0,
            requests: 12_345.0,
            connections: 123.0,
            resident_bytes: 1.5e9,
            topics_total: topics,
            groups_total: groups,
            shards: (0..shards).map(shard).collect(),
            topics: (0..topics).map(topic).collect(),
            groups: (0..groups).map(group).collect(),
            devices: ["journal", "write", "read"].map(device).into(),
        }
    }
}

fn table<'a>(
    title: &'static str,
    columns: &'static [(&'static str, u16)],
    rows: &'a [Vec<String>],
    total: usize,
) -> TableView<'a> {
    TableView {
        title,
        columns,
        rows,
        total: total.max(rows.len()),
    }
}

const SHARD_COLUMNS: &[(&str, u16)] = &[
    ("shard", 6),
    ("busy", 7),
    ("no cpu", 7),
    ("partitions", 11),
    ("connections", 12),
    ("late p99", 10),
    ("stalls", 7),
];
const TOPIC_COLUMNS: &[(&str, u16)] = &[
    ("topic", 40),
    ("records/s", 12),
    ("in/s", 12),
    ("out/s", 12),
];
const GROUP_COLUMNS: &[(&str, u16)] = &[
    ("group", 40),
    ("protocol", 10),
    ("state", 20),
    ("partitions", 11),
    ("lag", 12),
];
const DEVICE_COLUMNS: &[(&str, u16)] = &[
    ("directory", 40),
    ("operation", 10),
    ("ops/s", 10),
    ("bytes/s", 12),
    ("mean", 10),
];

fn shards(before: &Look, now: &Look, seconds: f64) -> Vec<Vec<String>> {
    let share = |from: u64, to: u64| match seconds > 0.0 {
        true => format!("{:.1}%", to.saturating_sub(from) as f64 / seconds / 1e4),
        false => "-".to_owned(),
    };
    let cells = |shard: &Shard| {
        let known = before
            .shards
            .iter()
            .find(|other| other.shard == shard.shard);
        let known = known.unwrap_or(shard);
        vec![
            shard.shard.to_string(),
            share(known.cpu_us, shard.cpu_us),
            share(known.run_queue_us, shard.run_queue_us),
            shard.partitions.to_string(),
            shard.connections.to_string(),
            format!("{:.1} ms", shard.timer_late_p99_us as f64 / 1e3),
            shard.stalls.to_string(),
        ]
    };
    now.shards.iter().map(cells).collect()
}

fn topics(before: &Scrape, now: &Scrape, rate: impl Fn(f64, f64) -> f64) -> Vec<Vec<String>> {
    let rates = |name: &str| -> HashMap<String, f64> {
        let known = before.of(name, &["topic"]);
        let topics = now.of(name, &["topic"]).into_iter();
        topics
            .map(|(labels, value)| {
                let from = known.get(&labels).copied().unwrap_or(value);
                (labels.concat(), rate(from, value))
            })
            .collect()
    };
    let records = rates("ringlog_topic_appended_records_total");
    let outs = rates("ringlog_topic_fetched_bytes_total");
    let mut ins: Vec<(String, f64)> = rates("ringlog_topic_appended_bytes_total")
        .into_iter()
        .collect();
    ins.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
    let cells = |(topic, bytes_in): (String, f64)| {
        let of = |rates: &HashMap<String, f64>| rates.get(&topic).copied().unwrap_or(0.0);
        let (records, bytes_out) = (of(&records), of(&outs));
        let sizes = [bytes_in, bytes_out].map(|bytes| size(bytes as i64));
        let [bytes_in, bytes_out] = sizes;
        vec![topic, format!("{records:.0}"), bytes_in, bytes_out]
    };
    ins.into_iter().map(cells).collect()
}

fn group_cells(group: &Group) -> Vec<String> {
    vec![
        group.group.clone(),
        group.kind.clone(),
        group.state.clone(),
        group.partitions.to_string(),
        group.lag_records.to_string(),
    ]
}

fn devices(before: &Scrape, now: &Scrape, rate: impl Fn(f64, f64) -> f64) -> Vec<Vec<String>> {
    const KEYS: [&str; 2] = ["directory", "operation"];
    let rates = |name: &str| -> BTreeMap<Vec<String>, f64> {
        let known = before.of(name, &KEYS);
        let all = now.of(name, &KEYS).into_iter();
        all.map(|(labels, value)| {
            let from = known.get(&labels).copied().unwrap_or(value);
            (labels, rate(from, value))
        })
        .collect()
    };
    let bytes = rates("ringlog_device_bytes_total");
    let sums = rates("ringlog_device_seconds_sum");
    let counts = rates("ringlog_device_seconds_count");
    let cells = |(labels, count): (Vec<String>, f64)| {
        let of = |rates: &BTreeMap<Vec<String>, f64>| rates.get(&labels).copied().unwrap_or(0.0);
        let mean = match count > 0.0 {
            true => format!("{:.2} ms", of(&sums) / count * 1e3),
            false => "-".to_owned(),
        };
        let bytes = size(of(&bytes) as i64);
        let mut cells = labels;
        cells.extend([format!("{count:.0}"), bytes, mean]);
        cells
    };
    counts.into_iter().map(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, scrape: &str, lags: &[(&str, i64)], cpu_us: u64) -> Look {
        let group = |(name, lag_records): &(&str, i64)| Group {
            group: (*name).to_owned(),
            kind: "consumer".to_owned(),
            state: "Stable".to_owned(),
            partitions: 1,
            lag_records: *lag_records,
        };
        let shard = Shard {
            shard: 0,
            partitions: 3,
            connections: 2,
            timer_late_p99_us: 1500,
            stalls: 1,
            cpu_us,
            run_queue_us: 0,
        };
        Look {
            at,
            scrape: Scrape::parse(scrape),
            shards: vec![shard],
            groups: lags.iter().map(group).collect(),
        }
    }

    #[test]
    fn a_frame_shows_what_happened_between_two_looks() {
        let at = Instant::now();
        let before = "# HELP x\nringlog_appended_records_total 100\n\
            ringlog_topic_appended_bytes_total{topic=\"a\"} 0\nringlog_topic_appended_bytes_total{topic=\"b\"} 0\n\
            ringlog_device_seconds_sum{directory=\"/d\",operation=\"write\"} 1\n\
            ringlog_device_seconds_count{directory=\"/d\",operation=\"write\"} 10\n";
        let now = "ringlog_appended_records_total 300\n\
            ringlog_topic_appended_bytes_total{topic=\"a\"} 1024\nringlog_topic_appended_bytes_total{topic=\"b\"} 4096\n\
            ringlog_device_seconds_sum{directory=\"/d\",operation=\"write\"} 1.5\n\
            ringlog_device_seconds_count{directory=\"/d\",operation=\"write\"} 110\n";
        let before = look(at, before, &[], 1_000_000);
        let later = at + std::time::Duration::from_secs(2);
        let now = look(later, now, &[("even", 0), ("late", 9)], 2_000_000);
        let text = super::super::top_draw::text("here:1", &View::between(&before, &now, 1));
        assert!(text.contains("100 records/s"), "{text}");
        let line = |word: &str| {
            let found = text.lines().find(|line| line.starts_with(word));
            found.unwrap_or_else(|| panic!("no {word} in\n{text}"))
        };
        assert!(line("0 ").contains("50.0%") && line("0 ").contains("1.5 ms"));
        assert!(
            line("b ").contains("2.0 KiB"),
            "the busiest topic comes first"
        );
        assert!(!text.contains("a   "), "and one was asked for");
        assert!(line("late").contains('9'));
        assert!(line("/d").contains("write") && line("/d").contains("5.00 ms"));
    }

    #[test]
    fn labels_are_read_back_as_they_were() {
        let labels = labels_of(r#"group="a\"b\\c\nd",topic="t""#, &["group", "topic"]);
        assert_eq!(labels, Some(vec!["a\"b\\c\nd".to_owned(), "t".to_owned()]));
        assert_eq!(labels_of(r#"group="a""#, &["topic"]), None);
        assert_eq!(labels_of(r#"topic="a",le="1""#, &["topic"]), None);
    }
}
