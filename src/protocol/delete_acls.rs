//! DeleteAcls: drops the rules of access that match filters (key 31).
//!
//! v1 prefixed patterns (KIP-290) · v2 flexible · v3 user resources (KIP-373).

use crate::types::Str;

use super::message::message;

message! {
    DeleteAclsRequest: request DeleteAcls -> DeleteAclsResponse {
        filters: Vec<DeleteAclsFilter>,
    }

    DeleteAclsFilter {
        resource_type_filter: i8,
        resource_name_filter: Option<Str>,
        pattern_type_filter: i8 = 3,
        principal_filter: Option<Str>,
        host_filter: Option<Str>,
        operation: i8,
        permission_type: i8,
    }

    DeleteAclsResponse: response DeleteAcls {
        throttle_time_ms: i32,
        filter_results: Vec<DeleteAclsFilterResult>,
    }

    DeleteAclsFilterResult {
        error_code: i16,
        error_message: Option<Str>,
        matching_acls: Vec<DeleteAclsMatchingAcl>,
    }

    DeleteAclsMatchingAcl {
        error_code: i16,
        error_message: Option<Str>,
        resource_type: i8,
        resource_name: Str,
        pattern_type: i8 = 3,
        principal: Str,
        host: Str,
        operation: i8,
        permission_type: i8,
    }
}
