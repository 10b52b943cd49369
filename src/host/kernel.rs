//! The kernel: its release, io_uring, what it lets a process have, its clock. The words are those of `tuning/knobs/`.

use super::Host;
use super::item::{Item, Knob, Verdict};

const RELEASE: Knob = Knob {
    name: "kernel.release",
    severity: "high",
    title: "kernel release",
    risk: "",
    source: "floor: src/rt/checks.rs. ext4: Jan Kara on Debian bug 1057843 (commit 91562895f803 without 936e114a245b). XFS: fixed in 6.3.5.",
};
const IO_URING: Knob = Knob {
    name: "kernel.io_uring",
    severity: "high",
    title: "io_uring (0 for all, 1 for a group, 2 for nobody)",
    risk: "io_uring had security faults: 0 opens it to every program of the host, 1 to the group in kernel.io_uring_group and to privileged ones. 1 is set where this host has a group ringlog, which takes that place; a broker of another group then does not start.",
    source: "kernel: Documentation/admin-guide/sysctl/kernel.rst, io_uring_disabled; src/rt/checks.rs",
};
const FILES: Knob = Knob {
    name: "kernel.files",
    severity: "high",
    title: "open files that one process may be allowed (nr_open)",
    risk: "None known: it only allows.",
    source: "kernel: Documentation/admin-guide/sysctl/fs.rst; systemd's unit in tuning/systemd",
};
const SOMAXCONN: Knob = Knob {
    name: "net.somaxconn",
    severity: "medium",
    title: "connections that may wait to be accepted (somaxconn)",
    risk: "None known.",
    source: "kernel: Documentation/networking/ip-sysctl.rst; 4096 is the kernel's own default since 5.4",
};
const CLOCK_SOURCE: Knob = Knob {
    name: "cpu.clock_source",
    severity: "high",
    title: "clock source",
    risk: "Only a source that the kernel holds for stable is offered; on old virtual machines that move between hosts look at the clock after.",
    source: "vdso(7); kernel: Documentation/timers/timekeeping.rst",
};
const SYNC: Knob = Knob {
    name: "time.sync",
    severity: "medium",
    title: "time synchronisation",
    risk: "",
    source: "Kafka's protocol: log.message.timestamp.type, retention by time and transaction timeouts use the broker's clock",
};

pub(super) fn look(host: &Host, items: &mut Vec<Item>) {
    items.push(release(host));
    let root = &host.root;
    if let Some(now) = root.line("/proc/sys/kernel/io_uring_disabled") {
        let verdict = io_uring(host, &now);
        items.push(Item::new(&IO_URING, "", now, verdict));
    }
    if let Some(now) = root.line("/proc/sys/fs/nr_open") {
        let verdict = Verdict::at_least(
            &now,
            1 << 20,
            "The unit's LimitNOFILE (1048576) cannot be more than this. Ringlog opens some files for each partition and two descriptors for each connection.",
        );
        items.push(Item::new(&FILES, "", now, verdict));
    }
    if let Some(now) = root.line("/proc/sys/net/core/somaxconn") {
        let verdict = Verdict::at_least(
            &now,
            4096,
            "It bounds socket.listen.backlog.size: when a broker comes back all its clients connect at once, and what does not fit waits a second and more for its next try.",
        );
        items.push(Item::new(&SOMAXCONN, "", now, verdict));
    }
    if let Some(now) = root.line(format!("{CLOCKS}/current_clocksource")) {
        let verdict = clock_source(host, &now);
        items.push(Item::new(&CLOCK_SOURCE, "", now, verdict));
    }
    items.push(sync(host));
}

const CLOCKS: &str = "/sys/devices/system/clocksource/clocksource0";

fn release(host: &Host) -> Item {
    let true_release = true_release(host);
    let current = match &true_release {
        Some(release) => format!("{} ({release})", host.kernel),
        None => host.kernel.clone(),
    };
    let number = version_number(true_release.as_deref().unwrap_or(&host.kernel));
    let is_used = |fs: &str| host.disks.mounts.iter().any(|m| m.file_system == fs);
    let is_red_hats = current
        .match_indices(".el")
        .any(|(at, _)| current[at + 3..].starts_with(|c: char| c.is_ascii_digit()));
    let verdict = if number < 5_012_000 {
        Verdict::advise(
            "5.12 or newer",
            "Ringlog does not start: before 5.12 the rings' own memory counts against the limit on locked memory.",
        )
    } else if is_red_hats {
        Verdict::fine(
            "A kernel of Red Hat's, whose repairs its number does not tell: keep it up to date.",
        )
    } else if (6_001_064..=6_001_065).contains(&number) && is_used("ext4") {
        Verdict::advise(
            "6.1.66 or newer",
            "6.1.64 and 6.1.65 write synchronous direct writes to ext4 to the wrong place.",
        )
    } else if (6_003_000..6_003_005).contains(&number) && is_used("xfs") {
        Verdict::advise(
            "6.3.5 or newer",
            "6.3.0 to 6.3.4 damage the metadata of XFS.",
        )
    } else if number < 5_015_000 {
        Verdict::advise(
            "a maintained series, 6.1 or newer",
            "Works, but nobody mends io_uring in this series any more unless a distribution does.",
        )
        .severe("low")
    } else {
        Verdict::fine(
            "Above the floor, and not in a range known to lose data on the file systems used here.",
        )
    };
    Item::new(&RELEASE, "", current, verdict)
}

