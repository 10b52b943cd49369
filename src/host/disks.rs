//! From each directory to the disks beneath it: mount, then device-mapper and md, then partitions, then disks. The same walk
//! as `tuning/lib/disks.sh`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::root::{Root, last_part};

/// What a disk is. What a hypervisor or a controller says of rotation is a guess of theirs: their disks have classes of
/// their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    Hdd,
    Ssd,
    Nvme,
    Virtual,
    /// A logical drive of a RAID controller.
    Raid,
    /// Loop, zram, network.
    Other,
    /// Disks of several classes under one file system.
    Mixed,
}

/// A physical disk, or what the machine takes for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostDisk {
    pub name: String,
    pub class: Class,
}

/// A mount that holds at least one of the directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    pub point: String,
    pub file_system: String,
    /// Options of the mount and of the file system, by commas.
    pub options: String,
    /// What is mounted, as the kernel names it.
    pub source: String,
    /// The block device that the file system lies on; empty where the kernel names none.
    pub top: String,
    pub disks: Vec<HostDisk>,
    pub media: Option<Class>,
}

/// The directories' mounts and disks.
#[derive(Clone, Default, Debug)]
pub struct Disks {
    /// Each directory, and the number of its mount.
    pub directories: Vec<(PathBuf, Option<usize>)>,
    pub mounts: Vec<Mount>,
}

impl Disks {
    /// Walks from every directory; one need not exist yet.
    ///
    /// `None`: the host's mounts cannot be read.
    pub fn walk(root: &Root, directories: &[PathBuf]) -> Option<Disks> {
        let table = root.text("/proc/self/mountinfo")?;
        let mut disks = Disks::default();
        for directory in directories {
            let mount = find_mount(root, &table, directory).map(|mount| {
                let known = disks.mounts.iter().position(|m| m.point == mount.point);
                known.unwrap_or_else(|| {
                    disks.mounts.push(mount);
                    disks.mounts.len() - 1
                })
            });
            disks.directories.push((directory.clone(), mount));
        }
        for mount in disks.mounts.iter_mut().filter(|m| !m.top.is_empty()) {
            descend(root, &mount.top, &mut mount.disks);
            mount.media = media(&mount.disks);
        }
        Some(disks)
    }

    /// Every disk once, in the order of the walk.
    pub fn disks(&self) -> Vec<&HostDisk> {
        let mut all: Vec<&HostDisk> = Vec::new();
        for disk in self.mounts.iter().flat_map(|mount| &mount.disks) {
            if !all.iter().any(|known| known.name == disk.name) {
                all.push(disk);
            }
        }
        all
    }
}

impl Mount {
    pub fn has_option(&self, word: &str) -> bool {
        self.options.split(',').any(|option| option == word)
    }

    /// The mount point with more behind it.
    pub fn join(&self, name: &str) -> String {
        format!("{}/{name}", self.point.trim_end_matches('/'))
    }
}

/// The mount that holds a directory: the longest mount point, and of several on one point the last, which is seen.
fn find_mount(root: &Root, table: &str, directory: &Path) -> Option<Mount> {
    let real = root.real(directory);
    let mut best: Option<(String, &str)> = None;
    for line in table.lines() {
        let Some(point) = line.split_whitespace().nth(4).map(unescaped) else {
            continue;
        };
        let is_longer = best.as_ref().is_none_or(|(b, _)| point.len() >= b.len());
        if is_longer && real.starts_with(&point) {
            best = Some((point, line));
        }
    }
    let (point, line) = best?;
    mount_of(root, point, line)
}

/// Of a line of mountinfo (proc(5)): `id parent major:minor root point options tags... - type source super`.
fn mount_of(root: &Root, point: String, line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split_whitespace().skip(2);
    let number = before.next()?;
    let own = before.nth(2)?;
    let mut after = after.split_whitespace();
    let file_system = after.next()?.to_owned();
    let source = after.next()?.to_owned();
    let options = format!("{own},{}", after.next().unwrap_or_default());
    let top = match root.link(format!("/sys/dev/block/{number}")) {
        Some(link) => last_part(&link),
        // btrfs counts its own device numbers; the name of its first device is all there is.
        None if source.starts_with("/dev/") => {
            let name = last_part(&root.real(&source));
            match root.exists(format!("/sys/class/block/{name}")) {
                true => name,
                false => String::new(),
            }
        }
        None => String::new(),
    };
    Some(Mount {
        point,
        file_system,
        options,
        source,
        top,
        disks: Vec::new(),
        media: None,
    })
}

/// `\040` and the like, as the kernel writes blanks.
fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let code = octal.and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The disk or array that a partition is of, whose queue it shares; any other device is itself.
fn whole_disk(root: &Root, device: &str) -> String {
    let class = format!("/sys/class/block/{device}");
    if !root.exists(format!("{class}/partition")) {
        return device.to_owned();
    }
    let above = root.link(&class).and_then(|l| l.parent().map(last_part));
    above.unwrap_or_else(|| device.to_owned())
}

/// Down to what has nothing beneath it.
fn descend(root: &Root, device: &str, disks: &mut Vec<HostDisk>) {
    let device = whole_disk(root, device);
    let slaves = root.names(format!("/sys/block/{device}/slaves"));
    if !slaves.is_empty() {
        for slave in slaves {
            descend(root, &slave, disks);
        }
        return;
    }
    // With native multipath the queues are those of the paths; the name without `c` is a head without any.
    let mut paths = Vec::new();
    if let Some((head, number)) = device
        .rsplit_once('n')
        .filter(|_| device.starts_with("nvme"))
    {
        let (front, back) = (format!("{head}c"), format!("n{number}"));
        let is_path = |name: &String| name.starts_with(&front) && name.ends_with(&back);
        paths = root.names("/sys/block");
        paths.retain(is_path);
    }
    if paths.is_empty() {
        paths.push(device);
    }
    for name in paths {
        if !disks.iter().any(|known| known.name == name) {
            let class = classify(root, &name);
            disks.push(HostDisk { name, class });
        }
    }
}

