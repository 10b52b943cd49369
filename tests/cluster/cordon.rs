//! Goal: a log directory that is cordoned keeps and serves what it has and takes nothing new (KIP-1066).
//!
//! Method: directories are cordoned and freed while the broker runs, over a restart, and before its start; every request that
//! could bring something in is made.

use std::path::{Path, PathBuf};

use ringlog::protocol::ErrorCode;
use ringlog::protocol::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ringlog::types::Prng;

use crate::broker::{Broker, free_port};
use crate::disks::{Mount, alter, directories, eventually, partitions_in, put, record};
use crate::wire::Client;

const SET: i8 = 0;
const DELETE: i8 = 1;

/// Changes `cordoned.log.dirs` of a broker, or of all. The error code.
fn cordon(client: &mut Client, broker: &str, operation: i8, value: Option<&str>) -> i16 {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: broker.into(),
            configs: vec![AlterableConfig {
                name: "cordoned.log.dirs".into(),
                config_operation: operation,
                value: value.map(Into::into),
            }],
        }],
        validate_only: false,
    };
    let answer = client.call(1, &request).expect("answered");
    answer.responses[0].error_code
}

/// Waits until these directories, and no others, are shown as cordoned.
fn shown(client: &mut Client, cordoned: &[&Path]) {
    eventually("every shard knows", || {
        directories(client).iter().all(|d| {
            let wanted = cordoned
                .iter()
                .any(|path| path.to_string_lossy() == d.log_dir.as_str());
            d.is_cordoned == wanted
        })
    });
}

fn counts(client: &mut Client, paths: &[PathBuf; 2], topic: &str) -> [usize; 2] {
    [0, 1].map(|i| partitions_in(client, &paths[i], topic).len())
}

#[test]
fn a_cordoned_directory_takes_no_new_partitions() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let second = paths[1].to_string_lossy().into_owned();
    let dirs = format!("log.dirs={},{second}", paths[0].display());
    let port = free_port();
    let mut broker = Broker::start_with(port, &paths[0], &[&dirs]);
    let mut client = broker.client();
    client.create_topic("before", 8).expect("made");
    let before = counts(&mut client, &paths, "before");
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    assert_eq!(cordon(&mut client, "1", SET, Some(&second)), 0);
    shown(&mut client, &[&paths[1]]);
    client.create_topic("one", 6).expect("made");
    assert_eq!(counts(&mut client, &paths, "one"), [6, 0]);
    let refused = alter(&mut client, &paths[1], "one", 0);
    assert_eq!(refused, ErrorCode::InvalidReplicaAssignment as i16);
    let batch = record(&mut Prng::new(6), 1000);
    for partition in 0..8 {
        put(&mut client, "before", partition, &batch).expect("what is there serves on");
    }
    let invalid = ErrorCode::InvalidRequest as i16;
    assert_eq!(cordon(&mut client, "1", SET, Some("/nowhere")), invalid);
    assert_eq!(cordon(&mut client, "", SET, Some(&second)), invalid);
    assert_eq!(cordon(&mut client, "1", SET, Some("*")), 0);
    let both = [&*paths[0], &*paths[1]];
    shown(&mut client, &both);
    client.create_topic("none", 1).expect_err("nobody takes it");
    drop(client);
    broker.kill();
    let broker = Broker::start_with(port, &paths[0], &[&dirs]);
    let mut client = broker.client();
    client.led("before", 8).expect("led again");
    shown(&mut client, &both);
    client.create_topic("none", 1).expect_err("nobody takes it");
    for partition in 0..8 {
        put(&mut client, "before", partition, &batch).expect("what is there serves on");
    }
    assert_eq!(cordon(&mut client, "1", DELETE, None), 0);
    shown(&mut client, &[]);
    client.create_topic("after", 4).expect("made");
    let after = counts(&mut client, &paths, "after");
    assert!(after[1] > 0, "the second one has fewer: {after:?}");
}

#[test]
fn directories_are_cordoned_by_the_file_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
    let cordoned = format!("cordoned.log.dirs={}", paths[0].display());
    let broker = Broker::start_with(free_port(), &paths[0], &[&dirs, &cordoned]);
    let mut client = broker.client();
    shown(&mut client, &[&paths[0]]);
    client.create_topic("t", 6).expect("made");
    assert_eq!(counts(&mut client, &paths, "t"), [0, 6]);
    // What is set while it runs counts before what the file says.
    assert_eq!(cordon(&mut client, "1", SET, Some("")), 0);
    shown(&mut client, &[]);
}

/// Goal: where the only directory that may take partitions fails, topics are refused, as if all were cordoned.
/// Method: the first is cordoned, and the second is on a file system that the kernel finds broken.
#[test]
fn what_is_left_of_the_directories_is_what_counts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(mount) = Mount::new(dir.path(), "bad", 64 << 20) else {
        return;
    };
    let good = dir.path().join("good");
    let dirs = format!("log.dirs={},{}", good.display(), mount.path.display());
    let cordoned = format!("cordoned.log.dirs={}", good.display());
    let broker = Broker::start_with(free_port(), &good, &[&dirs, &cordoned]);
    let mut client = broker.client();
    client.create_topic("t", 2).expect("the second takes it");
    mount.break_now();
    let batch = record(&mut Prng::new(6), 1000);
    for partition in 0..2 {
        put(&mut client, "t", partition, &batch).expect_err("the directory is read-only");
    }
    eventually("the directory is offline", || {
        let all = directories(&mut client);
        all.iter().filter(|d| d.error_code != 0).count() == 1
    });
    let mut tries = 0;
    eventually("topics are refused", || {
        tries += 1;
        client.create_topic(&format!("n{tries}"), 1).is_err()
    });
    assert_eq!(cordon(&mut client, "1", SET, Some("")), 0);
    client.create_topic("after", 2).expect("the first takes it");
    drop(broker);
}
