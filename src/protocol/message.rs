//! `message!`: one definition of a message gives its structs, and decoding and encoding at every version.

use bytes::Bytes;

use super::api_key::ApiKey;
use super::reader::{DecodeError, Reader};
use super::writer::Writer;
use crate::types::{Str, Uuid};

/// A request's or a response's body.
pub trait Message: Sized + Default {
    /// The API it belongs to, whose row has the versions.
    const KEY: ApiKey;
    /// Kafka's name of the message, as `ProduceRequest`.
    const NAME: &'static str;

    /// Reads the body in `version`; what follows it is left to the caller (see [`Reader::finish`]).
    ///
    /// - Fields that `version` lacks get their defaults.
    /// - `Err(Version)`: outside [`ApiKey::versions`].
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Appends the body in `version`. Fields that `version` lacks are left out; `None` where `version` knows no
    /// null is written as empty.
    ///
    /// Panics if `version` is outside [`ApiKey::versions`]: whoever chose it has not looked.
    fn encode(&self, w: &mut Writer, version: i16);

    /// The fields that `version` has, as `{acks:int16,timeout_ms:int32,…}`: `?` before what may be null, `[…]`
    /// around the element of an array, `@n` after the name of a field of tag n. Tagged fields come last.
    fn schema(version: i16) -> String;
}

/// A request, which knows what answers it.
pub trait Request: Message {
    type Response: Message;
}

/// Record batches inside a message: opaque to this room.
#[derive(Clone, PartialEq, Debug)]
pub enum Records {
    /// The bytes themselves; after decoding, a slice of the frame.
    Bytes(Bytes),
    /// This many bytes, which the sender puts in place of the [`Splice`](super::Splice) that encoding leaves.
    External(usize),
}

impl Records {
    /// How many bytes the batches take.
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::External(len) => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

/// A field's type on the wire: what stands between a message's definition and the primitives.
pub(super) trait Wire: Sized {
    /// The fewest bytes a value takes, for the bound on arrays.
    fn size_min(version: i16, flexible: bool) -> usize;
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer, version: i16);
    /// See [`Message::schema`].
    fn schema(version: i16) -> String;
}

/// A struct of fields, made by `message!`; nullable ones have a byte before them.
pub(super) trait Structure: Wire {}

macro_rules! fixed {
    ($($type:ty, $method:ident, $name:literal, $size:literal;)*) => {$(
        impl Wire for $type {
            #[inline(always)]
            fn size_min(_: i16, _: bool) -> usize {
                $size
            }
            #[inline(always)]
            fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
                r.$method()
            }
            #[inline(always)]
            fn write(&self, w: &mut Writer, _: i16) {
                w.$method(*self)
            }
            fn schema(_: i16) -> String {
                $name.into()
            }
        }
    )*};
}

fixed! {
    i8, i8, "int8", 1;
    i16, i16, "int16", 2;
    u16, u16, "uint16", 2;
    i32, i32, "int32", 4;
    i64, i64, "int64", 8;
    f64, f64, "float64", 8;
    bool, bool, "boolean", 1;
}

impl Wire for Uuid {
    fn size_min(_: i16, _: bool) -> usize {
        16
    }
    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.uuid()
    }
    fn write(&self, w: &mut Writer, _: i16) {
        w.uuid(self)
    }
    fn schema(_: i16) -> String {
        "uuid".into()
    }
}

impl Wire for Option<Str> {
    fn size_min(_: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 2 }
    }
    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.string()
    }
    fn write(&self, w: &mut Writer, _: i16) {
        w.string(self.as_ref())
    }
    fn schema(_: i16) -> String {
        "?string".into()
    }
}

impl Wire for Str {
    fn size_min(version: i16, flexible: bool) -> usize {
        Option::<Str>::size_min(version, flexible)
    }
    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.string()?.ok_or(DecodeError::Null)
    }
    fn write(&self, w: &mut Writer, _: i16) {
        w.string(Some(self))
    }
    fn schema(_: i16) -> String {
        "string".into()
    }
}

impl Wire for Option<Bytes> {
    fn size_min(_: i16, flexible: bool) -> usize {
        length_size_min(flexible)
    }
    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.bytes()
    }
    fn write(&self, w: &mut Writer, _: i16) {
        w.bytes(self.as_deref())
    }
    fn schema(_: i16) -> String {
        "?bytes".into()
    }
}

