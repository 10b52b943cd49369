//! Fingerprints of message layouts: what two ends compare before they trust each other's archives.

/// A type's fingerprint: of its name and, in order, of its fields' names and types, down to the numbers. Two builds whose
/// fingerprints agree lay the type out alike.
pub trait Schema {
    /// FNV-1a over the schema.
    const FINGERPRINT: u64;
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

const fn text(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(PRIME);
        index += 1;
    }
    // A byte that no name has, so that two names do not run into each other.
    (hash ^ 0xff).wrapping_mul(PRIME)
}

const fn number(mut hash: u64, number: u64) -> u64 {
    let bytes = number.to_le_bytes();
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(PRIME);
        index += 1;
    }
    hash
}

/// The fingerprint of a type before its fields.
pub(super) const fn named(name: &str) -> u64 {
    text(BASIS, name)
}

/// `hash` with one more field.
pub(super) const fn field(hash: u64, name: &str, fingerprint: u64) -> u64 {
    number(text(hash, name), fingerprint)
}

macro_rules! primitives {
    ($($type:ty)*) => {
        $(impl Schema for $type {
            const FINGERPRINT: u64 = named(stringify!($type));
        })*
    };
}

primitives! { bool u8 u16 u32 u64 i16 i32 i64 String }

impl Schema for [u8; 16] {
    const FINGERPRINT: u64 = named("[u8; 16]");
}

impl<T: Schema> Schema for Vec<T> {
    const FINGERPRINT: u64 = number(named("Vec"), T::FINGERPRINT);
}

impl<T: Schema> Schema for Option<T> {
    const FINGERPRINT: u64 = number(named("Option"), T::FINGERPRINT);
}

/// Declares frozen message types: the structs, their archives, and their fingerprints, from one text.
///
/// A type is never edited: a new field is a new type with the next version.
macro_rules! frozen {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Clone, PartialEq, Eq, Debug)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }

            impl $crate::wire::Schema for $name {
                const FINGERPRINT: u64 = {
                    let hash = $crate::wire::schema::named(stringify!($name));
                    $(let hash = $crate::wire::schema::field(
                        hash,
                        stringify!($field),
                        <$type as $crate::wire::Schema>::FINGERPRINT,
                    );)*
                    hash
                };
            }
        )*
    };
}
pub(super) use frozen;
