//! Goal: whoever means harm to the admin listener costs it one connection, and Kafka's clients nothing.
//!
//! Method: requests that are too large, too slow, wrong or no HTTP at all, and after each of them a good one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Watched;
use super::http::{exchange, get};

fn still_well(watched: &mut Watched) {
    assert_eq!(get(watched.admin, "/healthz").status, 200);
    watched.broker.assert_running();
    watched
        .broker
        .client()
        .api_versions()
        .expect("Kafka's clients are served");
}

#[test]
fn wrong_requests_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(dir.path(), &[]);
    let unknown = get(watched.admin, "/nowhere");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("/metrics"), "{}", unknown.body);
    for path in [
        "/api/v1/nothing",
        "/metrics/",
        "//metrics",
        "/..%2f..%2fetc/passwd",
    ] {
        assert_eq!(get(watched.admin, path).status, 404, "{path}");
    }
    for path in [
        "/api/v1/topics?limit=0",
        "/api/v1/topics?limit=99999",
        "/metrics?what=1",
    ] {
        assert_eq!(get(watched.admin, path).status, 400, "{path}");
    }
    for method in ["POST", "DELETE", "BREW"] {
        let request =
            format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        let answer = exchange(watched.admin, request.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 405, "{method}");
        assert!(
            answer.head.to_lowercase().contains("allow: get, head"),
            "{}",
            answer.head
        );
    }
    let head =
        exchange(watched.admin, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    still_well(&mut watched);
}

#[test]
fn requests_that_are_too_large_or_no_http_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(dir.path(), &[]);
    let long = "x".repeat(1 << 20);
    let header = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n");
    let target = format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n");
    let many: String = (0..5000).map(|i| format!("X-{i}: 1\r\n")).collect();
    let many = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    for request in [header, target, many] {
        if let Some(answer) = exchange(watched.admin, request.as_bytes()) {
            assert!((400..500).contains(&answer.status), "{}", answer.head);
        }
        still_well(&mut watched);
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        &[0; 4096],
        b"GET\r\n\r\n",
        b"\r\n",
    ] {
        let mut stream = TcpStream::connect(watched.admin).unwrap();
        stream.write_all(garbage).unwrap();
        drop(stream);
        still_well(&mut watched);
    }
    let refused = watched.scrape().value("ringlog_admin_refused_total");
    assert!(refused >= 1.0, "{refused}");
}

#[test]
fn slow_clients_are_cut_and_many_of_them_keep_others_out_for_moments_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(dir.path(), &[]);
    let began = Instant::now();
    // As many as are served at once: each has begun a request and sends a byte now and then.
    let mut slow: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(watched.admin).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
            stream
        })
        .collect();
    // One more is closed without an answer, or refused while its request is being sent.
    std::thread::sleep(Duration::from_millis(300));
    assert!(exchange(watched.admin, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").is_none());
    let mut cut = 0;
    while cut < slow.len() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{cut} are cut after 20 s"
        );
        std::thread::sleep(Duration::from_millis(500));
        cut = 0;
        for stream in &mut slow {
            let _ = stream.write_all(b"x");
            stream
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            let is_open = match stream.read(&mut [0; 512]) {
                Err(error) => matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ),
                Ok(_) => false,
            };
            cut += usize::from(!is_open);
        }
    }
    still_well(&mut watched);
}
