//! Word to whoever started this process as a service: that clients are served, and that it is about to stop.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// Clients are served from now on.
pub const READY: &str = "READY=1";
/// The broker was asked to stop.
pub const STOPPING: &str = "STOPPING=1";

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
