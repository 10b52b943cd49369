//! DescribeConfigs (32), AlterConfigs (33), IncrementalAlterConfigs (44, KIP-339), ListConfigResources (74, KIP-1142).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::broker_loggers::{self, BROKER_LOGGER};
use super::context::Context;
use super::topics::message;
use crate::config::{
    ConfigEntry, Lookup, describe_broker, describe_cluster_defaults, describe_group, describe_topic,
};
use crate::metadata::{
    AlterConfigs, Command, ConfigChange, ConfigEdit, ConfigRow, EditedResource,
    IncrementalAlterConfigs, Reply, ResourceKind, validate_topic_name,
};
use crate::protocol::ErrorCode;
use crate::protocol::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use crate::protocol::create_topics::CreatableTopicConfigs;
use crate::protocol::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::protocol::incremental_alter_configs::{
    self, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use crate::protocol::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use crate::shard::{Shard, dynamic};
use crate::types::Str;

pub(super) async fn describe(
    context: Rc<Context>,
    request: DescribeConfigsRequest,
    _version: i16,
) -> DescribeConfigsResponse {
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let mut result = DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                ..DescribeConfigsResult::default()
            };
            if resource.resource_type == BROKER_LOGGER {
                let node = context.shard.node_id();
                match broker_loggers::describe(node, &resource.resource_name) {
                    Ok(rows) => {
                        let named = rows.into_iter().filter(|row| is_named(resource, &row.name));
                        result.configs = named.collect();
                    }
                    Err((error, message)) => {
                        result.error_code = error.code();
                        result.error_message = Some(Str::from(message));
                    }
                }
                return result;
            }
            match entries(&context.shard, resource) {
                Ok(entries) => {
                    let named = |entry: &ConfigEntry| is_named(resource, entry.name);
                    let rows = entries
                        .into_iter()
                        .filter(named)
                        .map(|entry| row(entry, &request));
                    result.configs = rows.collect();
                }
                Err((error, message)) => {
                    result.error_code = error.code();
                    result.error_message = Some(Str::from(message));
                }
            }
            result
        })
        .collect();
    DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    }
}

/// Whether a key is asked for; none named are all.
fn is_named(resource: &DescribeConfigsResource, name: &str) -> bool {
    match resource.configuration_keys.as_deref() {
        None | Some([]) => true,
        Some(keys) => keys.iter().any(|key| *key == name),
    }
}

fn entries(
    shard: &Shard,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, (ErrorCode, String)> {
    let image = shard.image();
    let name: &str = &resource.resource_name;
    let own_id = shard.node_id().to_string();
    let dynamic = dynamic(&image, shard.node_id());
    match ResourceKind::from_i8(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            validate_topic_name(name)
                .map_err(|error| (error.code, error.message.unwrap_or_default()))?;
            if image.topic(name).is_none() {
                return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
            }
            Ok(describe_topic(
                &shard.config,
                dynamic,
                image.overrides(ResourceKind::Topic, name),
            ))
        }
        Some(ResourceKind::Broker) if name.is_empty() => {
            Ok(describe_cluster_defaults(dynamic.cluster))
        }
        Some(ResourceKind::Broker) if name == own_id => Ok(describe_broker(&shard.config, dynamic)),
        Some(ResourceKind::Broker) => {
            let why = match name.parse::<i32>() {
                Ok(_) => format!(
                    "Unexpected broker id, expected {own_id} or empty string, but received {name}"
                ),
                Err(_) => format!("Broker id must be an integer, but it is: {name}"),
            };
            Err((ErrorCode::InvalidRequest, why))
        }
        Some(ResourceKind::Group) if name.is_empty() => Err((
            ErrorCode::InvalidRequest,
            "Group name must not be empty".to_owned(),
        )),
        Some(ResourceKind::Group) => {
            let overrides = image.overrides(ResourceKind::Group, name);
            Ok(describe_group(&shard.config, overrides))
        }
        _ => Err((
            ErrorCode::InvalidRequest,
            format!("Unsupported resource type: {}", resource.resource_type),
        )),
    }
}

fn row(entry: ConfigEntry, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = match request.include_synonyms {
        true => entry
            .synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: Str::from_static(synonym.name),
                value: synonym.value.map(Str::from),
                source: synonym.source.code(),
            })
            .collect(),
        false => Vec::new(),
    };
    DescribeConfigsResourceResult {
        name: Str::from_static(entry.name),
        value: entry.value.map(Str::from),
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms,
        config_type: entry.kind.code(),
        documentation: request
            .include_documentation
            .then(|| Str::from_static(entry.doc)),
    }
}

/// What CreateTopics tells of a new topic's configuration (KIP-525).
pub(super) fn of_new_topic(shard: &Shard, changes: &[ConfigChange]) -> Vec<CreatableTopicConfigs> {
    struct Changes<'a>(&'a [ConfigChange]);
    impl Lookup for Changes<'_> {
        fn find(&self, name: &str) -> Option<&str> {
            let change = self.0.iter().find(|change| change.key == name)?;
            change.value.as_deref()
        }
    }
    let image = shard.image();
    let dynamic = dynamic(&image, shard.node_id());
    describe_topic(&shard.config, dynamic, &Changes(changes))
        .into_iter()
        .map(|entry| CreatableTopicConfigs {
            name: Str::from_static(entry.name),
            value: entry.value.map(Str::from),
            read_only: entry.read_only,
            config_source: entry.source.code(),
            is_sensitive: entry.sensitive,
        })
        .collect()
}

