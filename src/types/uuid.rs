//! Kafka's UUIDs: 16 bytes on the wire, URL-safe base64 without padding in text.

use std::fmt;
use std::str::FromStr;

/// 128 bits, big-endian as on the wire. All zero means "none" (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// A topic's id: given at creation, never used again (KIP-516).
pub type TopicId = Uuid;

/// The text is not a UUID in Kafka's base64 form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UuidError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    pub const ZERO: Uuid = Uuid([0; 16]);

    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }

    /// A random version 4 UUID whose text does not begin with a dash, so that it can be a command-line value.
    pub fn random() -> Uuid {
        loop {
            let id = Uuid(*uuid::Uuid::new_v4().as_bytes());
            if !id.is_zero() && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        // 22 digits of 6 bits hold 132: the value sits at the high end, four zero bits below it.
        let digits: String = (0..22)
            .map(|i| {
                let digit = if i < 21 {
                    value >> (128 - 6 * (i + 1))
                } else {
                    value << 4
                };
                ALPHABET[(digit & 63) as usize] as char
            })
            .collect();
        f.pad(&digits)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID: 22 characters of URL-safe base64 are expected")
    }
}

impl std::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Uuid, UuidError> {
        if text.len() != 22 {
            return Err(UuidError);
        }
        let mut value = 0u128;
        for (i, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&a| a == byte).ok_or(UuidError)? as u128;
            value = if i < 21 {
                value << 6 | digit
            } else {
                value << 2 | digit >> 4
            };
        }
        Ok(Uuid(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas_base64() {
        // Kafka: Uuid.ONE_UUID (0, 1) prints AAAAAAAAAAAAAAAAAAAAAQ.
        let mut one = [0; 16];
        one[15] = 1;
        assert_eq!(Uuid(one).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid(one)));
    }

    #[test]
    fn random_ids_survive_their_text() {
        for _ in 0..1000 {
            let id = Uuid::random();
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn refuses_wrong_length_and_alphabet() {
        assert_eq!("AAAA".parse::<Uuid>(), Err(UuidError));
        assert_eq!("AAAAAAAAAAAAAAAAAAAA+Q".parse::<Uuid>(), Err(UuidError));
    }
}
