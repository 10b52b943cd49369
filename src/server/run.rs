//! Start-up in order, and shutdown in the opposite one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::admin::{self, Ask, BoundAdmin, Known, Step};
use super::connection;
use super::connections::{Admission, Shared, lock};
use super::memory::request_gate;
use super::memory_limit::available_memory;
use super::native;
use super::supervisor;
use super::warn::RateLimited;
use crate::config::{BrokerConfig, Listener, Protocol, Wire};
use crate::metadata::{Endpoint, FeatureRange, Registration};
use crate::rt::{self, BoundListener, Disk, DoorKeeper, ListenOptions, Options, Queue};
use crate::shard::{self, Message, Opened, Shard};
use crate::storage::{Directories, JournalDir, StorageError};
use crate::types::{NodeId, ShardId, Str, Uuid};

/// Runs a broker until it is told to stop.
///
/// - Prints `ringlog ready listeners=…` when clients are served, and tells a supervisor that asked for it (sd_notify).
/// - 0: stopped cleanly. 1: could not start, or a fault.
pub fn run(config: BrokerConfig) -> ExitCode {
    match Prepared::new(config).and_then(Prepared::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            eprintln!("ringlog: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What is held before any shard runs: a fault until here has changed nothing.
struct Prepared {
    config: Arc<BrokerConfig>,
    directories: Directories,
    bound: Vec<(Listener, BoundListener)>,
    shards_count: u16,
    admin: Option<BoundAdmin>,
}

/// What one shard's main is given.
struct Seed {
    opened: Opened,
    request_bytes: usize,
    listeners: Arc<Vec<Listener>>,
    admission: Arc<Mutex<Admission>>,
    /// Shard 0 accepts for all.
    bound: Vec<BoundListener>,
    advertised: Vec<Listener>,
    known: Arc<Known>,
    /// On shard 0, where there is an admin listener.
    admin: Option<DoorKeeper<Ask>>,
}

const RETRIES: u32 = 20;
const RETRY_EVERY: Duration = Duration::from_millis(50);

const LOST_LINES_EVERY: Duration = Duration::from_secs(10);
/// Connections that are still served this long after the word to stop are cut.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

impl Prepared {
    fn new(config: BrokerConfig) -> Result<Prepared, String> {
        rt::check_io_uring().map_err(|error| error.to_string())?;
        let bound = bind(&config)?;
        let admin = admin::bind(&config)?;
        let paths = config.data_dirs().to_vec();
        let node = NodeId(config.node_id);
        let journals = match &config.journal_dir {
            None => JournalDir::Beside,
            // The log directories remember it, wherever the next start is made from.
            Some(path) => JournalDir::Under(std::path::absolute(path).map_err(|e| e.to_string())?),
        };
        let prepare = || {
            let (paths, journals) = (paths.clone(), journals.clone());
            let prepared = rt::run_local(async move {
                Directories::prepare_with(&Disk::Ring, &paths, node, None, &journals).await
            });
            prepared.unwrap_or_else(|error| {
                // The kernel gave this process a ring a moment ago: it will not take it back for long.
                Err(StorageError::Io {
                    path: PathBuf::new(),
                    source: std::io::Error::other(error.to_string()),
                })
            })
        };
        let locked = |error: &StorageError| matches!(error, StorageError::Locked { .. });
        let directories = retried(prepare, locked).map_err(|error| error.to_string())?;
        let shards_count = shards_count(&config, rt::cpu_count());
        Ok(Prepared {
            config: Arc::new(config),
            directories,
            bound,
            shards_count,
            admin,
        })
    }

    fn serve(self) -> Result<(), String> {
        let options = Options {
            log_dirs: self.directories.working().map(Path::to_owned).collect(),
            spin: Duration::from_micros(self.config.io_spin_us as u64),
            ..Options::default()
        };
        let seeds = self.seeds()?;
        let shards = rt::start(&options, seeds, run_shard).map_err(|error| error.to_string())?;
        shards.join();
        Ok(())
    }

    fn seeds(self) -> Result<Vec<Seed>, String> {
        let known = Arc::new(Known::new(self.shards_count));
        supervisor::watch(known.clone())?;
        let mut admin = match self.admin {
            Some(bound) => Some(bound.start(known.clone())?),
            None => None,
        };
        let memory = self.config.memory(available_memory());
        let count = self.shards_count as usize;
        let (listeners, bound): (Vec<_>, Vec<_>) = self.bound.into_iter().unzip();
        let ports: Vec<_> = listeners
            .iter()
            .zip(&bound)
            .map(|(listener, bound)| (listener.name.clone(), bound.address().port()))
            .collect();
        let port_of = |name: &str| {
            ports
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, port)| *port)
        };
        let advertised = self.config.advertised(&hostname(), port_of);
        let listeners = Arc::new(listeners);
        let admission = Arc::new(Mutex::new(Admission::new(self.shards_count)));
        let mut bound = Some(bound);
        let seeds = rt::mesh::<Message>(count).into_iter().map(|seat| Seed {
            opened: Opened {
                config: self.config.clone(),
                directories: self.directories.clone(),
                seat,
                shards_count: self.shards_count,
                cache_bytes: memory.cache as usize / count,
                groups_bytes: memory.groups as usize / count,
                open_files_max: open_files_max() / count,
            },
            request_bytes: memory.requests as usize / count,
            listeners: listeners.clone(),
            admission: admission.clone(),
            bound: bound.take().unwrap_or_default(),
            advertised: advertised.clone(),
            known: known.clone(),
            admin: admin.take(),
        });
        Ok(seeds.collect())
    }
}

/// One shard from start to stop.
async fn run_shard(own: rt::Shard, seed: Seed) {
    let directories = seed.opened.directories.clone();
    let (known, shard) = (seed.known, shard::open(seed.opened));
    known.note_thread(own.id);
    let turning = known.clone();
    shard.on_turn(move || turning.note_turn(own.id));
    if let Some(keeper) = seed.admin {
        admin::attend(&shard, keeper);
    }
    if own.id == ShardId(0) {
        rt::spawn(Queue::Background, "log limits", tell_lost_lines());
    }
    let gate = request_gate(seed.request_bytes);
    let (measured, budget) = (gate.clone(), seed.request_bytes);
    shard.metrics.memory_budget_requests.set(budget as i64);
    shard.on_measure(move |metrics| metrics.memory_requests.set(measured.used() as i64));
    let shared = Shared::new(
        shard.clone(),
        gate,
        seed.listeners.clone(),
        seed.admission.clone(),
    );
    let listed = shared.clone();
    shard.on_list_connections(move |from, limit| listed.rows(from, limit));
    let serving = shared.clone();
    shard.serve_connections(move |listener, accepted| {
        let shared = serving.clone();
        match shared.listeners[listener].wire {
            Wire::Kafka => {
                let served = connection::serve(shared, listener, accepted);
                rt::spawn(Queue::Net, "connection", served);
            }
            Wire::Native => {
                let served = native::serve(shared, listener, accepted);
                rt::spawn(Queue::Net, "native connection", served);
            }
        }
    });
    rt::spawn(Queue::Background, "sweep", shared.clone().sweep());
    if own.id == ShardId(0) {
        let advertised = seed.advertised.clone();
        let ids = directories.ids().map(|(_, id)| id);
        // The id of one that is offline is not known.
        let ids = ids.filter(|id| *id != Uuid::default()).collect();
        let started = shard
            .start_controller(&directories, |cluster_id| {
                // By now every shard has its logs, and the controller is there to be told of this broker.
                known.progress.note(Step::Recovered);
                registration(&shard, cluster_id, &advertised, ids)
            })
            .await;
        match started {
            Ok(()) => {
                accept_all(&shard, seed.bound, &seed.admission);
                known.progress.note(Step::Listening);
                println!("ringlog ready listeners={}", told(&seed.advertised));
                supervisor::tell(supervisor::READY);
            }
            Err(error) => {
                tracing::error!("{error}");
                eprintln!("ringlog: {error}");
                rt::exit(1);
            }
        }
    }
    own.shutdown.requested().await;
    if own.id == ShardId(0) {
        known.progress.note(Step::Stopping);
        supervisor::tell(supervisor::STOPPING);
    }
    // A member that waits for others is told to look elsewhere.
    shard.close_coordinators();
    shared.finish_all();
    let deadline = shard.clock.now().plus_ms(FINISH_WITHIN.as_millis() as u64);
    while shared.count() > 0 && shard.clock.now() < deadline {
        rt::sleep(Duration::from_millis(5)).await;
    }
    shard.close().await;
    known.note_end(own.id);
}

/// Says now and then how many lines of the log were left out.
async fn tell_lost_lines() {
    let mut told = rt::lines_lost();
    loop {
        rt::sleep(LOST_LINES_EVERY).await;
        let lost = rt::lines_lost();
        if lost != told {
            let (limited, dropped) = (lost.limited - told.limited, lost.dropped - told.dropped);
            tracing::warn!(
                "{limited} log lines were left out because the same place had said enough, {dropped} because they were not read fast enough"
            );
            told = lost;
        }
    }
}

fn accept_all(shard: &Rc<Shard>, bound: Vec<BoundListener>, admission: &Arc<Mutex<Admission>>) {
    let lines = Rc::new(RateLimited::new());
    for (index, bound) in bound.into_iter().enumerate() {
        let (shard, admission, lines) = (shard.clone(), admission.clone(), lines.clone());
        rt::spawn(Queue::Net, "accept", async move {
            let listener = bound.listen();
            loop {
                let accepted = listener.accept().await;
                let peer = accepted.peer_addr();
                let config = shard.broker_config();
                let (total, per_ip) = (
                    config.max_connections as usize,
                    config.max_connections_per_ip as usize,
                );
                let admitted = lock(&admission).admit(peer.ip(), total, per_ip);
                match admitted {
                    Ok(to) => {
                        shard.metrics.connections_accepted.increment();
                        shard.send(
                            to,
                            Message::Connection {
                                listener: index,
                                accepted,
                            },
                        );
                    }
                    Err(refused) => {
                        shard.metrics.connections_refused.increment();
                        lines.warn(shard.clock.now(), peer, refused.0);
                    }
                }
            }
        });
    }
}

/// Tries again for a moment: a broker that was killed holds its port and its locks until the kernel has cleared it away.
fn retried<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 0..RETRIES {
        match attempt() {
            Err(error) if may_pass(&error) => std::thread::sleep(RETRY_EVERY),
            done => return done,
        }
    }
    attempt()
}

