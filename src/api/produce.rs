//! Produce (0). v3 transactional id · v5 log start offset · v8 record errors (KIP-467) · v9 flexible · v10 current
//! leader (KIP-951) · v12 adds partitions to a transaction by itself (KIP-890) · v13 topics by id (KIP-516).

use std::collections::HashSet;
use std::rc::Rc;

use smallvec::SmallVec;

use super::context::{Context, Frame, Outcome, Times, Work};
use super::rows::Call;
use crate::metadata::Topic;
use crate::protocol::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::protocol::{DecodeError, ErrorCode, Records};
use crate::record::{BatchHeader, Codec};
use crate::shard::{Internal, Joined, ProduceItem, ProduceJoin, ProduceOutcome, TxnTerms, Wait};
use crate::types::{Str, TopicId};

/// Appends what it can before it returns; the work that is left is to wait and to answer.
pub(super) fn serve(context: &Rc<Context>, call: Call) -> Result<Work, DecodeError> {
    let (version, correlation_id) = (call.version, call.correlation_id);
    let request = call.decode::<ProduceRequest>()?;
    let (acks, timeout_ms) = (request.acks, request.timeout_ms);
    let terms = terms_of(&request, version);
    let refusal = terms.as_ref().err().copied();
    let mut shape = Shape::default();
    let mut refused = Vec::new();
    let mut items = Vec::new();
    // Kafka's answer leaves out topics without partitions.
    for topic in request
        .topic_data
        .into_iter()
        .filter(|topic| !topic.partition_data.is_empty())
    {
        take_topic(
            context,
            (version, acks, refusal),
            topic,
            &mut shape,
            &mut items,
            &mut refused,
        );
    }
    let join = ProduceJoin::timed(shape.partitions_count as usize, &context.shard.clock);
    for (index, outcome) in refused {
        join.put(index, outcome);
    }
    let wait = match acks {
        0 => Wait::No,
        _ => Wait::Committed { timeout_ms },
    };
    let terms = terms.unwrap_or_default();
    let shard = context.shard.clone();
    context.shard.produce(items, terms.as_ref(), wait, &join);
    Ok(Box::pin(async move {
        Joined(join.clone()).await;
        let outcomes = join.take_outcomes();
        let failed = |(_, outcome): &&(u32, ProduceOutcome)| outcome.error != ErrorCode::None;
        let errors = outcomes.iter().filter(failed).count();
        shard.metrics.produce_errors.add(errors as u64);
        if acks == 0 {
            return silent(outcomes);
        }
        let response = shape.response(outcomes);
        let (stages, done_at) = join.times();
        let frame = Frame::of(version, correlation_id, &response);
        Outcome::Reply(frame.timed(Times { stages, done_at }))
    }))
}

/// The topics and partitions of the request, in its order, without its records.
#[derive(Default)]
struct Shape {
    topics: Vec<(Str, TopicId, Vec<i32>)>,
    partitions_count: u32,
}

/// Whose transaction the batches belong to; `None` where nothing is transactional.
///
/// - `Err`: every partition is refused with it. Without an id nobody may write into a transaction; and a request's
///   transactional batches come from one producer.
fn terms_of(request: &ProduceRequest, version: i16) -> Result<Option<TxnTerms>, Refusal> {
    let mut producer = None;
    let topics = request.topic_data.iter();
    for data in topics.flat_map(|topic| &topic.partition_data) {
        let Some(Records::Bytes(records)) = &data.records else {
            continue;
        };
        let Ok(header) = BatchHeader::view(records) else {
            continue;
        };
        if !header.is_transactional() {
            continue;
        }
        let own = (header.producer_id(), header.producer_epoch());
        if *producer.get_or_insert(own) != own {
            return Err(Refusal::Because(
                ErrorCode::InvalidProducerIdMapping,
                "the request's transactional batches are of several producers",
            ));
        }
    }
    match (&request.transactional_id, producer) {
        (Some(id), Some(_)) => Ok(Some(TxnTerms {
            transactional_id: id.clone(),
            version,
        })),
        (None, Some(_)) => Err(Refusal::Code(ErrorCode::TransactionalIdAuthorizationFailed)),
        (_, None) => Ok(None),
    }
}

fn take_topic(
    context: &Context,
    (version, acks, refusal): (i16, i16, Option<Refusal>),
    topic: TopicProduceData,
    shape: &mut Shape,
    items: &mut Vec<ProduceItem>,
    refused: &mut Vec<(u32, ProduceOutcome)>,
) {
    let found = find(context, version, &topic);
    let data_of_each = last_of_each(topic.partition_data);
    let mut partitions = Vec::with_capacity(data_of_each.len());
    for data in data_of_each {
        let index = shape.partitions_count;
        shape.partitions_count += 1;
        partitions.push(data.index);
        let checked = match refusal {
            Some(refusal) => Err(refusal),
            None => found.and_then(|found| check(found, version, acks, data.index, data.records)),
        };
        match checked {
            Ok((topic_id, records)) => {
                items.push(ProduceItem {
                    index,
                    topic_id,
                    partition: data.index,
                    records,
                });
            }
            Err(refusal) => refused.push((index, refusal.outcome())),
        }
    }
    shape.topics.push((topic.name, topic.topic_id, partitions));
}

