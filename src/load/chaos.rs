//! Commands that are run while the load is on: what they do to the service is what the run is for.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::tally::Window;

/// A command and when it is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Since the measured part began.
    pub at: Duration,
    /// For `sh -c`.
    pub command: String,
}

/// A command that was run. Seconds since the measured part began.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ran {
    pub command: String,
    pub began_seconds: f64,
    pub ended_seconds: f64,
    /// `exit status 0`, `killed by signal 9`, `stopped after 60 s`, or why it could not be started.
    pub outcome: String,
    /// `None` where it ended by a signal, was stopped or never ran.
    pub exit_status: Option<i32>,
}

/// Runs the hooks, each on a thread of its own: one that takes long delays no other. There are never more threads than
/// hooks, and one that waits for the next to be due.
pub struct Hooks {
    waiting: JoinHandle<Vec<JoinHandle<Ran>>>,
    over: Arc<AtomicBool>,
}

impl Hooks {
    /// - `limit`: a command that takes longer is killed, with every process it started in its group.
    pub fn start(
        mut hooks: Vec<Hook>,
        limit: Duration,
        control: Arc<Control>,
        window: Window,
    ) -> Hooks {
        hooks.sort_by_key(|hook| hook.at);
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let waiting = thread::spawn(move || {
            let mut running = Vec::new();
            for hook in hooks {
                let due_ns = window.start_ns + hook.at.as_nanos() as u64;
                while control.now_ns() < due_ns {
                    if is_over.load(Ordering::Acquire) {
                        return running;
                    }
                    let left = Duration::from_nanos(due_ns.saturating_sub(control.now_ns()));
                    thread::sleep(left.min(LOOK));
                }
                let clock = control.clone();
                running.push(thread::spawn(move || hook.run(limit, &clock, window)));
            }
            running
        });
        Hooks { waiting, over }
    }

    /// What was run, in the order in which it began. Waits for commands that are running, which is bounded; what was not
    /// yet due is not run.
    pub fn end(self) -> Vec<Ran> {
        self.over.store(true, Ordering::Release);
        let running = self.waiting.join().unwrap_or_default();
        let ran = running.into_iter().map(JoinHandle::join);
        let mut ran: Vec<Ran> = ran.filter_map(Result::ok).collect();
        ran.sort_by(|a, b| a.began_seconds.total_cmp(&b.began_seconds));
        ran
    }
}

impl Hook {
    fn run(self, limit: Duration, control: &Control, window: Window) -> Ran {
        let since = |ns: u64| (ns as f64 - window.start_ns as f64) / 1e9;
        let began_seconds = since(control.now_ns());
        let (outcome, exit_status) = carry_out(&self.command, limit);
        Ran {
            command: self.command,
            began_seconds,
            ended_seconds: since(control.now_ns()),
            outcome,
            exit_status,
        }
    }
}

fn carry_out(command: &str, limit: Duration) -> (String, Option<i32>) {
    let mut child = match spawned(command) {
        Ok(child) => child,
        Err(error) => return (format!("not started: {error}"), None),
    };
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return told(status),
            Ok(None) if began.elapsed() < limit => thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                stop(&mut child);
                return (format!("stopped after {} s", limit.as_secs_f64()), None);
            }
            Err(error) => return (format!("not waited for: {error}"), None),
        }
    }
}

/// A shell in a process group of its own, so that an interrupt of the run does not reach a broker that it started
/// again. Its output goes to standard error: standard output is the report's, and a pipe would break when the run
/// ends under whatever still writes to it.
fn spawned(command: &str) -> io::Result<Child> {
    let output = io::stderr().as_fd().try_clone_to_owned()?;
    Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(output)
        .process_group(0)
        .spawn()
}

fn stop(child: &mut Child) {
    // The whole group: what the shell waits for would otherwise live on.
    let group = format!("kill -KILL -{}", child.id());
    let killed = Command::new("sh").args(["-c", &group]).status();
    if !killed.is_ok_and(|status| status.success()) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

fn told(status: ExitStatus) -> (String, Option<i32>) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (format!("exit status {code}"), Some(code)),
        (None, Some(signal)) => (format!("killed by signal {signal}"), None),
        (None, None) => (status.to_string(), None),
    }
}

const LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn how_a_command_ended_is_told() {
        let limit = 20 * SECOND;
        assert_eq!(
            carry_out("exit 3", limit),
            ("exit status 3".to_owned(), Some(3))
        );
        assert_eq!(
            carry_out("true", limit),
            ("exit status 0".to_owned(), Some(0))
        );
        let killed = carry_out("kill -9 $$", limit);
        assert_eq!(killed, ("killed by signal 9".to_owned(), None));
    }

    #[test]
    fn a_command_that_does_not_end_is_stopped_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let command = format!("(sleep 2; touch {}) & wait", mark.display());
        let began = Instant::now();
        let (outcome, status) = carry_out(&command, Duration::from_millis(100));
        assert_eq!((outcome.as_str(), status), ("stopped after 0.1 s", None));
        assert!(began.elapsed() < 2 * SECOND);
        thread::sleep(3 * SECOND);
        assert!(!mark.exists(), "a process of the command lived on");
    }

    #[test]
    fn hooks_run_in_time_and_those_not_yet_due_at_the_end_do_not() {
        let control = Arc::new(Control::new(Duration::ZERO, 10 * SECOND, 1, 0, SECOND));
        let window = control.begin();
        let hook = |ms, command: &str| Hook {
            at: Duration::from_millis(ms),
            command: command.to_owned(),
        };
        let hooks = vec![
            hook(9_000, "exit 2"),
            hook(200, "exit 1"),
            hook(0, "sleep 1; exit 0"),
        ];
        let running = Hooks::start(hooks, 5 * SECOND, control.clone(), window);
        thread::sleep(Duration::from_millis(600));
        let ran = running.end();
        let statuses: Vec<_> = ran.iter().map(|ran| ran.exit_status).collect();
        assert_eq!(statuses, [Some(0), Some(1)]);
        // The first goes on meanwhile, and its end is awaited.
        assert!((0.2..0.5).contains(&ran[1].began_seconds), "{ran:?}");
        assert!(ran[0].ended_seconds >= 1.0, "{ran:?}");
    }
}
