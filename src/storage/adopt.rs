//! Partition directories of a stopped Apache Kafka, taken into log directories of a stopped broker: files only.
//!
//! Segments come as they are, offsets kept. What tells of them (indexes, producer snapshots, epochs) is left behind:
//! recovery makes ours from the batches. Where compaction has left no batch between two segments, one without records
//! is put there, as Kafka's cleaner itself does elsewhere: a start that has to read the log goes by it that no segment
//! has lost its end. A directory is filled under a name that a start clears away, and renamed when
//! all of it is durable, so that an import that was cut off leaves nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::epochs::Epochs;
use super::error::StorageError;
use super::names::{
    EPOCH_CHECKPOINT, FileKind, KAFKA_CLEAN, META_PROPERTIES, PARTITION_METADATA, START_OFFSET,
    decode_partition_metadata, deleted_directory, encode_partition_metadata, encode_start_offset,
    parse_partition,
};
use super::verify::Hole;
use crate::record::filling;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

/// A partition's directory as Kafka left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaPartition {
    pub path: PathBuf,
    pub place: TopicPartition,
    /// `None`: written before topics had ids (KIP-516).
    pub topic_id: Option<TopicId>,
    /// The newest leader epoch that Kafka noted.
    pub leader_epoch: LeaderEpoch,
    /// Bytes of segments.
    pub bytes: u64,
    /// Records below it were deleted (KIP-107).
    start: Option<Offset>,
    /// Bases, in order.
    segments: Vec<Offset>,
}

/// How segments come over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    Copy,
    /// Hard links, but for the newest segment, which will be appended to: within one file system.
    Link,
}

/// Why a directory cannot be taken in.
#[derive(Debug)]
pub enum AdoptError {
    /// Its name is no partition's, or it holds no segment.
    NotAPartition(PathBuf),
    /// Kafka runs on the directory around it, or was not stopped cleanly.
    NotClosed(PathBuf),
    Io(PathBuf, io::Error),
}

/// Where Kafka notes the starts that lie inside segments: a version, a count, then `topic partition offset`.
const KAFKA_STARTS: &str = "log-start-offset-checkpoint";

