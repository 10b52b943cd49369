//! What is looked at beside the records while a run goes on: this program, the broker's process, its devices.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chaos::{Hook, Hooks, Ran};
use super::control::Control;
use super::cpu::{self, Process};
use super::device::{self, Device, Traffic};
use super::scrape::MetricsUrl;
use super::series::Grid;
use super::tally::Window;

/// What shall be looked at, and done, beside the records.
#[derive(Clone, Debug)]
pub struct Observe {
    /// Of the time line; chosen by the length of the run if `None`.
    pub interval: Option<Duration>,
    pub broker: BrokerAt,
    pub hooks: Vec<Hook>,
    /// A hook's command may take so long.
    pub hook_limit: Duration,
}

/// Where the broker's use of its machine is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerAt {
    /// The process that listens on the first bootstrap address, if it is on this machine.
    Port,
    Pid(u32),
    Metrics(MetricsUrl),
}

impl Observe {
    /// The interval of the time line of a run of `duration`: a second, or as long as keeps their number in bounds.
    pub fn interval(&self, duration: Duration) -> Duration {
        let least = duration.as_secs().div_ceil(INTERVALS_WANTED).max(1);
        self.interval.unwrap_or(Duration::from_secs(least))
    }

    /// What cannot be done, for people.
    pub fn fault(&self, duration: Duration) -> Option<String> {
        let interval = self.interval(duration);
        if interval < INTERVAL_MIN {
            return Some(format!(
                "an interval of {interval:?} is shorter than {INTERVAL_MIN:?}"
            ));
        }
        let count = duration.as_nanos().div_ceil(interval.as_nanos());
        if count > INTERVALS_MAX {
            return Some(format!(
                "{count} intervals of {interval:?}: at most {INTERVALS_MAX} are kept"
            ));
        }
        let late = self.hooks.iter().find(|hook| hook.at >= duration)?;
        Some(format!(
            "'{}' at {:?} would run after the end of the measured part, {duration:?} long",
            late.command, late.at
        ))
    }
}

/// The broker's process, followed from one look to the next: killed and started again, it is another process.
#[derive(Clone, Debug)]
struct Subject {
    broker: BrokerAt,
    address: Option<SocketAddr>,
    pid: Option<u32>,
    devices: BTreeSet<Device>,
    /// What a metrics endpoint answered last, if that was a fault.
    unanswered: Option<String>,
}

/// One look at everything.
#[derive(Clone, Debug)]
struct Look {
    now_ns: u64,
    own_cpu: f64,
    broker: Option<Used>,
    traffic: Option<Traffic>,
}

/// What a broker has used since it started; what its source does not tell is `None`.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// 0 for a metrics endpoint, which does not tell it.
    pid: u32,
    cpu: Option<f64>,
    user: Option<f64>,
    system: Option<f64>,
    resident_bytes: Option<u64>,
    threads: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
}

/// What was used in one interval. Cores are processor seconds a second.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Usage {
    pub client_cpu_cores: f64,
    pub broker_cpu_cores: Option<f64>,
    pub broker_user_cores: Option<f64>,
    pub broker_system_cores: Option<f64>,
    pub broker_resident_bytes: Option<u64>,
    pub broker_threads: Option<u64>,
    /// What the broker had the kernel read and write, or says that it did.
    pub broker_read_bytes_per_second: Option<f64>,
    pub broker_written_bytes_per_second: Option<f64>,
    /// What went through the devices under its logs, whoever's it was.
    pub device_read_bytes_per_second: Option<f64>,
    pub device_written_bytes_per_second: Option<f64>,
}

/// What was used in the measured part.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct BrokerUse {
    pub pid: Option<u32>,
    /// The name of its program.
    pub program: Option<String>,
    pub user_seconds: Option<f64>,
    pub system_seconds: Option<f64>,
    /// The most at any look.
    pub resident_bytes_max: Option<u64>,
    pub threads_max: Option<u64>,
    pub read_bytes: Option<f64>,
    pub written_bytes: Option<f64>,
    /// The devices under its logs and what went through them.
    pub devices: Vec<String>,
    pub device_read_bytes: Option<f64>,
    pub device_written_bytes: Option<f64>,
    /// Why the metrics endpoint was not always read.
    pub unanswered: Option<String>,
}

/// All that was seen in a run.
#[derive(Clone, Default, Debug)]
pub struct Observed {
    /// One an interval of the time line, from its first.
    pub usage: Vec<Usage>,
    pub client_cpu_seconds: f64,
    pub broker_pid: Option<u32>,
    pub broker_cpu_seconds: Option<f64>,
    pub broker: BrokerUse,
    pub ran: Vec<Ran>,
}

