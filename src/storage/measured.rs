//! What `ringlog selftest disk` found of a directory's device, kept in the directory: a start reads from it what a durable
//! write costs and how much may go on beside commits.
//!
//! A text of `key=value` lines, ended by the CRC-32C of all before it. It counts for one file system on one device. After the
//! machine has started anew, which numbers and names devices anew, it counts where the device says that it is the same and a
//! short measurement finds about the same cost. Of any other, torn, or with a number out of its bounds it is told in one log
//! line and not used. Earlier results are kept with it, for the next self-test to compare with: of the same mount, in any life
//! of the machine.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::device_id::{device_id, has_name};
use super::small;
use super::sync_cost::{SyncCost, noted_or_measured};
use crate::record::crc32c;
use crate::rt::{Disk, blocking};

/// The file's name, in a log directory or in `journal.dir`.
pub const MEASURED_FILE: &str = "ringlog-selftest";
/// Results kept beside the newest.
pub const PAST_MAX: usize = 10;
/// No line of a file that we wrote is longer, nor the file than as many of them as it has.
const FILE_BYTES_MAX: usize = 64 << 10;
const NO_PLACES: &str = "none";
/// A write that takes longer is a fault, not a cost.
const COST_US_MAX: u64 = 10_000_000;
/// After a start of the machine, a durable write costs so many times more or less at most if the result is to be believed.
const COST_FACTOR_MAX: u64 = 2;
/// A file to measure the device of a log directory by whose journal lies elsewhere; there for a moment.
const PROBE_FILE: &str = "ringlog-sync-probe";
/// Fewest and most places of the background that a result may ask for.
pub const PLACES_BOUNDS: (u32, u32) = (2, 64);

/// Which life of which machine, and which mount of which device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    pub boot: String,
    pub device: u64,
    /// File system, what is mounted, and where.
    pub mount: String,
    /// Who the device says it is, in every life of the machine the same; empty where it does not say, and in results of an
    /// earlier version.
    pub identity: String,
}

/// Whether a result is to be believed of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Belief {
    Held,
    /// If a durable write still costs about the same.
    IfCostsAsMuch,
}

/// One result, in the numbers that are compared from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Milliseconds since 1970.
    pub taken_ms: u64,
    /// What a durable write of 16 KiB takes either way, microseconds.
    pub dsync_us: u64,
    pub datasync_us: u64,
    /// Large sequential writes and reads, MiB a second.
    pub write_mib: u64,
    pub read_mib: u64,
}

/// A self-test's result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    pub machine: Machine,
    pub figures: Figures,
    /// How many I/Os of the background may be under way beside commits; `None`: could not be told.
    pub places: Option<u32>,
    /// Earlier results of the same mount, the oldest first, at most [`PAST_MAX`].
    pub past: Vec<Figures>,
}

impl Machine {
    /// Of the file system that holds `directory`, which must exist. Blocks.
    pub fn of(directory: &Path) -> io::Result<Machine> {
        let (boot, device) = boot_and_device(directory)?;
        let real = directory.canonicalize()?;
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        let mount = mount_of(&table, &real).ok_or(io::ErrorKind::NotFound)?;
        let mut machine = Machine {
            boot,
            device,
            mount,
            identity: String::new(),
        };
        let (_, source) = machine.file_system();
        machine.identity = device_id(Path::new("/"), device, source);
        Ok(machine)
    }

    /// Its kind and what is mounted. Not where: a service sees its own directories as mounts of their own.
    fn file_system(&self) -> (&str, &str) {
        let mut words = self.mount.split(' ');
        (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        )
    }
}

/// Which life of the machine it is, and the device of the file system that holds `directory`. Blocks.
pub(super) fn boot_and_device(directory: &Path) -> io::Result<(String, u64)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let device = std::fs::metadata(directory)?.dev();
    Ok((boot.trim().to_owned(), device))
}

/// `type source point` of the mount that holds a path; of several on one point the last is seen.
fn mount_of(table: &str, path: &Path) -> Option<String> {
    let mounts = table.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split_whitespace().nth(4)?;
        // The kernel writes a blank as `\040`; other escapes do not matter for the longest match.
        let is_above = path.starts_with(point.replace("\\040", " "));
        let mut after = after.split_whitespace();
        let (kind, source) = (after.next()?, after.next()?);
        is_above.then(|| (point.len(), format!("{kind} {source} {point}")))
    });
    let longest = mounts.max_by_key(|(length, _)| *length);
    longest.map(|(_, mount)| mount)
}

impl Measured {
    /// What it says of small durable writes.
    pub(super) fn sync_cost(&self) -> SyncCost {
        SyncCost::of(self.figures.dsync_us, self.figures.datasync_us)
    }

