//! Goal: `ringlog load` goes on at the new leader where one moves or goes away, and reads and writes everything once.
//!
//! Method: the program itself against two scripted brokers that share a topic, by either wire; leaders are moved under it.

use std::ffi::OsStr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::client::native::{NativeClient, NativeConsumer, NativeConsumerOptions, NativeOptions};
use ringlog::client::{Cluster, ClusterOptions, Consumer, ConsumerOptions, Place};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs};
use ringlog::rt;
use ringlog::types::{Offset, Timestamp};
use serde_json::Value;

use crate::broker::run_to_end;
use crate::load::{assert_whole, number, report};
use crate::scripted::{Scripted, World};
use crate::wire::Client;

const PATIENCE: Duration = Duration::from_secs(60);

/// A run at 2,000 records a second where no other rate is among the options, with `change` made when a thousand have come.
fn loaded(
    brokers: &Scripted,
    options: &[impl AsRef<OsStr>],
    change: impl FnOnce(&Scripted),
) -> (Option<i32>, Value) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--json", "--topic", "moved", "--bootstrap"]);
    command.arg(brokers.bootstrap());
    command.args(["--warm-up", "0s", "--timeout", "10s"]);
    if !options.iter().any(|option| option.as_ref() == "--rate") {
        command.args(["--rate", "2k"]);
    }
    command.args(["--batch-bytes", "4k", "--size", "100"]);
    command.args(options);
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    brokers.wait_for(1000);
    change(brokers);
    let ended = running.join().expect("it ran");
    assert!(ended.output.contains("{\n"), "{}", ended.output);
    (ended.status.code(), report(&ended))
}

const CHECKED: [&str; 6] = [
    "--duration",
    "4s",
    "--idempotent",
    "--consume",
    "--reader-threads",
    "2",
];

fn assert_all_came(outcome: &(Option<i32>, Value)) {
    let (code, report) = outcome;
    assert_eq!(*code, Some(0), "{report}");
    assert_eq!(report["errors"], 0, "{report}");
    assert_whole(report, 1);
    assert_eq!(number(&report["check"]["checked"]), 8_000, "{report}");
}

/// The options of both wires.
fn wires(brokers: &Scripted, options: &[&str]) -> [Vec<String>; 2] {
    let own = |more: &[&str]| {
        let all = options.iter().chain(more);
        all.map(|option| option.to_string()).collect()
    };
    let native = brokers.native_bootstrap();
    [
        own(&[]),
        own(&["--wire", "native", "--native-bootstrap", &native]),
    ]
}

#[test]
fn leaders_that_move_are_followed_by_producers_and_readers() {
    for wire in 0..2 {
        followed(wire);
    }
}

fn followed(wire: usize) {
    let brokers = Scripted::start("moved", 4);
    let options = &wires(&brokers, &CHECKED)[wire];
    let outcome = loaded(&brokers, options, |brokers| {
        for (partition, node) in [(0, 2), (1, 1), (0, 1), (2, 2)] {
            brokers.world().lead(partition, node);
            thread::sleep(Duration::from_millis(300));
        }
    });
    assert_all_came(&outcome);
    let refused = brokers.world().refused;
    assert!(
        refused[0] > 0 && refused[1] > 0,
        "nothing was refused: {refused:?}"
    );
}

#[test]
fn a_broker_that_goes_away_is_left_for_the_one_that_leads_after_it() {
    for wire in 0..2 {
        left(wire);
    }
}

fn left(wire: usize) {
    let brokers = Scripted::start("moved", 4);
    let mut before = [0; 2];
    let options = &wires(&brokers, &CHECKED)[wire];
    let outcome = loaded(&brokers, options, |brokers| {
        let change = |to: &dyn Fn(&mut World)| {
            to(&mut brokers.world());
            thread::sleep(Duration::from_millis(400));
        };
        // For a while nobody leads its partitions.
        change(&|world| {
            world.kill(1);
            world.lead(0, -1);
            world.lead(2, -1);
        });
        before = brokers.world().appended;
        change(&|world| world.lead(0, 2));
        change(&|world| world.lead(2, 2));
    });
    assert_all_came(&outcome);
    let after = brokers.world().appended;
    assert_eq!(before[0], after[0], "it is gone");
    assert!(after[1] > before[1] + 2_000, "{before:?} {after:?}");
}

#[test]
fn without_second_tries_what_the_old_leader_refuses_fails_and_the_rest_goes_on_at_the_new_one() {
    let brokers = Scripted::start("moved", 2);
    let (code, report) = loaded(&brokers, &["--duration", "3s"], |brokers| {
        brokers.world().lead(0, 2);
    });
    assert_eq!(code, Some(1), "records failed: {report}");
    let failed = number(&report["errors"]);
    let by_reason = &report["errors_by_reason"];
    assert_eq!(
        number(&by_reason["NOT_LEADER_OR_FOLLOWER"]),
        failed,
        "{report}"
    );
    // What was on its way, and what could be sent before the leaders were known again.
    assert!(failed > 0 && failed < 1_000, "{report}");
    let appended = brokers.world().appended;
    assert_eq!(appended[0] + appended[1] + failed, 6_000, "{report}");
    assert!(
        appended[1] > 4_000,
        "{appended:?}: both partitions go there"
    );
}

