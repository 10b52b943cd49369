//! Whether this process may hold as many connections as a plan wants, told before anything starts.

use std::fs;

use crate::rt;

use super::plan::{Plan, Wire};
use super::run::LoadError;

/// What the machine allows this process.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    /// Open files, connections among them.
    files: u64,
    /// Connections to one address and port, for want of local ports.
    ports: u64,
}

/// - `Err(Plan)`: the plan needs more than there is, with what to change.
pub fn descriptors_suffice(plan: &Plan) -> Result<(), LoadError> {
    // What cannot be found out is not refused: the run will tell.
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let allowed = Allowed {
        files: rt::open_files_max().unwrap_or(u64::MAX),
        ports: port_count(&range).unwrap_or(u64::MAX),
    };
    fault(plan, allowed).map_or(Ok(()), |why| Err(LoadError::Plan(why)))
}

/// How many ports a range as `32768 60999` has.
fn port_count(range: &str) -> Option<u64> {
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u64>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    last.checked_sub(first).map(|more| more + 1)
}

fn fault(plan: &Plan, allowed: Allowed) -> Option<String> {
    let idle = plan.idle.map_or(0, |idle| idle.connections) as u64;
    let connections = idle + working_connections(plan);
    let files = connections + OWN_FILES + EXECUTOR_FILES * executors(plan);
    if files > allowed.files {
        return Some(format!(
            "{connections} connections or more need {files} open files, and this process may have {}: raise its hard limit (ulimit -Hn, or LimitNOFILE of its unit)",
            allowed.files
        ));
    }
    let addresses = match &plan.wire {
        Wire::Kafka => &plan.bootstrap,
        Wire::Native { bootstrap, .. } => bootstrap,
    };
    let per_address = idle.div_ceil(addresses.len().max(1) as u64);
    if per_address > allowed.ports {
        return Some(format!(
            "{per_address} idle connections to one address need as many local ports, and there are {}: widen the range (sysctl net.ipv4.ip_local_port_range) or name more brokers",
            allowed.ports
        ));
    }
    None
}

/// Of producers and readers, where there is one broker, and it has one shard.
fn working_connections(plan: &Plan) -> u64 {
    let to_each = match plan.wire {
        Wire::Kafka => 1,
        // Beside those to the listener that knows the topics.
        Wire::Native { .. } => 2,
    };
    let readers = plan.consume.as_ref().map_or(0, |consume| {
        let members = match consume.groups {
            0 => consume.threads,
            groups => groups * consume.members,
        };
        let (topics, idle) = plan.topics_used();
        members * (topics + idle)
    });
    (plan.producers * plan.connections) as u64 + readers as u64 * to_each
}

fn executors(plan: &Plan) -> u64 {
    let producing = if plan.producers > 0 { plan.threads } else { 0 };
    let reading = plan.consume.as_ref().map_or(0, |consume| consume.threads);
    // One prepares, one cleans up.
    (producing + reading + usize::from(plan.idle.is_some()) + 2) as u64
}

/// Standard streams, results, what is sampled.
const OWN_FILES: u64 = 64;
/// Rings, event counters and the connection that asks for metadata.
const EXECUTOR_FILES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Idle;
    use std::time::Duration;

    const ALLOWED: Allowed = Allowed {
        files: 1024,
        ports: 28_232,
    };

    fn idle(connections: usize) -> Plan {
        Plan {
            producers: 0,
            idle: Some(Idle {
                connections,
                interval: Duration::from_secs(1),
            }),
            ..Plan::default()
        }
    }

    #[test]
    fn more_connections_than_files_or_ports_are_refused_with_what_to_change() {
        assert_eq!(fault(&idle(800), ALLOWED), None);
        let files = fault(&idle(10_000), ALLOWED).unwrap();
        assert!(
            files.contains("10000 connections") && files.contains("1024"),
            "{files}"
        );
        assert!(files.contains("ulimit -Hn"), "{files}");
        let many = Allowed {
            files: 1 << 20,
            ..ALLOWED
        };
        assert_eq!(fault(&idle(28_232), many), None);
        let ports = fault(&idle(28_233), many).unwrap();
        assert!(ports.contains("ip_local_port_range"), "{ports}");
        let two = Plan {
            bootstrap: vec!["a:1".to_owned(), "b:1".to_owned()],
            ..idle(28_233)
        };
        assert_eq!(fault(&two, many), None);
    }

    #[test]
    fn producers_and_readers_count_too() {
        let plan = Plan {
            producers: 600,
            connections: 2,
            ..Plan::default()
        };
        assert!(fault(&plan, ALLOWED).unwrap().contains("1200 connections"));
    }

    #[test]
    fn a_port_range_is_counted_with_both_ends() {
        assert_eq!(port_count("32768\t60999\n"), Some(28_232));
        assert_eq!(port_count("9 8"), None);
        assert_eq!(port_count(""), None);
    }
}
