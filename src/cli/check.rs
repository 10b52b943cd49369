//! `ringlog check`: whether this host is fit for a broker of this configuration.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::output::{print, print_json};
use crate::config::BrokerConfig;
use crate::host::{self, Host, Item, Report, Root, Status};

/// Judge this host for a broker's configuration, before it starts; changes nothing
///
/// In the words of tuning/check, which looks deeper into disks, NICs and CPUs and whose items are judged alike here. Run it
/// as the user that runs the broker: what it may write and its limits are that user's. Exit status: 0 all well, 1 something
/// is wanted, 2 wrong use or configuration, or the host cannot be read.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The broker's configuration; without it /etc/ringlog/server.properties where there is one, else none
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Over what the file says; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// Also what is well
    #[arg(long)]
    all: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,

    /// Read the host whose / is here, as tuning/check does
    #[arg(long, value_name = "DIR", hide = true)]
    root: Option<PathBuf>,
}

/// Where an installed broker has it.
pub(super) const INSTALLED_CONFIG: &str = "/etc/ringlog/server.properties";

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let root = match &self.root {
            None => Root::machine(),
            Some(path) => Root::below(path)
                .map_err(|error| Failure::Usage(format!("--root {}: {error}", path.display())))?,
        };
        let config = load(self.config, &root.path(INSTALLED_CONFIG), &self.overrides)?;
        let directories = host::directories(&config)
            .map_err(|error| Failure::io("the working directory", &error))?;
        let found = Host::look(root, &config, &directories).map_err(Failure::Usage)?;
        let report = host::check(&found, &config, &directories);
        match self.json {
            true => print_json(&report)?,
            false => print(&table(&report, self.all))?,
        }
        match report.is_well() {
            true => Ok(()),
            false => Err(Failure::Told),
        }
    }
}

/// The configuration named, or the installed one, or the broker's defaults.
pub(super) fn load(
    named: Option<PathBuf>,
    installed: &Path,
    overrides: &[String],
) -> Result<BrokerConfig, Failure> {
    let file = named.or_else(|| installed.exists().then(|| installed.to_owned()));
    let loaded = BrokerConfig::load(file.as_deref(), overrides);
    let (config, warnings) = loaded.map_err(|error| Failure::Usage(error.to_string()))?;
    for warning in warnings {
        eprintln!("ringlog: {warning}");
    }
    Ok(config)
}

/// Columns wider than these push the rest to the right in their own row only.
const CURRENT_WIDTH_MAX: usize = 28;
const WANTED_WIDTH_MAX: usize = 40;
const TEXT_WIDTH: usize = 88;

/// Items of one knob that say the same share a row, as tuning/check has it.
fn table(report: &Report, all: bool) -> String {
    let shown = |item: &&Item| all || item.status != Status::Ok;
    let mut groups: Vec<Vec<&Item>> = Vec::new();
    for item in report.items.iter().filter(shown) {
        match groups
            .iter_mut()
            .find(|group| says_the_same(group[0], item))
        {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    let width = |of: fn(&Item) -> &str, least: usize, most: usize| {
        let widths = groups.iter().map(|group| of(group[0]).chars().count());
        widths.max().unwrap_or(0).clamp(least, most)
    };
    let item = width(|item| item.knob, 7, 40);
    let current = width(|item| &item.current, 7, CURRENT_WIDTH_MAX);
    let wanted = width(|item| &item.wanted, 6, WANTED_WIDTH_MAX);
    let row =
        |a: &str, b: &str, c: &str, d: &str| format!("{a:item$}  {b:current$}  {c:wanted$}  {d}\n");
    let mut out = String::new();
    if !groups.is_empty() {
        out.push_str(&row("ITEM", "CURRENT", "WANTED", "SEVERITY"));
    }
    for group in &groups {
        let first = group[0];
        let (now, wanted) = (or_dash(&first.current), or_dash(&first.wanted));
        out.push_str(&row(first.knob, &now, &wanted, &severity_word(first)));
        explain(&mut out, group);
    }
    let well = report.items.iter().filter(|i| i.status == Status::Ok);
    out.push_str(&format!(
        "{} well, {} to set (tuning/apply), {} yours to do",
        well.count(),
        report.wanted,
        report.advised
    ));
    out
}

fn says_the_same(a: &Item, b: &Item) -> bool {
    let words = |item: &Item| {
        let Item {
            current,
            wanted,
            why,
            command,
            ..
        } = item;
        [current, wanted, why, command].map(String::clone)
    };
    a.knob == b.knob && a.status == b.status && a.severity == b.severity && words(a) == words(b)
}

fn or_dash(text: &str) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text.replace('\t', " "),
    }
}

fn severity_word(item: &Item) -> String {
    match item.status {
        Status::Ok => "well".to_owned(),
        Status::Note => "note".to_owned(),
        Status::Advice => format!("{}, yours to do", item.severity),
        Status::Want => item.severity.to_owned(),
    }
}

/// The lines under a row.
fn explain(out: &mut String, group: &[&Item]) {
    let first = group[0];
    let targets: Vec<&str> = group.iter().map(|item| item.target.as_str()).collect();
    if !first.target.is_empty() {
        paragraph(out, "at", &targets.join(" "));
    }
    paragraph(out, "why", &first.why);
    match first.status {
        Status::Want if !first.risk.is_empty() => paragraph(out, "risk", first.risk),
        Status::Advice if !first.command.is_empty() => {
            out.push_str(&format!("{:>9} {}\n", "do:", first.command));
        }
        _ => {}
    }
}

/// Folded under its row, at words.
fn paragraph(out: &mut String, word: &str, text: &str) {
    let mut lead = format!("{word}:");
    let mut line = String::new();
    for part in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + part.chars().count() > TEXT_WIDTH {
            out.push_str(&format!("{lead:>9} {line}\n"));
            lead.clear();
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    out.push_str(&format!("{lead:>9} {line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_at_words_behind_its_word() {
        let mut out = String::new();
        paragraph(&mut out, "why", &"abcdefghi ".repeat(20));
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("     why: abcdefghi"));
        assert!(lines[1].starts_with("          abcdefghi"));
        assert!(lines.iter().all(|line| line.len() <= 10 + TEXT_WIDTH));
    }
}
