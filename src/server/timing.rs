//! Where the time of a request went, counted when its answer is sent.

use super::connections::Handle;
use crate::api::Times;
use crate::metrics::{Metrics, Stage, StageTimes, Stages};
use crate::protocol::ApiKey;
use crate::shard::{Ended, Shard};
use crate::types::Micros;
use crate::wire::Kind;

/// What is asked, by which wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// By Kafka's: the key of the API, which need not be one that we know.
    Kafka(i16),
    /// By the native wire: one of the kinds that are told (see [`Kind::api`]).
    Native(Kind),
}

/// A request that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    pub asked: Asked,
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

impl Asked {
    /// What a frame of the native wire asks, by the number of its kind: whatever is no request is refused.
    pub fn native(kind: u16) -> Asked {
        let is_request = |kind: &Kind| *kind != Kind::Batches && kind.api().is_some();
        let kind = Kind::from_u16(kind).filter(is_request);
        Asked::Native(kind.unwrap_or(Kind::Error))
    }

    fn api(self) -> &'static str {
        match self {
            Asked::Kafka(key) => ApiKey::from_i16(key).map(|key| key.name()),
            Asked::Native(kind) => kind.api(),
        }
        .unwrap_or("unknown")
    }

    fn path(self) -> Path {
        const PRODUCE: i16 = ApiKey::Produce as i16;
        const FETCH: i16 = ApiKey::Fetch as i16;
        const JOIN: i16 = ApiKey::JoinGroup as i16;
        const SYNC: i16 = ApiKey::SyncGroup as i16;
        match self {
            Asked::Kafka(PRODUCE) | Asked::Native(Kind::ProduceRequest) => Path::Produce,
            Asked::Kafka(FETCH) | Asked::Native(Kind::Batches) => Path::Fetch,
            Asked::Kafka(JOIN | SYNC) => Path::Members,
            _ => Path::Plain,
        }
    }

    fn count(self, metrics: &Metrics, total_us: u64) {
        match self {
            Asked::Kafka(key) => metrics.requests_by_api.record(key, total_us),
            Asked::Native(kind) => metrics.requests_by_kind.record(kind as i16, total_us),
        }
    }

    /// Where the stages of its [`Path`] are counted.
    fn stage_times(self, metrics: &Metrics) -> &StageTimes {
        match (self, self.path()) {
            (Asked::Kafka(_), Path::Fetch) => &metrics.fetch_stages,
            (Asked::Kafka(_), _) => &metrics.produce_stages,
            (Asked::Native(_), Path::Fetch) => &metrics.push_stages,
            (Asked::Native(_), _) => &metrics.native_produce_stages,
        }
    }
}

/// What a request goes through.
enum Path {
    Produce,
    Fetch,
    /// It waits for the other members of a group.
    Members,
    Plain,
}

impl Answered {
    /// An answer that was taken up at `at`, with nothing known of it but that.
    pub fn at(at: Micros) -> Answered {
        Answered {
            times: Times::default(),
            at,
            sent: at,
            bytes: 0,
        }
    }
}

/// Counts a request that is over.
pub fn note(shard: &Shard, handle: &Handle, began: &Began, answered: &Answered) {
    let total_us = answered.sent.since(began.arrived);
    began.asked.count(&shard.metrics, total_us);
    let told = match began.asked.path() {
        Path::Produce => Some((of_produce(began, answered), false)),
        Path::Fetch => Some((of_fetch(began, answered), true)),
        Path::Members | Path::Plain => None,
    };
    if let Some((stages, _)) = &told {
        began.asked.stage_times(&shard.metrics).record(stages);
    }
    let waited_us = match (began.asked.path(), &told) {
        (Path::Fetch, Some((stages, _))) => stages.us(Stage::Wait),
        (Path::Members, _) => total_us,
        _ => 0,
    };
    let busy_us = total_us.saturating_sub(waited_us);
    if !shard.slow.wants(busy_us, answered.sent) {
        return;
    }
    shard.slow.note(&Ended {
        now: answered.sent,
        wall: shard.clock.wall(),
        shard: shard.id.0,
        api: began.asked.api(),
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
            asked: Asked::Kafka(0),
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
    fn each_wire_is_counted_apart_and_what_is_unknown_under_one_name() {
        let apis = |kinds: &[u16]| -> Vec<&str> {
            kinds
                .iter()
                .map(|kind| Asked::native(*kind).api())
                .collect()
        };
        assert_eq!(
            apis(&[18, 25, 22, 1, 97, 9_999]),
            [
                "NativeProduce",
                "NativeRefused",
                "NativeOffsets",
                "NativeRefused",
                "NativeRefused",
                "NativeRefused"
            ]
        );
        assert_eq!(Asked::Native(Kind::Batches).api(), "NativePush");
        assert_eq!(Asked::Kafka(9_999).api(), "unknown");
        let metrics = Metrics::default();
        let mut stages = Stages::default();
        stages.add(Stage::Work, 7);
        for asked in [
            Asked::Kafka(0),
            Asked::native(18),
            Asked::Native(Kind::Batches),
        ] {
            asked.count(&metrics, 9);
            asked.stage_times(&metrics).record(&stages);
        }
        for times in [
            &metrics.produce_stages,
            &metrics.native_produce_stages,
            &metrics.push_stages,
        ] {
            assert_eq!(times.of(Stage::Work).counts().sum(), 7);
        }
        assert_eq!(metrics.fetch_stages.of(Stage::Work).counts().count(), 0);
        let by = |counted: &crate::metrics::ByKey| -> Vec<(i16, u64)> {
            counted.counts().map(|(key, c)| (key, c.count())).collect()
        };
        assert_eq!(by(&metrics.requests_by_api), [(0, 1)]);
        assert_eq!(by(&metrics.requests_by_kind), [(18, 1), (25, 1)]);
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
