//! The types of the keys of the broker's own log, and of the admin listener's address.

use super::Kind;
use super::value::{Value, Wrong, items};
use crate::types::{LOGGERS, LogLevel};

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    Json,
}

/// Levels by logger, in the order given; each of [`LOGGERS`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LoggerLevels(pub Vec<(&'static str, LogLevel)>);

/// Where the admin listener listens; `None`: nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminAddress(pub Option<(String, u16)>);

impl LoggerLevels {
    /// Reads levels from where no key's row does; `Err` says what may be written.
    pub fn read(text: &str) -> Result<LoggerLevels, String> {
        LoggerLevels::parse(text.trim()).map_err(|wrong| wrong.why)
    }
}

impl Value for LogFormat {
    const KIND: Kind = Kind::String;
    const CHOICES: &'static [&'static str] = &["text", "json"];

    fn parse(text: &str) -> Result<LogFormat, Wrong> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("String must be one of: text, json".into()),
        }
    }
}

impl Value for LoggerLevels {
    const KIND: Kind = Kind::List;

    fn parse(text: &str) -> Result<LoggerLevels, Wrong> {
        let level = |item: &str| -> Result<(&'static str, LogLevel), Wrong> {
            let (name, level) = item.split_once('=').unwrap_or(("root", item));
            let name = LOGGERS.into_iter().find(|logger| *logger == name.trim());
            let name = name.ok_or_else(|| {
                Wrong::from(format!("A logger must be one of: {}", LOGGERS.join(", ")))
            })?;
            let names = LogLevel::ALL.map(LogLevel::name).join(", ");
            let level = level.trim().parse().map_err(|_| {
                Wrong::from(format!(
                    "A level must be one of (case insensitive): {names}"
                ))
            })?;
            Ok((name, level))
        };
        items(text)
            .map(level)
            .collect::<Result<_, _>>()
            .map(LoggerLevels)
    }
}

impl Value for AdminAddress {
    const KIND: Kind = Kind::String;

    fn parse(text: &str) -> Result<AdminAddress, Wrong> {
        if text.is_empty() {
            return Ok(AdminAddress(None));
        }
        let wrong = || Wrong::from("Expected host:port, or nothing".to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        match host.is_empty() || host.contains('/') {
            true => Err(wrong()),
            false => Ok(AdminAddress(Some((host.to_owned(), port)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_of_loggers_that_exist() {
        let levels = LoggerLevels::parse("root=warn, ringlog::storage=DEBUG");
        let wanted = vec![
            ("root", LogLevel::Warn),
            ("ringlog::storage", LogLevel::Debug),
        ];
        assert_eq!(levels, Ok(LoggerLevels(wanted)));
        assert_eq!(
            LoggerLevels::parse("debug"),
            Ok(LoggerLevels(vec![("root", LogLevel::Debug)]))
        );
        for wrong in ["ringlog::nowhere=INFO", "root=loud", "=INFO", "root="] {
            assert!(LoggerLevels::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_admin_address_has_a_host_and_a_port() {
        let address = |host: &str, port| Ok(AdminAddress(Some((host.to_owned(), port))));
        assert_eq!(
            AdminAddress::parse("127.0.0.1:9644"),
            address("127.0.0.1", 9644)
        );
        assert_eq!(AdminAddress::parse("[::1]:0"), address("[::1]", 0));
        assert_eq!(AdminAddress::parse(""), Ok(AdminAddress(None)));
        for wrong in [
            "9644",
            ":9644",
            "host:",
            "host:70000",
            "http://host:1",
            "off",
        ] {
            assert!(AdminAddress::parse(wrong).is_err(), "{wrong}");
        }
    }
}
