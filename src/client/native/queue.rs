//! One partition's records on their way: the batch being filled, those that are full, those in flight.

use crate::client::batching::{Batch, Filling};
use crate::record::Codec;

/// See the module.
pub(super) struct Queue {
    pub filling: Filling,
    in_flight: usize,
    /// It stands in a list of those that have something to send, and need not be put there again.
    pub listed: bool,
}

/// Batches of one partition in flight, at most: a broker remembers so many of an idempotent producer (KIP-98).
const IN_FLIGHT_MAX: usize = 5;

impl Queue {
    pub fn new(codec: Codec) -> Queue {
        Queue {
            filling: Filling::new(codec),
            in_flight: 0,
            listed: false,
        }
    }

    /// The batch that may be sent now.
    pub fn next(&self) -> Option<&Batch> {
        let is_open = self.in_flight < IN_FLIGHT_MAX;
        self.filling.front().filter(|_| is_open)
    }

    /// The next batch to send, in flight from now on.
    pub fn take(&mut self) -> Option<Batch> {
        self.next()?;
        self.in_flight += 1;
        self.filling.pop()
    }

    /// A batch has come back, acknowledged or not.
    pub fn landed(&mut self) {
        self.in_flight -= 1;
    }
}
