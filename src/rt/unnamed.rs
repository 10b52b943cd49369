//! A file without a name: whoever made it may be killed at any time, and nothing is left of it.

use std::fs::File as StdFile;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::blocking::blocking;
use super::buffer::BLOCK_BYTES;
use super::disk::{Disk, File, Open};
use super::ring_file::prime;

/// A file in a directory that no name leads to. Its space is free again when this and all that was opened by it are gone.
pub struct Unnamed {
    file: StdFile,
    directory: PathBuf,
}

impl Unnamed {
    /// Makes one in `directory`. Blocks.
    ///
    /// Where the file system knows no files without names (`O_TMPFILE`), it has one for a moment.
    pub fn create(directory: &Path) -> io::Result<Unnamed> {
        let mut options = StdFile::options();
        options.read(true).write(true).mode(0o600);
        let opened = options
            .clone()
            .custom_flags(libc::O_TMPFILE)
            .open(directory);
        let file = match opened {
            Err(error) if has_no_unnamed(&error) => {
                let name = format!(".ringlog-unnamed-{}", std::process::id());
                let path = directory.join(name);
                let file = options.create_new(true).open(&path)?;
                std::fs::remove_file(&path)?;
                file
            }
            opened => opened?,
        };
        Ok(Unnamed {
            file,
            directory: directory.to_owned(),
        })
    }

    /// Opens it by the ring with direct I/O, as a broker opens its files. Only inside an executor.
    pub async fn open(&self, how: Open) -> io::Result<File> {
        // By its own path the device would not be found out to be polled or not.
        prime(&self.directory).await;
        Disk::Ring.open(&self.path(), how).await
    }

    /// Writes one block and syncs it, with direct I/O. Blocks.
    ///
    /// `Err` of kind `InvalidInput`: the file system does not take direct I/O.
    pub fn try_direct(&self) -> io::Result<()> {
        let file = self.open_blocking(0)?;
        let room = vec![0; 2 * BLOCK_BYTES];
        let at = room.as_ptr().align_offset(BLOCK_BYTES);
        file.write_all_at(&room[at..at + BLOCK_BYTES], 0)?;
        file.sync_data()
    }

    /// Opens it for threads that block, with direct I/O.
    ///
    /// - `flags`: beside `O_DIRECT`, of open(2).
    pub fn open_blocking(&self, flags: i32) -> io::Result<StdFile> {
        let mut options = StdFile::options();
        options.read(true).write(true);
        options
            .custom_flags(libc::O_DIRECT | flags)
            .open(self.path())
    }

    /// Gives its space back now, away from the executor: a large file takes a while.
    pub async fn discard(self) {
        let _ = blocking(move || drop(self)).await;
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

/// The kernel or the file system does not know `O_TMPFILE`: open(2) has the list.
fn has_no_unnamed(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::super::executor::run_local;
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_no_name_is_left() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().to_owned();
        let read = run_local(async move {
            let unnamed = Unnamed::create(&path).expect("makes a file");
            unnamed.try_direct().expect("takes direct I/O");
            let file = unnamed.open(Open::WRITE.dsync()).await.expect("opens");
            file.preallocate(1 << 20).await.expect("reserves");
            let page = Buffer::copy_of(&[7; BLOCK_BYTES]).freeze();
            file.write(page, BLOCK_BYTES as u64).await.expect("writes");
            let again = unnamed.open(Open::READ).await.expect("opens");
            let read = again.read(0, 2 * BLOCK_BYTES).await.expect("reads");
            assert_eq!(std::fs::read_dir(&path).expect("lists").count(), 0);
            unnamed.discard().await;
            read.to_vec()
        });
        let read = read.expect("io_uring works here");
        assert!(read[..BLOCK_BYTES].iter().all(|&byte| byte == 0));
        assert!(read[BLOCK_BYTES..].iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_directory_that_is_none_is_told() {
        let missing = Unnamed::create(Path::new("/none/such")).err();
        assert_eq!(missing.map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    }
}
