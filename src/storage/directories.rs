//! The process's log directories at start-up: locked, identified, and what the last run left in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::checkpoint::{Checkpoint, LogEntry};
use super::compact::CleanedOffsets;
use super::error::StorageError;
use super::journal::journal_path;
use super::measured::measured;
use super::names::{
    CHECKPOINT_PREFIX, CLEANED_OFFSETS, DELETED_SUFFIX, FUTURE_SUFFIX, META_PROPERTIES,
    parse_partition,
};
use super::place::{JournalDir, LeftJournal};
use super::placement::Load;
use super::replay::{Known, replay};
use super::sync_cost::{SyncCost, sync_cost};
use super::wanted::{WantedMove, wanted};
use crate::rt::{Disk, Entry};
use crate::types::{NodeId, Str, Uuid};

/// What start-up found; one for the process, shared by its shards' stores. Holds the directories' locks.
#[derive(Clone)]
pub struct Directories(Arc<Inner>);

struct Inner {
    cluster_id: Str,
    node_id: NodeId,
    dirs: Vec<DirectoryImage>,
    /// What each bears now.
    loads: Arc<[Load]>,
    /// One that was there in an earlier run is not among them.
    is_missing: bool,
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
    /// Directories of moves that did not end.
    pub wanted: Vec<WantedMove>,
    pub generation: u64,
    /// Of the logs that lie here: one that moved away or was deleted may still stand in the file.
    pub cleaned: CleanedOffsets,
    /// It could not be read or written at start-up: what lies in it is not known.
    pub is_offline: bool,
    /// Where its journal lies.
    pub journal_dir: PathBuf,
    /// What a small durable write costs there.
    pub sync_cost: SyncCost,
    /// How many I/Os of the background may be under way, where a self-test found that out.
    pub places: Option<u32>,
}

/// One partition's directory.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub entry: Option<LogEntry>,
    /// The entry tells all: the last run was closed cleanly.
    pub clean: bool,
}

/// How long measuring what a durable write costs may take, all directories together.
const MEASURE_WITHIN: Duration = Duration::from_millis(30);

/// Name of the checkpoint that start-up writes; the shards' are numbered.
const BASE: &str = "base";

impl Directories {
    /// Creates, locks and identifies the directories, and reads their checkpoints. Once per process, before any store.
    ///
    /// - `cluster_id`: for directories that have none yet; one that has decides.
    /// - After this, a crash is an unclean end: the checkpoints' clean marks are taken back, durably.
    /// - A directory that cannot be read or written is offline, and its partitions with it; the first one, which holds
    ///   the metadata, must work.
    /// - `Err(Locked)`: another process has one. `Err(Foreign)`: one belongs to another node or cluster.
    pub async fn prepare(
        disk: &Disk,
        paths: &[PathBuf],
        node_id: NodeId,
        cluster_id: Option<Str>,
    ) -> Result<Directories, StorageError> {
        Directories::prepare_with(disk, paths, node_id, cluster_id, &JournalDir::AsItIs).await
    }

