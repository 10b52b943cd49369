//! DescribeLogDirs (35): what lies where. v3 top-level error · v4 sizes of the volumes (KIP-827) · v5 cordoning (KIP-1066).

use std::collections::BTreeMap;
use std::rc::Rc;

use hashbrown::HashSet;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::shard::{LogDirPartition, LogDirState};
use crate::types::Str;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeLogDirsRequest,
    _version: i16,
) -> DescribeLogDirsResponse {
    let wanted: Option<HashSet<(Str, i32)>> = request.topics.as_ref().map(|topics| {
        let rows = |topic: &crate::protocol::describe_log_dirs::DescribableLogDirTopic| {
            let name = topic.topic.clone();
            topic
                .partitions
                .clone()
                .into_iter()
                .map(move |index| (name.clone(), index))
        };
        topics.iter().flat_map(rows).collect()
    });
    let shards = context
        .shard
        .call_all(|shard| async move { shard.describe_log_dirs().await })
        .await;
    let mut results: BTreeMap<Str, DescribeLogDirsResult> = BTreeMap::new();
    for state in shards.into_iter().flatten() {
        let result = results
            .entry(state.path.clone())
            .or_insert_with(|| directory(&state));
        // Of one that is offline nothing is known, as with Kafka.
        let known = state.partitions.into_iter().filter(|_| !state.is_offline);
        for log in known {
            let place = (log.topic.clone(), log.partition);
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(&place)) {
                add(result, log);
            }
        }
    }
    let mut results: Vec<_> = results.into_values().collect();
    for result in &mut results {
        result.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut result.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
    }
    DescribeLogDirsResponse {
        results,
        ..DescribeLogDirsResponse::default()
    }
}

fn directory(state: &LogDirState) -> DescribeLogDirsResult {
    let error = if state.is_offline {
        ErrorCode::KafkaStorageError
    } else {
        ErrorCode::None
    };
    let known = |bytes| if state.is_offline { -1 } else { bytes };
    DescribeLogDirsResult {
        error_code: error.code(),
        log_dir: state.path.clone(),
        total_bytes: known(state.total_bytes),
        usable_bytes: known(state.usable_bytes),
        is_cordoned: state.is_cordoned && !state.is_offline,
        ..DescribeLogDirsResult::default()
    }
}

fn add(result: &mut DescribeLogDirsResult, log: LogDirPartition) {
    let name = log.topic;
    let row = DescribeLogDirsPartition {
        partition_index: log.partition,
        partition_size: log.bytes as i64,
        offset_lag: log.lag,
        is_future_key: log.is_future,
    };
    match result.topics.iter_mut().find(|topic| topic.name == name) {
        Some(topic) => topic.partitions.push(row),
        None => result.topics.push(DescribeLogDirsTopic {
            name,
            partitions: vec![row],
        }),
    }
}
