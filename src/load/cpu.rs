//! What a process uses, and which process listens on a port, from `/proc`.

use std::fs;
use std::io;
use std::net::SocketAddr;

use crate::rt::procfs::{TICKS_PER_SECOND, number_after, stat_times};

/// Processor seconds since a process started.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CpuSeconds {
    pub user: f64,
    pub system: f64,
}

/// What a process has used by now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Process {
    pub cpu: CpuSeconds,
    pub resident_bytes: u64,
    pub threads: u64,
    /// What it had the kernel read from and write to storage; `None` where it may not be looked at.
    pub storage: Option<Storage>,
}

/// `read_bytes` and `write_bytes` of `/proc/PID/io`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Storage {
    pub read_bytes: u64,
    pub written_bytes: u64,
}

impl Process {
    /// Looks at process `pid`.
    ///
    /// `Err`: it is not there, or may not be looked at.
    pub fn look(pid: u32) -> io::Result<Process> {
        let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}"));
        let (stat, status) = (read("stat")?, read("status")?);
        let storage = read("io").ok().and_then(|text| storage_in(&text));
        let unlike = || io::Error::new(io::ErrorKind::InvalidData, "not of proc(5)'s form");
        let cpu = seconds_in_stat(&stat).ok_or_else(unlike)?;
        // What has ended stays in the table until its parent asks for it, without memory.
        let resident = number_after(&status, "VmRSS:")
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has ended"))?;
        Ok(Process {
            cpu,
            resident_bytes: resident * 1024,
            threads: number_after(&status, "Threads:").ok_or_else(unlike)?,
            storage,
        })
    }
}

/// The name of process `pid`'s program, at most fifteen bytes of it; `None` once it has gone.
pub fn program_name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Processor seconds, user and system, that this process has used.
pub fn own_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    seconds_in_stat(&stat).map_or(0.0, CpuSeconds::total)
}

impl CpuSeconds {
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

/// Processor seconds that the calling thread has used.
pub fn own_thread_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").ok();
    stat.and_then(|stat| seconds_in_stat(&stat))
        .map_or(0.0, CpuSeconds::total)
}

/// The process on this machine that listens where `address` connects to, if it may be looked at.
pub fn listener_pid(address: SocketAddr) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address.port()))?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| holds(*pid, &wanted))
}

/// Whether `address` is this machine's: only then does its port say anything about our processes.
pub fn is_local(address: SocketAddr) -> bool {
    address.ip().is_loopback()
        || std::net::UdpSocket::bind((address.ip(), 0))
            .is_ok_and(|_| !address.ip().is_unspecified())
}

fn holds(pid: u32, link: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|target| target.as_os_str() == link)
}

fn seconds_in_stat(stat: &str) -> Option<CpuSeconds> {
    let times = stat_times(stat)?;
    let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND as f64;
    Some(CpuSeconds {
        user: seconds(times.user),
        system: seconds(times.system),
    })
}

fn storage_in(io: &str) -> Option<Storage> {
    Some(Storage {
        read_bytes: number_after(io, "read_bytes:")?,
        written_bytes: number_after(io, "write_bytes:")?,
    })
}

/// The socket listening on `port` in a table of `/proc/net/tcp`'s form: local address in field 1, state in 3,
/// inode in 9.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let listening = *fields.get(3)? == "0A";
        (listening && u16::from_str_radix(local_port, 16) == Ok(port))
            .then(|| fields.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_after_a_name_with_spaces_and_parentheses() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 77 1";
        let wanted = CpuSeconds {
            user: 2.5,
            system: 0.5,
        };
        assert_eq!(seconds_in_stat(stat), Some(wanted));
        assert_eq!(wanted.total(), 3.0);
        assert_eq!(seconds_in_stat("12 (short) S 1"), None);
    }

    #[test]
    fn fields_are_found_at_the_beginning_of_a_line() {
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4\ncancelled_write_bytes: 5\n";
        let wanted = Storage {
            read_bytes: 3,
            written_bytes: 4,
        };
        assert_eq!(storage_in(io), Some(wanted));
        assert_eq!(number_after("Threads:\t17\n", "Threads:"), Some(17));
        assert_eq!(number_after("NoThreads:\t17\n", "Threads:"), None);
    }

    #[test]
    fn this_process_has_memory_and_threads_and_one_that_is_not_there_has_not() {
        let own = Process::look(std::process::id()).unwrap();
        assert!(own.resident_bytes > 1 << 20 && own.threads > 0, "{own:?}");
        assert!(own.storage.is_some());
        let gone = Process::look(u32::MAX).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn finds_the_listening_socket_of_a_port_only() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:2384 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
             1: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(listening_inode(table, 0x2384), Some(222));
        assert_eq!(listening_inode(table, 0x2385), None);
    }

    #[test]
    fn finds_this_process_by_a_port_it_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_local(address));
        assert_eq!(listener_pid(address), Some(std::process::id()));
    }

    #[test]
    fn own_processor_time_grows_with_work() {
        let before = own_seconds();
        let begun = std::time::Instant::now();
        let mut sum = 0u64;
        while begun.elapsed().as_millis() < 60 {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert!(own_seconds() > before, "{sum}");
    }
}
