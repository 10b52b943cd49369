//! Files and directories, on the real disk or a simulated one.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::blocking::blocking;
use super::buffer::Page;
use super::ring_file::RingFile;
use super::sim_disk::{SimDisk, SimFile};
use super::sys::{self, Space};

/// Where files live. Clones share it.
#[derive(Clone, Default)]
pub enum Disk {
    /// The machine's, by io_uring and direct I/O. Only inside an executor.
    #[default]
    Ring,
    /// A simulated one, which loses, tears and refuses what a real one may. Works under any executor.
    Sim(SimDisk),
}

/// An open file. Dropping it closes it without waiting; [`File::close`] waits.
pub enum File {
    Ring(RingFile),
    Sim(SimFile),
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    pub(super) write: bool,
    pub(super) create: Create,
    pub(super) dsync: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Create {
    Never,
    IfAbsent,
    Always,
}

impl Open {
    /// For reading; it must exist.
    pub const READ: Open = Open {
        write: false,
        create: Create::Never,
        dsync: false,
    };
    /// For reading and writing; it must exist.
    pub const WRITE: Open = Open {
        write: true,
        ..Open::READ
    };
    /// For reading and writing; created empty if absent.
    pub const CREATE: Open = Open {
        create: Create::IfAbsent,
        ..Open::WRITE
    };
    /// For reading and writing; `AlreadyExists` if it is there.
    pub const CREATE_NEW: Open = Open {
        create: Create::Always,
        ..Open::WRITE
    };

    /// Every write returns only when it is on stable storage (`O_DSYNC`).
    pub const fn dsync(self) -> Open {
        Open {
            dsync: true,
            ..self
        }
    }
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    /// Length of a file; 0 for a directory.
    pub len: u64,
}

impl Disk {
    /// Opens a file; its directory must exist. A created name is durable only after [`Disk::sync_dir`].
    pub async fn open(&self, path: &Path, how: Open) -> io::Result<File> {
        match self {
            Disk::Ring => Ok(File::Ring(RingFile::open(path, how).await?)),
            Disk::Sim(sim) => Ok(File::Sim(sim.open(path, how).await?)),
        }
    }

    /// Creates a directory and those above it; no error if it is there.
    pub async fn create_dir(&self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Ring => on_path(path, std::fs::create_dir_all).await,
            Disk::Sim(sim) => sim.create_dir(path),
        }
    }

    /// The entries of a directory, sorted by name. Names that are not UTF-8 are left out: none of ours is.
    pub async fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        match self {
            Disk::Ring => on_path(path, |path| list_now(&path)).await,
            Disk::Sim(sim) => sim.list(path),
        }
    }

    /// Renames a file or directory, replacing a file that has the new name. Durable after [`Disk::sync_dir`].
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            Disk::Ring => {
                let to = to.to_owned();
                on_path(from, move |from| std::fs::rename(from, to)).await
            }
            Disk::Sim(sim) => sim.rename(from, to),
        }
    }

    /// Removes a file, or a directory with all that is in it.
    pub async fn remove(&self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Ring => on_path(path, |path| remove_now(&path)).await,
            Disk::Sim(sim) => sim.remove(path),
        }
    }

    /// Makes the names in a directory (creations, renames, removals) durable.
    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self {
            Disk::Ring => on_path(path, |path| std::fs::File::open(path)?.sync_all()).await,
            Disk::Sim(sim) => sim.sync_dir(path),
        }
    }

    /// Whether a file or directory of this name exists.
    pub async fn exists(&self, path: &Path) -> io::Result<bool> {
        match self {
            Disk::Ring => on_path(path, |path| path.try_exists()).await,
            Disk::Sim(sim) => Ok(sim.exists(path)),
        }
    }

    /// Size and room of the file system that `path` is on.
    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        match self {
            Disk::Ring => on_path(path, |path| sys::space(&path)).await,
            Disk::Sim(sim) => Ok(sim.space()),
        }
    }

    /// The whole of a small file. Not for logs.
    pub async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self {
            Disk::Ring => on_path(path, std::fs::read).await,
            Disk::Sim(sim) => sim.read_file(path),
        }
    }

    /// Replaces a small file whole and durably: after a crash it holds the old content or the new, never a part.
    ///
    /// Writes `<path>.tmp`, syncs, renames, syncs the directory.
    pub async fn replace_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        match self {
            Disk::Ring => {
                let content = content.to_owned();
                on_path(path, move |path| replace_now(&path, &content)).await
            }
            Disk::Sim(sim) => sim.replace_file(path, content),
        }
    }
}

