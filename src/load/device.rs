//! The block devices under a process's log files, and what went through them, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A block device by its numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Device {
    major: u64,
    minor: u64,
}

/// Bytes that went through devices since the machine started.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Traffic {
    pub read_bytes: u64,
    pub written_bytes: u64,
}

/// The devices under the segments that process `pid` holds open; under any file that it holds where it has no segment.
///
/// Empty where its files cannot be looked at, or are on no block device of this machine.
pub fn under_files_of(pid: u32) -> BTreeSet<Device> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeSet::new();
    };
    let (mut segments, mut others) = (BTreeSet::new(), BTreeSet::new());
    for path in files.flatten().map(|file| file.path()) {
        // Following the link tells of the file itself, even where its path is another mount's.
        let Some(about) = fs::metadata(&path).ok().filter(|about| about.is_file()) else {
            continue;
        };
        let is_segment = fs::read_link(&path)
            .is_ok_and(|target| target.extension().is_some_and(|end| end == "log"));
        match is_segment {
            true => segments.insert(Device::of_number(about.dev())),
            false => others.insert(Device::of_number(about.dev())),
        };
    }
    let table = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let is_block = |device: &Device| row(&table, *device).is_some();
    segments.retain(is_block);
    others.retain(is_block);
    if segments.is_empty() {
        others
    } else {
        segments
    }
}

/// What went through all of `devices` so far; `None` where one of them is not in the kernel's table.
pub fn traffic(devices: &BTreeSet<Device>) -> Option<Traffic> {
    traffic_in(&fs::read_to_string("/proc/diskstats").ok()?, devices)
}

/// The kernel's name of each device, for people.
pub fn names(devices: &BTreeSet<Device>) -> Vec<String> {
    let table = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    devices
        .iter()
        .filter_map(|&device| Some(row(&table, device)?[2].to_owned()))
        .collect()
}

fn traffic_in(table: &str, devices: &BTreeSet<Device>) -> Option<Traffic> {
    if devices.is_empty() {
        return None;
    }
    let mut sum = Traffic::default();
    for &device in devices {
        let row = row(table, device)?;
        sum.read_bytes += row.get(5)?.parse::<u64>().ok()? * SECTOR_BYTES;
        sum.written_bytes += row.get(9)?.parse::<u64>().ok()? * SECTOR_BYTES;
    }
    Some(sum)
}

/// `major minor name reads merged sectors ms writes merged sectors ms …`: the kernel's admin-guide/iostats.
fn row(table: &str, device: Device) -> Option<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .find(|fields| {
            fields.len() > 9
                && fields[0].parse() == Ok(device.major)
                && fields[1].parse() == Ok(device.minor)
        })
}

impl Device {
    fn of_number(number: u64) -> Device {
        Device {
            major: libc::major(number).into(),
            minor: libc::minor(number).into(),
        }
    }
}

/// Of the kernel's table, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = " 254  0 vda 10 1 80 5 20 2 400 9 0 7 14\n 254  1 vda1 1 1 8 5 2 2 40 9 0 7 14\n   7  0 loop0 1 0\n";

    #[test]
    fn numbers_come_apart_as_the_kernel_put_them_together() {
        assert_eq!(
            Device::of_number(65_024),
            Device {
                major: 254,
                minor: 0
            }
        );
        let wide = Device::of_number(0x12_3004_5601);
        assert_eq!(
            wide,
            Device {
                major: 0x456,
                minor: 0x123_0001
            }
        );
    }

    #[test]
    fn sectors_of_all_devices_are_summed_in_bytes() {
        let both = BTreeSet::from([
            Device {
                major: 254,
                minor: 0,
            },
            Device {
                major: 254,
                minor: 1,
            },
        ]);
        let wanted = Traffic {
            read_bytes: 88 * 512,
            written_bytes: 440 * 512,
        };
        assert_eq!(traffic_in(TABLE, &both), Some(wanted));
        let missing = BTreeSet::from([Device { major: 8, minor: 0 }]);
        assert_eq!(traffic_in(TABLE, &missing), None);
        assert_eq!(traffic_in(TABLE, &BTreeSet::new()), None);
        let short = BTreeSet::from([Device { major: 7, minor: 0 }]);
        assert_eq!(traffic_in(TABLE, &short), None);
    }
}
