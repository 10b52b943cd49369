//! Fetch (1). v4 isolation level · v5 log start offset · v7 sessions (KIP-227) · v9 leader epochs (KIP-320) · v11 rack
//! (KIP-392) · v12 flexible, divergence (KIP-595) · v13 topics by id (KIP-516) · v15 replica state · v16 endpoints
//! (KIP-951) · v17 directory id · v18 high watermark of the reader (KIP-1166).

use std::rc::Rc;
use std::time::Duration;

use super::context::{Context, Frame, Outcome, Times, Work};
use super::fetch_session::{Answered, Plan, Topics, Wanted};
use super::rows::Call;
use crate::metadata::Image;
use crate::metrics::{Stage, Stages};
use crate::partition::Isolation;
use crate::protocol::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use crate::protocol::{DecodeError, ErrorCode, Records};
use crate::rt::{self, Reservation};
use crate::shard::{PartitionRead, ReadData, ReadItem, ReadRequest, WatchItem};
use crate::types::{Micros, PartitionIndex, Str, TopicId};

pub(super) fn serve(context: &Rc<Context>, call: Call) -> Result<Work, DecodeError> {
    let (version, correlation_id) = (call.version, call.correlation_id);
    let request = call.decode::<FetchRequest>()?;
    let context = context.clone();
    Ok(Box::pin(async move {
        let mut times = Times::default();
        let (response, data, memory) = answer(&context, request, version, &mut times.stages).await;
        let frame = Frame::with_data(version, correlation_id, &response, data);
        Outcome::Reply(frame.holding(memory).timed(times))
    }))
}

impl Topics for Image {
    fn id_of(&self, name: &str) -> Option<TopicId> {
        self.topic(name).map(|topic| topic.id)
    }

    fn has_partition(&self, id: TopicId, partition: i32) -> bool {
        self.partition(id, PartitionIndex(partition)).is_some()
    }

    fn name_of(&self, id: TopicId) -> Option<Str> {
        self.topic_by_id(id).map(|topic| topic.name.clone())
    }
}

/// Every partition asked for, with an error.
fn refused(request: &FetchRequest, version: i16, error: ErrorCode) -> FetchResponse {
    let partition = |asked: &FetchPartition| PartitionData {
        partition_index: asked.partition,
        error_code: error.code(),
        high_watermark: -1,
        aborted_transactions: Some(Vec::new()),
        records: Some(Records::default()),
        ..PartitionData::default()
    };
    let topic = |asked: &FetchTopic| FetchableTopicResponse {
        topic: asked.topic.clone(),
        topic_id: asked.topic_id,
        partitions: asked.partitions.iter().map(partition).collect(),
    };
    // From version 13 on Kafka's answer to a request that is wrong as a whole names no partitions.
    let responses = if version < 13 {
        request.topics.iter().map(topic).collect()
    } else {
        Vec::new()
    };
    FetchResponse {
        error_code: error.code(),
        responses,
        ..FetchResponse::default()
    }
}

/// Nobody else holds replicas of this broker's partitions.
fn not_a_replica(context: &Context, request: &FetchRequest, version: i16) -> FetchResponse {
    let error = ErrorCode::NotLeaderOrFollower;
    let mut response = refused(request, 12, error);
    response.error_code = ErrorCode::None.code();
    let image = context.shard.image();
    for topic in &mut response.responses {
        let known = match version >= 13 {
            true => image.topic_by_id(topic.topic_id),
            false => image.topic(&topic.topic),
        };
        for partition in &mut topic.partitions {
            let state =
                known.and_then(|topic| topic.partition(PartitionIndex(partition.partition_index)));
            let Some(state) = state else {
                let unknown = if version >= 13 && known.is_none() {
                    ErrorCode::UnknownTopicId
                } else {
                    ErrorCode::UnknownTopicOrPartition
                };
                partition.error_code = unknown.code();
                continue;
            };
            partition.aborted_transactions = None;
            if version >= 16 {
                partition.current_leader = LeaderIdAndEpoch {
                    leader_id: context.shard.node_id().0,
                    leader_epoch: state.leader_epoch.0,
                };
            }
        }
    }
    response
}

/// How long a Fetch waits in line for memory at least, in microseconds: less than clients wait for an answer, and longer than
/// it takes to find out who keeps it.
const MEMORY_WAIT_US: u64 = 8_000_000;

/// The terms of one Fetch.
struct Terms {
    isolation: Isolation,
    max_bytes: usize,
    min_bytes: usize,
    deadline: Micros,
}

