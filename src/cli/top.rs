//! `ringlog top`: a broker as it works, on the terminal, from its admin listener.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, Widget};

use super::admin::AdminArgs;
use super::args::duration;
use super::failure::Failure;
use super::output::{print, size};
use super::top_view::{Look, View};

/// Watch a broker: shards, topics, groups by lag, devices
///
/// q or Esc ends it. What is shown comes from the broker's admin listener.
#[derive(Args, Debug)]
pub(super) struct Top {
    #[command(flatten)]
    admin: AdminArgs,

    /// Between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    interval: Duration,

    /// Print what there is after one interval as text, and end
    #[arg(long)]
    once: bool,

    /// Topics and groups shown, at most
    #[arg(long, value_name = "N", default_value_t = 15)]
    rows: usize,
}

/// Columns of the text of `--once`.
const TEXT_WIDTH: u16 = 130;

impl Top {
    pub fn run(self) -> Result<(), Failure> {
        if self.once {
            let before = Look::take(&self.admin)?;
            std::thread::sleep(self.interval);
            let view = View::between(&before, &Look::take(&self.admin)?, self.rows);
            return print(&text(&self.admin.admin, &view));
        }
        if !std::io::stdout().is_terminal() {
            let why = "top needs a terminal; --once prints one look as text";
            return Err(Failure::Usage(why.to_owned()));
        }
        let mut before = Look::take(&self.admin)?;
        let mut terminal =
            ratatui::try_init().map_err(|error| Failure::io("the terminal", &error))?;
        let ended = self.watch(&mut terminal, &mut before);
        ratatui::restore();
        ended
    }

    fn watch(
        &self,
        terminal: &mut ratatui::DefaultTerminal,
        before: &mut Look,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::io("the terminal", &error);
        let mut view = View::between(before, before, self.rows);
        let mut note = "first look".to_owned();
        loop {
            let draw = |frame: &mut ratatui::Frame<'_>| {
                let area = frame.area();
                draw(&self.admin.admin, &note, &view, area, frame.buffer_mut());
            };
            terminal.draw(draw).map_err(failed)?;
            if wants_to_end(self.interval).map_err(failed)? {
                return Ok(());
            }
            // A broker that is gone may come back: what was seen last stays, and the note says why.
            match Look::take(&self.admin) {
                Ok(now) => {
                    view = View::between(before, &now, self.rows);
                    *before = now;
                    note = String::new();
                }
                Err(Failure::Fault(why)) => note = why,
                Err(other) => return Err(other),
            }
        }
    }
}

/// Waits so long for a key that ends it.
fn wants_to_end(time: Duration) -> std::io::Result<bool> {
    let until = Instant::now() + time;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        if let Event::Key(key) = event::read()? {
            let is_interrupt =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_interrupt {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// One look as text, without the ends of lines that are blank.
pub(super) fn text(admin: &str, view: &View) -> String {
    let height = view
        .tables()
        .iter()
        .map(|table| table.rows.len() + 3)
        .sum::<usize>()
        + 2;
    let area = Rect::new(0, 0, TEXT_WIDTH, height.min(10_000) as u16);
    let mut buffer = Buffer::empty(area);
    draw(admin, "", view, area, &mut buffer);
    let line = |y: u16| -> String {
        let cells = (0..area.width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    let lines: Vec<String> = (0..area.height).map(line).collect();
    lines.join("\n").trim_end().to_owned()
}

fn draw(admin: &str, note: &str, view: &View, area: Rect, buffer: &mut Buffer) {
    let tables = view.tables();
    let mut heights = vec![Constraint::Length(1), Constraint::Length(1)];
    heights.extend(
        tables
            .iter()
            .map(|table| Constraint::Length(table.rows.len() as u16 + 3)),
    );
    let areas = Layout::vertical(heights).split(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let head = format!(
        "ringlog {}  {} in/s  {} out/s  {:.0} records/s  {:.0} requests/s  {} connections  {}",
        admin,
        size(view.bytes_in as i64),
        size(view.bytes_out as i64),
        view.records_in,
        view.requests,
        view.connections,
        size(view.resident_bytes as i64),
    );
    Paragraph::new(Line::styled(head, bold)).render(areas[0], buffer);
    Paragraph::new(note).render(areas[1], buffer);
    for (table, area) in tables.iter().zip(areas.iter().skip(2)) {
        let [title, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(*area);
        Paragraph::new(Line::styled(table.title, bold)).render(title, buffer);
        let widths = table
            .columns
            .iter()
            .map(|(_, width)| Constraint::Length(*width));
        let header = Row::new(table.columns.iter().map(|(name, _)| *name));
        let rows = table.rows.iter().map(|cells| Row::new(cells.clone()));
        Widget::render(Table::new(rows, widths).header(header), body, buffer);
    }
}
