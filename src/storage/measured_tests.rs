//! Goal: a result is believed of its own device, also after the machine has started anew, and no other is; what is torn, of
//! another version or out of bounds is refused.
//!
//! Method: results and machines that differ in one thing; this machine's, on its own disk.

use super::super::directories::Directories;
use super::super::place::JournalDir;
use super::super::sync_cost::SyncMode;
use super::*;
use crate::rt::run_local;
use crate::types::NodeId;

fn sample() -> Measured {
    let figures = Figures {
        taken_ms: 1_700_000_000_000,
        dsync_us: 112,
        datasync_us: 163,
        write_mib: 1500,
        read_mib: 2500,
    };
    Measured {
        machine: Machine {
            boot: "b".to_owned(),
            device: 65_024,
            mount: "ext4 /dev/vda /".to_owned(),
            identity: "naa.5000 1000".to_owned(),
        },
        figures,
        places: Some(16),
        past: vec![figures; PAST_MAX],
    }
}

fn sealed(body: &str) -> String {
    format!("{body}crc32c={:08x}\n", crc32c(body.as_bytes()))
}

#[test]
fn what_is_kept_is_read_back_and_every_part_or_changed_byte_is_refused() {
    let whole = sample();
    let text = whole.encode();
    assert_eq!(Measured::decode(text.as_bytes()), Ok(whole.clone()));
    let unknown = Measured {
        places: None,
        past: Vec::new(),
        ..whole
    };
    let decoded = Measured::decode(unknown.encode().as_bytes());
    assert_eq!(decoded, Ok(unknown));
    for end in 0..text.len() {
        assert!(Measured::decode(&text.as_bytes()[..end]).is_err(), "{end}");
    }
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(Measured::decode(&bytes).is_err(), "byte {at}");
    }
    for bytes in [&[0; 100][..], &[0xff; 100], &vec![b'a'; 1 << 20]] {
        assert!(Measured::decode(bytes).is_err());
    }
}

#[test]
fn numbers_out_of_bounds_are_refused_though_the_checksum_holds() {
    let good = sample().encode();
    let (body, _) = good.rsplit_once("crc32c=").expect("it has one");
    assert!(Measured::decode(sealed(body).as_bytes()).is_ok());
    for (from, to) in [
        ("places=16", "places=1"),
        ("places=16", "places=65"),
        ("places=16", "places=-1"),
        ("now=1700000000000,112", "now=1700000000000,0"),
        ("now=1700000000000,112", "now=1700000000000,99999999999"),
        ("now=1700000000000,112", "now=1700000000000,1,112"),
        ("version=1", "version=2"),
        ("device=65024", "device=x"),
        ("past=", "past=1,1,1,1,1\npast="),
    ] {
        let changed = body.replacen(from, to, 1);
        assert_ne!(changed, body, "{from}");
        assert!(
            Measured::decode(sealed(&changed).as_bytes()).is_err(),
            "{to}"
        );
    }
}

#[test]
fn the_longest_mount_that_holds_a_path_is_its_own() {
    let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
        2 1 8:2 / /srv/log\\040data rw shared:1 - xfs /dev/b rw\n";
    let of = |path: &str| mount_of(table, Path::new(path));
    assert_eq!(
        of("/srv/log data/x").as_deref(),
        Some("xfs /dev/b /srv/log\\040data")
    );
    assert_eq!(of("/srv/log").as_deref(), Some("ext4 /dev/a /"));
}

/// What is told of the sample on a machine that differs by this.
fn belief(change: impl FnOnce(&mut Machine)) -> Result<Belief, String> {
    let kept = sample();
    let mut here = kept.machine.clone();
    change(&mut here);
    kept.belief(&here)
}

#[test]
fn in_one_life_of_the_machine_it_is_believed_of_its_file_system() {
    assert_eq!(belief(|_| ()), Ok(Belief::Held));
    let grown = belief(|here| here.identity = "naa.5000 2000".to_owned());
    assert_eq!(
        grown,
        Ok(Belief::Held),
        "while it is mounted it is the same"
    );
    // As the broker sees it in a unit with ProtectSystem=strict, and who ran the self-test did not.
    let inside = belief(|here| here.mount = "ext4 /dev/vda /var/lib/ringlog".to_owned());
    assert_eq!(inside, Ok(Belief::Held));
    for other in [
        belief(|here| here.device += 1),
        belief(|here| here.mount = "ext4 /dev/vdb /".to_owned()),
    ] {
        assert!(other.is_err_and(|why| why.contains("another device")));
    }
}

#[test]
fn after_the_machines_start_it_is_believed_of_the_same_disk_by_whatever_name() {
    let anew = |change: fn(&mut Machine)| {
        belief(|here| {
            here.boot = "c".to_owned();
            change(here);
        })
    };
    assert_eq!(anew(|_| ()), Ok(Belief::IfCostsAsMuch));
    let renamed = anew(|here| {
        here.device = 7;
        here.mount = "ext4 /dev/vdb /srv".to_owned();
    });
    assert_eq!(renamed, Ok(Belief::IfCostsAsMuch));
    let other = anew(|here| here.identity = "naa.6000 1000".to_owned());
    assert!(other.is_err_and(|why| why.contains("naa.5000 1000") && why.contains("naa.6000")));
    let formatted = anew(|here| here.mount = "xfs /dev/vda /".to_owned());
    assert!(formatted.is_err_and(|why| why.contains("another device")));
    let unknown = anew(|here| here.identity.clear());
    assert!(unknown.is_err_and(|why| why.contains("cannot be told")));
}

