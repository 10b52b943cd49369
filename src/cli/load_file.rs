//! A load scenario's file: TOML, read into the rows that the flags fill too.

use std::fmt;
use std::path::Path;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::failure::Failure;
use super::load_scenario::{HOOKS, Scenario};

impl Scenario {
    /// Reads a scenario file.
    ///
    /// - `Err(Usage)`: with the line and the key, and what is allowed.
    pub fn read(path: &Path) -> Result<Scenario, Failure> {
        let told = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        Scenario::parse(&text).map_err(told)
    }

    pub(super) fn parse(text: &str) -> Result<Scenario, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }
}

impl<'de> Deserialize<'de> for Scenario {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scenario, D::Error> {
        deserializer.deserialize_map(Rows)
    }
}

struct Rows;

impl<'de> Visitor<'de> for Rows {
    type Value = Scenario;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys of a load scenario")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scenario, A::Error> {
        let mut scenario = Scenario::default();
        while let Some(name) = map.next_key_seed(Key)? {
            map.next_value_seed(Value {
                scenario: &mut scenario,
                name,
            })?;
        }
        Ok(scenario)
    }
}

/// Reads a key, which is one of those there are.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        let key = String::deserialize(deserializer)?;
        Scenario::find_key(&key).ok_or_else(|| {
            let all = Scenario::key_names().join(", ");
            de::Error::custom(format!("unknown key '{key}'; allowed are {all}"))
        })
    }
}

/// Reads the value of a key into its row.
struct Value<'a> {
    scenario: &'a mut Scenario,
    name: &'static str,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.name == HOOKS {
            for hook in Vec::<Hook>::deserialize(deserializer)? {
                let added = self.scenario.add_hook(hook.at, hook.run);
                added.map_err(de::Error::custom)?;
            }
            return Ok(());
        }
        let Text(text) = Text::deserialize(deserializer)?;
        let set = self.scenario.set(self.name, &text);
        set.map_err(de::Error::custom)
    }
}

/// A command to run, as `[[at]]` has it: when, since the measured part began, and what.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    at: String,
    run: String,
}

/// A value as a flag would have it: text, a number, a truth value, or a list of those.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true, false or a list of those")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_bool<E>(self, is: bool) -> Result<Text, E> {
                Ok(Text(is.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                let mut parts = Vec::new();
                while let Some(Text(part)) = list.next_element()? {
                    parts.push(part);
                }
                Ok(Text(parts.join(",")))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_command_may_stand_in_a_file() {
        for (key, default) in Scenario::default().texts() {
            let value = match (key.as_str(), &default) {
                (HOOKS, _) => "[{ at = \"2s\", run = \"true\" }]",
                ("replication-factor" | "transaction-records" | "pid" | "idle-partitions", _) => {
                    "3"
                }
                ("topic-configs" | "headers", _) => "[\"a=1\", \"b=2\"]",
                ("rate" | "consume-rate", _) => "5_000",
                ("find-max", _) => "\"p99=5ms\"",
                ("consume", _) => "\"start\"",
                ("backlog", _) => "\"20g\"",
                ("metrics", _) => "\"http://a:1/metrics\"",
                ("interval", _) => "\"1s\"",
                ("json" | "html" | "hdr-log" | "label", _) => "\"name\"",
                (_, Some(default)) => &format!("\"{default}\""),
                (_, None) => panic!("a new key without a default: {key}"),
            };
            let read = Scenario::parse(&format!("{key} = {value}"));
            let read = read.unwrap_or_else(|why| panic!("{key} = {value}: {why}"));
            let kept = read.texts().into_iter().find(|(name, _)| *name == key);
            assert!(kept.is_some_and(|(_, text)| text.is_some()), "{key}");
        }
    }

    #[test]
    fn what_is_looked_at_done_and_written_may_stand_in_a_file() {
        let text = "bootstrap = \"a:1,b:2\"\ntimeout = \"3s\"\npid = 7\ninterval = \"2s\"\nat-limit = \"5s\"\n\
            json = \"-\"\nhtml = \"a.html\"\nhdr-log = \"logs\"\nlabel = \"nightly\"\n\
            [[at]]\nat = \"2s\"\nrun = \"kill -STOP 7\"\n[[at]]\nat = \"4s\"\nrun = \"kill -CONT 7\"\n";
        let scenario = Scenario::parse(text).unwrap();
        let plan = scenario.plan().unwrap();
        assert_eq!(plan.bootstrap, ["a:1", "b:2"]);
        assert_eq!(plan.cluster.retry_for.as_secs(), 3);
        assert_eq!(plan.label.as_deref(), Some("nightly"));
        let observe = &plan.observe;
        let hooks = observe
            .hooks
            .iter()
            .map(|hook| (hook.at.as_secs(), hook.command.as_str()));
        let hooks: Vec<(u64, &str)> = hooks.collect();
        assert_eq!(hooks, [(2, "kill -STOP 7"), (4, "kill -CONT 7")]);
        assert_eq!(observe.hook_limit.as_secs(), 5);
        assert_eq!(observe.interval(plan.duration).as_secs(), 2);
        let outputs = scenario.outputs();
        let paths = [outputs.json, outputs.html, outputs.hdr_log];
        let paths = paths.map(|path| path.unwrap().display().to_string());
        assert_eq!(paths, ["-", "a.html", "logs"]);
    }

    #[test]
    fn what_a_file_says_wrong_is_told_with_its_line_and_what_is_allowed() {
        let unknown = Scenario::parse("topic = \"a\"\nrte = 5\n").unwrap_err();
        assert!(unknown.contains("line 2"), "{unknown}");
        assert!(unknown.contains("unknown key 'rte'"), "{unknown}");
        assert!(unknown.contains("record-bytes"), "{unknown}");
        let wrong = Scenario::parse("topic = \"a\"\n\nacks = \"some\"\n").unwrap_err();
        assert!(wrong.contains("line 3"), "{wrong}");
        assert!(wrong.contains("expected 0, 1 or all"), "{wrong}");
        assert!(Scenario::parse("topic = { a = 1 }").is_err());
        for (hooks, wanted) in [
            (
                "at = [{ at = \"soon\", run = \"a\" }]",
                "soon: expected a number",
            ),
            (
                "at = [{ at = \"1s\", command = \"a\" }]",
                "unknown field `command`",
            ),
            ("at = [{ at = \"1s\" }]", "missing field `run`"),
            ("at = \"1s true\"", "expected a sequence"),
        ] {
            let why = Scenario::parse(hooks).unwrap_err();
            assert!(why.contains("line 1") && why.contains(wanted), "{why}");
        }
        assert!(Scenario::parse("topic = \"a\"\ntopic = \"b\"").is_err());
    }
}
