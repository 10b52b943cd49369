//! Goal: sockets on a real ring. Method: one executor for all of it, both ends in one process over loopback.

use std::io::{IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::SEND_BYTES_MAX;
use crate::rt::{
    BoundListener, ListenOptions, Listener, Queue, RawAccepted, Socket, connect, connect_host,
    oneshot, resolve, run_local, spawn, timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn pair(listener: &Listener) -> (Socket, Socket) {
    let client = connect(listener.address(), PATIENCE).await.unwrap();
    (client, Socket::adopt(listener.accept().await).unwrap())
}

#[test]
fn sockets_on_a_real_ring() {
    run_local(async {
        let listener = BoundListener::bind(loopback(), &ListenOptions::default())
            .unwrap()
            .listen();
        reads_what_was_written(&listener).await;
        large_vectored_writes_arrive_whole_and_in_order(&listener).await;
        both_directions_in_one_task(&listener).await;
        a_dropped_acceptance_closes_the_connection(&listener).await;
        a_released_connection_goes_on_where_it_is_adopted(&listener).await;
        failing_connects(&listener).await;
    })
    .unwrap();
}

async fn reads_what_was_written(listener: &Listener) {
    let (mut client, mut server) = pair(listener).await;
    assert_eq!(server.peer_addr(), client.local_addr().unwrap());
    client.write_all(b"hello").await.unwrap();
    let mut buffer = BytesMut::with_capacity(3);
    while buffer.len() < 5 {
        assert!(server.read_buf(&mut buffer).await.unwrap() > 0);
    }
    assert_eq!(&buffer[..], b"hello");
    client.shutdown(Shutdown::Write).await.unwrap();
    assert_eq!(server.read_buf(&mut buffer).await.unwrap(), 0);
    server
        .write_vectored(&mut [IoSlice::new(b""), IoSlice::new(b"bye"), IoSlice::new(b"")])
        .await
        .unwrap();
    drop(server);
    let mut buffer = BytesMut::new();
    while client.read_buf(&mut buffer).await.unwrap() > 0 {}
    assert_eq!(&buffer[..], b"bye");
}

/// Trap H: a plain vectored write of the executor sends only the first slice.
async fn large_vectored_writes_arrive_whole_and_in_order(listener: &Listener) {
    let (mut client, mut server) = pair(listener).await;
    client.set_buffers(Some(16 << 10), None).unwrap();
    server.set_buffers(None, Some(16 << 10)).unwrap();
    let content: Rc<Vec<u8>> = Rc::new((0..8_000_000u32).map(|i| (i % 251) as u8).collect());
    let sent = content.clone();
    let (done, finished) = oneshot();
    spawn(Queue::Net, "writer", async move {
        let mut slices: Vec<IoSlice> = sent.chunks(7919).map(IoSlice::new).collect();
        server.write_vectored(&mut slices).await.unwrap();
        done.send(()).ok();
    });
    let mut received = BytesMut::new();
    while client.read_buf(&mut received).await.unwrap() > 0 {}
    finished.await.unwrap();
    assert!(
        received[..] == content[..],
        "{} of {} bytes, or another order",
        received.len(),
        content.len()
    );
}

/// Trap I: one task reads and writes at once, so that neither end waits for the other for ever.
#[test]
fn one_send_takes_a_bounded_number_of_bytes_and_slices() {
    let sendable = |lengths: &[usize]| {
        let bytes = vec![0; lengths.iter().max().copied().unwrap_or(0)];
        let slices: Vec<_> = lengths.iter().map(|&n| IoSlice::new(&bytes[..n])).collect();
        super::sendable(&slices)
    };
    assert_eq!(sendable(&[10, 20, 30]), 3);
    assert_eq!(sendable(&[SEND_BYTES_MAX]), 1);
    assert_eq!(sendable(&[SEND_BYTES_MAX + 1, 1]), 0);
    assert_eq!(sendable(&[1, SEND_BYTES_MAX - 1, 1]), 2);
    assert_eq!(sendable(&[1; 100]), super::SLICES_MAX);
}

async fn both_directions_in_one_task(listener: &Listener) {
    const TOTAL: usize = 4 << 20;
    async fn exchange(mut socket: Socket) {
        let chunk = vec![7; 64 << 10];
        let (mut sent, mut received) = (0, 0);
        let mut buffer = vec![0; 64 << 10];
        std::future::poll_fn(|context| {
            loop {
                let mut progress = false;
                if sent < TOTAL
                    && let std::task::Poll::Ready(count) =
                        socket.poll_write_vectored(context, &[IoSlice::new(&chunk)])
                {
                    sent += count.unwrap();
                    progress = true;
                }
                if received < TOTAL
                    && let std::task::Poll::Ready(count) = socket.poll_read(context, &mut buffer)
                {
                    received += count.unwrap();
                    progress = true;
                }
                if sent >= TOTAL && received >= TOTAL {
                    return std::task::Poll::Ready(());
                }
                if !progress {
                    return std::task::Poll::Pending;
                }
            }
        })
        .await;
    }
    let (client, server) = pair(listener).await;
    let both = futures_lite::future::zip(exchange(client), exchange(server));
    timeout(PATIENCE, both).await.expect("no deadlock");
}

async fn a_dropped_acceptance_closes_the_connection(listener: &Listener) {
    fn assert_send<T: Send>(_: &T) {}
    let mut client = connect(listener.address(), PATIENCE).await.unwrap();
    let raw: RawAccepted = listener.accept().await;
    assert_send(&raw);
    drop(raw);
    assert_eq!(client.read_buf(&mut BytesMut::new()).await.unwrap(), 0);
}

async fn a_released_connection_goes_on_where_it_is_adopted(listener: &Listener) {
    fn assert_send<T: Send>(_: &T) {}
    let (mut client, mut server) = pair(listener).await;
    server.wait_for_bytes(1 << 20);
    client.write_all(b"first").await.unwrap();
    client.shutdown(Shutdown::Write).await.unwrap();
    let mut read = BytesMut::with_capacity(2);
    server.read_buf(&mut read).await.unwrap();
    let mut raw = server.release(read).unwrap();
    assert_send(&raw);
    assert_eq!(raw.peer_addr(), client.local_addr().unwrap());
    let mut read = raw.take_read();
    let mut server = Socket::adopt(raw).unwrap();
    while server.read_buf(&mut read).await.unwrap() > 0 {}
    assert_eq!(&read[..], b"first");
    server.write_all(b"second").await.unwrap();
    // Dropped before it is adopted, it is closed.
    drop(server.release(BytesMut::new()).unwrap());
    let mut read = BytesMut::new();
    while client.read_buf(&mut read).await.unwrap() > 0 {}
    assert_eq!(&read[..], b"second");
}

async fn failing_connects(listener: &Listener) {
    let port = listener.address().port();
    let named = connect_host("localhost", port, PATIENCE).await.unwrap();
    drop(listener.accept().await);
    drop(named);
    let free = BoundListener::bind(loopback(), &ListenOptions::default())
        .unwrap()
        .address();
    let refused = connect(free, PATIENCE).await.err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(connect_host("no such host", 1, PATIENCE).await.is_err());
}

/// Trap G: the executor's own bind would let a second broker take half of the connections.
#[test]
fn a_port_has_one_listener() {
    let first = BoundListener::bind(loopback(), &ListenOptions::default()).unwrap();
    let taken = BoundListener::bind(first.address(), &ListenOptions::default())
        .err()
        .unwrap();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let everywhere =
        BoundListener::bind_host("", first.address().port(), &ListenOptions::default())
            .err()
            .unwrap();
    assert_eq!(everywhere.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn the_wildcard_takes_both_families() {
    let bound = BoundListener::bind_host("", 0, &ListenOptions::default()).unwrap();
    let port = bound.address().port();
    let accepting = std::thread::spawn(move || {
        run_local(async {
            let listener = bound.listen();
            let mut socket = Socket::adopt(listener.accept().await).unwrap();
            socket.write_all(b"x").await.unwrap();
        })
        .unwrap();
    });
    let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"y").unwrap();
    let mut byte = [0];
    client.read_exact(&mut byte).unwrap();
    accepting.join().unwrap();
}

#[test]
fn names_resolve_with_ipv4_first_and_bad_ones_are_errors() {
    assert_eq!(
        resolve("[::1]", 9).unwrap(),
        ["[::1]:9".parse::<SocketAddr>().unwrap()]
    );
    assert_eq!(
        resolve("127.0.0.1", 9).unwrap(),
        ["127.0.0.1:9".parse::<SocketAddr>().unwrap()]
    );
    assert!(resolve("localhost", 9).unwrap()[0].is_ipv4());
    assert!(resolve("bad host", 9).is_err());
    assert!(BoundListener::bind_host("bad host", 1, &ListenOptions::default()).is_err());
}
