//! The types a value may have, each read from its text as Kafka's `ConfigDef` reads it.

use std::path::PathBuf;

use super::Kind;

/// A type that a key's value may have. `parse` is given trimmed text; its error is Kafka's phrase.
pub trait Value: Sized {
    const KIND: Kind;
    const CHOICES: &'static [&'static str] = &[];

    fn parse(text: &str) -> Result<Self, String>;

    /// What "not set" is, where the key has no default.
    fn absent() -> Option<Self> {
        None
    }
}

macro_rules! number {
    ($($type:ty: $kind:ident),*) => { $(
        impl Value for $type {
            const KIND: Kind = Kind::$kind;
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("Not a number of type {}", Self::KIND.name()))
            }
        }
    )* };
}

number!(i16: Short, i32: Int, i64: Long);

impl Value for f64 {
    const KIND: Kind = Kind::Double;
    fn parse(text: &str) -> Result<f64, String> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("Not a number of type DOUBLE".into()),
        }
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Boolean;
    fn parse(text: &str) -> Result<bool, String> {
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
    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_string())
    }
}

impl Value for Vec<String> {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<Vec<String>, String> {
        Ok(items(text).map(str::to_string).collect())
    }
}

impl Value for Vec<PathBuf> {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<Vec<PathBuf>, String> {
        Ok(items(text)
            .filter(|item| !item.is_empty())
            .map(PathBuf::from)
            .collect())
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    fn parse(text: &str) -> Result<Option<T>, String> {
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
            fn parse(text: &str) -> Result<$Choice, String> {
                match text {
                    $($word => Ok($Choice::$variant),)+
                    _ => Err(format!("String must be one of: {}", Self::CHOICES.join(", "))),
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

/// What becomes of old segments; neither is "kept for ever".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CleanupPolicy {
    pub compact: bool,
    pub delete: bool,
}

impl Value for CleanupPolicy {
    const KIND: Kind = Kind::List;
    const CHOICES: &'static [&'static str] = &["compact", "delete"];
    fn parse(text: &str) -> Result<CleanupPolicy, String> {
        let words = choices(text, Self::CHOICES)?;
        Ok(CleanupPolicy {
            compact: words.contains(&"compact"),
            delete: words.contains(&"delete"),
        })
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
    fn parse(text: &str) -> Result<Roles, String> {
        let words = choices(text, Self::CHOICES)?;
        Ok(Roles {
            broker: words.contains(&"broker"),
            controller: words.contains(&"controller"),
        })
    }
}

fn choices<'t>(text: &'t str, of: &[&str]) -> Result<Vec<&'t str>, String> {
    let words: Vec<&str> = items(text).collect();
    match words.iter().find(|word| !of.contains(word)) {
        Some(_) => Err(format!("String must be one of: {}", of.join(", "))),
        None => Ok(words),
    }
}

/// Replicas whose replication traffic is throttled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ThrottledReplicas {
    All,
    /// Pairs of partition and broker.
    These(Vec<(i32, i32)>),
}

impl Value for ThrottledReplicas {
    const KIND: Kind = Kind::List;
    fn parse(text: &str) -> Result<ThrottledReplicas, String> {
        if text == "*" {
            return Ok(ThrottledReplicas::All);
        }
        let pair = |item: &str| {
            let (partition, broker) = item.split_once(':')?;
            Some((partition.parse().ok()?, broker.parse().ok()?))
        };
        items(text)
            .map(pair)
            .collect::<Option<Vec<_>>>()
            .map(ThrottledReplicas::These)
            .ok_or_else(|| {
                "it must be '*' or pairs of partition and broker, [partitionId]:[brokerId],..."
                    .into()
            })
    }
}
