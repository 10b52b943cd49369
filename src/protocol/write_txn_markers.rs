//! WriteTxnMarkers: the coordinator marks the end of transactions in their partitions (key 27).
//!
//! v1 flexible · v2 transaction version (KIP-1228).

use crate::types::Str;

use super::message::message;

message! {
    WriteTxnMarkersRequest: request WriteTxnMarkers -> WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarker>,
    }

    WritableTxnMarker {
        producer_id: i64,
        producer_epoch: i16,
        transaction_result: bool,
        topics: Vec<WritableTxnMarkerTopic>,
        coordinator_epoch: i32,
        transaction_version: i8 [2..],
    }

    WritableTxnMarkerTopic {
        name: Str,
        partition_indexes: Vec<i32>,
    }

    WriteTxnMarkersResponse: response WriteTxnMarkers {
        markers: Vec<WritableTxnMarkerResult>,
    }

    WritableTxnMarkerResult {
        producer_id: i64,
        topics: Vec<WritableTxnMarkerTopicResult>,
    }

    WritableTxnMarkerTopicResult {
        name: Str,
        partitions: Vec<WritableTxnMarkerPartitionResult>,
    }

    WritableTxnMarkerPartitionResult {
        partition_index: i32,
        error_code: i16,
    }
}