fn media(disks: &[HostDisk]) -> Option<Class> {
    let first = disks.first()?.class;
    match disks.iter().all(|disk| disk.class == first) {
        true => Some(first),
        false => Some(Class::Mixed),
    }
}

const VIRTUAL_NVME: [&str; 5] = [
    "Amazon Elastic Block Store",
    // Google's persistent disks; nvme_card and nvme_card0 are its local SSDs.
    "nvme_card-pd",
    "MSFT NVMe Accelerator",
    "QEMU NVMe",
    "VMware",
];
const VIRTUAL: [&str; 8] = [
    "QEMU",
    "VBOX",
    "VMware",
    "Msft",
    "Google",
    "Virtio",
    "Virtual Disk",
    "Virtual disk",
];
const RAID: [&str; 6] = [
    "PERC",
    "MegaRAID",
    "ServeRAID",
    "LOGICAL VOLUME",
    "Adaptec",
    "ASR",
];
const RAID_VENDORS: [&str; 3] = ["LSI ", "AVAGO ", "BROADCOM "];

fn classify(root: &Root, disk: &str) -> Class {
    let get = |name: &str| {
        let line = root.line(format!("/sys/block/{disk}/{name}"));
        line.unwrap_or_default()
    };
    let (vendor, model) = (get("device/vendor"), get("device/model"));
    if disk.starts_with("nvme") {
        return match VIRTUAL_NVME.iter().any(|name| model.starts_with(name)) {
            true => Class::Virtual,
            false => Class::Nvme,
        };
    }
    if disk.starts_with("vd") || disk.starts_with("xvd") {
        return Class::Virtual;
    }
    if !disk.starts_with("sd") {
        return Class::Other;
    }
    let says = format!("{vendor} {model}");
    let has = |names: &[&str]| names.iter().any(|name| says.contains(name));
    let starts = |names: &[&str]| names.iter().any(|name| says.starts_with(name));
    if has(&VIRTUAL) || starts(&["LIO-ORG", "NUTANIX"]) {
        return Class::Virtual;
    }
    let is_megaraid = starts(&RAID_VENDORS) && says.contains("MR");
    if has(&RAID) || is_megaraid || starts(&["Areca", "LENOVO RAID"]) {
        return Class::Raid;
    }
    if !vendor.starts_with("ATA") && is_volume(root, disk) {
        return Class::Raid;
    }
    match get("queue/rotational").as_str() {
        "1" | "" => Class::Hdd,
        _ => Class::Ssd,
    }
}

/// Whether a RAID controller made it up, which few say of themselves (HPE MR416i, Fujitsu PRAID, Intel RMS). Its driver tells
/// by the channel; disks that the controller passes through have another one.
///
/// - Source: the kernel's drivers/scsi: MEGASAS_MAX_PD_CHANNELS, PQI_PHYSICAL_DEVICE_BUS, HPSA_PHYSICAL_DEVICE_BUS,
///   CONTAINER_CHANNEL of aacraid, RAID_CHANNEL of mpt3sas.
fn is_volume(root: &Root, disk: &str) -> bool {
    // HOST:CHANNEL:TARGET:LUN.
    let address = last_part(&root.real(format!("/sys/block/{disk}/device")));
    let parts: Option<Vec<u32>> = address.split(':').map(|part| part.parse().ok()).collect();
    let Some([host, channel, _, _]) = parts.as_deref() else {
        return false;
    };
    let driver = root.line(format!("/sys/class/scsi_host/host{host}/proc_name"));
    match driver.unwrap_or_default().as_str() {
        "megaraid_sas" => *channel >= 2,
        "smartpqi" | "hpsa" => *channel >= 1,
        "aacraid" => *channel == 0,
        "mpt2sas" | "mpt3sas" => *channel == 1,
        _ => false,
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Class::Hdd => "hdd",
            Class::Ssd => "ssd",
            Class::Nvme => "nvme",
            Class::Virtual => "virtual",
            Class::Raid => "raid",
            Class::Other => "other",
            Class::Mixed => "mixed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mountinfo_and_takes_the_longest_and_last_mount() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = Root::below(dir.path()).expect("is there");
        let table = "\
            20 1 0:20 / / rw shared:1 - overlay overlay rw\n\
            21 20 0:21 / /srv/log\\040data rw,noatime - tmpfs none rw\n\
            22 20 0:22 / /srv/log\\040data rw,relatime master:2 - xfs /dev/x rw,noquota\n\
            23 20 0:23 / /srv/log rw - ext4 /dev/y rw\n";
        let mount = find_mount(&root, table, Path::new("/srv/log data/a")).expect("a mount");
        assert_eq!(
            (mount.point.as_str(), mount.file_system.as_str()),
            ("/srv/log data", "xfs")
        );
        assert!(mount.has_option("relatime") && mount.has_option("noquota"));
        assert!(!mount.has_option("rel"));
        let mount = find_mount(&root, table, Path::new("/srv/logs")).expect("a mount");
        assert_eq!(mount.point, "/", "a name that only begins alike is another");
    }

    #[test]
    fn blanks_of_mountinfo_are_told_from_other_backslashes() {
        assert_eq!(unescaped("/a\\040b\\011"), "/a b\t");
        assert_eq!(unescaped("/a\\"), "/a\\");
        assert_eq!(unescaped("/a\\09x"), "/a\\09x");
    }
}
