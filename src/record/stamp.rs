//! The fields a broker writes into a batch it was given, in place.

use super::header::{BatchHeader, CRC_START, TimestampType};
use super::{BATCH_HEADER_BYTES, crc32c};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// Writes the offset and the epoch that the leader gives; both lie outside the CRC.
///
/// - `batch`: the batch or at least its header; panics if it is shorter than that.
pub fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    let header = BatchHeader::view_mut(batch);
    header.base_offset.set(base_offset.0);
    header.leader_epoch.set(leader_epoch.0);
}

/// Writes the timestamp type and the max timestamp, and the CRC anew.
///
/// For log append time (`LogAppendTime`, now), and for what [`Facts::restamp`](super::Facts::restamp) asks.
///
/// - `batch`: exactly one whole batch; panics if it is shorter than a header.
pub fn stamp_max_timestamp(batch: &mut [u8], kind: TimestampType, max: Timestamp) {
    assert!(
        batch.len() >= BATCH_HEADER_BYTES,
        "a batch of {} bytes has no header",
        batch.len()
    );
    let header = BatchHeader::view_mut(batch);
    header.set_timestamp_type(kind);
    header.max_timestamp.set(max.0);
    let crc = crc32c(&batch[CRC_START..]);
    BatchHeader::view_mut(batch).crc.set(crc);
}
