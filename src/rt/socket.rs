//! Connected sockets: non-blocking system calls, and the ring only to wait.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::GlommioError;
use glommio::net::{AcceptedTcpStream, TcpStream};

use super::blocking::{Panicked, blocking};
use super::executor::{is_inside, note_moved, poll_turn};
use super::listener::resolve;
use super::sys;

/// One TCP connection, owned by the shard that made or adopted it. Dropping it closes it.
///
/// One task may wait for reading and writing at once, through [`Socket::poll_read`] and [`Socket::poll_write_vectored`];
/// two tasks may not wait for the same direction. When this shard's tasks have run for a millisecond or moved half a
/// megabyte, both say `Pending` and wake the task, so that a connection that is always ready does not keep the shard from
/// the others.
pub struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    /// See [`Socket::wait_for_bytes`].
    low_water: usize,
}

/// A connection on its way to the shard that will own it: just accepted, or given up by another shard. Dropping it closes
/// it.
pub struct RawAccepted {
    descriptor: Option<Descriptor>,
    peer: SocketAddr,
    read: BytesMut,
}

enum Descriptor {
    Accepted(AcceptedTcpStream),
    Released(OwnedFd),
}

impl Socket {
    /// Makes this shard the owner of a connection that any shard accepted. Small writes leave at once (`TCP_NODELAY`),
    /// dead peers are found in the end (`SO_KEEPALIVE`).
    pub fn adopt(mut raw: RawAccepted) -> io::Result<Socket> {
        let descriptor = raw
            .descriptor
            .take()
            .expect("taken only here and when dropped");
        let stream = match descriptor {
            Descriptor::Accepted(accepted) => accepted.bind_to_executor(),
            Descriptor::Released(descriptor) => sys::executor_stream(descriptor),
        };
        Socket::new(stream, raw.peer)
    }

    /// Gives the connection up, for another shard to adopt.
    ///
    /// - `read`: what was read of it already and whoever adopts it must see first.
    pub fn release(mut self, read: BytesMut) -> io::Result<RawAccepted> {
        self.wait_for_bytes(1);
        // A second descriptor of the same connection: this executor closes its own when the stream is dropped.
        let descriptor = sys::lend(&self.stream).try_clone_to_owned()?;
        Ok(RawAccepted {
            descriptor: Some(Descriptor::Released(descriptor)),
            peer: self.peer,
            read,
        })
    }

    fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Socket> {
        let socket = Socket {
            stream,
            peer,
            low_water: 1,
        };
        let fd = sys::lend(&socket.stream);
        let options = socket2::SockRef::from(&fd);
        options.set_tcp_nodelay(true)?;
        options.set_keepalive(true)?;
        Ok(socket)
    }

