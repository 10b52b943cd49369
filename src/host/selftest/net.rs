//! The network between two machines, or the loopback: round trips and streams, by the sockets that the broker uses.
//!
//! The other side serves a protocol of its own, for as long as it was told and no longer. It asks nobody who they are: it keeps
//! nothing and reads nothing, but whoever reaches it may use its network, within these bounds.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | what: 1 echo, 2 to the server, 3 from the server |
//! | 12 | 4 | bytes of a message, 1 to 1 MiB |
//! | 16 | 4 | milliseconds that it lasts at most, 1 to 60,000 |
//!
//! Numbers are little-endian. The server answers with the magic and then echoes each message, or takes bytes until the client
//! ends its side and tells how many it got (8 bytes), or sends until the time is up. Anything else ends the connection.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde::Serialize;

use super::lat::{Latencies, Latency};
use super::pattern::rate;
use crate::rt::{self, BoundListener, ListenOptions, Queue, Socket};

/// Begins every connection, both ways.
const MAGIC: [u8; 8] = *b"RLSELF1\n";
const HELLO_BYTES: usize = 20;
const MESSAGE_BYTES_MAX: u32 = 1 << 20;
const MILLIS_MAX: u32 = 60_000;
/// Connections that are served at one time.
const CONNECTIONS_MAX: u32 = 4;
/// Beyond the time asked for: for the hello, and for what is under way.
const GRACE: Duration = Duration::from_secs(3);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const STREAM_BYTES: u32 = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Echo = 1,
    ToServer = 2,
    FromServer = 3,
}

/// Bounds of the whole test.
#[derive(Clone, Copy, Debug)]
pub struct NetOptions {
    pub time: Duration,
    /// Over the network, both ways together.
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct NetReport {
    pub peer: String,
    pub figures: Vec<NetFigure>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NetFigure {
    pub name: &'static str,
    pub message_bytes: u32,
    pub messages: u64,
    pub seconds: f64,
    pub mib_per_second: f64,
    /// Of a message there and back; of streams, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Hello {
    what: What,
    message_bytes: u32,
    millis: u32,
}

impl Hello {
    fn encode(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&(self.what as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.message_bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.millis.to_le_bytes());
        bytes
    }

    /// `None`: not what a client of ours sends, or out of the bounds.
    fn decode(bytes: &[u8]) -> Option<Hello> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let (what, message_bytes, millis) = (number(8)?, number(12)?, number(16)?);
        let is_ours = bytes.len() == HELLO_BYTES && bytes.starts_with(&MAGIC);
        let is_bounded =
            (1..=MESSAGE_BYTES_MAX).contains(&message_bytes) && (1..=MILLIS_MAX).contains(&millis);
        let what = match what {
            1 => What::Echo,
            2 => What::ToServer,
            3 => What::FromServer,
            _ => return None,
        };
        (is_ours && is_bounded).then_some(Hello {
            what,
            message_bytes,
            millis,
        })
    }
}

/// Serves peers for `lifetime`. Inside an executor.
pub async fn serve(bound: BoundListener, lifetime: Duration) {
    let began = Instant::now();
    let listener = bound.listen();
    let served = Rc::new(Cell::new(0));
    while let Some(left) = lifetime.checked_sub(began.elapsed()) {
        let Ok(accepted) = rt::timeout(left, listener.accept()).await else {
            break;
        };
        if served.get() >= CONNECTIONS_MAX {
            continue;
        }
        let Ok(socket) = Socket::adopt(accepted) else {
            continue;
        };
        served.set(served.get() + 1);
        let served = served.clone();
        rt::spawn(Queue::Net, "self-test of the network", async move {
            // A peer that sends something else, or goes away, costs its connection.
            let _ = answer(socket).await;
            served.set(served.get() - 1);
        });
    }
}

async fn answer(mut socket: Socket) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(HELLO_BYTES);
    let hello = rt::timeout(GRACE, read_exactly(&mut socket, &mut buffer, HELLO_BYTES));
    hello.await??;
    let hello = Hello::decode(&buffer).ok_or(io::ErrorKind::InvalidData)?;
    buffer.clear();
    let time = Duration::from_millis(u64::from(hello.millis));
    rt::timeout(time + GRACE, answer_hello(&mut socket, buffer, hello, time)).await?
}

