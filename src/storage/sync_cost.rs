//! What it costs a directory's device to make a small write durable, and which way is the cheaper: measured at start.
//!
//! Two ways lead there: a write that returns when it is durable (`O_DSYNC`, one command with forced unit access where the
//! device has it), and a plain write with an `fdatasync` after it. Which is faster depends on the device, its cache and the
//! file system, so both are tried: a few blocks of zeros into a journal file whose content is not needed any more, behind
//! its first block, which stays as it is. What was found is noted beside the journal and believed until the
//! machine starts anew or the directory is on another device.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::measured::boot_and_device;
use super::small;
use crate::rt::{BLOCK_BYTES, Buffer, Clock, Disk, File, Open, blocking};

/// How a write to a journal becomes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncMode {
    /// The write returns when it is (`O_DSYNC`).
    Dsync,
    /// An `fdatasync` follows the write.
    Datasync,
}

/// What a small durable write costs, both ways; 0 where it was not measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncCost {
    pub mode: SyncMode,
    pub dsync_us: u64,
    pub datasync_us: u64,
}

/// The note's name, beside the journal.
pub(super) const NOTE: &str = "ringlog-sync-cost";
/// What is written at once: the journal's frame of a few hundred small records.
const PROBE_BYTES: usize = 4 * BLOCK_BYTES;
/// Journal writes up to this size tell what a small one costs.
pub(super) const SAMPLE_BYTES_MAX: usize = 64 << 10;
/// Most writes either way.
const SAMPLES_MAX: usize = 9;
/// Fewest, however slow the device is.
const SAMPLES_MIN: usize = 2;
/// The other way must be cheaper than this part of the usual way's cost: a measurement so short has noise.
const CHEAPER_PERCENT: u64 = 90;

impl SyncCost {
    /// Nothing is known: the usual way.
    pub(super) const UNKNOWN: SyncCost = SyncCost {
        mode: SyncMode::Dsync,
        dsync_us: 0,
        datasync_us: 0,
    };

    /// The rule, all of it.
    pub(super) fn of(dsync_us: u64, datasync_us: u64) -> SyncCost {
        let mode = match datasync_us * 100 < dsync_us * CHEAPER_PERCENT {
            true => SyncMode::Datasync,
            false => SyncMode::Dsync,
        };
        SyncCost {
            mode,
            dsync_us,
            datasync_us,
        }
    }

    /// With what a write of `bytes` to the journal took. The quiet device's cost is wanted, so it falls fast and
    /// rises slowly, and large writes do not count.
    pub(super) fn with_sample(self, bytes: usize, took_us: u64) -> SyncCost {
        let known = self.us();
        if bytes > SAMPLE_BYTES_MAX || took_us == 0 {
            return self;
        }
        let now = match known {
            0 => took_us,
            known if took_us < known => known - (known - took_us).div_ceil(8),
            known => known + (took_us - known) / 256,
        };
        let mut cost = self;
        match self.mode {
            SyncMode::Dsync => cost.dsync_us = now,
            SyncMode::Datasync => cost.datasync_us = now,
        }
        cost
    }

    /// Microseconds for one small durable write, the way it is done.
    pub fn us(&self) -> u64 {
        self.us_by(self.mode)
    }

    /// Microseconds for one small durable write, done this way.
    pub(super) fn us_by(&self, mode: SyncMode) -> u64 {
        match mode {
            SyncMode::Dsync => self.dsync_us,
            SyncMode::Datasync => self.datasync_us,
        }
    }
}

impl fmt::Display for SyncCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, other, other_us) = match self.mode {
            SyncMode::Dsync => ("O_DSYNC", "write and fdatasync", self.datasync_us),
            SyncMode::Datasync => ("write and fdatasync", "O_DSYNC", self.dsync_us),
        };
        let (kib, us) = (PROBE_BYTES >> 10, self.us());
        write!(f, "{way}, {us} us for {kib} KiB ({other}: {other_us} us)")
    }
}