    /// Reads what is there; `Ok(0)` when the peer will send no more. `buffer` must not be empty.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(poll_turn(context));
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        read.map_ok(|count| {
            note_moved(count);
            count
        })
    }

    /// Reads what is there to the end of `buffer`, at most its spare capacity, of which [`READ_BYTES`] are reserved if
    /// it has none, and at most `limit`, which is above 0.
    pub fn poll_read_buf(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(READ_BYTES);
        }
        sys::fill_spare(buffer, |spare| {
            let limit = limit.min(spare.len());
            self.poll_read(context, &mut spare[..limit])
        })
    }

    /// Has a read that must wait be woken when `count` bytes are there, or the peer's end, or as many as the socket can
    /// take: 1 but where it is known that more must come before anything can be done (`SO_RCVLOWAT`).
    pub fn wait_for_bytes(&mut self, count: usize) {
        if count != self.low_water && sys::set_low_water(sys::lend(&self.stream), count).is_ok() {
            self.low_water = count;
        }
    }

    /// As [`Socket::poll_read_buf`]. Loses nothing when dropped half way.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| self.poll_read_buf(context, buffer, usize::MAX)).await
    }

    /// Sends from the front of `slices` what the socket's buffer takes, at least one byte and at most 256 KiB; `Ok(0)` if
    /// there is none.
    pub fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let skipped = slices.iter().take_while(|slice| slice.is_empty()).count();
        let slices = &slices[skipped..];
        let Some(first) = slices.first() else {
            return Poll::Ready(Ok(0));
        };
        ready!(poll_turn(context));
        let fd = sys::lend(&self.stream);
        let sent = match sendable(slices) {
            0 => sys::send_vectored(fd, &[IoSlice::new(&first[..SEND_BYTES_MAX])]),
            count => sys::send_vectored(fd, &slices[..count]),
        };
        match sent {
            Ok(count) => {
                note_moved(count);
                Poll::Ready(Ok(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The executor's stream sends only one slice, but it is what arms the wait for room.
                Pin::new(&mut self.stream).poll_write(context, first)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sends everything, from several places without a copy. `slices` is consumed on the way.
    ///
    /// Dropped half way, it has sent an unknown part: close the connection then.
    pub async fn write_vectored(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Drops empty slices at the front, so that "no slice left" means "all sent".
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let sent = poll_fn(|context| self.poll_write_vectored(context, slices)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, sent);
        }
        Ok(())
    }

    /// Sends all of `bytes`.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_vectored(&mut [IoSlice::new(bytes)]).await
    }

    /// Ends one direction or both; a waiting read returns `Ok(0)`.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how).await.map_err(io_error)
    }

    /// The other end, as it was when the connection was made.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr().map_err(io_error)
    }

    /// Sets the kernel's buffer sizes; `None` leaves its own choice, which adapts.
    pub fn set_buffers(
        &self,
        receive_bytes: Option<usize>,
        send_bytes: Option<usize>,
    ) -> io::Result<()> {
        let fd = sys::lend(&self.stream);
        let options = socket2::SockRef::from(&fd);
        receive_bytes.map_or(Ok(()), |bytes| options.set_recv_buffer_size(bytes))?;
        send_bytes.map_or(Ok(()), |bytes| options.set_send_buffer_size(bytes))
    }
}

impl RawAccepted {
    /// `None`: the peer is gone already, and the descriptor closed.
    pub(super) fn new(accepted: AcceptedTcpStream) -> Option<RawAccepted> {
        // On an error the call has closed the descriptor by itself: it must not be touched again.
        let peer = accepted.peer_addr().ok()?;
        Some(RawAccepted {
            descriptor: Some(Descriptor::Accepted(accepted)),
            peer,
            read: BytesMut::new(),
        })
    }

    /// What was read of the connection before it came here.
    pub fn take_read(&mut self) -> BytesMut {
        std::mem::take(&mut self.read)
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl Drop for RawAccepted {
    fn drop(&mut self) {
        // The executor's type does not close; only a bound stream does. Outside an executor the process is ending.
        if let Some(Descriptor::Accepted(accepted)) = self.descriptor.take()
            && is_inside()
        {
            drop(accepted.bind_to_executor());
        }
    }
}

/// Connects to an address, waiting at most `timeout`.
pub async fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Socket> {
    let stream = TcpStream::connect_timeout(address, timeout)
        .await
        .map_err(io_error)?;
    Socket::new(stream, address)
}

/// Looks `host` up without blocking the shard and connects to the first of its addresses that answers; `timeout` is
/// for each address.
pub async fn connect_host(host: &str, port: u16, timeout: Duration) -> io::Result<Socket> {
    let name = host.to_owned();
    let addresses = blocking(move || resolve(&name, port))
        .await
        .map_err(|Panicked(why)| io::Error::other(why))??;
    let mut last = None;
    for address in addresses {
        match connect(address, timeout).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))
    }))
}

pub(super) fn io_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

/// How much a read into a full buffer reserves.
pub const READ_BYTES: usize = 16 << 10;
/// Slices a send takes at once; more gain nothing.
const SLICES_MAX: usize = 64;
/// Bytes a send takes at once: about a tenth of a millisecond's copying, after which the shard may look at its rings. As
/// much as the socket's buffer takes, several megabytes, would hold up commits for milliseconds.
const SEND_BYTES_MAX: usize = 256 << 10;

/// How many of `slices` may be sent in one call; 0: the first alone is too long.
fn sendable(slices: &[IoSlice<'_>]) -> usize {
    let slices = slices.iter().take(SLICES_MAX);
    let ends = slices.scan(0, |end, slice| {
        *end += slice.len();
        Some(*end)
    });
    ends.take_while(|end| *end <= SEND_BYTES_MAX).count()
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
