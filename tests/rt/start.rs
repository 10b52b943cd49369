//! Starting and ending: what is refused, what is survived, and what ends the process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use ringlog::rt::{
    Options, SignalHandling, StartError, blocking, check_io_uring, cpu_count, run_local, sleep,
    start,
};

use crate::alone::{alone, child, is_child, text};

fn on(directory: &Path) -> Options {
    Options {
        log_dirs: vec![directory.to_owned()],
        signals: SignalHandling::Leave,
        ..Options::default()
    }
}

/// A directory on the build's file system, which takes direct I/O where /tmp may not.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn every_shard_tests_itself_and_leaves_no_file() {
    alone("start::every_shard_tests_itself_and_leaves_no_file", || {
        let directory = scratch();
        let began = std::time::Instant::now();
        let shards = start(&on(directory.path()), vec![(); 2], |shard, ()| async move {
            shard.shutdown.requested().await;
            assert!(shard.shutdown.is_requested());
            shard.shutdown.requested().await;
        })
        .unwrap();
        println!(
            "{} shards of {} CPUs ready in {:?}",
            2,
            cpu_count(),
            began.elapsed()
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        shards.stop().request();
        shards.join();
    });
}

/// The calling thread's CPUs, as the kernel tells them.
fn cpus() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    line.expect("the kernel tells").to_owned()
}

#[test]
fn what_blocks_is_not_bound_to_the_core_of_its_shard() {
    let name = "start::what_blocks_is_not_bound_to_the_core_of_its_shard";
    alone(name, || {
        let all = cpus();
        let shards = start(
            &on(scratch().path()),
            vec![all; 1],
            |shard, all| async move {
                if cpu_count() > 1 {
                    assert_ne!(cpus(), all, "a shard is pinned");
                }
                assert_eq!(blocking(cpus).await.unwrap(), all);
                shard.stop.request();
            },
        );
        shards.unwrap().join();
    });
}

#[test]
fn a_bad_directory_stops_every_shard_before_its_main() {
    alone(
        "start::a_bad_directory_stops_every_shard_before_its_main",
        || {
            let directory = scratch();
            let file = directory.path().join("file");
            std::fs::write(&file, b"").unwrap();
            for (bad, why) in [
                (directory.path().join("absent"), "is not a directory"),
                (file, "is not a directory"),
            ] {
                let started = start(&on(&bad), vec![(); 2], |_, ()| async {
                    panic!("must not run")
                });
                let error = started.err().expect("refused");
                assert!(matches!(&error, StartError::Directory { path, .. } if *path == bad));
                assert!(error.to_string().contains(why), "{error}");
            }
        },
    );
}

#[test]
fn a_main_that_panics_ends_the_process() {
    let name = "start::a_main_that_panics_ends_the_process";
    if is_child(name) {
        let shards = start(&on(scratch().path()), vec![(); 2], |shard, ()| async move {
            assert_ne!(shard.id.0, 1, "on purpose");
            shard.shutdown.requested().await;
        });
        return shards.unwrap().join();
    }
    let output = child(name).output().unwrap();
    assert_eq!(
        output.status.signal(),
        Some(libc::SIGABRT),
        "{}",
        text(&output)
    );
    assert!(
        text(&output).contains("fatal: a shard's main panicked: "),
        "{}",
        text(&output)
    );
}

/// A child that runs until it is told to stop, and lingers `linger` then; returns when it runs.
fn stoppable(name: &str) -> Child {
    let mut process = child(name).spawn().unwrap();
    let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    lines
        .map_while(Result::ok)
        .find(|line| line.contains("running shards"))
        .expect("ready");
    process
}

fn run_until_signalled(linger: Duration) {
    let directory = scratch();
    let options = Options {
        signals: SignalHandling::Stop,
        ..on(directory.path())
    };
    let shards = start(&options, vec![(); 2], move |shard, ()| async move {
        if shard.id.0 == 0 {
            println!("running shards");
        }
        shard.shutdown.requested().await;
        sleep(linger).await;
    });
    shards.unwrap().join();
}

fn signal(process: &Child, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(process.id()).unwrap();
    // SAFETY: sends a signal to our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[test]
fn the_first_signal_stops_gracefully() {
    let name = "start::the_first_signal_stops_gracefully";
    if is_child(name) {
        return run_until_signalled(Duration::from_millis(50));
    }
    for number in [libc::SIGTERM, libc::SIGINT] {
        let mut process = stoppable(name);
        signal(&process, number);
        let status = process.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

#[test]
fn the_second_signal_stops_at_once() {
    let name = "start::the_second_signal_stops_at_once";
    if is_child(name) {
        return run_until_signalled(Duration::from_secs(3600));
    }
    let mut process = stoppable(name);
    signal(&process, libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        process.try_wait().unwrap().is_none(),
        "still stopping gracefully"
    );
    signal(&process, libc::SIGTERM);
    assert_eq!(process.wait().unwrap().code(), Some(128 + libc::SIGTERM));
}

#[test]
fn too_little_lockable_memory_is_refused_in_words() {
    let name = "start::too_little_lockable_memory_is_refused_in_words";
    if is_child(name) {
        let refused = run_local(async {}).unwrap_err();
        assert!(
            matches!(refused, StartError::LockedMemory(65536)),
            "{refused}"
        );
        assert!(start(&Options::default(), vec![()], |_, ()| async {}).is_err());
        return println!("refused: {refused}");
    }
    let myself = child(name);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -l 64 && exec \"$0\" \"$@\""])
        .arg(myself.get_program())
        .args(myself.get_args());
    limited.envs(
        myself
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let output = limited.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("the limit on locked memory is 64 KiB"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_forbidden_io_uring_is_refused_in_words() {
    alone("start::a_forbidden_io_uring_is_refused_in_words", || {
        check_io_uring().unwrap();
        forbid_io_uring();
        let refused = check_io_uring().unwrap_err().to_string();
        assert!(
            refused.starts_with("io_uring is off: ") && refused.contains("seccomp"),
            "{refused}"
        );
        assert!(run_local(async {}).is_err());
    });
}

/// As a container does: the system call answers EPERM, for this process and for good.
fn forbid_io_uring() {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let number = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let is_setup = libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: libc::SYS_io_uring_setup as u32,
    };
    let refuse = statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
    );
    let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    let mut filter = [number, is_setup, refuse, allow];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its four statements live through the call, which copies them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
            0
        );
    }
}
