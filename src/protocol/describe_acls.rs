//! DescribeAcls: the rules of access that match a filter (key 29).
//!
//! v1 prefixed patterns (KIP-290) · v2 flexible · v3 user resources (KIP-373).

use crate::types::Str;

use super::message::message;

message! {
    DescribeAclsRequest: request DescribeAcls -> DescribeAclsResponse {
        resource_type_filter: i8,
        resource_name_filter: Option<Str>,
        pattern_type_filter: i8 = 3,
        principal_filter: Option<Str>,
        host_filter: Option<Str>,
        operation: i8,
        permission_type: i8,
    }

    DescribeAclsResponse: response DescribeAcls {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<Str>,
        resources: Vec<DescribeAclsResource>,
    }

    DescribeAclsResource {
        resource_type: i8,
        resource_name: Str,
        pattern_type: i8 = 3,
        acls: Vec<AclDescription>,
    }

    AclDescription {
        principal: Str,
        host: Str,
        operation: i8,
        permission_type: i8,
    }
}
