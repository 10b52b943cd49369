//! Listening sockets: exclusive, and an accept loop that nothing ends.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use glommio::net::TcpListener;
use socket2::{Domain, Protocol, SockAddr, Type};

use super::socket::{RawAccepted, io_error};
use super::sys;
use super::task::{sleep, yield_now};

/// How a socket listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections the kernel completes before they are accepted.
    pub backlog: i32,
    /// Kernel buffers of the accepted sockets; `None` leaves them to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    pub send_buffer_bytes: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: 4096,
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
        }
    }
}

/// A socket that listens but does not accept yet: made before the shards start, so that a taken port is told at once.
pub struct BoundListener {
    socket: socket2::Socket,
    address: SocketAddr,
}

impl BoundListener {
    /// Listens on `address`; port 0 takes a free one. `[::]` takes IPv4 as well, as Java does.
    ///
    /// `AddrInUse` if anyone listens there: without `SO_REUSEPORT`, two brokers cannot share a port by mistake.
    pub fn bind(address: SocketAddr, options: &ListenOptions) -> io::Result<BoundListener> {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // Only lets the port be taken while old connections linger in TIME_WAIT.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(options.backlog)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(BoundListener { socket, address })
    }

    /// Listens on the first address of `host`; an empty one means every address of this machine. Blocks for the look-up.
    pub fn bind_host(host: &str, port: u16, options: &ListenOptions) -> io::Result<BoundListener> {
        if !host.is_empty() {
            let first = resolve(host, port)?.into_iter().next();
            return BoundListener::bind(first.ok_or(io::ErrorKind::NotFound)?, options);
        }
        match BoundListener::bind((Ipv6Addr::UNSPECIFIED, port).into(), options) {
            // A machine without IPv6.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
            {
                BoundListener::bind((Ipv4Addr::UNSPECIFIED, port).into(), options)
            }
            bound => bound,
        }
    }

    /// Where it listens, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept on this shard. One shard accepts for all: see [`Listener::accept`].
    pub fn listen(self) -> Listener {
        Listener {
            listener: sys::executor_listener(self.socket.into()),
            address: self.address,
        }
    }
}

/// A listening socket of this shard.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Waits for the next connection. It is bound to no shard yet: send it to the one that shall own it and
    /// [`adopt`](super::Socket::adopt) it there.
    ///
    /// Never fails: when descriptors or memory run out it waits and tries again; connections that were aborted are
    /// passed over. Dropped half way it may lose one connection, so drop it only to stop.
    pub async fn accept(&self) -> RawAccepted {
        loop {
            match self.listener.shared_accept().await.map_err(io_error) {
                Ok(accepted) => {
                    if let Some(raw) = RawAccepted::new(accepted) {
                        return raw;
                    }
                }
                Err(error) if is_of_one_connection(&error) => yield_now().await,
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "accepting failed; trying again soon");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Errors that tell of the connection and not of the listener (`accept(2)`, "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// Resolves a name or a literal address, IPv4 first, as Java does. Blocks.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // `[::1]` as it stands in a listener's or client's address.
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

/// Long enough not to burn a core while descriptors are short, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
