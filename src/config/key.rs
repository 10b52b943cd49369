//! What a row of the tables says about one key, and how a text is checked against it.

use super::value::{items, java_double};
use super::{ConfigError, Value};

/// A key's type, in Kafka's words and with the codes of its DescribeConfigs answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl Kind {
    /// The code of the wire (`config_type`, KIP-569).
    pub fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name, as its messages spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// Where a key may be set, and when a change of it takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Only in the file or on the command line; read once, at start.
    Static,
    /// Also while the broker runs, for one broker or for all.
    ClusterWide,
    /// Also while the broker runs, for one broker and never for all.
    PerBroker,
    /// Only while the broker runs, for one broker or for all: not read from the file, and described only where it is set.
    WhileRunning,
    /// A topic's own; its default is the first of these broker keys that has a value.
    Topic(&'static [Twin]),
    /// A group's own (KIP-848); its default is that of the broker key.
    Group(&'static [Twin]),
}

/// A broker key that gives a topic key its default, in that key's unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Twin {
    pub name: &'static str,
    /// The twin's value times this is the topic's: 60000 from minutes, 3600000 from hours.
    pub factor: i64,
}

/// What a value must satisfy beyond being of its key's type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Check {
    Any,
    /// A whole number, both ends included.
    Range(i64, i64),
    /// As `Range`, or this number.
    RangeOr(i64, i64, i64),
    /// A number with a fraction, both ends included.
    Fraction(f64, f64),
    NotEmpty,
}

/// One row: all there is to know about one key.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// `None` where "not set" means something of its own.
    pub default: Option<&'static str>,
    pub check: Check,
    /// The words allowed, where the type is a choice of words.
    pub choices: &'static [&'static str],
    pub scope: Scope,
    /// What the key does, one or two sentences.
    pub doc: &'static str,
    /// Reads a text as the row's type and forgets it: the check without the value.
    pub(super) test: fn(&Key, &str) -> Result<(), ConfigError>,
}

impl Key {
    /// Reads `text`, or the key's "not set" where it is `None`, and checks it.
    pub(super) fn read<T: Value>(&self, text: Option<&str>) -> Result<T, ConfigError> {
        let Some(text) = text else {
            let missing = || ConfigError::invalid(self, "null", "a value is required".into());
            return T::absent().ok_or_else(missing);
        };
        let text = text.trim();
        let value = T::parse(text).map_err(|wrong| ConfigError::invalid(self, text, wrong))?;
        self.check
            .test(text)
            .map_err(|why| ConfigError::invalid(self, &self.canonical(text), why.into()))?;
        Ok(value)
    }

    /// A value's text as Kafka writes it back: without spaces, signs and leading zeros. A text that is
    /// no value stays as it is.
    pub fn canonical(&self, text: &str) -> String {
        let text = text.trim();
        match self.kind {
            Kind::Boolean => text.to_ascii_lowercase(),
            Kind::Int | Kind::Short | Kind::Long => text
                .parse::<i64>()
                .map_or_else(|_| text.to_string(), |number| number.to_string()),
            Kind::Double => text.parse().map_or_else(|_| text.to_string(), java_double),
            Kind::List => {
                let mut kept: Vec<&str> = Vec::new();
                for item in items(text) {
                    if self.choices.is_empty() || !kept.contains(&item) {
                        kept.push(item);
                    }
                }
                kept.join(",")
            }
            Kind::String | Kind::Class | Kind::Password => text.to_string(),
        }
    }

    /// Whether `text` alone is a value of this key, other keys aside.
    pub(super) fn check(&self, text: &str) -> Result<(), ConfigError> {
        (self.test)(self, text)
    }

    /// Whether the value is a secret: shown to nobody.
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether the key is ours and not Kafka's.
    pub fn ours(&self) -> bool {
        OURS.contains(&self.name)
    }

    /// Whether Kafka keeps the key to itself: it can be set, and is not told to clients.
    pub fn internal(&self) -> bool {
        INTERNAL.contains(&self.name)
    }

    /// What may be written, for people.
    pub fn allowed(&self) -> String {
        if !self.choices.is_empty() {
            let of = self.choices.join(", ");
            return match self.kind {
                Kind::List => format!("a list of {of}"),
                _ => format!("one of {of}"),
            };
        }
        let (low, high) = self.bounds();
        match self.check {
            Check::Range(start, i64::MAX) => format!("a whole number, at least {start}"),
            Check::Range(start, end) => format!("a whole number from {start} to {end}"),
            Check::RangeOr(start, end, or) => {
                format!("a whole number from {start} to {end}, or {or}")
            }
            Check::Fraction(start, f64::MAX) => format!("a number, at least {start}"),
            Check::Fraction(start, end) => format!("a number from {start} to {end}"),
            Check::NotEmpty => "at least one, separated by commas".into(),
            Check::Any => match self.kind {
                Kind::Boolean => "true or false".into(),
                Kind::Int | Kind::Short | Kind::Long => {
                    format!("a whole number from {low} to {high}")
                }
                Kind::Double => "a number".into(),
                Kind::List => "a list, separated by commas".into(),
                Kind::String | Kind::Class | Kind::Password => "a text".into(),
            },
        }
    }

