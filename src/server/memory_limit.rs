//! How much memory this process may use: the machine's, or what its control groups leave of it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::rt::procfs::memory_bytes;

/// How much, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryLimit {
    pub bytes: u64,
    /// The control group's file that says it; `None`: so much the machine has.
    pub file: Option<PathBuf>,
    /// It is that of the service which was asked for.
    pub is_of_service: bool,
}

/// Where systemd has the control groups of services.
const SERVICES: &str = "/system.slice";
/// Where the kernel does not tell, as in a test's empty tree.
const UNKNOWN_BYTES: u64 = 1 << 30;

/// A hierarchy of control groups: what it controls, as `/proc/self/cgroup` has it (all: nothing), where its groups lie, and
/// their files. Past `memory.high` a process is slowed down until it gives memory back, which a cache never does.
const HIERARCHIES: [(&str, &str, &[&str]); 2] = [
    ("", "/sys/fs/cgroup", &["memory.max", "memory.high"]),
    (
        "memory",
        "/sys/fs/cgroup/memory",
        &["memory.limit_in_bytes"],
    ),
];

/// The memory this process may use, in bytes.
pub(super) fn available_memory() -> u64 {
    memory_limit(Path::new("/"), None).bytes
}

/// The least of what the machine has and what a process' control group and those above it allow.
///
/// - `root`: what stands for `/`.
/// - `service`: of which systemd service, where that runs, and else of this process.
/// - In a name space of its own a process sees its group as the topmost one; where it sees its path on the host and not that
///   host's groups, what can be seen of it counts.
///
/// Source: kernel, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
pub fn memory_limit(root: &Path, service: Option<&str>) -> MemoryLimit {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut limit = MemoryLimit {
        bytes: memory_bytes(&meminfo).unwrap_or(UNKNOWN_BYTES),
        file: None,
        is_of_service: false,
    };
    for (controllers, groups, files) in HIERARCHIES {
        let path_of_service = service
            .map(|service| Path::new(SERVICES).join(service))
            .filter(|path| below(root, &below(Path::new(groups), path)).is_dir());
        limit.is_of_service |= path_of_service.is_some();
        let path = path_of_service.or_else(|| own_path(&own, controllers));
        for group in path.iter().flat_map(|path| path.ancestors()) {
            for file in files {
                let file = below(Path::new(groups), group).join(file);
                let text = fs::read_to_string(below(root, &file)).unwrap_or_default();
                // "max" is no number.
                if let Some(bytes) = text
                    .trim()
                    .parse()
                    .ok()
                    .filter(|bytes| *bytes < limit.bytes)
                {
                    (limit.bytes, limit.file) = (bytes, Some(file));
                }
            }
        }
    }
    limit
}

/// The path of this process' group; one that leads out of what it may see is none.
fn own_path(text: &str, controllers: &str) -> Option<PathBuf> {
    // `4:memory:/path`: the number of the hierarchy may be any.
    let path = text.lines().find_map(|line| {
        let (own, path) = line.split_once(':')?.1.split_once(':')?;
        (own == controllers).then_some(path)
    })?;
    let path = PathBuf::from(path);
    let is_inside = !path.components().any(|part| part == Component::ParentDir);
    Some(if is_inside { path } else { PathBuf::from("/") })
}

/// An absolute path's place below a directory.
fn below(directory: &Path, path: &Path) -> PathBuf {
    directory.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: u64 = 64 << 30;
    const UNIT: &str = "sys/fs/cgroup/system.slice/ringlog.service";

    /// The limit on a host of these files.
    fn limit(files: &[(&str, &str)], service: Option<&str>) -> MemoryLimit {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let meminfo = format!("MemTotal: {} kB\n", MACHINE >> 10);
        for (path, text) in files.iter().chain(&[("proc/meminfo", meminfo.as_str())]) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("makes");
            fs::write(path, text).expect("writes");
        }
        memory_limit(dir.path(), service)
    }

    /// Its bytes and its file.
    fn told(files: &[(&str, &str)]) -> (u64, Option<String>) {
        let limit = limit(files, None);
        let file = limit.file.map(|file| file.display().to_string());
        (limit.bytes, file)
    }

    #[test]
    fn the_services_own_limit_counts_and_the_least_of_those_above_it() {
        let own = ("proc/self/cgroup", "0::/system.slice/ringlog.service\n");
        assert_eq!(told(&[own]), (MACHINE, None), "nothing is limited");
        let of = |name: &str| format!("/{UNIT}/{name}");
        let (max, high) = (format!("{UNIT}/memory.max"), format!("{UNIT}/memory.high"));
        let unit = (max.as_str(), "17179869184\n");
        assert_eq!(told(&[own, unit]), (16 << 30, Some(of("memory.max"))));
        let high = (high.as_str(), "8589934592\n");
        assert_eq!(told(&[own, unit, high]), (8 << 30, Some(of("memory.high"))));
        let slice = "sys/fs/cgroup/system.slice/memory.max";
        let told_of_slice = told(&[own, unit, high, (slice, "4294967296\n")]);
        assert_eq!(told_of_slice, (4 << 30, Some(format!("/{slice}"))));
        assert_eq!(told(&[own, (max.as_str(), "max\n")]), (MACHINE, None));
        let more = (max.as_str(), "999999999999999\n");
        assert_eq!(told(&[own, more]), (MACHINE, None), "more than there is");
        let beside = ("sys/fs/cgroup/user.slice/memory.max", "1\n");
        assert_eq!(told(&[own, beside]), (MACHINE, None), "another's");
    }

    #[test]
    fn in_a_container_the_topmost_group_is_its_own() {
        let top = ("sys/fs/cgroup/memory.max", "1073741824\n");
        let wanted = (1 << 30, Some("/sys/fs/cgroup/memory.max".to_owned()));
        for path in ["0::/\n", "0::/docker/0123\n", "0::/../../other\n"] {
            assert_eq!(told(&[("proc/self/cgroup", path), top]), wanted, "{path}");
        }
    }

    #[test]
    fn the_older_groups_are_read_too() {
        let own = ("proc/self/cgroup", "4:memory:/a/b\n0::/\n");
        let at = "sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        let wanted = (2 << 30, Some(format!("/{at}")));
        assert_eq!(told(&[own, (at, "2147483648\n")]), wanted);
        let none = (at, "9223372036854771712\n");
        assert_eq!(told(&[own, none]), (MACHINE, None));
    }

    #[test]
    fn from_outside_it_is_the_services_where_that_runs_and_else_ones_own() {
        let max = format!("{UNIT}/memory.max");
        let session = ("proc/self/cgroup", "0::/user.slice\n");
        let own = ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
        let service = Some("ringlog.service");
        let outside = limit(&[session, own, (&max, "17179869184\n")], service);
        assert_eq!((outside.bytes, outside.is_of_service), (16 << 30, true));
        let unlimited = limit(&[session, own, (&max, "max\n")], service);
        assert_eq!((unlimited.bytes, unlimited.is_of_service), (MACHINE, true));
        let stopped = limit(&[session, own], service);
        assert_eq!((stopped.bytes, stopped.is_of_service), (1 << 30, false));
    }
}
