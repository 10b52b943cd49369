//! How the leader of a classic group divides partitions among its members. No I/O here.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Str;

use super::consumer_protocol::{Partitions, Subscription};

/// A way to divide, by the name that members agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Each topic's partitions in runs, member after member; members give up everything before a rebalance.
    Range,
    /// Evenly, moving as few partitions as that takes; a partition that moves is first given up by its owner, in a
    /// rebalance of its own, and the others are read all the while (KIP-429).
    CooperativeSticky,
}

/// Members by id, with what they said of themselves.
pub type Members = BTreeMap<Str, Subscription>;

/// What each member shall read.
pub type Assignments = BTreeMap<Str, Partitions>;

/// A partition, as the sticky division moves it about.
type Piece = (Str, i32);

impl Assignor {
    /// Kafka's name of the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members keep their partitions while they join.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// Divides topics of so many partitions; each member appears in the answer.
    pub fn assign(self, members: &Members, counts: &BTreeMap<Str, i32>) -> Assignments {
        match self {
            Assignor::Range => range(members, counts),
            Assignor::CooperativeSticky => cooperative_sticky(members, counts),
        }
    }
}

fn range(members: &Members, counts: &BTreeMap<Str, i32>) -> Assignments {
    let mut out: Assignments = members
        .keys()
        .map(|id| (id.clone(), Partitions::new()))
        .collect();
    for (topic, &count) in counts {
        let readers = members.iter().filter(|(_, s)| s.topics.contains(topic));
        let readers: Vec<&Str> = readers.map(|(id, _)| id).collect();
        let mut next = 0;
        for (index, id) in readers.iter().enumerate() {
            let (share, rest) = (count / readers.len() as i32, count % readers.len() as i32);
            let end = next + share + i32::from((index as i32) < rest);
            if end > next {
                let assigned = out.get_mut(*id).expect("every member has a row");
                assigned.insert(topic.clone(), (next..end).collect());
            }
            next = end;
        }
    }
    out
}

fn cooperative_sticky(members: &Members, counts: &BTreeMap<Str, i32>) -> Assignments {
    let owners = owners(members, counts);
    let mut shares: BTreeMap<&Str, BTreeSet<Piece>> =
        members.keys().map(|id| (id, BTreeSet::new())).collect();
    let mut free = Vec::new();
    for (topic, &count) in counts {
        for index in 0..count {
            let piece = (topic.clone(), index);
            match owners.get(&piece) {
                Some(owner) => {
                    shares.entry(owner).or_default().insert(piece);
                }
                None => free.push(piece),
            }
        }
    }
    for piece in free {
        if let Some(reader) = least_loaded(members, &shares, &piece.0) {
            shares.entry(reader).or_default().insert(piece);
        }
    }
    while let Some((piece, from, to)) = unfair(members, &shares) {
        shares.entry(from).or_default().remove(&piece);
        shares.entry(to).or_default().insert(piece);
    }
    let mut out = Assignments::new();
    for (id, share) in shares {
        let assigned = out.entry(id.clone()).or_default();
        for piece in share {
            // Still somebody else's: free once that member has given it up.
            if owners.get(&piece).is_none_or(|owner| *owner == id) {
                assigned.entry(piece.0).or_default().push(piece.1);
            }
        }
    }
    out
}

/// Who may keep which partition: the member that had it in the latest generation; nobody where two say so.
fn owners<'a>(members: &'a Members, counts: &BTreeMap<Str, i32>) -> BTreeMap<Piece, &'a Str> {
    let mut claims: BTreeMap<Piece, (i32, Option<&Str>)> = BTreeMap::new();
    for (id, subscription) in members {
        for (topic, indexes) in &subscription.owned {
            let count = counts.get(topic).copied().unwrap_or(0);
            let wanted = subscription.topics.contains(topic);
            for &index in indexes
                .iter()
                .filter(|&&index| wanted && index >= 0 && index < count)
            {
                let claim = claims
                    .entry((topic.clone(), index))
                    .or_insert((i32::MIN, None));
                if subscription.generation > claim.0 {
                    *claim = (subscription.generation, Some(id));
                } else if subscription.generation == claim.0 {
                    claim.1 = None;
                }
            }
        }
    }
    let sole = claims
        .into_iter()
        .filter_map(|(piece, (_, id))| Some((piece, id?)));
    sole.collect()
}

fn least_loaded<'a>(
    members: &'a Members,
    shares: &BTreeMap<&Str, BTreeSet<Piece>>,
    topic: &Str,
) -> Option<&'a Str> {
    let readers = members.iter().filter(|(_, s)| s.topics.contains(topic));
    readers
        .map(|(id, _)| id)
        .min_by_key(|id| shares.get(id).map_or(0, BTreeSet::len))
}