impl File {
    /// Writes the whole page at `position`, which must be a multiple of [`super::BLOCK_BYTES`], as the page's length
    /// must. A sealed page's memory goes to the disk as it is; nothing is copied.
    ///
    /// On stable storage only after [`File::datasync`], unless opened with [`Open::dsync`]. Never have two writes to the
    /// same block in flight: their order is not defined. `Err` carries the errno; part of the page may be written.
    pub async fn write(&self, page: Page, position: u64) -> io::Result<()> {
        match self {
            File::Ring(file) => file.write(page, position).await,
            File::Sim(file) => file.write(&page, position).await,
        }
    }

    /// Reads `len` bytes at `position`, both free (aligned inside); fewer at the end of the file.
    pub async fn read(&self, position: u64, len: usize) -> io::Result<Page> {
        match self {
            File::Ring(file) => file.read(position, len).await,
            File::Sim(file) => file.read(position, len).await,
        }
    }

    /// Makes every completed write durable, and the length. After an `Err` nothing is known of any unsynced write: the
    /// file must not be trusted nor the sync be tried again.
    pub async fn datasync(&self) -> io::Result<()> {
        match self {
            File::Ring(file) => file.datasync().await,
            File::Sim(file) => file.datasync().await,
        }
    }

    /// Allocates and extends to `len` bytes, reading as zeros where nothing is written.
    pub async fn preallocate(&self, len: u64) -> io::Result<()> {
        match self {
            File::Ring(file) => file.preallocate(len).await,
            File::Sim(file) => file.preallocate(len),
        }
    }

    /// Sets the length, cutting or extending with zeros.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        match self {
            File::Ring(file) => file.truncate(len).await,
            File::Sim(file) => file.truncate(len),
        }
    }

    /// Gives the space of a range back; it reads as zeros. The length stays.
    pub async fn punch(&self, range: Range<u64>) -> io::Result<()> {
        match self {
            File::Ring(file) => file.punch(range).await,
            File::Sim(file) => file.punch(range),
        }
    }

    /// The length now. A log's end is not its file's length: preallocation and padding come after it.
    pub fn len(&self) -> io::Result<u64> {
        match self {
            File::Ring(file) => file.len(),
            File::Sim(file) => file.len(),
        }
    }

    /// The number of names that the file has: whoever made more than one has a share in what it holds. Simulated disks
    /// know one only.
    pub fn links(&self) -> io::Result<u64> {
        match self {
            File::Ring(file) => file.links(),
            File::Sim(_) => Ok(1),
        }
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The path it was opened by; a rename does not change it.
    pub fn path(&self) -> &Path {
        match self {
            File::Ring(file) => file.path(),
            File::Sim(file) => file.path(),
        }
    }

    /// Closes and waits for it.
    pub async fn close(self) -> io::Result<()> {
        match self {
            File::Ring(file) => file.close().await,
            File::Sim(_) => Ok(()),
        }
    }
}

/// Runs a blocking operation on `path` away from the executor.
async fn on_path<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_owned();
    blocking(move || work(path))
        .await
        .map_err(io::Error::other)?
}

fn list_now(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed since the listing began.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let len = if metadata.is_dir() { 0 } else { metadata.len() };
        entries.push(Entry {
            name,
            is_dir: metadata.is_dir(),
            len,
        });
    }
    entries.sort();
    Ok(entries)
}

fn remove_now(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    }
}

fn replace_now(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}

/// `<path>.tmp`.
pub(super) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