    /// Keeps it in `directory`. A crash may spoil it, which the next reader sees.
    pub async fn keep(&self, disk: &Disk, directory: &Path) -> io::Result<()> {
        let file = directory.join(MEASURED_FILE);
        small::write_synced(disk, &file, self.encode().as_bytes()).await
    }

    /// What is kept in `directory`, of whatever machine; `Ok(None)`: nothing is.
    ///
    /// `Err`: why it is not a result of ours.
    pub async fn kept(disk: &Disk, directory: &Path) -> Result<Option<Measured>, String> {
        let file = directory.join(MEASURED_FILE);
        match disk.read_file(&file).await {
            Ok(bytes) => Measured::decode(&bytes).map(Some).map_err(str::to_owned),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot be read: {error}")),
        }
    }

    /// The result kept in `place`, if it may be believed of `directory`'s device now.
    ///
    /// - `probe`: a file there that holds nothing needed, made if need be; `budget`: how long measuring may take.
    /// - One that may not is told in one log line, and nothing fails for it.
    async fn trusted(
        disk: &Disk,
        place: &Path,
        directory: &Path,
        probe: &Path,
        budget: Duration,
    ) -> Option<Measured> {
        if let Disk::Sim(_) = disk {
            return None;
        }
        let checked = async {
            let Some(measured) = Measured::kept(disk, place).await? else {
                return Ok(None);
            };
            let owned = directory.to_owned();
            let machine = blocking(move || Machine::of(&owned)).await;
            let machine = machine.map_err(|error| error.to_string())?;
            let machine = machine.map_err(|error| format!("this mount cannot be told: {error}"))?;
            if measured.belief(&machine)? == Belief::IfCostsAsMuch {
                let now = noted_or_measured(disk, directory, probe, budget).await;
                measured.must_cost_as_much(now.map(|(cost, _)| cost))?;
                tracing::info!(directory = %directory.display(), "the self-test's result is from before the machine's last start, and holds: the disk is the same, and costs as much");
            }
            Ok::<_, String>(Some(measured))
        };
        checked.await.unwrap_or_else(|why| {
            let file = place.join(MEASURED_FILE);
            tracing::warn!(file = %file.display(), "the self-test's result is not used: it {why}; ringlog selftest disk renews it");
            None
        })
    }

    /// `Err`: why not, as in "it ...".
    fn belief(&self, here: &Machine) -> Result<Belief, String> {
        let kept = &self.machine;
        let other = || {
            let named = |machine: &Machine| match machine.identity.as_str() {
                "" => machine.mount.clone(),
                identity => format!("{}, {identity}", machine.mount),
            };
            format!(
                "is of another device ({} there, {} here)",
                named(kept),
                named(here)
            )
        };
        if kept.boot == here.boot {
            return match kept.device == here.device && kept.file_system() == here.file_system() {
                true => Ok(Belief::Held),
                false => Err(other()),
            };
        }
        let earlier = "is from before the machine's last start";
        if here.identity.is_empty() {
            return Err(format!(
                "{earlier}, and whether the disk is the same cannot be told"
            ));
        }
        if kept.identity.is_empty() {
            return Err(format!("{earlier}, and does not say of which disk"));
        }
        let (kept_kind, kept_source) = kept.file_system();
        let (kind, source) = here.file_system();
        let is_named_alike = has_name(&here.identity) || kept_source == source;
        match kept.identity == here.identity && kept_kind == kind && is_named_alike {
            true => Ok(Belief::IfCostsAsMuch),
            false => Err(other()),
        }
    }

    /// - `now`: what a durable write costs by a short measurement; `None`: it could not be measured.
    /// - `Err`: why it is not to be believed, as in "it ...".
    fn must_cost_as_much(&self, now: Option<SyncCost>) -> Result<(), String> {
        let earlier = "is from before the machine's last start";
        let then = self.sync_cost();
        let now_us = now.map_or(0, |now| now.us_by(then.mode));
        if now_us == 0 {
            return Err(format!(
                "{earlier}, and what a durable write costs now could not be measured"
            ));
        }
        let (less, more) = (now_us.min(then.us()), now_us.max(then.us()));
        match more <= less.saturating_mul(COST_FACTOR_MAX) {
            true => Ok(()),
            false => Err(format!(
                "{earlier}, and a durable write costs {now_us} us now, not {} us",
                then.us()
            )),
        }
    }

