//! File systems and disks beneath the directories. The words are those of `tuning/knobs/`.

use super::Host;
use super::disks::{Class, Mount};
use super::item::{Item, Knob, Verdict};

const PATH: Knob = Knob {
    name: "disk.path",
    severity: "high",
    title: "devices beneath each log directory",
    risk: "",
    source: "proc(5), mountinfo; src/storage: a record is acknowledged when the device says that it is on stable storage",
};
const WRITE_CACHE: Knob = Knob {
    name: "disk.write_cache",
    severity: "info",
    title: "volatile write cache of each disk, as the kernel treats it",
    risk: "Each commit waits for the drive's flush again, as it should.",
    source: "kernel: Documentation/block/writeback_cache_control.rst, Documentation/ABI/stable/sysfs-block (write_cache)",
};
const TYPE: Knob = Knob {
    name: "fs.type",
    severity: "medium",
    title: "file system",
    risk: "",
    source: "src/storage: direct writes of preallocated extents; kernel: IOCB_NOWAIT support of xfs and ext4",
};
const BARRIERS: Knob = Knob {
    name: "fs.barriers",
    severity: "high",
    title: "flushes of the file system are on",
    risk: "",
    source: "ext4(5), barrier; src/storage: a failed or missing flush is a lost acknowledgement",
};
const ATIME: Knob = Knob {
    name: "fs.atime",
    severity: "low",
    title: "access times",
    risk: "",
    source: "mount(8), noatime, relatime",
};
const LAZYTIME: Knob = Knob {
    name: "fs.lazytime",
    severity: "medium",
    title: "modification times that do not delay direct writes",
    risk: "",
    source: "kernel commits 66fa3cedf16a (6.0: writes that would change a time are not done without blocking) and the series re-enable IOCB_NOWAIT writes to files (7.0: done with lazytime on XFS)",
};

pub(super) fn look(host: &Host, items: &mut Vec<Item>) {
    for (directory, mount) in &host.disks.directories {
        let mount = mount.map(|number| &host.disks.mounts[number]);
        items.push(path(&directory.to_string_lossy(), mount));
    }
    for mount in &host.disks.mounts {
        let fs = mount.file_system.as_str();
        let at = |knob, current: &str, verdict| Item::new(knob, &mount.point, current, verdict);
        items.push(at(&TYPE, fs, kind(fs)));
        let is_known = matches!(fs, "xfs" | "ext4");
        if is_known {
            items.push(barriers(mount));
        }
        if !mount.top.is_empty() {
            items.push(atime(mount));
            if is_known {
                items.push(lazytime(host, mount));
            }
        }
    }
    for disk in host.disks.disks() {
        let item = write_cache(host, &disk.name);
        items.extend(item);
    }
}

/// What lies beneath a directory, and whether anything here can see it.
fn path(directory: &str, mount: Option<&Mount>) -> Item {
    let Some(mount) = mount else {
        let verdict = Verdict::advise(
            "a mounted file system",
            "No mount of this host holds the directory: nothing about its disks can be told.",
        );
        return Item::new(&PATH, directory, "no mount", verdict);
    };
    let Mount { point, top, .. } = mount;
    let fs = &mount.file_system;
    let mut current = format!("{fs} at {point}");
    if !top.is_empty() {
        current.push_str(&format!(" on {top}"));
    }
    let each = mount
        .disks
        .iter()
        .map(|d| format!("{}({})", d.name, d.class));
    let each: Vec<String> = each.collect();
    let media = mount.media.map(|class| class.to_string());
    let itself = format!("{top}({})", media.unwrap_or_default());
    if !each.is_empty() && each != [itself] {
        current.push_str(&format!(" of {}", each.join(" ")));
    }
    let verdict = match fs.as_str() {
        "overlay" => Verdict::advise(
            "a volume of the host",
            "An overlay file system (a container's own layer) hides its devices and copies whole files on their first write.",
        )
        .by(format!("mount a host directory or a block volume at {directory}")),
        "tmpfs" | "ramfs" => Verdict::advise(
            "a disk",
            "Memory is not stable storage: everything acknowledged is gone with the power.",
        ),
        fs if fs.starts_with("nfs")
            || fs.starts_with("fuse")
            || matches!(fs, "cifs" | "9p" | "virtiofs") =>
        {
            Verdict::advise(
                "a local disk",
                format!("On {fs} the other end decides when data is stable and how long a write takes; nothing beneath it can be seen or tuned from here."),
            )
            .severe("medium")
        }
        fs if top.is_empty() => Verdict::advise(
            "a file system on a block device",
            format!("The kernel names no block device for this mount ({fs}): nothing beneath it can be told."),
        )
        .severe("medium"),
        _ if mount.media == Some(Class::Mixed) => Verdict::advise(
            "disks of one kind",
            "An array is as slow as its slowest member for each flush.",
        )
        .severe("medium"),
        _ => Verdict::note("What the items of disks, arrays and file systems below are about."),
    };
    Item::new(&PATH, directory, current, verdict)
}

fn kind(fs: &str) -> Verdict {
    match fs {
        "xfs" => Verdict::fine(
            "Writes to different parts of a file go on side by side, and preallocation is cheap.",
        ),
        "ext4" => Verdict::fine(
            "Works well; XFS keeps its pace better with many large files being written at once.",
        ),
        "btrfs" | "bcachefs" | "zfs" => Verdict::advise(
            "xfs",
            "A file system that copies on write moves every overwritten block of the journal and the segments' tails: direct writes fragment, and preallocation promises nothing.",
        )
        .by("mkfs.xfs"),
        _ => Verdict::advise("xfs or ext4", "Ringlog is tried on XFS and ext4 only.").by("mkfs.xfs"),
    }
}