async fn answer(
    context: &Rc<Context>,
    request: FetchRequest,
    version: i16,
    stages: &mut Stages,
) -> (FetchResponse, Vec<ReadData>, Option<Reservation>) {
    let without_data = |response| (response, Vec::new(), None);
    if !(0..=1).contains(&request.isolation_level) {
        return without_data(refused(&request, version, ErrorCode::UnknownServerError));
    }
    if request.replica_id.max(request.replica_state.replica_id) >= 0 {
        return without_data(not_a_replica(context, &request, version));
    }
    let now = context.shard.clock.now();
    let plan = {
        let image = context.shard.image();
        context
            .sessions
            .borrow_mut()
            .plan(&request, version, &*image, now)
    };
    let (wanted, session) = match plan {
        Err(error) => {
            let response = FetchResponse {
                error_code: error.code(),
                ..FetchResponse::default()
            };
            return without_data(response);
        }
        Ok(Plan::Sessionless(wanted)) => (wanted, Session::None),
        Ok(Plan::Full(wanted)) => (wanted, Session::Begin),
        Ok(Plan::Incremental { session, wanted }) => (wanted, Session::GoOn(session)),
    };
    let max_bytes = request
        .max_bytes
        .min(context.shard.config.fetch_max_bytes)
        .max(0) as usize;
    let terms = Terms {
        isolation: isolation(&request),
        max_bytes,
        min_bytes: (request.min_bytes.max(0) as usize).min(max_bytes),
        deadline: now.plus_ms(request.max_wait_ms.max(0) as u64),
    };
    let (reads, memory) = read_until_enough(context, &wanted, &terms, stages).await;
    let (response, data) = respond(context, &terms, wanted, reads, session, version);
    (response, data, memory)
}

