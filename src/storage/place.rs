//! Where a log directory's journal lies: in the directory, or apart from it (`journal.dir`: an SSD before disks that seek).
//!
//! Apart, the journal has a directory of its own, named after the log directory's id, with a file that says whose journal it
//! is; the log directory has a note that says where its journal lies. Both name one id, drawn when the journal was put there, so
//! that a journal that is missing, another's or an older copy is told from the one that holds acknowledged records.
//!
//! A start first looks where the note says, whatever the configuration wants. Only when all that is found is in the
//! segments, durably, and the files are cleared, the journal moves: the new place is made, the note changes, the old place
//! goes. A crash between any two of these steps leaves a note that is true. Without its journal a log directory is not
//! served, unless it was closed cleanly: then the journal held nothing.

use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::journal::JOURNAL_PREFIX;
use crate::rt::{Disk, Entry};
use crate::types::Uuid;

/// Where the operator wants the journals of all log directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalDir {
    /// Each in its log directory.
    Beside,
    /// Each in a directory of its own under this one, which is named after the log directory's id.
    Under(PathBuf),
    /// Where they are.
    AsItIs,
}

/// The note in a log directory, and the file in a journal's own directory. Not to be taken for a journal file: those
/// begin with [`JOURNAL_PREFIX`].
pub(super) const JOURNAL_PROPERTIES: &str = "ringlog-journal.properties";

/// A place apart, as the log directory's note has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Note {
    path: PathBuf,
    journal_id: Uuid,
}

/// Whose journal a place apart holds, as its own file has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Owner {
    directory_id: Uuid,
    journal_id: Uuid,
}

/// What the last run left of a log directory's journal.
pub(super) struct LeftJournal {
    /// The place apart, which is there and the right one.
    note: Option<Note>,
    /// Its place was found elsewhere: its file system is mounted at another path now.
    is_note_stale: bool,
    /// Journal files in the log directory itself.
    beside: Vec<PathBuf>,
    /// Journal files in the place apart.
    apart: Vec<PathBuf>,
}

impl LeftJournal {
    /// Looks for the journal of a log directory.
    ///
    /// - `wanted`: looked at, too, where the note's place is missing: it may be the same device under another path.
    /// - `is_clean`: the last run closed all of the directory's logs, so that its journal held nothing.
    /// - `Err(Journal)`: it is not where it was, and may hold acknowledged records.
    pub async fn find(
        disk: &Disk,
        directory: &Path,
        id: Uuid,
        entries: &[Entry],
        wanted: &JournalDir,
        is_clean: bool,
    ) -> Result<LeftJournal, StorageError> {
        let mut left = LeftJournal {
            note: None,
            is_note_stale: false,
            beside: journal_files(directory, entries),
            apart: Vec::new(),
        };
        if !entries.iter().any(|e| e.name == JOURNAL_PROPERTIES) {
            return Ok(left);
        }
        let file = directory.join(JOURNAL_PROPERTIES);
        let bytes = disk.read_file(&file).await;
        let note = Note::decode(&bytes.map_err(StorageError::io(&file))?);
        let mut note = note.ok_or_else(|| StorageError::Corrupt {
            path: file.clone(),
            why: "does not say where the journal is".to_owned(),
        })?;
        let mut found = look(disk, &note, id).await;
        if let (Err(_), JournalDir::Under(parent)) = (&found, wanted) {
            let elsewhere = Note {
                path: parent.join(id.to_string()),
                ..note.clone()
            };
            if let Ok(files) = look(disk, &elsewhere, id).await {
                (note, found, left.is_note_stale) = (elsewhere, Ok(files), true);
            }
        }
        match found {
            Ok(files) => left.apart = files,
            Err(why) if is_clean => {
                let place = note.path.display();
                tracing::warn!(directory = %directory.display(), "its journal in {place} {why}; it held nothing, for the \
                    last run was closed cleanly");
                // Before the clean mark goes: from here on it has none.
                forget(disk, directory).await?;
                return Ok(left);
            }
            Err(why) => {
                return Err(StorageError::Journal {
                    path: directory.to_owned(),
                    place: note.path,
                    why,
                });
            }
        }
        left.note = Some(note);
        Ok(left)
    }

    /// The files that may hold what is not in the segments.
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.beside[..], &self.apart[..]].concat()
    }

    /// Brings the journal to where it is wanted; all files must be replayed and cleared. Returns the directory that its
    /// files lie in from now on.
    ///
    /// - `Err(Journal)`: the place belongs to another log directory. `Err(Io)`: it cannot be made.
    pub async fn settle(
        self,
        disk: &Disk,
        directory: &Path,
        id: Uuid,
        wanted: &JournalDir,
    ) -> Result<PathBuf, StorageError> {
        let noted = self.note.as_ref().map(|note| note.path.clone());
        let target = match wanted {
            JournalDir::Beside => None,
            JournalDir::Under(parent) => Some(parent.join(id.to_string())),
            JournalDir::AsItIs => noted.clone(),
        };
        let place = target.clone().unwrap_or(directory.to_owned());
        let note = directory.join(JOURNAL_PROPERTIES);
        if target == noted {
            if let Some(known) = self.note.filter(|_| self.is_note_stale) {
                let written = disk.replace_file(&note, known.encode().as_bytes()).await;
                written.map_err(StorageError::io(&note))?;
            }
            if target.is_some() {
                // A move was cut off after its note had changed.
                remove(disk, self.beside).await;
            }
            return Ok(place);
        }
        match &target {
            Some(target) => {
                let journal_id = Uuid::random();
                let owner = Owner {
                    directory_id: id,
                    journal_id,
                };
                make(disk, directory, target, owner).await?;
                let text = Note {
                    path: target.clone(),
                    journal_id,
                };
                let written = disk.replace_file(&note, text.encode().as_bytes()).await;
                written.map_err(StorageError::io(&note))?;
            }
            None => forget(disk, directory).await?,
        }
        tracing::info!(directory = %directory.display(), "its journal is in {} now", place.display());
        if target.is_some() {
            remove(disk, self.beside).await;
        }
        remove(disk, noted.into_iter().collect()).await;
        Ok(place)
    }
}