/// Ready to look, before anything else has begun.
pub struct Observer {
    observe: Observe,
    subject: Subject,
}

/// A run being looked at, on threads of its own.
pub struct Observing {
    looking: JoinHandle<(Subject, Vec<Look>)>,
    is_over: Arc<AtomicBool>,
    hooks: Hooks,
    grid: Grid,
}

impl Observer {
    /// - `bootstrap`: where the broker is, if nothing better is told.
    ///
    /// `Err`: the process or the endpoint that was named cannot be looked at.
    pub fn new(observe: Observe, bootstrap: &[String]) -> Result<Observer, String> {
        let address = bootstrap
            .first()
            .and_then(|first| first.to_socket_addrs().ok()?.next());
        let mut subject = Subject {
            broker: observe.broker.clone(),
            address: address.filter(|address| cpu::is_local(*address)),
            pid: None,
            devices: BTreeSet::new(),
            unanswered: None,
        };
        match &observe.broker {
            BrokerAt::Port => {}
            BrokerAt::Pid(pid) => {
                Process::look(*pid)
                    .map_err(|error| format!("process {pid} cannot be looked at: {error}"))?;
                subject.pid = Some(*pid);
            }
            BrokerAt::Metrics(url) => drop(url.scrape()?),
        }
        Ok(Observer { observe, subject })
    }

    /// Looks at every boundary of the intervals from now on, and runs the hooks.
    pub fn begin(self, control: &Arc<Control>, window: Window) -> Observing {
        let grid = control.grid(window);
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, clock, mut subject) = (is_over.clone(), control.clone(), self.subject);
        let looking = thread::spawn(move || {
            let mut looks = Vec::new();
            for index in 0.. {
                let due_ns = grid.bounds(index).0;
                while clock.now_ns() < due_ns && !over.load(Ordering::Acquire) {
                    let left = Duration::from_nanos(due_ns.saturating_sub(clock.now_ns()));
                    thread::sleep(left.min(NAP));
                }
                looks.push(subject.look(clock.now_ns()));
                if over.load(Ordering::Acquire) {
                    break;
                }
            }
            (subject, looks)
        });
        let hooks = Hooks::start(
            self.observe.hooks,
            self.observe.hook_limit,
            control.clone(),
            window,
        );
        Observing {
            looking,
            is_over,
            hooks,
            grid,
        }
    }
}

impl Observing {
    /// Ends the looking, waits for a hook that is running, and sums up.
    pub fn end(self) -> Observed {
        let ran = self.hooks.end();
        self.is_over.store(true, Ordering::Release);
        match self.looking.join() {
            Ok((subject, looks)) => summed(&subject, &looks, self.grid, ran),
            Err(_) => Observed {
                ran,
                ..Default::default()
            },
        }
    }
}

impl Subject {
    fn look(&mut self, now_ns: u64) -> Look {
        let broker = match &self.broker {
            BrokerAt::Metrics(url) => match url.scrape() {
                Ok(found) => Some(Used {
                    pid: 0,
                    cpu: found.cpu_seconds,
                    user: None,
                    system: None,
                    resident_bytes: found.resident_bytes,
                    threads: None,
                    read_bytes: found.read_bytes,
                    written_bytes: found.written_bytes,
                }),
                Err(why) => {
                    self.unanswered = Some(why);
                    None
                }
            },
            BrokerAt::Pid(_) | BrokerAt::Port => self.look_at_process(),
        };
        Look {
            now_ns,
            own_cpu: cpu::own_seconds(),
            broker,
            traffic: device::traffic(&self.devices),
        }
    }

    fn look_at_process(&mut self) -> Option<Used> {
        let known = self
            .pid
            .and_then(|pid| Some((pid, Process::look(pid).ok()?)));
        let (pid, process) = known.or_else(|| {
            let pid = cpu::listener_pid(self.address?)?;
            Some((pid, Process::look(pid).ok()?))
        })?;
        if self.pid != Some(pid) || self.devices.is_empty() {
            self.devices = device::under_files_of(pid);
        }
        self.pid = Some(pid);
        Some(Used {
            pid,
            cpu: Some(process.cpu.total()),
            user: Some(process.cpu.user),
            system: Some(process.cpu.system),
            resident_bytes: Some(process.resident_bytes),
            threads: Some(process.threads),
            read_bytes: process.storage.map(|storage| storage.read_bytes),
            written_bytes: process.storage.map(|storage| storage.written_bytes),
        })
    }
}

