//! A file on the real disk: direct I/O through the ring.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use futures_lite::FutureExt;
use glommio::GlommioError;
use glommio::io::{DmaFile, OpenOptions};

use super::blocking::{blocking, panic_message};
use super::buffer::{BLOCK_BYTES, Buffer, Page, block_ceil, block_floor};
use super::disk::{Create, Open};
use super::sys;

/// An open file of [`super::Disk::Ring`].
pub struct RingFile {
    file: DmaFile,
    path: PathBuf,
}

impl RingFile {
    pub(super) async fn open(path: &Path, how: Open) -> io::Result<RingFile> {
        prime(path.parent().unwrap_or(Path::new("."))).await;
        let mut options = OpenOptions::new();
        options.read(true).write(how.write);
        match how.create {
            Create::Never => {}
            Create::IfAbsent => _ = options.create(true),
            Create::Always => _ = options.create_new(true),
        }
        if how.dsync {
            options.custom_flags(libc::O_DSYNC);
        }
        Ok(RingFile {
            file: dma_open(&options, path).await?,
            path: path.to_owned(),
        })
    }

    pub(super) async fn write(&self, page: Page, position: u64) -> io::Result<()> {
        assert!(
            position.is_multiple_of(BLOCK_BYTES as u64) && page.len().is_multiple_of(BLOCK_BYTES),
            "write of {} bytes at {position} of {}",
            page.len(),
            self.path.display()
        );
        let written = self
            .file
            .write_rc_at(page.for_write(), position)
            .await
            .map_err(os_error)?;
        if written == page.len() {
            Ok(())
        } else {
            self.write_rest(&page, position, written).await
        }
    }

    /// After a short write: what is left, from the last whole block, which tells why (mostly `ENOSPC`).
    async fn write_rest(&self, page: &Page, position: u64, mut written: usize) -> io::Result<()> {
        while written < page.len() {
            let from = block_floor(written as u64) as usize;
            let rest = Buffer::copy_of(&page[from..]).freeze();
            let count = self
                .file
                .write_rc_at(rest.for_write(), position + from as u64)
                .await
                .map_err(os_error)?;
            if from + count <= written {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            written = from + count;
        }
        Ok(())
    }

    pub(super) async fn read(&self, position: u64, len: usize) -> io::Result<Page> {
        // The executor's own unaligned read answers too much at the end of a file, so the rounding is done here.
        let start = block_floor(position);
        let skipped = (position - start) as usize;
        let result = self
            .file
            .read_at_aligned(start, block_ceil(skipped + len))
            .await
            .map_err(os_error)?;
        let end = result.len().min(skipped + len);
        Ok(Page::of_read(result, skipped.min(end)..end))
    }

    pub(super) async fn datasync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(os_error)
    }

    pub(super) async fn preallocate(&self, len: u64) -> io::Result<()> {
        self.file.pre_allocate(len, false).await.map_err(os_error)
    }

    pub(super) async fn truncate(&self, len: u64) -> io::Result<()> {
        // By a descriptor of its own: the work goes on when its awaiter is gone, and this file's number may then be
        // another file's.
        let file = std::fs::File::from(sys::lend(&self.file).try_clone_to_owned()?);
        blocking(move || file.set_len(len))
            .await
            .map_err(io::Error::other)?
    }

    pub(super) async fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.file
            .deallocate(range.start, range.end - range.start)
            .await
            .map_err(os_error)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        sys::file_len(sys::lend(&self.file))
    }

    pub(super) fn links(&self) -> io::Result<u64> {
        sys::file_links(sys::lend(&self.file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn close(self) -> io::Result<()> {
        self.file.close().await.map_err(os_error)
    }
}

/// Decides for this executor that `directory`'s device is not polled, before its first file is opened.
///
/// The executor asks a device once whether it can be polled, by reading the first file it opens there. An empty file
/// answers that read without reaching the device: "yes" is remembered, and every later read fails with `EOPNOTSUPP`
/// on kernels from 6.14 on. A file open for writing only answers `EBADF`, which means "no": the truth for most
/// devices and no loss for the rest, since polling burns the core.
pub(super) async fn prime(directory: &Path) {
    thread_local! {
        static PRIMED: RefCell<HashSet<u64>> = RefCell::new(HashSet::new());
        static PROBES: Cell<u32> = const { Cell::new(0) };
    }
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    // No directory, no file in it either: the open that follows will say so.
    let Ok(metadata) = std::fs::metadata(directory) else {
        return;
    };
    if PRIMED.with_borrow(|primed| primed.contains(&metadata.dev())) {
        return;
    }
    PROBES.set(PROBES.get() + 1);
    let thread = std::thread::current().id();
    let probe = directory.join(format!(
        ".ringlog-probe-{}-{thread:?}-{}",
        std::process::id(),
        PROBES.get()
    ));
    let opened = dma_open(OpenOptions::new().write(true).create(true), &probe).await;
    // On a read-only directory the probe fails; whatever can be opened there has content, and answers truly.
    if let Ok(file) = opened {
        PRIMED.with_borrow_mut(|primed| primed.insert(metadata.dev()));
        let _ = file.close().await;
        let _ = std::fs::remove_file(&probe);
    }
}

async fn dma_open(options: &OpenOptions, path: &Path) -> io::Result<DmaFile> {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a path cannot hold a zero byte",
        ));
    }
    // The executor unwraps where it asks the device's properties of /sys, and where the file is renamed meanwhile.
    match AssertUnwindSafe(options.dma_open(path))
        .catch_unwind()
        .await
    {
        Ok(opened) => opened.map_err(os_error),
        Err(panic) => Err(io::Error::other(format!(
            "opening {}: {}",
            path.display(),
            panic_message(&*panic)
        ))),
    }
}

/// The executor's error as the errno alone: callers tell `ENOSPC` from `EIO` by it, and know the path.
fn os_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

#[cfg(test)]
#[path = "ring_file_tests.rs"]
mod tests;
