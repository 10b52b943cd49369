//! Memory: what of it the kernel may take away, and whether the broker's budget fits. The words of `vm.*` are those of
//! `tuning/knobs/`.

use std::path::Path;

use super::item::{Item, Knob, Verdict};
use super::{Host, SERVICE};
use crate::config::BrokerConfig;

const SWAP: Knob = Knob {
    name: "vm.swap",
    severity: "medium",
    title: "swap",
    risk: "",
    source: "swapoff(8)",
};
const SWAPPINESS: Knob = Knob {
    name: "vm.swappiness",
    severity: "medium",
    title: "swappiness",
    risk: "When memory runs short the page cache shrinks first, which slows other programs that read through it.",
    source: "kernel: Documentation/admin-guide/sysctl/vm.rst; 1 rather than 0 as Apache Kafka's operations guide has it: 0 ends programs where 1 would still swap",
};
const THP: Knob = Knob {
    name: "vm.thp",
    severity: "medium",
    title: "transparent huge pages",
    risk: "Programs that rely on always lose huge pages they did not ask for.",
    source: "kernel: Documentation/admin-guide/mm/transhuge.rst",
};
const ZONE_RECLAIM: Knob = Knob {
    name: "vm.zone_reclaim",
    severity: "high",
    title: "zone reclaim",
    risk: "Memory may be taken from a farther node: tens of nanoseconds an access.",
    source: "kernel: Documentation/admin-guide/sysctl/vm.rst, zone_reclaim_mode",
};
const NUMA: Knob = Knob {
    name: "vm.numa_balancing",
    severity: "medium",
    title: "automatic NUMA balancing",
    risk: "Other programs that are not placed by hand lose it.",
    source: "kernel: Documentation/admin-guide/sysctl/kernel.rst, numa_balancing",
};
const MIN_FREE: Knob = Knob {
    name: "vm.min_free",
    severity: "low",
    title: "memory kept free, KiB (min_free_kbytes)",
    risk: "So much memory serves nothing else. Far too much makes the kernel end programs at once; 1 GiB is the most wanted here.",
    source: "kernel: Documentation/admin-guide/sysctl/vm.rst; a 256th of the memory, at most 1 GiB (80 ms of 100 Gbit/s), our choice and not measured",
};
const BUDGET: Knob = Knob {
    name: "memory.budget",
    severity: "high",
    title: "memory of the broker against the host's",
    risk: "",
    source: "memory.bytes, memory.cache.ratio, log.cleaner.dedupe.buffer.size (ringlog config list)",
};
const SHARDS: Knob = Knob {
    name: "cpu.shards",
    severity: "medium",
    title: "shards against CPUs",
    risk: "",
    source: "num.shards (ringlog config list); a shard is pinned to a CPU where there is one for each",
};

/// Beyond the budget lie what partitions, indexes and connections take, and the rest of the system: so much of the whole at least.
const REST_PERCENT: u64 = 15;
/// Where systemd finds units.
const UNIT_DIRECTORIES: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// A shard's cache below this is written and read anew all the time.
const CACHE_BYTES_MIN: u64 = 32 << 20;

pub(super) fn look(host: &Host, items: &mut Vec<Item>) {
    let root = &host.root;
    if let Some(item) = swap(host) {
        items.push(item);
    }
    let mut sysctl = |knob: &Knob, path: &str, judge: &dyn Fn(&str) -> Verdict| {
        if let Some(now) = root.line(path) {
            let verdict = judge(&now);
            items.push(Item::new(knob, "", now, verdict));
        }
    };
    sysctl(&SWAPPINESS, "/proc/sys/vm/swappiness", &|_| {
        Verdict::wants(
            "1",
            "The broker's cache is its own memory: swapped out, a read from memory becomes one from disk and a shard stands still.",
        )
    });
    sysctl(&ZONE_RECLAIM, "/proc/sys/vm/zone_reclaim_mode", &|_| {
        Verdict::wants(
            "0",
            "With it an allocation stops to free pages of its own node while others have plenty.",
        )
    });
    if root.exists("/sys/devices/system/node/node1") {
        sysctl(&NUMA, "/proc/sys/kernel/numa_balancing", &|_| {
            Verdict::wants(
                "0",
                "Shards are pinned and allocate where they run: the kernel's sampling, by taking pages away to see who asks, costs faults and finds nothing to move.",
            )
        });
    }
    sysctl(&MIN_FREE, "/proc/sys/vm/min_free_kbytes", &|now| {
        min_free(host, now)
    });
    if let Some(now) = root.choice("/sys/kernel/mm/transparent_hugepage/enabled") {
        let verdict = thp(&now);
        items.push(Item::new(&THP, "", now, verdict));
    }
}

