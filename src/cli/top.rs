//! `ringlog top`: a broker as it works, on the terminal, from its admin listener.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};

use super::admin::AdminArgs;
use super::args::duration;
use super::failure::Failure;
use super::output::print;
use super::top_draw::{draw, text};
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
            let until = Instant::now() + self.interval;
            loop {
                let frame = |frame: &mut ratatui::Frame<'_>| {
                    let area = frame.area();
                    draw(&self.admin.admin, &note, &view, area, frame.buffer_mut());
                };
                terminal.draw(frame).map_err(failed)?;
                match woken(until).map_err(failed)? {
                    Woken::Time => break,
                    Woken::Resized => {}
                    Woken::End => return Ok(()),
                }
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

/// What ended a wait.
enum Woken {
    Time,
    /// The terminal has another size: what it shows is drawn anew at once.
    Resized,
    /// A key.
    End,
}

/// Waits until then, or for what comes before.
fn woken(until: Instant) -> std::io::Result<Woken> {
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        match event::read()? {
            Event::Resize(..) => return Ok(Woken::Resized),
            Event::Key(key) => {
                let is_interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_interrupt {
                    return Ok(Woken::End);
                }
            }
            _ => {}
        }
    }
    Ok(Woken::Time)
}