/// Distributions keep the first numbers of a series for long; the true one is elsewhere.
fn true_release(host: &Host) -> Option<String> {
    let is_three = |text: &str| {
        let parts: Vec<&str> = text.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.len() == 3 && parts.iter().all(is_number)
    };
    if let Some(signature) = host.root.line("/proc/version_signature")
        && let Some(last) = signature.rsplit(' ').next()
        && is_three(last)
    {
        return Some(last.to_owned());
    }
    let version = host.root.line("/proc/version")?;
    let (_, after) = version.split_once("Debian ")?;
    let (release, _) = after.split_once('-')?;
    is_three(release).then(|| release.to_owned())
}

/// One number to compare: `A.B.C` and more.
fn version_number(release: &str) -> u64 {
    let mut parts = release.split(['.', '-']);
    let mut next = || {
        let part = parts.next().unwrap_or_default();
        let end = part.find(|c: char| !c.is_ascii_digit());
        let digits = &part[..end.unwrap_or(part.len())];
        digits.parse::<u64>().unwrap_or(0)
    };
    next() * 1_000_000 + next() * 1_000 + next()
}

fn io_uring(host: &Host, now: &str) -> Verdict {
    let ours = broker_group(host);
    let allowed = host.root.line("/proc/sys/kernel/io_uring_group");
    match now {
        "0" => Verdict::fine("Allowed."),
        "1" => match allowed.filter(|group| group.parse::<u64>().is_ok()) {
            Some(group) if ours.as_ref() == Some(&group) => Verdict::wants(
                "1",
                format!(
                    "Allowed to the group ringlog ({group}), which the broker's unit runs in, and to privileged processes."
                ),
            ),
            Some(group) => Verdict::note(format!(
                "Only processes of group {group} may: the broker must run in it (Group= or SupplementaryGroups= of its unit)."
            )),
            None => Verdict::advise(
                "1 and io_uring_group",
                "Only privileged processes may, and no group is named: the broker does not start as a user of its own.",
            )
            .by("sysctl -w kernel.io_uring_group=$(getent group ringlog | cut -d: -f3), and the same in /etc/sysctl.d"),
        },
        _ => match ours.filter(|_| allowed.is_some()) {
            Some(group) => Verdict::wants(
                "1",
                format!(
                    "Switched off for all: Ringlog does not start without it. 1 allows it to the group ringlog ({group}), which kernel.io_uring_group is set to."
                ),
            ),
            None => Verdict::wants(
                "0",
                "Switched off for all: Ringlog does not start without it.",
            ),
        },
    }
}

/// The number of the group that the broker's unit names, where this host has it.
fn broker_group(host: &Host) -> Option<String> {
    let groups = host.root.text("/etc/group")?;
    groups.lines().find_map(|line| {
        let number = line.strip_prefix("ringlog:")?.split(':').nth(1)?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| number.to_owned())
    })
}

fn clock_source(host: &Host, now: &str) -> Verdict {
    let slow = [
        "hpet",
        "acpi_pm",
        "jiffies",
        "pit",
        "xen",
        "refined-jiffies",
    ];
    if !slow.contains(&now) {
        return Verdict::fine("Read without a system call.");
    }
    let available = host.root.line(format!("{CLOCKS}/available_clocksource"));
    let offers_tsc = available.is_some_and(|all| all.split_whitespace().any(|one| one == "tsc"));
    match offers_tsc {
        true => Verdict::wants(
            "tsc",
            format!(
                "Each look at the clock is a system call with {now}, and with tsc a few instructions. Ringlog looks several times a request."
            ),
        ),
        false => Verdict::advise(
            "tsc",
            format!(
                "Each look at the clock is a system call with {now}. The kernel does not offer tsc: it found it unstable (see its log), or the processor lacks it."
            ),
        )
        .by("dmesg | grep -i tsc"),
    }
}

fn sync(host: &Host) -> Item {
    // Names are cut to 15 characters by the kernel.
    let keepers = [
        "chronyd",
        "ntpd",
        "systemd-timesyn",
        "ptp4l",
        "phc2sys",
        "ntp-daemon",
    ];
    match keepers.into_iter().find(|name| host.root.runs(name)) {
        Some(name) => {
            let name = match name {
                "systemd-timesyn" => "systemd-timesyncd",
                name => name,
            };
            Item::new(&SYNC, "", name, Verdict::fine("The clock is kept."))
        }
        None => Item::new(
            &SYNC,
            "",
            "none",
            Verdict::advise(
                "chrony",
                "Timestamps of records, retention by time and timeouts of transactions follow this clock; brokers that differ by seconds expire each other's records.",
            )
            .by("install chrony (in a virtual machine with a clock of the host: chrony with refclock PHC)"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version_number("6.1.0-15-amd64"), 6_001_000);
        assert_eq!(version_number("5.4"), 5_004_000);
        assert_eq!(version_number("6.18.44-fc-v657"), 6_018_044);
        assert_eq!(version_number("6.3.0rc1"), 6_003_000);
        assert_eq!(version_number(""), 0);
    }
}
