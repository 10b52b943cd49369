//! OffsetForLeaderEpoch (23): where a leader epoch ends (KIP-101, KIP-320). v3 replica id · v4 flexible.

use std::rc::Rc;

use super::by_partition;
use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use crate::types::{LeaderEpoch, Offset};

pub(super) async fn serve(
    context: Rc<Context>,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let asked = topic.partitions.iter().map(|row| {
                (
                    row.partition,
                    (
                        LeaderEpoch(row.current_leader_epoch),
                        LeaderEpoch(row.leader_epoch),
                    ),
                )
            });
            (topic.topic, asked.collect())
        })
        .collect();
    let answers = by_partition::ask(
        &context.shard,
        topics,
        |_, replica, (current, asked)| async move {
            replica.check_epoch(current)?;
            Ok(replica.epoch_end(asked))
        },
    )
    .await;
    let topics = answers
        .into_iter()
        .map(|(topic, rows)| OffsetForLeaderTopicResult {
            topic,
            partitions: rows
                .into_iter()
                .map(|(index, answer)| end(index, answer))
                .collect(),
        })
        .collect();
    OffsetForLeaderEpochResponse {
        topics,
        ..OffsetForLeaderEpochResponse::default()
    }
}

fn end(partition: i32, answer: Option<Result<(LeaderEpoch, Offset), ErrorCode>>) -> EpochEndOffset {
    match answer.unwrap_or(Err(ErrorCode::UnknownTopicOrPartition)) {
        Ok((epoch, end)) => EpochEndOffset {
            partition,
            leader_epoch: epoch.0,
            end_offset: end.0,
            ..EpochEndOffset::default()
        },
        Err(error) => EpochEndOffset {
            partition,
            error_code: error.code(),
            ..EpochEndOffset::default()
        },
    }
}
