//! How `ringlog top` is drawn: whatever size the terminal has, every table has its part of it, and what does not fit is said.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Row, Table, Widget};

use super::output::size;
use super::top_view::{TableView, View};

/// Columns of the text of `--once`.
const TEXT_WIDTH: u16 = 130;
/// Lines of a table beside its rows: its title and the names of its columns; and a blank one before the next.
const FRAME_LINES: usize = 2;
const GAP_LINES: usize = 1;
/// A very narrow terminal has no more of the head.
const HEAD_LINES_MAX: usize = 3;
/// Names are not cut shorter than this, though columns behind them be.
const NAME_WIDTH_MIN: u16 = 12;

/// One look as text, without the ends of lines that are blank.
pub(super) fn text(admin: &str, view: &View) -> String {
    let tables = view.tables();
    let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
    let frames = tables.len() * (FRAME_LINES + GAP_LINES);
    let height = head(admin, view, TEXT_WIDTH).len() + 1 + rows + frames;
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

/// Draws a look into an area.
///
/// - `note`: why it is not as it should be; one line, blank most of the time.
pub(super) fn draw(admin: &str, note: &str, view: &View, area: Rect, buffer: &mut Buffer) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut next = area.y;
    let mut line = |line: Line<'_>, buffer: &mut Buffer| {
        if next < area.bottom() {
            line.render(Rect::new(area.x, next, area.width, 1), buffer);
        }
        next = next.saturating_add(1);
    };
    for text in head(admin, view, area.width) {
        line(Line::styled(text, bold), buffer);
    }
    line(Line::raw(fitting(note, area.width)), buffer);
    let tables = view.tables();
    let room = area.bottom().saturating_sub(next);
    let wanted: Vec<usize> = tables.iter().map(|table| table.rows.len()).collect();
    for (table, shown) in tables.iter().zip(rows_shown(room.into(), &wanted)) {
        let lines = (FRAME_LINES + shown) as u16;
        let place = Rect::new(area.x, next, area.width, lines);
        draw_table(table, shown, place, buffer);
        next += lines + GAP_LINES as u16;
    }
}

/// What stands at the top, in as many lines as it needs.
fn head(admin: &str, view: &View, width: u16) -> Vec<String> {
    let items = [
        format!("ringlog {admin}"),
        format!("{} in/s", size(view.bytes_in as i64)),
        format!("{} out/s", size(view.bytes_out as i64)),
        format!("{:.0} records/s", view.records_in),
        format!("{:.0} requests/s", view.requests),
        format!("{} connections", view.connections),
        format!("{} resident", size(view.resident_bytes as i64)),
    ];
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + item.len() <= width.into() => {
                line.push_str("  ");
                line.push_str(&item);
            }
            _ => lines.push(item),
        }
    }
    lines.truncate(HEAD_LINES_MAX);
    lines
}

/// How many rows of each table there is room for: as many as it has, or, where not all fit, no fewer than any table that is
/// cut too. Tables that have not even room for one row are left out, the last ones first.
fn rows_shown(lines: usize, wanted: &[usize]) -> Vec<usize> {
    let frames = |count: usize| count * (FRAME_LINES + GAP_LINES) - GAP_LINES;
    let least = |count: usize| {
        wanted[..count]
            .iter()
            .map(|rows| 1.min(*rows))
            .sum::<usize>()
    };
    let fits = |count: &usize| frames(*count) + least(*count) <= lines;
    let count = (1..=wanted.len()).rev().find(fits).unwrap_or(0);
    let wanted = &wanted[..count];
    let mut shown = vec![0; count];
    let mut left = lines - if count == 0 { lines } else { frames(count) };
    while left > 0 {
        // Whoever has fewest and wants more comes next; of equals the one that is whole soonest.
        let open = (0..count).filter(|table| shown[*table] < wanted[*table]);
        let Some(next) = open.min_by_key(|table| (shown[*table], wanted[*table])) else {
            break;
        };
        shown[next] += 1;
        left -= 1;
    }
    shown
}

fn draw_table(table: &TableView<'_>, shown: usize, area: Rect, buffer: &mut Buffer) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut title = vec![Span::styled(table.title, bold)];
    if shown < table.total {
        title.push(Span::raw(format!("  {shown} of {}", table.total)));
    }
    let top = Rect { height: 1, ..area };
    Line::from(title).render(top, buffer);
    let body = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    let first = first_width(table, shown, area.width);
    let widths = table.columns.iter().enumerate();
    let widths = widths.map(|(column, (_, width))| match column {
        0 => Constraint::Length(first),
        _ => Constraint::Length(*width),
    });
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate();
        Row::new(cells.map(|(column, cell)| match column {
            0 => fitting(cell, first),
            _ => cell.clone(),
        }))
    };
    let rows = table.rows.iter().take(shown).map(row);
    let header = Row::new(table.columns.iter().map(|(name, _)| *name));
    Widget::render(Table::new(rows, widths).header(header), body, buffer);
}

/// The width of the first column, which has names: what the others leave of the line where the names need it.
fn first_width(table: &TableView<'_>, shown: usize, width: u16) -> u16 {
    let usual = table.columns[0].1;
    let others = table.columns[1..].iter().map(|(_, width)| width + 1);
    let free = width.saturating_sub(others.sum());
    let names = table.rows.iter().take(shown).map(|cells| &cells[0]);
    let longest = names.map(|name| Span::raw(name.as_str()).width()).max();
    let longest = longest.unwrap_or(0).min(u16::MAX.into()) as u16;
    let least = NAME_WIDTH_MIN.min(usual);
    free.min(usual.max(longest)).max(least)
}

