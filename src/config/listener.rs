//! Listeners: named endpoints and the security protocol each name stands for.

use std::collections::BTreeMap;
use std::fmt;

use super::value::{Wrong, items};
use super::{Kind, Value};

/// A named endpoint of this broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Upper case, as clients are never told it and configuration compares it.
    pub name: String,
    /// Empty means every interface. An IPv6 address is without its brackets.
    pub host: String,
    /// 0 asks the kernel for a free one.
    pub port: u16,
    pub protocol: Protocol,
    pub wire: Wire,
}

/// Which of Ringlog's two wires a listener speaks; a security protocol may wrap either.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Wire {
    #[default]
    Kafka,
    /// `native.listener.names` has it.
    Native,
}

/// What is spoken on a listener (Kafka's security protocols).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Protocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Plaintext => "PLAINTEXT",
            Protocol::Ssl => "SSL",
            Protocol::SaslPlaintext => "SASL_PLAINTEXT",
            Protocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of this name, upper or lower case.
    pub fn from_name(name: &str) -> Option<Protocol> {
        [
            Protocol::Plaintext,
            Protocol::Ssl,
            Protocol::SaslPlaintext,
            Protocol::SaslSsl,
        ]
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Listener {
    /// `NAME://host:port`, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

impl Value for Vec<Listener> {
    const KIND: Kind = Kind::List;

    /// Names are not yet matched with their protocols: that needs another key's value.
    fn parse(text: &str) -> Result<Vec<Listener>, Wrong> {
        let mut listeners: Vec<Listener> = Vec::new();
        for item in items(text) {
            let listener = parse_listener(item)?;
            if listeners.iter().any(|other| other.name == listener.name) {
                let name = listener.name;
                let why =
                    format!("Each listener must have a different name, {name} is given twice");
                return Err(why.into());
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }
}

fn parse_listener(item: &str) -> Result<Listener, String> {
    let wrong = |why: &str| format!("'{item}' is not NAME://host:port: {why}");
    let (name, endpoint) = item.split_once("://").ok_or_else(|| wrong("no ://"))?;
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(|| wrong("no port"))?;
    if name.is_empty() {
        return Err(wrong("no name"));
    }
    let port = port
        .parse()
        .map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .ok_or_else(|| wrong("a bracket is open"))?,
        None => host,
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
    if !host.chars().all(legal) {
        return Err(wrong("the host has a character that no host name has"));
    }
    Ok(Listener {
        name: name.to_ascii_uppercase(),
        host: host.to_string(),
        port,
        protocol: Protocol::default(),
        wire: Wire::default(),
    })
}

/// `NAME:PROTOCOL` pairs: which protocol a listener's name stands for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProtocolMap(BTreeMap<String, Protocol>);

impl ProtocolMap {
    pub fn find(&self, listener_name: &str) -> Option<Protocol> {
        self.0.get(listener_name).copied()
    }
}

impl Value for ProtocolMap {
    const KIND: Kind = Kind::String;
    fn parse(text: &str) -> Result<ProtocolMap, Wrong> {
        let mut map = BTreeMap::new();
        for item in items(text) {
            let (name, protocol) = item
                .split_once(':')
                .ok_or_else(|| format!("'{item}' is not NAME:PROTOCOL"))?;
            let protocol = Protocol::from_name(protocol.trim()).ok_or_else(|| {
                format!("'{protocol}' is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")
            })?;
            map.insert(name.trim().to_ascii_uppercase(), protocol);
        }
        Ok(ProtocolMap(map))
    }
}
