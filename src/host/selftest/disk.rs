//! The disk beneath one directory: how fast it writes and reads, what a durable write costs, and how much may go on beside.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::durability::{DurabilityFacts, durability, slower};
use super::pattern::{Area, Bound, Direction, Figure, Pattern, Run, Sync, beside};
use crate::host::{Class, Host, files};
use crate::rt::{Disk, Unnamed, blocking};
use crate::storage::{
    Figures, MEASURED_FILE, Machine, Measured, PAST_MAX, PLACES_BOUNDS, spare_bytes,
};

/// Bounds of one directory's test, and what of it.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    pub time: Duration,
    /// Written and read together, the area itself included; at least [`DISK_BYTES_MIN`].
    pub bytes: u64,
    /// Only these measurements, as [`is_named`] has it; empty, all. What is not all is not kept.
    pub only: Vec<String>,
}

/// What came of one directory.
#[derive(Debug, Serialize)]
pub struct DiskReport {
    pub directory: PathBuf,
    /// File system, what is mounted, and where.
    pub mount: String,
    pub class: Option<String>,
    pub area_bytes: u64,
    pub figures: Vec<Figure>,
    /// What the broker is to take from it; `None` where not all was measured.
    pub result: Option<DiskResult>,
    pub warnings: Vec<String>,
    pub kept: Kept,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct DiskResult {
    pub dsync_us: u64,
    pub fdatasync_us: u64,
    /// I/Os of the background that may be under way beside commits; `None`: could not be told.
    pub background_places: Option<u32>,
    pub write_mib_per_second: u64,
    pub read_mib_per_second: u64,
}

/// What became of the result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    In(PathBuf),
    /// Why it is not.
    Not(String),
}

const MIB: u64 = 1 << 20;
/// Smallest and largest area measured on.
const AREA_BYTES: (u64, u64) = (32 * MIB, 256 * MIB);
/// The area takes at most this part of all bytes, and of what is free beyond the reserve.
const AREA_PART: u64 = 4;
/// Fewest bytes that a test is done with.
pub const DISK_BYTES_MIN: u64 = AREA_BYTES.0 * AREA_PART;
/// Each measurement is done so many times in turn, a part each time: what else the machine does for a moment then falls on all.
const PASSES: u32 = 3;
/// What the quiet device takes is this quantile: others only make a write slower, and never faster.
const QUIET: f64 = 0.1;
/// Filling the area takes this part of the time, and then it is large enough.
const FILL_PART: u32 = 4;
/// The part of the area that stands for a journal.
const JOURNAL_BYTES: u64 = 16 * MIB;
/// A journal's frame of a few hundred small records, and a part of a segment.
const FRAME_BYTES: usize = 16 << 10;
const SEGMENT_BYTES: usize = 256 << 10;
/// A chunk of a reader of history.
const CHUNK_BYTES: usize = 128 << 10;
const DURABLE_DEPTHS: [usize; 5] = [1, 4, 16, 64, 256];
const MIX_DEPTHS: [usize; 5] = [2, 4, 8, 16, 32];
/// As the broker has it: commits that take so many times what they cost alone suffer, but not below what anyone notices.
const SUFFERING: f64 = 4.0;
const UNNOTICED_US: f64 = 1_000.0;
/// More places must bring the background at least this much of its best rate to be worth their noise.
const ENOUGH: f64 = 0.9;

const DURABLE_KINDS: [&str; 2] = ["durable-dsync", "durable-fdatasync"];

/// One measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Measurement {
    Single(&'static str, Pattern),
    /// A journal's writes, with so many reads of history and writes of segments under way.
    Mix(usize),
}

/// All of them, in order.
fn measurements() -> Vec<Measurement> {
    let single = |kind, direction, block_bytes, depth, sync| {
        let pattern = Pattern {
            direction,
            block_bytes,
            depth,
            sync,
        };
        Measurement::Single(kind, pattern)
    };
    let mut all = Vec::new();
    for (kind, direction) in [("write", Direction::Write), ("read", Direction::Read)] {
        for block in [64 << 10, 1 << 20] {
            for depth in [1, 8] {
                all.push(single(kind, direction, block, depth, Sync::None));
            }
        }
    }
    for (kind, sync) in [
        (DURABLE_KINDS[0], Sync::Dsync),
        (DURABLE_KINDS[1], Sync::Fdatasync),
    ] {
        for depth in DURABLE_DEPTHS {
            all.push(single(kind, Direction::Write, 4096, depth, sync));
        }
    }
    for (kind, sync) in [
        ("journal-dsync", Sync::Dsync),
        ("journal-fdatasync", Sync::Fdatasync),
    ] {
        all.push(single(kind, Direction::Write, FRAME_BYTES, 1, sync));
    }
    let segment = single(
        "segment",
        Direction::Write,
        SEGMENT_BYTES,
        4,
        Sync::Fdatasync,
    );
    all.push(segment);
    all.extend(MIX_DEPTHS.map(Measurement::Mix));
    all
}