pub(super) async fn alter(
    context: Rc<Context>,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
    let resources = request
        .resources
        .iter()
        .map(|resource| EditedResource {
            resource_type: resource.resource_type,
            name: resource.resource_name.detach(),
            edits: resource
                .configs
                .iter()
                .map(|config| ConfigChange {
                    key: config.name.detach(),
                    value: config.value.as_ref().map(Str::detach),
                })
                .collect(),
        })
        .collect();
    let command = AlterConfigs {
        resources,
        validate_only: request.validate_only,
    };
    let Reply::AlterConfigs(rows) = context.shard.propose(Command::AlterConfigs(command)).await
    else {
        unreachable!("a reply is of its command's kind")
    };
    let responses = rows
        .into_iter()
        .map(|row| {
            let (error_code, error_message) = told(&row);
            alter_configs::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: row.resource_type,
                resource_name: row.name,
            }
        })
        .collect();
    AlterConfigsResponse {
        responses,
        ..AlterConfigsResponse::default()
    }
}

pub(super) async fn incremental_alter(
    context: Rc<Context>,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let (loggers, others): (Vec<_>, Vec<_>) = request
        .resources
        .iter()
        .partition(|resource| resource.resource_type == BROKER_LOGGER);
    let mut responses = alter_loggers(&context, &loggers, request.validate_only);
    let resources = others
        .into_iter()
        .map(|resource| EditedResource {
            resource_type: resource.resource_type,
            name: resource.resource_name.detach(),
            edits: resource
                .configs
                .iter()
                .map(|config| ConfigEdit {
                    key: config.name.detach(),
                    op: config.config_operation,
                    value: config.value.as_ref().map(Str::detach),
                })
                .collect(),
        })
        .collect();
    let command = IncrementalAlterConfigs {
        resources,
        validate_only: request.validate_only,
    };
    let command = Command::IncrementalAlterConfigs(command);
    let Reply::IncrementalAlterConfigs(rows) = context.shard.propose(command).await else {
        unreachable!("a reply is of its command's kind")
    };
    responses.extend(rows.into_iter().map(|row| {
        let (error_code, error_message) = told(&row);
        incremental_alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: row.resource_type,
            resource_name: row.name,
        }
    }));
    IncrementalAlterConfigsResponse {
        responses,
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// The levels of this broker's loggers; a resource that is named twice is refused each time, as Kafka does.
fn alter_loggers(
    context: &Context,
    resources: &[&incremental_alter_configs::AlterConfigsResource],
    validate_only: bool,
) -> Vec<incremental_alter_configs::AlterConfigsResourceResponse> {
    let mut responses = Vec::new();
    for resource in resources {
        let same = |other: &&&incremental_alter_configs::AlterConfigsResource| {
            other.resource_name == resource.resource_name
        };
        let altered = match resources.iter().filter(same).count() {
            1 => broker_loggers::alter(
                context.shard.node_id(),
                &resource.resource_name,
                &resource.configs,
                validate_only,
            ),
            _ => Err((
                ErrorCode::InvalidRequest,
                "Each resource must appear at most once.".to_owned(),
            )),
        };
        let (error_code, error_message) = match altered {
            Ok(()) => (ErrorCode::None.code(), None),
            Err((error, why)) => (error.code(), Some(Str::from(why))),
        };
        responses.push(incremental_alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.detach(),
        });
    }
    responses
}

fn told(row: &ConfigRow) -> (i16, Option<Str>) {
    match &row.result {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (error.code.code(), message(error)),
    }
}

pub(super) async fn list_resources(
    context: Rc<Context>,
    request: ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    const TYPES: [i8; 5] = [
        ResourceKind::Topic as i8,
        ResourceKind::Broker as i8,
        BROKER_LOGGER,
        ResourceKind::ClientMetrics as i8,
        ResourceKind::Group as i8,
    ];
    // Version 0 lists telemetry subscriptions and nothing else.
    let asked: BTreeSet<i8> = match version {
        0 => BTreeSet::from([ResourceKind::ClientMetrics as i8]),
        _ if request.resource_types.is_empty() => TYPES.into(),
        _ => request.resource_types.iter().copied().collect(),
    };
    if asked.iter().any(|code| !TYPES.contains(code)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..ListConfigResourcesResponse::default()
        };
    }
    let image = context.shard.image();
    let mut config_resources = Vec::new();
    for resource_type in asked {
        let names: Vec<Str> = match ResourceKind::from_i8(resource_type) {
            Some(ResourceKind::Topic) => image.topics().map(|topic| topic.name.clone()).collect(),
            // Each broker has loggers, and is named by its id for them too.
            Some(ResourceKind::Broker) | None => image
                .brokers()
                .map(|broker| Str::from(broker.id.to_string()))
                .collect(),
            Some(kind @ (ResourceKind::ClientMetrics | ResourceKind::Group)) => {
                image.overridden(kind).cloned().collect()
            }
        };
        let resource = |resource_name| ConfigResource {
            resource_name,
            resource_type,
        };
        config_resources.extend(names.into_iter().map(resource));
    }
    ListConfigResourcesResponse {
        config_resources,
        ..ListConfigResourcesResponse::default()
    }
}
