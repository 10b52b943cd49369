//! One process a log directory.

use std::fs::File;
use std::io;
use std::path::Path;

use super::checks::StartError;
use super::sys;

/// Holds a log directory's `.lock` as long as it lives; the kernel lets go of it when the process dies.
///
/// The lock is of the open-file-description kind: it conflicts with a second broker of ours, even in this process, and
/// with a running Kafka, which takes a POSIX lock on the same file.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock. Blocks for file operations, never for the lock.
    ///
    /// `Err`: another process has it, or the directory is missing or not writable; the text says which.
    pub fn take(directory: &Path) -> Result<DirLock, StartError> {
        let refused = |why: String| StartError::Directory {
            path: directory.to_owned(),
            why,
        };
        let opened = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK_NAME));
        let file = opened.map_err(|error| {
            refused(match error.kind() {
                io::ErrorKind::NotFound => "does not exist".to_owned(),
                io::ErrorKind::NotADirectory => "is not a directory".to_owned(),
                _ => format!("is not writable: {error}"),
            })
        })?;
        match sys::try_lock(sys::lend(&file)) {
            Ok(true) => Ok(DirLock { _file: file }),
            Ok(false) => Err(refused(format!(
                "is in use by another process, which holds {LOCK_NAME} in it"
            ))),
            Err(error) => Err(refused(format!("cannot be locked: {error}"))),
        }
    }
}

/// As Kafka calls it.
const LOCK_NAME: &str = ".lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirLock::take(directory.path()).unwrap();
        let refused = DirLock::take(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("in use by another process"), "{refused}");
        drop(held);
        DirLock::take(directory.path()).unwrap();
    }

    #[test]
    fn says_what_is_wrong_with_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let missing = DirLock::take(&directory.path().join("absent"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("does not exist"), "{missing}");
        let file = directory.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let not_directory = DirLock::take(&file).unwrap_err().to_string();
        assert!(
            not_directory.contains("is not a directory"),
            "{not_directory}"
        );
    }
}
