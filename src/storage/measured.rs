//! What `ringlog selftest disk` found of a directory's device, kept in the directory: a start reads from it what a durable
//! write costs and how much may go on beside commits.
//!
//! A text of `key=value` lines, ended by the CRC-32C of all before it. It counts for one life of the machine and one mount of
//! one device; of any other, torn, or with a number out of its bounds it is told in one log line and not used. Earlier
//! results are kept with it, for the next self-test to compare with: of the same mount, in any life of the machine.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::small;
use super::sync_cost::SyncCost;
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
/// Fewest and most places of the background that a result may ask for.
pub const PLACES_BOUNDS: (u32, u32) = (2, 64);

/// Which life of which machine, and which mount of which device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    pub boot: String,
    pub device: u64,
    /// File system, what is mounted, and where.
    pub mount: String,
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
        Ok(Machine {
            boot,
            device,
            mount,
        })
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
    /// One that may not is told in one log line, and nothing fails for it.
    pub(super) async fn trusted(disk: &Disk, place: &Path, directory: &Path) -> Option<Measured> {
        if let Disk::Sim(_) = disk {
            return None;
        }
        let checked = async {
            let Some(measured) = Measured::kept(disk, place).await? else {
                return Ok(None);
            };
            let directory = directory.to_owned();
            let machine = blocking(move || Machine::of(&directory)).await;
            let machine = machine.map_err(|error| error.to_string())?;
            let machine = machine.map_err(|error| format!("this mount cannot be told: {error}"))?;
            measured.must_be_of(&machine)?;
            Ok::<_, String>(Some(measured))
        };
        checked.await.unwrap_or_else(|why| {
            let file = place.join(MEASURED_FILE);
            tracing::warn!(file = %file.display(), "the self-test's result is not used: it {why}; ringlog selftest disk renews it");
            None
        })
    }

    fn must_be_of(&self, machine: &Machine) -> Result<(), String> {
        if self.machine.mount != machine.mount || self.machine.device != machine.device {
            return Err(format!(
                "is of another device ({} there, {} here)",
                self.machine.mount, machine.mount
            ));
        }
        match self.machine.boot == machine.boot {
            true => Ok(()),
            false => Err("is from before the machine's last start".to_owned()),
        }
    }

    fn encode(&self) -> String {
        let Machine {
            boot,
            device,
            mount,
        } = &self.machine;
        let mut text = format!("version=1\nboot={boot}\ndevice={device}\nmount={mount}\n");
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
            },
            figures: value("now").and_then(figures).ok_or(wrong)?,
            places,
            past: past.filter(|past| past.len() <= PAST_MAX).ok_or(wrong)?,
        })
    }
}

