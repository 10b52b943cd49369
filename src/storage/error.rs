//! What can go wrong, and the one place that says what an errno means for a directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::types::Offset;

/// An append was refused; nothing of it was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The disk has no room; appends are taken again when there is.
    Full,
    /// The log's directory failed, or the log was deleted.
    Offline,
}

/// A read was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// The offset is below the log's start or above its end.
    OutOfRange { start: Offset, end: Offset },
    /// The log's directory failed, or the log was deleted.
    Offline,
    /// The bytes on disk are not what was written there.
    Corrupt { position: u64, why: &'static str },
}

/// An operation on files failed.
#[derive(Debug)]
pub enum StorageError {
    /// The file system answered an error; what it means is [`StorageError::is_full`].
    Io { path: PathBuf, source: io::Error },
    /// The log's directory failed earlier, or the log was deleted.
    Offline,
    /// A file that only this program writes does not hold what it must.
    Corrupt { path: PathBuf, why: String },
    /// The newest producer snapshot lies past the end that recovery found; it was removed. Recover again.
    SnapshotAhead,
    /// Another process holds the directory.
    Locked { path: PathBuf },
    /// The directory belongs to another node or cluster.
    Foreign { path: PathBuf, why: String },
    /// A log directory's journal is not where it was put, and may hold acknowledged records.
    Journal {
        path: PathBuf,
        place: PathBuf,
        why: String,
    },
}

/// What a failed operation does to its directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Nothing is lost; the same write may be tried again when space returns.
    Full,
    /// What the device holds is unknown: the directory takes no part any more.
    Offline,
}

impl StorageError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> StorageError {
        move |source| StorageError::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether it is only for want of space: nothing was lost, and it may be tried again.
    pub fn is_full(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if fault_of(source) == Fault::Full)
    }
}

/// The one list of which errno does what. All but want of space takes the directory offline: after a failed
/// write or fdatasync the kernel may have dropped the data, and trying again would call it durable.
pub(super) fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
        // The process or the machine is out of descriptors: nothing was begun, and the device is not to blame.
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Fault::Full,
        _ => Fault::Offline,
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendError::Full => "the disk is full",
            AppendError::Offline => "the log directory is offline",
        })
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::OutOfRange { start, end } => {
                write!(f, "the log holds offsets {start} to {end}")
            }
            ReadError::Offline => f.write_str("the log directory is offline"),
            ReadError::Corrupt { position, why } => write!(f, "corrupt at byte {position}: {why}"),
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            StorageError::Offline => f.write_str("the log directory is offline"),
            StorageError::Corrupt { path, why } => write!(f, "{}: {why}", path.display()),
            StorageError::SnapshotAhead => {
                f.write_str("the producer snapshot lies past the end of the log")
            }
            StorageError::Locked { path } => {
                write!(f, "{}: another process uses this directory", path.display())
            }
            StorageError::Foreign { path, why } => write!(f, "{}: {why}", path.display()),
            StorageError::Journal { path, place, why } => write!(
                f,
                "{}: its journal in {} {why}; it may hold acknowledged records that are nowhere else, so the directory is not \
                 opened without it",
                path.display(),
                place.display()
            ),
        }
    }
}

impl std::error::Error for AppendError {}
impl std::error::Error for ReadError {}
impl std::error::Error for StorageError {}
