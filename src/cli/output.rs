//! Tables for people and JSON for programs, on standard output.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;

/// A bar on standard error that counts bytes; hidden where that is no terminal.
///
/// - `total`: asked only where the bar is shown. `template`: of the `indicatif` crate, a constant.
pub(super) fn byte_bar(template: &str, total: impl FnOnce() -> u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    ProgressBar::new(total()).with_style(style)
}

/// A table being filled: columns and rows of text.
pub(super) struct Rows {
    table: Table,
}

impl Rows {
    pub fn new(columns: &[&str]) -> Rows {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(columns.iter().map(|column| column.to_uppercase()));
        Rows { table }
    }

    /// Numbers stand to the right.
    pub fn align_right(mut self, columns: &[usize]) -> Rows {
        for &column in columns {
            if let Some(column) = self.table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    pub fn push(&mut self, cells: Vec<String>) {
        self.table.add_row(cells);
    }

    pub fn print(self) -> Result<(), Failure> {
        let text = self.table.to_string();
        // The style puts a space on both sides of every cell.
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
            .collect();
        print(&lines.join("\n"))
    }
}

/// Prints `value` as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Fault(format!("JSON: {error}")))?;
    print(&text)
}

/// Prints `value` as one line of JSON.
pub(super) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::Fault(format!("JSON: {error}")))?;
    print(&text)
}

/// Prints a line or several.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}"))
}

/// The outcome of writing to standard output.
pub(super) fn written<T>(outcome: io::Result<T>) -> Result<T, Failure> {
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Hangup,
        _ => Failure::io("standard output", &error),
    })
}

/// `1 record`, `2 records`.
pub(super) fn counted(count: u64, what: &str) -> String {
    match (count, what.strip_suffix("ch")) {
        (1, _) => format!("1 {what}"),
        (_, Some(_)) => format!("{count} {what}es"),
        (_, None) => format!("{count} {what}s"),
    }
}

/// Node ids in a cell.
pub(super) fn ids(nodes: &[crate::types::NodeId]) -> String {
    let ids: Vec<String> = nodes.iter().map(|node| node.to_string()).collect();
    ids.join(",")
}

/// A size for people, in binary units.
pub(super) fn size(bytes: i64) -> String {
    match u64::try_from(bytes) {
        Ok(bytes) => crate::host::size(bytes),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_largest_unit_that_keeps_them_above_one() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
        assert_eq!(size(-1), "unknown");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_fault() {
        let gone = written::<()>(Err(io::ErrorKind::BrokenPipe.into()));
        assert!(matches!(gone, Err(Failure::Hangup)));
        let full = written::<()>(Err(io::ErrorKind::StorageFull.into()));
        assert!(matches!(full, Err(Failure::Fault(_))));
    }
}
