//! Whether a device keeps its word, and whether it is what it was.

use serde::Serialize;

use super::disk::has_arms;
use crate::host::Class;
use crate::storage::Figures;

/// What is known of a directory's device and of its small durable writes.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct DurabilityFacts {
    #[serde(skip)]
    pub class: Option<Class>,
    pub file_system: String,
    /// The mount says that flushes are not passed on.
    pub has_no_barriers: bool,
    /// The kernel takes the device's cache for volatile, and flushes it.
    pub is_cache_volatile: bool,
    /// The drive says that its cache is volatile, and the kernel was told not to flush it.
    pub is_flush_switched_off: bool,
    /// What a durable write of 4 KiB takes, depth 1, on the quiet device; `None` where not measured.
    pub dsync_us: Option<f64>,
    pub datasync_us: Option<f64>,
}

/// The fastest disks turn 250 times a second: from one write of a block to the next write of what follows it at least most of
/// a turn passes, for the place has gone by. Half a turn leaves room for luck.
const ARM_US_MIN: f64 = 2_000.0;
/// No flash without a capacitor writes a page in less.
const FLASH_US_MIN: f64 = 15.0;
/// A flush that leaves this machine, or its hypervisor, takes longer.
const VIRTUAL_US_MIN: f64 = 20.0;

/// What is not to be believed, each in one sentence; none where nothing speaks against the device.
pub fn durability(facts: &DurabilityFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: String| warnings.push(text);
    if matches!(facts.file_system.as_str(), "tmpfs" | "ramfs") {
        warn(format!(
            "{} is memory: what is acknowledged is gone with the power",
            facts.file_system
        ));
        return warnings;
    }
    if facts.has_no_barriers {
        warn(
            "the file system is mounted without barriers: fdatasync does not reach the disk, and what is acknowledged can \
             be lost with the power"
                .to_owned(),
        );
    }
    if facts.is_flush_switched_off {
        warn(
            "the drive has a volatile write cache and the kernel was told not to flush it (queue/write_cache is write \
             through): what is acknowledged can be lost with the power"
                .to_owned(),
        );
    }
    let costs = [
        ("O_DSYNC", facts.dsync_us),
        ("fdatasync", facts.datasync_us),
    ];
    for (way, us) in costs {
        let Some(us) = us else { continue };
        if let Some(why) = too_cheap(facts, us) {
            warn(format!("a durable write by {way} took {us:.0} us, {why}"));
        }
    }
    warnings
}

/// Why a write of so many microseconds cannot be durable.
fn too_cheap(facts: &DurabilityFacts, us: f64) -> Option<&'static str> {
    if has_arms(facts.class) && us < ARM_US_MIN {
        // Behind md or LVM it is the same: a write is done when each of its disks is.
        return Some(match facts.is_cache_volatile {
            true => {
                "less than half a turn of any disk: its cache is volatile and it does not do the flushes that it answers, \
                 unless a controller with a battery lies between"
            }
            false => {
                "less than half a turn of any disk: it lies in a cache that the kernel does not flush, which must have a \
                 battery or the drive's own cache be off (hdparm -W)"
            }
        });
    }
    let is_flash = matches!(facts.class, Some(Class::Ssd | Class::Nvme));
    if is_flash && facts.is_cache_volatile && us < FLASH_US_MIN {
        return Some(
            "less than flash takes to be written, though its cache is said to be volatile: right only if the drive has \
             power-loss protection",
        );
    }
    if facts.class == Some(Class::Virtual) && us < VIRTUAL_US_MIN {
        return Some(
            "less than a way to the host's disk and back: the hypervisor answers flushes without doing them (a cache mode \
             such as unsafe, or a disk in its memory)",
        );
    }
    None
}

/// A cost this many times the usual one, or a rate this part of it, is worth a word.
const COST_TIMES: f64 = 1.5;
const RATE_PART: f64 = 0.7;
/// Small costs differ by more from one time to the next.
const COST_US_NOISE: f64 = 50.0;

