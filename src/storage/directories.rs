//! The process's log directories at start-up: locked, identified, and what the last run left in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use super::checkpoint::{Checkpoint, LogEntry};
use super::compact::CleanedOffsets;
use super::error::StorageError;
use super::journal::JOURNAL_PREFIX;
use super::names::{
    CHECKPOINT_PREFIX, CLEANED_OFFSETS, DELETED_SUFFIX, META_PROPERTIES, parse_partition,
};
use super::replay::{Known, replay};
use crate::rt::{Disk, Entry};
use crate::types::{NodeId, Str, Uuid};

/// What start-up found; one for the process, shared by its shards' stores. Holds the directories' locks.
#[derive(Clone)]
pub struct Directories(Arc<Inner>);

struct Inner {
    cluster_id: Str,
    node_id: NodeId,
    dirs: Vec<DirectoryImage>,
    _locks: Vec<std::fs::File>,
}

/// One directory as found.
pub(super) struct DirectoryImage {
    pub path: PathBuf,
    pub id: Uuid,
    /// By the name of the partition's directory, of those that exist.
    pub logs: HashMap<String, Found>,
    /// Directories on their way out when the last run ended.
    pub leftovers: Vec<PathBuf>,
    pub generation: u64,
    pub cleaned: CleanedOffsets,
}

/// One partition's directory.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub entry: Option<LogEntry>,
    /// The entry tells all: the last run was closed cleanly.
    pub clean: bool,
}

/// Name of the checkpoint that start-up writes; the shards' are numbered.
const BASE: &str = "base";

impl Directories {
    /// Creates, locks and identifies the directories, and reads their checkpoints. Once per process, before any store.
    ///
    /// - `cluster_id`: for directories that have none yet; one that has decides.
    /// - After this, a crash is an unclean end: the checkpoints' clean marks are taken back, durably.
    /// - `Err(Locked)`: another process has one. `Err(Foreign)`: one belongs to another node or cluster.
    pub async fn prepare(
        disk: &Disk,
        paths: &[PathBuf],
        node_id: NodeId,
        cluster_id: Option<Str>,
    ) -> Result<Directories, StorageError> {
        let mut locks = Vec::new();
        let mut found = Vec::new();
        for path in paths {
            disk.create_dir(path)
                .await
                .map_err(StorageError::io(path))?;
            if let Disk::Ring = disk {
                locks.push(lock(path)?);
            }
            let entries = disk.list(path).await.map_err(StorageError::io(path))?;
            let properties = read_properties(disk, path, &entries).await?;
            found.push((path, entries, properties));
        }
        let known = found
            .iter()
            .find_map(|(_, _, p)| p.as_ref().map(|p| p.cluster_id.clone()));
        let cluster_id = known
            .or(cluster_id)
            .unwrap_or_else(|| Str::from(Uuid::random().to_string()));
        let mut dirs = Vec::new();
        for (path, entries, properties) in found {
            let id = identify(disk, path, properties, node_id, &cluster_id).await?;
            dirs.push(read_directory(disk, path, id, &entries).await?);
        }
        Ok(Directories(Arc::new(Inner {
            cluster_id,
            node_id,
            dirs,
            _locks: locks,
        })))
    }

    /// Stable from the first start on.
    pub fn cluster_id(&self) -> &Str {
        &self.0.cluster_id
    }

    pub fn node_id(&self) -> NodeId {
        self.0.node_id
    }

    /// Each directory and its id (KIP-858).
    pub fn ids(&self) -> impl Iterator<Item = (&Path, Uuid)> {
        self.0.dirs.iter().map(|d| (d.path.as_path(), d.id))
    }

    /// Names of the partition directories that exist.
    pub fn partitions(&self) -> impl Iterator<Item = &str> {
        self.0
            .dirs
            .iter()
            .flat_map(|d| d.logs.keys().map(String::as_str))
    }

    pub(super) fn images(&self) -> &[DirectoryImage] {
        &self.0.dirs
    }

    /// The directory that holds a partition, and what is known of it.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &Found)> {
        self.0
            .dirs
            .iter()
            .enumerate()
            .find_map(|(i, d)| Some((i, d.logs.get(name)?)))
    }
}