impl Wire for Bytes {
    fn size_min(_: i16, flexible: bool) -> usize {
        length_size_min(flexible)
    }
    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        r.bytes()?.ok_or(DecodeError::Null)
    }
    fn write(&self, w: &mut Writer, _: i16) {
        w.bytes(Some(self))
    }
    fn schema(_: i16) -> String {
        "bytes".into()
    }
}

impl Wire for Option<Records> {
    fn size_min(_: i16, flexible: bool) -> usize {
        length_size_min(flexible)
    }
    fn read(r: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        Ok(r.bytes()?.map(Records::Bytes))
    }
    fn write(&self, w: &mut Writer, _: i16) {
        match self {
            None => w.bytes(None),
            Some(Records::Bytes(bytes)) => w.bytes(Some(bytes)),
            Some(Records::External(len)) => w.external(*len),
        }
    }
    fn schema(_: i16) -> String {
        "?records".into()
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn size_min(_: i16, flexible: bool) -> usize {
        length_size_min(flexible)
    }
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let wire_min = T::size_min(version, r.flexible());
        let Some(length) = r.array_length(wire_min, size_of::<T>())? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(T::read(r, version)?);
        }
        Ok(Some(elements))
    }
    fn write(&self, w: &mut Writer, version: i16) {
        match self {
            None => w.length(None),
            Some(elements) => elements.write(w, version),
        }
    }
    fn schema(version: i16) -> String {
        format!("?[{}]", T::schema(version))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn size_min(_: i16, flexible: bool) -> usize {
        length_size_min(flexible)
    }
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        Option::<Vec<T>>::read(r, version)?.ok_or(DecodeError::Null)
    }
    fn write(&self, w: &mut Writer, version: i16) {
        w.length(Some(self.len()));
        for element in self {
            element.write(w, version);
        }
    }
    fn schema(version: i16) -> String {
        format!("[{}]", T::schema(version))
    }
}

impl<T: Structure> Wire for Option<T> {
    fn size_min(_: i16, _: bool) -> usize {
        1
    }
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        match r.i8()? {
            -1 => Ok(None),
            // Written as 1; Kafka takes any number that is not negative.
            0.. => T::read(r, version).map(Some),
            _ => Err(DecodeError::Length),
        }
    }
    fn write(&self, w: &mut Writer, version: i16) {
        match self {
            None => w.i8(-1),
            Some(value) => {
                w.i8(1);
                value.write(w, version);
            }
        }
    }
    fn schema(version: i16) -> String {
        format!("?{}", T::schema(version))
    }
}

/// The fewest bytes of a length: of an array, bytes or records.
fn length_size_min(flexible: bool) -> usize {
    if flexible { 1 } else { 4 }
}

/// Reads a field that other versions may leave null and this one may not.
pub(super) fn read_present<T: Wire>(
    r: &mut Reader,
    version: i16,
) -> Result<Option<T>, DecodeError> {
    T::read(r, version).map(Some)
}

/// Writes a field that other versions may leave null and this one may not: null becomes empty.
pub(super) fn write_present<T: Wire + Default>(value: &Option<T>, w: &mut Writer, version: i16) {
    match value {
        Some(value) => value.write(w, version),
        None => T::default().write(w, version),
    }
}

