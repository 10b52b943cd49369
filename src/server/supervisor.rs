//! Word to whoever started this process as a service: that clients are served, that it is about to stop, and in between, again
//! and again, that all shards turn.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::admin::Known;

/// Clients are served from now on.
pub const READY: &str = "READY=1";
/// The broker was asked to stop.
pub const STOPPING: &str = "STOPPING=1";

/// All is well.
const WATCHDOG: &str = "WATCHDOG=1";
/// So many words in the time that the supervisor waits for one: a moment's fault costs some of them and not the broker.
const WORDS_IN_TIME: u64 = 4;

/// Has a thread of its own say that all is well for as long as every shard turns, where the supervisor wants to know
/// (`WatchdogSec=` of a unit). While one is stuck nothing is said, and past its time the supervisor ends the broker.
///
/// - Not on a shard: one that is stuck could not tell, and would not see the others.
/// - `Err`: there is no thread for it.
/// - Source: sd_watchdog_enabled(3).
pub fn watch(known: Arc<Known>) -> Result<(), String> {
    let value = |name: &str| std::env::var(name).ok();
    let own = std::process::id();
    let Some(every) = interval(value("WATCHDOG_USEC"), value("WATCHDOG_PID"), own) else {
        return Ok(());
    };
    let started = thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || watch_for_ever(&known, every));
    let why = |error| format!("no thread for the supervisor's watchdog: {error}");
    started.map(drop).map_err(why)
}

fn watch_for_ever(known: &Known, every: Duration) {
    let mut stuck = Vec::new();
    loop {
        let before = std::mem::replace(&mut stuck, known.stuck());
        if stuck.is_empty() {
            tell(WATCHDOG);
        } else if stuck != before {
            tracing::error!(
                "shards {stuck:?} are stuck: the supervisor is not told that all is well"
            );
        }
        thread::sleep(every);
    }
}

/// How often the supervisor wants to hear from the process `own`; `None`: it does not.
fn interval(within_us: Option<String>, whose: Option<String>, own: u32) -> Option<Duration> {
    let within_us = within_us?.parse::<u64>().ok().filter(|us| *us > 0)?;
    let is_own = whose.is_none_or(|pid| pid.parse() == Ok(own));
    is_own.then(|| Duration::from_micros((within_us / WORDS_IN_TIME).max(1000)))
}

/// Sends one state to the socket that `NOTIFY_SOCKET` names, and nothing where it names none.
///
/// A word that cannot be sent is one warning: the broker serves all the same.
///
/// Source: sd_notify(3), the protocol of systemd's `Type=notify`.
pub fn tell(state: &str) {
    let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
    if let Some(name) = name
        && let Err(error) = send(&name, state)
    {
        tracing::warn!("NOTIFY_SOCKET {}: {error}", name.display());
    }
}

/// A name that begins with `@` is one of the abstract name space. Never waits: this runs on a shard.
fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(Path::new(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_told_if_it_is_ours_and_often_enough() {
        let text = |text: &str| Some(text.to_owned());
        let every = |us, pid| interval(us, pid, 7).map(|every| every.as_micros());
        assert_eq!(every(text("60000000"), None), Some(15_000_000));
        assert_eq!(every(text("60000000"), text("7")), Some(15_000_000));
        assert_eq!(every(text("60000000"), text("8")), None, "another process'");
        for none in [None, text(""), text("0"), text("-1"), text("soon")] {
            assert_eq!(every(none, None), None);
        }
        assert_eq!(every(text("1"), None), Some(1000), "never without a pause");
    }

    #[test]
    fn speaks_to_sockets_of_both_kinds_and_fails_where_nobody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let unnamed = format!("ringlog-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&unnamed).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let mut buffer = [0; 64];
        for (socket, name) in [
            (&by_path, path.as_os_str().to_owned()),
            (&by_name, format!("@{unnamed}").into()),
        ] {
            send(&name, READY).unwrap();
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
        assert!(send(dir.path().join("nobody").as_os_str(), STOPPING).is_err());
        assert!(send(OsStr::new("@"), STOPPING).is_err());
    }
}
