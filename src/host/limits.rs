//! What this process may have: a broker started from here has the same.

use std::path::PathBuf;

use super::Host;
use super::item::{Item, Knob, Verdict};
use super::memory::size;
use crate::rt;

const LIMITS: Knob = Knob {
    name: "limits.start",
    severity: "high",
    title: "limits of what is started from here (the unit has its own)",
    risk: "",
    source: "src/rt/checks.rs: 512 KiB of locked memory at least; systemd's unit in tuning/systemd: 1048576 files",
};
const RINGS: Knob = Knob {
    name: "io_uring.setup",
    severity: "high",
    title: "a ring can be made from here",
    risk: "",
    source: "src/rt/checks.rs; io_uring_setup(2)",
};

/// As `tuning/knobs/limits.broker` has it.
const FILES_ENOUGH: u64 = 100_000;
const FILES_WANTED: u64 = 1 << 20;
/// The least an executor starts with.
const LOCKED_BYTES_MIN: u64 = 512 << 10;
const LOCKED_BYTES_ENOUGH: u64 = 8 << 20;
/// Registered buffers and rings of one shard, generously.
const LOCKED_BYTES_OF_SHARD: u64 = 256 << 10;
/// Segments get half of the descriptors; a partition in use has its newest segment and that one's indexes open.
const FILES_OF_PARTITION: u64 = 4;

pub(super) fn look(host: &Host, directories: &[PathBuf], items: &mut Vec<Item>) {
    let verdict = match rt::check_io_uring() {
        Ok(()) => Item::new(&RINGS, "", "works", Verdict::fine("A ring was made.")),
        Err(error) => Item::new(
            &RINGS,
            "",
            "fails",
            Verdict::advise("works", format!("The broker does not start: {error}.")),
        ),
    };
    items.push(verdict);
    let text = host.root.text("/proc/self/limits").unwrap_or_default();
    let partitions = directories.iter().map(|d| partitions_in(d)).sum();
    if let Some(hard) = hard_limit(&text, "Max open files") {
        let current = hard.map_or("unlimited".to_owned(), |files| files.to_string());
        items.push(Item::new(
            &LIMITS,
            "nofile",
            current,
            files(hard, partitions),
        ));
    }
    if let Some(hard) = hard_limit(&text, "Max locked memory") {
        let current = hard.map_or("unlimited".to_owned(), size);
        let verdict = locked(hard, u64::from(host.shards));
        items.push(Item::new(&LIMITS, "memlock", current, verdict));
    }
}

/// Of `/proc/PID/limits`, the hard limit, to which the broker raises its own; `Some(None)`: there is none.
fn hard_limit(text: &str, label: &str) -> Option<Option<u64>> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// Partitions that lie in a log directory, by their names.
fn partitions_in(directory: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let directories = entries.flatten();
    let directories = directories.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.map(|entry| entry.file_name());
    let is_partition = |name: &std::ffi::OsString| {
        let number = name.to_str().and_then(|name| name.rsplit_once('-'));
        number.is_some_and(|(topic, n)| !topic.is_empty() && n.parse::<u32>().is_ok())
    };
    names.filter(is_partition).count() as u64
}

fn files(hard: Option<u64>, partitions: u64) -> Verdict {
    let Some(hard) = hard else {
        return Verdict::fine("No limit.");
    };
    let wanted = partitions * FILES_OF_PARTITION * 2;
    let cure = "LimitNOFILE=1048576 in the broker's unit, ulimit -Hn in a shell";
    if hard < wanted {
        let more = wanted.max(FILES_WANTED).to_string();
        Verdict::advise(
            more,
            format!(
                "Half of it is for segments, and {partitions} partitions lie in log.dirs: they would be opened and closed all the time."
            ),
        )
        .by(cure)
    } else if hard < FILES_ENOUGH {
        Verdict::advise(
            FILES_WANTED.to_string(),
            "Each connection takes two descriptors and each partition in use some: at the limit new connections are refused.",
        )
        .severe("medium")
        .by(cure)
    } else {
        Verdict::fine("Enough for some ten thousand partitions and connections.")
    }
}

fn locked(hard: Option<u64>, shards: u64) -> Verdict {
    let Some(hard) = hard else {
        return Verdict::fine("No limit.");
    };
    let enough = LOCKED_BYTES_ENOUGH.max(shards * LOCKED_BYTES_OF_SHARD);
    let cure = "LimitMEMLOCK=64M in the broker's unit, ulimit -l in a shell";
    if hard < LOCKED_BYTES_MIN {
        Verdict::advise(
            "64 MiB",
            "The broker does not start with less than 512 KiB.",
        )
        .by(cure)
    } else if hard < enough {
        Verdict::advise(
            "64 MiB",
            "Each shard registers its ring's buffers: 512 KiB is the least a broker starts with, and with little more the buffers of some shards are not registered.",
        )
        .severe("medium")
        .by(cure)
    } else {
        Verdict::fine("Enough for the rings of many shards.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    const TEXT: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max open files            1024                 20000                files     
Max locked memory         8388608              unlimited            bytes     
";

    #[test]
    fn the_hard_limit_counts() {
        assert_eq!(hard_limit(TEXT, "Max open files"), Some(Some(20_000)));
        assert_eq!(hard_limit(TEXT, "Max locked memory"), Some(None));
        assert_eq!(hard_limit("", "Max open files"), None);
    }

    #[test]
    fn what_is_needed_grows_with_partitions_and_shards() {
        let of = |verdict| Item::new(&LIMITS, "", "", verdict);
        assert_eq!(of(files(None, 1 << 30)).status, Status::Ok);
        let low = of(files(Some(20_000), 10));
        assert_eq!((low.status, low.severity), (Status::Advice, "medium"));
        let many = of(files(Some(150_000), 20_000));
        assert_eq!((many.status, many.severity), (Status::Advice, "high"));
        assert_eq!(of(files(Some(1 << 20), 20_000)).status, Status::Ok);
        assert_eq!(of(locked(Some(64 << 10), 1)).severity, "high");
        assert_eq!(of(locked(Some(8 << 20), 8)).status, Status::Ok);
        assert_eq!(of(locked(Some(8 << 20), 64)).status, Status::Advice);
    }
}
