//! Whether a commit round begins at once or waits a moment for more.
//!
//! A round that is under way gathers by itself: what is appended meanwhile goes into the next. On a device with a cheap
//! sync that is enough, and waiting gains nothing (measured: 0.5 to 4 ms of it brought nothing at 0.1 ms a sync). Where a
//! sync costs milliseconds, rounds that begin at once split those who write into two halves that take turns: the half
//! that was just answered comes back a moment after the other half's round has begun, and waits for the whole of it.
//! A small part of a sync spent waiting brings both into one round.
//!
//! A round costs processor time too, whatever it carries: submissions, interrupts, a wake-up, an answer for each. Where
//! data flows in, and waiting was seen to bring more of it, a round on any device waits a moment, so that fewer rounds
//! carry the same (measured: a sixth less of the broker's time for a record of 1 KB in batches of 16 KiB).

use std::cell::Cell;
use std::task::{Poll, Waker};

use crate::types::Micros;

/// A sync below this is too cheap to wait for anything.
const SLOW_SYNC_US: u64 = 2_000;
/// Nobody waits longer after a round's end than this part of a sync.
const WINDOW_PART: u64 = 8;
/// Enough of those expected are there: the last ones may be slow, or gone.
const ENOUGH: f64 = 0.9;
/// What waiting gains must be this many times what it costs.
const GAIN_MIN: f64 = 2.0;

/// Less than this is no flow of data: whoever sends it waits for the answer.
const FLOW_BYTES_MIN: u64 = 64 << 10;
/// This much is worth a round of its own (measured: more is no cheaper).
const FLOW_BYTES_ENOUGH: u64 = 192 << 10;
/// How long a round waits for more of a flow.
const FLOW_WAIT_US: u64 = 300;
/// A flow has paused when no round was under way for so long.
const FLOW_PAUSE_US: u64 = 1_000;
/// Waits of late that brought more, as a part of all, from which on waiting pays.
const FLOW_WORTH_MIN: f64 = 0.25;
/// Where it did not pay, it is tried again every so many rounds.
const FLOW_TRY_EVERY: u32 = 64;

/// What the rule for flowing data looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowFacts {
    /// That the round would carry now.
    pub bytes: u64,
    /// Since the last round ended.
    pub idle_us: u64,
    /// Part of the waits of late that brought more.
    pub worth: f64,
    /// Rounds of a flow since the last that waited.
    pub unwaited: u32,
}

