//! The task behind a connection: writes what is submitted, reads what is answered, both at once.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::protocol::Writer;
use crate::rt;

use super::connection::Shared;
use super::error::ClientError;
use super::frames::FrameBuffer;

/// Connects to `HOST:PORT`.
pub(super) async fn connect(address: &str, timeout: Duration) -> Result<rt::Socket, ClientError> {
    let (host, port) = split_address(address)?;
    let socket = match host.parse::<IpAddr>() {
        Ok(ip) => rt::connect((ip, port).into(), timeout).await,
        Err(_) => rt::connect_host(host, port, timeout).await,
    };
    let address = address.to_owned();
    socket.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ClientError::Refused { address },
        io::ErrorKind::TimedOut => ClientError::Timeout {
            what: format!("connecting to {address}"),
            after: timeout,
        },
        io::ErrorKind::NotFound => ClientError::Resolve {
            address,
            why: error.to_string(),
        },
        _ => ClientError::Connect {
            address,
            why: error.to_string(),
        },
    })
}

/// Starts what keeps a connection going, until it is lost or nobody uses it.
pub(super) fn start(shared: &Rc<Shared>, socket: rt::Socket) {
    let pump = Pump {
        frames: FrameBuffer::new(shared.frame_bytes_max()),
        shared: shared.clone(),
        socket,
        writing: Writer::new(),
        written: 0,
    };
    rt::spawn(rt::Queue::Net, "client connection", pump.run());
    let timeout = shared.request_timeout();
    let watched = watch(Rc::downgrade(shared), timeout, Shared::check_deadline);
    rt::spawn(rt::Queue::Net, "client deadline", watched);
}

struct Pump {
    shared: Rc<Shared>,
    socket: rt::Socket,
    frames: FrameBuffer,
    /// What is being written, and how much of it the kernel has.
    writing: Writer,
    written: usize,
}

impl Pump {
    async fn run(mut self) {
        let error = poll_fn(|context| self.poll(context)).await;
        self.shared.fail(error);
    }

    /// Moves bytes both ways until neither can move; ready with why the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ClientError> {
        for _ in 0..TURNS_MAX {
            if let Some(error) = self.shared.failed() {
                return Poll::Ready(error);
            }
            let (wrote, read) = (self.poll_write(context), self.poll_read(context));
            match (wrote, read) {
                (Err(error), _) | (_, Err(error)) => return Poll::Ready(error),
                (Ok(false), Ok(false)) => {
                    self.shared.park_writer(context.waker());
                    return Poll::Pending;
                }
                _ => {}
            }
        }
        // The other tasks of the executor get their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether anything was written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, ClientError> {
        if self.written == self.writing.as_slice().len() {
            self.written = 0;
            self.writing.clear();
            if !self.shared.take_outgoing(&mut self.writing) {
                return Ok(false);
            }
        }
        let rest = IoSlice::new(&self.writing.as_slice()[self.written..]);
        match self.socket.poll_write_vectored(context, &[rest]) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(count)) => {
                self.written += count;
                if self.written == self.writing.as_slice().len() {
                    self.shared.on_written();
                }
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(self.shared.lost(&error)),
        }
    }

    /// Whether anything was read.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<bool, ClientError> {
        match self
            .socket
            .poll_read_buf(context, self.frames.room(rt::READ_BYTES), usize::MAX)
        {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(self.shared.closed()),
            Poll::Ready(Ok(_)) => self.shared.on_received(&mut self.frames).map(|()| true),
            Poll::Ready(Err(error)) => Err(self.shared.lost(&error)),
        }
    }
}

/// Looks at a connection now and then, which ends it when a request has waited too long.
///
/// - `look`: returns whether the connection is over.
pub(super) async fn watch<S>(shared: Weak<S>, timeout: Duration, look: impl Fn(&S) -> bool) {
    let tick = (timeout / 8).clamp(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        rt::sleep(tick).await;
        match shared.upgrade() {
            Some(shared) if !look(&shared) => {}
            _ => return,
        }
    }
}

/// Host and port of `HOST:PORT`; an IPv6 address is in brackets.
fn split_address(address: &str) -> Result<(&str, u16), ClientError> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| {
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        Some((host, port.parse().ok()?))
    });
    parts.ok_or_else(|| ClientError::Invalid(format!("'{address}' is not HOST:PORT")))
}

/// How often a connection moves bytes before it lets other tasks run.
pub(super) const TURNS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(split_address("broker:9092"), Ok(("broker", 9092)));
        assert_eq!(split_address("[::1]:1"), Ok(("::1", 1)));
        for wrong in ["broker", "broker:", "broker:99999", ""] {
            assert!(split_address(wrong).is_err(), "{wrong:?}");
        }
    }
}