impl Measurement {
    /// What the device does is measured without the way through a ring where that would be a part of it: small durable writes,
    /// and one thing at a time. What a journal and a segment cost is measured with it, as the broker writes them.
    fn is_by_threads(self) -> bool {
        match self {
            Measurement::Single("write" | "read", pattern) => pattern.depth == 1,
            Measurement::Single(kind, _) => DURABLE_KINDS.contains(&kind),
            Measurement::Mix(_) => false,
        }
    }

    /// As in `write:64k:8`.
    fn name(self) -> String {
        match self {
            Measurement::Single(
                kind,
                Pattern {
                    block_bytes, depth, ..
                },
            ) => {
                let block = match block_bytes {
                    block if block % (1 << 20) == 0 => format!("{}m", block >> 20),
                    block => format!("{}k", block >> 10),
                };
                format!("{kind}:{block}:{depth}")
            }
            Measurement::Mix(depth) => format!("mix:{depth}"),
        }
    }
}

/// The names of all measurements, in order.
pub fn names() -> Vec<String> {
    measurements().into_iter().map(Measurement::name).collect()
}

/// Whether a measurement is this one, or of this kind: `write:1m:8`, `write:1m` or `write`.
pub fn is_named(name: &str, word: &str) -> bool {
    let rest = name.strip_prefix(word);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Measures the disk beneath `directory`, which must exist.
///
/// - `is_busy`: a broker uses the directory. What is measured beside it is not kept.
/// - `Err`: in words. Nothing is left in the directory but the result.
pub async fn disk(
    host: &Host,
    directory: &Path,
    options: &DiskOptions,
    is_busy: bool,
) -> Result<DiskReport, String> {
    let at = |error: std::io::Error| format!("{}: {error}", directory.display());
    let machine = Machine::of(directory).map_err(at)?;
    let area_bytes = area_bytes(directory, options).await?;
    let owned = directory.to_owned();
    let file = blocking(move || Unnamed::create(&owned)).await;
    let file = file.map_err(|error| error.to_string())?.map_err(at)?;
    let measured = measure(&file, area_bytes, options).await;
    file.discard().await;
    let (figures, places, area_bytes) = measured.map_err(at)?;
    let before = Measured::kept(&Disk::Ring, directory).await;
    let mut report = DiskReport {
        directory: directory.to_owned(),
        mount: machine.mount.clone(),
        class: None,
        area_bytes,
        result: options.only.is_empty().then(|| result(&figures, places)),
        figures,
        warnings: Vec::new(),
        kept: Kept::Not("only a part was measured".to_owned()),
    };
    let facts = facts(host, directory, &report.figures);
    report.class = facts.class.map(|class| class.to_string());
    report.warnings.extend(durability(&facts));
    let Some(found) = report.result else {
        return Ok(report);
    };
    let past = match before {
        // Another disk's past tells nothing of this one.
        Ok(Some(before)) if before.machine.mount == machine.mount => before.with_now(),
        Ok(_) => Vec::new(),
        Err(why) => {
            report
                .warnings
                .push(format!("the former result {why}, and is not compared with"));
            Vec::new()
        }
    };
    let now = found.figures();
    report.warnings.extend(slower(&past, &now));
    if is_busy {
        let why = "a broker uses the directory, and was measured along with the disk";
        report.kept = Kept::Not(why.to_owned());
        return Ok(report);
    }
    let kept = Measured {
        machine,
        figures: now,
        places: found.background_places,
        past,
    };
    kept.keep(&Disk::Ring, directory).await.map_err(at)?;
    report.kept = Kept::In(directory.join(MEASURED_FILE));
    Ok(report)
}

impl Measured {
    /// Its past, and itself.
    fn with_now(self) -> Vec<Figures> {
        let mut all = self.past;
        all.push(self.figures);
        let surplus = all.len().saturating_sub(PAST_MAX);
        all.split_off(surplus)
    }
}

impl DiskResult {
    fn figures(&self) -> Figures {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Figures {
            taken_ms: now.map_or(0, |now| now.as_millis() as u64),
            dsync_us: self.dsync_us,
            datasync_us: self.fdatasync_us,
            write_mib: self.write_mib_per_second,
            read_mib: self.read_mib_per_second,
        }
    }
}

/// How large the area may be.
async fn area_bytes(directory: &Path, options: &DiskOptions) -> Result<u64, String> {
    let space = Disk::Ring.space(directory).await;
    let space = space.map_err(|error| format!("{}: {error}", directory.display()))?;
    let free = spare_bytes(space);
    let bytes = (options.bytes / AREA_PART).min(free / AREA_PART);
    let bytes = bytes.min(AREA_BYTES.1) / MIB * MIB;
    if bytes < AREA_BYTES.0 {
        return Err(format!(
            "{}: too little is free: {} MiB beyond what the broker keeps for itself, and {} MiB are needed",
            directory.display(),
            free / MIB,
            DISK_BYTES_MIN / MIB
        ));
    }
    Ok(bytes)
}

/// One measurement under way: it has a part of its time in each pass.
struct Under<'a> {
    measurement: Measurement,
    run: Run<'a>,
    /// What goes on beside it.
    beside: Vec<Run<'a>>,
    took: Duration,
    beside_took: Duration,
}