/// A word for a number, and the number.
type Compared = (&'static str, fn(&Figures) -> u64);

/// What is worse than it was, against the median of what was found before.
pub fn slower(past: &[Figures], now: &Figures) -> Vec<String> {
    if past.is_empty() {
        return Vec::new();
    }
    let median = |of: fn(&Figures) -> u64| {
        let mut all: Vec<u64> = past.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2] as f64
    };
    let mut warnings = Vec::new();
    let costs: [Compared; 2] = [
        ("O_DSYNC", |figures| figures.dsync_us),
        ("fdatasync", |figures| figures.datasync_us),
    ];
    for (way, of) in costs {
        let (before, now) = (median(of), of(now) as f64);
        if now > before * COST_TIMES && now > before + COST_US_NOISE {
            warnings.push(format!(
                "a durable write of 16 KiB by {way} takes {now:.0} us, and took {before:.0} us (median of {})",
                past.len()
            ));
        }
    }
    let rates: [Compared; 2] = [
        ("writes", |figures| figures.write_mib),
        ("reads", |figures| figures.read_mib),
    ];
    for (what, of) in rates {
        let (before, now) = (median(of), of(now) as f64);
        if now < before * RATE_PART {
            warnings.push(format!(
                "large {what} come to {now:.0} MiB/s, and came to {before:.0} MiB/s (median of {})",
                past.len()
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(class: Class, us: f64, is_cache_volatile: bool) -> DurabilityFacts {
        DurabilityFacts {
            class: Some(class),
            file_system: "xfs".to_owned(),
            is_cache_volatile,
            dsync_us: Some(us),
            ..DurabilityFacts::default()
        }
    }

    #[test]
    fn costs_that_no_device_of_the_kind_can_have_are_told() {
        for (facts, is_told) in [
            (facts(Class::Hdd, 20.0, true), true),
            (facts(Class::Hdd, 20.0, false), true),
            (facts(Class::Hdd, 4_000.0, true), false),
            (facts(Class::Raid, 20.0, false), false),
            (facts(Class::Nvme, 8.0, true), true),
            (facts(Class::Nvme, 8.0, false), false),
            (facts(Class::Ssd, 40.0, true), false),
            (facts(Class::Virtual, 5.0, true), true),
            (facts(Class::Virtual, 60.0, true), false),
            (facts(Class::Other, 1.0, true), false),
        ] {
            assert_eq!(!durability(&facts).is_empty(), is_told, "{facts:?}");
        }
    }

    #[test]
    fn switched_off_flushes_and_memory_are_told_whatever_the_cost() {
        let slow = facts(Class::Hdd, 9_000.0, true);
        for facts in [
            DurabilityFacts {
                has_no_barriers: true,
                ..slow.clone()
            },
            DurabilityFacts {
                is_flush_switched_off: true,
                ..slow.clone()
            },
            DurabilityFacts {
                file_system: "tmpfs".to_owned(),
                ..slow.clone()
            },
        ] {
            assert_eq!(durability(&facts).len(), 1, "{facts:?}");
        }
        assert!(durability(&slow).is_empty());
    }

    #[test]
    fn slower_than_the_median_of_the_past_is_told_and_noise_is_not() {
        let figures = |us: u64, mib: u64| Figures {
            taken_ms: 0,
            dsync_us: us,
            datasync_us: us,
            write_mib: mib,
            read_mib: mib,
        };
        let past = [figures(100, 1000), figures(900, 100), figures(110, 990)];
        assert!(slower(&[], &figures(9_000, 1)).is_empty());
        assert!(slower(&past, &figures(120, 900)).is_empty());
        assert!(
            slower(&past, &figures(159, 900)).is_empty(),
            "small costs vary"
        );
        assert_eq!(slower(&past, &figures(400, 900)).len(), 2);
        assert_eq!(slower(&past, &figures(100, 600)).len(), 2);
        assert!(slower(&past, &figures(10, 5000)).is_empty());
    }
}