fn lock(path: &Path) -> Result<std::fs::File, StorageError> {
    let name = path.join(".lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name);
    let file = file.map_err(StorageError::io(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Locked {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(StorageError::io(&name)(error)),
    }
}

/// What `meta.properties` says, in Kafka's format (KIP-866).
struct Properties {
    cluster_id: Str,
    node_id: i32,
    directory_id: Option<Uuid>,
}

async fn read_properties(
    disk: &Disk,
    path: &Path,
    entries: &[Entry],
) -> Result<Option<Properties>, StorageError> {
    let name = path.join(META_PROPERTIES);
    if !entries.iter().any(|e| e.name == META_PROPERTIES) {
        return Ok(None);
    }
    let bytes = disk
        .read_file(&name)
        .await
        .map_err(StorageError::io(&name))?;
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let pairs = text
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.split_once('='));
        pairs
            .into_iter()
            .find(|(k, _)| k.trim() == key)
            .map(|(_, v)| v.trim().to_owned())
    };
    let corrupt = |key: &str| StorageError::Corrupt {
        path: name.clone(),
        why: format!("no usable {key}"),
    };
    Ok(Some(Properties {
        cluster_id: Str::from(value("cluster.id").ok_or_else(|| corrupt("cluster.id"))?),
        node_id: value("node.id")
            .and_then(|v| v.parse().ok())
            .ok_or_else(|| corrupt("node.id"))?,
        directory_id: value("directory.id").and_then(|v| v.parse().ok()),
    }))
}

/// Holds the directory against this node and cluster, or makes it theirs. Returns its id.
async fn identify(
    disk: &Disk,
    path: &Path,
    properties: Option<Properties>,
    node: NodeId,
    cluster: &Str,
) -> Result<Uuid, StorageError> {
    let foreign = |why| {
        Err(StorageError::Foreign {
            path: path.to_owned(),
            why,
        })
    };
    let known = match properties {
        Some(p) if p.cluster_id != *cluster => {
            return foreign(format!(
                "belongs to cluster {}, not {cluster}",
                p.cluster_id
            ));
        }
        Some(p) if p.node_id != node.0 => {
            return foreign(format!("belongs to node {}, not {node}", p.node_id));
        }
        Some(p) => p.directory_id,
        None => None,
    };
    if let Some(id) = known {
        return Ok(id);
    }
    let id = Uuid::random();
    let text = format!("version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id={id}\n");
    let name = path.join(META_PROPERTIES);
    disk.replace_file(&name, text.as_bytes())
        .await
        .map_err(StorageError::io(&name))?;
    Ok(id)
}

async fn read_directory(
    disk: &Disk,
    path: &Path,
    id: Uuid,
    entries: &[Entry],
) -> Result<DirectoryImage, StorageError> {
    let mut logs: HashMap<String, Found> = HashMap::new();
    let mut leftovers = Vec::new();
    let mut checkpoints = Vec::new();
    let mut journals = Vec::new();
    for entry in entries {
        if entry.is_dir && entry.name.ends_with(DELETED_SUFFIX) {
            leftovers.push(path.join(&entry.name));
        } else if entry.is_dir && parse_partition(&entry.name).is_some() {
            logs.insert(entry.name.clone(), Found::default());
        } else if entry.name.starts_with(JOURNAL_PREFIX) {
            journals.push(path.join(&entry.name));
        } else if entry.name.starts_with(CHECKPOINT_PREFIX) && !entry.name.ends_with(".tmp") {
            checkpoints.push(path.join(&entry.name));
        }
    }
    let generation = merge_checkpoints(disk, path, &checkpoints, &mut logs).await?;
    let known_of = |(name, found): (&String, &Found)| {
        let entry = found.entry.as_ref()?;
        let known = Known {
            topic_id: entry.topic_id,
            recovery_point: entry.recovery_point,
        };
        Some((name.clone(), known))
    };
    let known = logs.iter().filter_map(known_of).collect();
    let replayed = replay(disk, path, &journals, &known).await?;
    if replayed > 0 {
        tracing::info!(directory = %path.display(), bytes = replayed, "journal replayed");
    }
    Ok(DirectoryImage {
        path: path.to_owned(),
        id,
        logs,
        leftovers,
        generation,
        cleaned: read_cleaned(disk, path, entries).await,
    })
}

/// What `cleaner-offset-checkpoint` says. One that cannot be read only costs compaction some work.
async fn read_cleaned(disk: &Disk, path: &Path, entries: &[Entry]) -> CleanedOffsets {
    if !entries.iter().any(|e| e.name == CLEANED_OFFSETS) {
        return CleanedOffsets::default();
    }
    let file = path.join(CLEANED_OFFSETS);
    let bytes = disk.read_file(&file).await.unwrap_or_default();
    let cleaned = std::str::from_utf8(&bytes)
        .ok()
        .and_then(CleanedOffsets::decode);
    cleaned.unwrap_or_else(|| {
        tracing::warn!(file = %file.display(), "not readable; logs are compacted from their starts");
        CleanedOffsets::default()
    })
}

/// Reads what the shards of the last run left, gives each log the newest word on it, and writes all of it into one
/// file that is not clean. Returns that file's generation.
async fn merge_checkpoints(
    disk: &Disk,
    path: &Path,
    files: &[PathBuf],
    logs: &mut HashMap<String, Found>,
) -> Result<u64, StorageError> {
    let mut read = Vec::new();
    for file in files {
        let bytes = disk.read_file(file).await.map_err(StorageError::io(file))?;
        match Checkpoint::decode(&bytes) {
            Some(checkpoint) => read.push(checkpoint),
            None => {
                tracing::warn!(file = %file.display(), "not a checkpoint; its logs are scanned")
            }
        }
    }
    read.sort_by_key(|c| c.generation);
    let mut merged = Checkpoint {
        generation: read.last().map_or(0, |c| c.generation) + 1,
        ..Checkpoint::default()
    };
    for checkpoint in read {
        for entry in checkpoint.logs {
            if let Some(found) = logs.get_mut(&entry.name) {
                *found = Found {
                    entry: Some(entry),
                    clean: checkpoint.clean,
                };
            }
        }
    }
    merged.logs = logs.values().filter_map(|f| f.entry.clone()).collect();
    let base = checkpoint_path(path, BASE);
    disk.replace_file(&base, &merged.encode())
        .await
        .map_err(StorageError::io(&base))?;
    for file in files.iter().filter(|f| **f != base) {
        disk.remove(file).await.map_err(StorageError::io(file))?;
    }
    disk.sync_dir(path).await.map_err(StorageError::io(path))?;
    Ok(merged.generation)
}

/// Where the checkpoint of a shard (or of start-up) lies.
pub(super) fn checkpoint_path(directory: &Path, whose: &str) -> PathBuf {
    directory.join(format!("{CHECKPOINT_PREFIX}{whose}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::SimDisk;
    use futures_lite::future::block_on;

    fn paths() -> Vec<PathBuf> {
        vec![PathBuf::from("/d0"), PathBuf::from("/d1")]
    }

    #[test]
    fn ids_are_given_once_and_kept() {
        let disk = Disk::Sim(SimDisk::new(1));
        let first =
            block_on(Directories::prepare(&disk, &paths(), NodeId(4), None)).expect("formats");
        let again = block_on(Directories::prepare(
            &disk,
            &paths(),
            NodeId(4),
            Some(Str::from("x")),
        ))
        .expect("opens");
        assert_eq!(first.cluster_id(), again.cluster_id());
        assert!(first.ids().eq(again.ids()));
    }

    #[test]
    fn refuses_the_directory_of_another_node_or_cluster() {
        let disk = Disk::Sim(SimDisk::new(1));
        block_on(Directories::prepare(&disk, &paths()[..1], NodeId(4), None)).expect("formats");
        let other = block_on(Directories::prepare(&disk, &paths()[..1], NodeId(5), None));
        assert!(matches!(other, Err(StorageError::Foreign { .. })));
        block_on(Directories::prepare(&disk, &paths()[1..], NodeId(4), None)).expect("formats");
        let mixed = block_on(Directories::prepare(&disk, &paths(), NodeId(4), None));
        assert!(
            matches!(mixed, Err(StorageError::Foreign { .. })),
            "two clusters"
        );
    }
}
