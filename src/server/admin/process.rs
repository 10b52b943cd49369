//! What the kernel tells of this process and of its threads. Read by the admin thread, never by a shard.

use std::fs;

use crate::rt::procfs::{TICKS_PER_SECOND, number_after, stat_times};

const US_PER_TICK: u64 = 1_000_000 / TICKS_PER_SECOND;

/// What was read; 0 where the kernel does not tell.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Process {
    pub cpu_us: u64,
    pub resident_bytes: u64,
    pub files: u64,
    pub files_max: u64,
    /// Microseconds since 1970.
    pub started_us: u64,
    /// Threads of io-wq, and the processor time of those that live.
    pub io_workers: u64,
    pub io_worker_cpu_us: u64,
}

/// The processor time of a thread, and how long it could have run and did not, in microseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ThreadTime {
    pub cpu_us: u64,
    pub run_queue_us: u64,
}

/// This thread's number.
pub fn own_thread() -> Option<u32> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

pub fn thread_time(thread: u32) -> Option<ThreadTime> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    parse_schedstat(&text)
}

pub fn process() -> Process {
    let (io_workers, io_worker_cpu_us) = io_workers();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let times = stat_times(&stat);
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted_s = number_after(&system, "btime ").unwrap_or(0);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    Process {
        cpu_us: times.map_or(0, |times| (times.user + times.system) * US_PER_TICK),
        resident_bytes: number_after(&status, "VmRSS:").unwrap_or(0) * 1024,
        files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        files_max: number_after(&limits, "Max open files").unwrap_or(0),
        started_us: booted_s * 1_000_000 + times.map_or(0, |times| times.started * US_PER_TICK),
        io_workers,
        io_worker_cpu_us,
    }
}

/// The kernel names them after the thread whose ring they serve.
fn io_workers() -> (u64, u64) {
    let (mut count, mut cpu_us) = (0, 0);
    for entry in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if !name.starts_with("iou-wrk-") {
            continue;
        }
        count += 1;
        let time = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        cpu_us += parse_schedstat(&time).map_or(0, |time| time.cpu_us);
    }
    (count, cpu_us)
}

/// Nanoseconds on a CPU, nanoseconds on a run queue, time slices.
fn parse_schedstat(text: &str) -> Option<ThreadTime> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    Some(ThreadTime {
        cpu_us: numbers.next()?.ok()? / 1000,
        run_queue_us: numbers.next()?.ok()? / 1000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let time = parse_schedstat("5000000 7000 12\n");
        let wanted = ThreadTime {
            cpu_us: 5000,
            run_queue_us: 7,
        };
        assert_eq!(time, Some(wanted));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn tells_of_this_process() {
        let own = own_thread().expect("a thread has a number");
        assert!(thread_time(own).is_some());
        let process = process();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.files >= 3 && process.files_max >= process.files);
        assert!(process.started_us > 1_700_000_000_000_000, "{process:?}");
    }
}
