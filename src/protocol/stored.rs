//! Keys and values of the internal topics' records: a version, then a message in that version.

use bytes::Bytes;

use super::message::Wire;
use super::reader::{DecodeError, Reader};
use super::writer::Writer;

/// A message that is the key or the value of a stored record; made by `stored!`.
///
/// On disk it is two bytes of version and the fields as that version has them. A key's version also says which kind
/// of record it is.
pub trait Stored: Sized {
    /// The lowest and the highest version that can be read and written.
    const VERSIONS: (i16, i16);

    /// Reads what stands behind the two bytes of `version`.
    ///
    /// - `Err(Version)`: newer or older than what is known here.
    /// - Bytes left over are passed over, as Kafka does.
    fn decode_body(body: Bytes, version: i16) -> Result<Self, DecodeError>;

    /// The version and the fields, ready to be stored.
    ///
    /// Panics if `version` is outside [`Stored::VERSIONS`]: whoever chose it has not looked.
    fn encode_stored(&self, version: i16) -> Bytes;

    /// Reads a version and then the fields.
    fn decode_stored(bytes: &Bytes) -> Result<Self, DecodeError> {
        let version = stored_version(bytes)?;
        Self::decode_body(bytes.slice(2..), version)
    }
}

/// The version that a stored key or value begins with.
pub fn stored_version(bytes: &[u8]) -> Result<i16, DecodeError> {
    let version = bytes.first_chunk::<2>().ok_or(DecodeError::Truncated)?;
    Ok(i16::from_be_bytes(*version))
}

/// Reads fields in `version`, compact or not.
pub(super) fn read<T: Wire>(body: Bytes, version: i16, flexible: bool) -> Result<T, DecodeError> {
    let mut reader = Reader::new(body);
    reader.set_flexible(flexible);
    T::read(&mut reader, version)
}

/// Writes `version` and the fields in it.
pub(super) fn write<T: Wire>(value: &T, version: i16, flexible: bool) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(version);
    writer.set_flexible(flexible);
    value.write(&mut writer, version);
    Bytes::from(writer.take().0)
}

/// Makes messages of `message!` storable: `Name: 0..=4, flexible 4;`, or `Name: 0..=1;` where none is flexible.
macro_rules! stored {
    ($($name:ident: $start:literal..=$end:literal $(, flexible $flexible:literal)?;)*) => {$(
        impl $crate::protocol::Stored for $name {
            const VERSIONS: (i16, i16) = ($start, $end);

            fn decode_body(
                body: bytes::Bytes,
                version: i16,
            ) -> Result<Self, $crate::protocol::DecodeError> {
                if !($start..=$end).contains(&version) {
                    return Err($crate::protocol::DecodeError::Version);
                }
                let flexible = false $(|| version >= $flexible)?;
                $crate::protocol::stored::read(body, version, flexible)
            }

            fn encode_stored(&self, version: i16) -> bytes::Bytes {
                let known = ($start..=$end).contains(&version);
                assert!(known, "{} has no version {version}", stringify!($name));
                let flexible = false $(|| version >= $flexible)?;
                $crate::protocol::stored::write(self, version, flexible)
            }
        }
    )*};
}

pub(super) use stored;
