//! Goal: what a broker tells of itself is true: what was produced and fetched is what its metrics count, health and
//! readiness are its own, lists have every row once, and the tools that read it show it.
//!
//! Method: a real broker with an admin listener, a known load over plain sockets, and a small reader of HTTP and of the
//! text format, so that a fault of the library's encoder cannot hide one of the broker.

mod hostile;
mod http;
mod logs;
mod monitoring;
mod native;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use ringlog::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use serde_json::Value as Json;

use self::http::{Scrape, get, get_with};
use crate::broker::{Broker, command, free_port, run_to_end};
use crate::native::batch;
use crate::wire::{Client, fetch_request};

/// A broker with an admin listener on a port of its own.
pub struct Watched {
    pub broker: Broker,
    pub admin: SocketAddr,
}

impl Watched {
    pub fn start(dir: &Path, overrides: &[&str]) -> Watched {
        let (port, admin) = (free_port(), free_port());
        let admin = SocketAddr::from(([127, 0, 0, 1], admin));
        let listener = format!("admin.listener={admin}");
        let mut all = vec![listener.as_str()];
        all.extend(overrides);
        let broker = Broker::start_with(port, dir, &all);
        Watched { broker, admin }
    }

    pub fn scrape(&self) -> Scrape {
        let answer = get(self.admin, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Scrape::parse(&answer.body)
    }

    pub fn json(&self, path: &str) -> Json {
        let answer = get(self.admin, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("it is JSON")
    }

    /// The program with a subcommand for this broker's admin listener.
    pub fn tool(&self, words: &[&str]) -> String {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"))
            .args(words)
            .args(["--admin", &self.admin.to_string()])
            .output()
            .expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }
}

/// Commits an offset for a group without members.
pub fn commit(client: &mut Client, group: &str, topic: &str, partition: i32, offset: i64) {
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_leader_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = client.call(8, &request).expect("OffsetCommit is answered");
        match answer.topics[0].partitions[0].error_code {
            0 => return,
            // Its coordinator is still being made.
            14..=16 if std::time::Instant::now() < deadline => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            error => panic!("OffsetCommit: {error}"),
        }
    }
}

/// Makes the topic of the offsets, as a client that looks for its coordinator does.
pub fn find_coordinator(client: &mut Client, group: &str) {
    use ringlog::protocol::find_coordinator::FindCoordinatorRequest;
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![group.into()],
        ..Default::default()
    };
    client
        .call(4, &request)
        .expect("FindCoordinator is answered");
}

/// Batches of each partition, and records of each batch.
const BATCHES: u64 = 25;
const RECORDS: u64 = 4;
const PARTITIONS: i32 = 4;

/// Produces to every partition and reads all of it back. Returns the bytes of the batches.
fn load(client: &mut Client, topic: &str) -> u64 {
    client.create_topic(topic, PARTITIONS).expect("a topic");
    let mut bytes = 0;
    for partition in 0..PARTITIONS {
        for _ in 0..BATCHES {
            let batch = batch(&[1; RECORDS as usize], None, 100);
            bytes += batch.len() as u64;
            let answer = client.produce(topic, partition, batch).expect("produced");
            assert_eq!(answer.error_code, 0);
        }
        let data = client
            .fetch(topic, partition, 0, 1 << 24, 0)
            .expect("fetched");
        assert_eq!(data.high_watermark, (BATCHES * RECORDS) as i64);
    }
    bytes
}

