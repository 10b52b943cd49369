//! ProduceRequest: batches of any partitions, appended by the shards that own them. The rules are [`crate::api`]'s own
//! Produce's, but that nothing transactional is taken.

use std::rc::Rc;

use super::Refusal;
use super::context::{NativeContext, NativeWork};
use super::malformed;
use crate::api::Times;
use crate::api::produce::writable;
use crate::metadata::Image;
use crate::protocol::ErrorCode;
use crate::record::BatchHeader;
use crate::shard::{Joined, ProduceItem, ProduceJoin, ProduceOutcome, Wait};
use crate::types::TopicId;
use crate::wire::{Frame, FrameError, ProduceRequestV1, ProduceResponseV1, ProducedV1};

/// Appends what it can before it returns; the work that is left is to wait and to answer.
pub(super) fn start(context: &Rc<NativeContext>, frame: &Frame) -> Result<NativeWork, Refusal> {
    let request = frame.read::<ProduceRequestV1>().map_err(malformed)?;
    let acks = request.acks.to_native();
    if !(-1..=1).contains(&acks) {
        let why = format!("acks is {acks}, and may be -1, 0 or 1");
        return Err((ErrorCode::InvalidRequiredAcks, why));
    }
    // Before anything is appended the lengths must add up: a request is appended as it was meant, or not at all.
    let bytes: u64 = request
        .batches
        .iter()
        .map(|b| b.bytes.to_native() as u64)
        .sum();
    if bytes != frame.body.len() as u64 {
        return Err(malformed(FrameError::Body));
    }
    let count = request.batches.len();
    let join = ProduceJoin::timed(count, &context.shard.clock);
    let mut items = Vec::with_capacity(count);
    {
        let image = context.shard.image();
        let mut body = frame.body.clone();
        let mut last: Option<(TopicId, Found)> = None;
        for (index, batch) in (0..).zip(request.batches.iter()) {
            // The lengths add up: none asks for more than is left.
            let records = body.split_to(batch.bytes.to_native() as usize);
            let topic_id = crate::types::Uuid(batch.topic_id);
            let found = match &last {
                Some((id, found)) if *id == topic_id => found,
                _ => &last.insert((topic_id, find(&image, topic_id))).1,
            };
            let partition = batch.partition.to_native();
            match admit(found, partition, &records) {
                Ok(()) => items.push(ProduceItem {
                    index,
                    topic_id,
                    partition,
                    records,
                }),
                Err(outcome) => join.put(index, outcome),
            }
        }
    }
    let wait = match acks {
        0 => Wait::No,
        _ => Wait::Committed {
            timeout_ms: request.timeout_ms.to_native(),
        },
    };
    context.shard.produce(items, None, wait, &join);
    let (context, correlation) = (context.clone(), frame.correlation);
    Ok(Box::pin(async move {
        Joined(join.clone()).await;
        let mut outcomes = join.take_outcomes();
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        assert_eq!(outcomes.len(), count, "every batch has an outcome");
        let batches = outcomes.into_iter().map(|(_, outcome)| row(outcome));
        let response = ProduceResponseV1 {
            batches: batches.collect(),
        };
        let (stages, done_at) = join.times();
        let frame = context.answer(correlation, &response);
        frame.timed(Times { stages, done_at })
    }))
}

/// How many partitions a topic has, or why nothing may be appended to it.
type Found = Result<usize, (ErrorCode, Option<&'static str>)>;

fn find(image: &Image, topic_id: TopicId) -> Found {
    let topic = image
        .topic_by_id(topic_id)
        .ok_or((ErrorCode::UnknownTopicId, None))?;
    match writable(topic) {
        Ok(()) => Ok(topic.partitions_count()),
        Err((code, why)) => Err((code, Some(why))),
    }
}

fn admit(found: &Found, partition: i32, records: &[u8]) -> Result<(), ProduceOutcome> {
    let partitions_count = found.map_err(|(code, why)| match why {
        Some(why) => ProduceOutcome::refused_because(code, why),
        None => ProduceOutcome::refused(code),
    })?;
    if partition < 0 || partition as usize >= partitions_count {
        return Err(ProduceOutcome::refused(ErrorCode::UnknownTopicOrPartition));
    }
    if BatchHeader::view(records).is_ok_and(BatchHeader::is_transactional) {
        return Err(ProduceOutcome::refused_because(
            ErrorCode::TransactionalIdAuthorizationFailed,
            "nobody writes into a transaction without its transactional id, which this request cannot carry",
        ));
    }
    Ok(())
}

fn row(outcome: ProduceOutcome) -> ProducedV1 {
    let message = outcome.fault.and_then(|fault| {
        let fault = *fault;
        fault
            .message
            .or_else(|| fault.records.into_iter().next().map(|(_, what)| what))
    });
    ProducedV1 {
        error: outcome.error.code(),
        base_offset: outcome.base_offset.0,
        append_time: outcome.append_time.0,
        log_start: outcome.log_start.0,
        message,
    }
}
