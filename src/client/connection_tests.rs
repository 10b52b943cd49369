//! Goal: a connection tells apart what may go wrong, and survives all of it.
//!
//! Method: a scripted broker, a thread on a loopback socket, that answers, refuses, stalls, closes or sends rubbish.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::protocol::api_versions::ApiVersion;
use crate::protocol::metadata::{MetadataRequest, MetadataResponse};
use crate::protocol::{ApiKey, RequestHeader, write_response};
use crate::rt;

/// One client's connection, seen from the broker.
struct Peer(TcpStream);

impl Peer {
    /// The next request: its header; `None` when the client has gone.
    fn request(&mut self) -> Option<RequestHeader> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).ok()?;
        RequestHeader::decode(&mut Reader::new(Bytes::from(frame))).ok()
    }

    fn answer<M: Message>(&mut self, request: &RequestHeader, version: i16, body: &M) {
        let mut writer = Writer::new();
        write_response(&mut writer, version, request.correlation_id, body);
        self.0.write_all(writer.as_slice()).unwrap();
    }

    /// Answers the first request with the versions of Metadata.
    fn greet(&mut self, metadata: (i16, i16)) {
        let request = self.request().unwrap();
        let body = versions(
            0,
            &[(ApiKey::Metadata, metadata), (ApiKey::ApiVersions, (0, 4))],
        );
        self.answer(&request, request.api_version, &body);
    }
}

fn versions(error_code: i16, apis: &[(ApiKey, (i16, i16))]) -> ApiVersionsResponse {
    let rows = apis
        .iter()
        .map(|&(api, (min_version, max_version))| ApiVersion {
            api_key: api.code(),
            min_version,
            max_version,
        });
    ApiVersionsResponse {
        error_code,
        api_keys: rows.collect(),
        ..Default::default()
    }
}

/// Runs `client` against a broker that does as `script` says.
fn against<T>(
    script: impl FnOnce(&mut Peer) + Send + 'static,
    client: impl AsyncFnOnce(String, ConnectionOptions) -> T,
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = thread::spawn(move || script(&mut Peer(listener.accept().unwrap().0)));
    let options = ConnectionOptions {
        request_timeout: Duration::from_millis(200),
        ..Default::default()
    };
    let outcome = rt::run_local(client(address, options)).unwrap();
    broker.join().unwrap();
    outcome
}

fn ask(connection: &Connection) -> impl Future<Output = Result<MetadataResponse, ClientError>> {
    let connection = connection.clone();
    async move { connection.call(&MetadataRequest::default()).await }
}

#[test]
fn an_old_broker_that_refuses_our_version_is_asked_in_its_own() {
    let script = |peer: &mut Peer| {
        let first = peer.request().unwrap();
        assert_eq!(first.api_version, 4);
        // The refusal is in version 0, whatever was asked (KIP-511).
        let refusal = versions(
            ErrorCode::UnsupportedVersion.code(),
            &[(ApiKey::ApiVersions, (0, 2))],
        );
        peer.answer(&first, 0, &refusal);
        let second = peer.request().unwrap();
        assert_eq!(second.api_version, 2);
        peer.answer(&second, 2, &versions(0, &[(ApiKey::Metadata, (0, 5))]));
    };
    against(script, async |address, options| {
        let connection = Connection::open(&address, &options).await.unwrap();
        assert_eq!(connection.version::<MetadataRequest>(), Ok(5));
        let other = connection.version::<crate::protocol::fetch::FetchRequest>();
        assert!(matches!(
            other,
            Err(ClientError::Unsupported { api: "Fetch", .. })
        ));
    });
}

#[test]
fn requests_are_pipelined_and_answers_reach_their_callers() {
    let script = |peer: &mut Peer| {
        peer.greet((0, 9));
        // Both are here before either is answered.
        let requests = [peer.request().unwrap(), peer.request().unwrap()];
        for (controller_id, request) in requests.iter().enumerate() {
            let body = MetadataResponse {
                controller_id: controller_id as i32,
                ..Default::default()
            };
            peer.answer(request, 9, &body);
        }
        assert!(
            peer.request().is_none(),
            "dropping the last handle closes the connection"
        );
    };
    against(script, async |address, options| {
        let connection = Connection::open(&address, &options).await.unwrap();
        let (a, b) = futures_lite::future::zip(ask(&connection), ask(&connection)).await;
        assert_eq!((a.unwrap().controller_id, b.unwrap().controller_id), (0, 1));
        assert!(connection.is_open());
        drop(connection);
        rt::sleep(Duration::from_millis(20)).await;
    });
}

#[test]
fn a_broker_that_closes_fails_what_is_in_flight_and_what_comes() {
    let script = |peer: &mut Peer| {
        peer.greet((0, 9));
        peer.request();
    };
    against(script, async |address, options| {
        let connection = Connection::open(&address, &options).await.unwrap();
        let closed = Err(ClientError::Closed { address });
        assert_eq!(ask(&connection).await, closed);
        assert_eq!(ask(&connection).await, closed);
        assert!(!connection.is_open());
    });
}

#[test]
fn a_broker_that_stalls_is_given_up_after_the_deadline() {
    let script = |peer: &mut Peer| {
        peer.greet((0, 9));
        while peer.request().is_some() {}
    };
    against(script, async |address, options| {
        let connection = Connection::open(&address, &options).await.unwrap();
        let begun = Instant::now();
        let answer = ask(&connection).await;
        assert!(
            matches!(answer, Err(ClientError::Timeout { .. })),
            "{answer:?}"
        );
        let waited = begun.elapsed();
        assert!(
            waited >= options.request_timeout && waited < Duration::from_secs(5),
            "{waited:?}"
        );
        drop(connection);
        rt::sleep(Duration::from_millis(20)).await;
    });
}

#[test]
fn rubbish_is_called_so() {
    for (rubbish, word) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "bytes"),
        (b"\0\0\0\x04\0\0\0\x63", "response 99"),
        (b"\0\0\0\x06\0\0\0\x00\0\0", "cannot be read"),
    ] {
        let script = move |peer: &mut Peer| {
            peer.request();
            peer.0.write_all(rubbish).unwrap();
            while peer.request().is_some() {}
        };
        against(script, async |address, options| {
            match Connection::open(&address, &options).await.err() {
                Some(ClientError::Protocol { what, .. }) => assert!(what.contains(word), "{what}"),
                other => panic!("{other:?}"),
            }
            rt::sleep(Duration::from_millis(20)).await;
        });
    }
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    // Bound and closed again: free for the moment.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let opened = rt::run_local(async {
        Connection::open(&address, &ConnectionOptions::default())
            .await
            .err()
    });
    assert_eq!(opened.unwrap(), Some(ClientError::Refused { address }));
}

#[test]
fn the_highest_version_of_both_is_taken() {
    assert_eq!(highest_common((0, 13), (3, 9)), Some(9));
    assert_eq!(highest_common((3, 9), (0, 13)), Some(9));
    assert_eq!(highest_common((3, 9), (10, 13)), None);
    assert_eq!(highest_common((4, 18), (4, 4)), Some(4));
}
