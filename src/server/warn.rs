//! Log lines about clients, not more than a few a second whatever the clients do.

use std::cell::Cell;
use std::net::SocketAddr;

use crate::types::Micros;

/// Lets so many lines through each second and counts the rest.
pub struct RateLimited {
    window_start: Cell<Micros>,
    lines: Cell<u32>,
    suppressed: Cell<u64>,
}

const LINES_PER_SECOND: u32 = 5;

impl RateLimited {
    pub fn new() -> RateLimited {
        RateLimited {
            window_start: Cell::new(Micros(0)),
            lines: Cell::new(0),
            suppressed: Cell::new(0),
        }
    }

    /// One line about one client.
    pub fn warn(&self, now: Micros, peer: SocketAddr, why: &str) {
        if now.since(self.window_start.get()) >= 1_000_000 {
            self.window_start.set(now);
            self.lines.set(0);
            let suppressed = self.suppressed.replace(0);
            if suppressed > 0 {
                tracing::warn!("{suppressed} more lines like these were left out");
            }
        }
        self.lines.set(self.lines.get() + 1);
        match self.lines.get() <= LINES_PER_SECOND {
            true => tracing::warn!(%peer, "connection closed: {why}"),
            false => self.suppressed.set(self.suppressed.get() + 1),
        }
    }
}