/// What a durable write costs where `directory`'s journal lies: from the note if it holds still, else by measurement.
///
/// - `journal`: a journal file that holds nothing needed; made if it is not there.
/// - `budget`: how long the measurement may take; a device that is too slow for it takes as long as four writes.
/// - What cannot be measured is not known; nothing fails for it.
pub(super) async fn sync_cost(
    disk: &Disk,
    directory: &Path,
    journal: &Path,
    budget: Duration,
) -> SyncCost {
    let Some((cost, told)) = noted_or_measured(disk, directory, journal, budget).await else {
        return SyncCost::UNKNOWN;
    };
    tracing::info!(directory = %directory.display(), "journal writes by {cost}, {told}");
    cost
}

/// [`sync_cost`] without a word of what is written how; `None`: it is not known.
pub(super) async fn noted_or_measured(
    disk: &Disk,
    directory: &Path,
    journal: &Path,
    budget: Duration,
) -> Option<(SyncCost, &'static str)> {
    if let Disk::Sim(_) = disk {
        return None;
    }
    let machine = machine(directory).await;
    let note = directory.join(NOTE);
    let text = disk.read_file(&note).await.unwrap_or_default();
    let known = machine
        .as_deref()
        .and_then(|machine| decode(&text, machine));
    if let Some(cost) = known {
        return Some((cost, "noted"));
    }
    let cost = match measure(disk, journal, budget).await {
        Ok(cost) => cost,
        Err(error) => {
            tracing::warn!(journal = %journal.display(), %error, "the cost of a durable write could not be measured");
            return None;
        }
    };
    if let Some(machine) = machine {
        // Not synced: a note that a crash spoils is measured again.
        if let Err(error) = small::write(disk, &note, encode(&cost, &machine).as_bytes()).await {
            tracing::warn!(file = %note.display(), %error, "the cost of a durable write is not noted");
        }
    }
    Some((cost, "measured"))
}

/// Which life of the machine it is, and which device: what a measurement is good for.
async fn machine(directory: &Path) -> Option<String> {
    let directory = directory.to_owned();
    let found = blocking(move || boot_and_device(&directory)).await;
    let (boot, device) = found.ok()?.ok()?;
    Some(format!("{boot} {device}"))
}

fn encode(cost: &SyncCost, machine: &str) -> String {
    let SyncCost {
        dsync_us,
        datasync_us,
        ..
    } = cost;
    format!("version=1\nmachine={machine}\ndsync.us={dsync_us}\nfdatasync.us={datasync_us}\n")
}

/// `None`: of another machine, or not whole.
fn decode(text: &[u8], machine: &str) -> Option<SyncCost> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(k, _)| *k == key).map(|(_, value)| value)
    };
    if value("version")? != "1" || value("machine")? != machine {
        return None;
    }
    let us = |key: &str| value(key)?.parse::<u64>().ok().filter(|&us| us > 0);
    Some(SyncCost::of(us("dsync.us")?, us("fdatasync.us")?))
}

async fn measure(disk: &Disk, path: &Path, budget: Duration) -> io::Result<SyncCost> {
    let dsync = disk.open(path, Open::CREATE.dsync()).await?;
    let plain = disk.open(path, Open::WRITE).await?;
    let first = BLOCK_BYTES as u64;
    let end = first + (SAMPLES_MAX * PROBE_BYTES) as u64;
    if dsync.len()? < end {
        // As a journal is: allocated and written once, so that the writes change no metadata.
        plain.preallocate(end).await?;
        plain
            .write(Buffer::zeroed(end as usize).freeze(), 0)
            .await?;
        plain.datasync().await?;
    }
    let began = Clock::Real.now();
    let (mut with_dsync, mut with_datasync) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES_MAX {
        let spent = Clock::Real.now().since(began);
        if sample >= SAMPLES_MIN && spent >= budget.as_micros() as u64 {
            break;
        }
        let position = first + (sample * PROBE_BYTES) as u64;
        with_dsync.push(timed(&dsync, position, SyncMode::Dsync).await?);
        with_datasync.push(timed(&plain, position, SyncMode::Datasync).await?);
    }
    let cost = SyncCost::of(usual(with_dsync), usual(with_datasync));
    dsync.close().await?;
    plain.close().await?;
    Ok(cost)
}