/// Where the journal of a log directory that has a note lies, for a reader that changes nothing; `Err`: what is wrong.
pub(super) fn apart(directory: &Path) -> Result<PathBuf, String> {
    let note = std::fs::read(directory.join(JOURNAL_PROPERTIES))
        .ok()
        .and_then(|bytes| Note::decode(&bytes))
        .ok_or("does not say where the journal is")?;
    let place = note.path.display();
    let own = std::fs::read(note.path.join(JOURNAL_PROPERTIES))
        .map_err(|error| format!("the journal in {place} cannot be read: {error}"))?;
    match Owner::decode(&own).is_some_and(|own| own.journal_id == note.journal_id) {
        true => Ok(note.path),
        false => Err(format!("{place} holds another journal than its own")),
    }
}

/// Takes a log directory's note away, durably: it has no journal apart any more.
async fn forget(disk: &Disk, directory: &Path) -> Result<(), StorageError> {
    let note = directory.join(JOURNAL_PROPERTIES);
    let gone = match disk.remove(&note).await {
        Ok(()) => disk.sync_dir(directory).await,
        Err(error) => Err(error),
    };
    gone.map_err(StorageError::io(&note))
}

/// Removes what lies where a journal was. It holds nothing, so that what cannot be removed does no harm.
async fn remove(disk: &Disk, old: Vec<PathBuf>) {
    for path in old {
        if let Err(error) = disk.remove(&path).await {
            tracing::warn!(path = %path.display(), %error, "an emptied journal is not removed");
        }
    }
}

/// The journal files of a place apart; `Err`: what is wrong with it.
async fn look(disk: &Disk, note: &Note, id: Uuid) -> Result<Vec<PathBuf>, String> {
    let owner = owner(disk, &note.path).await?;
    if owner.directory_id != id {
        return Err(format!("belongs to log directory {}", owner.directory_id));
    }
    if owner.journal_id != note.journal_id {
        return Err("is another one than the one it had, or an older copy".to_owned());
    }
    let entries = disk.list(&note.path).await;
    let entries = entries.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(journal_files(&note.path, &entries))
}

async fn owner(disk: &Disk, place: &Path) -> Result<Owner, String> {
    let file = place.join(JOURNAL_PROPERTIES);
    match disk.read_file(&file).await {
        Ok(bytes) => Owner::decode(&bytes).ok_or_else(|| "does not say whose it is".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("is missing (is its file system mounted?)".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Makes a place apart, empty and durable, for a log directory's journal.
async fn make(disk: &Disk, directory: &Path, place: &Path, own: Owner) -> Result<(), StorageError> {
    let failed = |error| StorageError::io(place)(error);
    let parent = place.parent().expect("it lies under journal.dir");
    let is_new = !disk.exists(parent).await.map_err(failed)?;
    disk.create_dir(place).await.map_err(failed)?;
    if let Ok(other) = owner(disk, place).await
        && other.directory_id != own.directory_id
    {
        return Err(StorageError::Journal {
            path: directory.to_owned(),
            place: place.to_owned(),
            why: format!("belongs to log directory {}", other.directory_id),
        });
    }
    // What an earlier use left there was replayed then.
    let entries = disk.list(place).await.map_err(failed)?;
    for file in journal_files(place, &entries) {
        disk.remove(&file).await.map_err(StorageError::io(&file))?;
    }
    let file = place.join(JOURNAL_PROPERTIES);
    let written = disk.replace_file(&file, own.encode().as_bytes()).await;
    written.map_err(StorageError::io(&file))?;
    // Its name, and those of the directories above it that may be new too.
    let above = parent.ancestors().take(if is_new { usize::MAX } else { 1 });
    for above in above.filter(|path| !path.as_os_str().is_empty()) {
        let synced = disk.sync_dir(above).await;
        synced.map_err(StorageError::io(above))?;
    }
    Ok(())
}

fn journal_files(directory: &Path, entries: &[Entry]) -> Vec<PathBuf> {
    let files = entries
        .iter()
        .filter(|entry| !entry.is_dir && entry.name.starts_with(JOURNAL_PREFIX));
    files.map(|entry| directory.join(&entry.name)).collect()
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(k, _)| *k == key).map(|(_, value)| value)
}

impl Note {
    fn encode(&self) -> String {
        let Note { path, journal_id } = self;
        format!(
            "version=1\njournal.id={journal_id}\npath={}\n",
            path.display()
        )
    }

    fn decode(bytes: &[u8]) -> Option<Note> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Note {
            path: PathBuf::from(value(text, "path").filter(|path| !path.is_empty())?),
            journal_id: value(text, "journal.id")?.parse().ok()?,
        })
    }
}

impl Owner {
    fn encode(&self) -> String {
        let Owner {
            directory_id,
            journal_id,
        } = self;
        format!("version=1\ndirectory.id={directory_id}\njournal.id={journal_id}\n")
    }

    fn decode(bytes: &[u8]) -> Option<Owner> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Owner {
            directory_id: value(text, "directory.id")?.parse().ok()?,
            journal_id: value(text, "journal.id")?.parse().ok()?,
        })
    }
}
