//! Record batch v2: looked at in place, checked, walked, split, built, recompressed, stamped, and rebuilt with some of
//! its records; the markers of transactions.
//!
//! **Path.** Bytes from a socket or a file → [`split`] where there may be several batches → [`check`] →
//! [`CheckedBatch`] → the partition core reads its facts, storage copies its bytes and [`stamp`]s the copy.
//! The same bytes travel, rest and are served. Uses `types` only.
//!
//! **Invariants.** A [`CheckedBatch`] exists only after the check, and holds exactly one batch: its length fields
//! agree with its bytes, its CRC is right, and, as far as [`Walk`] asked, its records are well formed and as many
//! as its header says. [`BatchHeader`] is a view: nothing in it may be believed before the check, but for what its
//! table says. Outside the CRC lie only the base offset, the length, the leader epoch and the magic byte.
//!
//! **Faults survived.** Any bytes at all: every length is held against the bytes that are left, nothing is allocated
//! because a field asks for it, what a compressed batch may inflate to is capped before it inflates, and the answer to
//! a fault is a [`RecordError`], never a panic.
//!
//! **Not obvious.** Compressed records are not inflated unless [`Limits`] makes it necessary, so a batch whose
//! compressed part is rubbish under a right CRC passes [`Walk::Records`] and fails where it is read.
//! [`Codecs`] holds every compressor's state and scratch: one a shard, lent to whoever needs it.

mod build;
mod check;
mod codec;
mod control;
mod crc;
mod error;
mod header;
mod inflate;
mod iterate;
mod retain;
mod split;
mod stamp;
mod varint;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod lz4_tests;
#[cfg(test)]
mod tests;

pub use build::{BatchBuilder, BatchSeal, Producer, recompress};
pub use check::{CheckedBatch, Facts, Limits, Origin, TimestampRule, Walk, check, check_slice};
pub use codec::{Codec, Codecs};
pub use control::EndMarker;
pub use crc::{crc32c, crc32c_append};
pub use error::{RecordError, RecordFault, RecordFaultKind, Verdict, Why};
pub use header::{BATCH_HEADER_BYTES, BatchHeader, CRC_START, TimestampType};
pub use iterate::{Header, Headers, Record, Records, first_at_or_after, latest, records};
pub use retain::{Horizon, Kept, emptied, filling, retain};
pub use split::{RawBatch, Split, split};
pub use stamp::{stamp, stamp_max_timestamp};