/// What self-tests say of a log directory and its journal, as far as it may be believed: the places for the background, and what a
/// durable write costs.
pub(super) async fn measured(
    disk: &Disk,
    directory: &Path,
    journal_dir: &Path,
) -> (Option<u32>, Option<SyncCost>) {
    let own = Measured::trusted(disk, directory, directory).await;
    let places = own.as_ref().and_then(|own| own.places);
    // A journal apart lies in `journal.dir`, of which the self-test keeps its result.
    let of_journal = match journal_dir.parent() {
        Some(parent) if journal_dir != directory => {
            Measured::trusted(disk, parent, journal_dir).await
        }
        _ => own,
    };
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
mod tests {
    use super::super::directories::Directories;
    use super::super::place::JournalDir;
    use super::super::sync_cost::SyncMode;
    use super::*;
    use crate::rt::run_local;
    use crate::types::NodeId;

    fn sample() -> Measured {
        let figures = Figures {
            taken_ms: 1_700_000_000_000,
            dsync_us: 112,
            datasync_us: 163,
            write_mib: 1500,
            read_mib: 2500,
        };
        Measured {
            machine: Machine {
                boot: "b".to_owned(),
                device: 65_024,
                mount: "ext4 /dev/vda /".to_owned(),
            },
            figures,
            places: Some(16),
            past: vec![figures; PAST_MAX],
        }
    }

    fn sealed(body: &str) -> String {
        format!("{body}crc32c={:08x}\n", crc32c(body.as_bytes()))
    }

    #[test]
    fn what_is_kept_is_read_back_and_every_part_or_changed_byte_is_refused() {
        let whole = sample();
        let text = whole.encode();
        assert_eq!(Measured::decode(text.as_bytes()), Ok(whole.clone()));
        let unknown = Measured {
            places: None,
            past: Vec::new(),
            ..whole
        };
        let decoded = Measured::decode(unknown.encode().as_bytes());
        assert_eq!(decoded, Ok(unknown));
        for end in 0..text.len() {
            assert!(Measured::decode(&text.as_bytes()[..end]).is_err(), "{end}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Measured::decode(&bytes).is_err(), "byte {at}");
        }
        for bytes in [&[0; 100][..], &[0xff; 100], &vec![b'a'; 1 << 20]] {
            assert!(Measured::decode(bytes).is_err());
        }
    }

    #[test]
    fn numbers_out_of_bounds_are_refused_though_the_checksum_holds() {
        let good = sample().encode();
        let (body, _) = good.rsplit_once("crc32c=").expect("it has one");
        assert!(Measured::decode(sealed(body).as_bytes()).is_ok());
        for (from, to) in [
            ("places=16", "places=1"),
            ("places=16", "places=65"),
            ("places=16", "places=-1"),
            ("now=1700000000000,112", "now=1700000000000,0"),
            ("now=1700000000000,112", "now=1700000000000,99999999999"),
            ("now=1700000000000,112", "now=1700000000000,1,112"),
            ("version=1", "version=2"),
            ("device=65024", "device=x"),
            ("past=", "past=1,1,1,1,1\npast="),
        ] {
            let changed = body.replacen(from, to, 1);
            assert_ne!(changed, body, "{from}");
            assert!(
                Measured::decode(sealed(&changed).as_bytes()).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn the_longest_mount_that_holds_a_path_is_its_own() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
            2 1 8:2 / /srv/log\\040data rw shared:1 - xfs /dev/b rw\n";
        let of = |path: &str| mount_of(table, Path::new(path));
        assert_eq!(
            of("/srv/log data/x").as_deref(),
            Some("xfs /dev/b /srv/log\\040data")
        );
        assert_eq!(of("/srv/log").as_deref(), Some("ext4 /dev/a /"));
    }

    #[test]
    fn it_is_believed_of_its_own_device_and_life_of_the_machine_only() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().to_owned();
        let own = Machine::of(&path).expect("the mount can be told");
        run_local(async move {
            let disk = Disk::Ring;
            assert_eq!(Measured::trusted(&disk, &path, &path).await, None);
            let mut kept = Measured {
                machine: own.clone(),
                ..sample()
            };
            kept.keep(&disk, &path).await.expect("writes");
            let trusted = Measured::trusted(&disk, &path, &path).await;
            assert_eq!(trusted.as_ref(), Some(&kept));
            let proc = Path::new("/proc");
            assert_eq!(Measured::trusted(&disk, &path, proc).await, None, "other");
            kept.machine.boot.push('x');
            kept.keep(&disk, &path).await.expect("writes");
            assert_eq!(Measured::trusted(&disk, &path, &path).await, None, "boot");
            let found = Measured::kept(&disk, &path).await;
            assert_eq!(
                found,
                Ok(Some(kept)),
                "for the next self-test to compare with"
            );
            std::fs::write(path.join(MEASURED_FILE), b"\xff\x00nonsense").expect("writes");
            assert_eq!(Measured::trusted(&disk, &path, &path).await, None);
            assert!(Measured::kept(&disk, &path).await.is_err());
        })
        .expect("io_uring works here");
    }

    #[test]
    fn a_start_takes_costs_from_the_journals_device_and_places_from_the_logs() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (log, journal) = (dir.path().join("log"), dir.path().join("journal"));
        for path in [&log, &journal] {
            std::fs::create_dir(path).expect("makes");
        }
        run_local(async move {
            let keep = async |path: &Path, places, datasync_us| {
                let measured = sample();
                let kept = Measured {
                    machine: Machine::of(path).expect("the mount can be told"),
                    places,
                    figures: Figures {
                        datasync_us,
                        ..measured.figures
                    },
                    ..measured
                };
                kept.keep(&Disk::Ring, path).await.expect("writes");
            };
            keep(&log, Some(7), 90).await;
            keep(&journal, Some(9), 33).await;
            let apart = JournalDir::Under(journal);
            let logs = [log];
            let prepared = Directories::prepare_with(&Disk::Ring, &logs, NodeId(1), None, &apart);
            let prepared = prepared.await.expect("starts");
            let image = &prepared.images()[0];
            assert_eq!(image.places, Some(7));
            assert_eq!(
                (image.sync_cost.mode, image.sync_cost.us()),
                (SyncMode::Datasync, 33)
            );
        })
        .expect("io_uring works here");
    }
}
