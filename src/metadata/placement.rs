//! Where replicas go: round robin over the brokers, racks taken in turn.

use std::collections::BTreeMap;

use super::command::ConfigRules;
use super::error::ApiError;
use super::image::{Broker, Image};
use crate::protocol::ErrorCode;
use crate::types::NodeId;

/// The brokers of the cluster in the order in which partitions take them: racks alternate, so that neighbours are in
/// different racks as far as racks go.
pub(super) struct Placer {
    active: Vec<Candidate>,
    fenced: Vec<Candidate>,
}

#[derive(Clone, Copy)]
struct Candidate {
    id: NodeId,
    /// The broker's rack as a number; brokers without a rack are in one together.
    rack: usize,
}

impl Placer {
    pub(super) fn new(image: &Image, rules: &dyn ConfigRules) -> Placer {
        // One whose log directories are all cordoned takes no replicas (KIP-1066).
        let open: Vec<&Broker> = image
            .brokers()
            .filter(|broker| !rules.is_cordoned(broker.id))
            .collect();
        let ring = |fenced: bool| {
            let mut racks: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
            for broker in open.iter().filter(|broker| broker.is_active() != fenced) {
                let rack = broker.rack.as_deref().unwrap_or_default();
                racks.entry(rack).or_default().push(broker.id);
            }
            racks
        };
        let (active, fenced) = (ring(false), ring(true));
        let mut names: Vec<&str> = active.keys().chain(fenced.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        Placer {
            active: alternated(&active, &names),
            fenced: alternated(&fenced, &names),
        }
    }

    /// Chooses the replicas of one partition, the leader first.
    ///
    /// - `seat`: where the topic starts on the ring, plus the partition's index. Consecutive seats give consecutive
    ///   brokers a leader; each lap around the ring moves the followers on by one, so that the followers of one
    ///   leader are spread over all others.
    /// - Replicas are on distinct brokers. Active brokers come before fenced ones, and among them new racks before
    ///   racks that have a replica already. The leader is active.
    /// - `Err(INVALID_REPLICATION_FACTOR)`: there are too few brokers, or none is active.
    pub(super) fn place(&self, seat: u64, replicas_count: usize) -> Result<Vec<NodeId>, ApiError> {
        self.check(replicas_count)?;
        let count = self.active.len() as u64;
        let leader = self.active[(seat % count) as usize];
        let mut chosen = vec![leader];
        let mut racks = vec![leader.rack];
        for ring in [&self.active, &self.fenced] {
            follow(ring, seat, replicas_count, &mut chosen, &mut racks);
        }
        Ok(chosen.iter().map(|candidate| candidate.id).collect())
    }

    fn check(&self, replicas_count: usize) -> Result<(), ApiError> {
        let registered = self.active.len() + self.fenced.len();
        let why = if self.active.is_empty() {
            "All brokers are currently fenced, or have all their log directories cordoned."
                .to_owned()
        } else if replicas_count > registered {
            format!(
                "The target replication factor of {replicas_count} cannot be reached because only {registered} \
                 broker(s) are registered or some brokers have all their log directories cordoned."
            )
        } else {
            return Ok(());
        };
        Err(ApiError::new(ErrorCode::InvalidReplicationFactor, why))
    }
}

/// One broker of each rack in turn, until none is left.
fn alternated(racks: &BTreeMap<&str, Vec<NodeId>>, names: &[&str]) -> Vec<Candidate> {
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let mut ring = Vec::new();
    for round in 0..longest {
        for (rack, name) in names.iter().enumerate() {
            if let Some(&id) = racks.get(name).and_then(|ids| ids.get(round)) {
                ring.push(Candidate { id, rack });
            }
        }
    }
    ring
}

/// Adds brokers of `ring` until there are `replicas_count`: those in racks not used in this round of racks first.
fn follow(
    ring: &[Candidate],
    seat: u64,
    replicas_count: usize,
    chosen: &mut Vec<Candidate>,
    racks: &mut Vec<usize>,
) {
    let count = ring.len();
    if count == 0 {
        return;
    }
    let start = (seat % count as u64) as usize;
    let others = count - 1;
    let shift = (seat / count as u64)
        .checked_rem(others as u64)
        .unwrap_or(0) as usize;
    // All but the broker at `start`, from the one that this lap's shift says; that broker, if it is free, last.
    let slot = |step: usize| match step < others {
        true => (start + 1 + (shift + step) % others) % count,
        false => start,
    };
    while chosen.len() < replicas_count {
        let free = |candidate: &&Candidate| chosen.iter().all(|taken| taken.id != candidate.id);
        let in_turn = || (0..count).map(|step| &ring[slot(step)]);
        let next = in_turn()
            .filter(free)
            .find(|candidate| !racks.contains(&candidate.rack));
        match next {
            Some(&candidate) => {
                racks.push(candidate.rack);
                chosen.push(candidate);
            }
            // Every rack that has a free broker was used: a new round of racks begins.
            None if in_turn().any(|candidate| free(&candidate)) => racks.clear(),
            None => return,
        }
    }
}
