//! WriteTxnMarkers (27): a coordinator, or a tool that aborts a hanging transaction, marks transactions' ends. v1
//! flexible · v2 transaction version (KIP-1228).

use std::collections::HashSet;
use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use crate::shard::Shard;
use crate::storage::join_bounded;
use crate::types::{ProducerEpoch, ProducerId, TopicId};

/// Markers written at once: each waits until it is durable, and one commit makes many so.
const DEPTH: usize = 256;

/// What a marker says, but for its partitions.
#[derive(Clone, Copy)]
struct Text {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    coordinator_epoch: i32,
    committed: bool,
    transaction_version: i16,
}

pub(super) async fn serve(
    context: Rc<Context>,
    request: WriteTxnMarkersRequest,
    _version: i16,
) -> WriteTxnMarkersResponse {
    let mut shape = Vec::with_capacity(request.markers.len());
    let mut places = Vec::new();
    for marker in request.markers {
        let result = result_of(&context.shard, marker, &mut places);
        // Kafka's answer leaves out what names no partition.
        if !result.topics.is_empty() {
            shape.push(result);
        }
    }
    let shard = &context.shard;
    let writes = places
        .into_iter()
        .map(|(place, text)| write(shard.clone(), place, text));
    let mut errors = join_bounded(writes, DEPTH).await.into_iter();
    let rows = shape
        .iter_mut()
        .flat_map(|marker| &mut marker.topics)
        .flat_map(|topic| &mut topic.partitions);
    for row in rows {
        let error = errors.next().expect("every partition has an answer");
        row.error_code = error.code();
    }
    WriteTxnMarkersResponse { markers: shape }
}

/// The answer's rows for one marker, and in the same order where it goes; `None` is a partition that does not exist.
/// A partition that is named twice gets one marker.
fn result_of(
    shard: &Shard,
    marker: WritableTxnMarker,
    places: &mut Vec<(Option<(TopicId, i32)>, Text)>,
) -> WritableTxnMarkerResult {
    let text = Text {
        producer_id: ProducerId(marker.producer_id),
        producer_epoch: ProducerEpoch(marker.producer_epoch),
        coordinator_epoch: marker.coordinator_epoch,
        committed: marker.transaction_result,
        transaction_version: marker.transaction_version.into(),
    };
    let image = shard.image();
    let mut seen = HashSet::new();
    let topics = marker.topics.into_iter().map(|topic| {
        let found = image.topic(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            if !seen.insert((topic.name.clone(), index)) {
                continue;
            }
            let known =
                found.filter(|found| index >= 0 && (index as usize) < found.partitions_count());
            places.push((known.map(|topic| (topic.id, index)), text));
            partitions.push(WritableTxnMarkerPartitionResult {
                partition_index: index,
                error_code: ErrorCode::None.code(),
            });
        }
        WritableTxnMarkerTopicResult {
            name: topic.name,
            partitions,
        }
    });
    WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: topics
            .filter(|topic| !topic.partitions.is_empty())
            .collect(),
    }
}

async fn write(shard: Rc<Shard>, place: Option<(TopicId, i32)>, text: Text) -> ErrorCode {
    let Some((topic_id, partition)) = place else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    let work = move |shard: Rc<Shard>| async move {
        let Some(replica) = shard.replica(topic_id, partition) else {
            return ErrorCode::UnknownTopicOrPartition;
        };
        let written = replica.append_marker(
            &shard,
            text.producer_id,
            text.producer_epoch,
            text.coordinator_epoch,
            text.committed,
            text.transaction_version,
        );
        written.await.err().unwrap_or(ErrorCode::None)
    };
    shard.call(shard.owner(topic_id, partition), work).await
}
