//! Goal: what comes by the native wire is counted and explained as what comes by Kafka's is, and apart from it.
//!
//! Method: raw frames on a broker with both wires and an admin listener; counts are held against what was sent, and a
//! stream that has to wait is seen to wait.

use std::thread::sleep;
use std::time::Duration;

use ringlog::wire::{BatchesV1, MetadataRequestV1, UnsubscribeV1};
use serde_json::Value as Json;

use super::Watched;
use crate::broker::free_port;
use crate::native::{Both, Raw, batch, subscribe};

/// A broker of two shards with both wires and an admin listener.
fn start(dir: &std::path::Path) -> (Watched, std::net::SocketAddr, [u8; 16]) {
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let both = Both::start(dir, &[&format!("admin.listener={admin}")]);
    let topic_id = both.create("native", 4);
    let native = both.native;
    let broker = both.broker;
    (Watched { broker, admin }, native, topic_id)
}

/// Reads what streams push until so many batches came.
fn pushed(raw: &mut Raw, batches: usize) {
    let mut seen = 0;
    while seen < batches {
        let frame = raw.receive().expect("a push");
        let control = frame.read_owned::<BatchesV1>().expect("batches");
        assert_eq!(control.error, 0);
        seen += ringlog::record::split(&frame.body).count();
    }
}

const REQUESTS: usize = 40;

#[test]
fn requests_of_the_native_wire_are_counted_with_their_stages_and_apart_from_kafkas() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, address, topic_id) = start(dir.path());
    let mut raw = Raw::connect(address);
    raw.greet(None);
    let before = watched.scrape();
    assert!(
        !before.names().any(|name| name.contains("api=\"Native")),
        "nothing is told of a wire that nobody has used"
    );
    for number in 0..REQUESTS {
        // Of both shards: some parts of these requests go by mail.
        let batches = [0, 1, 2, 3].map(|partition| (partition, batch(&[number as u64], None, 100)));
        let rows = raw.produce(topic_id, &batches);
        assert!(rows.iter().all(|row| row.error == 0));
    }
    raw.send(5, &MetadataRequestV1 { topics: None }, b"");
    raw.receive().expect("an answer");
    raw.send(6, &UnsubscribeV1 { stream: 9 }, b"");
    // A kind that is a broker's answer and no request.
    let lie = ringlog::wire::ErrorV1 {
        code: 0,
        message: String::new(),
        closes: false,
    };
    raw.send(7, &lie, b"");
    assert_eq!(raw.error().0, 7);
    raw.send(8, &subscribe(topic_id, 1 << 20, &[0; 4]), b"");
    pushed(&mut raw, REQUESTS * 4);
    let after = watched.scrape();
    let grew = |name: &str| after.value(name) - before.value(name);
    let count = |api: &str| grew(&format!(r#"ringlog_request_seconds_count{{api="{api}"}}"#));
    assert_eq!(count("NativeProduce"), REQUESTS as f64);
    assert_eq!(count("NativeMetadata"), 1.0);
    assert_eq!(count("NativeRefused"), 1.0);
    assert_eq!((count("Produce"), count("Metadata")), (0.0, 0.0));
    let pushes = count("NativePush");
    assert!(pushes >= 1.0 && pushes <= (REQUESTS * 4) as f64, "{pushes}");
    for (api, stages, wanted) in [
        (
            "NativeProduce",
            &["queue", "mailbox", "append", "commit", "wait", "send"][..],
            REQUESTS as f64,
        ),
        (
            "NativePush",
            &["queue", "mailbox", "read", "wait", "send"][..],
            pushes,
        ),
    ] {
        let sums = stages.iter().map(|stage| {
            let labels = format!(r#"{{api="{api}",stage="{stage}"}}"#);
            let counted = grew(&format!("ringlog_request_stage_seconds_count{labels}"));
            assert_eq!(counted, wanted, "{api} {stage}");
            grew(&format!("ringlog_request_stage_seconds_sum{labels}"))
        });
        let sum: f64 = sums.sum();
        let total = grew(&format!(r#"ringlog_request_seconds_sum{{api="{api}"}}"#));
        // The two shards work side by side, and the time of each counts: a push's two reads, and of a produce what is
        // appended here while the mail is away.
        let append = r#"ringlog_request_stage_seconds_sum{api="NativeProduce",stage="append"}"#;
        let most = match api {
            "NativePush" => total * 2.0,
            _ => total * 1.01 + grew(append),
        };
        assert!(
            sum >= total * 0.7 && sum <= most,
            "{api}: stages {sum} of {total}"
        );
    }
    let mailbox = r#"ringlog_request_stage_seconds_sum{api="NativeProduce",stage="mailbox"}"#;
    assert!(grew(mailbox) > 0.0, "one shard had to ask the other");
    let mut apis: Vec<&str> = after
        .names()
        .filter(|name| name.starts_with("ringlog_request_seconds_count") && name.contains("Native"))
        .collect();
    apis.sort_unstable();
    assert_eq!(apis.len(), 4, "{apis:?}");
}

#[test]
fn slow_requests_of_the_native_wire_are_explained_and_a_stream_that_waits_is_not_slow() {
    let dir = tempfile::tempdir().unwrap();
    let (watched, address, topic_id) = start(dir.path());
    let mut raw = Raw::connect(address);
    raw.greet(None);
    const PARKED: Duration = Duration::from_millis(400);
    raw.send(8, &subscribe(topic_id, 1 << 20, &[0; 4]), b"");
    sleep(PARKED);
    let mut other = Raw::connect(address);
    other.greet(None);
    let rows = other.produce(topic_id, &[(0, batch(&[1, 2, 3], None, 100))]);
    assert_eq!(rows[0].error, 0);
    pushed(&mut raw, 1);
    let slow = watched.tool(&["explain", "slow", "--json", "--limit", "500"]);
    let slow: Vec<Json> = serde_json::from_str(&slow).expect("JSON");
    let of = |api: &str| -> &Json {
        let found = slow.iter().find(|row| row["api"] == api);
        found.unwrap_or_else(|| panic!("no {api} in {slow:?}"))
    };
    let stages = |row: &Json| -> Vec<(String, u64)> {
        serde_json::from_value(row["stages"].clone()).expect("stages")
    };
    let number = |row: &Json, key: &str| row[key].as_u64().expect(key);
    let produce = of("NativeProduce");
    let sum: u64 = stages(produce).iter().map(|(_, us)| us).sum();
    let total = number(produce, "total_us");
    assert!(sum > 0 && sum <= total + 10, "{produce}");
    let sent = 3 * 100;
    assert!(number(produce, "request_bytes") > sent, "{produce}");
    let push = of("NativePush");
    let waited = stages(push).into_iter().find(|(name, _)| name == "wait");
    let waited = waited.map_or(0, |(_, us)| us);
    let parked = PARKED.as_micros() as u64;
    assert!(waited >= parked, "it waited for a record: {push}");
    let busy = number(push, "busy_us");
    assert!(busy + waited <= number(push, "total_us") + 10, "{push}");
    assert!(busy < parked, "and waiting is not slowness: {push}");
    assert!(number(push, "response_bytes") > sent, "{push}");
    let table = watched.tool(&["explain", "slow"]);
    assert!(table.contains("NativeProduce v1"), "{table}");
}
