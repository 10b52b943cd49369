//! From a file and overrides to a `BrokerConfig`, with the checks that look at several keys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::properties::{self, Property};
use super::unused::{UNUSED, is_unused};
use super::{
    BROKER_KEYS, BrokerConfig, ConfigError, CordonedDirs, Dynamic, Key, Listener, Lookup, Origin,
    Protocol, Scope, Warning, Wire, broker_key,
};

/// What was set before start, by key.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Given(BTreeMap<String, (String, Origin)>);

impl Given {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(text, _)| text.as_str())
    }

    fn origin(&self, name: &str) -> Option<Origin> {
        self.0.get(name).map(|(_, origin)| origin.clone())
    }
}

/// How the memory budget divides; all in bytes, over all shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryBudget {
    pub total: u64,
    pub cache: u64,
    pub requests: u64,
    pub groups: u64,
}

impl Default for BrokerConfig {
    /// A single node on the loopback, with its data in `./ringlog-data`.
    fn default() -> BrokerConfig {
        BrokerConfig::parse(None, &[])
            .expect("the defaults agree with each other")
            .0
    }
}

impl BrokerConfig {
    /// Reads the file, if any, and lays the overrides (`KEY=VALUE`) over it.
    ///
    /// - `Err` tells key, value, what is allowed and `file:line`; the broker must not start.
    /// - Warnings: keys that are unknown, or Kafka's and not used here.
    pub fn load(
        file: Option<&Path>,
        overrides: &[String],
    ) -> Result<(BrokerConfig, Vec<Warning>), ConfigError> {
        let Some(path) = file else {
            return BrokerConfig::parse(None, overrides);
        };
        let name = path.display().to_string();
        let contents = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::new(format!("cannot read {name}: {error}")))?;
        BrokerConfig::parse(Some((&name, &contents)), overrides)
    }

    /// As [`BrokerConfig::load`], from a file's name and contents.
    pub fn parse(
        file: Option<(&str, &str)>,
        overrides: &[String],
    ) -> Result<(BrokerConfig, Vec<Warning>), ConfigError> {
        let mut warnings = Vec::new();
        let mut given = Given::default();
        if let Some((path, contents)) = file {
            let read = properties::read(path, contents)?;
            warn_repeated(path, &read, &mut warnings);
            for Property { key, value, line } in read {
                let origin = Origin::File {
                    path: path.into(),
                    line,
                };
                given.0.insert(key, (value, origin));
            }
        }
        for pair in overrides {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                ConfigError::new(format!("'{pair}' is not KEY=VALUE")).at(Some(Origin::Override))
            })?;
            let (key, value) = (key.trim().to_string(), value.trim().to_string());
            given.0.insert(key, (value, Origin::Override));
        }
        warn_passed_over(&given, &mut warnings);
        given.0.retain(|name, _| !is_only_while_running(name));
        settle_node_id(&mut given)?;
        let config = BrokerConfig::from_given(given)?;
        Ok((config, warnings))
    }

    /// The same with the values set while the cluster runs laid over; one that does not pass its check
    /// (it passed when it was accepted) is passed over.
    pub fn with_dynamic(&self, dynamic: Dynamic<'_>) -> BrokerConfig {
        let text = |key: &'static Key| self.text(key.name, dynamic).map(Cow::Borrowed);
        let mut config = BrokerConfig::resolve(text).expect("every text was checked before");
        config
            .settle_protocols()
            .expect("listeners do not change after the start");
        config.given = self.given.clone();
        config
    }

    /// The text in force for a broker key: dynamic for this broker, for the cluster, static, default.
    pub(super) fn text<'t>(&'t self, name: &str, dynamic: Dynamic<'t>) -> Option<&'t str> {
        let key = broker_key(name)?;
        let while_running = |set: &'t dyn Lookup, scopes: &[Scope]| {
            let text = set.find(name).filter(|_| scopes.contains(&key.scope));
            text.filter(|text| key.check(text).is_ok())
        };
        const ALL: &[Scope] = &[Scope::ClusterWide, Scope::WhileRunning];
        const ONE: &[Scope] = &[Scope::ClusterWide, Scope::WhileRunning, Scope::PerBroker];
        while_running(dynamic.broker, ONE)
            .or_else(|| while_running(dynamic.cluster, ALL))
            .or_else(|| self.given.text(name))
            .or(key.default)
    }

    fn from_given(given: Given) -> Result<BrokerConfig, ConfigError> {
        let text = |key: &'static Key| given.text(key.name).or(key.default).map(Cow::Borrowed);
        let at = |error: ConfigError| {
            let origin = error.key().and_then(|key| given.origin(key));
            error.at(origin)
        };
        let mut config = BrokerConfig::resolve(text).map_err(at)?;
        config.settle_protocols().map_err(at)?;
        config.check_together().map_err(at)?;
        config.given = given;
        Ok(config)
    }

    /// Whether the operator has given this key a value: what is left at its default may be fitted to the cluster.
    pub fn is_set(&self, name: &str) -> bool {
        self.given.text(name).is_some()
    }

    /// The listeners that serve clients: all but the controller's.
    pub fn client_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners
            .iter()
            .filter(|listener| !self.is_controllers(&listener.name))
    }

    /// Where clients are told to find this broker: `advertised.listeners`, else its listeners.
    ///
    /// - `hostname`: stands in for a listener without a host.
    /// - `bound`: the port a listener got, by its name, where it asked for port 0.
    pub fn advertised(&self, hostname: &str, bound: impl Fn(&str) -> Option<u16>) -> Vec<Listener> {
        let told = self
            .advertised_listeners
            .as_ref()
            .unwrap_or(&self.listeners);
        let clients = told
            .iter()
            .filter(|listener| !self.is_controllers(&listener.name));
        clients
            .map(|listener| {
                let mut listener = listener.clone();
                if listener.host.is_empty() {
                    listener.host = hostname.to_string();
                }
                if listener.port == 0 {
                    listener.port = bound(&listener.name).unwrap_or(0);
                }
                listener
            })
            .collect()
    }

    /// The data directories: `log.dirs`, else `log.dir`. Never empty.
    pub fn data_dirs(&self) -> &[PathBuf] {
        self.log_dirs.as_deref().unwrap_or(&self.log_dir)
    }

    /// The memory budget, given what the process may use.
    pub fn memory(&self, available: u64) -> MemoryBudget {
        let total = match self.memory_bytes {
            0 => available / 2,
            bytes => bytes.unsigned_abs(),
        };
        let requests = match self.queued_max_request_bytes {
            bytes if bytes > 0 => bytes.unsigned_abs(),
            _ => (total as f64 * self.memory_request_ratio) as u64,
        };
        MemoryBudget {
            total,
            cache: (total as f64 * self.memory_cache_ratio) as u64,
            requests,
            groups: (total as f64 * self.memory_group_ratio) as u64,
        }
    }

    fn is_controllers(&self, listener: &str) -> bool {
        self.controller_listener_names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(listener))
    }

    /// Gives every listener the protocol and the wire that its name stands for; only PLAINTEXT is served.
    fn settle_protocols(&mut self) -> Result<(), ConfigError> {
        let map = &self.listener_security_protocol_map;
        let (controllers, natives) = (&self.controller_listener_names, &self.native_listener_names);
        let is_among = |names: &[String], name: &str| {
            names.iter().any(|other| other.eq_ignore_ascii_case(name))
        };
        let protocol_of = |name: &str| {
            let is_ours = is_among(controllers, name) || is_among(natives, name);
            map.find(name).or(is_ours.then_some(Protocol::Plaintext))
        };
        let settle = |key: &str, listeners: &mut Vec<Listener>| {
            for listener in listeners {
                let name = listener.name.clone();
                if is_among(natives, &name) {
                    listener.wire = Wire::Native;
                }
                listener.protocol = protocol_of(&name).ok_or_else(|| {
                    ConfigError::of_key(key, format!(
                        "{key}: listener {name} has no security protocol: add {name}:PLAINTEXT to listener.security.protocol.map"
                    ))
                })?;
                if listener.protocol != Protocol::Plaintext {
                    let protocol = listener.protocol.name();
                    return Err(ConfigError::of_key(
                        key,
                        format!(
                            "{key}: listener {name} speaks {protocol}, which is not served yet (allowed: PLAINTEXT)"
                        ),
                    ));
                }
            }
            Ok(())
        };
        settle("listeners", &mut self.listeners)?;
        match &mut self.advertised_listeners {
            Some(listeners) => settle("advertised.listeners", listeners),
            None => Ok(()),
        }
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        self.check_roles()?;
        self.check_listeners()?;
        self.check_dirs()?;
        self.check_cordoned(&self.cordoned_log_dirs)?;
        self.check_memory()?;
        self.check_retention()
    }

    fn check_roles(&self) -> Result<(), ConfigError> {
        if self.process_roles.broker && self.process_roles.controller {
            return Ok(());
        }
        Err(ConfigError::of_key(
            "process.roles",
            "process.roles: only a node that is both is served yet (allowed: broker,controller)",
        ))
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: String| Err(ConfigError::of_key(key, format!("{key}: {why}")));
        if self.client_listeners().next().is_none() {
            return wrong("listeners", "no listener is left for clients".into());
        }
        let mut natives = self.listeners.iter().filter(|l| l.wire == Wire::Native);
        if let Some(both) = natives.find(|l| self.is_controllers(&l.name)) {
            let name = &both.name;
            let why = format!("{name} is among controller.listener.names too, and can be one only");
            return wrong("native.listener.names", why);
        }
        let is_missing = |name: &&String| {
            let mut listeners = self.listeners.iter();
            !listeners.any(|listener| listener.name.eq_ignore_ascii_case(name))
        };
        if let Some(name) = self.native_listener_names.iter().find(is_missing) {
            return wrong(
                "native.listener.names",
                format!("{name} is not among listeners"),
            );
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            let same = |other: &&Listener| {
                let same_host = other.host == listener.host
                    || other.host.is_empty()
                    || listener.host.is_empty();
                other.port == listener.port && other.port != 0 && same_host
            };
            if let Some(other) = self.listeners[..index].iter().find(same) {
                return wrong("listeners", format!("{other} and {listener} share a port"));
            }
        }
        for listener in self.advertised_listeners.iter().flatten() {
            if !self
                .listeners
                .iter()
                .any(|other| other.name == listener.name)
            {
                let name = &listener.name;
                return wrong(
                    "advertised.listeners",
                    format!("{name} is not among listeners"),
                );
            }
            if matches!(listener.host.as_str(), "0.0.0.0" | "::") {
                let why = format!("{listener} is no address a client could reach");
                return wrong("advertised.listeners", why);
            }
        }
        if self.advertised("host", |_| None).is_empty() {
            return wrong(
                "advertised.listeners",
                "no listener is left for clients".into(),
            );
        }
        match &self.inter_broker_listener_name {
            Some(name)
                if !self
                    .client_listeners()
                    .any(|l| l.name.eq_ignore_ascii_case(name)) =>
            {
                wrong(
                    "inter.broker.listener.name",
                    format!("{name} is not among listeners"),
                )
            }
            _ => Ok(()),
        }
    }

    /// Whether `cordoned.log.dirs` may be these: each must be one of [`BrokerConfig::data_dirs`].
    pub(super) fn check_cordoned(&self, cordoned: &CordonedDirs) -> Result<(), ConfigError> {
        let CordonedDirs::These(paths) = cordoned else {
            return Ok(());
        };
        let known = |path: &PathBuf| {
            let mut dirs = self.data_dirs().iter();
            dirs.any(|dir| dir.as_os_str() == path.as_os_str())
        };
        let missing = paths.iter().filter(|path| !known(path));
        let missing: Vec<String> = missing.map(|path| path.display().to_string()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries \
             : {}",
            missing.join(", ")
        );
        Err(ConfigError::of_key("cordoned.log.dirs", message))
    }

    /// Of each of [`BrokerConfig::data_dirs`], whether it is cordoned (KIP-1066).
    pub fn cordoned_dirs(&self) -> impl Iterator<Item = bool> {
        let dirs = self.data_dirs().iter();
        dirs.map(|dir| self.cordoned_log_dirs.contains(dir))
    }

    fn check_dirs(&self) -> Result<(), ConfigError> {
        let key = if self.log_dirs.is_some() {
            "log.dirs"
        } else {
            "log.dir"
        };
        let dirs = self.data_dirs();
        if dirs.is_empty() {
            return Err(ConfigError::of_key(
                key,
                format!("{key}: no directory is given"),
            ));
        }
        for (index, dir) in dirs.iter().enumerate() {
            if dirs[..index].contains(dir) {
                let dir = dir.display();
                return Err(ConfigError::of_key(
                    key,
                    format!("{key}: {dir} is given twice"),
                ));
            }
        }
        match &self.journal_dir {
            Some(path) if dirs.iter().any(|dir| path.starts_with(dir)) => {
                let why = format!(
                    "journal.dir: {} is or lies in a log directory (allowed: another directory, or none for journals in \
                     their log directories)",
                    path.display()
                );
                Err(ConfigError::of_key("journal.dir", why))
            }
            _ => Ok(()),
        }
    }

    fn check_memory(&self) -> Result<(), ConfigError> {
        let shares = self.memory_cache_ratio + self.memory_request_ratio + self.memory_group_ratio;
        if shares > 1.0 + f64::EPSILON {
            return Err(ConfigError::of_key(
                "memory.cache.ratio",
                "memory.cache.ratio, memory.request.ratio and memory.group.ratio are together more than 1",
            ));
        }
        let (queued, request) = (self.queued_max_request_bytes, self.socket_request_max_bytes);
        if queued > 0 && queued < i64::from(request) {
            return Err(ConfigError::of_key(
                "queued.max.request.bytes",
                format!(
                    "queued.max.request.bytes: {queued} is less than socket.request.max.bytes, {request} (allowed: -1, or at least that)"
                ),
            ));
        }
        Ok(())
    }

    fn check_retention(&self) -> Result<(), ConfigError> {
        let zero = if self.log_retention_ms == Some(0) {
            "log.retention.ms"
        } else if self.log_retention_minutes == Some(0) {
            "log.retention.minutes"
        } else if self.log_retention_hours == 0 {
            "log.retention.hours"
        } else {
            return Ok(());
        };
        Err(ConfigError::of_key(
            zero,
            format!("{zero} is 0 (allowed: -1 for ever, or at least 1)"),
        ))
    }
}

