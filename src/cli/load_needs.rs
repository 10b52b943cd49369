//! Keys of a load scenario that do nothing by themselves, and what each of them needs.

use super::load_scenario::{Scenario, WireKind, key_of};

type IsMet = fn(&Scenario) -> bool;

/// Keys that do nothing without another: which, what they need, and whether that is there. They are refused where they are
/// given without it, since whoever gives one expects something of it.
const NEEDS: [(&str, &str, IsMet); 11] = [
    ("native_bootstrap", "--wire native", Scenario::is_native),
    ("native_steering", "--wire native", Scenario::is_native),
    ("find_precision", "--find-max", |all| {
        all.find_max().is_some()
    }),
    (
        "key_count",
        "--keys of a kind that leaves their number open, as uniform",
        |all| all.keys().is_open(),
    ),
    ("isolation", READERS, Scenario::is_read),
    ("consume_rate", READERS, Scenario::is_read),
    ("reader_threads", READERS, Scenario::is_read),
    ("group_members", "--groups", |all| all.groups() > 0),
    ("group_protocol", "--groups", |all| all.groups() > 0),
    ("idle_interval", "--idle-connections", |all| {
        all.idle_connections() > 0
    }),
    ("at_limit", "--at", |all| !all.at.is_empty()),
];
const READERS: &str = "readers: --consume, --groups or --backlog";

impl Scenario {
    /// What is given and would do nothing.
    pub(super) fn idle_key(&self) -> Option<String> {
        let idle = NEEDS
            .iter()
            .find(|(name, _, is_met)| self.text(name).is_some() && !is_met(self));
        idle.map(|(name, needed, _)| format!("--{} does nothing without {needed}", key_of(name)))
    }

    fn is_native(&self) -> bool {
        self.wire() == WireKind::Native
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_scenario::tests::refused;
    use super::*;

    #[test]
    fn what_would_do_nothing_is_refused_and_accepted_with_what_it_needs() {
        let rows = [
            ("native-bootstrap = \"a:1\"", "wire = \"native\""),
            ("native-steering = \"owner\"", "wire = \"native\""),
            ("find-precision = \"5%\"", "find-max = \"p99=1ms\""),
            ("key-count = 10", "keys = \"zipf\""),
            ("isolation = \"committed\"", "backlog = \"1m\""),
            ("consume-rate = 5", "consume = \"tail\""),
            ("reader-threads = 2", "groups = 1"),
            ("group-members = 1", "groups = 1"),
            ("group-protocol = \"classic\"", "groups = 2"),
            ("idle-interval = \"1s\"", "idle-connections = 5"),
            ("at-limit = \"1s\"", "at = [{ at = \"0\", run = \"true\" }]"),
        ];
        let keys: Vec<&str> = rows.map(|(row, _)| row.split(' ').next().unwrap()).to_vec();
        let table: Vec<String> = NEEDS.iter().map(|(name, ..)| key_of(name)).collect();
        assert_eq!(keys, table, "every row of the table is tried");
        for (alone, needed) in rows {
            let key = alone.split(' ').next().unwrap();
            let why = refused(alone).expect(alone);
            let told = format!("--{key} does nothing without ");
            assert!(why.starts_with(&told), "{why}");
            assert_eq!(refused(&format!("{alone}\n{needed}")), None, "{alone}");
        }
        // What is needed may be given and still not be there.
        for text in [
            "key-count = 10\nkeys = \"uniform:5\"",
            "key-count = 10\nkeys = \"none\"",
            "group-members = 2\ngroups = 0\nconsume = \"tail\"",
            "idle-interval = \"1s\"\nidle-connections = 0",
            "native-steering = \"any\"\nwire = \"kafka\"",
        ] {
            assert!(refused(text).unwrap().contains("does nothing"), "{text}");
        }
        assert_eq!(refused(""), None, "defaults are not given");
    }
}