impl KafkaPartition {
    /// Looks at a directory; reads no segment.
    ///
    /// - `Err(NotClosed)`: see there; `unclean` accepts a Kafka that was killed.
    pub fn look(path: &Path, unclean: bool) -> Result<KafkaPartition, AdoptError> {
        let failed = |error| AdoptError::Io(path.to_owned(), error);
        let path = fs::canonicalize(path).map_err(failed)?;
        let no_partition = || AdoptError::NotAPartition(path.clone());
        let name = path.file_name().and_then(|name| name.to_str());
        let place = name.and_then(parse_partition).ok_or_else(no_partition)?;
        let (mut segments, mut bytes) = (Vec::new(), 0);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if let Some((FileKind::Log, base)) = name.to_str().and_then(FileKind::parse) {
                segments.push(base);
                bytes += entry.metadata().map_err(failed)?.len();
            }
        }
        segments.sort();
        if segments.is_empty() {
            return Err(no_partition());
        }
        let around = path.parent().unwrap_or(Path::new("/"));
        let is_kafkas = around.join(META_PROPERTIES).exists();
        if is_kafkas && !around.join(KAFKA_CLEAN).exists() && !unclean {
            return Err(AdoptError::NotClosed(around.to_owned()));
        }
        let text = |file: &str| fs::read_to_string(path.join(file)).ok();
        let epochs = text(EPOCH_CHECKPOINT).and_then(|text| Epochs::decode(&text));
        Ok(KafkaPartition {
            topic_id: text(PARTITION_METADATA).and_then(|text| decode_partition_metadata(&text)),
            leader_epoch: epochs
                .and_then(|epochs| epochs.latest())
                .unwrap_or(LeaderEpoch::NONE),
            start: start_of(&around.join(KAFKA_STARTS), &place),
            bytes,
            segments,
            place,
            path,
        })
    }

    /// The directories of the topic's other partitions that lie beside this one.
    pub fn others_beside(&self) -> Result<Vec<(PartitionIndex, PathBuf)>, AdoptError> {
        let around = self.path.parent().unwrap_or(Path::new("/"));
        let failed = |error| AdoptError::Io(around.to_owned(), error);
        let mut others = Vec::new();
        for entry in fs::read_dir(around).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let place = name.to_str().and_then(parse_partition);
            if let Some(place) = place.filter(|place| place.topic == self.place.topic)
                && place.partition != self.place.partition
            {
                others.push((place.partition, entry.path()));
            }
        }
        others.sort();
        Ok(others)
    }

    /// Brings the partition into `directory`, all of it durable when it returns. Returns where it lies.
    ///
    /// - `topic_id`: whose it is from now on. `progress` is told of bytes that came over.
    /// - `holes`: as a verification found them.
    /// - `Err`: what was begun is cleared away by the next start.
    pub fn take_into(
        &self,
        directory: &Path,
        topic_id: TopicId,
        transfer: Transfer,
        holes: &[Hole],
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, StorageError> {
        let name = self.place.to_string();
        let staging = directory.join(deleted_directory(&name));
        let home = directory.join(&name);
        if home.exists() {
            let why = "already there: a partition of that name".to_owned();
            return Err(StorageError::Corrupt { path: home, why });
        }
        fs::create_dir(&staging).map_err(StorageError::io(&staging))?;
        for (i, &base) in self.segments.iter().enumerate() {
            let (from, to) = (
                FileKind::Log.path(&self.path, base),
                FileKind::Log.path(&staging, base),
            );
            let is_newest = i + 1 == self.segments.len();
            let hole = holes.iter().find(|hole| hole.segment == base);
            let bytes = match transfer {
                Transfer::Link if !is_newest && hole.is_none() => fs::hard_link(&from, &to)
                    .and_then(|()| fs::metadata(&to))
                    .map(|metadata| metadata.len()),
                _ => fs::copy(&from, &to).and_then(|bytes| {
                    if let Some(hole) = hole {
                        let mut file = File::options().append(true).open(&to)?;
                        file.write_all(&filler(hole))?;
                    }
                    File::open(&to)?.sync_all()?;
                    Ok(bytes)
                }),
            };
            progress(bytes.map_err(StorageError::io(&to))?);
        }
        let metadata = encode_partition_metadata(topic_id);
        write_synced(&staging.join(PARTITION_METADATA), &metadata)?;
        if let Some(start) = self.start {
            write_synced(&staging.join(START_OFFSET), &encode_start_offset(start))?;
        }
        sync_dir(&staging)?;
        fs::rename(&staging, &home).map_err(StorageError::io(&home))?;
        sync_dir(directory)?;
        Ok(home)
    }
}

/// A batch without records that takes the offsets of a hole.
fn filler(hole: &Hole) -> Bytes {
    filling(hole.start, hole.end, hole.leader_epoch)
}

fn start_of(file: &Path, place: &TopicPartition) -> Option<Offset> {
    let text = fs::read_to_string(file).ok()?;
    let row = format!("{} {} ", place.topic, place.partition.0);
    let offset = text
        .lines()
        .skip(2)
        .find_map(|line| line.strip_prefix(&row))?;
    offset.trim().parse().ok().map(Offset)
}

fn write_synced(path: &Path, text: &str) -> Result<(), StorageError> {
    let written = fs::write(path, text).and_then(|()| File::open(path)?.sync_all());
    written.map_err(StorageError::io(path))
}

fn sync_dir(path: &Path) -> Result<(), StorageError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(StorageError::io(path))
}

