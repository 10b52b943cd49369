//! CreateAcls: new rules of access (key 30).
//!
//! v1 prefixed patterns (KIP-290) · v2 flexible · v3 user resources (KIP-373).

use crate::types::Str;

use super::message::message;

message! {
    CreateAclsRequest: request CreateAcls -> CreateAclsResponse {
        creations: Vec<AclCreation>,
    }

    AclCreation {
        resource_type: i8,
        resource_name: Str,
        resource_pattern_type: i8 = 3,
        principal: Str,
        host: Str,
        operation: i8,
        permission_type: i8,
    }

    CreateAclsResponse: response CreateAcls {
        throttle_time_ms: i32,
        results: Vec<AclCreationResult>,
    }

    AclCreationResult {
        error_code: i16,
        error_message: Option<Str>,
    }
}
