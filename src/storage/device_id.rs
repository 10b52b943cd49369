//! Which device a file system lies on, in words that stay the same over the machine's next start: the kernel numbers and
//! names devices anew then, but a disk keeps its serial number and an array its UUID.

use std::fs;
use std::path::Path;

/// Where a block device says who it is, best first: volumes of LVM and dm-crypt, arrays, NVMe, SCSI and SATA, virtual disks.
const NAMES: [&str; 6] = [
    "dm/uuid",
    "md/uuid",
    "wwid",
    "device/wwid",
    "device/serial",
    "serial",
];
/// The first of them are not of a disk: what has such a name may grow and is the same.
const NAMES_OF_VOLUMES: usize = 2;
/// Volumes on arrays on partitions on disks.
const LAYERS_MAX: usize = 8;
const NO_NAME: &str = "-";

/// Who the block device is that holds a file system: its name and its size in sectors. Empty where there is none, or it cannot
/// be told.
///
/// - `root`: what stands for `/`; `device`: as stat(2) numbers it; `source`: what is mounted, for file systems that number
///   themselves (btrfs).
/// - The name is `-` where neither it nor all disks beneath it have one; its size alone is little, but better than nothing.
pub(super) fn device_id(root: &Path, device: u64, source: &str) -> String {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let numbered = root.join(format!("sys/dev/block/{major}:{minor}"));
    let node = match (numbered.canonicalize(), source.strip_prefix("/dev/")) {
        (Ok(node), _) => node,
        (Err(_), Some(source)) => {
            let named = root.join("dev").join(source);
            let named = named.canonicalize().unwrap_or(named);
            let name = named.file_name().unwrap_or_default();
            match root.join("sys/class/block").join(name).canonicalize() {
                Ok(node) => node,
                Err(_) => return String::new(),
            }
        }
        (Err(_), None) => return String::new(),
    };
    let Some(sectors) = line(&node.join("size")) else {
        return String::new();
    };
    match name(&node, LAYERS_MAX) {
        Some((name, true)) => name,
        Some((name, false)) => format!("{name} {sectors}"),
        None => format!("{NO_NAME} {sectors}"),
    }
}

/// Whether such an id has a name, and so is another device's hardly ever.
pub(super) fn has_name(id: &str) -> bool {
    !id.is_empty() && !id.starts_with(NO_NAME)
}

/// A device's name, and whether it is a volume's; of several disks beneath all their names.
fn name(node: &Path, layers: usize) -> Option<(String, bool)> {
    if let Some(part) = line(&node.join("partition")) {
        let (disk, _) = name(node.parent()?, layers.checked_sub(1)?)?;
        return Some((format!("{disk}/{part}"), false));
    }
    let mut names = NAMES.iter().enumerate();
    let own = names.find_map(|(i, file)| Some((line(&node.join(file))?, i < NAMES_OF_VOLUMES)));
    if own.is_some() {
        return own;
    }
    let beneath = fs::read_dir(node.join("slaves")).into_iter();
    let names = beneath.flatten().flatten().map(|entry| {
        let node = entry.path().canonicalize().ok()?;
        let (name, _) = name(&node, layers.checked_sub(1)?)?;
        Some(name)
    });
    let mut names = names.collect::<Option<Vec<_>>>()?;
    names.sort();
    (!names.is_empty()).then(|| (names.join("+"), false))
}

/// A file's text as one line, without blanks around words; `None`: there is none.
fn line(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let printed: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = printed.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join("_"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `/sys` of a host with these files below `sys/devices`, each device linked by its number and its name.
    fn host(devices: &[(&str, &str)], files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for made in ["sys/dev/block", "sys/class/block", "dev"] {
            fs::create_dir_all(dir.path().join(made)).expect("makes");
        }
        for (path, text) in files {
            let path = dir.path().join("sys/devices").join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("makes");
            fs::write(path, text).expect("writes");
        }
        for (number, device) in devices {
            let target = dir.path().join("sys/devices").join(device);
            let name = target.file_name().expect("it has one").to_owned();
            symlink(&target, dir.path().join("sys/dev/block").join(number)).expect("links");
            symlink(&target, dir.path().join("sys/class/block").join(name)).expect("links");
        }
        dir
    }

    fn beneath(dir: &tempfile::TempDir, volume: &str, disk: &str) {
        let slaves = dir.path().join("sys/devices").join(volume).join("slaves");
        fs::create_dir_all(&slaves).expect("makes");
        let target = dir.path().join("sys/devices").join(disk);
        let name = target.file_name().expect("it has one").to_owned();
        symlink(&target, slaves.join(name)).expect("links");
    }

    #[test]
    fn a_disk_is_its_name_and_size_by_whatever_number() {
        let files = [("nvme0n1/size", "1000\n"), ("nvme0n1/wwid", "eui.01 02\n")];
        for (number, device) in [("259:3", 259 << 8 | 3), ("8:0", 8 << 8)] {
            let dir = host(&[(number, "nvme0n1")], &files);
            let id = device_id(dir.path(), device, "/dev/whatever");
            assert_eq!((id.as_str(), has_name(&id)), ("eui.01_02 1000", true));
        }
        let dir = host(&[("8:0", "nvme0n1")], &files);
        assert_eq!(
            device_id(dir.path(), 0x2a, "/dev/nvme0n1"),
            "eui.01_02 1000",
            "btrfs"
        );
        assert_eq!(device_id(dir.path(), 0x2a, "/dev/nvme1n1"), "");
        assert_eq!(device_id(dir.path(), 0x2a, "overlay"), "");
    }

    #[test]
    fn a_partition_is_its_disks_and_what_has_no_name_is_its_size() {
        let files = [
            ("sda/size", "1000\n"),
            ("sda/device/wwid", "naa.5000\n"),
            ("sda/sda2/size", "400\n"),
            ("sda/sda2/partition", "2\n"),
            ("vda/size", "77\n"),
            ("vda/serial", ""),
        ];
        let dir = host(&[("8:2", "sda/sda2"), ("254:0", "vda")], &files);
        assert_eq!(
            device_id(dir.path(), 8 << 8 | 2, "/dev/sda2"),
            "naa.5000/2 400"
        );
        let nameless = device_id(dir.path(), 254 << 8, "/dev/vda");
        assert_eq!((nameless.as_str(), has_name(&nameless)), ("- 77", false));
        assert!(!has_name(""));
    }

    #[test]
    fn an_array_without_a_uuid_is_its_disks_and_a_volume_may_grow() {
        let files = [
            ("sda/device/wwid", "naa.2\n"),
            ("sdb/device/wwid", "naa.1\n"),
            ("md0/size", "2000\n"),
            ("dm-0/size", "500\n"),
            ("dm-0/dm/uuid", "LVM-abc\n"),
        ];
        let dir = host(&[("9:0", "md0"), ("253:0", "dm-0")], &files);
        beneath(&dir, "md0", "sda");
        beneath(&dir, "md0", "sdb");
        beneath(&dir, "dm-0", "md0");
        assert_eq!(
            device_id(dir.path(), 9 << 8, "/dev/md0"),
            "naa.1+naa.2 2000"
        );
        assert_eq!(
            device_id(dir.path(), 253 << 8, "/dev/mapper/vg-lv"),
            "LVM-abc"
        );
        fs::remove_file(dir.path().join("sys/devices/sdb/device/wwid")).expect("removes");
        assert_eq!(
            device_id(dir.path(), 9 << 8, "/dev/md0"),
            "- 2000",
            "one of them may be another"
        );
    }
}