/// Defines the messages of one API:
///
/// ```text
/// ExampleRequest: request Example -> ExampleResponse {   // the row `Example` of the API table has the versions
///     name: Str,                                          // in every version
///     topic_id: Uuid [13..],                              // in some
///     topics: Option<Vec<Topic>> [.., null 1..],          // nullable in some
///     epoch: i64 [3.., tag 1] = -1,                       // a tagged field, and a default of its own
/// }
/// ```
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        $name:ident $(: $kind:ident $key:ident $(-> $response:ident)?)? {$(
            $(#[$field_meta:meta])*
            $field:ident: $type:ty $([$versions:expr $(, null $null:expr)? $(, tag $tag:literal)?])? $(= $default:expr)?,
        )*}
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {$(
            $(#[$field_meta])*
            pub $field: $type,
        )*}

        impl Default for $name {
            fn default() -> Self {
                $name {$(
                    $field: $crate::protocol::message::initial!($($default)?),
                )*}
            }
        }

        impl $crate::protocol::message::Wire for $name {
            #[allow(unused_mut, unused_variables)]
            fn size_min(version: i16, flexible: bool) -> usize {
                // The empty section of tagged fields.
                let mut size = flexible as usize;
                $($crate::protocol::message::size_field!(
                    size, version, flexible, $type, ($($versions)?), ($($($tag)?)?)
                );)*
                size
            }

            #[allow(unused_mut, unused_variables)]
            fn read(
                r: &mut $crate::protocol::Reader,
                version: i16,
            ) -> Result<Self, $crate::protocol::DecodeError> {
                $(let mut $field: $type = $crate::protocol::message::read_field!(
                    r, version, ($($versions)?), ($($($null)?)?), ($($($tag)?)?), ($($default)?)
                );)*
                if r.flexible() {
                    r.tags(|r, tag| {
                        $($crate::protocol::message::read_tag!(
                            r, version, tag, $field, ($($versions)?), ($($($tag)?)?)
                        );)*
                        Ok(false)
                    })?;
                }
                Ok($name { $($field),* })
            }

            #[allow(unused_mut, unused_variables)]
            fn write(&self, w: &mut $crate::protocol::Writer, version: i16) {
                $($crate::protocol::message::write_field!(
                    w, version, self.$field, ($($versions)?), ($($($null)?)?), ($($($tag)?)?)
                );)*
                if w.flexible() {
                    let mut count = 0;
                    $($crate::protocol::message::count_tag!(
                        count, version, self.$field, $type, ($($versions)?), ($($($tag)?)?), ($($default)?)
                    );)*
                    w.uvarint(count);
                    $($crate::protocol::message::write_tag!(
                        w, version, self.$field, $type, ($($versions)?), ($($($tag)?)?), ($($default)?)
                    );)*
                }
            }

            #[allow(unused_mut, unused_variables)]
            fn schema(version: i16) -> String {
                let mut plain = Vec::new();
                let mut tagged = Vec::new();
                $($crate::protocol::message::schema_field!(
                    plain, tagged, version, $field: $type, ($($versions)?), ($($($null)?)?), ($($($tag)?)?)
                );)*
                plain.append(&mut tagged);
                format!("{{{}}}", plain.join(","))
            }
        }

        impl $crate::protocol::message::Structure for $name {}

        $($crate::protocol::message::body!($name: $kind $key $(-> $response)?);)?
    )*};
}

/// The outer message: checks the version and switches the encoding.
macro_rules! body {
    ($name:ident: request $key:ident -> $response:ident) => {
        $crate::protocol::message::body!($name: response $key);

        impl $crate::protocol::Request for $name {
            type Response = $response;
        }
    };
    ($name:ident: response $key:ident) => {
        impl $crate::protocol::Message for $name {
            const KEY: $crate::protocol::ApiKey = $crate::protocol::ApiKey::$key;
            const NAME: &'static str = stringify!($name);

            fn decode(
                r: &mut $crate::protocol::Reader,
                version: i16,
            ) -> Result<Self, $crate::protocol::DecodeError> {
                if !Self::KEY.versions().contains(&version) {
                    return Err($crate::protocol::DecodeError::Version);
                }
                r.set_flexible(Self::KEY.flexible(version));
                $crate::protocol::message::Wire::read(r, version)
            }

            fn encode(&self, w: &mut $crate::protocol::Writer, version: i16) {
                assert!(Self::KEY.versions().contains(&version), "{} has no version {version}", Self::NAME);
                w.set_flexible(Self::KEY.flexible(version));
                $crate::protocol::message::Wire::write(self, w, version)
            }

            fn schema(version: i16) -> String {
                <Self as $crate::protocol::message::Wire>::schema(version)
            }
        }
    };
}

