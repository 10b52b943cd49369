//! Connections that only stay, and ask for metadata now and then: what thousands of quiet clients cost a broker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::client::native::NativeConnection;
use crate::client::{ClientError, Connection};
use crate::protocol::metadata::MetadataRequest;
use crate::rt;
use crate::types::Prng;
use crate::wire::{MetadataRequestV1, MetadataResponseV1};

use super::control::Control;
use super::generator::Shared;
use super::plan::{Idle, Plan, Wire};
use super::report::Percentiles;
use super::run::LoadError;
use super::tally::Window;
use super::target::native_options;

/// Connections that only stayed. Requests are those due in the measured part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IdleReport {
    pub connections: usize,
    pub lost: u64,
    pub requests: u64,
    pub latency_ms: Option<Percentiles>,
}

/// What came of them. Requests and latencies are those of the measured part.
pub struct IdleFound {
    pub connections: usize,
    pub requests: u64,
    /// Connections that broke, or whose request was not answered.
    pub lost: u64,
    pub latency_us: Histogram<u64>,
}

/// A connection of the plan's wire.
enum Line {
    Kafka(Connection),
    Native(NativeConnection),
}

struct Hall {
    found: IdleFound,
    opened: usize,
    ended: usize,
    failure: Option<ClientError>,
}

/// Opens all of them, keeps them to the end of the measured part.
///
/// - `Err`: one could not be opened at the beginning.
pub async fn keep(shared: Arc<Shared>) -> Result<IdleFound, LoadError> {
    let idle = shared.plan.idle.expect("only with such connections");
    let hall = Rc::new(RefCell::new(Hall {
        found: IdleFound {
            connections: idle.connections,
            requests: 0,
            lost: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
                .expect("1 µs to a minute with three digits is a valid histogram"),
        },
        opened: 0,
        ended: 0,
        failure: None,
    }));
    for nth in 0..idle.connections {
        // A broker's backlog of connections to be accepted is not endless.
        while nth >= hall.borrow().opened + OPENING_MAX && hall.borrow().failure.is_none() {
            rt::sleep(Duration::from_millis(1)).await;
        }
        if hall.borrow().failure.is_some() {
            break;
        }
        rt::spawn(
            rt::Queue::Net,
            "idle connection",
            stay(shared.clone(), idle, nth, hall.clone()),
        );
    }
    let mut is_ready = false;
    loop {
        let (failure, opened, ended) = {
            let mut state = hall.borrow_mut();
            (state.failure.take(), state.opened, state.ended)
        };
        if let Some(error) = failure {
            return Err(error.into());
        }
        if opened == idle.connections && !is_ready {
            is_ready = true;
            shared.control.worker_ready();
        }
        if ended == idle.connections {
            break;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    let hall = Rc::into_inner(hall).expect("all have ended");
    Ok(hall.into_inner().found)
}

async fn stay(shared: Arc<Shared>, idle: Idle, nth: usize, hall: Rc<RefCell<Hall>>) {
    match Line::open(&shared.plan, nth).await {
        Ok(line) => {
            hall.borrow_mut().opened += 1;
            ask(&shared.control, idle, nth, &line, &hall).await;
        }
        Err(error) => {
            hall.borrow_mut().failure.get_or_insert(error);
        }
    }
    hall.borrow_mut().ended += 1;
}

impl Line {
    /// The `nth` of all, which are spread over the addresses of their wire.
    async fn open(plan: &Plan, nth: usize) -> Result<Line, ClientError> {
        match &plan.wire {
            Wire::Kafka => {
                let address = &plan.bootstrap[nth % plan.bootstrap.len()];
                let opened = Connection::open(address, &plan.cluster.connection).await;
                opened.map(Line::Kafka)
            }
            Wire::Native { bootstrap, .. } => {
                let address = &bootstrap[nth % bootstrap.len()];
                // Whichever shard accepts it: it is for no partition.
                let options = native_options(plan).connection;
                let opened = NativeConnection::open(address, &options).await;
                opened.map(Line::Native)
            }
        }
    }

    /// Asks for metadata of no topic.
    async fn ask(&self) -> Result<(), ClientError> {
        match self {
            Line::Kafka(connection) => {
                let request = MetadataRequest {
                    topics: Some(Vec::new()),
                    ..Default::default()
                };
                connection.call(&request).await.map(drop)
            }
            Line::Native(connection) => {
                let request = MetadataRequestV1 {
                    topics: Some(Vec::new()),
                };
                let asked = connection.call::<_, MetadataResponseV1>(&request);
                asked.await.map(drop)
            }
        }
    }
}

async fn ask(control: &Control, idle: Idle, nth: usize, line: &Line, hall: &RefCell<Hall>) {
    // All of them spread over the interval.
    let place = Prng::new(nth as u64).unit();
    let mut due_ns = control.now_ns() + (idle.interval.as_nanos() as f64 * place) as u64;
    loop {
        let window = control.begun().map(|(_, window)| window);
        let now_ns = control.now_ns();
        let is_over = window.is_some_and(|window: Window| now_ns >= window.end_ns);
        if is_over || control.is_stopped() {
            return;
        }
        if now_ns < due_ns {
            // Before the run begins nobody knows its end; after that, a thousand connections need not look every moment.
            let (until_ns, look) = match window {
                None => (due_ns, LOOK_BEFORE),
                Some(window) => (due_ns.min(window.end_ns), LOOK),
            };
            rt::sleep(Duration::from_nanos(until_ns - now_ns).min(look)).await;
            continue;
        }
        let answer = line.ask().await;
        let answered_ns = control.now_ns();
        let mut state = hall.borrow_mut();
        if answer.is_err() {
            state.found.lost += 1;
            return;
        }
        if window.is_some_and(|window| window.contains(due_ns)) {
            let us = answered_ns.saturating_sub(due_ns) / 1000;
            state.found.requests += 1;
            let latency_us = &mut state.found.latency_us;
            latency_us.saturating_record(us.clamp(1, LATENCY_US_MAX));
        }
        due_ns += idle.interval.as_nanos() as u64;
    }
}

/// Connections being opened at a time.
const OPENING_MAX: usize = 64;
/// How often each looks whether the run has begun,
const LOOK_BEFORE: Duration = Duration::from_millis(500);
/// and whether it was stopped.
const LOOK: Duration = Duration::from_secs(2);
const LATENCY_US_MAX: u64 = 60_000_000;