fn isolation(request: &FetchRequest) -> Isolation {
    match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

/// Reads; if that is too little and nothing is wrong, waits for appends and reads again, until the deadline. Gives with what
/// was read the memory that it takes until it is sent.
async fn read_until_enough(
    context: &Rc<Context>,
    wanted: &[Wanted],
    terms: &Terms,
    stages: &mut Stages,
) -> (Vec<PartitionRead>, Option<Reservation>) {
    let shard = &context.shard;
    loop {
        let Some(mut memory) = memory(context, terms, stages).await else {
            // The client hears how the partitions are, and asks again.
            let request = read_request(wanted, terms, Room::None);
            return (shard.read(request, stages).await, None);
        };
        let room = memory.bytes();
        let request = read_request(wanted, terms, Room::Bytes(room));
        let reads = shard.read(request, stages).await;
        let bytes: usize = reads.iter().map(|read| read.data.bytes()).sum();
        memory.resize(bytes);
        let now = shard.clock.now();
        let left_us = terms.deadline.since(now);
        // What was refused before reading is told when the others are: a session that holds an unknown partition would
        // else be answered at once for ever.
        let urgent = reads
            .iter()
            .any(|read| read.error != ErrorCode::None || read.diverging.is_some());
        // Where it was given less room than it asked for, there may be more, which nobody would wake it for.
        let is_cut = bytes > 0 && room < terms.max_bytes;
        let is_enough = bytes >= terms.min_bytes || is_cut;
        if is_enough || urgent || left_us == 0 || reads.is_empty() {
            return (reads, Some(memory));
        }
        let watched = watch_items(wanted, &reads, terms.isolation);
        let need = ((terms.min_bytes - bytes) as u64).div_ceil(watched.len() as u64);
        context.watch_others(&watched);
        let woken = shard.watch(context.connection, need, &watched);
        // What was read so far is let go: it is read again from the cache when there is more.
        drop((reads, memory));
        let _ = rt::timeout(Duration::from_micros(left_us), woken).await;
        shard.park_ended(context.connection);
        stages.add(Stage::Wait, shard.clock.now().since(now));
    }
}

/// How much may be read at once.
enum Room {
    Bytes(usize),
    /// Not even a first batch.
    None,
}

/// Memory for an answer, which is waited for in turn; `None` if none came.
async fn memory(context: &Context, terms: &Terms, stages: &mut Stages) -> Option<Reservation> {
    let shard = &context.shard;
    if let Some(memory) = shard.answers.try_reserve(terms.max_bytes) {
        return Some(memory);
    }
    let began = shard.clock.now();
    let wait_us = terms.deadline.since(began).max(MEMORY_WAIT_US);
    let reserved = shard.answers.reserve(terms.max_bytes, began);
    let reserved = rt::timeout(Duration::from_micros(wait_us), reserved).await;
    stages.add(Stage::Wait, shard.clock.now().since(began));
    reserved.ok().and_then(Result::ok)
}

fn read_request(wanted: &[Wanted], terms: &Terms, room: Room) -> ReadRequest {
    let (max_bytes, at_least_one) = match room {
        Room::Bytes(bytes) => (terms.max_bytes.min(bytes), true),
        Room::None => (0, false),
    };
    let items = wanted
        .iter()
        .enumerate()
        .filter(|(_, wanted)| wanted.refused.is_none())
        .map(|(index, wanted)| ReadItem {
            index: index as u32,
            topic_id: wanted.topic_id,
            partition: wanted.partition,
            offset: wanted.offset,
            current_epoch: wanted.current_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
            max_bytes: wanted.max_bytes.max(0) as usize,
        })
        .collect();
    ReadRequest {
        items,
        isolation: terms.isolation,
        max_bytes,
        at_least_one,
    }
}

fn watch_items(wanted: &[Wanted], reads: &[PartitionRead], isolation: Isolation) -> Vec<WatchItem> {
    let seen = |read: &PartitionRead| match isolation {
        Isolation::ReadCommitted => read.last_stable_offset,
        _ => read.high_watermark,
    };
    reads
        .iter()
        .map(|read| {
            let wanted = &wanted[read.index as usize];
            WatchItem {
                topic_id: wanted.topic_id,
                partition: wanted.partition,
                isolation,
                seen: seen(read),
            }
        })
        .collect()
}

enum Session {
    None,
    Begin,
    GoOn(i32),
}

fn respond(
    context: &Context,
    terms: &Terms,
    wanted: Vec<Wanted>,
    reads: Vec<PartitionRead>,
    session: Session,
    version: i16,
) -> (FetchResponse, Vec<ReadData>) {
    let reads = with_refused(&wanted, reads);
    let errors = reads
        .iter()
        .filter(|read| read.error != ErrorCode::None)
        .count();
    context.shard.metrics.fetch_errors.add(errors as u64);
    let answered: Vec<Answered> = reads.iter().map(answered).collect();
    let mut sessions = context.sessions.borrow_mut();
    let selected = match session {
        Session::GoOn(id) => sessions.select(id, &wanted, &answered),
        _ => vec![true; wanted.len()],
    };
    let by_id = version >= 13;
    let mut response = FetchResponse::default();
    let mut data = Vec::new();
    for ((wanted, read), selected) in wanted.iter().zip(reads).zip(selected) {
        if selected {
            let node = context.shard.node_id().0;
            let partition =
                partition_data(wanted, read, terms.isolation, (node, version), &mut data);
            add(&mut response.responses, wanted, by_id, partition);
        }
    }
    let bytes: usize = data.iter().map(ReadData::bytes).sum();
    context.shard.metrics.fetch_bytes_out.add(bytes as u64);
    response.session_id = match session {
        Session::None => 0,
        Session::Begin => sessions.begin(wanted, &answered, by_id, context.shard.clock.now()),
        Session::GoOn(id) => id,
    };
    (response, data)
}

/// One read for each partition wanted: those of topics that do not exist were never read.
fn with_refused(wanted: &[Wanted], reads: Vec<PartitionRead>) -> Vec<PartitionRead> {
    let mut reads = reads.into_iter().peekable();
    wanted
        .iter()
        .enumerate()
        .map(|(index, wanted)| match wanted.refused {
            Some(error) => PartitionRead::failed(index as u32, error),
            None => reads.next().expect("what is not refused was read"),
        })
        .collect()
}

fn answered(read: &PartitionRead) -> Answered {
    Answered {
        error: read.error,
        high_watermark: read.high_watermark,
        log_start: read.log_start,
        bytes: read.data.bytes(),
        diverging: read.diverging.is_some(),
    }
}

fn partition_data(
    wanted: &Wanted,
    read: PartitionRead,
    isolation: Isolation,
    (node, version): (i32, i16),
    data: &mut Vec<ReadData>,
) -> PartitionData {
    let bytes = read.data.bytes();
    let mut partition = PartitionData {
        partition_index: wanted.partition,
        error_code: read.error.code(),
        high_watermark: read.high_watermark.0,
        last_stable_offset: read.last_stable_offset.0,
        log_start_offset: read.log_start.0,
        records: Some(Records::default()),
        ..PartitionData::default()
    };
    if bytes > 0 {
        partition.records = Some(Records::External(bytes));
        data.push(read.data);
    }
    if let Some((epoch, end)) = read.diverging {
        partition.diverging_epoch = EpochEndOffset {
            epoch: epoch.0,
            end_offset: end.0,
        };
    }
    // Kafka tells an empty list, not null, of what it refuses before reading.
    let committed = isolation == Isolation::ReadCommitted && read.error == ErrorCode::None;
    if committed || wanted.refused.is_some() {
        let aborted = read.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
        });
        partition.aborted_transactions = Some(aborted.collect());
    }
    let stale = matches!(
        read.error,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    );
    if stale && version >= 16 {
        partition.current_leader = LeaderIdAndEpoch {
            leader_id: node,
            leader_epoch: read.leader_epoch.0,
        };
    }
    partition
}

/// Partitions of one topic that follow each other share one entry, as Kafka groups them.
fn add(
    topics: &mut Vec<FetchableTopicResponse>,
    wanted: &Wanted,
    by_id: bool,
    partition: PartitionData,
) {
    let same = |topic: &FetchableTopicResponse| match by_id {
        true => topic.topic_id == wanted.topic_id,
        false => topic.topic == wanted.topic,
    };
    match topics.last_mut().filter(|topic| same(topic)) {
        Some(topic) => topic.partitions.push(partition),
        None => topics.push(FetchableTopicResponse {
            topic: wanted.topic.clone(),
            topic_id: wanted.topic_id,
            partitions: vec![partition],
        }),
    }
}
