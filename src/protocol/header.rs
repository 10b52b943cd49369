//! The headers before bodies, and whole frames.

use super::api_key::ApiKey;
use super::message::{Message, Request};
use super::reader::{DecodeError, Reader};
use super::writer::Writer;
use crate::types::Str;

/// What precedes a request's body. The key is a bare number: it may name an API that is not served.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RequestHeader {
    pub api_key: i16,
    pub api_version: i16,
    /// Comes back in the response's header.
    pub correlation_id: i32,
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads a header. Its own version depends on the first two fields; where the key is unknown, version 1 is
    /// assumed, and what follows is meaningless.
    pub fn decode(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
        r.set_flexible(false);
        let api_key = r.i16()?;
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        // Also in version 2 the client's id has a two-byte length, so that any broker can read it.
        let client_id = r.string()?;
        let version =
            ApiKey::from_i16(api_key).map_or(1, |key| key.request_header_version(api_version));
        if version >= 2 {
            r.tags(|_, _| Ok(false))?;
        }
        Ok(RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.set_flexible(false);
        w.i16(self.api_key);
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        w.string(self.client_id.as_ref());
        let version = ApiKey::from_i16(self.api_key)
            .map_or(1, |key| key.request_header_version(self.api_version));
        if version >= 2 {
            w.uvarint(0);
        }
    }
}

/// What precedes a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// `version`: from [`ApiKey::response_header_version`].
    pub fn decode(r: &mut Reader, version: i16) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = r.i32()?;
        if version >= 1 {
            r.tags(|_, _| Ok(false))?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// `version`: from [`ApiKey::response_header_version`].
    pub fn encode(&self, w: &mut Writer, version: i16) {
        w.i32(self.correlation_id);
        if version >= 1 {
            w.uvarint(0);
        }
    }
}

/// Appends a whole request: length, header, body.
pub fn write_request<R: Request>(
    w: &mut Writer,
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
    body: &R,
) {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id,
        client_id: client_id.cloned(),
    };
    w.frame(|w| {
        header.encode(w);
        body.encode(w, version);
    });
}

/// Appends a whole response: length, header, body.
pub fn write_response<M: Message>(w: &mut Writer, version: i16, correlation_id: i32, body: &M) {
    w.frame(|w| {
        ResponseHeader { correlation_id }.encode(w, M::KEY.response_header_version(version));
        body.encode(w, version);
    });
}

/// Reads a response's frame (without its length): header, body, and nothing after it.
pub fn read_response<M: Message>(
    mut r: Reader,
    version: i16,
) -> Result<(ResponseHeader, M), DecodeError> {
    let header = ResponseHeader::decode(&mut r, M::KEY.response_header_version(version))?;
    let body = M::decode(&mut r, version)?;
    r.finish()?;
    Ok((header, body))
}
