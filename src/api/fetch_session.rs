//! Incremental fetch sessions (KIP-227): what each consumer fetches, and what it was last told.
//!
//! A session lives on the shard of its connection. A client that comes back on another shard is answered
//! FETCH_SESSION_ID_NOT_FOUND and begins anew, as after a broker's restart.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::protocol::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchRequest};
use crate::types::{LeaderEpoch, Micros, Offset, Prng, Str, TopicId};

/// What a client wants of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Empty where the request names topics by id and the id is unknown.
    pub topic: Str,
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: Offset,
    pub max_bytes: i32,
    pub current_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
    /// Why the topic cannot be read at all.
    pub refused: Option<ErrorCode>,
    /// Whether the request names topics by their ids (version 13 and later).
    pub by_id: bool,
}

/// What a partition's last answer said, as far as a session must remember it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub log_start: Offset,
    pub bytes: usize,
    pub diverging: bool,
}

/// How the answer to a Fetch is to be made.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Everything asked is answered; no session.
    Sessionless(Vec<Wanted>),
    /// Everything asked is answered, and a session begins with it if there is room.
    Full(Vec<Wanted>),
    /// Only what changed is answered.
    Incremental { session: i32, wanted: Vec<Wanted> },
}

/// Knows topics' names and ids; `None` where a topic does not exist.
pub trait Topics {
    fn id_of(&self, name: &str) -> Option<TopicId>;
    fn name_of(&self, id: TopicId) -> Option<Str>;
    fn has_partition(&self, id: TopicId, partition: i32) -> bool;
}

type Key = (Str, TopicId, i32);

struct Cached {
    wanted: Wanted,
    high_watermark: Offset,
    log_start: Offset,
}

struct Session {
    epoch: i32,
    by_id: bool,
    /// In the order in which they are to be read: those that just got data go last.
    order: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
    last_used: Micros,
}

/// The sessions of one shard, at most so many.
pub struct Sessions {
    sessions: HashMap<i32, Session>,
    slots: usize,
    prng: Prng,
}

/// A session this long unused makes room for a new one (Kafka's `min.incremental.fetch.session.eviction.ms`).
const EVICTION_US: u64 = 120_000_000;

