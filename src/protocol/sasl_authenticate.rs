//! SaslAuthenticate: one step of an authentication (key 36, KIP-152).
//!
//! v1 the session's life (KIP-368) · v2 flexible.

use bytes::Bytes;

use crate::types::Str;

use super::message::message;

message! {
    SaslAuthenticateRequest: request SaslAuthenticate -> SaslAuthenticateResponse {
        auth_bytes: Bytes,
    }

    SaslAuthenticateResponse: response SaslAuthenticate {
        error_code: i16,
        error_message: Option<Str>,
        auth_bytes: Bytes,
        session_lifetime_ms: i64 [1..],
    }
}
