//! The host: what it is, judged before a broker starts on it, and what its disks, network and CPUs do, measured.
//!
//! **Path.** The command line → [`Host::look`] reads `/proc` and `/sys` below a [`Root`] and walks from the directories to
//! their disks → [`check`] holds all of it against the configuration, each thing an [`Item`]. [`selftest`] measures, by the
//! same files and rings as the broker's, and leaves what it found in `storage`'s [`crate::storage::Measured`], which a start
//! reads.  Uses `types`, `config`, `record`, `rt`, `storage` and `server`.
//!
//! **Invariants.** Nothing is changed: what is written goes to files without names, but for the one that keeps the
//! measurement. An item that `tuning/check` has too is judged by the same rule and told in the same words; a test holds both
//! against each other.
//!
//! **Faults survived.** Files of `/proc` and `/sys` that are missing, empty or no UTF-8: the item is left out. A kill at
//! any moment leaves nothing in a data directory. A peer of the network test that sends something else, too much, or
//! nothing.
//!
//! **Not obvious.** With another root only what lies below it is judged: what needs this machine (rings, limits, ports,
//! writing) is left out. Measurements beside a running broker measure the broker, too; they are told and not kept.

mod check;
mod directories;
mod disks;
mod files;
mod item;
mod kernel;
mod limits;
mod memory;
mod root;
pub mod selftest;

use std::path::PathBuf;

pub use check::{Report, check};
pub use directories::is_in_use;
pub use disks::{Class, Disks, HostDisk, Mount};
pub use item::{Item, Knob, Status, Verdict};
pub use memory::size;
pub use root::Root;

use crate::config::BrokerConfig;
use crate::rt;
use crate::rt::procfs::number_after;
use crate::server::{self, MemoryLimit};

/// The systemd service that an installed broker is.
const SERVICE: &str = "ringlog.service";

/// What rules ask of the host.
#[derive(Clone, Debug)]
pub struct Host {
    pub root: Root,
    pub kernel: String,
    /// That the broker may use.
    pub cpus: usize,
    pub memory_kib: u64,
    /// What the broker may use: the service's where it runs, else what is started from here may.
    pub memory: MemoryLimit,
    pub shards: u16,
    pub disks: Disks,
}

impl Host {
    /// Reads the host for a broker of this configuration, with data in `directories` (absolute paths).
    ///
    /// `Err`: what cannot be read.
    pub fn look(
        root: Root,
        config: &BrokerConfig,
        directories: &[PathBuf],
    ) -> Result<Host, String> {
        let missing = |what: &str| format!("cannot read {}", root.path(what).display());
        let kernel = root
            .line("/proc/sys/kernel/osrelease")
            .ok_or_else(|| missing("/proc/sys/kernel/osrelease"))?;
        let meminfo = root.text("/proc/meminfo").unwrap_or_default();
        let memory_kib =
            number_after(&meminfo, "MemTotal:").ok_or_else(|| missing("/proc/meminfo"))?;
        let cpus = match root.is_machine() {
            true => rt::cpu_count(),
            false => {
                let online = root.line("/sys/devices/system/cpu/online");
                let online = online.ok_or_else(|| missing("/sys/devices/system/cpu/online"))?;
                count_of(&online)
            }
        };
        let disks = Disks::walk(&root, directories);
        Ok(Host {
            disks: disks.ok_or_else(|| missing("/proc/self/mountinfo"))?,
            memory: server::memory_limit(&root.path("/"), Some(SERVICE)),
            root,
            kernel,
            cpus,
            memory_kib,
            shards: server::shards_count(config, cpus),
        })
    }
}

/// How many numbers a list like `0-2,8` has.
fn count_of(list: &str) -> usize {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first = first.trim().parse::<usize>().ok()?;
        last.trim()
            .parse::<usize>()
            .ok()?
            .checked_sub(first)?
            .checked_add(1)
    };
    list.split(',').filter_map(count).sum()
}

/// The data's directories and the journal's, absolute.
///
/// `Err`: the working directory cannot be told.
pub fn directories(config: &BrokerConfig) -> std::io::Result<Vec<PathBuf>> {
    let all = config.data_dirs().iter().chain(&config.journal_dir);
    all.map(std::path::absolute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of these files and what no host is without.
    pub(super) fn made_up(files: &[(&str, &str)]) -> (Host, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let usual = [
            ("proc/sys/kernel/osrelease", "6.12.1\n"),
            ("proc/meminfo", "MemTotal: 1000000 kB\n"),
            (
                "proc/self/mountinfo",
                "30 1 0:45 / / rw - overlay overlay rw\n",
            ),
            ("sys/devices/system/cpu/online", "0-2,8\n"),
        ];
        for (path, text) in usual.iter().chain(files) {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("makes");
            std::fs::write(path, text).expect("writes");
        }
        let root = Root::below(dir.path()).expect("is there");
        let host = Host::look(root, &BrokerConfig::default(), &["/data".into()]);
        (host.expect("a host"), dir)
    }

    #[test]
    fn cpus_are_counted_of_the_kernels_list() {
        assert_eq!(count_of("0-2,8"), 4);
        assert_eq!(count_of("0"), 1);
        assert_eq!(count_of("x,3-1"), 0);
        assert_eq!(made_up(&[]).0.cpus, 4);
    }
}
