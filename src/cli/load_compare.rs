//! `ringlog load compare`: results of `ringlog load --json` held against one another.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::load::{Better, Comparison, Labelled, Ratio, Report, Verdict, compare};

use super::failure::Failure;
use super::output::{Rows, print, print_json};

/// Compare results of `ringlog load --json FILE`
///
/// The first label is what the others are held against. Runs of one --label are repeats of one another, and give the
/// ratios their 95 % intervals; a run without a label is called by its file.
#[derive(Args, Debug)]
pub(super) struct Compare {
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub fn run(self) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        let mut runs = Vec::new();
        for path in &self.files {
            let file = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| Failure::io(&file, &error))?;
            let report =
                Report::read(&text).map_err(|why| Failure::Fault(format!("{file}: {why}")))?;
            if !seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())) {
                // Twice the same run would look like a repeat without any spread.
                return Err(Failure::Usage(format!("{file} is named twice")));
            }
            runs.push(Labelled { file, report });
        }
        let found = compare(&runs);
        match self.json {
            true => print_json(&found),
            false => show(&found),
        }
    }
}

fn show(found: &Comparison) -> Result<(), Failure> {
    let mut columns = vec!["measured".to_owned()];
    for (index, side) in found.sides.iter().enumerate() {
        columns.push(format!("{} ({})", side.label, side.files.len()));
        if index > 0 {
            columns.push("ratio".to_owned());
            columns.push("95 %".to_owned());
            columns.push(String::new());
        }
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut rows = Rows::new(&columns);
    for measure in &found.measures {
        let better = match measure.better {
            Better::Higher => "",
            Better::Lower => " (less is better)",
        };
        let mut cells = vec![format!("{}{better}", measure.name)];
        for (index, mean) in measure.means.iter().enumerate() {
            cells.push(mean.map_or_else(|| "–".to_owned(), figure));
            if index > 0 {
                cells.extend(ratio_cells(&measure.ratios[index - 1]));
            }
        }
        rows.push(cells);
    }
    rows.print()?;
    for unlike in &found.unlike {
        let sides: Vec<String> = unlike
            .values
            .iter()
            .map(|(label, values)| {
                let values: Vec<String> = values.iter().map(setting).collect();
                format!("{label} {}", values.join(" and "))
            })
            .collect();
        print(&format!("unlike in {}: {}", unlike.what, sides.join(", ")))?;
    }
    print(&format!("({})", found.method))
}

fn ratio_cells(ratio: &Option<Ratio>) -> [String; 3] {
    let Some(ratio) = ratio else {
        return ["–", "", ""].map(str::to_owned);
    };
    let interval = match (ratio.low, ratio.high) {
        (Some(low), Some(high)) => format!("{low:.2} to {high:.2}"),
        _ => String::new(),
    };
    let verdict = match ratio.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceShown => "no difference shown",
        Verdict::NotRepeated => "not repeated",
    };
    [format!("{:.2}×", ratio.ratio), interval, verdict.to_owned()]
}

fn setting(value: &Option<Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => crate::load::grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