/// Microseconds of one durable write, at least one.
async fn timed(file: &File, position: u64, mode: SyncMode) -> io::Result<u64> {
    let page = Buffer::zeroed(PROBE_BYTES).freeze();
    let began = Clock::Real.now();
    file.write(page, position).await?;
    if mode == SyncMode::Datasync {
        file.datasync().await?;
    }
    Ok(Clock::Real.now().since(began).max(1))
}

/// The least: what others do on the machine meanwhile only makes a write slower, and never faster.
fn usual(samples: Vec<u64>) -> u64 {
    samples.into_iter().min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::run_local;

    #[test]
    fn the_usual_way_stays_unless_the_other_is_clearly_cheaper() {
        assert_eq!(SyncCost::of(100, 100).mode, SyncMode::Dsync);
        assert_eq!(SyncCost::of(100, 95).mode, SyncMode::Dsync);
        let cost = SyncCost::of(8000, 4000);
        assert_eq!((cost.mode, cost.us()), (SyncMode::Datasync, 4000));
        assert_eq!(SyncCost::UNKNOWN.us(), 0);
    }

    #[test]
    fn commits_correct_the_cost_downwards_fast_and_upwards_slowly() {
        let mut cost = SyncCost::of(1_000, 2_000);
        assert_eq!(
            cost.with_sample(1 << 20, 50),
            cost,
            "a large write tells nothing"
        );
        cost = cost.with_sample(4096, 200);
        assert_eq!(cost.us(), 900);
        cost = cost.with_sample(4096, 900 + 2_560);
        assert_eq!(cost.us(), 910);
        assert_eq!(SyncCost::UNKNOWN.with_sample(4096, 70).us(), 70);
        for _ in 0..100 {
            cost = cost.with_sample(4096, 100);
        }
        assert_eq!((cost.us(), cost.datasync_us), (100, 2_000));
    }

    #[test]
    fn a_note_counts_for_its_machine_only() {
        let cost = SyncCost::of(112, 163);
        let text = encode(&cost, "boot 7");
        assert_eq!(decode(text.as_bytes(), "boot 7"), Some(cost));
        assert_eq!(decode(text.as_bytes(), "boot 8"), None);
        for end in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..end], "boot 7"), None, "{end}");
        }
        assert_eq!(decode(&[0; 100], "boot 7"), None);
    }

    #[test]
    fn measures_once_leaves_the_first_block_alone_and_is_quick() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().to_owned();
        let journal = path.join("ringlog-journal-0-0");
        let first_block = vec![7; BLOCK_BYTES];
        std::fs::write(&journal, [&first_block[..], &[9; 1 << 20]].concat()).expect("writes");
        let file = journal.clone();
        let (first, second, took) = run_local(async move {
            let began = Clock::Real.now();
            let budget = Duration::from_millis(30);
            let first = sync_cost(&Disk::Ring, &path, &file, budget).await;
            let took = Clock::Real.now().since(began);
            (
                first,
                sync_cost(&Disk::Ring, &path, &file, budget).await,
                took,
            )
        })
        .expect("io_uring works here");
        assert!(first.dsync_us > 0 && first.datasync_us > 0, "{first}");
        assert_eq!(first, second, "the second time it is read from the note");
        assert!(took < 2_000_000, "{took} us");
        let left = std::fs::read(&journal).expect("reads");
        assert_eq!(left.len(), BLOCK_BYTES + (1 << 20), "no longer, no shorter");
        assert_eq!(left[..BLOCK_BYTES], first_block);
        let end = BLOCK_BYTES + SAMPLES_MAX * PROBE_BYTES;
        assert!(left[end..].iter().all(|&byte| byte == 9), "nothing past it");
    }
}