#[test]
fn what_is_produced_and_fetched_is_what_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let mut client = watched.broker.client();
    let before = watched.scrape();
    let bytes = load(&mut client, "counted");
    find_coordinator(&mut client, "late");
    commit(&mut client, "late", "counted", 0, 40);
    let after = watched.scrape();
    let grew = |name: &str| after.value(name) - before.value(name);
    let all = (BATCHES * PARTITIONS as u64) as f64;
    let records = all * RECORDS as f64;
    assert_eq!(grew("ringlog_appended_records_total"), records);
    assert_eq!(
        grew("kafka_server_brokertopicmetrics_messagesin_total"),
        records
    );
    assert_eq!(grew("ringlog_appended_batches_total"), all);
    assert_eq!(grew("ringlog_appended_bytes_total"), bytes as f64);
    assert_eq!(grew("ringlog_fetched_bytes_total"), bytes as f64);
    assert_eq!(grew(r#"ringlog_request_seconds_count{api="Produce"}"#), all);
    // Whoever makes a topic fetches too, to see that it is led.
    let fetches = grew(r#"ringlog_request_seconds_count{api="Fetch"}"#);
    assert!(fetches >= f64::from(PARTITIONS), "{fetches}");
    for (api, stages, count) in [
        (
            "Produce",
            &["queue", "mailbox", "append", "commit", "wait", "send"][..],
            all,
        ),
        (
            "Fetch",
            &["queue", "mailbox", "read", "wait", "send"][..],
            fetches,
        ),
    ] {
        let sum: f64 = stages
            .iter()
            .map(|stage| {
                let labels = format!(r#"{{api="{api}",stage="{stage}"}}"#);
                let counted = grew(&format!("ringlog_request_stage_seconds_count{labels}"));
                assert_eq!(counted, count, "{api} {stage}");
                grew(&format!("ringlog_request_stage_seconds_sum{labels}"))
            })
            .sum();
        let total = grew(&format!(r#"ringlog_request_seconds_sum{{api="{api}"}}"#));
        assert!(
            sum > 0.0 && sum <= total * 1.01,
            "{api}: stages {sum} of {total}"
        );
        assert!(
            api != "Produce" || sum >= total * 0.7,
            "{api}: stages {sum} of {total}"
        );
    }
    let topic = |what: &str| after.value(&format!(r#"ringlog_topic_{what}{{topic="counted"}}"#));
    assert_eq!(topic("appended_records_total"), records);
    assert_eq!(topic("fetched_bytes_total"), bytes as f64);
    for partition in 0..PARTITIONS {
        let labels = format!(r#"{{topic="counted",partition="{partition}"}}"#);
        let end = after.value(&format!("ringlog_partition_log_end_offset{labels}"));
        assert_eq!(end, (BATCHES * RECORDS) as f64);
    }
    let lag = r#"ringlog_group_lag_records{group="late",topic="counted",partition="0"}"#;
    assert_eq!(after.value(lag), (BATCHES * RECORDS) as f64 - 40.0);
    assert!(after.value(&lag.replace("_records", "_seconds")) >= 0.0);
    // What is durable was written by somebody.
    let written = |operation: &str| {
        let prefix = format!(r#"operation="{operation}""#);
        after.sum("ringlog_device_seconds_count", &prefix)
    };
    assert!(written("journal") + written("write") >= 1.0);
    assert!(grew("ringlog_commit_round_partitions_count") >= 1.0);
    let read = after.sum("ringlog_cache_reads_total", "");
    assert!(read >= f64::from(PARTITIONS), "{read}");
    assert_eq!(after.value("ringlog_offline_partitions"), 0.0);
    assert_eq!(after.value("ringlog_under_min_isr_partitions"), 0.0);
    assert_eq!(after.value("ringlog_active_controller"), 1.0);
    assert!(after.sum("ringlog_shard_cpu_seconds_total", "") > 0.0);
    assert!(after.value("process_resident_memory_bytes") > 1e6);
}

#[test]
fn the_format_is_what_is_asked_for_and_what_there_are_many_of_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &["admin.metrics.partitions.max=3"]);
    watched.broker.client().create_topic("many", 8).unwrap();
    let open = get_with(
        watched.admin,
        "/metrics",
        "Accept: application/openmetrics-text; version=1.0.0\r\n",
    );
    assert!(
        open.head
            .contains("application/openmetrics-text; version=1.0.0"),
        "{}",
        open.head
    );
    assert!(open.body.ends_with("# EOF\n"));
    let plain = get(watched.admin, "/metrics");
    assert!(
        plain.head.contains("text/plain; version=0.0.4"),
        "{}",
        plain.head
    );
    assert!(!plain.body.contains("# EOF"));
    let scrape = Scrape::parse(&plain.body);
    let rows = scrape
        .names()
        .filter(|name| name.starts_with("ringlog_partition_bytes{"));
    assert_eq!(rows.count(), 3, "rows are bounded");
    assert_eq!(scrape.value("ringlog_metrics_partitions_untold"), 5.0);
    for wrong in ["/metrics?names=ours", "/metrics?partitions=no"] {
        let refused = get(watched.admin, wrong);
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.body);
    }
    let without = get(watched.admin, "/metrics?without=partitions,topics,groups");
    assert!(
        !without.body.contains("\nringlog_partition_bytes{"),
        "left out"
    );
    assert!(without.body.contains("\nringlog_requests_total "));
}

#[test]
fn health_and_readiness_are_told_by_status() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let health = watched.json("/healthz");
    assert_eq!(
        (health["status"].as_str(), health["shards"].as_i64()),
        (Some("ok"), Some(2))
    );
    // Who is answered on Kafka's port is answered here: the line of readiness comes a moment later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while get(watched.admin, "/readyz").status != 200 {
        assert!(std::time::Instant::now() < deadline, "never ready");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ready = watched.json("/readyz");
    for step in ["ready", "recovered", "controller", "listeners"] {
        assert_eq!(ready[step], Json::Bool(true), "{step}");
    }
    assert_eq!(ready["stuck_shards"], serde_json::json!([]));
}

/// A broker that stops says so for as long as it can be asked: a load balancer takes it out before its clients notice.
#[test]
fn a_broker_that_stops_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(dir.path(), &[]);
    let mut client = watched.broker.client();
    client.create_topic("large", 1).unwrap();
    for _ in 0..40 {
        let answer = client.produce("large", 0, batch(&[1], None, 1_000_000));
        assert_eq!(answer.expect("produced").error_code, 0);
    }
    assert_eq!(get(watched.admin, "/readyz").status, 200);
    // An answer that nobody takes, larger than the sockets hold: the stop waits some seconds for it.
    let mut slow = watched.broker.client();
    let request = fetch_request("large", 0, 0, 1 << 26, 0);
    slow.send(11, &request).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    watched.broker.signal(libc::SIGTERM);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3);
    let told = loop {
        let answer = get(watched.admin, "/readyz");
        if answer.status != 200 {
            break answer;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "ready: {}",
            answer.body
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let state: Json = serde_json::from_str(&told.body).expect("it is JSON");
    assert_eq!((told.status, &state["stopping"]), (503, &Json::Bool(true)));
    drop(slow);
    let ended = watched.broker.wait(std::time::Duration::from_secs(15));
    assert!(ended.status.success(), "{}", ended.output);
}

/// The families of a scrape, each with its kind; fails where one begins twice or a line is told outside its family.
fn kinds(text: &str) -> BTreeMap<String, String> {
    let (mut kinds, mut helps) = (BTreeMap::new(), BTreeSet::new());
    let mut family = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            assert!(helps.insert(family.clone()), "{family} is explained twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!(name, family);
            let before = kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{name} begins twice");
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let rest = name.strip_prefix(&family);
            let rest = rest.unwrap_or_else(|| panic!("{line} in the family {family}"));
            let ends = ["", "_total", "_sum", "_count", "_bucket"];
            assert!(ends.contains(&rest), "{line} in the family {family}");
        }
    }
    kinds
}

#[test]
fn who_knows_kafkas_names_finds_them_with_kafkas_labels() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let mut client = watched.broker.client();
    let bytes = load(&mut client, "named") as f64;
    find_coordinator(&mut client, "named");
    commit(&mut client, "named", "named", 0, 1);
    let open = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let scrape = |path: &str, accept: &str| get_with(watched.admin, path, accept).body;
    let plain = scrape("/metrics?names=kafka", "");
    let told = Scrape::parse(&plain);
    assert_eq!(
        told.names().count(),
        plain.lines().filter(|l| !l.starts_with('#')).count()
    );
    let records = (BATCHES * RECORDS) as f64;
    let of_topic = |name: &str| {
        told.value(&format!(
            r#"kafka_server_brokertopicmetrics_{name}_total{{topic="named"}}"#
        ))
    };
    assert_eq!(of_topic("messagesin"), records * f64::from(PARTITIONS));
    assert_eq!((of_topic("bytesin"), of_topic("bytesout")), (bytes, bytes));
    for partition in 0..PARTITIONS {
        let of = |name: &str| {
            let labels = format!(r#"{{topic="named",partition="{partition}"}}"#);
            told.value(&format!("kafka_log_log_{name}{labels}"))
        };
        assert_eq!((of("logstartoffset"), of("logendoffset")), (0.0, records));
        assert_eq!(of("size"), bytes / f64::from(PARTITIONS));
    }
    let request = |name: &str, api: &str| {
        told.value(&format!(
            r#"kafka_network_requestmetrics_{name}{{request="{api}"}}"#
        ))
    };
    let produced = (BATCHES * PARTITIONS as u64) as f64;
    assert_eq!(request("requests_total", "Produce"), produced);
    for time in [
        "totaltimems",
        "requestqueuetimems",
        "localtimems",
        "remotetimems",
        "responsesendtimems",
    ] {
        assert_eq!(
            request(&format!("{time}_count"), "Produce"),
            produced,
            "{time}"
        );
    }
    let seconds = told.value(r#"ringlog_request_seconds_sum{api="Produce"}"#);
    let ms = request("totaltimems_sum", "Produce");
    assert!((ms / 1e3 - seconds).abs() < 1e-6, "{ms} ms and {seconds} s");
    let group = "kafka_coordinator_group_groupmetadatamanager_";
    assert_eq!(told.value(&format!("{group}numgroups")), 1.0);
    assert_eq!(told.value(&format!("{group}numgroupsempty")), 1.0);
    assert_eq!(told.value(&format!("{group}numoffsets")), 1.0);
    assert!(told.value("kafka_server_socketservermetrics_connection_count") >= 1.0);
    assert_eq!(kinds(&plain)["kafka_log_log_size"], "gauge");
    let opened = scrape("/metrics?names=kafka", open);
    let kinds_of_open = kinds(&opened);
    assert!(opened.ends_with("# EOF\n"));
    assert_eq!(
        kinds_of_open["kafka_network_requestmetrics_totaltimems"],
        "histogram"
    );
    assert_eq!(
        kinds_of_open["kafka_network_requestmetrics_requests"],
        "counter"
    );
    // Of partitions there are many: only who asks is told.
    let usual = scrape("/metrics", "");
    assert!(!usual.contains("kafka_log_log_"));
    assert!(usual.contains(r#"kafka_server_brokertopicmetrics_bytesin_total{topic="named"}"#));
    kinds(&scrape("/metrics", open));
    monitoring::promtool(&["check", "metrics"], &[], &plain);
}

/// Every byte that is no letter or digit as `%XX`.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// All rows of a list, page by page.
fn pages(watched: &Watched, list: &str, limit: usize) -> Vec<Json> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let page = watched.json(&format!("/api/v1/{list}?limit={limit}&after={after}"));
        let items = page["items"].as_array().expect("items").clone();
        assert!(items.len() <= limit);
        rows.extend(items);
        match page["next"].as_str() {
            Some(next) => after = encoded(next),
            None => return rows,
        }
    }
}

#[test]
fn lists_come_in_pages_with_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let mut client = watched.broker.client();
    for (topic, partitions) in [("a", 3), ("b", 1), ("c-c", 5)] {
        client.create_topic(topic, partitions).unwrap();
    }
    find_coordinator(&mut client, "g");
    for group in ["g", "a group/with +signs"] {
        commit(&mut client, group, "a", 1, 0);
    }
    let names = |rows: &[Json], key: &str| -> Vec<String> {
        let own = rows
            .iter()
            .map(|row| row[key].as_str().unwrap_or("").to_owned());
        own.filter(|name| !name.starts_with("__")).collect()
    };
    for limit in [1, 2, 1000] {
        assert_eq!(
            names(&pages(&watched, "topics", limit), "topic"),
            ["a", "b", "c-c"]
        );
        let partitions = pages(&watched, "partitions", limit.max(7));
        let own: Vec<_> = names(&partitions, "topic");
        assert_eq!(own.len(), 9);
        let groups = names(&pages(&watched, "groups", limit), "group");
        assert_eq!(groups, ["a group/with +signs", "g"]);
    }
    let partitions = pages(&watched, "partitions", 4);
    let of_c: Vec<_> = partitions
        .iter()
        .filter(|row| row["topic"] == "c-c")
        .collect();
    let numbers: Vec<_> = of_c
        .iter()
        .map(|row| row["partition"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert!(
        of_c.iter()
            .all(|row| row["log"]["log_end"] == 0 && row["leader"] == 1),
        "{of_c:?}"
    );
    let more: Vec<Client> = (0..5).map(|_| watched.broker.client()).collect();
    let connections = pages(&watched, "connections", 2);
    assert!(connections.len() > more.len(), "{connections:?}");
    assert!(
        connections
            .iter()
            .any(|row| row["requests"].as_u64().unwrap() > 3)
    );
    assert_eq!(
        watched.json("/api/v1/shards").as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(watched.json("/api/v1/cluster")["node_id"], 1);
    let debug = watched.json("/debug/shards");
    assert!(
        debug[1]["metrics"]["ringlog_commit_round_seconds"]["p99"].is_number(),
        "{debug}"
    );
}

#[test]
fn the_tools_show_what_the_broker_does() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let mut client = watched.broker.client();
    load(&mut client, "shown");
    let table = watched.tool(&["explain", "slow"]);
    assert!(
        table.contains("Produce v9") && table.contains("COMMIT"),
        "{table}"
    );
    let slow: Vec<Json> =
        serde_json::from_str(&watched.tool(&["explain", "slow", "--json", "--limit", "500"]))
            .expect("JSON");
    let busy: Vec<u64> = slow
        .iter()
        .map(|row| row["busy_us"].as_u64().unwrap())
        .collect();
    assert!(
        busy.is_sorted_by(|a, b| a >= b),
        "the slowest first: {busy:?}"
    );
    let produce = slow
        .iter()
        .find(|row| row["api"] == "Produce")
        .expect("a Produce");
    let stages: u64 = produce["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| stage[1].as_u64().unwrap())
        .sum();
    assert!(
        stages > 0 && stages <= produce["total_us"].as_u64().unwrap() + 10,
        "{produce}"
    );
    // Something happens between its two looks.
    let loads = std::thread::spawn(move || {
        for _ in 0..20 {
            let batch = batch(&[1; 50], None, 100);
            client.produce("shown", 0, batch).expect("produced");
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    });
    let top = watched.tool(&["top", "--once", "--interval", "400ms"]);
    loads.join().expect("the load");
    for words in [
        "SHARDS",
        "TOPICS by bytes in",
        "GROUPS by lag",
        "DEVICES",
        "shown",
        "journal",
    ] {
        assert!(top.contains(words), "no {words} in\n{top}");
    }
    let head = top.lines().next().expect("a line");
    assert!(!head.contains(" 0 records/s"), "{head}");
}

#[test]
fn the_reference_has_every_metric_of_a_scrape() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let output = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"))
        .args(["metrics", "list", "--json"])
        .output()
        .expect("the program runs");
    let rows: Vec<Json> = serde_json::from_slice(&output.stdout).expect("JSON");
    let listed = |name: &str| {
        rows.iter().any(|row| {
            let kafka = row["kafka"].as_array().expect("names");
            row["name"] == name || kafka.iter().any(|kafka| kafka == name)
        })
    };
    let text = get(watched.admin, "/metrics?names=kafka").body;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<_> = names.filter_map(|rest| rest.split(' ').next()).collect();
    assert!(names.len() > 80, "{}", names.len());
    for name in names {
        assert!(listed(name), "{name} is told and not listed");
    }
}

#[test]
fn an_address_that_was_asked_for_and_is_taken_is_refused_and_the_usual_one_is_not() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let set = format!("admin.listener={address}");
    let mut asked = command(free_port(), one.path(), &[&set]);
    let ended = run_to_end(&mut asked, std::time::Duration::from_secs(15));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    assert!(ended.output.contains("admin.listener") && ended.output.contains(&address));
    let wrong = "admin.listener=nowhere";
    let ended = run_to_end(
        &mut command(free_port(), one.path(), &[wrong]),
        std::time::Duration::from_secs(15),
    );
    assert_eq!(ended.status.code(), Some(2), "{}", ended.output);
    assert!(ended.output.contains("admin.listener"), "{}", ended.output);
    // Two brokers that were told nothing: both serve, and at most one has the usual address.
    let mut brokers = [&one, &two].map(|dir| Broker::start(free_port(), dir.path()));
    brokers.iter_mut().for_each(Broker::assert_running);
    let without = brokers
        .iter()
        .filter(|b| b.output().contains("set admin.listener"))
        .count();
    assert!(without >= 1, "{}", brokers[1].output());
    let mut off = Watched::start(tempfile::tempdir().unwrap().path(), &["admin.listener="]);
    assert!(
        std::net::TcpStream::connect(off.admin).is_err(),
        "empty is none"
    );
    off.broker.assert_running();
}
