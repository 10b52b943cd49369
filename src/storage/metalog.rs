//! A small durable log of opaque entries with a snapshot: what the cluster's metadata rests in.
//!
//! | file | content |
//! |---|---|
//! | `<20 digits>.log` | frames, sequences counting from the file's name on |
//! | `<20 digits>.snapshot` | one frame: the state after the entry of that sequence |

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::StorageError;
use super::frame::{self, Kind};
use super::gate::Gate;
use super::names::FileKind;
use crate::rt::{BLOCK_BYTES, Buffer, Disk, File, Open};
use crate::types::Offset;

/// Appends entries durably, one write each; reads them back at start. One per process; calls wait for each other.
pub struct MetadataLog {
    disk: Disk,
    dir: PathBuf,
    gate: Gate,
    tail: RefCell<Tail>,
}

/// Where the next entry goes.
struct Tail {
    file: Rc<File>,
    /// Sequence of the next entry.
    next: u64,
    /// Length of the file's frames, and the bytes of the block that they end in.
    end: u64,
    block: Vec<u8>,
    /// A write failed: what the file holds is unknown until the next start.
    failed: bool,
    /// Of the log files and snapshots that the newest snapshot makes useless.
    first: u64,
}

/// What a metadata log held when it was opened.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MetadataRecovered {
    /// The newest snapshot that can be read.
    pub snapshot: Option<Vec<u8>>,
    /// The entries after it, in order.
    pub entries: Vec<Vec<u8>>,
}

impl MetadataLog {
    /// Opens the log in `dir`, creating it if need be, and reads it whole.
    ///
    /// - A torn last entry is cut off: its append never returned.
    /// - `Err(Corrupt)`: a snapshot or entries are gone that later ones rest on.
    pub async fn open(
        disk: &Disk,
        dir: &Path,
    ) -> Result<(MetadataLog, MetadataRecovered), StorageError> {
        disk.create_dir(dir).await.map_err(StorageError::io(dir))?;
        let entries = disk.list(dir).await.map_err(StorageError::io(dir))?;
        let mut logs = Vec::new();
        let mut snapshots = Vec::new();
        for entry in &entries {
            match FileKind::parse(&entry.name) {
                Some((FileKind::Log, first)) => logs.push(first.0 as u64),
                Some((FileKind::Snapshot, at)) => snapshots.push(at.0 as u64),
                _ => {}
            }
        }
        let mut recovered = MetadataRecovered::default();
        let mut next = 0;
        for &at in snapshots.iter().rev() {
            let path = FileKind::Snapshot.path(dir, Offset(at as i64));
            let bytes = disk
                .read_file(&path)
                .await
                .map_err(StorageError::io(&path))?;
            if let Some(frame) =
                frame::decode(Kind::MetadataSnapshot, &bytes).filter(|f| f.sequence == at)
            {
                recovered.snapshot = Some(frame.payload.to_vec());
                next = at + 1;
                break;
            }
        }
        let after_snapshot = next;
        let mut open_at = None;
        for (i, &first) in logs.iter().enumerate() {
            let path = FileKind::Log.path(dir, Offset(first as i64));
            let bytes = disk
                .read_file(&path)
                .await
                .map_err(StorageError::io(&path))?;
            let (mut at, mut sequence) = (0, first);
            while let Some(frame) =
                frame::decode(Kind::Metadata, &bytes[at..]).filter(|f| f.sequence == sequence)
            {
                if sequence == next {
                    recovered.entries.push(frame.payload.to_vec());
                    next += 1;
                }
                at += frame.size;
                sequence += 1;
            }
            if i + 1 == logs.len() {
                open_at = Some((
                    first,
                    at as u64,
                    bytes[at - at % BLOCK_BYTES..at].to_vec(),
                    sequence,
                ));
            }
        }
        if let Some((first, _, _, sequence)) = open_at
            && sequence < next.max(first)
        {
            open_at = None;
        }
        if logs.last().is_some_and(|&first| first > next)
            || (after_snapshot == 0 && logs.first().is_some_and(|&f| f > 0))
        {
            let why = format!("entries up to {next} are there, but later files exist without them");
            return Err(StorageError::Corrupt {
                path: dir.to_owned(),
                why,
            });
        }
        let (first, end, block) = match open_at {
            Some((first, end, block, _)) => (first, end, block),
            None => (next, 0, Vec::new()),
        };
        let file = open_file(disk, dir, first, end).await?;
        let tail = Tail {
            file: Rc::new(file),
            next,
            end,
            block,
            failed: false,
            first,
        };
        let log = MetadataLog {
            disk: disk.clone(),
            dir: dir.to_owned(),
            gate: Gate::default(),
            tail: RefCell::new(tail),
        };
        Ok((log, recovered))
    }

    /// Appends one entry; on stable storage when it returns. Returns its sequence, counted from 0.
    ///
    /// - `Err`: whether the entry is there is known at the next start only; every later call fails.
    pub async fn append(&self, entry: &[u8]) -> Result<u64, StorageError> {
        let _inside = self.gate.enter().await;
        let (file, page, position, sequence, mut bytes) = {
            let tail = self.tail.borrow();
            if tail.failed {
                return Err(StorageError::Offline);
            }
            let mut bytes = tail.block.clone();
            bytes.extend_from_slice(&frame::encode(Kind::Metadata, tail.next, entry));
            let position = tail.end - tail.block.len() as u64;
            (
                tail.file.clone(),
                Buffer::copy_of(&bytes).freeze(),
                position,
                tail.next,
                bytes,
            )
        };
        let outcome = file.write(page, position).await;
        let mut tail = self.tail.borrow_mut();
        if let Err(error) = outcome {
            tail.failed = true;
            return Err(StorageError::io(file.path())(error));
        }
        tail.next = sequence + 1;
        tail.end = position + bytes.len() as u64;
        bytes.drain(..bytes.len() - bytes.len() % BLOCK_BYTES);
        tail.block = bytes;
        Ok(sequence)
    }

