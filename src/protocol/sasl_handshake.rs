//! SaslHandshake: chooses the mechanism of authentication (key 17). Never flexible.
//!
//! v0 bare tokens follow · v1 SaslAuthenticate follows (KIP-152).

use crate::types::Str;

use super::message::message;

message! {
    SaslHandshakeRequest: request SaslHandshake -> SaslHandshakeResponse {
        mechanism: Str,
    }

    SaslHandshakeResponse: response SaslHandshake {
        error_code: i16,
        mechanisms: Vec<Str>,
    }
}
