//! Up to where each log is clean: Kafka's `cleaner-offset-checkpoint`, one text per log directory.
//!
//! A version (0), a count, then `topic partition offset` lines. It only spares work: a log that it does not name is
//! compacted from its start.

use std::collections::BTreeMap;

use crate::types::{Offset, PartitionIndex, Str, TopicPartition};

/// What the file of one directory says, by topic and partition.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(in crate::storage) struct CleanedOffsets(pub BTreeMap<(Str, i32), Offset>);

impl CleanedOffsets {
    pub fn find(&self, partition: &TopicPartition) -> Option<Offset> {
        self.0.get(&key(partition)).copied()
    }

    /// Notes where a log begins to be dirty; `None`: the log is gone. Returns whether that is news.
    pub fn note(&mut self, partition: &TopicPartition, first_dirty: Option<Offset>) -> bool {
        match first_dirty {
            Some(offset) => self.0.insert(key(partition), offset) != Some(offset),
            None => self.0.remove(&key(partition)).is_some(),
        }
    }

    pub fn encode(&self) -> String {
        let mut out = format!("0\n{}\n", self.0.len());
        for ((topic, partition), offset) in &self.0 {
            out.push_str(&format!("{topic} {partition} {offset}\n"));
        }
        out
    }

    /// Reads the text back; `None` if it is not of this form.
    pub fn decode(text: &str) -> Option<CleanedOffsets> {
        let mut lines = text.lines();
        if lines.next()?.trim() != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut offsets = BTreeMap::new();
        for line in lines {
            let mut fields = line.split_whitespace();
            let (topic, partition, offset) = (fields.next()?, fields.next()?, fields.next()?);
            let partition: PartitionIndex = PartitionIndex(partition.parse().ok()?);
            offsets.insert(
                (Str::from(topic), partition.0),
                Offset(offset.parse().ok()?),
            );
        }
        (offsets.len() == count).then_some(CleanedOffsets(offsets))
    }
}

fn key(partition: &TopicPartition) -> (Str, i32) {
    (partition.topic.clone(), partition.partition.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, index: i32) -> TopicPartition {
        TopicPartition {
            topic: Str::from(topic.to_owned()),
            partition: PartitionIndex(index),
        }
    }

    /// Goal: Kafka reads ours and we Kafka's. Method: the text that Kafka 4.3.1 writes, but for its order.
    #[test]
    fn the_file_is_kafkas_text() {
        let mut offsets = CleanedOffsets::default();
        assert!(offsets.note(&partition("orders", 3), Some(Offset(700))));
        assert!(!offsets.note(&partition("orders", 3), Some(Offset(700))));
        assert!(offsets.note(&partition("__consumer_offsets", 12), Some(Offset(5))));
        let text = "0\n2\n__consumer_offsets 12 5\norders 3 700\n";
        assert_eq!(offsets.encode(), text);
        assert_eq!(CleanedOffsets::decode(text), Some(offsets.clone()));
        assert_eq!(offsets.find(&partition("orders", 3)), Some(Offset(700)));
        assert!(offsets.note(&partition("orders", 3), None));
        assert_eq!(offsets.find(&partition("orders", 3)), None);
        for bad in [
            "",
            "1\n0\n",
            "0\n2\na 0 1\n",
            "0\n1\na 0\n",
            "0\n1\na x 1\n",
        ] {
            assert_eq!(CleanedOffsets::decode(bad), None, "{bad:?}");
        }
    }
}