#[test]
fn a_disk_without_a_name_must_be_mounted_as_it_was() {
    let mut kept = sample();
    kept.machine.identity = "- 1000".to_owned();
    let mut here = kept.machine.clone();
    here.boot = "c".to_owned();
    assert_eq!(kept.belief(&here), Ok(Belief::IfCostsAsMuch));
    here.mount = "ext4 /dev/vdb /".to_owned();
    assert!(kept.belief(&here).is_err());
}

#[test]
fn a_result_of_an_earlier_version_is_read_and_counts_until_the_machine_starts_anew() {
    let text = sample().encode();
    let (body, _) = text.rsplit_once("crc32c=").expect("it has one");
    let earlier = body.replacen("identity=naa.5000 1000\n", "", 1);
    assert_ne!(earlier, body);
    let kept = Measured::decode(sealed(&earlier).as_bytes()).expect("it is whole");
    let mut here = sample().machine;
    assert_eq!(kept.belief(&here), Ok(Belief::Held));
    here.boot = "c".to_owned();
    let why = kept
        .belief(&here)
        .expect_err("which disk it was is not known");
    assert!(why.contains("does not say of which disk"), "{why}");
}

#[test]
fn after_the_machines_start_a_durable_write_must_cost_about_the_same() {
    let kept = sample();
    assert_eq!(kept.sync_cost().mode, SyncMode::Dsync, "112 us");
    let told = |dsync_us| kept.must_cost_as_much(Some(SyncCost::of(dsync_us, 1)));
    for right in [56, 112, 224] {
        assert_eq!(told(right), Ok(()), "{right}");
    }
    for wrong in [1, 55, 225, 1 << 40] {
        let why = told(wrong).expect_err("it is another cost");
        assert!(
            why.contains(&wrong.to_string()) && why.contains("112"),
            "{why}"
        );
    }
    for unknown in [None, Some(SyncCost::UNKNOWN)] {
        let why = kept
            .must_cost_as_much(unknown)
            .expect_err("it is not known");
        assert!(why.contains("could not be measured"), "{why}");
    }
}

#[test]
fn what_is_kept_is_held_against_this_machine_and_its_device() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    let own = Machine::of(&path).expect("the mount can be told");
    run_local(async move {
        let (disk, budget) = (Disk::Ring, Duration::from_millis(10));
        let probe = path.join("probe");
        let trusted = async |directory: &Path| {
            Measured::trusted(&disk, &path, directory, &probe, budget).await
        };
        assert_eq!(trusted(&path).await, None);
        let mut kept = Measured {
            machine: own.clone(),
            ..sample()
        };
        kept.keep(&disk, &path).await.expect("writes");
        assert_eq!(trusted(&path).await.as_ref(), Some(&kept));
        assert!(!probe.exists(), "nothing is measured in the same life");
        assert_eq!(trusted(Path::new("/proc")).await, None, "other");
        // As if the machine had started anew: the first look measures, later ones read its note.
        let cost = noted_or_measured(&disk, &path, &probe, budget).await;
        let (cost, _) = cost.expect("it can be measured");
        kept.machine.boot.push('x');
        for (times, is_believed) in [(1, true), (10, false)] {
            kept.figures.dsync_us = cost.dsync_us * times;
            kept.figures.datasync_us = cost.datasync_us * times;
            kept.keep(&disk, &path).await.expect("writes");
            let wanted = Some(&kept).filter(|_| is_believed && !own.identity.is_empty());
            assert_eq!(trusted(&path).await.as_ref(), wanted, "{times} times");
        }
        let found = Measured::kept(&disk, &path).await;
        assert_eq!(
            found,
            Ok(Some(kept)),
            "for the next self-test to compare with"
        );
        std::fs::write(path.join(MEASURED_FILE), b"\xff\x00nonsense").expect("writes");
        assert_eq!(trusted(&path).await, None);
        assert!(Measured::kept(&disk, &path).await.is_err());
    })
    .expect("io_uring works here");
}

#[test]
fn a_start_takes_costs_from_the_journals_device_and_places_from_the_logs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (log, journal) = (dir.path().join("log"), dir.path().join("journal"));
    for path in [&log, &journal] {
        std::fs::create_dir(path).expect("makes");
    }
    run_local(async move {
        let keep = async |path: &Path, places, datasync_us| {
            let measured = sample();
            let kept = Measured {
                machine: Machine::of(path).expect("the mount can be told"),
                places,
                figures: Figures {
                    datasync_us,
                    ..measured.figures
                },
                ..measured
            };
            kept.keep(&Disk::Ring, path).await.expect("writes");
        };
        keep(&log, Some(7), 90).await;
        keep(&journal, Some(9), 33).await;
        let apart = JournalDir::Under(journal);
        let logs = [log];
        let prepared = Directories::prepare_with(&Disk::Ring, &logs, NodeId(1), None, &apart);
        let prepared = prepared.await.expect("starts");
        let image = &prepared.images()[0];
        assert_eq!(image.places, Some(7));
        assert_eq!(
            (image.sync_cost.mode, image.sync_cost.us()),
            (SyncMode::Datasync, 33)
        );
    })
    .expect("io_uring works here");
}