    fn bounds(&self) -> (i64, i64) {
        match self.kind {
            Kind::Short => (i16::MIN.into(), i16::MAX.into()),
            Kind::Int => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        }
    }
}

impl Check {
    /// `Err` says why in Kafka's words. What does not parse has been refused before.
    fn test(&self, text: &str) -> Result<(), String> {
        let whole = |start: i64, end: i64, number: i64| {
            if number < start {
                Err(format!("Value must be at least {start}"))
            } else if number > end {
                Err(format!("Value must be no more than {end}"))
            } else {
                Ok(())
            }
        };
        match *self {
            Check::Any => Ok(()),
            Check::Range(start, end) => text.parse().map_or(Ok(()), |n| whole(start, end, n)),
            Check::RangeOr(start, end, or) => match text.parse::<i64>() {
                Ok(n) if n != or && !(start..=end).contains(&n) => Err(format!(
                    "Value must be between {start} and {end} or equal to {or}"
                )),
                _ => Ok(()),
            },
            Check::Fraction(start, end) => match text.parse::<f64>() {
                Ok(n) if n < start => Err(format!("Value must be at least {start}")),
                Ok(n) if n > end => Err(format!("Value must be no more than {end}")),
                _ => Ok(()),
            },
            Check::NotEmpty if text.is_empty() => Err("Configuration can't be empty".to_string()),
            Check::NotEmpty => Ok(()),
        }
    }
}

/// Our own keys: everything else in the tables is Kafka's.
pub(super) const OURS: &[&str] = &[
    "admin.listener",
    "admin.metrics.group.partitions.max",
    "admin.metrics.partitions.max",
    "admin.metrics.topics.max",
    "io.spin.us",
    "journal.dir",
    "logger.format",
    "logger.levels",
    "memory.bytes",
    "memory.cache.ratio",
    "memory.group.ratio",
    "memory.request.ratio",
    "native.listener.names",
    "num.shards",
    "write.caching",
];

/// The keys that Kafka does not document and does not describe.
const INTERNAL: &[&str] = &[
    "group.consumer.regex.refresh.interval.ms",
    "log.initial.task.delay.ms",
];

/// Makes a typed configuration and its table from one list of rows:
/// `field: type = "name", default, check, scope;` with the key's doc above it.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        pub struct $Config:ident, table $TABLE:ident $(, and $extra:ident: $extra_type:ty)? {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $name:literal, $default:expr, $check:expr, $scope:expr;
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $Config {
            $( $(#[doc = $doc])+ pub $field: $type, )*
            $( pub(super) $extra: $extra_type, )?
        }

        /// The rows, in the order of their definition.
        pub static $TABLE: &[$crate::config::Key] = &[
            $( $crate::config::Key {
                name: $name,
                kind: <$type as $crate::config::Value>::KIND,
                default: $default,
                check: $check,
                choices: <$type as $crate::config::Value>::CHOICES,
                scope: $scope,
                doc: concat!($($doc),+),
                test: |key, text| key.read::<$type>(Some(text)).map(drop),
            }, )*
        ];

        impl $Config {
            /// Reads every row from the text that `text` finds for it.
            pub(super) fn resolve<'t>(
                mut text: impl FnMut(&'static $crate::config::Key) -> Option<std::borrow::Cow<'t, str>>,
            ) -> Result<$Config, $crate::config::ConfigError> {
                #[allow(non_camel_case_types, clippy::enum_variant_names)]
                enum Row { $($field),* }
                Ok($Config {
                    $( $field: {
                        let key = &$TABLE[Row::$field as usize];
                        key.read::<$type>(text(key).as_deref())?
                    }, )*
                    $( $extra: Default::default(), )?
                })
            }
        }
    };
}
pub(super) use keys;

/// `at_least(n)` and the like keep the rows short.
pub(super) const fn at_least(start: i64) -> Check {
    Check::Range(start, i64::MAX)
}

pub(super) const fn between(start: i64, end: i64) -> Check {
    Check::Range(start, end)
}

pub(super) const ANY: Check = Check::Any;
pub(super) const RATIO: Check = Check::Fraction(0.0, 1.0);