/// The text in so many cells: of a longer one the middle is left out, since names differ at their ends.
fn fitting(text: &str, width: u16) -> String {
    let visible = |c: char| if c.is_control() { '?' } else { c };
    let text: String = text.chars().map(visible).collect();
    let width = usize::from(width);
    if Span::raw(text.as_str()).width() <= width {
        return text;
    }
    let cells = |c: char| Span::raw(c.to_string()).width();
    let keep = |characters: &mut dyn Iterator<Item = char>, room: usize| -> Vec<char> {
        let mut left = room;
        let taken = characters.map_while(|c| {
            left = left.checked_sub(cells(c))?;
            Some(c)
        });
        taken.collect()
    };
    let room = width.saturating_sub(1);
    let front = keep(&mut text.chars(), room.div_ceil(2));
    let mut back = keep(&mut text.chars().rev(), room / 2);
    back.reverse();
    front.into_iter().chain(['…']).chain(back).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    /// The lines of a terminal of this size, drawn through ratatui's own terminal as in earnest.
    fn screen(view: &View, note: &str, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let frame = |frame: &mut ratatui::Frame<'_>| {
            let area = frame.area();
            draw("127.0.0.1:9644", note, view, area, frame.buffer_mut());
        };
        terminal.draw(frame).expect("it draws");
        let buffer = terminal.backend().buffer();
        let line = |y| -> String {
            let cells = (0..width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }

    fn busy(topics: usize, groups: usize) -> View {
        View::sample(2, topics, groups)
    }

    #[test]
    fn a_small_terminal_has_a_part_of_every_table_and_says_what_is_left_out() {
        let lines = screen(&busy(15, 15), "", 80, 24);
        let at = |word: &str| {
            let found = lines.iter().position(|line| line.starts_with(word));
            found.unwrap_or_else(|| panic!("no {word} in\n{}", lines.join("\n")))
        };
        assert!(lines[0].starts_with("ringlog 127.0.0.1:9644  "));
        assert!(lines[1].contains("resident"), "the head goes on: {lines:?}");
        let titles = ["SHARDS", "TOPICS by bytes in", "GROUPS by lag", "DEVICES"].map(at);
        assert!(titles.is_sorted(), "{titles:?}");
        // Shards and devices are few and whole; topics and groups share what is left.
        assert_eq!(lines[titles[0]], "SHARDS");
        assert_eq!(lines[titles[1]], "TOPICS by bytes in  3 of 15");
        assert_eq!(lines[titles[2]], "GROUPS by lag  2 of 15");
        assert_eq!(lines[titles[3]], "DEVICES");
        for title in titles {
            assert!(title == 3 || lines[title - 1].is_empty(), "a blank line");
        }
        let group = &lines[titles[2] + 2];
        assert!(group.starts_with("group-with-"), "{group}");
        assert!(group.ends_with("1000015"), "the lag is not cut: {group}");
        assert!(group.contains('…'), "and the name says that it is: {group}");
        assert!(lines[23].starts_with("/var/lib"), "down to the last line");
    }

    #[test]
    fn a_large_terminal_shows_all_of_it_in_full() {
        let lines = screen(&busy(15, 15), "", 200, 50);
        let all = lines.join("\n");
        assert!(!all.contains(" of ") && !all.contains('…'), "{all}");
        for number in 0..15 {
            assert!(all.contains(&format!("\ntopic-{number:03} ")), "{all}");
        }
        assert_eq!(lines[0].matches("/s").count(), 4, "one line: {}", lines[0]);
        assert!(all.contains("\n/var/lib/ringlog/data-1 "), "{all}");
    }

    #[test]
    fn rows_that_the_view_left_out_are_told_of() {
        let mut view = busy(15, 15);
        view.topics_total = 400;
        let lines = screen(&view, "", 200, 60);
        assert!(lines.contains(&"TOPICS by bytes in  15 of 400".to_owned()));
    }

    #[test]
    fn no_size_is_too_small_and_a_note_is_shown() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 9), (79, 12), (80, 15)] {
            let lines = screen(&busy(30, 30), "no answer", width, height);
            assert_eq!(lines.len(), usize::from(height));
            let has_note = lines.iter().any(|line| line == "no answer");
            assert!(has_note || width < 20, "{width}x{height}: {lines:?}");
        }
        let lines = screen(&View::default(), "first look", 80, 24);
        assert!(lines.contains(&"DEVICES".to_owned()), "{lines:?}");
    }

    #[test]
    fn rows_are_shared_fairly() {
        assert_eq!(rows_shown(100, &[2, 15, 15, 3]), [2, 15, 15, 3]);
        assert_eq!(rows_shown(21, &[2, 15, 15, 3]), [2, 3, 2, 3]);
        assert_eq!(rows_shown(11 + 8, &[2, 15, 0, 3]), [2, 3, 0, 3]);
        assert_eq!(rows_shown(8, &[2, 15, 15, 3]), [2, 1]);
        assert_eq!(rows_shown(2, &[2, 15]), Vec::<usize>::new());
        assert_eq!(rows_shown(0, &[]), Vec::<usize>::new());
    }

    #[test]
    fn a_long_name_keeps_both_its_ends_and_nothing_that_moves_the_cursor() {
        assert_eq!(fitting("short", 10), "short");
        assert_eq!(fitting("payments-eu-0001", 9), "paym…0001");
        assert_eq!(fitting("a\x1b[2Jb\n", 10), "a?[2Jb?");
        // Two cells each.
        assert_eq!(fitting("日本語日本語", 7), "日…語");
        assert_eq!(fitting("long", 1), "…");
    }
}
