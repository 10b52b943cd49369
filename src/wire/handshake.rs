//! The first exchange: who is there, which layouts both sides know, and which shard shall serve.

use rkyv::Archived;

use super::schema::frozen;
use super::{KINDS, Kind};

frozen! {
    /// Opens a connection. Its layout can never change: it must be read before anything is agreed.
    pub struct HelloV1 {
        /// Name and version of the program, for people.
        pub software: String,
        pub software_version: String,
        /// The cluster meant; a broker of another one refuses.
        pub cluster_id: Option<String>,
        /// What the opener speaks, by ascending kind.
        pub ranges: Vec<RangeV1>,
        pub authentication: Option<AuthenticationV1>,
        /// The shard that shall serve the connection; a broker without such a shard serves it on another, and says so.
        pub shard: Option<u16>,
        /// The longest control part and body that the opener takes. What it asks for and does not take is answered with
        /// an error; one that does not take the Welcome is refused.
        pub control_bytes_max: u32,
        pub body_bytes_max: u32,
    }

    /// The versions of one kind, and the fingerprint of each.
    pub struct RangeV1 {
        pub kind: u16,
        pub version_min: u16,
        pub version_max: u16,
        /// One for each version, ascending.
        pub fingerprints: Vec<u64>,
    }

    /// Who the opener is, in the words of a SASL mechanism.
    pub struct AuthenticationV1 {
        pub mechanism: String,
        pub data: Vec<u8>,
    }

    /// Accepts a connection. Its layout can never change either.
    pub struct WelcomeV1 {
        pub software: String,
        pub software_version: String,
        pub cluster_id: String,
        pub node_id: i32,
        /// The shard that serves the connection, of so many.
        pub shard: u16,
        pub shards_count: u16,
        pub ranges: Vec<RangeV1>,
        /// The longest control part and body that the broker takes: a longer one ends the connection.
        pub control_bytes_max: u32,
        pub body_bytes_max: u32,
    }
}

/// The versions that both ends of a connection use: for each kind the highest whose fingerprints are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// By the kind's place in [`Kind::ALL`]; 0 is none.
    versions: [u16; Kind::ALL.len()],
}

impl Agreed {
    /// The version in which `kind` is spoken; `None` if it is not.
    pub fn version(&self, kind: Kind) -> Option<u16> {
        Some(self.versions[place(kind)]).filter(|version| *version > 0)
    }

    /// Whether frames of this kind and version may be sent.
    pub fn allows(&self, kind: u16, version: u16) -> bool {
        Kind::from_u16(kind).is_some_and(|kind| self.version(kind) == Some(version))
    }
}

fn place(kind: Kind) -> usize {
    let place = Kind::ALL.binary_search(&kind);
    place.expect("every kind is among all of them")
}

/// What this release speaks of `kinds`, for a handshake.
pub fn offer(kinds: &[Kind]) -> Vec<RangeV1> {
    let range = |kind: &Kind| {
        let rows: Vec<_> = kind.rows().collect();
        let versions = rows.iter().map(|row| row.version);
        RangeV1 {
            kind: *kind as u16,
            version_min: versions.clone().min().expect("a kind has a version"),
            version_max: versions.max().expect("a kind has a version"),
            fingerprints: rows.iter().map(|row| row.fingerprint).collect(),
        }
    };
    kinds.iter().map(range).collect()
}

/// What both sides speak, given what the other side offers. Both come to the same result.
///
/// - `ours`: the kinds this side serves.
/// - A version whose fingerprints differ is passed over: its bytes would be misread.
pub fn agree(ours: &[Kind], theirs: &[Archived<RangeV1>]) -> Agreed {
    let mut versions = [0; Kind::ALL.len()];
    for row in KINDS.iter().filter(|row| ours.contains(&row.kind)) {
        let known = theirs
            .iter()
            .filter(|range| range.kind == row.kind as u16)
            .any(|range| fingerprint(range, row.version) == Some(row.fingerprint));
        if known {
            versions[place(row.kind)] = row.version;
        }
    }
    Agreed { versions }
}

fn fingerprint(range: &Archived<RangeV1>, version: u16) -> Option<u64> {
    let index = version.checked_sub(range.version_min.to_native())?;
    let within = version <= range.version_max.to_native();
    let found = range.fingerprints.get(index as usize).filter(|_| within)?;
    Some(found.to_native())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ours` and an offer that went over the wire come to.
    fn agreed(ours: &[Kind], ranges: Vec<RangeV1>) -> Agreed {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&ranges).unwrap();
        let ranges = rkyv::access::<Archived<Vec<RangeV1>>, rkyv::rancor::Error>(&bytes).unwrap();
        agree(ours, ranges)
    }

    #[test]
    fn what_both_speak_is_spoken_and_nothing_else() {
        let some = [Kind::Hello, Kind::ProduceRequest];
        let agreed = agreed(Kind::CLIENT, offer(&some));
        assert_eq!(agreed.version(Kind::ProduceRequest), Some(1));
        assert_eq!(agreed.version(Kind::Subscribe), None);
        assert!(agreed.allows(Kind::ProduceRequest as u16, 1));
        assert!(!agreed.allows(Kind::ProduceRequest as u16, 2));
        assert!(!agreed.allows(9999, 1));
    }

    #[test]
    fn a_kind_that_is_not_served_is_not_agreed() {
        let agreed = agreed(Kind::CLIENT, offer(Kind::ALL));
        assert_eq!(agreed.version(Kind::RaftMessage), None);
        assert_eq!(agreed.version(Kind::Welcome), Some(1));
    }

    #[test]
    fn a_version_with_another_fingerprint_is_passed_over() {
        let mut ranges = offer(Kind::CLIENT);
        for range in &mut ranges {
            if range.kind == Kind::Subscribe as u16 {
                range.fingerprints[0] ^= 1;
            }
        }
        let agreed = agreed(Kind::CLIENT, ranges);
        assert_eq!(agreed.version(Kind::Subscribe), None);
        assert_eq!(agreed.version(Kind::Credits), Some(1));
    }

    #[test]
    fn newer_and_nonsensical_ranges_are_lived_with() {
        let row = Kind::Credits.rows().next().unwrap();
        let range = |version_min, version_max, fingerprints: Vec<u64>| RangeV1 {
            kind: Kind::Credits as u16,
            version_min,
            version_max,
            fingerprints,
        };
        let newer = range(1, 3, vec![row.fingerprint, 5, 6]);
        assert_eq!(
            agreed(Kind::CLIENT, vec![newer]).version(Kind::Credits),
            Some(1)
        );
        for nonsense in [
            range(2, 1, vec![row.fingerprint]),
            range(0, u16::MAX, vec![row.fingerprint]),
            range(1, 1, Vec::new()),
        ] {
            assert_eq!(
                agreed(Kind::CLIENT, vec![nonsense]).version(Kind::Credits),
                None
            );
        }
    }
}
