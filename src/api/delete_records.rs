//! DeleteRecords (21). v2 flexible.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::by_partition;
use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use crate::types::Offset;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            // Of a partition that is named twice the last row counts, as in Kafka.
            let rows: BTreeMap<i32, Offset> = topic
                .partitions
                .iter()
                .map(|row| (row.partition_index, Offset(row.offset)))
                .collect();
            (topic.name, rows.into_iter().collect())
        })
        .collect();
    let answers = by_partition::ask(
        &context.shard,
        topics,
        |shard, replica, offset| async move { replica.delete_records(&shard, offset).await },
    )
    .await;
    let topics = answers
        .into_iter()
        .map(|(name, rows)| DeleteRecordsTopicResult {
            name,
            partitions: rows
                .into_iter()
                .map(|(index, answer)| result(index, answer))
                .collect(),
        })
        .collect();
    DeleteRecordsResponse {
        topics,
        ..DeleteRecordsResponse::default()
    }
}

fn result(
    partition_index: i32,
    answer: Option<Result<Offset, ErrorCode>>,
) -> DeleteRecordsPartitionResult {
    let answer = answer.unwrap_or(Err(ErrorCode::UnknownTopicOrPartition));
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark: answer.map_or(-1, |low| low.0),
        error_code: answer.err().unwrap_or(ErrorCode::None).code(),
    }
}