/// A partition that a request names twice counts once, with what stands last, as Kafka has it.
fn last_of_each(data: Vec<PartitionProduceData>) -> Vec<PartitionProduceData> {
    let mut indices: SmallVec<[i32; 64]> = data.iter().map(|data| data.index).collect();
    indices.sort_unstable();
    if indices.windows(2).all(|pair| pair[0] != pair[1]) {
        return data;
    }
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = data
        .into_iter()
        .rev()
        .filter(|data| seen.insert(data.index))
        .collect();
    kept.reverse();
    kept
}

#[derive(Clone, Copy)]
enum Refusal {
    Code(ErrorCode),
    Because(ErrorCode, &'static str),
}

impl Refusal {
    fn outcome(self) -> ProduceOutcome {
        match self {
            Refusal::Code(code) => ProduceOutcome::refused(code),
            Refusal::Because(code, why) => ProduceOutcome::refused_because(code, why),
        }
    }
}

/// The topic's id and how many partitions it has.
fn find(
    context: &Context,
    version: i16,
    topic: &TopicProduceData,
) -> Result<(TopicId, usize), Refusal> {
    let image = context.shard.image();
    let found = match version >= 13 {
        true => image
            .topic_by_id(topic.topic_id)
            .ok_or(ErrorCode::UnknownTopicId),
        false => image
            .topic(&topic.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    let found = found.map_err(Refusal::Code)?;
    writable(found).map_err(|(code, why)| Refusal::Because(code, why))?;
    Ok((found.id, found.partitions_count()))
}

/// Whether producers may append to a topic at all.
pub(super) fn writable(topic: &Topic) -> Result<(), (ErrorCode, &'static str)> {
    match Internal::of(&topic.name) {
        None => Ok(()),
        Some(_) => Err((
            ErrorCode::InvalidTopicException,
            "an internal topic takes records of its coordinators only",
        )),
    }
}

fn check(
    (topic_id, partitions_count): (TopicId, usize),
    version: i16,
    acks: i16,
    partition: i32,
    records: Option<Records>,
) -> Result<(TopicId, bytes::Bytes), Refusal> {
    if partition < 0 || partition as usize >= partitions_count {
        return Err(Refusal::Code(ErrorCode::UnknownTopicOrPartition));
    }
    let Some(Records::Bytes(records)) = records else {
        return Err(Refusal::Because(
            ErrorCode::InvalidRecord,
            "a Produce needs one record batch for each partition",
        ));
    };
    if !(-1..=1).contains(&acks) {
        return Err(Refusal::Code(ErrorCode::InvalidRequiredAcks));
    }
    if let Ok(header) = BatchHeader::view(&records)
        && header.codec() == Some(Codec::Zstd)
        && version < 7
    {
        return Err(Refusal::Because(
            ErrorCode::UnsupportedCompressionType,
            "zstd needs version 7 of Produce or later (KIP-110)",
        ));
    }
    Ok((topic_id, records))
}

/// acks=0: an error can only be told by closing the connection.
fn silent(outcomes: Vec<(u32, ProduceOutcome)>) -> Outcome {
    match outcomes
        .iter()
        .find(|(_, outcome)| outcome.error != ErrorCode::None)
    {
        None => Outcome::Silent,
        Some((_, outcome)) => Outcome::Close(format!(
            "a batch sent with acks=0 was refused: {}",
            outcome.error
        )),
    }
}

impl Shape {
    fn response(self, mut outcomes: Vec<(u32, ProduceOutcome)>) -> ProduceResponse {
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        let mut outcomes = outcomes.into_iter().map(|(_, outcome)| outcome);
        let responses = self
            .topics
            .into_iter()
            .map(|(name, topic_id, partitions)| TopicProduceResponse {
                name,
                topic_id,
                partition_responses: partitions
                    .into_iter()
                    .map(|index| {
                        let outcome = outcomes.next().expect("every partition has an outcome");
                        partition_response(index, outcome)
                    })
                    .collect(),
            })
            .collect();
        ProduceResponse {
            responses,
            ..ProduceResponse::default()
        }
    }
}

fn partition_response(index: i32, outcome: ProduceOutcome) -> PartitionProduceResponse {
    let mut response = PartitionProduceResponse {
        index,
        error_code: outcome.error.code(),
        base_offset: outcome.base_offset.0,
        log_append_time_ms: outcome.append_time.0,
        log_start_offset: outcome.log_start.0,
        ..PartitionProduceResponse::default()
    };
    if let Some(fault) = outcome.fault {
        response.error_message = fault.message.map(Str::from);
        response.record_errors = fault
            .records
            .into_iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(Str::from(message)),
            })
            .collect();
    }
    response
}