impl std::fmt::Display for AdoptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdoptError::NotAPartition(path) => write!(
                f,
                "{}: not a partition's directory (topic-0) with segments in it",
                path.display()
            ),
            AdoptError::NotClosed(path) => write!(
                f,
                "{}: Kafka uses this directory, or was not stopped cleanly; stop it, or, if it is dead, give --unclean",
                path.display()
            ),
            AdoptError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for AdoptError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Codecs, Limits, check_slice};

    fn source(dir: &Path) -> PathBuf {
        let path = dir.join("a-b-1");
        fs::create_dir(&path).unwrap();
        for base in [0, 10] {
            fs::write(FileKind::Log.path(&path, Offset(base)), vec![1; 5]).unwrap();
        }
        fs::write(path.join(EPOCH_CHECKPOINT), "0\n1\n3 0\n").unwrap();
        fs::write(dir.join(META_PROPERTIES), "").unwrap();
        fs::write(dir.join(KAFKA_STARTS), "0\n2\na-b 11 9\na-b 1 4\n").unwrap();
        path
    }

    #[test]
    fn a_partition_is_looked_at_and_taken_whole() {
        let (kafka, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = source(kafka.path());
        assert!(
            matches!(
                KafkaPartition::look(&path, false),
                Err(AdoptError::NotClosed(_))
            ),
            "the mark of a clean stop is missing"
        );
        fs::write(kafka.path().join(KAFKA_CLEAN), "").unwrap();
        let found = KafkaPartition::look(&path, false).expect("a partition");
        assert_eq!((found.bytes, found.start), (10, Some(Offset(4))));
        assert_eq!(found.leader_epoch, LeaderEpoch(3));
        for name in ["a-b-0", "a-0", "a-b-2.00ff-delete"] {
            fs::create_dir(kafka.path().join(name)).unwrap();
        }
        let others = found.others_beside().expect("a directory");
        let [(PartitionIndex(0), other)] = &others[..] else {
            panic!("{others:?}");
        };
        assert!(other.ends_with("a-b-0"));
        let id = TopicId::random();
        let mut bytes = 0;
        let home = found.take_into(own.path(), id, Transfer::Link, &[], &mut |more| {
            bytes += more
        });
        let home = home.expect("taken");
        assert_eq!((home.clone(), bytes), (own.path().join("a-b-1"), 10));
        assert_eq!(fs::read_to_string(home.join(START_OFFSET)).unwrap(), "4\n");
        let text = fs::read_to_string(home.join(PARTITION_METADATA)).unwrap();
        assert_eq!(decode_partition_metadata(&text), Some(id));
        // The newest segment is a copy: appends to it must not reach Kafka's file.
        let newest = FileKind::Log.path(&home, Offset(10));
        fs::write(&newest, b"other").unwrap();
        let kafkas = fs::read(FileKind::Log.path(&path, Offset(10))).unwrap();
        assert_eq!(kafkas, [1; 5]);
        assert!(
            found
                .take_into(own.path(), id, Transfer::Copy, &[], &mut |_| ())
                .is_err(),
            "the name is taken"
        );
    }

    #[test]
    fn a_hole_is_filled_by_a_batch_without_records() {
        let hole = Hole {
            segment: Offset(0),
            start: Offset(7),
            end: Offset(1000),
            leader_epoch: LeaderEpoch(3),
        };
        let batch = filler(&hole);
        let facts = check_slice(&batch, &Limits::log(), &mut Codecs::new()).expect("a good batch");
        let header = facts.header;
        assert_eq!(
            (header.base_offset(), header.next_offset()),
            (Offset(7), Offset(1000))
        );
        assert_eq!((header.count(), header.leader_epoch()), (0, LeaderEpoch(3)));
        assert_eq!((header.producer_id().0, header.base_sequence()), (-1, -1));
        assert_eq!(header.max_timestamp().0, -1);
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["t", "t-0"] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            let looked = KafkaPartition::look(&path, true);
            assert!(
                matches!(looked, Err(AdoptError::NotAPartition(_))),
                "{name}"
            );
        }
    }
}
