//! The types a value may have, each read from its text as Kafka's `ConfigDef` reads it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Kind;

/// A type that a key's value may have. `parse` is given trimmed text; its error is Kafka's phrase.
pub trait Value: Sized {
    const KIND: Kind;
    const CHOICES: &'static [&'static str] = &[];

    fn parse(text: &str) -> Result<Self, Wrong>;

    /// What "not set" is, where the key has no default.
    fn absent() -> Option<Self> {
        None
    }
}

macro_rules! number {
    ($($type:ty: $kind:ident),*) => { $(
        impl Value for $type {
            const KIND: Kind = Kind::$kind;
            fn parse(text: &str) -> Result<Self, Wrong> {
                text.parse().map_err(|_| format!("Not a number of type {}", Self::KIND.name()).into())
            }
        }
    )* };
}

number!(i16: Short, i32: Int, i64: Long);

impl Value for f64 {
    const KIND: Kind = Kind::Double;
    fn parse(text: &str) -> Result<f64, Wrong> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("Not a number of type DOUBLE".into()),
        }
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Boolean;
    fn parse(text: &str) -> Result<bool, Wrong> {
        if text.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if text.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err("Expected value to be either true or false".into())
        }
    }
}

impl Value for String {
    const KIND: Kind = Kind::String;
    fn parse(text: &str) -> Result<String, Wrong> {
        Ok(text.to_string())
    }
}

impl Value for Vec<String> {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<Vec<String>, Wrong> {
        Ok(items(text).map(str::to_string).collect())
    }
}

impl Value for PathBuf {
    const KIND: Kind = Kind::String;
    fn parse(text: &str) -> Result<PathBuf, Wrong> {
        Ok(PathBuf::from(text.trim()))
    }
}

impl Value for Vec<PathBuf> {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<Vec<PathBuf>, Wrong> {
        Ok(items(text)
            .filter(|item| !item.is_empty())
            .map(PathBuf::from)
            .collect())
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    fn parse(text: &str) -> Result<Option<T>, Wrong> {
        T::parse(text).map(Some)
    }
    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

/// The items of a list: none of an empty text, else split at commas and trimmed.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    text.split(',')
        .map(str::trim)
        .take(if text.is_empty() { 0 } else { usize::MAX })
}

/// A choice of words, spelled as Kafka spells them.
macro_rules! choice {
    ($(#[$meta:meta])* $Choice:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $Choice { $($(#[$variant_meta])* $variant),+ }

        impl $Choice {
            /// The word as it is configured.
            pub fn name(self) -> &'static str {
                match self { $($Choice::$variant => $word),+ }
            }
        }

        impl Value for $Choice {
            const KIND: Kind = Kind::String;
            const CHOICES: &'static [&'static str] = &[$($word),+];
            fn parse(text: &str) -> Result<$Choice, Wrong> {
                match text {
                    $($word => Ok($Choice::$variant),)+
                    _ => Err(not_among(Self::CHOICES)),
                }
            }
        }
    };
}

choice! {
    /// Which codec the log is kept in.
    CompressionType {
        Uncompressed = "uncompressed",
        Zstd = "zstd",
        Lz4 = "lz4",
        Snappy = "snappy",
        Gzip = "gzip",
        /// As the producer sent it.
        Producer = "producer",
    }
}

choice! {
    /// Whose clock stamps a record.
    TimestampType {
        CreateTime = "CreateTime",
        LogAppendTime = "LogAppendTime",
    }
}

/// Which groups may change between the classic and the consumer protocol while they have members (KIP-848).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MigrationPolicy {
    /// Classic groups become consumer groups when such a member joins.
    pub upgrade: bool,
    /// Consumer groups become classic groups when their last member of the consumer protocol leaves.
    pub downgrade: bool,
}

impl Value for MigrationPolicy {
    const KIND: Kind = Kind::String;
    fn parse(text: &str) -> Result<MigrationPolicy, Wrong> {
        let (upgrade, downgrade) = match text.to_ascii_lowercase().as_str() {
            "disabled" => (false, false),
            "downgrade" => (false, true),
            "upgrade" => (true, false),
            "bidirectional" => (true, true),
            _ => {
                let words = ["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"];
                return Err(format!(
                    "String must be one of (case insensitive): {}",
                    words.join(", ")
                )
                .into());
            }
        };
        Ok(MigrationPolicy { upgrade, downgrade })
    }
}

/// What becomes of old segments; neither is "kept for ever".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CleanupPolicy {
    pub compact: bool,
    pub delete: bool,
}

