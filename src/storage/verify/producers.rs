//! Producer snapshots, ours and Kafka's, held against the batches below them.

use std::path::Path;

use hashbrown::HashMap;

use crate::partition::{KAFKA_ROW_BYTES, ProducerTable};
use crate::record::BatchHeader;
use crate::storage::producers_file::{self, Found};
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
    let told = match producers_file::decode(at, &bytes)? {
        Found {
            kafka_rows,
            state: Some(state),
        } => own(state, kafka_rows)?,
        Found { kafka_rows, .. } => kafkas(kafka_rows.unwrap_or_default()),
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

fn own(state: &[u8], kafka_rows: Option<&[u8]>) -> Result<Vec<Told>, String> {
    let table = ProducerTable::from_snapshot(state);
    let table = table.map_err(|_| "not a snapshot of producers")?;
    if kafka_rows.is_some_and(|rows| rows != table.copied().kafka_rows()) {
        return Err("its two parts tell of different producers".to_owned());
    }
    let told = table.iter().map(|(id, entry)| Told {
        id,
        epoch: entry.epoch.0,
        last_sequence: entry.last_sequence(),
        last_offset: entry.end_offset.0 - 1,
    });
    Ok(told.collect())
}

/// The rows are those of [`CopiedProducers::kafka_rows`](crate::partition::CopiedProducers::kafka_rows).
fn kafkas(rows: &[u8]) -> Vec<Told> {
    let told = rows.chunks_exact(KAFKA_ROW_BYTES).map(|row| Told {
        id: ProducerId(i64::from_be_bytes(
            row[..8].try_into().expect("eight bytes"),
        )),
        epoch: i16::from_be_bytes(row[8..10].try_into().expect("two bytes")),
        last_sequence: i32::from_be_bytes(row[10..14].try_into().expect("four bytes")),
        last_offset: i64::from_be_bytes(row[14..22].try_into().expect("eight bytes")),
    });
    told.collect()
}