/// A field's default: the one given, or the type's.
macro_rules! initial {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// Whether `version` is in the range; all versions where none is given.
macro_rules! within {
    ($version:expr, ()) => {
        true
    };
    ($version:expr, ($versions:expr)) => {
        std::ops::RangeBounds::<i16>::contains(&$versions, &$version)
    };
}

macro_rules! size_field {
    ($size:ident, $version:ident, $flexible:ident, $type:ty, $versions:tt, ()) => {
        if $crate::protocol::message::within!($version, $versions) {
            $size += <$type as $crate::protocol::message::Wire>::size_min($version, $flexible);
        }
    };
    ($size:ident, $version:ident, $flexible:ident, $type:ty, $versions:tt, $tag:tt) => {};
}

macro_rules! schema_field {
    ($plain:ident, $tagged:ident, $version:ident, $field:ident: $type:ty, $versions:tt, ($($null:expr)?), ($($tag:literal)?)) => {
        if $crate::protocol::message::within!($version, $versions) {
            let schema = <$type as $crate::protocol::message::Wire>::schema($version);
            $(let schema = match std::ops::RangeBounds::<i16>::contains(&$null, &$version) {
                true => schema,
                false => schema.replacen('?', "", 1),
            };)?
            let number: &[u32] = &[$($tag)?];
            match number.first() {
                Some(tag) => $tagged.push(format!("{}@{tag}:{schema}", stringify!($field))),
                None => $plain.push(format!("{}:{schema}", stringify!($field))),
            }
        }
    };
}

macro_rules! read_field {
    ($r:ident, $version:ident, $versions:tt, $null:tt, ($tag:literal), ($($default:expr)?)) => {
        $crate::protocol::message::initial!($($default)?)
    };
    ($r:ident, $version:ident, $versions:tt, ($($null:expr)?), (), ($($default:expr)?)) => {
        if $crate::protocol::message::within!($version, $versions) {
            $(if !std::ops::RangeBounds::<i16>::contains(&$null, &$version) {
                $crate::protocol::message::read_present($r, $version)?
            } else)? {
                $crate::protocol::message::Wire::read($r, $version)?
            }
        } else {
            $crate::protocol::message::initial!($($default)?)
        }
    };
}

macro_rules! read_tag {
    ($r:ident, $version:ident, $tag:ident, $field:ident, $versions:tt, ($number:literal)) => {
        if $tag == $number && $crate::protocol::message::within!($version, $versions) {
            $field = $crate::protocol::message::Wire::read($r, $version)?;
            return Ok(true);
        }
    };
    ($r:ident, $version:ident, $tag:ident, $field:ident, $versions:tt, ()) => {};
}

macro_rules! write_field {
    ($w:ident, $version:ident, $value:expr, $versions:tt, $null:tt, ($tag:literal)) => {};
    ($w:ident, $version:ident, $value:expr, $versions:tt, ($($null:expr)?), ()) => {
        if $crate::protocol::message::within!($version, $versions) {
            $(if !std::ops::RangeBounds::<i16>::contains(&$null, &$version) {
                $crate::protocol::message::write_present(&$value, $w, $version);
            } else)? {
                $crate::protocol::message::Wire::write(&$value, $w, $version);
            }
        }
    };
}

/// A tagged field is written when its version has it and it is not at its default.
macro_rules! tag_given {
    ($version:ident, $value:expr, $type:ty, $versions:tt, ($($default:expr)?)) => {{
        let initial: $type = $crate::protocol::message::initial!($($default)?);
        $crate::protocol::message::within!($version, $versions) && $value != initial
    }};
}

macro_rules! count_tag {
    ($count:ident, $version:ident, $value:expr, $type:ty, $versions:tt, ($tag:literal), $default:tt) => {
        $count +=
            $crate::protocol::message::tag_given!($version, $value, $type, $versions, $default)
                as u32;
    };
    ($count:ident, $version:ident, $value:expr, $type:ty, $versions:tt, (), $default:tt) => {};
}

macro_rules! write_tag {
    ($w:ident, $version:ident, $value:expr, $type:ty, $versions:tt, ($tag:literal), $default:tt) => {
        if $crate::protocol::message::tag_given!($version, $value, $type, $versions, $default) {
            $w.tagged($tag, |w| {
                $crate::protocol::message::Wire::write(&$value, w, $version)
            });
        }
    };
    ($w:ident, $version:ident, $value:expr, $type:ty, $versions:tt, (), $default:tt) => {};
}

pub(super) use {
    body, count_tag, initial, message, read_field, read_tag, schema_field, size_field, tag_given,
    within, write_field, write_tag,
};
