//! One thing looked at: what it is, what is wanted, why; in the words of `tuning/check`.

use serde::Serialize;

/// What is said of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Another value is wanted, which `tuning/apply` sets.
    Want,
    /// Something is wanted that the operator has to do.
    Advice,
    /// Worth knowing, nothing to do.
    Note,
    Ok,
}

/// A kind of item. Where `tuning/knobs/` has a knob of this name, all its words are that knob's.
#[derive(Debug)]
pub struct Knob {
    pub name: &'static str,
    pub severity: &'static str,
    pub title: &'static str,
    /// Of setting it; empty where nothing here sets it.
    pub risk: &'static str,
    /// Where the number or the rule comes from.
    pub source: &'static str,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Item {
    pub item: String,
    pub knob: &'static str,
    pub target: String,
    pub title: &'static str,
    pub status: Status,
    pub current: String,
    pub wanted: String,
    pub why: String,
    pub severity: &'static str,
    pub risk: &'static str,
    pub source: &'static str,
    pub command: String,
}

/// What a rule says of one item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    status: Status,
    wanted: String,
    why: String,
    command: String,
    severity: Option<&'static str>,
}

impl Verdict {
    fn new(status: Status, wanted: impl Into<String>, why: impl Into<String>) -> Verdict {
        Verdict {
            status,
            wanted: wanted.into(),
            why: why.into(),
            command: String::new(),
            severity: None,
        }
    }

    /// A value that `tuning/apply` sets; well where it is so already.
    pub fn wants(value: impl Into<String>, why: impl Into<String>) -> Verdict {
        Verdict::new(Status::Want, value, why)
    }

    pub fn fine(why: impl Into<String>) -> Verdict {
        Verdict::new(Status::Ok, "", why)
    }

    /// Wanted, but for the operator to do.
    pub fn advise(what: impl Into<String>, why: impl Into<String>) -> Verdict {
        Verdict::new(Status::Advice, what, why)
    }

    pub fn note(why: impl Into<String>) -> Verdict {
        Verdict::new(Status::Note, "", why)
    }

    /// Never lowers; a value that is no number is wanted to be one.
    pub fn at_least(now: &str, least: u64, why: impl Into<String>) -> Verdict {
        match now.parse::<u64>() {
            Ok(now) if now > least => Verdict::fine(why),
            _ => Verdict::wants(least.to_string(), why),
        }
    }

    /// How the operator does it.
    pub fn by(self, command: impl Into<String>) -> Verdict {
        Verdict {
            command: command.into(),
            ..self
        }
    }

    /// Other than the knob's own.
    pub fn severe(self, severity: &'static str) -> Verdict {
        Verdict {
            severity: Some(severity),
            ..self
        }
    }
}

impl Item {
    /// - `target`: empty where there is only one of the kind.
    pub fn new(knob: &Knob, target: &str, current: impl Into<String>, verdict: Verdict) -> Item {
        let current = current.into();
        let status = match verdict.status {
            Status::Want if verdict.wanted == current => Status::Ok,
            status => status,
        };
        Item {
            item: match target.is_empty() {
                true => knob.name.to_owned(),
                false => format!("{}:{target}", knob.name),
            },
            knob: knob.name,
            target: target.to_owned(),
            title: knob.title,
            status,
            current,
            wanted: verdict.wanted,
            why: verdict.why,
            severity: verdict.severity.unwrap_or(knob.severity),
            risk: knob.risk,
            source: knob.source,
            command: verdict.command,
        }
    }

    /// Whether something is wanted, by a program or by the operator.
    pub fn is_wanting(&self) -> bool {
        matches!(self.status, Status::Want | Status::Advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOB: Knob = Knob {
        name: "a.b",
        severity: "low",
        title: "t",
        risk: "",
        source: "s",
    };

    #[test]
    fn a_wanted_value_that_is_there_is_well() {
        let item = Item::new(&KNOB, "x", "1", Verdict::wants("1", "w"));
        assert_eq!((item.status, item.item.as_str()), (Status::Ok, "a.b:x"));
        assert!(Item::new(&KNOB, "", "60", Verdict::wants("1", "w")).is_wanting());
        assert!(!Item::new(&KNOB, "", "60", Verdict::note("w")).is_wanting());
    }

    #[test]
    fn a_least_value_is_never_lowered() {
        let status = |now: &str| Item::new(&KNOB, "", now, Verdict::at_least(now, 10, "w")).status;
        assert_eq!(status("9"), Status::Want);
        assert_eq!(status("10"), Status::Ok);
        assert_eq!(status("11"), Status::Ok);
        assert_eq!(status("many"), Status::Want);
    }
}