impl Sessions {
    pub fn new(slots: usize, seed: u64) -> Sessions {
        Sessions {
            sessions: HashMap::new(),
            slots,
            prng: Prng::new(seed),
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Reads a request: begins, goes on with, or closes a session.
    ///
    /// - `Err`: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR, for the
    ///   whole request.
    pub fn plan(
        &mut self,
        request: &FetchRequest,
        version: i16,
        topics: &impl Topics,
        now: Micros,
    ) -> Result<Plan, ErrorCode> {
        let by_id = version >= 13;
        if request.session_epoch <= 0 {
            self.sessions.remove(&request.session_id);
            let wanted = wanted(request, by_id, topics);
            return Ok(match request.session_epoch {
                0 => Plan::Full(wanted),
                _ => Plan::Sessionless(wanted),
            });
        }
        let session = self
            .sessions
            .get_mut(&request.session_id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.forget(request, topics);
        for wanted in wanted(request, by_id, topics) {
            session.put(wanted);
        }
        if session.order.is_empty() {
            self.sessions.remove(&request.session_id);
            return Ok(Plan::Sessionless(Vec::new()));
        }
        session.epoch = if session.epoch == i32::MAX {
            1
        } else {
            session.epoch + 1
        };
        session.last_used = now;
        let wanted = session.resolved(topics);
        Ok(Plan::Incremental {
            session: request.session_id,
            wanted,
        })
    }

    /// Begins a session with what a full fetch was answered. Returns its id, or 0 if there is no room.
    pub fn begin(
        &mut self,
        wanted: Vec<Wanted>,
        answered: &[Answered],
        by_id: bool,
        now: Micros,
    ) -> i32 {
        if self.sessions.len() >= self.slots && !self.evict(now) {
            return 0;
        }
        let id = loop {
            let id = (self.prng.next_u64() >> 33) as i32;
            if id > 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            epoch: 1,
            by_id,
            order: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            last_used: now,
        };
        for (wanted, answered) in wanted.into_iter().zip(answered) {
            let place = session.put(wanted);
            let cached = session.order.get_mut(&place).expect("just put there");
            cached.remember(answered);
        }
        self.sessions.insert(id, session);
        id
    }

    /// Which of a plan's partitions must be in an incremental answer; remembers what they are told.
    ///
    /// - `wanted` and `answered`: slot for slot, as the plan listed them.
    /// - Source: KIP-227; data, errors, and moved watermarks or log starts are told, the rest is left out.
    pub fn select(&mut self, session: i32, wanted: &[Wanted], answered: &[Answered]) -> Vec<bool> {
        let Some(session) = self.sessions.get_mut(&session) else {
            // Evicted while the request was parked: tell everything.
            return vec![true; answered.len()];
        };
        let mut selected = Vec::with_capacity(answered.len());
        for (wanted, answered) in wanted.iter().zip(answered) {
            let Some(&place) = session.places.get(&wanted.key()) else {
                selected.push(true);
                continue;
            };
            let cached = session
                .order
                .get_mut(&place)
                .expect("places and order hold the same");
            selected.push(cached.must_tell(answered));
            cached.remember(answered);
            if answered.bytes > 0 {
                session.move_last(place);
            }
        }
        selected
    }

    fn evict(&mut self, now: Micros) -> bool {
        let oldest = self
            .sessions
            .iter()
            .min_by_key(|(_, session)| session.last_used);
        match oldest.map(|(id, session)| (*id, session.last_used)) {
            Some((id, last_used)) if now.since(last_used) > EVICTION_US => {
                self.sessions.remove(&id);
                true
            }
            _ => false,
        }
    }
}

impl Session {
    fn put(&mut self, mut wanted: Wanted) -> u64 {
        // A session outlives the frame whose bytes the name shares.
        wanted.topic = wanted.topic.detach();
        let key = wanted.key();
        if let Some(&place) = self.places.get(&key) {
            self.order
                .get_mut(&place)
                .expect("places and order hold the same")
                .wanted = wanted;
            return place;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(key, place);
        let unknown = Offset(-1);
        self.order.insert(
            place,
            Cached {
                wanted,
                high_watermark: unknown,
                log_start: unknown,
            },
        );
        place
    }

    fn move_last(&mut self, place: u64) {
        let cached = self
            .order
            .remove(&place)
            .expect("places and order hold the same");
        let last = self.next_place;
        self.next_place += 1;
        self.places.insert(cached.wanted.key(), last);
        self.order.insert(last, cached);
    }

    fn forget(&mut self, request: &FetchRequest, topics: &impl Topics) {
        for topic in &request.forgotten_topics_data {
            let (name, id) = match self.by_id {
                true => (Str::EMPTY, topic.topic_id),
                false => (
                    topic.topic.clone(),
                    topics.id_of(&topic.topic).unwrap_or_default(),
                ),
            };
            for &partition in &topic.partitions {
                let key = key(&name, id, partition, self.by_id);
                if let Some(place) = self.places.remove(&key) {
                    self.order.remove(&place);
                }
            }
        }
    }

    /// What is wanted now, with topics that came or went since the last time looked up again.
    fn resolved(&mut self, topics: &impl Topics) -> Vec<Wanted> {
        let by_id = self.by_id;
        for cached in self.order.values_mut() {
            let wanted = &mut cached.wanted;
            if by_id {
                match topics.name_of(wanted.topic_id) {
                    Some(name) => {
                        wanted.topic = name;
                        wanted.refused =
                            unknown_partition(topics, wanted.topic_id, wanted.partition);
                    }
                    None if wanted.topic.is_empty() => {
                        wanted.refused = Some(ErrorCode::UnknownTopicId)
                    }
                    // Known before and gone now: the name may belong to a new topic.
                    None => {
                        let renewed = topics.id_of(&wanted.topic).is_some();
                        wanted.refused = Some(match renewed {
                            true => ErrorCode::InconsistentTopicId,
                            false => ErrorCode::UnknownTopicOrPartition,
                        });
                    }
                }
            } else {
                match topics.id_of(&wanted.topic) {
                    Some(id) => {
                        wanted.topic_id = id;
                        wanted.refused = unknown_partition(topics, id, wanted.partition);
                    }
                    None => wanted.refused = Some(ErrorCode::UnknownTopicOrPartition),
                }
            }
        }
        self.order
            .values()
            .map(|cached| cached.wanted.clone())
            .collect()
    }
}

impl Cached {
    fn must_tell(&self, answered: &Answered) -> bool {
        answered.bytes > 0
            || answered.error != ErrorCode::None
            || answered.diverging
            || answered.high_watermark != self.high_watermark
            || answered.log_start != self.log_start
    }

    fn remember(&mut self, answered: &Answered) {
        self.log_start = answered.log_start;
        // An error must be followed by a full answer once it is gone.
        self.high_watermark = match answered.error {
            ErrorCode::None => answered.high_watermark,
            _ => Offset(-1),
        };
    }
}

impl Wanted {
    /// Requests by name keep the id out of the key: the topic may be made anew under its name.
    fn key(&self) -> Key {
        key(&self.topic, self.topic_id, self.partition, self.by_id)
    }
}

fn key(name: &Str, id: TopicId, partition: i32, by_id: bool) -> Key {
    match by_id {
        true => (Str::EMPTY, id, partition),
        false => (name.clone(), TopicId::ZERO, partition),
    }
}

fn wanted(request: &FetchRequest, by_id: bool, topics: &impl Topics) -> Vec<Wanted> {
    let count = request
        .topics
        .iter()
        .map(|topic| topic.partitions.len())
        .sum();
    let mut list = Vec::with_capacity(count);
    for topic in &request.topics {
        let (name, id, refused) = match by_id {
            true => match topics.name_of(topic.topic_id) {
                Some(name) => (name, topic.topic_id, None),
                None => (Str::EMPTY, topic.topic_id, Some(ErrorCode::UnknownTopicId)),
            },
            false => match topics.id_of(&topic.topic) {
                Some(id) => (topic.topic.clone(), id, None),
                None => {
                    let refused = Some(ErrorCode::UnknownTopicOrPartition);
                    (topic.topic.clone(), TopicId::ZERO, refused)
                }
            },
        };
        let new = |partition: &FetchPartition| Wanted {
            topic: name.clone(),
            topic_id: id,
            partition: partition.partition,
            offset: Offset(partition.fetch_offset),
            max_bytes: partition.partition_max_bytes,
            // Here, other than in ListOffsets, any negative one means none.
            current_epoch: LeaderEpoch(partition.current_leader_epoch.max(-1)),
            last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
            refused: refused.or_else(|| unknown_partition(topics, id, partition.partition)),
            by_id,
        };
        list.extend(topic.partitions.iter().map(new));
    }
    without_repeats(list)
}

fn unknown_partition(topics: &impl Topics, id: TopicId, partition: i32) -> Option<ErrorCode> {
    let unknown = !topics.has_partition(id, partition);
    unknown.then_some(ErrorCode::UnknownTopicOrPartition)
}

/// A partition that is named twice counts once, in its first place with its last terms, as in Kafka.
fn without_repeats(list: Vec<Wanted>) -> Vec<Wanted> {
    if list.len() < 2 {
        return list;
    }
    let mut places = HashMap::with_capacity(list.len());
    let mut kept: Vec<Wanted> = Vec::with_capacity(list.len());
    for wanted in list {
        match places.entry(wanted.key()) {
            Entry::Occupied(place) => kept[*place.get()] = wanted,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(wanted);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::fetch::{FetchTopic, ForgottenTopic};
    use crate::types::Uuid;

    struct OneTopic(Option<TopicId>);

    const NAME: &str = "orders";
    const ID: TopicId = Uuid([7; 16]);

    impl Topics for OneTopic {
        fn id_of(&self, name: &str) -> Option<TopicId> {
            self.0.filter(|_| name == NAME)
        }
        fn has_partition(&self, id: TopicId, partition: i32) -> bool {
            self.0 == Some(id) && (0..2).contains(&partition)
        }
        fn name_of(&self, id: TopicId) -> Option<Str> {
            (self.0 == Some(id)).then(|| Str::from(NAME))
        }
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|&partition| FetchPartition {
                partition,
                ..FetchPartition::default()
            })
            .collect();
        let topics = match partitions.is_empty() {
            true => Vec::new(),
            false => vec![FetchTopic {
                topic_id: ID,
                partitions,
                ..FetchTopic::default()
            }],
        };
        FetchRequest {
            session_id,
            session_epoch,
            topics,
            ..FetchRequest::default()
        }
    }

    fn quiet(high_watermark: i64) -> Answered {
        Answered {
            error: ErrorCode::None,
            high_watermark: Offset(high_watermark),
            log_start: Offset(0),
            bytes: 0,
            diverging: false,
        }
    }

    /// A session over partitions 0 and 1, both told a high watermark of 5.
    fn begun(sessions: &mut Sessions) -> i32 {
        let plan = sessions.plan(&request(0, 0, &[0, 1]), 13, &OneTopic(Some(ID)), Micros(0));
        let Ok(Plan::Full(wanted)) = plan else {
            panic!("{plan:?}")
        };
        sessions.begin(wanted, &[quiet(5), quiet(5)], true, Micros(0))
    }

    fn go_on(sessions: &mut Sessions, id: i32, epoch: i32, topics: &OneTopic) -> Vec<Wanted> {
        match sessions.plan(&request(id, epoch, &[]), 13, topics, Micros(0)) {
            Ok(Plan::Incremental { wanted, .. }) => wanted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tells_only_what_changed_and_moves_it_last() {
        let mut sessions = Sessions::new(10, 1);
        let id = begun(&mut sessions);
        let wanted = go_on(&mut sessions, id, 1, &OneTopic(Some(ID)));
        let data = Answered {
            bytes: 10,
            ..quiet(6)
        };
        assert_eq!(
            sessions.select(id, &wanted, &[data, quiet(5)]),
            [true, false]
        );
        let wanted = go_on(&mut sessions, id, 2, &OneTopic(Some(ID)));
        assert_eq!(
            wanted
                .iter()
                .map(|wanted| wanted.partition)
                .collect::<Vec<_>>(),
            [1, 0]
        );
        assert_eq!(
            sessions.select(id, &wanted, &[quiet(5), quiet(6)]),
            [false, false]
        );
    }

    #[test]
    fn tells_a_partition_in_full_after_its_error_is_gone() {
        let mut sessions = Sessions::new(10, 1);
        let id = begun(&mut sessions);
        let wanted = go_on(&mut sessions, id, 1, &OneTopic(Some(ID)));
        let failed = Answered {
            error: ErrorCode::KafkaStorageError,
            ..quiet(5)
        };
        assert_eq!(
            sessions.select(id, &wanted, &[failed, quiet(5)]),
            [true, false]
        );
        assert_eq!(
            sessions.select(id, &wanted, &[quiet(5), quiet(5)]),
            [true, false]
        );
    }

    #[test]
    fn refuses_unknown_sessions_and_wrong_epochs() {
        let mut sessions = Sessions::new(10, 1);
        let topics = OneTopic(Some(ID));
        let id = begun(&mut sessions);
        let plan = sessions.plan(&request(id, 2, &[]), 13, &topics, Micros(0));
        assert_eq!(plan, Err(ErrorCode::InvalidFetchSessionEpoch));
        let plan = sessions.plan(&request(id, 1, &[]), 12, &topics, Micros(0));
        assert_eq!(plan, Err(ErrorCode::FetchSessionTopicIdError));
        let plan = sessions.plan(&request(id ^ 1, 1, &[]), 13, &topics, Micros(0));
        assert_eq!(plan, Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn a_topic_made_anew_is_inconsistent_and_a_deleted_one_unknown() {
        let mut sessions = Sessions::new(10, 1);
        let id = begun(&mut sessions);
        let other = OneTopic(Some(Uuid([8; 16])));
        let wanted = go_on(&mut sessions, id, 1, &other);
        assert_eq!(wanted[0].refused, Some(ErrorCode::InconsistentTopicId));
        let wanted = go_on(&mut sessions, id, 2, &OneTopic(None));
        assert_eq!(wanted[0].refused, Some(ErrorCode::UnknownTopicOrPartition));
    }

    #[test]
    fn forgetting_every_partition_closes_the_session() {
        let mut sessions = Sessions::new(10, 1);
        let id = begun(&mut sessions);
        let mut last = request(id, 1, &[]);
        last.forgotten_topics_data = vec![ForgottenTopic {
            topic_id: ID,
            partitions: vec![0, 1],
            ..ForgottenTopic::default()
        }];
        let plan = sessions.plan(&last, 13, &OneTopic(Some(ID)), Micros(0));
        assert_eq!(plan, Ok(Plan::Sessionless(Vec::new())));
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_partition_named_twice_counts_once_and_an_unknown_one_is_refused() {
        let mut sessions = Sessions::new(10, 1);
        let plan = sessions.plan(
            &request(0, -1, &[0, 7, 0]),
            13,
            &OneTopic(Some(ID)),
            Micros(0),
        );
        let Ok(Plan::Sessionless(wanted)) = plan else {
            panic!("{plan:?}")
        };
        let told: Vec<_> = wanted
            .iter()
            .map(|wanted| (wanted.partition, wanted.refused))
            .collect();
        assert_eq!(
            told,
            [(0, None), (7, Some(ErrorCode::UnknownTopicOrPartition))]
        );
    }

    #[test]
    fn a_full_cache_keeps_recent_sessions() {
        let mut sessions = Sessions::new(1, 1);
        assert_ne!(begun(&mut sessions), 0);
        assert_eq!(begun(&mut sessions), 0);
        let later = Micros(EVICTION_US + 1);
        assert_ne!(sessions.begin(Vec::new(), &[], true, later), 0);
    }
}
