//! Starting where something is wrong, and stopping as asked: a clear word and the right exit status, never a hang.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Ended, command, free_port, run_to_end};

const SOON: Duration = Duration::from_secs(15);

fn fails(command: &mut Command, statuses: &[i32], words: &[&str]) -> Ended {
    let ended = run_to_end(command, SOON);
    let code = ended.status.code();
    assert!(
        code.is_some_and(|code| statuses.contains(&code)),
        "wanted status {statuses:?}, got {}; it said:\n{}",
        ended.status,
        ended.output
    );
    for word in words {
        assert!(
            ended.output.to_lowercase().contains(&word.to_lowercase()),
            "does not say '{word}':\n{}",
            ended.output
        );
    }
    assert!(
        !ended.output.contains("panicked"),
        "panicked:\n{}",
        ended.output
    );
    ended
}

#[test]
fn a_taken_port_is_refused_and_its_owner_undisturbed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    let mut first = Broker::start(port, one.path());
    fails(
        &mut command(port, two.path(), &[]),
        &[1, 2],
        &[&port.to_string()],
    );
    first.assert_running();
    first.client().create_topic("still-served", 1).unwrap();
}

#[test]
fn a_directory_in_use_is_refused_and_its_owner_undisturbed() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Broker::start(free_port(), dir.path());
    let path = dir.path().display().to_string();
    fails(
        &mut command(free_port(), dir.path(), &[]),
        &[1, 2],
        &[&path],
    );
    first.assert_running();
    first.client().create_topic("still-served", 1).unwrap();
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data");
    fs::write(&file, "not a directory").unwrap();
    fails(&mut command(free_port(), &file, &[]), &[1, 2], &["data"]);
    fails(
        &mut command(free_port(), &file.join("below"), &[]),
        &[1, 2],
        &["below"],
    );
}

#[test]
fn a_missing_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    Broker::start(free_port(), &deep).assert_running();
    assert!(deep.is_dir());
}

#[test]
fn a_read_only_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", &path])
        .output();
    if !mount.is_ok_and(|m| m.status.success()) {
        println!("skipped: needs the right to mount a read-only file system");
        return;
    }
    let ended = std::panic::catch_unwind(|| {
        fails(
            &mut command(free_port(), dir.path(), &[]),
            &[1, 2],
            &[&path],
        )
    });
    let unmounted = Command::new("umount").arg(&path).status();
    assert!(unmounted.is_ok_and(|s| s.success()), "{path} stays mounted");
    ended
        .map(|_| ())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn a_wrong_configuration_is_told_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let overrides = [
        ("num.partitions=many", "num.partitions"),
        ("num.partitions=0", "num.partitions"),
        ("log.segment.bytes=-5", "log.segment.bytes"),
        ("compression.type=lzma", "compression.type"),
        ("listeners=PLAINTEXT//nowhere", "listeners"),
        ("socket.request.max.bytes=1e9", "socket.request.max.bytes"),
        (
            "auto.create.topics.enable=perhaps",
            "auto.create.topics.enable",
        ),
    ];
    for (pair, key) in overrides {
        let value = pair.split_once('=').unwrap().1;
        fails(&mut command(port, dir.path(), &[pair]), &[2], &[key, value]);
    }
    fails(
        &mut command(port, dir.path(), &["no equals sign"]),
        &[2],
        &[],
    );
    let file = dir.path().join("server.properties");
    fs::write(
        &file,
        "# fine so far\nnum.partitions=2\n\nlog.retention.hours=soon\n",
    )
    .unwrap();
    let mut with_file = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    with_file.args(["broker", "--config"]).arg(&file);
    fails(&mut with_file, &[2], &["log.retention.hours", "soon", "4"]);
    let mut missing = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    missing
        .args(["broker", "--config"])
        .arg(dir.path().join("none.properties"));
    fails(&mut missing, &[2], &["none.properties"]);
    let mut unknown = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    unknown.arg("brocker");
    fails(&mut unknown, &[2], &["brocker"]);
}

