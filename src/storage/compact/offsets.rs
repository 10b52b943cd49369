//! Up to where each log is clean: Kafka's `cleaner-offset-checkpoint`, one text per log directory.
//!
//! A version (0), a count, then `topic partition offset` lines. It only spares work: a log that it does not name is
//! compacted from its start. It must not name a log of another topic, which would never be compacted below that offset: a
//! log stands in the file of its directory and in no other, and a topic that is deleted in none.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::error::StorageError;
use super::super::names::CLEANED_OFFSETS;
use super::super::store::Store;
use crate::rt::Disk;
use crate::types::{Offset, PartitionIndex, Str, TopicPartition};

/// What the file of one directory says, by topic and partition.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(in crate::storage) struct CleanedOffsets(pub BTreeMap<(Str, i32), Offset>);

impl CleanedOffsets {
    /// What the file of a directory says. One that cannot be read only costs compaction some work.
    pub async fn read(disk: &Disk, directory: &Path) -> CleanedOffsets {
        let file = directory.join(CLEANED_OFFSETS);
        let bytes = disk.read_file(&file).await.unwrap_or_default();
        let cleaned = std::str::from_utf8(&bytes)
            .ok()
            .and_then(CleanedOffsets::decode);
        cleaned.unwrap_or_else(|| {
            tracing::warn!(file = %file.display(), "not readable; logs are compacted from their starts");
            CleanedOffsets::default()
        })
    }

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

    /// Forgets the logs whose directories' names `is_there` does not know.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0
            .retain(|(topic, partition), _| is_there(&format!("{topic}-{partition}")));
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

impl Store {
    /// Notes on disk up to where a log of `directory` is clean, of whatever shard, and that no other directory has it;
    /// `None`: nothing is known to be. By one store of the process only, for the files are those of the directories.
    pub async fn note_cleaned(
        &self,
        directory: &Path,
        partition: &TopicPartition,
        first_dirty: Option<Offset>,
    ) -> Result<(), StorageError> {
        let own = |dir: usize| self.shared.dirs[dir].path == directory;
        let news = self.note_in(|dir, offsets| {
            let first_dirty = first_dirty.filter(|_| own(dir));
            offsets.note(partition, first_dirty)
        });
        self.write_cleaned(news).await
    }

    /// Logs were deleted: those of their names begin anew. As [`Store::note_cleaned`], by one store only.
    pub async fn forget_cleaned(&self, partitions: &[TopicPartition]) -> Result<(), StorageError> {
        let news = self.note_in(|_, offsets| {
            let forgotten = partitions.iter().map(|log| offsets.note(log, None));
            forgotten.fold(false, |any, one| any | one)
        });
        self.write_cleaned(news).await
    }

    /// Notes something of each directory. Those of which it is news.
    fn note_in(&self, note: impl Fn(usize, &mut CleanedOffsets) -> bool) -> Vec<usize> {
        let mut cleaned = self.cleaned.borrow_mut();
        let noted = cleaned.iter_mut().enumerate();
        let news = noted.filter_map(|(dir, offsets)| note(dir, offsets).then_some(dir));
        news.collect()
    }

    /// Writes the files of directories that work. The first error, after all were tried.
    async fn write_cleaned(&self, dirs: Vec<usize>) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        for dir in dirs {
            let _alone = self.cleaned_gate.enter().await;
            let directory = &self.shared.dirs[dir];
            if directory.is_offline() {
                continue;
            }
            let text = self.cleaned.borrow()[dir].encode();
            let path = directory.path.join(CLEANED_OFFSETS);
            let written = self.shared.disk.replace_file(&path, text.as_bytes()).await;
            let written = written.map_err(|error| self.shared.failed(dir, &path, error));
            outcome = outcome.and(written);
        }
        outcome
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