/// By how much a count that begins at 0 with each process has grown from one look to the next.
///
/// What a process used between the last look and its end is lost: nobody is left to ask.
fn grown<T: Copy + PartialOrd + Into<f64>>(
    before: &Look,
    after: &Look,
    count: impl Fn(&Used) -> Option<T>,
) -> Option<f64> {
    let later = after.broker.as_ref()?;
    let now: f64 = count(later)?.into();
    match before.broker.as_ref() {
        Some(earlier) if earlier.pid == later.pid => {
            let then: f64 = count(earlier)?.into();
            Some(if now >= then { now - then } else { now })
        }
        Some(_) => Some(now),
        // A process that was not there a moment ago has used since what it has used; of an endpoint that did not
        // answer nobody knows.
        None => (later.pid != 0).then_some(now),
    }
}

fn as_f64(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

fn usage(before: &Look, after: &Look) -> Usage {
    let seconds = (after.now_ns.saturating_sub(before.now_ns) as f64 / 1e9).max(1e-9);
    let rate = |grown: Option<f64>| grown.map(|grown| grown / seconds);
    let through = |of: fn(&Traffic) -> u64| {
        let (before, after) = (before.traffic.as_ref()?, after.traffic.as_ref()?);
        Some(of(after).saturating_sub(of(before)) as f64 / seconds)
    };
    Usage {
        client_cpu_cores: (after.own_cpu - before.own_cpu) / seconds,
        broker_cpu_cores: rate(grown(before, after, |used| used.cpu)),
        broker_user_cores: rate(grown(before, after, |used| used.user)),
        broker_system_cores: rate(grown(before, after, |used| used.system)),
        broker_resident_bytes: after.broker.as_ref().and_then(|used| used.resident_bytes),
        broker_threads: after.broker.as_ref().and_then(|used| used.threads),
        broker_read_bytes_per_second: rate(grown(before, after, |used| as_f64(used.read_bytes))),
        broker_written_bytes_per_second: rate(grown(before, after, |used| {
            as_f64(used.written_bytes)
        })),
        device_read_bytes_per_second: through(|traffic| traffic.read_bytes),
        device_written_bytes_per_second: through(|traffic| traffic.written_bytes),
    }
}

/// The intervals' usage, and the measured part's sums.
fn summed(subject: &Subject, looks: &[Look], grid: Grid, ran: Vec<Ran>) -> Observed {
    let measured = &looks[..looks.len().min(grid.measured_count() + 1)];
    let sum = |of: &dyn Fn(&Look, &Look) -> Option<f64>| {
        // Unknown at the beginning or at the end, the sum would tell of something else.
        let (first, last) = (measured.first()?, measured.last()?);
        (first.broker.is_some() && last.broker.is_some()).then_some(())?;
        let is_known =
            subject.unanswered.is_none() || measured.iter().all(|look| look.broker.is_some());
        is_known.then_some(())?;
        let known: Vec<f64> = measured
            .windows(2)
            .filter_map(|two| of(&two[0], &two[1]))
            .collect();
        (!known.is_empty()).then(|| known.iter().sum())
    };
    let through = |of: fn(&Traffic) -> u64| {
        let known: Vec<u64> = measured
            .iter()
            .filter_map(|look| Some(of(look.traffic.as_ref()?)))
            .collect();
        Some(known.last()?.saturating_sub(*known.first()?) as f64)
    };
    let most = |of: fn(&Used) -> Option<u64>| {
        measured
            .iter()
            .filter_map(|look| of(look.broker.as_ref()?))
            .max()
    };
    let client = measured.last().zip(measured.first());
    Observed {
        usage: looks
            .windows(2)
            .map(|two| usage(&two[0], &two[1]))
            .collect(),
        client_cpu_seconds: client.map_or(0.0, |(last, first)| last.own_cpu - first.own_cpu),
        broker_pid: subject.pid,
        broker_cpu_seconds: sum(&|before, after| grown(before, after, |used| used.cpu)),
        broker: BrokerUse {
            pid: subject.pid,
            program: subject.pid.and_then(cpu::program_name),
            user_seconds: sum(&|before, after| grown(before, after, |used| used.user)),
            system_seconds: sum(&|before, after| grown(before, after, |used| used.system)),
            resident_bytes_max: most(|used| used.resident_bytes),
            threads_max: most(|used| used.threads),
            read_bytes: sum(&|before, after| grown(before, after, |used| as_f64(used.read_bytes))),
            written_bytes: sum(&|before, after| {
                grown(before, after, |used| as_f64(used.written_bytes))
            }),
            devices: device::names(&subject.devices),
            device_read_bytes: through(|traffic| traffic.read_bytes),
            device_written_bytes: through(|traffic| traffic.written_bytes),
            unanswered: subject.unanswered.clone(),
        },
        ran,
    }
}

const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Seconds are cut no finer than keeps the time line of a long run this short.
const INTERVALS_WANTED: u64 = 1_200;
const INTERVALS_MAX: u128 = 10_000;
const NAP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn look(second: u64, pid: u32, cpu: f64) -> Look {
        let used = Used {
            pid,
            cpu: Some(cpu),
            user: Some(cpu),
            system: Some(0.0),
            resident_bytes: Some(second * 1_000),
            threads: Some(2),
            read_bytes: None,
            written_bytes: Some((cpu * 100.0) as u64),
        };
        Look {
            now_ns: second * 1_000_000_000,
            own_cpu: second as f64 / 2.0,
            broker: (pid > 0).then_some(used),
            traffic: Some(Traffic {
                read_bytes: 0,
                written_bytes: second * 10,
            }),
        }
    }

    fn subject() -> Subject {
        Subject {
            broker: BrokerAt::Port,
            address: None,
            pid: None,
            devices: BTreeSet::new(),
            unanswered: None,
        }
    }

    fn grid(seconds: u64) -> Grid {
        let window = Window {
            start_ns: 0,
            end_ns: seconds * 1_000_000_000,
        };
        Grid::new(window, Duration::from_secs(1))
    }

    #[test]
    fn a_broker_that_is_started_again_begins_at_zero() {
        let looks = [
            look(0, 7, 5.0),
            look(1, 7, 5.5),
            look(2, 0, 0.0),
            look(3, 9, 0.25),
            look(4, 9, 0.75),
        ];
        let seen = summed(&subject(), &looks, grid(4), Vec::new());
        let cores: Vec<_> = seen
            .usage
            .iter()
            .map(|usage| usage.broker_cpu_cores)
            .collect();
        assert_eq!(cores, [Some(0.5), None, Some(0.25), Some(0.5)]);
        assert_eq!(seen.broker_cpu_seconds, Some(1.25));
        assert_eq!(seen.broker.written_bytes, Some(125.0));
        assert_eq!(seen.broker.resident_bytes_max, Some(4_000));
        assert_eq!(seen.broker.device_written_bytes, Some(40.0));
        assert_eq!(seen.client_cpu_seconds, 2.0);
    }

    #[test]
    fn the_drain_is_in_the_time_line_and_not_in_the_sums() {
        let looks = [look(0, 7, 1.0), look(1, 7, 2.0), look(2, 7, 5.0)];
        let seen = summed(&subject(), &looks, grid(1), Vec::new());
        assert_eq!(seen.usage.len(), 2);
        assert_eq!(seen.broker_cpu_seconds, Some(1.0));
    }

    #[test]
    fn a_broker_that_is_gone_at_the_end_has_no_sum() {
        let looks = [look(0, 7, 1.0), look(1, 7, 2.0), look(2, 0, 0.0)];
        let seen = summed(&subject(), &looks, grid(2), Vec::new());
        assert_eq!(seen.broker_cpu_seconds, None);
        assert_eq!(seen.broker.user_seconds, None);
    }

    fn observe() -> Observe {
        Observe {
            interval: None,
            broker: BrokerAt::Port,
            hooks: Vec::new(),
            hook_limit: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_long_run_has_longer_intervals() {
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        assert_eq!(observe().interval(minute), Duration::from_secs(1));
        assert_eq!(observe().interval(day), Duration::from_secs(72));
        assert_eq!(observe().fault(day), None);
        let fine = Observe {
            interval: Some(INTERVAL_MIN),
            ..observe()
        };
        assert!(fine.fault(day).unwrap().contains("864000 intervals"));
        let finest = Observe {
            interval: Some(Duration::from_millis(1)),
            ..observe()
        };
        assert!(finest.fault(minute).is_some());
    }

    #[test]
    fn a_hook_after_the_end_is_refused() {
        let hook = Hook {
            at: Duration::from_secs(60),
            command: "true".to_owned(),
        };
        let late = Observe {
            hooks: vec![hook],
            ..observe()
        };
        assert!(
            late.fault(Duration::from_secs(60))
                .unwrap()
                .contains("'true' at 60s")
        );
        assert_eq!(late.fault(Duration::from_secs(61)), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_told_before_the_run() {
        let nobody = Observe {
            broker: BrokerAt::Pid(u32::MAX),
            ..observe()
        };
        let why = Observer::new(nobody, &[]).err().unwrap();
        assert!(
            why.contains("process 4294967295 cannot be looked at"),
            "{why}"
        );
        let own = Observe {
            broker: BrokerAt::Pid(std::process::id()),
            ..observe()
        };
        assert!(Observer::new(own, &[]).is_ok());
    }
}