#[test]
fn little_lockable_memory_is_enough_or_told() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [64 << 10, 512 << 10, 8 << 20] {
        let port = free_port();
        let mut limited = without_privilege(&command(port, dir.path(), &[]), |command| {
            limit_memlock(command, bytes)
        });
        starts_or_says(&mut limited, port, "memlock");
    }
}

#[test]
fn a_kernel_that_denies_io_uring_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut denied = command(port, dir.path(), &[]);
    deny_io_uring(&mut denied);
    fails(&mut denied, &[1, 2], &["io_uring"]);
}

/// Either it serves, or it ends soon with a word about the limit; it does not hang.
fn starts_or_says(command: &mut Command, port: u16, word: &str) {
    let mut child = command.spawn().expect("the broker's binary runs");
    let deadline = Instant::now() + SOON;
    loop {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(matches!(status.code(), Some(1 | 2)), "ended with {status}");
            return fails(command, &[1, 2], &[word])
                .status
                .code()
                .map(|_| ())
                .unwrap();
        }
        assert!(Instant::now() < deadline, "neither served nor ended");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same command without the capability that makes limits on locked memory void.
fn without_privilege(wanted: &Command, limit: impl Fn(&mut Command)) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]);
    command.arg(wanted.get_program()).args(wanted.get_args());
    limit(&mut command);
    command
}

fn limit_memlock(command: &mut Command, bytes: u64) {
    // SAFETY: setrlimit is async-signal-safe and touches only the child.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit {
                rlim_cur: bytes,
                rlim_max: bytes,
            };
            match libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// io_uring_setup answers EPERM in the child, as where `kernel.io_uring_disabled` or a container's filter forbids it.
fn deny_io_uring(command: &mut Command) {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let filter = [
        op(LOAD_WORD, 0, 0, 0),
        op(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        op(RETURN, 0, 0, eperm),
        op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: prctl is async-signal-safe; the program points at the filter, which the closure owns.
    unsafe {
        command.pre_exec(move || {
            let mut filter = filter;
            let program = libc::sock_fprog {
                len: filter.len() as u16,
                filter: filter.as_mut_ptr(),
            };
            let alone = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
            let set = alone && libc::prctl(libc::PR_SET_SECCOMP, 2, &program) == 0;
            if set {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly_and_the_data_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = None;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGTERM] {
        let mut broker = Broker::start(free_port(), dir.path());
        let mut client = broker.client();
        client.create_topic("stays", 2).unwrap();
        let topic = client.topic("stays").unwrap().topic_id;
        assert_eq!(
            *cluster.get_or_insert(topic),
            topic,
            "the topic is another one"
        );
        assert!(
            broker.output().contains("ringlog ready listeners="),
            "{}",
            broker.output()
        );
        let began = Instant::now();
        broker.signal(signal);
        let ended = broker.wait(Duration::from_secs(10));
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
        assert!(!ended.output.contains("panicked"), "{}", ended.output);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "took {:?}",
            began.elapsed()
        );
    }
}

/// The socket of systemd's that a broker tells how it is.
struct Supervisor {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new(dir: &Path) -> Supervisor {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Supervisor { path, socket }
    }

    fn hear(&self) -> io::Result<String> {
        let mut heard = [0; 64];
        let length = self.socket.recv(&mut heard)?;
        Ok(String::from_utf8_lossy(&heard[..length]).into_owned())
    }
}

/// What `Type=notify` of a systemd unit waits for: without it the service would never count as started.
#[test]
fn its_supervisor_is_told_when_it_serves_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new(dir.path());
    let hear = || supervisor.hear().expect("the broker tells");
    let port = free_port();
    let mut command = command(port, &dir.path().join("data"), &[]);
    let mut broker = Broker::start_command(port, command.env("NOTIFY_SOCKET", &supervisor.path));
    assert_eq!(hear(), "READY=1");
    broker.signal(libc::SIGTERM);
    assert_eq!(hear(), "STOPPING=1");
    assert!(broker.wait(SOON).status.success());
    // A socket that is gone costs a line and nothing else.
    drop(supervisor);
    let mut broker = Broker::start_command(port, &mut command);
    broker.signal(libc::SIGTERM);
    let ended = broker.wait(SOON);
    assert!(
        ended.status.success() && ended.output.contains("NOTIFY_SOCKET"),
        "{}",
        ended.output
    );
}

/// What `WatchdogSec=` of a systemd unit waits for, from the start to the end.
#[test]
fn its_supervisor_hears_again_and_again_that_its_shards_turn() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new(dir.path());
    let hear = || supervisor.hear().expect("the broker tells");
    let port = free_port();
    let mut command = command(port, &dir.path().join("data"), &[]);
    command
        .env("NOTIFY_SOCKET", &supervisor.path)
        .env("WATCHDOG_USEC", "400000");
    let mut broker = Broker::start_command(port, &mut command);
    while hear() != "READY=1" {}
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(4),
        "ten in {took:?}, wanted every 0.1 s"
    );
    broker.signal(libc::SIGTERM);
    while hear() != "STOPPING=1" {}
    assert!(broker.wait(SOON).status.success());
    // Another process is watched: this one is not asked.
    let mut broker = Broker::start_command(port, command.env("WATCHDOG_PID", "1"));
    let mut said = Vec::new();
    broker.signal(libc::SIGTERM);
    assert!(broker.wait(SOON).status.success());
    supervisor.socket.set_nonblocking(true).unwrap();
    while let Ok(word) = supervisor.hear() {
        said.push(word);
    }
    let after = said
        .iter()
        .rposition(|word| word == "READY=1")
        .expect("it was ready");
    assert_eq!(said[after..], ["READY=1", "STOPPING=1"]);
}

#[test]
fn a_waiting_fetch_does_not_hold_up_the_stop_and_a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for second in [false, true] {
        let mut broker = Broker::start(free_port(), dir.path());
        let mut client = broker.client();
        client.create_topic("quiet", 1).unwrap();
        let waiting = std::thread::spawn(move || client.fetch("quiet", 0, 0, 1 << 20, 30_000));
        std::thread::sleep(Duration::from_millis(200));
        broker.signal(libc::SIGTERM);
        if second {
            std::thread::sleep(Duration::from_millis(20));
            broker.signal(libc::SIGTERM);
        }
        let patience = if second { 2 } else { 10 };
        broker.wait(Duration::from_secs(patience));
        let _ = waiting
            .join()
            .expect("the client is answered or hung up on");
    }
}