    /// Stores `state`, which all entries so far made, and lets go of them.
    pub async fn snapshot(&self, state: &[u8]) -> Result<(), StorageError> {
        let _inside = self.gate.enter().await;
        let (next, first) = {
            let tail = self.tail.borrow();
            if tail.failed {
                return Err(StorageError::Offline);
            }
            (tail.next, tail.first)
        };
        let Some(last) = next.checked_sub(1) else {
            return Ok(());
        };
        let path = FileKind::Snapshot.path(&self.dir, Offset(last as i64));
        let bytes = frame::encode(Kind::MetadataSnapshot, last, state);
        self.disk
            .replace_file(&path, &bytes)
            .await
            .map_err(StorageError::io(&path))?;
        if next > first {
            let file = open_file(&self.disk, &self.dir, next, 0).await?;
            let mut tail = self.tail.borrow_mut();
            (tail.file, tail.end, tail.first) = (Rc::new(file), 0, next);
            tail.block.clear();
        }
        // What is older goes only now that the snapshot is durable.
        for entry in self
            .disk
            .list(&self.dir)
            .await
            .map_err(StorageError::io(&self.dir))?
        {
            let useless = match FileKind::parse(&entry.name) {
                Some((FileKind::Log, first)) => (first.0 as u64) < next,
                Some((FileKind::Snapshot, at)) => (at.0 as u64) < last,
                _ => false,
            };
            if useless {
                let path = self.dir.join(&entry.name);
                self.disk
                    .remove(&path)
                    .await
                    .map_err(StorageError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Bytes of entries since the last snapshot: when to take the next.
    pub fn size(&self) -> u64 {
        self.tail.borrow().end
    }

    /// Sequence that the next entry gets.
    pub fn next_sequence(&self) -> u64 {
        self.tail.borrow().next
    }
}

/// Opens the file that begins with entry `first`, cut to `end` durably, so that nothing stale follows.
async fn open_file(disk: &Disk, dir: &Path, first: u64, end: u64) -> Result<File, StorageError> {
    let path = FileKind::Log.path(dir, Offset(first as i64));
    let failed = |error| StorageError::io(&path)(error);
    let file = disk
        .open(&path, Open::CREATE.dsync())
        .await
        .map_err(failed)?;
    file.truncate(end).await.map_err(failed)?;
    file.datasync().await.map_err(failed)?;
    disk.sync_dir(dir).await.map_err(StorageError::io(dir))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{Faulty, SimDisk};
    use crate::types::Prng;
    use futures_lite::future::block_on;

    /// Goal: whatever was appended survives, whatever the crash. Method: random appends, snapshots and crashes by seed.
    #[test]
    fn every_append_that_returned_survives_any_crash() {
        for seed in 0..200 {
            let sim = SimDisk::new(seed);
            let disk = Disk::Sim(sim.clone());
            let mut prng = Prng::new(seed);
            let mut model: Vec<Vec<u8>> = Vec::new();
            for _life in 0..6 {
                let (log, recovered) =
                    block_on(MetadataLog::open(&disk, Path::new("/m"))).expect("opens");
                let held = contents(&recovered);
                assert!(
                    held.len() >= model.len() && held[..model.len()] == model[..],
                    "seed {seed}"
                );
                assert!(
                    held.len() <= model.len() + 1,
                    "seed {seed}: at most the one append in flight"
                );
                model = held;
                assert_eq!(log.next_sequence(), model.len() as u64, "seed {seed}");
                sim.fail(
                    Faulty::Write,
                    "",
                    libc::EIO,
                    prng.below(12) as u32,
                    u32::MAX,
                );
                while let Ok(()) = step(&log, &mut prng, &mut model) {}
                sim.crash();
                sim.heal();
            }
        }
    }

    fn step(
        log: &MetadataLog,
        prng: &mut Prng,
        model: &mut Vec<Vec<u8>>,
    ) -> Result<(), StorageError> {
        if prng.below(5) == 0 {
            let mut state = Vec::new();
            for entry in model.iter() {
                state.extend_from_slice(&(entry.len() as u32).to_le_bytes());
                state.extend_from_slice(entry);
            }
            return block_on(log.snapshot(&state));
        }
        let mut entry = vec![0; prng.below(6000) as usize];
        prng.fill(&mut entry);
        block_on(log.append(&entry))?;
        model.push(entry);
        Ok(())
    }

    fn contents(recovered: &MetadataRecovered) -> Vec<Vec<u8>> {
        let mut held = Vec::new();
        let mut fields = frame::Fields(recovered.snapshot.as_deref().unwrap_or(&[]));
        while let Some(entry) = fields.block() {
            held.push(entry.to_vec());
        }
        held.extend(recovered.entries.iter().cloned());
        held
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_promised() {
        let sim = SimDisk::new(3);
        let (log, _) =
            block_on(MetadataLog::open(&Disk::Sim(sim.clone()), Path::new("/m"))).expect("opens");
        sim.fail(Faulty::Write, "", libc::EIO, 0, 1);
        assert!(block_on(log.append(b"a")).is_err());
        assert!(matches!(
            block_on(log.append(b"b")),
            Err(StorageError::Offline)
        ));
    }
}
