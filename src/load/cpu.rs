//! Processor time of a process, and which process listens on a port, from `/proc`.

use std::fs;
use std::net::SocketAddr;

/// Processor seconds, user and system, that process `pid` has used; `None` once it has gone.
pub fn process_seconds(pid: u32) -> Option<f64> {
    seconds_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Processor seconds that this process has used.
pub fn own_seconds() -> f64 {
    process_seconds(std::process::id()).unwrap_or(0.0)
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

/// `utime` and `stime` are fields 14 and 15 (proc(5)); the name in field 2 may hold spaces and parentheses.
fn seconds_in_stat(stat: &str) -> Option<f64> {
    let mut fields = stat[stat.rfind(')')? + 1..]
        .split_ascii_whitespace()
        .skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
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

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that this runs on: the kernel's user interface fixes it.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_after_a_name_with_spaces_and_parentheses() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(seconds_in_stat(stat), Some(3.0));
        assert_eq!(seconds_in_stat("12 (short) S 1"), None);
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