/// For how many microseconds a round waits for more of a flow; 0, not at all.
pub(super) fn flow_patience_us(facts: FlowFacts) -> u64 {
    let flows =
        (FLOW_BYTES_MIN..FLOW_BYTES_ENOUGH).contains(&facts.bytes) && facts.idle_us < FLOW_PAUSE_US;
    let pays = facts.worth >= FLOW_WORTH_MIN || facts.unwaited >= FLOW_TRY_EVERY;
    match flows && pays {
        true => FLOW_WAIT_US,
        false => 0,
    }
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundFacts {
    /// What one small durable write costs, in microseconds.
    pub sync_us: u64,
    /// Since the last round ended.
    pub idle_us: u64,
    /// Appends that the round would take now.
    pub gathered: u32,
    /// Those of them that came since the last round ended.
    pub came: u32,
    /// How many usually come within an eighth of a sync after a round's end.
    pub usual: f64,
}

/// The rule, all of it: for how many microseconds the round waits at most; 0, it begins now.
///
/// Each append that makes it into this round is spared a whole sync; each that is there already waits for it. A device
/// that has been idle is not kept waiting.
pub(super) fn patience_us(facts: RoundFacts) -> u64 {
    let window_us = window_us(facts.sync_us);
    if facts.sync_us < SLOW_SYNC_US || facts.idle_us >= window_us {
        return 0;
    }
    let left_us = window_us - facts.idle_us;
    let missing = facts.usual - f64::from(facts.came);
    let gain = missing * facts.sync_us as f64;
    let cost = f64::from(facts.gathered) * left_us as f64;
    match missing > facts.usual * (1.0 - ENOUGH) && gain > cost * GAIN_MIN {
        true => left_us,
        false => 0,
    }
}

fn window_us(sync_us: u64) -> u64 {
    sync_us / WINDOW_PART
}

/// What one shard's rounds have seen; the shard's flusher asks it.
#[derive(Default)]
pub(super) struct Gathering {
    /// Of the slowest directory that the last round wrote to; below [`SLOW_SYNC_US`] nothing is counted.
    sync_us: Cell<u64>,
    round_ended: Cell<Option<Micros>>,
    gathered: Cell<u32>,
    came: Cell<u32>,
    usual: Cell<f64>,
    /// The round that waits.
    waiter: Cell<Option<Waker>>,
    flow: Flow,
}

/// What was seen of data that flows in.
struct Flow {
    /// Appended since the last round began.
    bytes: Cell<u64>,
    worth: Cell<f64>,
    unwaited: Cell<u32>,
    /// The round that waits until there is enough.
    waiter: Cell<Option<Waker>>,
}

impl Default for Flow {
    fn default() -> Flow {
        Flow {
            bytes: Cell::new(0),
            // Whoever is new is believed to send more.
            worth: Cell::new(1.0),
            unwaited: Cell::new(0),
            waiter: Cell::new(None),
        }
    }
}

impl Gathering {
    /// Whether appends are to be counted at all: it takes a look at the clock each.
    pub fn is_counting(&self) -> bool {
        self.sync_us.get() >= SLOW_SYNC_US
    }

    pub fn on_append(&self, now: Micros) {
        self.gathered.set(self.gathered.get() + 1);
        let idle_us = self.idle_us(now);
        if idle_us > window_us(self.sync_us.get()) {
            return;
        }
        self.came.set(self.came.get() + 1);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Bytes were appended, on whatever device.
    pub fn on_bytes(&self, bytes: u64) {
        let bytes = self.flow.bytes.get() + bytes;
        self.flow.bytes.set(bytes);
        if bytes >= FLOW_BYTES_ENOUGH
            && let Some(waiter) = self.flow.waiter.take()
        {
            waiter.wake();
        }
    }

    pub fn on_round(&self) {
        self.gathered.set(0);
        self.flow.bytes.set(0);
    }

    /// How long the round that could begin `now` waits for more of a flow; 0, not at all.
    pub fn flow_patience_us(&self, now: Micros) -> u64 {
        let flow = &self.flow;
        let patience_us = flow_patience_us(FlowFacts {
            bytes: flow.bytes.get(),
            idle_us: self.idle_us(now),
            worth: flow.worth.get(),
            unwaited: flow.unwaited.get(),
        });
        if patience_us == 0 && flow.bytes.get() >= FLOW_BYTES_MIN {
            flow.unwaited.set(flow.unwaited.get().saturating_add(1));
        }
        patience_us
    }

    /// Bytes that the next round carries by now.
    pub fn flow_bytes(&self) -> u64 {
        self.flow.bytes.get()
    }

    /// Returns when the next round has enough.
    pub async fn flow_enough(&self) {
        std::future::poll_fn(|context| {
            if self.flow.bytes.get() >= FLOW_BYTES_ENOUGH {
                return Poll::Ready(());
            }
            self.flow.waiter.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// A round has waited for more of a flow; it had so much before.
    pub fn on_flow_waited(&self, had: u64) {
        let flow = &self.flow;
        let brought = f64::from(u8::from(flow.bytes.get() > had));
        flow.worth.set((flow.worth.get() * 7.0 + brought) / 8.0);
        flow.unwaited.set(0);
    }

    /// - `sync_us`: what a small durable write costs in the slowest directory that was written to.
    pub fn on_round_end(&self, now: Micros, sync_us: u64) {
        self.sync_us.set(sync_us);
        let came = f64::from(self.came.replace(0));
        self.usual.set((self.usual.get() * 3.0 + came) / 4.0);
        self.round_ended.set(Some(now));
    }

    fn idle_us(&self, now: Micros) -> u64 {
        self.round_ended
            .get()
            .map_or(u64::MAX, |ended| now.since(ended))
    }

    /// How long the round that could begin `now` waits at most; 0, not at all.
    pub fn patience_us(&self, now: Micros) -> u64 {
        patience_us(RoundFacts {
            sync_us: self.sync_us.get(),
            idle_us: self.idle_us(now),
            gathered: self.gathered.get(),
            came: self.came.get(),
            usual: self.usual.get(),
        })
    }

    /// Returns when one more has come.
    pub async fn next_append(&self) {
        let before = self.came.get();
        std::future::poll_fn(|context| {
            if self.came.get() != before {
                return Poll::Ready(());
            }
            self.waiter.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use crate::types::Prng;

    const HDD: Disk = Disk {
        sync_us: 8_000,
        bytes_per_us: 150,
    };
    const SSD: Disk = Disk {
        sync_us: 100,
        bytes_per_us: 1_000,
    };
    const APPEND_BYTES: u64 = 1_000;
    const RUN_US: u64 = 20_000_000;

    /// What a round costs: a sync, and its bytes.
    #[derive(Clone, Copy)]
    struct Disk {
        sync_us: u64,
        bytes_per_us: u64,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Rule {
        AtOnce,
        Gathers,
    }

    /// Who writes.
    #[derive(Clone, Copy)]
    enum Writers {
        /// So many, each again as soon as it was answered and has been away for about 300 us.
        Closed(u32),
        /// Independent of the answers, so many a second.
        Open(u64),
    }

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        RoundEnds,
        Append,
        PatienceEnds,
    }

    struct Seen {
        appends_per_second: f64,
        latency_mean_us: f64,
    }

    struct Sim {
        disk: Disk,
        rule: Rule,
        writers: Writers,
        gathering: Gathering,
        prng: Prng,
        events: BinaryHeap<Reverse<(u64, Event)>>,
        /// When those that wait for a round were appended, and those of the round under way.
        waiting: Vec<u64>,
        committing: Option<Vec<u64>>,
        latencies_us: Vec<u64>,
    }

    impl Sim {
        fn run(disk: Disk, rule: Rule, writers: Writers) -> Seen {
            let mut sim = Sim {
                disk,
                rule,
                writers,
                gathering: Gathering::default(),
                prng: Prng::new(7),
                events: BinaryHeap::new(),
                waiting: Vec::new(),
                committing: None,
                latencies_us: Vec::new(),
            };
            let first = match writers {
                Writers::Closed(count) => count,
                Writers::Open(_) => 1,
            };
            for _ in 0..first {
                let at = sim.prng.below(2 * disk.sync_us);
                sim.events.push(Reverse((at, Event::Append)));
            }
            while let Some(Reverse((now, event))) = sim.events.pop() {
                if now > RUN_US {
                    break;
                }
                sim.on(now, event);
            }
            let count = sim.latencies_us.len() as f64;
            Seen {
                appends_per_second: count / (RUN_US as f64 / 1e6),
                latency_mean_us: sim.latencies_us.iter().sum::<u64>() as f64 / count,
            }
        }

        fn on(&mut self, now: u64, event: Event) {
            match event {
                Event::Append => {
                    self.waiting.push(now);
                    if self.gathering.is_counting() {
                        self.gathering.on_append(Micros(now));
                    }
                    if let Writers::Open(rate) = self.writers {
                        let gap = -(1.0 - self.prng.unit()).ln() * 1e6 / rate as f64;
                        self.events.push(Reverse((now + gap as u64, Event::Append)));
                    }
                }
                Event::PatienceEnds => {}
                Event::RoundEnds => {
                    for appended in self.committing.take().expect("a round was under way") {
                        self.latencies_us.push(now - appended);
                        if let Writers::Closed(_) = self.writers {
                            let away = 200 + self.prng.below(200);
                            self.events.push(Reverse((now + away, Event::Append)));
                        }
                    }
                    self.gathering.on_round_end(Micros(now), self.disk.sync_us);
                }
            }
            if self.committing.is_none() && !self.waiting.is_empty() {
                let patience_us = match self.rule {
                    Rule::AtOnce => 0,
                    Rule::Gathers => self.gathering.patience_us(Micros(now)),
                };
                match patience_us {
                    0 => self.begin(now),
                    more => self.events.push(Reverse((now + more, Event::PatienceEnds))),
                }
            }
        }

        fn begin(&mut self, now: u64) {
            self.gathering.on_round();
            let round = std::mem::take(&mut self.waiting);
            let bytes = round.len() as u64 * APPEND_BYTES;
            let end = now + self.disk.sync_us + bytes / self.disk.bytes_per_us;
            self.committing = Some(round);
            self.events.push(Reverse((end, Event::RoundEnds)));
        }
    }

    #[test]
    fn writers_that_wait_for_answers_share_a_round_on_a_slow_disk() {
        for count in [2, 8, 32, 200] {
            let at_once = Sim::run(HDD, Rule::AtOnce, Writers::Closed(count));
            let gathers = Sim::run(HDD, Rule::Gathers, Writers::Closed(count));
            let gain = gathers.appends_per_second / at_once.appends_per_second;
            assert!(gain > 1.5, "{count} writers: {gain}");
            let latency = gathers.latency_mean_us / at_once.latency_mean_us;
            assert!(latency < 0.67, "{count} writers: {latency}");
        }
    }

    #[test]
    fn one_writer_and_those_who_do_not_wait_lose_nothing() {
        let at_once = Sim::run(HDD, Rule::AtOnce, Writers::Closed(1));
        let gathers = Sim::run(HDD, Rule::Gathers, Writers::Closed(1));
        assert_eq!(at_once.latency_mean_us, gathers.latency_mean_us);
        for rate in [20, 100, 1_000, 10_000] {
            let at_once = Sim::run(HDD, Rule::AtOnce, Writers::Open(rate));
            let gathers = Sim::run(HDD, Rule::Gathers, Writers::Open(rate));
            let latency = gathers.latency_mean_us / at_once.latency_mean_us;
            assert!(latency < 1.02, "{rate}/s: {latency}");
        }
    }

    #[test]
    fn a_fast_disk_never_waits() {
        for writers in [
            Writers::Closed(1),
            Writers::Closed(200),
            Writers::Open(50_000),
        ] {
            let at_once = Sim::run(SSD, Rule::AtOnce, writers);
            let gathers = Sim::run(SSD, Rule::Gathers, writers);
            assert_eq!(at_once.latency_mean_us, gathers.latency_mean_us);
            assert_eq!(at_once.appends_per_second, gathers.appends_per_second);
        }
    }

    #[test]
    fn a_round_waits_for_a_flow_where_that_brought_more_before() {
        let facts = FlowFacts {
            bytes: 90 << 10,
            idle_us: 400,
            worth: 0.5,
            unwaited: 0,
        };
        assert_eq!(flow_patience_us(facts), FLOW_WAIT_US);
        for at_once in [
            FlowFacts {
                bytes: 1_000,
                ..facts
            },
            FlowFacts {
                bytes: 200 << 10,
                ..facts
            },
            FlowFacts {
                idle_us: 2_000,
                ..facts
            },
            FlowFacts {
                worth: 0.1,
                ..facts
            },
        ] {
            assert_eq!(flow_patience_us(at_once), 0, "{at_once:?}");
        }
        let tried_again = FlowFacts {
            worth: 0.0,
            unwaited: FLOW_TRY_EVERY,
            ..facts
        };
        assert_eq!(flow_patience_us(tried_again), FLOW_WAIT_US);
    }

    /// One client that sends 100 KB, waits for the answer and sends again gains nothing by waits: all but a few go.
    #[test]
    fn who_waits_for_each_answer_is_not_kept_waiting() {
        let gathering = Gathering::default();
        let mut waits = 0;
        for round in 0..1_000 {
            let now = Micros(round * 500);
            gathering.on_bytes(100_000);
            if gathering.flow_patience_us(now) > 0 {
                let had = gathering.flow_bytes();
                gathering.on_flow_waited(had);
                waits += 1;
            }
            gathering.on_round();
            gathering.on_round_end(now, 100);
        }
        assert!((10..50).contains(&waits), "{waits} waits");
    }

    #[test]
    fn an_idle_device_begins_at_once_and_a_wait_ends_when_enough_have_come() {
        let facts = RoundFacts {
            sync_us: 8_000,
            idle_us: 100,
            gathered: 4,
            came: 0,
            usual: 4.0,
        };
        assert_eq!(patience_us(facts), 900);
        assert_eq!(
            patience_us(RoundFacts {
                idle_us: 5_000,
                ..facts
            }),
            0
        );
        assert_eq!(patience_us(RoundFacts { came: 4, ..facts }), 0);
        assert_eq!(
            patience_us(RoundFacts {
                usual: 0.1,
                ..facts
            }),
            0,
            "too few to wait for"
        );
        assert_eq!(
            patience_us(RoundFacts {
                sync_us: 1_900,
                ..facts
            }),
            0
        );
        assert_eq!(
            Gathering::default().patience_us(Micros(5)),
            0,
            "nothing is known yet"
        );
    }
}