fn barriers(mount: &Mount) -> Item {
    match has_no_barriers(mount) {
        true => Item::new(
            &BARRIERS,
            &mount.point,
            "off",
            Verdict::advise(
                "on",
                "Without barriers fdatasync does not reach the disk: what is acknowledged can be lost with the power.",
            )
            .by(format!("remove nobarrier from {} in /etc/fstab and mount it anew", mount.point)),
        ),
        false => Item::new(
            &BARRIERS,
            &mount.point,
            "on",
            Verdict::fine("fdatasync reaches the disk."),
        ),
    }
}

/// Whether the file system does not pass flushes on.
pub(super) fn has_no_barriers(mount: &Mount) -> bool {
    mount.has_option("nobarrier") || mount.has_option("barrier=0")
}

fn atime(mount: &Mount) -> Item {
    let point = &mount.point;
    let current = ["noatime", "relatime"]
        .into_iter()
        .find(|option| mount.has_option(option))
        .unwrap_or("strictatime");
    let verdict = match current {
        "noatime" => Verdict::fine("Reading writes nothing."),
        _ => Verdict::advise(
            "noatime",
            "Reading a segment marks its inode to be written: once a day with relatime, each time with strictatime. Nobody asks when a segment was read.",
        )
        .by(format!("add noatime to {point} in /etc/fstab and mount it anew")),
    };
    Item::new(&ATIME, point, current, verdict)
}

fn lazytime(host: &Host, mount: &Mount) -> Item {
    let point = &mount.point;
    let is_lazy = mount.has_option("lazytime");
    let major = host.kernel.split('.').next().unwrap_or_default();
    let major: u32 = major.parse().unwrap_or(0);
    let verdict = if is_lazy {
        Verdict::fine("Times are kept in memory and written later.")
    } else if mount.file_system == "xfs" && major >= 7 {
        Verdict::advise(
            "lazytime",
            "On this kernel a direct write to XFS with lazytime is submitted at once; without it each write that changes the file's time, that is nearly each, is handed to a kernel thread first.",
        )
        .by(format!("add lazytime to {point} in /etc/fstab and mount it anew"))
    } else if major >= 6 {
        Verdict::note(
            "On this kernel (6.0 and newer) nearly each direct write is handed to a kernel thread because it changes the file's time. lazytime ends that on XFS from kernel 7.0 on, not here.",
        )
    } else {
        Verdict::fine("Before kernel 6.0 times did not delay direct writes.")
    };
    let current = match is_lazy {
        true => "lazytime",
        false => "not lazytime",
    };
    Item::new(&LAZYTIME, point, current, verdict)
}

/// How the kernel treats a disk's write cache, and what the drive itself says of it, where it does.
pub(super) fn write_cache_of(host: &Host, disk: &str) -> Option<(String, Option<String>)> {
    let block = format!("/sys/block/{disk}");
    let now = host.root.line(format!("{block}/queue/write_cache"))?;
    let scsi = format!("{block}/device/scsi_disk");
    let drives = host.root.names(&scsi).into_iter();
    let mut says = drives.filter_map(|name| host.root.line(format!("{scsi}/{name}/cache_type")));
    Some((now, says.next_back()))
}

fn write_cache(host: &Host, disk: &str) -> Option<Item> {
    let (now, drive) = write_cache_of(host, disk)?;
    let is_told_off = now == "write through" && drive.is_some_and(|d| d.starts_with("write back"));
    let verdict = if is_told_off {
        Verdict::wants(
            "write back",
            "The drive says that it has a volatile cache, and the kernel was told not to flush it: what is acknowledged would be lost with the power.",
        )
        .severe("high")
    } else if now == "write back" {
        let fua = host.root.line(format!("/sys/block/{disk}/queue/fua"));
        let fua = match fua.as_deref() {
            Some("1") => "writes of the journal carry the flush themselves (FUA)",
            _ => "each commit is a write and a flush (no FUA)",
        };
        Verdict::note(format!(
            "The drive has a volatile cache and the kernel flushes it at every commit: safe as long as the drive obeys; {fua}. A drive with power-loss protection answers flushes at once."
        ))
    } else {
        Verdict::note(
            "No volatile cache, or one that the device protects (battery, capacitor): commits need no flush. If the device is a controller without a working battery, this is not true: check it there.",
        )
    };
    Some(Item::new(&WRITE_CACHE, disk, now, verdict))
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up;
    use super::*;
    use crate::host::Status;

    #[test]
    fn flushes_that_do_not_reach_the_disk_are_told() {
        let block = "sys/block/sda/queue/write_cache";
        let drive = "sys/block/sda/device/scsi_disk/0:0:0:0/cache_type";
        let (host, _dir) = made_up(&[(block, "write through\n"), (drive, "write back\n")]);
        let item = write_cache(&host, "sda").expect("the kernel says");
        assert_eq!((item.status, item.severity), (Status::Want, "high"));
        let (host, _dir) = made_up(&[(block, "write back\n"), (drive, "write back\n")]);
        let item = write_cache(&host, "sda").expect("the kernel says");
        assert_eq!(item.status, Status::Note);
    }

    #[test]
    fn memory_and_overlays_are_no_disks() {
        let mount = |fs: &str| Mount {
            point: "/t".to_owned(),
            file_system: fs.to_owned(),
            options: "rw".to_owned(),
            source: "none".to_owned(),
            top: String::new(),
            disks: Vec::new(),
            media: None,
        };
        for fs in ["tmpfs", "overlay", "nfs4", "fuse.sshfs", "zfs"] {
            let item = path("/t/log", Some(&mount(fs)));
            assert_eq!(item.status, Status::Advice, "{fs}");
        }
        assert_eq!(path("/t/log", None).current, "no mount");
    }
}
