//! Producer snapshots, ours and Kafka's, held against the batches below them.
//!
//! Kafka's file, big-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version: 1 |
//! | 2 | 4 | CRC-32C of all that follows |
//! | 6 | 4 | count of producers |
//! | 10 | 46 each | id 8, epoch 2, last sequence 4, last offset 8, offset delta 4, timestamp 8, coordinator epoch 4, first offset of its transaction 8 (−1: none) |

use std::path::Path;

use hashbrown::HashMap;

use crate::partition::ProducerTable;
use crate::record::BatchHeader;
use crate::storage::frame::{self, Kind};
use crate::types::{Offset, ProducerId};

/// What a walk of the log knows of a producer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    epoch: i16,
    /// −1: no batch with a sequence in this epoch.
    last_sequence: i32,
}

/// What a snapshot says of one.
struct Told {
    id: ProducerId,
    epoch: i16,
    last_sequence: i32,
    last_offset: i64,
}

const KAFKA_ENTRY_BYTES: usize = 46;
const KAFKA_HEADER_BYTES: usize = 10;

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            epoch: -1,
            last_sequence: -1,
        }
    }
}

impl Seen {
    pub fn on_batch(&mut self, header: &BatchHeader) {
        let epoch = header.producer_epoch().0;
        if epoch != self.epoch {
            self.last_sequence = -1;
        }
        self.epoch = epoch;
        if !header.is_control() && header.base_sequence() >= 0 {
            self.last_sequence = header.last_sequence();
        }
    }
}

/// Holds the snapshot in `file`, taken at `at`, against the producers `seen` below it.
///
/// - `start`: where the log begins, if every producer with a batch at or above it must have been seen.
pub(super) fn check(
    file: &Path,
    at: Offset,
    seen: &HashMap<ProducerId, Seen>,
    start: Option<Offset>,
) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let told = match bytes.starts_with(&frame::MAGIC) {
        true => own(&bytes, at)?,
        false => kafkas(&bytes)?,
    };
    for told in told {
        let id = told.id;
        if told.last_offset >= at.0 {
            return Err(format!(
                "producer {id} at offset {}, past the snapshot",
                told.last_offset
            ));
        }
        match seen.get(&id) {
            None if start.is_some_and(|start| told.last_offset >= start.0) => {
                return Err(format!(
                    "producer {id}, of which the log below it has no batch"
                ));
            }
            Some(seen) if seen.epoch != told.epoch => {
                return Err(format!(
                    "producer {id} in epoch {}, though the log has it in {}",
                    told.epoch, seen.epoch
                ));
            }
            Some(seen)
                if seen.last_sequence >= 0
                    && told.last_sequence >= 0
                    && seen.last_sequence != told.last_sequence =>
            {
                return Err(format!(
                    "producer {id} at sequence {}, though the log has it at {}",
                    told.last_sequence, seen.last_sequence
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn own(bytes: &[u8], at: Offset) -> Result<Vec<Told>, String> {
    let frame = frame::decode(Kind::Producers, bytes).ok_or("its checksum does not fit")?;
    if frame.sequence != at.0 as u64 {
        return Err(format!("a snapshot of offset {}", frame.sequence));
    }
    let table = ProducerTable::from_snapshot(frame.payload);
    let table = table.map_err(|_| "not a snapshot of producers")?;
    let told = table.iter().map(|(id, entry)| Told {
        id,
        epoch: entry.epoch.0,
        last_sequence: entry.last_sequence(),
        last_offset: entry.end_offset.0 - 1,
    });
    Ok(told.collect())
}

fn kafkas(bytes: &[u8]) -> Result<Vec<Told>, String> {
    let head = bytes
        .get(..KAFKA_HEADER_BYTES)
        .ok_or("too short for a snapshot")?;
    let version = i16::from_be_bytes(head[..2].try_into().expect("two bytes"));
    if version != 1 {
        return Err(format!("snapshot version {version}, which is not known"));
    }
    let crc = u32::from_be_bytes(head[2..6].try_into().expect("four bytes"));
    if crc != crc32c::crc32c(&bytes[6..]) {
        return Err("its checksum does not fit".to_owned());
    }
    let count = u32::from_be_bytes(head[6..].try_into().expect("four bytes")) as usize;
    let entries = bytes[KAFKA_HEADER_BYTES..].chunks_exact(KAFKA_ENTRY_BYTES);
    if entries.len() != count || !entries.remainder().is_empty() {
        return Err(format!("{count} producers do not fill it"));
    }
    let told = entries.map(|raw| Told {
        id: ProducerId(i64::from_be_bytes(
            raw[..8].try_into().expect("eight bytes"),
        )),
        epoch: i16::from_be_bytes(raw[8..10].try_into().expect("two bytes")),
        last_sequence: i32::from_be_bytes(raw[10..14].try_into().expect("four bytes")),
        last_offset: i64::from_be_bytes(raw[14..22].try_into().expect("eight bytes")),
    });
    Ok(told.collect())
}
