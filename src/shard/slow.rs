//! The slowest requests of late, with where their time went.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;

use serde::Serialize;

use crate::metrics::{Stage, Stages};
use crate::types::{Micros, Str, Timestamp};

/// One request that took long.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SlowRequest {
    /// When it was answered, in milliseconds since 1970.
    pub at_ms: i64,
    pub shard: u16,
    pub api: &'static str,
    pub version: i16,
    pub client_id: String,
    pub peer: String,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// From its last bytes read to its answer sent.
    pub total_us: u64,
    /// The total without what it was asked to wait; the list is ordered by it.
    pub busy_us: u64,
    /// Stages in their order, with their microseconds; empty for APIs whose stages are not told apart.
    pub stages: Vec<(&'static str, u64)>,
}

/// What is known of a request when it is over.
pub struct Ended<'a> {
    pub now: Micros,
    pub wall: Timestamp,
    pub shard: u16,
    pub api: &'static str,
    pub version: i16,
    pub client_id: &'a Str,
    pub peer: std::net::SocketAddr,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub total_us: u64,
    pub busy_us: u64,
    /// Fetch names its work otherwise; `None`: no stages are known.
    pub stages: Option<(Stages, bool)>,
}

/// The slowest requests of this window and the last. Bounded; who is not among them costs one comparison.
#[derive(Default)]
pub struct SlowRing {
    /// What a request must take to get in; moves with every one that does.
    floor_us: Cell<u64>,
    began: Cell<Micros>,
    now: RefCell<Vec<SlowRequest>>,
    before: RefCell<Vec<SlowRequest>>,
}

/// Requests kept of one window.
const KEPT: usize = 32;
/// How long a window is.
const WINDOW_US: u64 = 120_000_000;

impl SlowRing {
    /// Whether a request that took so long, or this moment, is worth [`SlowRing::note`].
    #[inline]
    pub fn wants(&self, busy_us: u64, now: Micros) -> bool {
        busy_us > self.floor_us.get() || now.since(self.began.get()) > WINDOW_US
    }

    pub fn note(&self, ended: &Ended<'_>) {
        let mut requests = self.now.borrow_mut();
        if ended.now.since(self.began.get()) > WINDOW_US {
            self.began.set(ended.now);
            self.floor_us.set(0);
            self.before.replace(std::mem::take(&mut *requests));
        }
        if ended.busy_us <= self.floor_us.get() {
            return;
        }
        if requests.len() == KEPT {
            requests.pop();
        }
        let place = requests.partition_point(|kept| kept.busy_us >= ended.busy_us);
        requests.insert(place, SlowRequest::of(ended));
        if requests.len() == KEPT {
            self.floor_us.set(requests[KEPT - 1].busy_us);
        }
    }

    /// The slowest of both windows, the slowest first.
    pub fn slowest(&self) -> Vec<SlowRequest> {
        let mut all = self.now.borrow().clone();
        all.extend(self.before.borrow().iter().cloned());
        all.sort_by_key(|request| Reverse(request.busy_us));
        all
    }
}

impl SlowRequest {
    fn of(ended: &Ended<'_>) -> SlowRequest {
        let stages = ended.stages.map_or_else(Vec::new, |(stages, is_fetch)| {
            let told = Stage::ALL.into_iter();
            let told = told.filter(|stage| !is_fetch || *stage != Stage::Commit);
            told.map(|stage| (stage.name(is_fetch), stages.us(stage)))
                .collect()
        });
        SlowRequest {
            at_ms: ended.wall.0,
            shard: ended.shard,
            api: ended.api,
            version: ended.version,
            client_id: ended.client_id.to_string(),
            peer: ended.peer.to_string(),
            request_bytes: ended.request_bytes,
            response_bytes: ended.response_bytes,
            total_us: ended.total_us,
            busy_us: ended.busy_us,
            stages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(ring: &SlowRing, now: u64, busy_us: u64) {
        let ended = Ended {
            now: Micros(now),
            wall: Timestamp(0),
            shard: 0,
            api: "Fetch",
            version: 1,
            client_id: &Str::from("c"),
            peer: ([127, 0, 0, 1], 9).into(),
            request_bytes: 1,
            response_bytes: 2,
            total_us: busy_us + 7,
            busy_us,
            stages: Some((Stages::default(), true)),
        };
        if ring.wants(busy_us, Micros(now)) {
            ring.note(&ended);
        }
    }

    #[test]
    fn keeps_the_slowest_and_no_more_than_it_may() {
        let ring = SlowRing::default();
        // A multiplier without a common factor: every value from 0 to 999 once, in disorder.
        (0..1000).for_each(|i| note(&ring, i, i * 367 % 1000));
        let slowest: Vec<u64> = ring.slowest().iter().map(|r| r.busy_us).collect();
        let wanted: Vec<u64> = (1000 - KEPT as u64..1000).rev().collect();
        assert_eq!(slowest, wanted);
        assert!(
            !ring.wants(1000 - KEPT as u64, Micros(1000)),
            "costs one comparison"
        );
    }

    #[test]
    fn what_was_slow_is_forgotten_after_two_windows() {
        let ring = SlowRing::default();
        note(&ring, 1, 5_000_000);
        note(&ring, WINDOW_US + 2, 10);
        assert_eq!(ring.slowest().len(), 2, "the last window counts too");
        note(&ring, 2 * WINDOW_US + 4, 20);
        let slowest: Vec<u64> = ring.slowest().iter().map(|r| r.busy_us).collect();
        assert_eq!(slowest, [20, 10]);
    }

    #[test]
    fn a_fetch_reads_and_commits_nothing() {
        let ring = SlowRing::default();
        note(&ring, 1, 5);
        let stages: Vec<_> = ring.slowest()[0]
            .stages
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(stages, ["queue", "mailbox", "read", "wait", "send"]);
    }
}