fn bind(config: &BrokerConfig) -> Result<Vec<(Listener, BoundListener)>, String> {
    // A size that is set keeps the kernel from adapting the buffer: only the operator's word does that.
    let size = |key: &str, bytes: i32| usize::try_from(bytes).ok().filter(|_| config.is_set(key));
    let options = ListenOptions {
        // With Kafka's fifty, a few hundred clients that come at once wait seconds for the kernel to ask again.
        backlog: match config.is_set("socket.listen.backlog.size") {
            true => config.socket_listen_backlog_size,
            false => ListenOptions::default().backlog,
        },
        receive_buffer_bytes: size(
            "socket.receive.buffer.bytes",
            config.socket_receive_buffer_bytes,
        ),
        send_buffer_bytes: size("socket.send.buffer.bytes", config.socket_send_buffer_bytes),
    };
    let bind = |listener: &Listener| {
        let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        let bound = retried(
            || BoundListener::bind_host(&listener.host, listener.port, &options),
            taken,
        );
        let why = |error| {
            format!(
                "listener {}://{}:{}: {error}",
                listener.name, listener.host, listener.port
            )
        };
        Ok((listener.clone(), bound.map_err(why)?))
    };
    config.client_listeners().map(bind).collect()
}

/// What this broker tells the controller of itself.
fn registration(
    shard: &Shard,
    cluster_id: Str,
    advertised: &[Listener],
    log_dirs: Vec<Uuid>,
) -> Registration {
    let endpoints = advertised.iter().map(|listener| Endpoint {
        listener: Str::from(listener.name.as_str()),
        host: Str::from(listener.host.as_str()),
        port: listener.port,
        security_protocol: match listener.protocol {
            Protocol::Plaintext => 0,
            Protocol::Ssl => 1,
            Protocol::SaslPlaintext => 2,
            Protocol::SaslSsl => 3,
        },
    });
    Registration {
        cluster_id,
        id: shard.node_id(),
        incarnation: Uuid::random(),
        rack: shard.config.broker_rack.as_deref().map(Str::from),
        endpoints: endpoints.collect(),
        features: features(),
        log_dirs,
        fenced: false,
    }
}