#[test]
fn a_partition_without_a_leader_does_not_hold_up_the_others() {
    let brokers = Scripted::start("moved", 4);
    let mut stalled = [0; 2];
    let options = [
        "--duration",
        "3s",
        "--consume",
        "--rate",
        "max",
        "--window",
        "1",
    ];
    let (_, report) = loaded(&brokers, &options, |brokers| {
        brokers.world().lead(0, -1);
        thread::sleep(Duration::from_millis(500));
        stalled[0] = brokers.world().appended[0];
        thread::sleep(Duration::from_millis(500));
        stalled[1] = brokers.world().appended[0];
        brokers.world().lead(0, 1);
    });
    assert!(
        stalled[1] > stalled[0] + 100,
        "partition 2 of the same broker stood still: {stalled:?}"
    );
    let check = &report["check"];
    for fault in ["lost", "duplicated", "reordered", "corrupted"] {
        assert_eq!(check[fault], 0, "{report}");
    }
}

fn write_one(brokers: &Scripted, node: i32) {
    write_to(brokers, node, 0);
}

fn write_to(brokers: &Scripted, node: i32, partition: i32) {
    let mut client = Client::connect(brokers.address(node)).expect("it accepts");
    let mut builder = BatchBuilder::new(Codec::None, 64);
    builder.append(Timestamp(1), None, Some(b"value"), &[]);
    let batch = builder.build(&BatchSeal::default(), &mut Codecs::new());
    let answer = client
        .produce("moved", partition, batch)
        .expect("an answer");
    assert_eq!(answer.error_code, 0);
}

#[test]
fn polls_that_are_dropped_before_they_are_ready_still_find_the_new_leader() {
    let brokers = Scripted::start("moved", 2);
    write_one(&brokers, 1);
    let bootstrap: Vec<String> = brokers.bootstrap().split(',').map(str::to_owned).collect();
    let read = rt::run_local(async {
        let cluster = Cluster::connect(&bootstrap, ClusterOptions::default()).await?;
        let options = ConsumerOptions::default();
        let opened = Consumer::open(cluster, "moved", None, Place::Beginning, options);
        let mut consumer = opened.await?;
        let first = consumer.poll().await?;
        brokers.world().lead(0, 2);
        write_one(&brokers, 2);
        let deadline = Instant::now() + Duration::from_secs(10);
        // Shorter than the wait between two tries.
        let patience = Duration::from_millis(20);
        loop {
            match rt::timeout(patience, consumer.poll()).await {
                Ok(second) => return second.map(|second| (first.next, second.next)),
                Err(rt::Elapsed) => assert!(Instant::now() < deadline, "it was not found"),
            }
        }
    });
    let read = read.expect("an executor").expect("both records");
    assert_eq!(read, (Offset(1), Offset(2)));
    assert!(brokers.world().refused[0] > 0, "the old one was asked");
}

#[test]
fn by_the_native_wire_a_partition_without_a_leader_does_not_keep_the_others_from_being_read() {
    let brokers = Scripted::start("moved", 2);
    write_one(&brokers, 1);
    let bootstrap: Vec<String> = brokers
        .native_bootstrap()
        .split(',')
        .map(str::to_owned)
        .collect();
    let read = rt::run_local(async {
        let client = NativeClient::connect(&bootstrap, NativeOptions::default()).await?;
        let options = NativeConsumerOptions::default();
        let opened = NativeConsumer::open(client, "moved", None, Place::Beginning, options);
        let mut consumer = opened.await?;
        let first = consumer.poll().await?;
        // Its stream ends, and nobody is known to lead it.
        brokers.world().lead(0, -1);
        let mut others = Vec::new();
        for _ in 0..3 {
            write_to(&brokers, 2, 1);
            let fetched = rt::timeout(Duration::from_secs(10), consumer.poll()).await;
            others.push(fetched.expect("partition 1 is led")?.partition);
            rt::sleep(Duration::from_millis(300)).await;
        }
        let trouble = consumer.trouble().is_some();
        brokers.world().lead(0, 2);
        write_one(&brokers, 2);
        let last = rt::timeout(Duration::from_secs(10), consumer.poll()).await;
        let last = last.expect("partition 0 is led again")?;
        Ok::<_, ringlog::client::ClientError>((
            first.next,
            others,
            trouble,
            last.partition,
            last.next,
        ))
    });
    let read = read.expect("an executor").expect("all records");
    assert_eq!(read, (Offset(1), vec![1, 1, 1], true, 0, Offset(2)));
}