/// A partition whose move makes the shares more even, if there is one: from whom, and to whom. The sum of the squares
/// of the shares falls with every such move, so there is an end to them.
fn unfair<'a>(
    members: &'a Members,
    shares: &BTreeMap<&'a Str, BTreeSet<Piece>>,
) -> Option<(Piece, &'a Str, &'a Str)> {
    let mut loaded: Vec<(&'a Str, &BTreeSet<Piece>)> =
        shares.iter().map(|(id, s)| (*id, s)).collect();
    loaded.sort_by_key(|(_, share)| std::cmp::Reverse(share.len()));
    for (from, share) in loaded {
        let mut seen = BTreeSet::new();
        for piece in share.iter().rev() {
            // The partitions of one topic may all go to the same members.
            if !seen.insert(&piece.0) {
                continue;
            }
            let to = least_loaded(members, shares, &piece.0)?;
            if shares.get(to).map_or(0, BTreeSet::len) + 2 <= share.len() {
                return Some((piece.clone(), from, to));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    //! Goal: every partition has one reader, shares are even, and nothing moves without need or while it is owned.
    //! Method: known divisions, then histories of members that come and go, by seed.

    use super::*;
    use crate::types::Prng;

    fn member(topics: &[&str]) -> Subscription {
        Subscription {
            topics: topics.iter().map(|&topic| topic.into()).collect(),
            owned: Partitions::new(),
            generation: -1,
        }
    }

    fn counts(rows: &[(&str, i32)]) -> BTreeMap<Str, i32> {
        rows.iter()
            .map(|(topic, count)| (Str::from(*topic), *count))
            .collect()
    }

    fn size(partitions: &Partitions) -> usize {
        partitions.values().map(Vec::len).sum()
    }

    #[test]
    fn range_gives_runs_and_the_first_members_one_more() {
        let members = Members::from([
            ("a".into(), member(&["t", "u"])),
            ("b".into(), member(&["t"])),
            ("c".into(), member(&["t", "gone"])),
        ]);
        let divided = Assignor::Range.assign(&members, &counts(&[("t", 7), ("u", 1)]));
        let of = |id: &str, topic: &str| divided[id].get(topic).cloned().unwrap_or_default();
        assert_eq!(of("a", "t"), [0, 1, 2]);
        assert_eq!((of("b", "t"), of("c", "t")), (vec![3, 4], vec![5, 6]));
        assert_eq!((of("a", "u"), of("c", "gone")), (vec![0], vec![]));
    }

    #[test]
    fn of_two_owners_the_one_of_the_later_generation_keeps_a_partition() {
        let owner = |generation: i32| Subscription {
            owned: Partitions::from([("t".into(), vec![0, 1])]),
            generation,
            ..member(&["t"])
        };
        let members = Members::from([("a".into(), owner(4)), ("b".into(), owner(5))]);
        let divided = Assignor::CooperativeSticky.assign(&members, &counts(&[("t", 2)]));
        // One stays with b; the other, which b owns too, is for a once b has given it up.
        assert_eq!((size(&divided["a"]), size(&divided["b"])), (0, 1));
    }

    /// A group through one rebalance after another until nobody has anything to give up.
    fn settle(members: &mut Members, counts: &BTreeMap<Str, i32>, generation: &mut i32) -> usize {
        let mut moved = 0;
        for _ in 0..3 {
            *generation += 1;
            let divided = Assignor::CooperativeSticky.assign(members, counts);
            let mut revoked = 0;
            let mut seen = BTreeSet::new();
            for (id, subscription) in members.iter_mut() {
                let next = &divided[id];
                for (topic, indexes) in next {
                    for index in indexes {
                        assert!(
                            seen.insert((topic.clone(), *index)),
                            "two readers of {topic}-{index}"
                        );
                        assert!(subscription.topics.contains(topic));
                    }
                }
                let kept =
                    |topic: &Str, index: &i32| next.get(topic).is_some_and(|n| n.contains(index));
                let owned = subscription.owned.iter();
                revoked += owned
                    .flat_map(|(t, all)| all.iter().map(move |i| (t, i)))
                    .filter(|(t, i)| !kept(t, i))
                    .count();
                subscription.owned = next.clone();
                subscription.generation = *generation;
            }
            moved += revoked;
            if revoked == 0 {
                return moved;
            }
        }
        panic!("the group does not settle");
    }

    #[test]
    fn sticky_groups_settle_evenly_and_stay_where_nothing_changes() {
        let seeds = 300;
        for seed in 0..seeds {
            let mut prng = Prng::new(seed);
            let topics = counts(&[
                ("t", 1 + prng.below(12) as i32),
                ("u", prng.below(9) as i32),
            ]);
            let (mut members, mut generation) = (Members::new(), 0);
            for round in 0..12 {
                if members.is_empty() || prng.below(3) > 0 {
                    members.insert(format!("m{seed}-{round}").into(), member(&["t", "u"]));
                } else {
                    let gone = members
                        .keys()
                        .nth(prng.below(members.len() as u64) as usize)
                        .cloned();
                    members.remove(&gone.expect("below the count"));
                }
                if members.is_empty() {
                    continue;
                }
                settle(&mut members, &topics, &mut generation);
                let sizes: Vec<usize> = members.values().map(|s| size(&s.owned)).collect();
                let total: i32 = topics.values().sum();
                assert_eq!(sizes.iter().sum::<usize>(), total as usize, "seed {seed}");
                let (least, most) = (sizes.iter().min(), sizes.iter().max());
                assert!(
                    most.zip(least).is_some_and(|(m, l)| m - l <= 1),
                    "seed {seed}: {sizes:?}"
                );
                assert_eq!(
                    settle(&mut members, &topics, &mut generation),
                    0,
                    "seed {seed}"
                );
            }
        }
    }

    #[test]
    fn members_of_different_topics_share_what_they_can() {
        let mut members = Members::from([
            ("a".into(), member(&["t"])),
            ("b".into(), member(&["t", "u"])),
            ("c".into(), member(&["u"])),
        ]);
        settle(&mut members, &counts(&[("t", 4), ("u", 5)]), &mut 0);
        let sizes: Vec<usize> = members.values().map(|s| size(&s.owned)).collect();
        assert_eq!(sizes, [3, 3, 3]);
    }
}