/// The parts of the file that measurements go round in.
struct Areas {
    whole: Area,
    journal: Area,
    segments: Area,
}

impl<'a> Under<'a> {
    /// - `sync`: how a journal is written beside others.
    fn begin(measurement: Measurement, areas: &'a Areas, sync: Sync) -> Under<'a> {
        let pattern = |direction, block_bytes, depth, sync| Pattern {
            direction,
            block_bytes,
            depth,
            sync,
        };
        let (run, beside) = match measurement {
            Measurement::Single(_, pattern) => {
                let area = match pattern.block_bytes <= FRAME_BYTES {
                    true => &areas.journal,
                    false => &areas.whole,
                };
                (Run::new(area, pattern), Vec::new())
            }
            Measurement::Mix(depth) => {
                let commits = pattern(Direction::Write, FRAME_BYTES, 1, sync);
                let reads = pattern(Direction::Read, CHUNK_BYTES, depth / 2, Sync::None);
                let writes = depth - depth / 2;
                let writes = pattern(Direction::Write, SEGMENT_BYTES, writes, Sync::None);
                let beside = [reads, writes].map(|pattern| Run::new(&areas.segments, pattern));
                (Run::new(&areas.journal, commits), beside.into())
            }
        };
        Under {
            measurement,
            run,
            beside,
            took: Duration::ZERO,
            beside_took: Duration::ZERO,
        }
    }

    /// Returns the bytes that it moved.
    async fn go_on(&mut self, bound: Bound) -> std::io::Result<u64> {
        let before = self.bytes();
        if self.measurement.is_by_threads() {
            self.took += self.run.go_by_threads(bound).await?;
        } else if self.beside.is_empty() {
            self.took += self.run.go(bound, &Cell::new(false)).await?;
        } else {
            let others: Vec<&Run<'_>> = self.beside.iter().collect();
            // A third of the bytes for each of the three.
            let bytes = bound.bytes / 3;
            let (took, all) = beside(&self.run, &others, Bound { bytes, ..bound }).await?;
            self.took += took;
            self.beside_took += all;
        }
        Ok(self.bytes() - before)
    }

    fn bytes(&self) -> u64 {
        self.run.bytes() + self.beside_bytes()
    }

    fn beside_bytes(&self) -> u64 {
        self.beside.iter().map(Run::bytes).sum()
    }

    fn figure(&self) -> Figure {
        let is_alone = self.beside.is_empty();
        let rate = super::pattern::rate(self.beside_bytes(), self.beside_took);
        Figure {
            beside_mib_per_second: (!is_alone).then_some(rate),
            ..self.run.figure(self.measurement.name(), self.took)
        }
    }
}

/// Returns the figures, the places for the background where that could be told, and the area's size.
async fn measure(
    file: &Unnamed,
    area_bytes: u64,
    options: &DiskOptions,
) -> std::io::Result<(Vec<Figure>, Option<u32>, u64)> {
    let began = Instant::now();
    let is_wanted = |measurement: &Measurement| {
        let name = measurement.name();
        let mut only = options.only.iter();
        options.only.is_empty() || only.any(|only| is_named(&name, only))
    };
    let mut wanted: Vec<Measurement> = measurements();
    wanted.retain(is_wanted);
    let mut whole = Area::open(file, 0, area_bytes).await?;
    let area_bytes = whole.fill(AREA_BYTES.0, options.time / FILL_PART).await?;
    let areas = Areas {
        whole,
        journal: Area::open(file, 0, JOURNAL_BYTES).await?,
        segments: Area::open(file, JOURNAL_BYTES, area_bytes - JOURNAL_BYTES).await?,
    };
    let mut bytes_left = options.bytes.saturating_sub(area_bytes);
    let mut under: Vec<Under<'_>> = Vec::new();
    for pass in 0..PASSES {
        for (number, &measurement) in wanted.iter().enumerate() {
            let share = (PASSES - pass) * wanted.len() as u32 - number as u32;
            let bound = Bound {
                time: options.time.saturating_sub(began.elapsed()) / share,
                bytes: bytes_left / u64::from(share),
            };
            if pass == 0 {
                let sync = cheaper(&under);
                under.push(Under::begin(measurement, &areas, sync));
            }
            let used = under[number].go_on(bound).await?;
            bytes_left = bytes_left.saturating_sub(used);
        }
    }
    let figures = under.iter().map(Under::figure).collect();
    let places = places_of(&under);
    drop(under);
    let Areas {
        whole,
        journal,
        segments,
    } = areas;
    whole.close().await?;
    journal.close().await?;
    segments.close().await?;
    Ok((figures, places, area_bytes))
}

const JOURNAL: [&str; 2] = ["journal-dsync:16k:1", "journal-fdatasync:16k:1"];

/// How the broker would write its journal, by what is known so far.
fn cheaper(under: &[Under<'_>]) -> Sync {
    let cost = |name: &str| {
        let found = under.iter().find(|under| under.measurement.name() == name);
        found.map_or(f64::MAX, |under| under.run.quantile_us(QUIET))
    };
    match cost(JOURNAL[1]) < cost(JOURNAL[0]) * 0.9 {
        true => Sync::Fdatasync,
        false => Sync::Dsync,
    }
}

/// A journal's latency and the background's rate while so many I/Os were under way beside.
#[derive(Clone, Copy, Debug)]
struct Mix {
    depth: usize,
    journal_p95_us: f64,
    background_rate: f64,
}

fn places_of(under: &[Under<'_>]) -> Option<u32> {
    let name = JOURNAL[usize::from(cheaper(under) == Sync::Fdatasync)];
    let alone = under
        .iter()
        .find(|under| under.measurement.name() == name)?;
    let mixes = under.iter().filter_map(|under| match under.measurement {
        Measurement::Mix(depth) => Some(Mix {
            depth,
            journal_p95_us: under.run.quantile_us(0.95),
            background_rate: under.figure().beside_mib_per_second?,
        }),
        Measurement::Single(..) => None,
    });
    let mixes: Vec<Mix> = mixes.collect();
    let (quiet, p95) = (alone.run.quantile_us(QUIET), alone.run.quantile_us(0.95));
    places(quiet, p95, &mixes)
}

/// The rule, all of it: as few as bring the background nearly its best rate, of those that commits do not suffer by.
///
/// - `quiet_us`, `p95_us`: what a commit takes when nothing goes on beside it.
/// - `None`: commits suffer by any of them, or by something else on the machine: the broker's own rules hold.
fn places(quiet_us: f64, p95_us: f64, mixes: &[Mix]) -> Option<u32> {
    let most_us = (quiet_us * SUFFERING).max(UNNOTICED_US).max(2.0 * p95_us);
    let borne = || mixes.iter().filter(|mix| mix.journal_p95_us <= most_us);
    let best = borne().map(|mix| mix.background_rate).fold(0.0, f64::max);
    let fewest = borne().find(|mix| mix.background_rate >= best * ENOUGH)?;
    Some((fewest.depth as u32).clamp(PLACES_BOUNDS.0, PLACES_BOUNDS.1))
}

fn result(figures: &[Figure], background_places: Option<u32>) -> DiskResult {
    let of = |name: &str| figures.iter().find(|figure| figure.name == name);
    let cost = |name| {
        of(name)
            .map_or(1.0, |figure| figure.latency.p10_us)
            .max(1.0)
    };
    let best = |prefix: &str| {
        let rates = figures
            .iter()
            .filter(|figure| figure.name.starts_with(prefix));
        rates
            .map(|figure| figure.mib_per_second)
            .fold(0.0, f64::max)
    };
    DiskResult {
        dsync_us: cost(JOURNAL[0]) as u64,
        fdatasync_us: cost(JOURNAL[1]) as u64,
        background_places,
        write_mib_per_second: best("write:") as u64,
        read_mib_per_second: best("read:") as u64,
    }
}

/// What is known of whether the device keeps its word.
fn facts(host: &Host, directory: &Path, figures: &[Figure]) -> DurabilityFacts {
    let mounts = host.disks.directories.iter();
    let mount = mounts
        .filter(|(known, _)| known == directory)
        .find_map(|(_, mount)| Some(&host.disks.mounts[(*mount)?]));
    let cost = |name: &str| {
        let figure = figures.iter().find(|figure| figure.name == name);
        figure.map(|figure| figure.latency.p10_us)
    };
    let caches = mount.iter().flat_map(|mount| &mount.disks);
    let caches = caches.filter_map(|disk| files::write_cache_of(host, &disk.name));
    let caches: Vec<(String, Option<String>)> = caches.collect();
    let says_back = |word: &str| word.starts_with("write back");
    DurabilityFacts {
        class: mount.and_then(|mount| mount.media),
        file_system: mount.map_or(String::new(), |mount| mount.file_system.clone()),
        has_no_barriers: mount.is_some_and(files::has_no_barriers),
        is_cache_volatile: caches.iter().any(|(kernel, _)| says_back(kernel)),
        is_flush_switched_off: caches.iter().any(|(kernel, drive)| {
            kernel == "write through" && drive.as_deref().is_some_and(says_back)
        }),
        dsync_us: cost("durable-dsync:4k:1"),
        datasync_us: cost("durable-fdatasync:4k:1"),
    }
}

/// A disk with an arm, or an array of such.
pub(super) fn has_arms(class: Option<Class>) -> bool {
    class == Some(Class::Hdd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(depth: usize, journal_p95_us: f64, background_rate: f64) -> Mix {
        Mix {
            depth,
            journal_p95_us,
            background_rate,
        }
    }

    #[test]
    fn places_are_as_few_as_bring_nearly_all_and_none_that_commits_suffer_by() {
        let nvme = [
            mix(2, 60.0, 900.0),
            mix(4, 70.0, 1700.0),
            mix(8, 90.0, 2500.0),
            mix(16, 150.0, 2600.0),
        ];
        assert_eq!(places(30.0, 40.0, &nvme), Some(8));
        let hdd = [
            mix(2, 20_000.0, 80.0),
            mix(4, 45_000.0, 110.0),
            mix(8, 90_000.0, 120.0),
        ];
        assert_eq!(places(8_000.0, 12_000.0, &hdd), Some(2));
        let array = [
            mix(2, 9_000.0, 80.0),
            mix(4, 10_000.0, 160.0),
            mix(8, 12_000.0, 320.0),
            mix(32, 99_000.0, 400.0),
        ];
        assert_eq!(places(8_000.0, 9_000.0, &array), Some(8));
        let drowned = [mix(2, 80_000.0, 80.0), mix(4, 90_000.0, 110.0)];
        assert_eq!(places(1_000.0, 2_000.0, &drowned), None, "nobody can tell");
        assert_eq!(places(1_000.0, 2_000.0, &[]), None);
    }

    #[test]
    fn every_measurement_has_a_name_of_its_own() {
        let names = names();
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for name in [
            "write:1m:8",
            "durable-dsync:4k:256",
            JOURNAL[0],
            JOURNAL[1],
            "mix:32",
            "segment:256k:4",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn the_past_is_kept_short_and_in_order() {
        let figures = |taken_ms| Figures {
            taken_ms,
            dsync_us: 1,
            datasync_us: 1,
            write_mib: 1,
            read_mib: 1,
        };
        let before = Measured {
            machine: Machine {
                boot: String::new(),
                device: 0,
                mount: String::new(),
                identity: String::new(),
            },
            figures: figures(99),
            places: None,
            past: (0..PAST_MAX as u64).map(figures).collect(),
        };
        let past = before.with_now();
        assert_eq!(past.len(), PAST_MAX);
        assert_eq!((past[0].taken_ms, past[PAST_MAX - 1].taken_ms), (1, 99));
    }
}
