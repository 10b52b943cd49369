//! A UTF-8 string that shares the buffer it was read from.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// Valid UTF-8 in shared bytes: cloning counts a reference, decoding copies nothing.
#[derive(Clone, Default)]
pub struct Str(Bytes);

impl Str {
    pub const EMPTY: Str = Str(Bytes::new());

    /// Checks that `bytes` is UTF-8 and keeps them.
    pub fn from_utf8(bytes: Bytes) -> Result<Str, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Str(bytes))
    }

    pub const fn from_static(text: &'static str) -> Str {
        Str(Bytes::from_static(text.as_bytes()))
    }

    pub fn as_str(&self) -> &str {
        // The checked conversion costs a pass over names of a few bytes; it keeps this file free of `unsafe`.
        std::str::from_utf8(&self.0).expect("checked when the Str was made")
    }

    /// The same text in memory of its own, letting go of the frame it was decoded from.
    pub fn detach(&self) -> Str {
        Str(Bytes::copy_from_slice(&self.0))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str(Bytes::from(text.into_bytes()))
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        self.0 == other.0
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Str) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Str) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Str {
    /// As `str` hashes, so that maps keyed by `Str` can be asked with a `&str`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_bytes_that_are_not_utf8() {
        assert!(Str::from_utf8(Bytes::from_static(&[0xff, 0x41])).is_err());
    }

    #[test]
    fn a_map_keyed_by_str_answers_a_plain_str() {
        let mut map = std::collections::HashMap::new();
        map.insert(Str::from("orders"), 1);
        assert_eq!(map.get("orders"), Some(&1));
        assert_eq!(map.get("order"), None);
    }
}
