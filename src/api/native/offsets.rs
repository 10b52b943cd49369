//! OffsetsRequest: where partitions begin and end, and which record comes first after a time.

use std::rc::Rc;

use super::context::{NativeContext, NativeWork};
use super::{Refusal, isolation, malformed};
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::shard::{OffsetQuery, Replica};
use crate::types::{LeaderEpoch, Timestamp, Uuid};
use crate::wire::{FoundOffsetV1, Frame, OffsetsRequestV1, OffsetsResponseV1};

/// What the partition's owner is asked.
struct Asked {
    query: Option<OffsetQuery>,
    isolation: Isolation,
    leader_epoch: LeaderEpoch,
}

pub(super) fn start(context: &Rc<NativeContext>, frame: &Frame) -> Result<NativeWork, Refusal> {
    let request = frame.read::<OffsetsRequestV1>().map_err(malformed)?;
    let isolation = isolation(request.isolation)?;
    let asked = request.partitions.iter().map(|row| {
        let asked = Asked {
            query: query(row.timestamp.to_native()),
            isolation,
            leader_epoch: LeaderEpoch(row.leader_epoch.to_native()),
        };
        (Uuid(row.topic_id), row.partition.to_native(), asked)
    });
    let asked: Vec<_> = asked.collect();
    // A negative partition has no owner.
    if asked.iter().any(|(_, partition, _)| *partition < 0) {
        let why = "a partition's index is negative".to_owned();
        return Err((ErrorCode::InvalidRequest, why));
    }
    let (context, correlation) = (context.clone(), frame.correlation);
    Ok(Box::pin(async move {
        let work = |_, replica, asked| look_up(replica, asked);
        let answers = context.shard.on_owners(asked, work).await;
        let unknown = || failed(ErrorCode::UnknownTopicOrPartition);
        let rows = answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(unknown));
        let response = OffsetsResponseV1 {
            partitions: rows.collect(),
        };
        context.answer(correlation, &response)
    }))
}

fn query(timestamp: i64) -> Option<OffsetQuery> {
    match timestamp {
        -1 => Some(OffsetQuery::Latest),
        -2 => Some(OffsetQuery::Earliest),
        -3 => Some(OffsetQuery::MaxTimestamp),
        time if time >= 0 => Some(OffsetQuery::AtTime(Timestamp(time))),
        _ => None,
    }
}

async fn look_up(replica: Rc<Replica>, asked: Asked) -> FoundOffsetV1 {
    let found = async {
        let query = asked.query.ok_or(ErrorCode::UnsupportedVersion)?;
        replica.check_epoch(asked.leader_epoch)?;
        replica.find_offset(query, asked.isolation).await
    };
    match found.await {
        Ok(found) => FoundOffsetV1 {
            error: ErrorCode::None.code(),
            offset: found.offset.0,
            timestamp: found.timestamp.0,
            leader_epoch: found.epoch.0,
        },
        Err(error) => failed(error),
    }
}

fn failed(error: ErrorCode) -> FoundOffsetV1 {
    FoundOffsetV1 {
        error: error.code(),
        offset: -1,
        timestamp: -1,
        leader_epoch: -1,
    }
}
