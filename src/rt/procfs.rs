//! What the kernel's tables under `/proc` say (proc(5)), from their text.

/// The kernel's unit of time there: its interface to programs fixes it on every Linux that this runs on.
pub const TICKS_PER_SECOND: u64 = 100;

/// The times in the `stat` of a process or a thread, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatTimes {
    pub user: u64,
    pub system: u64,
    /// Since the machine started.
    pub started: u64,
}

/// Fields 14, 15 and 22. The name, field 2, may hold anything, blanks and brackets too.
///
/// `None`: not of that form.
pub fn stat_times(stat: &str) -> Option<StatTimes> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user = fields.next()?.parse().ok()?;
    let system = fields.next()?.parse().ok()?;
    let started = fields.nth(6)?.parse().ok()?;
    Some(StatTimes {
        user,
        system,
        started,
    })
}

/// The first number of the line that begins with `label`.
pub fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes of memory by the text of `/proc/meminfo`.
pub fn memory_bytes(meminfo: &str) -> Option<u64> {
    Some(number_after(meminfo, "MemTotal:")? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 12345 1 2";
        let wanted = StatTimes {
            user: 250,
            system: 50,
            started: 12_345,
        };
        assert_eq!(stat_times(stat), Some(wanted));
        assert_eq!(stat_times("7 (a) S 1 2"), None);
        assert_eq!(number_after("a 1\nVmRSS:\t  42 kB\n", "VmRSS:"), Some(42));
        assert_eq!(number_after("VmRSS: none\n", "VmRSS:"), None);
        assert_eq!(
            memory_bytes("MemTotal:  1000 kB\nMemFree: 1 kB\n"),
            Some(1_024_000)
        );
    }
}