impl Value for CleanupPolicy {
    const KIND: Kind = Kind::List;
    const CHOICES: &'static [&'static str] = &["compact", "delete"];
    fn parse(text: &str) -> Result<CleanupPolicy, Wrong> {
        let words = choices(text, Self::CHOICES)?;
        Ok(CleanupPolicy {
            compact: words.contains(&"compact"),
            delete: words.contains(&"delete"),
        })
    }
}

/// As the key has it.
impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, true) => "delete",
            (false, false) => "",
        })
    }
}

/// Log directories that take no new partitions (KIP-1066).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CordonedDirs {
    /// Every directory: written `*`, alone.
    All,
    These(Vec<PathBuf>),
}

impl Value for CordonedDirs {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<CordonedDirs, Wrong> {
        let paths: Vec<&str> = items(text).collect();
        if paths.contains(&"") {
            return Err(empty_item());
        }
        match &paths[..] {
            ["*"] => Ok(CordonedDirs::All),
            _ if paths.contains(&"*") => Err(Wrong {
                shown: None,
                why: "requirement failed: When {key} is set to *, it must not contain other values"
                    .into(),
                whole: true,
            }),
            _ => Ok(CordonedDirs::These(
                paths.into_iter().map(PathBuf::from).collect(),
            )),
        }
    }
}

impl CordonedDirs {
    /// - `dir`: as `log.dirs` names it, to the letter, as with Kafka.
    pub fn contains(&self, dir: &Path) -> bool {
        match self {
            CordonedDirs::All => true,
            CordonedDirs::These(paths) => paths.iter().any(|p| p.as_os_str() == dir.as_os_str()),
        }
    }
}

/// What this process is in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

impl Value for Roles {
    const KIND: Kind = Kind::List;
    const CHOICES: &'static [&'static str] = &["broker", "controller"];
    fn parse(text: &str) -> Result<Roles, Wrong> {
        let words = choices(text, Self::CHOICES)?;
        Ok(Roles {
            broker: words.contains(&"broker"),
            controller: words.contains(&"controller"),
        })
    }
}

/// The words of a list, each of which must be among `of`.
fn choices<'t>(text: &'t str, of: &[&str]) -> Result<Vec<&'t str>, Wrong> {
    let words: Vec<&str> = items(text).collect();
    let strange = words
        .iter()
        .find(|word| !word.is_empty() && !of.contains(word));
    if let Some(strange) = strange {
        return Err(Wrong {
            shown: Some(strange.to_string()),
            ..not_among(of)
        });
    }
    if words.iter().any(|word| word.is_empty()) {
        return Err(empty_item());
    }
    Ok(words)
}

fn not_among(choices: &[&str]) -> Wrong {
    format!("String must be one of: {}", choices.join(", ")).into()
}

fn empty_item() -> Wrong {
    Wrong {
        shown: None,
        why: "Configuration '{key}' values must not be empty.".into(),
        whole: true,
    }
}

/// Why a text is not a value, in Kafka's words; `{key}` stands for the key's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// What is shown as the wrong value, where it is not all of the text.
    pub(super) shown: Option<String>,
    pub(super) why: String,
    /// `why` is the whole sentence, and does not follow "Invalid value … for configuration …:".
    pub(super) whole: bool,
}

impl From<String> for Wrong {
    fn from(why: String) -> Wrong {
        Wrong {
            shown: None,
            why,
            whole: false,
        }
    }
}

impl From<&str> for Wrong {
    fn from(why: &str) -> Wrong {
        why.to_string().into()
    }
}

/// A number as Java's `Double.toString` writes it, since clients compare it with what Kafka wrote.
pub(super) fn java_double(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, power)) if digits.contains('.') => format!("{digits}E{power}"),
        Some((digits, power)) => format!("{digits}.0E{power}"),
        None => text,
    }
}

/// Replicas whose replication traffic is throttled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ThrottledReplicas {
    All,
    /// Pairs of partition and broker.
    These(Vec<(u32, u32)>),
}

impl Value for ThrottledReplicas {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<ThrottledReplicas, Wrong> {
        if text == "*" {
            return Ok(ThrottledReplicas::All);
        }
        let pair = |item: &str| {
            let (partition, broker) = item.split_once(':')?;
            Some((partition.parse().ok()?, broker.parse().ok()?))
        };
        let pairs: Option<Vec<(u32, u32)>> = items(text).map(pair).collect();
        pairs.map(ThrottledReplicas::These).ok_or_else(|| Wrong {
            shown: Some(format!("[{}]", items(text).collect::<Vec<_>>().join(", "))),
            ..THROTTLED_FORM.into()
        })
    }
}

const THROTTLED_FORM: &str = "{key} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...";