    fn encode(&self) -> String {
        let Machine {
            boot,
            device,
            mount,
            identity,
        } = &self.machine;
        let mut text = format!("version=1\nboot={boot}\ndevice={device}\nmount={mount}\n");
        if !identity.is_empty() {
            let _ = writeln!(text, "identity={identity}");
        }
        let places = self.places.map_or(NO_PLACES.to_owned(), |n| n.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(text, "background.places={places}");
        let results = self.past.iter().map(|past| ("past", past));
        for (key, figures) in results.chain([("now", &self.figures)]) {
            let Figures {
                taken_ms,
                dsync_us,
                datasync_us,
                write_mib,
                read_mib,
            } = figures;
            let _ = writeln!(
                text,
                "{key}={taken_ms},{dsync_us},{datasync_us},{write_mib},{read_mib}"
            );
        }
        let crc = crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c={crc:08x}");
        text
    }

    /// `Err`: what is wrong, as in "it ...".
    fn decode(bytes: &[u8]) -> Result<Measured, &'static str> {
        let torn = "is not whole";
        if bytes.len() > FILE_BYTES_MAX {
            return Err(torn);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| torn)?;
        let (body, crc) = text.rsplit_once("crc32c=").ok_or(torn)?;
        let crc = crc.strip_suffix('\n').filter(|crc| crc.len() == 8);
        let crc = crc.and_then(|crc| u32::from_str_radix(crc, 16).ok());
        if crc != Some(crc32c(body.as_bytes())) {
            return Err(torn);
        }
        let values = |key: &'static str| {
            let pairs = body.lines().filter_map(|line| line.split_once('='));
            pairs.filter(move |(k, _)| *k == key).map(|(_, v)| v)
        };
        let value = |key| values(key).next();
        if value("version") != Some("1") {
            return Err("is of another version of Ringlog");
        }
        let wrong = "has a number out of its bounds";
        let places = match value("background.places") {
            Some(NO_PLACES) => None,
            places => {
                let places = places.and_then(|places| places.parse().ok());
                let is_bounded = |n: &u32| (PLACES_BOUNDS.0..=PLACES_BOUNDS.1).contains(n);
                Some(places.filter(is_bounded).ok_or(wrong)?)
            }
        };
        let past = values("past").map(figures).collect::<Option<Vec<_>>>();
        let text = |key| value(key).map(str::to_owned).ok_or(wrong);
        Ok(Measured {
            machine: Machine {
                boot: text("boot")?,
                device: text("device")?.parse().map_err(|_| wrong)?,
                mount: text("mount")?,
                identity: value("identity").unwrap_or_default().to_owned(),
            },
            figures: value("now").and_then(figures).ok_or(wrong)?,
            places,
            past: past.filter(|past| past.len() <= PAST_MAX).ok_or(wrong)?,
        })
    }
}

/// What self-tests say of a log directory and its journal, as far as it may be believed: the places for the background, and what a
/// durable write costs.
///
/// - `journal`: a journal file that holds nothing needed; `budget`: how long measuring may take.
pub(super) async fn measured(
    disk: &Disk,
    directory: &Path,
    journal: &Path,
    budget: Duration,
) -> (Option<u32>, Option<SyncCost>) {
    let journal_dir = journal.parent().unwrap_or(directory);
    let (own, of_journal) = match journal_dir.parent() {
        // A journal apart lies in `journal.dir`, of which the self-test keeps its result.
        Some(parent) if journal_dir != directory => {
            let (probe, budget) = (directory.join(PROBE_FILE), budget / 2);
            let own = Measured::trusted(disk, directory, directory, &probe, budget).await;
            if let Disk::Ring = disk {
                // Mostly it was not made.
                let _ = disk.remove(&probe).await;
            }
            let apart = Measured::trusted(disk, parent, journal_dir, journal, budget).await;
            (own, apart)
        }
        _ => {
            let own = Measured::trusted(disk, directory, directory, journal, budget).await;
            (own.clone(), own)
        }
    };
    let places = own.and_then(|own| own.places);
    let cost = of_journal.map(|measured| measured.sync_cost());
    let directory = directory.display();
    if let Some(places) = places {
        tracing::info!(%directory, "{places} places for background I/O, by the self-test");
    }
    if let Some(cost) = cost {
        tracing::info!(%directory, "journal writes by {cost}, by the self-test");
    }
    (places, cost)
}

fn figures(text: &str) -> Option<Figures> {
    let mut numbers = text.split(',').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next()?;
    let figures = Figures {
        taken_ms: next()?,
        dsync_us: next()?,
        datasync_us: next()?,
        write_mib: next()?,
        read_mib: next()?,
    };
    let costs = [figures.dsync_us, figures.datasync_us];
    let is_sane = costs.iter().all(|us| (1..=COST_US_MAX).contains(us));
    (is_sane && numbers.next().is_none()).then_some(figures)
}

#[cfg(test)]
#[path = "measured_tests.rs"]
mod tests;
