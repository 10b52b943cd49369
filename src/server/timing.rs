//! Where the time of a request went, counted when its answer is sent.

use super::connections::Handle;
use crate::api::Times;
use crate::metrics::{Stage, Stages};
use crate::protocol::ApiKey;
use crate::shard::{Ended, Shard};
use crate::types::Micros;

/// A request that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    pub key: i16,
    pub version: i16,
    /// Of its frame.
    pub bytes: u64,
    /// When its last bytes were read, its work began, and the beginning of its work returned.
    pub arrived: Micros,
    pub started: Micros,
    pub returned: Micros,
}

/// Its answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub times: Times,
    /// When the answer was taken up, and when its last byte was sent.
    pub at: Micros,
    pub sent: Micros,
    pub bytes: u64,
}

/// Counts a request that is over.
pub fn note(shard: &Shard, handle: &Handle, began: &Began, answered: &Answered) {
    let metrics = &shard.metrics;
    let total_us = answered.sent.since(began.arrived);
    metrics.requests_by_api.record(began.key, total_us);
    let mut told = None;
    let mut waited_us = 0;
    if began.key == ApiKey::Produce.code() {
        let stages = of_produce(began, answered);
        metrics.produce_stages.record(&stages);
        told = Some((stages, false));
    } else if began.key == ApiKey::Fetch.code() {
        let stages = of_fetch(began, answered);
        metrics.fetch_stages.record(&stages);
        waited_us = stages.us(Stage::Wait);
        told = Some((stages, true));
    } else if [ApiKey::JoinGroup, ApiKey::SyncGroup]
        .map(ApiKey::code)
        .contains(&began.key)
    {
        // They wait for the other members.
        waited_us = total_us;
    }
    let busy_us = total_us.saturating_sub(waited_us);
    if !shard.slow.wants(busy_us, answered.sent) {
        return;
    }
    shard.slow.note(&Ended {
        now: answered.sent,
        wall: shard.clock.wall(),
        shard: shard.id.0,
        api: ApiKey::from_i16(began.key).map_or("unknown", |key| key.name()),
        version: began.version,
        client_id: &handle.client_id.borrow(),
        peer: handle.peer,
        request_bytes: began.bytes,
        response_bytes: answered.bytes,
        total_us,
        busy_us,
        stages: told,
    });
}

/// What the handler knows of other shards, and around it what the connection saw.
fn of_produce(began: &Began, answered: &Answered) -> Stages {
    let mut stages = answered.times.stages;
    let abroad_us = stages.us(Stage::Mailbox) + stages.us(Stage::Work);
    // Without a note of it, nothing was waited for.
    let done = answered.times.done_at.max(began.returned);
    stages.add(Stage::Queue, began.started.since(began.arrived));
    stages.add(Stage::Work, began.returned.since(began.started));
    stages.add(
        Stage::Commit,
        done.since(began.returned).saturating_sub(abroad_us),
    );
    if answered.bytes > 0 {
        stages.add(Stage::Wait, answered.at.since(done));
    }
    stages.add(Stage::Send, answered.sent.since(answered.at));
    stages
}

fn of_fetch(began: &Began, answered: &Answered) -> Stages {
    let mut stages = answered.times.stages;
    stages.add(Stage::Queue, began.started.since(began.arrived));
    stages.add(Stage::Send, answered.sent.since(answered.at));
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began() -> Began {
        Began {
            key: 0,
            version: 12,
            bytes: 100,
            arrived: Micros(1_000),
            started: Micros(1_010),
            returned: Micros(1_030),
        }
    }

    #[test]
    fn the_stages_of_a_produce_are_its_whole_time() {
        let mut stages = Stages::default();
        stages.add(Stage::Mailbox, 5);
        stages.add(Stage::Work, 7);
        let done_at = Micros(1_530);
        let answered = Answered {
            times: Times { stages, done_at },
            at: Micros(1_540),
            sent: Micros(1_600),
            bytes: 50,
        };
        let stages = of_produce(&began(), &answered);
        let each = Stage::ALL.map(|stage| stages.us(stage));
        assert_eq!(each, [10, 5, 27, 488, 10, 60]);
        assert_eq!(each.iter().sum::<u64>(), 600);
    }

    #[test]
    fn nobody_waits_for_a_produce_without_acknowledgement() {
        let answered = Answered {
            times: Times::default(),
            at: Micros(1_100),
            sent: Micros(1_100),
            bytes: 0,
        };
        let stages = of_produce(&began(), &answered);
        let each = Stage::ALL.map(|stage| stages.us(stage));
        assert_eq!(each, [10, 0, 20, 0, 0, 0]);
    }
}