fn swap(host: &Host) -> Option<Item> {
    let text = host.root.text("/proc/swaps")?;
    let devices = text.lines().filter_map(|l| l.split_whitespace().next());
    let devices: Vec<&str> = devices.filter(|name| *name != "Filename").collect();
    Some(match devices.is_empty() {
        true => Item::new(
            &SWAP,
            "",
            "none",
            Verdict::fine("Nothing can be swapped out."),
        ),
        false => Item::new(
            &SWAP,
            "",
            devices.join(" "),
            Verdict::advise(
                "none",
                "A broker that is swapped out looks dead to its peers. On a dedicated host it is better that its memory budget fits (memory.bytes) and that the kernel ends what does not.",
            )
            .by("swapoff -a, and take the swap lines out of /etc/fstab"),
        ),
    })
}

fn min_free(host: &Host, now: &str) -> Verdict {
    match host.memory_kib < 30 << 20 {
        true => Verdict::fine("The kernel's own choice does for less than 32 GiB of memory."),
        false => Verdict::at_least(
            now,
            (host.memory_kib / 256).min(1 << 20),
            "Packets and disk requests take memory where nothing may wait; when the page cache has eaten all, they fail or a shard frees pages itself in the middle of its work.",
        ),
    }
}

fn thp(now: &str) -> Verdict {
    match now {
        "madvise" => Verdict::fine("Only programs that ask get them."),
        "never" => Verdict::fine("Nobody gets them; Ringlog does not need them."),
        _ => Verdict::wants(
            "madvise",
            "With always the kernel compacts memory to make huge pages for everyone, and whoever faults on a page waits for it.",
        ),
    }
}

/// Whether what the configuration lets the broker take fits, and does for its shards.
pub(super) fn look_at_budget(host: &Host, config: &BrokerConfig, items: &mut Vec<Item>) {
    let (available, shards) = (host.memory.bytes, u64::from(host.shards).max(1));
    let budget = config.memory(available);
    let compaction = match config.log_cleaner_enable {
        true => config.log_cleaner_dedupe_buffer_size.max(0).unsigned_abs(),
        false => 0,
    };
    let taken = budget.total.saturating_add(compaction);
    let current = format!(
        "{} of {}, {} for each of {shards} shards",
        size(taken),
        size(available),
        size(budget.total / shards)
    );
    let most = available / 100 * (100 - REST_PERCENT);
    let cache = budget.cache / shards;
    let limit = limit_words(host);
    let verdict = if taken > most {
        Verdict::advise(
            format!("at most {}", size(most)),
            format!(
                "memory.bytes (and {} for compaction) leave less than {REST_PERCENT} % to partitions, indexes, connections and the rest of the system: the kernel ends the broker when they need it.{limit}",
                size(compaction)
            ),
        )
        .by(format!("memory.bytes={}", most.saturating_sub(compaction)))
    } else if cache < CACHE_BYTES_MIN {
        Verdict::advise(
            format!("{} of cache for each shard", size(CACHE_BYTES_MIN)),
            format!(
                "Each shard's cache is {}: what producers write leaves it before consumers have read it, and reads go to the disks.{limit}",
                size(cache)
            ),
        )
        .severe("medium")
        .by("more memory.bytes, or fewer shards (num.shards)")
    } else {
        Verdict::fine(format!(
            "Fits beside what is not in the budget (partitions, indexes, connections).{limit}"
        ))
    };
    items.push(Item::new(&BUDGET, "", current, verdict));
    items.push(shards_item(host));
}