/// `node.id` and the older `broker.id` name the same thing: one given sets the other.
fn settle_node_id(given: &mut Given) -> Result<(), ConfigError> {
    let node = given.0.get("node.id").cloned();
    let broker = given.0.get("broker.id").cloned();
    match (node, broker) {
        (Some((node, _)), Some((broker, origin))) if node.trim() != broker.trim() => {
            let message = format!("broker.id {broker} and node.id {node} must be the same");
            Err(ConfigError::of_key("broker.id", message).at(Some(origin)))
        }
        (Some(node), None) => {
            given.0.insert("broker.id".into(), node);
            Ok(())
        }
        (None, Some(broker)) => {
            given.0.insert("node.id".into(), broker);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn warn_repeated(path: &str, properties: &[Property], warnings: &mut Vec<Warning>) {
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for property in properties {
        if let Some(first) = lines.insert(&property.key, property.line) {
            let Property { key, line, .. } = property;
            warnings.push(Warning(format!(
                "{path}:{line}: {key} was set in line {first} too; this one counts"
            )));
        }
    }
}

fn is_only_while_running(name: &str) -> bool {
    broker_key(name).is_some_and(|key| key.scope == Scope::WhileRunning)
}

/// One warning for all of Kafka's keys that are not used, one each for unknown keys.
fn warn_passed_over(given: &Given, warnings: &mut Vec<Warning>) {
    let mut unused = Vec::new();
    for (name, (value, origin)) in &given.0 {
        if is_only_while_running(name) {
            warnings.push(Warning(format!(
                "{origin}: {name} is passed over: it is set while the broker runs"
            )));
            continue;
        }
        if broker_key(name).is_some() {
            continue;
        }
        if name == "authorizer.class.name" && !value.is_empty() {
            warnings.push(Warning(format!(
                "{origin}: {name} is not served yet: every client may do everything"
            )));
        } else if is_unused(name) {
            unused.push(name.as_str());
        } else {
            let hint = nearest(name).map(|near| format!(", did you mean {near}?"));
            let hint = hint.unwrap_or_default();
            warnings.push(Warning(format!(
                "{origin}: unknown key {name} is passed over{hint}"
            )));
        }
    }
    if !unused.is_empty() {
        let names = unused.join(", ");
        warnings.push(Warning(format!(
            "these keys of Kafka's are not used here: {names}"
        )));
    }
}

/// The known key that is written most like `name`, if any is near.
fn nearest(name: &str) -> Option<&'static str> {
    let known = BROKER_KEYS
        .iter()
        .map(|key| key.name)
        .chain(UNUSED.iter().copied());
    let limit = (name.len() / 4).clamp(1, 4);
    known
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance in bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != b))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}