#[test]
fn it_says_once_that_it_is_ready_and_starts_fast() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let began = Instant::now();
    let mut broker = Broker::start(port, dir.path());
    println!("answers after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5));
    // It answers as soon as it listens, and says so after that.
    broker.line_with("ringlog ready listeners=");
    let output = broker.output();
    let ready: Vec<_> = output
        .lines()
        .filter(|l| l.starts_with("ringlog ready listeners="))
        .collect();
    assert_eq!(ready.len(), 1, "{output}");
    assert!(ready[0].contains(&port.to_string()), "{}", ready[0]);
    broker.assert_running();
    assert!(
        Path::new(dir.path()).read_dir().unwrap().next().is_some(),
        "nothing on disk"
    );
}

#[test]
fn a_missing_journal_directory_is_refused_in_words_and_served_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (data, ssd) = (dir.path().join("data"), dir.path().join("ssd"));
    let journal = format!("journal.dir={}", ssd.display());
    let mut broker = Broker::start_with(free_port(), &data, &[&journal]);
    broker.client().create_topic("kept", 1).unwrap();
    broker.kill();
    let away = dir.path().join("away");
    fs::rename(&ssd, &away).unwrap();
    let path = ssd.display().to_string();
    let words = [path.as_str(), "is missing"];
    fails(&mut command(free_port(), &data, &[&journal]), &[1], &words);
    fails(&mut command(free_port(), &data, &[]), &[1], &words);
    fs::remove_dir_all(&ssd).unwrap_or(());
    fs::rename(&away, &ssd).unwrap();
    let broker = Broker::start_with(free_port(), &data, &[&journal]);
    assert_eq!(broker.client().topic("kept").unwrap().error_code, 0);
    let inside = format!("journal.dir={}", data.join("journals").display());
    fails(
        &mut command(free_port(), &data, &[&inside]),
        &[2],
        &["lies in a log directory"],
    );
}
