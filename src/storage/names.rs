//! What files and directories are called: Kafka's names, and the few that are ours.

use std::path::{Path, PathBuf};

use crate::types::{Offset, PartitionIndex, Str, TopicId, TopicPartition, Uuid};

/// Ends the name of a directory that is on its way out.
pub(super) const DELETED_SUFFIX: &str = ".delete";
/// Follows the names of a segment's files that are on their way out, as in Kafka.
pub(super) const DELETED_FILE_SUFFIX: &str = ".deleted";
/// Ends the name of a directory that a log is being moved to (KIP-113).
pub(super) const FUTURE_SUFFIX: &str = "-future";
/// In the directory of a log that was moved: how often. Of two directories of one log the higher number counts.
pub(super) const MOVES: &str = "ringlog-moves";
/// In a directory that a log is being moved to: which log that is.
pub(super) const WANTED_MOVE: &str = "ringlog-wanted-move";
/// One per partition directory: its topic's id (KIP-516).
pub(super) const PARTITION_METADATA: &str = "partition.metadata";
/// One per partition directory: which leader epoch began where (KIP-101).
pub(super) const EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// One per partition directory whose start lies inside a segment: the log start offset (DeleteRecords, KIP-107).
pub(super) const START_OFFSET: &str = "log-start-offset";
/// One per log directory: up to where compacted logs are clean.
pub(super) const CLEANED_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Kafka's broker was closed cleanly; the file is gone while it runs.
pub(super) const KAFKA_CLEAN: &str = ".kafka_cleanshutdown";
/// One per log directory: cluster, node and directory ids.
pub(super) const META_PROPERTIES: &str = "meta.properties";
/// Begins the names of our checkpoint files in a log directory.
pub(super) const CHECKPOINT_PREFIX: &str = "ringlog-checkpoint-";

/// What a file in a partition's directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileKind {
    Log,
    Index,
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    Snapshot,
    /// A segment that compaction has written, before it is swapped in.
    Cleaned,
    /// What a compaction has swapped in.
    Swap,
}

impl FileKind {
    /// What a segment has; the log first, which is to go last.
    pub const OF_SEGMENT: [FileKind; 4] = [
        FileKind::Log,
        FileKind::Index,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
    ];

    fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::Index => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
            FileKind::Cleaned => ".log.cleaned",
            FileKind::Swap => ".swap",
        }
    }

    /// `<20 digits of base><suffix>` inside `dir`.
    pub fn path(self, dir: &Path, base: Offset) -> PathBuf {
        dir.join(format!("{:020}{}", base.0, self.suffix()))
    }

    /// The kind and base offset that a file's name says; `None` for any other file.
    pub fn parse(name: &str) -> Option<(FileKind, Offset)> {
        let (digits, _) = name.split_at_checked(20)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let base = Offset(digits.parse().ok()?);
        let kinds = [
            FileKind::Log,
            FileKind::Index,
            FileKind::TimeIndex,
            FileKind::TxnIndex,
            FileKind::Snapshot,
            FileKind::Cleaned,
            FileKind::Swap,
        ];
        let kind = kinds.into_iter().find(|k| k.suffix() == &name[20..])?;
        Some((kind, base))
    }
}

/// What a segment's file is called when its log has given it up.
pub(super) fn deleted_name(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(DELETED_FILE_SUFFIX);
    PathBuf::from(name)
}

/// What a partition's directory is called on its way out, and one that a start shall clear away: another name each time.
pub(super) fn deleted_directory(name: &str) -> String {
    let unique = Uuid::random().0;
    let unique = u32::from_be_bytes([unique[0], unique[1], unique[2], unique[3]]);
    passing_name(name, &format!("{unique:08x}"), DELETED_SUFFIX)
}