    /// [`Directories::prepare`], and the journals are brought to where they are wanted.
    ///
    /// - `Err(Journal)`: one is not where the last run had it, and may hold acknowledged records.
    pub async fn prepare_with(
        disk: &Disk,
        paths: &[PathBuf],
        node_id: NodeId,
        cluster_id: Option<Str>,
        journals: &JournalDir,
    ) -> Result<Directories, StorageError> {
        let mut locks = Vec::new();
        let mut found = Vec::new();
        for (i, path) in paths.iter().enumerate() {
            let opened = open_directory(disk, path, &mut locks).await;
            found.push((path, or_offline(i, path, opened)?));
        }
        let known = found
            .iter()
            .flat_map(|(_, opened)| opened)
            .find_map(|(_, p)| p.as_ref().map(|p| p.cluster_id.clone()));
        let cluster_id = known
            .or(cluster_id)
            .unwrap_or_else(|| Str::from(Uuid::random().to_string()));
        let siblings = siblings(&found);
        let mut dirs: Vec<DirectoryImage> = Vec::new();
        for (i, (path, opened)) in found.into_iter().enumerate() {
            let image = match opened {
                None => None,
                Some((entries, properties)) => {
                    let read = async {
                        let id = identify(disk, path, properties, node_id, &cluster_id).await?;
                        let mut image = read_directory(disk, path, id, &entries, journals).await?;
                        image
                            .measure(disk, MEASURE_WITHIN / paths.len() as u32)
                            .await;
                        Ok(image)
                    };
                    or_offline(i, path, read.await)?
                }
            };
            dirs.push(image.unwrap_or_else(|| DirectoryImage::offline(path)));
        }
        let is_missing = remember_siblings(disk, &dirs, &siblings).await;
        Ok(Directories(Arc::new(Inner {
            cluster_id,
            node_id,
            loads: dirs.iter().map(|_| Load::default()).collect(),
            dirs,
            is_missing,
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

    /// Whether a log may lie where it cannot be seen now: a directory is offline, or one of an earlier run is missing
    /// (a mount that was not made). A partition that is not found is then not created anew.
    pub fn may_hide_logs(&self) -> bool {
        self.0.is_missing || self.0.dirs.iter().any(|dir| dir.is_offline)
    }

    /// The directories that work.
    pub fn working(&self) -> impl Iterator<Item = &Path> {
        let working = self.0.dirs.iter().filter(|dir| !dir.is_offline);
        working.map(|dir| dir.path.as_path())
    }

    /// Each directory and its id (KIP-858); of one that is offline the id is not known, and zero.
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

    /// Gives the checkpoints their clean marks back, where every log had one: what is opened and closed in between says
    /// so itself. For programs that leave the other logs alone.
    pub async fn keep_clean(&self, disk: &Disk) -> Result<(), StorageError> {
        for dir in &self.0.dirs {
            if dir
                .logs
                .values()
                .any(|found| found.entry.is_some() && !found.clean)
            {
                continue;
            }
            let checkpoint = Checkpoint {
                clean: true,
                generation: dir.generation,
                logs: dir.logs.values().filter_map(|f| f.entry.clone()).collect(),
            };
            let base = checkpoint_path(&dir.path, BASE);
            disk.replace_file(&base, &checkpoint.encode())
                .await
                .map_err(StorageError::io(&base))?;
        }
        Ok(())
    }

    /// What each directory bears now, all shards together.
    pub(super) fn loads(&self) -> &Arc<[Load]> {
        &self.0.loads
    }

    pub(super) fn images(&self) -> &[DirectoryImage] {
        &self.0.dirs
    }

    /// The directories that hold a partition of that name, and what is known of it.
    pub(super) fn find(&self, name: &str) -> impl Iterator<Item = (usize, &Found)> {
        let dirs = self.0.dirs.iter().enumerate();
        dirs.filter_map(move |(i, d)| Some((i, d.logs.get(name)?)))
    }
}

impl DirectoryImage {
    fn offline(path: &Path) -> DirectoryImage {
        DirectoryImage {
            path: path.to_owned(),
            id: Uuid::default(),
            logs: HashMap::new(),
            leftovers: Vec::new(),
            wanted: Vec::new(),
            generation: 0,
            cleaned: CleanedOffsets::default(),
            journal_dir: path.to_owned(),
            sync_cost: SyncCost::UNKNOWN,
            places: None,
            is_offline: true,
        }
    }

    /// Finds out what a durable write costs and how much the device bears beside: from a self-test's result if there is
    /// one to be believed, else by a short measurement of the former. Its journal must hold nothing.
    async fn measure(&mut self, disk: &Disk, budget: Duration) {
        let journal = journal_path(&self.journal_dir, "0", 0);
        let (places, cost) = measured(disk, &self.path, &journal, budget).await;
        self.places = places;
        self.sync_cost = match cost {
            Some(cost) => cost,
            None => sync_cost(disk, &self.journal_dir, &journal, budget).await,
        };
    }
}

/// A directory's entries and properties.
type Contents = (Vec<Entry>, Option<Properties>);

/// What is in a directory; it is made if need be, and locked.
async fn open_directory(
    disk: &Disk,
    path: &Path,
    locks: &mut Vec<std::fs::File>,
) -> Result<Contents, StorageError> {
    disk.create_dir(path)
        .await
        .map_err(StorageError::io(path))?;
    if let Disk::Ring = disk {
        locks.push(lock(path)?);
    }
    let entries = disk.list(path).await.map_err(StorageError::io(path))?;
    let properties = read_properties(disk, path, &entries).await?;
    Ok((entries, properties))
}

/// An error of the device takes a directory offline, but for the first; any other error is the operator's to mend.
fn or_offline<T>(
    number: usize,
    path: &Path,
    outcome: Result<T, StorageError>,
) -> Result<Option<T>, StorageError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error @ StorageError::Io { .. }) if number > 0 => {
            tracing::error!(directory = %path.display(), %error, "log directory is offline from the start");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Ids that the directories remember of each other.
fn siblings(found: &[(&PathBuf, Option<Contents>)]) -> BTreeSet<Uuid> {
    let properties = found
        .iter()
        .flat_map(|(_, opened)| opened)
        .flat_map(|o| &o.1);
    properties
        .flat_map(|p| p.siblings.iter().copied())
        .collect()
}

/// Has every directory remember the ids of all, those of earlier runs included. Returns whether one of them is missing.
async fn remember_siblings(disk: &Disk, dirs: &[DirectoryImage], known: &BTreeSet<Uuid>) -> bool {
    let present: BTreeSet<Uuid> = dirs
        .iter()
        .filter(|d| !d.is_offline)
        .map(|d| d.id)
        .collect();
    let missing: Vec<&Uuid> = known.difference(&present).collect();
    let all: BTreeSet<Uuid> = known.union(&present).copied().collect();
    if all != *known && all.len() > 1 {
        let ids: Vec<String> = all.iter().map(Uuid::to_string).collect();
        for dir in dirs.iter().filter(|dir| !dir.is_offline) {
            let name = dir.path.join(META_PROPERTIES);
            let written = async {
                let text = disk.read_file(&name).await?;
                let text = String::from_utf8_lossy(&text).into_owned();
                let own = text.lines().filter(|line| !line.starts_with(SIBLINGS));
                let mut out: String = own.map(|line| format!("{line}\n")).collect();
                out.push_str(&format!("{SIBLINGS}={}\n", ids.join(",")));
                disk.replace_file(&name, out.as_bytes()).await
            };
            if let Err(error) = written.await {
                tracing::warn!(file = %name.display(), %error, "the directory does not remember its siblings");
            }
        }
    }
    if !missing.is_empty() && dirs.iter().all(|dir| !dir.is_offline) {
        tracing::error!(
            "{} log directories of earlier runs are missing: partitions that are not found are offline, not empty; to \
             give such a directory up for good, take its id out of {SIBLINGS} in the others' {META_PROPERTIES}",
            missing.len()
        );
    }
    !missing.is_empty()
}

/// Our key in `meta.properties`: the ids of all log directories that this broker has had.
const SIBLINGS: &str = "ringlog.directory.ids";

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
    siblings: Vec<Uuid>,
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
        siblings: value(SIBLINGS)
            .map(|ids| {
                ids.split(',')
                    .filter_map(|id| id.trim().parse().ok())
                    .collect()
            })
            .unwrap_or_default(),
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
    journals: &JournalDir,
) -> Result<DirectoryImage, StorageError> {
    let mut logs: HashMap<String, Found> = HashMap::new();
    let (mut leftovers, mut wanted_moves) = (Vec::new(), Vec::new());
    let mut checkpoints = Vec::new();
    for entry in entries {
        if entry.is_dir && entry.name.ends_with(DELETED_SUFFIX) {
            leftovers.push(path.join(&entry.name));
        } else if entry.is_dir && entry.name.ends_with(FUTURE_SUFFIX) {
            let place = path.join(&entry.name);
            match wanted(disk, place.clone()).await {
                Some(wanted) => wanted_moves.push(wanted),
                None => leftovers.push(place),
            }
        } else if entry.is_dir && parse_partition(&entry.name).is_some() {
            logs.insert(entry.name.clone(), Found::default());
        } else if entry.name.starts_with(CHECKPOINT_PREFIX) && !entry.name.ends_with(".tmp") {
            checkpoints.push(path.join(&entry.name));
        }
    }
    let generation = read_checkpoints(disk, &checkpoints, &mut logs).await?;
    let is_clean = logs.values().all(|found| found.clean);
    // Before anything is changed: without its journal the directory stays as it is.
    let journal = LeftJournal::find(disk, path, id, entries, journals, is_clean).await?;
    write_base(disk, path, &checkpoints, generation, &logs).await?;
    let known_of = |(name, found): (&String, &Found)| {
        let entry = found.entry.as_ref()?;
        let known = Known {
            topic_id: entry.topic_id,
            recovery_point: entry.recovery_point,
        };
        Some((name.clone(), known))
    };
    let known = logs.iter().filter_map(known_of).collect();
    let replayed = replay(disk, path, &journal.files(), &known).await?;
    if replayed > 0 {
        tracing::info!(directory = %path.display(), bytes = replayed, "journal replayed");
    }
    let journal_dir = journal.settle(disk, path, id, journals).await?;
    let mut cleaned = match entries.iter().any(|e| e.name == CLEANED_OFFSETS) {
        true => CleanedOffsets::read(disk, path).await,
        false => CleanedOffsets::default(),
    };
    cleaned.keep(|name| logs.contains_key(name));
    Ok(DirectoryImage {
        path: path.to_owned(),
        id,
        journal_dir,
        logs,
        leftovers,
        wanted: wanted_moves,
        generation,
        cleaned,
        is_offline: false,
        sync_cost: SyncCost::UNKNOWN,
        places: None,
    })
}

/// Reads what the shards of the last run left, and gives each log the newest word on it. Returns the generation after
/// theirs.
async fn read_checkpoints(
    disk: &Disk,
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
    let generation = read.last().map_or(0, |c| c.generation) + 1;
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
    Ok(generation)
}

/// Writes what the checkpoints say of the logs into one file that is not clean, in place of them.
async fn write_base(
    disk: &Disk,
    path: &Path,
    files: &[PathBuf],
    generation: u64,
    logs: &HashMap<String, Found>,
) -> Result<(), StorageError> {
    let merged = Checkpoint {
        generation,
        logs: logs.values().filter_map(|f| f.entry.clone()).collect(),
        ..Checkpoint::default()
    };
    let base = checkpoint_path(path, BASE);
    disk.replace_file(&base, &merged.encode())
        .await
        .map_err(StorageError::io(&base))?;
    for file in files.iter().filter(|f| **f != base) {
        disk.remove(file).await.map_err(StorageError::io(file))?;
    }
    disk.sync_dir(path).await.map_err(StorageError::io(path))
}

/// Where the checkpoint of a shard (or of start-up) lies.
pub(super) fn checkpoint_path(directory: &Path, whose: &str) -> PathBuf {
    directory.join(format!("{CHECKPOINT_PREFIX}{whose}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{Faulty, SimDisk};
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

    #[test]
    fn a_directory_that_cannot_be_read_is_offline_but_not_the_first() {
        let sim = SimDisk::new(1);
        let disk = Disk::Sim(sim.clone());
        let prepare = || block_on(Directories::prepare(&disk, &paths(), NodeId(4), None));
        assert!(!prepare().expect("formats").may_hide_logs());
        sim.fail(Faulty::Read, "/d1", libc::EIO, 0, u32::MAX);
        let directories = prepare().expect("one works");
        assert!(directories.may_hide_logs());
        assert!(directories.working().eq([Path::new("/d0")]));
        sim.heal();
        assert!(!prepare().expect("both work again").may_hide_logs());
        sim.fail(Faulty::Read, "/d0", libc::EIO, 0, u32::MAX);
        assert!(prepare().is_err(), "the first holds the metadata");
    }

    /// Goal: a mount that was not made is not taken for an empty directory. Method: the second directory is another one.
    #[test]
    fn a_directory_of_an_earlier_run_that_is_missing_is_noticed() {
        let disk = Disk::Sim(SimDisk::new(1));
        let prepare =
            |paths: &[PathBuf]| block_on(Directories::prepare(&disk, paths, NodeId(4), None));
        prepare(&paths()).expect("formats");
        assert!(prepare(&paths()[..1]).expect("opens").may_hide_logs());
        let other = [PathBuf::from("/d0"), PathBuf::from("/d2")];
        assert!(prepare(&other).expect("opens").may_hide_logs());
        assert!(
            !prepare(&[paths(), vec![PathBuf::from("/d2")]].concat())
                .expect("opens")
                .may_hide_logs()
        );
    }
}
