//! Looking keys up in whatever map a caller keeps its overrides in.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

/// A set of `key → value` texts, such as one resource's overrides.
pub trait Lookup {
    fn find(&self, name: &str) -> Option<&str>;
}

/// Nothing is set.
impl Lookup for () {
    fn find(&self, _: &str) -> Option<&str> {
        None
    }
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Lookup for BTreeMap<K, V> {
    fn find(&self, name: &str) -> Option<&str> {
        self.get(name).map(AsRef::as_ref)
    }
}

impl<K: Borrow<str> + Hash + Eq, V: AsRef<str>, S: BuildHasher> Lookup for HashMap<K, V, S> {
    fn find(&self, name: &str) -> Option<&str> {
        self.get(name).map(AsRef::as_ref)
    }
}

impl<K: Borrow<str> + Hash + Eq, V: AsRef<str>, S: BuildHasher> Lookup
    for hashbrown::HashMap<K, V, S>
{
    fn find(&self, name: &str) -> Option<&str> {
        self.get(name).map(AsRef::as_ref)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Lookup for [(K, V)] {
    fn find(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, value)| value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Lookup for Vec<(K, V)> {
    fn find(&self, name: &str) -> Option<&str> {
        self.as_slice().find(name)
    }
}

/// Broker keys set while the cluster runs: for this broker, and for all of them.
#[derive(Clone, Copy)]
pub struct Dynamic<'a> {
    pub broker: &'a dyn Lookup,
    pub cluster: &'a dyn Lookup,
}

impl Dynamic<'static> {
    pub const NONE: Dynamic<'static> = Dynamic {
        broker: &(),
        cluster: &(),
    };
}
