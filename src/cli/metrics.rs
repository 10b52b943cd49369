//! `ringlog metrics`: every metric there is, from the table that the scrape is made from.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::metrics::{Alias, Kind, METRICS, Metric, SAMPLED, Unit, families};

use super::failure::Failure;
use super::output::{Rows, print_json};

/// What a broker counts and times
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    List(List),
}

/// List every metric of `/metrics`
#[derive(Args, Debug)]
pub(super) struct List {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    labels: Vec<&'static str>,
    /// Kafka's names of its rows, as the JMX exporter's usual rules make them; `/metrics` has these too.
    kafka: Vec<&'static str>,
    /// Those of them that only `/metrics?names=kafka` has.
    kafka_if_asked: Vec<&'static str>,
    help: &'static str,
}

impl Row {
    fn of(metric: &Metric) -> Row {
        let all = METRICS.iter().chain(SAMPLED.iter().copied());
        let same = all.filter(|other| other.name == metric.name);
        let aliases: Vec<&Alias> = same.flat_map(|other| other.kafka).collect();
        let names = |aliases: &mut dyn Iterator<Item = &&Alias>| {
            let mut names: Vec<&'static str> = aliases.map(|alias| alias.name).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        Row {
            name: metric.name,
            kind: match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge | Kind::Peak => "gauge",
                Kind::Histogram => "histogram",
            },
            unit: match metric.unit {
                Unit::Count => "",
                Unit::Bytes => "bytes",
                Unit::Micros => "seconds",
            },
            labels: metric.keys.to_vec(),
            kafka: names(&mut aliases.iter()),
            kafka_if_asked: names(&mut aliases.iter().filter(|alias| alias.is_asked)),
            help: metric.help,
        }
    }
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Command::List(list) = self;
        let rows: Vec<Row> = families().into_iter().map(Row::of).collect();
        if list.json {
            return print_json(&rows);
        }
        let mut table = Rows::new(&["metric", "kind", "unit", "labels", "kafka's name", "what"]);
        for row in rows {
            let mut kafka = row.kafka.join(" ");
            if !row.kafka_if_asked.is_empty() {
                kafka.push_str(" (?names=kafka)");
            }
            let cells = [row.labels.join(","), kafka].map(|cell| match cell.is_empty() {
                true => "-".to_owned(),
                false => cell,
            });
            let [labels, kafka] = cells;
            let unit = if row.unit.is_empty() { "-" } else { row.unit };
            table.push(vec![
                row.name.to_owned(),
                row.kind.to_owned(),
                unit.to_owned(),
                labels,
                kafka,
                row.help.to_owned(),
            ]);
        }
        table.print()
    }
}
