//! What the index of aborted transactions must hold, by the batches alone.

use std::collections::BTreeMap;

use ringlog::storage::AbortedTransaction;
use ringlog::types::{Offset, ProducerId};

/// What a batch is to transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Plain,
    Data(i64),
    Marker { producer: i64, committed: bool },
}

/// A batch's offsets and its part, of all that were ever appended below the log's end.
pub type Parts = Vec<(i64, i64, Part)>;

/// The aborted transactions in the order of their markers.
pub fn aborted(parts: &Parts) -> Vec<AbortedTransaction> {
    let mut open: BTreeMap<i64, i64> = BTreeMap::new();
    let mut found = Vec::new();
    for &(base, _, part) in parts {
        match part {
            Part::Plain => {}
            Part::Data(producer) => _ = open.entry(producer).or_insert(base),
            Part::Marker {
                producer,
                committed,
            } => {
                let Some(first) = open.remove(&producer) else {
                    continue;
                };
                if !committed {
                    found.push(AbortedTransaction {
                        producer_id: ProducerId(producer),
                        first_offset: Offset(first),
                        last_offset: Offset(base),
                        stable_end: Offset(open.values().min().copied().unwrap_or(base + 1)),
                    });
                }
            }
        }
    }
    found
}

/// What is wrong with the answer for `from..upper`. Where the front of the log was deleted, a transaction may begin later
/// than it did: but whatever of it is left in the range must be told.
pub fn judge(
    parts: &Parts,
    found: &[AbortedTransaction],
    (from, upper): (i64, i64),
) -> Option<String> {
    if !found.is_sorted_by_key(|a| a.first_offset) {
        return Some(format!("not sorted: {found:?}"));
    }
    let known = aborted(parts);
    let same = |a: &AbortedTransaction, b: &AbortedTransaction| {
        a.producer_id == b.producer_id && a.last_offset == b.last_offset
    };
    for a in found {
        let overlaps = |b: &AbortedTransaction| b.first_offset.0 < upper && b.last_offset.0 >= from;
        if !known.iter().any(|b| same(a, b) && overlaps(b)) {
            return Some(format!("{a:?} is told of {from}..{upper}"));
        }
    }
    known
        .iter()
        .filter(|b| b.last_offset.0 >= from)
        .find_map(|b| {
            let in_range = parts.iter().any(|&(base, next, part)| {
                let own = part == Part::Data(b.producer_id.0);
                let of_it = base >= b.first_offset.0 && base < b.last_offset.0;
                own && of_it && next > from && base < upper
            });
            let missing = in_range && !found.iter().any(|a| same(a, b));
            missing.then(|| format!("{b:?} is not told of {from}..{upper}: {found:?}"))
        })
}
