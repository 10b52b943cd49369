//! Which leader epoch wrote which offsets: Kafka's `leader-epoch-checkpoint` (KIP-101, KIP-279, KIP-320).

use crate::types::{LeaderEpoch, Offset};

/// The first offset that each leader epoch wrote; both sides strictly grow.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    /// From entries in order; `None` if they are not strictly growing.
    pub fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> Option<Epochs> {
        let sorted = entries
            .windows(2)
            .all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
        sorted.then_some(Epochs { entries })
    }

    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch, if any batch carried one.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|e| e.0)
    }

    /// Notes that `epoch` wrote the batch at `start`. Returns whether the cache changed.
    /// What contradicts it (later epochs, or later starts) goes, as in Kafka.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch(0) || self.latest().is_some_and(|latest| latest == epoch) {
            return false;
        }
        while self
            .entries
            .last()
            .is_some_and(|&(e, s)| e >= epoch || s >= start)
        {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// Where `epoch` ends in a log that ends at `log_end`; `(-1, -1)` if it cannot be known.
    ///
    /// - The newest epoch ends at `log_end`; an epoch from the future is unknown.
    /// - An epoch between two known ones answers with the one below it and the start of the one above.
    /// - An epoch older than all answers with itself and the start of the oldest (COMPAT 41).
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        let unknown = (LeaderEpoch::NONE, Offset(-1));
        if epoch < LeaderEpoch(0) {
            return unknown;
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let above = self.entries.partition_point(|e| e.0 <= epoch);
        match (above.checked_sub(1), self.entries.get(above)) {
            (_, None) => unknown,
            (None, Some(next)) => (epoch, next.1),
            (Some(below), Some(next)) => (self.entries[below].0, next.1),
        }
    }

    /// Forgets epochs that began at or past `end`. Returns whether the cache changed.
    pub fn truncate_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.1 < end);
        self.entries.len() != before
    }

    /// Forgets epochs that ended at or before `start`; the one in force there now begins there.
    pub fn truncate_start(&mut self, start: Offset) -> bool {
        let Some(floor) = self.entries.iter().rposition(|e| e.1 <= start) else {
            return false;
        };
        let changed = floor > 0 || self.entries[floor].1 != start;
        self.entries.drain(..floor);
        self.entries[0].1 = start;
        changed
    }

    /// The text of `leader-epoch-checkpoint`: a version, a count, then `epoch start` lines.
    pub fn encode(&self) -> String {
        let mut out = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            out.push_str(&format!("{epoch} {start}\n"));
        }
        out
    }

    /// Reads the text back; `None` if it is not what [`Epochs::encode`] writes.
    pub fn decode(text: &str) -> Option<Epochs> {
        let mut lines = text.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut entries = Vec::new();
        for line in lines.by_ref().take(count) {
            let (epoch, start) = line.split_once(' ')?;
            entries.push((
                LeaderEpoch(epoch.parse().ok()?),
                Offset(start.parse().ok()?),
            ));
        }
        if entries.len() != count || lines.next().is_some() {
            return None;
        }
        Epochs::from_entries(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let entries = entries
            .iter()
            .map(|&(e, s)| (LeaderEpoch(e), Offset(s)))
            .collect();
        Epochs::from_entries(entries).expect("sorted")
    }

    #[test]
    fn answers_the_end_of_an_epoch_as_kafka_does() {
        let cache = epochs(&[(2, 10), (4, 20), (7, 35)]);
        let end = |e| {
            let (epoch, offset) = cache.end_of(LeaderEpoch(e), Offset(50));
            (epoch.0, offset.0)
        };
        assert_eq!(end(-1), (-1, -1));
        assert_eq!(end(0), (0, 10), "older than the log");
        assert_eq!(end(2), (2, 20));
        assert_eq!(end(3), (2, 20), "between two epochs");
        assert_eq!(end(7), (7, 50), "the newest ends at the log's end");
        assert_eq!(end(8), (-1, -1), "from the future");
        assert_eq!(
            Epochs::default().end_of(LeaderEpoch(0), Offset(0)).1,
            Offset(-1)
        );
    }

    #[test]
    fn a_new_epoch_overrides_what_contradicts_it() {
        let mut cache = epochs(&[(2, 10), (4, 20)]);
        assert!(!cache.assign(LeaderEpoch(4), Offset(25)));
        assert!(cache.assign(LeaderEpoch(5), Offset(20)));
        assert_eq!(cache, epochs(&[(2, 10), (5, 20)]));
        assert!(cache.assign(LeaderEpoch(3), Offset(30)));
        assert_eq!(cache, epochs(&[(2, 10), (3, 30)]));
        assert!(!cache.assign(LeaderEpoch::NONE, Offset(40)));
    }

    #[test]
    fn truncation_at_both_ends() {
        let mut cache = epochs(&[(2, 10), (4, 20), (7, 35)]);
        assert!(cache.truncate_end(Offset(35)));
        assert!(!cache.truncate_end(Offset(35)));
        assert!(cache.truncate_start(Offset(25)));
        assert_eq!(cache, epochs(&[(4, 25)]));
        assert!(!cache.truncate_start(Offset(5)));
    }

    #[test]
    fn the_file_is_kafkas_text() {
        let cache = epochs(&[(0, 0), (3, 17)]);
        assert_eq!(cache.encode(), "0\n2\n0 0\n3 17\n");
        assert_eq!(Epochs::decode(&cache.encode()), Some(cache));
        for bad in [
            "",
            "1\n0\n",
            "0\n2\n0 0\n",
            "0\n1\n0 0\n1 1\n",
            "0\n2\n1 5\n0 9\n",
            "0\nx\n",
        ] {
            assert_eq!(Epochs::decode(bad), None, "{bad:?}");
        }
    }
}