async fn answer_hello(
    socket: &mut Socket,
    mut buffer: BytesMut,
    hello: Hello,
    time: Duration,
) -> io::Result<()> {
    socket.write_all(&MAGIC).await?;
    let size = hello.message_bytes as usize;
    let began = Instant::now();
    match hello.what {
        What::Echo => loop {
            read_exactly(socket, &mut buffer, size).await?;
            socket.write_all(&buffer[..size]).await?;
            buffer.clear();
        },
        What::ToServer => {
            let mut received: u64 = 0;
            buffer.reserve(size);
            loop {
                match socket.read_buf(&mut buffer).await? {
                    0 => break,
                    count => received += count as u64,
                }
                buffer.clear();
            }
            socket.write_all(&received.to_le_bytes()).await
        }
        What::FromServer => {
            let message = vec![7; size];
            while began.elapsed() < time {
                socket.write_all(&message).await?;
            }
            socket.shutdown(Shutdown::Write).await
        }
    }
}

/// Reads so many bytes and no more; `buffer` must be empty.
async fn read_exactly(socket: &mut Socket, buffer: &mut BytesMut, count: usize) -> io::Result<()> {
    buffer.reserve(count);
    while buffer.len() < count {
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    // A message that follows before it is asked for is not of this protocol.
    match buffer.len() == count {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Measures the way to a peer that serves; the loopback where none is named. Blocks; not inside an executor.
///
/// - `Err`: in words.
pub fn peer(address: Option<(&str, u16)>, options: NetOptions) -> Result<NetReport, String> {
    let (host, port) = match address {
        Some((host, port)) => (host.to_owned(), port),
        None => {
            let address = serve_here(options.time * 2 + GRACE)?;
            (address.ip().to_string(), address.port())
        }
    };
    let measured = rt::run_local(async {
        let mut figures = Vec::new();
        for (left, (name, what, message_bytes)) in (1..=MEASURED.len() as u32).rev().zip(MEASURED) {
            let done: Duration = figures
                .iter()
                .map(|f: &NetFigure| f.seconds)
                .map(Duration::from_secs_f64)
                .sum();
            let used: f64 = figures.iter().map(|f| f.mib_per_second * f.seconds).sum();
            let time = options.time.saturating_sub(done) / left;
            let bytes = options
                .bytes
                .saturating_sub((used * f64::from(1 << 20)) as u64);
            let hello = Hello {
                what,
                message_bytes,
                millis: (time.as_millis() as u32).clamp(1, MILLIS_MAX),
            };
            let bound = bytes / u64::from(left);
            let measured = measure(&host, port, name, hello, bound);
            figures.push(rt::timeout(CONNECT_WITHIN + time + GRACE, measured).await??);
        }
        io::Result::Ok(figures)
    });
    let figures = measured.map_err(|error| error.to_string())?;
    Ok(NetReport {
        figures: figures.map_err(|error| format!("{host}:{port}: {error}"))?,
        peer: format!("{host}:{port}"),
    })
}

const MEASURED: [(&str, What, u32); 4] = [
    ("round trips", What::Echo, 128),
    ("round trips", What::Echo, 16 << 10),
    ("to the peer", What::ToServer, STREAM_BYTES),
    ("from the peer", What::FromServer, STREAM_BYTES),
];

/// A server on the loopback, on a thread of its own.
fn serve_here(lifetime: Duration) -> Result<SocketAddr, String> {
    let options = ListenOptions::default();
    let bound = BoundListener::bind_host("127.0.0.1", 0, &options);
    let bound = bound.map_err(|error| format!("the loopback: {error}"))?;
    let address = bound.address();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = rt::run_local(serve(bound, lifetime));
        // Whoever asked has gone when this thread lasts to its end.
        let _ = sender.send(outcome.map_err(|error| error.to_string()));
    });
    match ended.recv_timeout(Duration::from_millis(50)) {
        Ok(Err(error)) => Err(error),
        _ => Ok(address),
    }
}

async fn measure(
    host: &str,
    port: u16,
    name: &'static str,
    hello: Hello,
    bytes_max: u64,
) -> io::Result<NetFigure> {
    let mut socket = rt::connect_host(host, port, CONNECT_WITHIN).await?;
    socket.write_all(&hello.encode()).await?;
    let mut buffer = BytesMut::new();
    let size = hello.message_bytes as usize;
    let greeted = read_exactly(&mut socket, &mut buffer, MAGIC.len());
    let not_ours = || io::Error::other("no self-test answers there (ringlog selftest net --serve)");
    rt::timeout(GRACE, greeted).await?.map_err(|_| not_ours())?;
    if buffer[..] != MAGIC {
        return Err(not_ours());
    }
    buffer.clear();
    let time = Duration::from_millis(u64::from(hello.millis));
    let message = vec![7; size];
    let mut latencies = Latencies::default();
    let began = Instant::now();
    let mut moved: u64 = 0;
    let is_over = |moved: u64| began.elapsed() >= time || moved >= bytes_max;
    match hello.what {
        What::Echo => {
            while !is_over(moved) {
                let sent = Instant::now();
                socket.write_all(&message).await?;
                read_exactly(&mut socket, &mut buffer, size).await?;
                buffer.clear();
                latencies.record(sent.elapsed());
                moved += 2 * size as u64;
            }
        }
        What::ToServer => {
            while !is_over(moved) {
                socket.write_all(&message).await?;
                moved += size as u64;
            }
            socket.shutdown(Shutdown::Write).await?;
            read_exactly(&mut socket, &mut buffer, 8).await?;
            let received = u64::from_le_bytes(buffer[..8].try_into().expect("eight bytes"));
            if received != moved {
                return Err(io::Error::other(format!(
                    "{moved} bytes were sent and {received} came"
                )));
            }
        }
        What::FromServer => {
            buffer.reserve(size);
            while !is_over(moved) {
                match socket.read_buf(&mut buffer).await? {
                    0 => break,
                    count => moved += count as u64,
                }
                buffer.clear();
            }
        }
    }
    let took = began.elapsed();
    Ok(NetFigure {
        name,
        message_bytes: hello.message_bytes,
        messages: moved / size as u64 / if hello.what == What::Echo { 2 } else { 1 },
        seconds: took.as_secs_f64(),
        mib_per_second: rate(moved, took),
        latency: (hello.what == What::Echo).then(|| latencies.told()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn what_is_out_of_bounds_or_not_ours_is_refused() {
        let good = Hello {
            what: What::Echo,
            message_bytes: 128,
            millis: 1000,
        };
        let bytes = good.encode();
        assert_eq!(Hello::decode(&bytes), Some(good));
        for end in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..end]), None, "{end}");
        }
        for (at, value) in [(0, b'X'), (8, 0), (8, 4), (12, 0), (15, 1), (19, 1)] {
            let mut bytes = bytes;
            bytes[at] = value;
            assert_eq!(Hello::decode(&bytes), None, "{at}: {value}");
        }
    }

    #[test]
    fn the_loopback_is_measured_within_its_bounds_and_strangers_are_closed() {
        let address = serve_here(Duration::from_secs(8)).expect("serves");
        for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 64]] {
            let mut stranger = TcpStream::connect(address).expect("connects");
            stranger.write_all(bytes).expect("sends");
            let mut answer = Vec::new();
            // A reset is as good as an end: bytes that were not read are thrown away with the socket.
            let _ = stranger.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{answer:?}");
        }
        let options = NetOptions {
            time: Duration::from_millis(400),
            bytes: 64 << 20,
        };
        let host = address.ip().to_string();
        let began = Instant::now();
        let report = peer(Some((&host, address.port())), options).expect("measures");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(report.figures.len(), MEASURED.len());
        let moved: f64 = report
            .figures
            .iter()
            .map(|f| f.mib_per_second * f.seconds)
            .sum();
        assert!(moved <= 66.0, "{moved} MiB");
        for figure in &report.figures {
            assert!(
                figure.messages > 0 && figure.mib_per_second > 0.0,
                "{figure:?}"
            );
        }
    }

    #[test]
    fn a_peer_that_is_no_self_test_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _ = stream.write_all(b"SSH-2.0-x\r\n");
        });
        let options = NetOptions {
            time: Duration::from_millis(100),
            bytes: 1 << 20,
        };
        let refused = peer(Some(("127.0.0.1", port)), options).expect_err("no self-test");
        assert!(refused.contains("no self-test answers"), "{refused}");
    }
}