/// How many shards a broker of this configuration runs where it may use `cpus` CPUs.
pub fn shards_count(config: &BrokerConfig, cpus: usize) -> u16 {
    match config.num_shards {
        0 => usual_shards(cpus),
        count => count as u16,
    }
}

/// A second shard on a machine of two CPUs competes with the kernel's own work and with whoever drives the broker:
/// measured, it costs twice the processor time for each record and makes nothing faster.
fn usual_shards(cpus: usize) -> u16 {
    match cpus {
        0..=2 => 1,
        more => more.min(1024) as u16,
    }
}

/// What this broker can run at, as Kafka 4.3.1 tells it, without what is not served (shares, streams groups).
fn features() -> Vec<FeatureRange> {
    let feature = |name, min, max| FeatureRange {
        name: Str::from_static(name),
        min,
        max,
    };
    vec![
        feature("eligible.leader.replicas.version", 0, 1),
        feature("group.version", 0, 1),
        feature("metadata.version", 7, 30),
        feature("transaction.version", 0, 2),
    ]
}

fn told(listeners: &[Listener]) -> String {
    let one =
        |listener: &Listener| format!("{}://{}:{}", listener.name, listener.host, listener.port);
    listeners.iter().map(one).collect::<Vec<_>>().join(",")
}

/// This host's own name, for listeners on every address.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".into(), |name| name.trim().into())
}

/// Descriptors for segments: half of what the process may open, the rest is for connections.
fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(4)?.parse::<usize>().ok());
    (hard.unwrap_or(1024) / 2).clamp(64, 1 << 20)
}
