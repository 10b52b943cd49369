//! Where the time of one request went.

use super::Histogram;

/// A part of a request's time, in the order in which they come. What overlaps is counted with the earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// From its last bytes read to its start: the turn of those before it, and memory.
    Queue = 0,
    /// On its way to other shards and back, the slowest of them.
    Mailbox = 1,
    /// Produce: check, admission and copy into the log. Fetch: the reads, from memory or device.
    Work = 2,
    /// Produce: from the copy to its being durable.
    Commit = 3,
    /// Produce: its answer is known and not yet taken up, for those before it or for its shard. Fetch: parked, because
    /// there was too little to read.
    Wait = 4,
    /// From the answer to its last byte taken by the socket.
    Send = 5,
}

pub const STAGES: usize = 6;

/// The microseconds of each stage of one request.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stages([u32; STAGES]);

/// What each stage took, over all requests of an API.
#[derive(Debug, Default)]
pub struct StageTimes([Histogram; STAGES]);

impl Stage {
    pub const ALL: [Stage; STAGES] = [
        Stage::Queue,
        Stage::Mailbox,
        Stage::Work,
        Stage::Commit,
        Stage::Wait,
        Stage::Send,
    ];

    /// As labels and tables have it; what a Produce appends a Fetch reads.
    pub fn name(self, is_fetch: bool) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Mailbox => "mailbox",
            Stage::Work if is_fetch => "read",
            Stage::Work => "append",
            Stage::Commit => "commit",
            Stage::Wait => "wait",
            Stage::Send => "send",
        }
    }
}

impl Stages {
    pub fn us(&self, stage: Stage) -> u64 {
        u64::from(self.0[stage as usize])
    }

    /// Adds microseconds to a stage; past an hour they no longer count.
    #[inline]
    pub fn add(&mut self, stage: Stage, us: u64) {
        let slot = &mut self.0[stage as usize];
        *slot = slot.saturating_add(u32::try_from(us).unwrap_or(u32::MAX));
    }

    /// Of parts that ran side by side the slowest counts, stage by stage.
    pub fn join(&mut self, other: &Stages) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = theirs.max(*mine);
        }
    }
}

impl StageTimes {
    /// Counts one request.
    #[inline]
    pub fn record(&self, stages: &Stages) {
        for (histogram, us) in self.0.iter().zip(stages.0) {
            histogram.record(u64::from(us));
        }
    }

    pub fn of(&self, stage: Stage) -> &Histogram {
        &self.0[stage as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_run_side_by_side_count_once() {
        let (mut one, mut other) = (Stages::default(), Stages::default());
        one.add(Stage::Mailbox, 5);
        one.add(Stage::Mailbox, 2);
        other.add(Stage::Mailbox, 6);
        other.add(Stage::Work, 1);
        one.join(&other);
        assert_eq!((one.us(Stage::Mailbox), one.us(Stage::Work)), (7, 1));
        one.add(Stage::Send, u64::MAX);
        one.add(Stage::Send, 1);
        assert_eq!(one.us(Stage::Send), u64::from(u32::MAX));
    }
}