/// Who limits the memory, and what of that cannot be seen from here; a sentence to follow others.
fn limit_words(host: &Host) -> String {
    let is_installed = UNIT_DIRECTORIES
        .iter()
        .any(|path| host.root.exists(Path::new(path).join(SERVICE)));
    let mut words = match &host.memory.file {
        Some(file) => format!(" The limit is that of {}.", file.display()),
        None => String::new(),
    };
    if is_installed && !host.memory.is_of_service {
        words += &format!(
            " A limit of {SERVICE} itself (MemoryMax=, MemoryHigh=) is not seen while that does not run."
        );
    }
    words
}

fn shards_item(host: &Host) -> Item {
    let (shards, cpus) = (usize::from(host.shards), host.cpus);
    let current = format!("{shards} on {cpus} CPUs");
    let verdict = if shards > cpus {
        Verdict::advise(
            format!("at most {cpus}"),
            "With more shards than CPUs none is pinned, and one waits while another has its CPU.",
        )
        .by(format!("num.shards={cpus}"))
    } else if shards == cpus && cpus > 16 {
        Verdict::note(
            "Each CPU has a shard, so interrupts of disks and NICs take time from shards. With fewer shards tuning/apply moves them to CPUs that have none (nic.irq, disk.irq).",
        )
    } else {
        Verdict::fine("Each shard has a CPU.")
    };
    Item::new(&SHARDS, "", current, verdict)
}

/// Bytes for people, in binary units.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::*;
    use crate::host::Status;

    fn budget(settings: &[&str], memory: u64, shards: u16) -> Item {
        let (mut host, _dir) = made_up(&[]);
        (host.memory.bytes, host.shards, host.cpus) = (memory, shards, 8);
        let settings: Vec<String> = settings.iter().map(|&s| s.to_owned()).collect();
        let (config, _) = BrokerConfig::load(None, &settings).expect("a good configuration");
        let mut items = Vec::new();
        look_at_budget(&host, &config, &mut items);
        items.remove(0)
    }

    #[test]
    fn a_budget_that_does_not_fit_is_told_with_one_that_does() {
        let default = budget(&[], 64 << 30, 8);
        assert_eq!(default.status, Status::Ok, "{default:?}");
        let greedy = budget(&["memory.bytes=68719476736"], 64 << 30, 8);
        assert_eq!(greedy.status, Status::Advice);
        let cured = budget(&[&greedy.command], 64 << 30, 8);
        assert_eq!(cured.status, Status::Ok, "{}: {cured:?}", greedy.command);
        let starved = budget(&[], 1 << 30, 32);
        assert_eq!(starved.status, Status::Advice);
        assert!(starved.why.contains("cache"), "{starved:?}");
    }

    #[test]
    fn the_services_limit_is_the_brokers_and_who_says_it_is_told() {
        let group = "sys/fs/cgroup/system.slice/ringlog.service/memory.max";
        let unit = ("etc/systemd/system/ringlog.service", "[Service]\n");
        let judged = |files: &[(&str, &str)]| {
            let (host, _dir) = made_up(files);
            let mut items = Vec::new();
            look_at_budget(&host, &BrokerConfig::default(), &mut items);
            items.remove(0)
        };
        let running = judged(&[unit, (group, "268435456\n")]);
        assert!(running.current.contains("of 256.0 MiB"), "{running:?}");
        assert!(running.why.contains(group), "{running:?}");
        let stopped = judged(&[unit]);
        assert!(stopped.current.contains("of 976.6 MiB"), "{stopped:?}");
        assert!(stopped.why.contains("is not seen"), "{stopped:?}");
        let bare = judged(&[]);
        assert!(!bare.why.contains("ringlog.service"), "{bare:?}");
    }

    #[test]
    fn more_shards_than_cpus_is_told() {
        let (mut host, _dir) = made_up(&[]);
        (host.shards, host.cpus) = (9, 8);
        assert_eq!(shards_item(&host).status, Status::Advice);
        host.shards = 8;
        assert_eq!(shards_item(&host).status, Status::Ok);
    }

    #[test]
    fn swap_that_is_on_is_named() {
        let (host, _dir) = made_up(&[("proc/swaps", "Filename Type\n/dev/sda9 partition 1\n")]);
        let item = swap(&host).expect("the host says");
        assert_eq!(
            (item.status, item.current.as_str()),
            (Status::Advice, "/dev/sda9")
        );
    }
}