/// `<name>.<unique><suffix>`: what a partition's directory is called before and after it is one. Of a long name the end
/// is left out, as Kafka does, so that a file system takes it.
pub(super) fn passing_name(name: &str, unique: &str, suffix: &str) -> String {
    let rest = unique.len() + suffix.len() + 1;
    // A topic's name is ASCII.
    let kept = name.get(..NAME_BYTES_MAX - rest).unwrap_or(name);
    format!("{kept}.{unique}{suffix}")
}

/// A file system takes no longer name.
const NAME_BYTES_MAX: usize = 255;

/// The partition that a directory is named after; `None` for any other directory.
pub(super) fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, index) = name.rsplit_once('-')?;
    if topic.is_empty() || index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(TopicPartition {
        topic: Str::from(topic),
        partition: PartitionIndex(index.parse().ok()?),
    })
}

/// The text of `partition.metadata`.
pub(super) fn encode_partition_metadata(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// The topic id in a `partition.metadata`; `None` if it holds none. Zeros after the text are no part of it: a crash may
/// leave the padding of its write.
pub(super) fn decode_partition_metadata(text: &str) -> Option<TopicId> {
    text.trim_end_matches('\0').lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "topic_id").then(|| value.trim().parse().ok())?
    })
}

/// The text of [`START_OFFSET`].
pub(super) fn encode_start_offset(start: Offset) -> String {
    format!("{start}\n")
}

/// The offset in a [`START_OFFSET`]; `None` if it holds none.
pub(super) fn decode_start_offset(text: &str) -> Option<Offset> {
    text.trim().parse().ok().map(Offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_name_is_short_enough_for_a_file_system() {
        assert_eq!(passing_name("t-0", "ab", "-future"), "t-0.ab-future");
        let longest = format!("{}-10000", "t".repeat(249));
        for suffix in [DELETED_SUFFIX, FUTURE_SUFFIX] {
            let name = passing_name(&longest, &"a".repeat(32), suffix);
            assert_eq!(name.len(), 255);
            assert!(name.ends_with(suffix) && parse_partition(&name).is_none());
        }
    }

    #[test]
    fn file_names_are_kafkas() {
        let path = FileKind::Log.path(Path::new("d"), Offset(368_769));
        assert_eq!(path, Path::new("d/00000000000000368769.log"));
        let kind = FileKind::parse("00000000000000368769.timeindex");
        assert_eq!(kind, Some((FileKind::TimeIndex, Offset(368_769))));
        assert_eq!(
            deleted_name(&path),
            Path::new("d/00000000000000368769.log.deleted")
        );
        for other in [
            "",
            "0.log",
            "0000000000000036876x.log",
            "00000000000000368769.log.deleted",
            "99999999999999999999.log",
        ] {
            assert_eq!(FileKind::parse(other), None, "{other}");
        }
    }

    #[test]
    fn directory_names_give_back_the_partition() {
        let tp = parse_partition("a-b-12").expect("a partition");
        assert_eq!((tp.topic.as_str(), tp.partition.0), ("a-b", 12));
        assert_eq!(tp.to_string(), "a-b-12");
        for other in ["a", "-1", "a-", "a-x", "a-1.delete", "a-99999999999"] {
            assert!(parse_partition(other).is_none(), "{other}");
        }
    }

    #[test]
    fn partition_metadata_is_kafkas_text() {
        let id = TopicId::random();
        let text = encode_partition_metadata(id);
        assert_eq!(text, format!("version: 0\ntopic_id: {id}"));
        assert_eq!(decode_partition_metadata(&text), Some(id));
        assert_eq!(decode_partition_metadata(&(text + "\0\0")), Some(id));
        assert_eq!(decode_partition_metadata("version: 0\n"), None);
    }

    #[test]
    fn a_start_offset_is_a_line_of_digits() {
        assert_eq!(encode_start_offset(Offset(42)), "42\n");
        assert_eq!(decode_start_offset("42\n"), Some(Offset(42)));
        assert_eq!(decode_start_offset("4 2"), None);
    }
}
