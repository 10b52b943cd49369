//! Decisions about overrides of configuration keys.

use std::collections::BTreeSet;

use super::command::{
    AlterConfigs, ConfigChange, ConfigEdit, ConfigOp, ConfigRow, Context, EditedResource,
    IncrementalAlterConfigs, ListOp,
};
use super::error::ApiError;
use super::image::{Image, Overrides, ResourceKind};
use super::record::{ConfigV1, MetadataRecord};
use super::topic_name::validate_topic_name;
use crate::protocol::ErrorCode;
use crate::types::Str;

/// AlterConfigs: the resource has the overrides of the request afterwards, and no others.
pub(super) fn replace(
    image: &Image,
    command: &AlterConfigs,
    context: &Context<'_>,
    out: &mut Vec<MetadataRecord>,
) -> Vec<ConfigRow> {
    let decide = |resource: &EditedResource<ConfigChange>| {
        check_edits(&resource.edits)?;
        let kind = check_resource(image, resource, context)?;
        let next: Overrides = resource
            .edits
            .iter()
            .filter_map(|edit| Some((edit.key.clone(), edit.value.clone()?)))
            .collect();
        check_overrides(kind, &resource.name, &next, next.keys(), context)?;
        Ok((kind, next))
    };
    each(
        image,
        &command.resources,
        command.validate_only,
        out,
        decide,
    )
}

/// IncrementalAlterConfigs: each edit does its own to the overrides there are.
pub(super) fn edit(
    image: &Image,
    command: &IncrementalAlterConfigs,
    context: &Context<'_>,
    out: &mut Vec<MetadataRecord>,
) -> Vec<ConfigRow> {
    let decide = |resource: &EditedResource<ConfigEdit>| {
        check_edits(&resource.edits)?;
        let kind = check_resource(image, resource, context)?;
        let mut next = image.overrides(kind, &resource.name).clone();
        for edit in &resource.edits {
            edit_one(kind, edit, &mut next, context)?;
        }
        // What was there before was checked when it came, by the rules of its time.
        let set = resource.edits.iter().map(|edit| &edit.key);
        check_overrides(kind, &resource.name, &next, set, context)?;
        Ok((kind, next))
    };
    each(
        image,
        &command.resources,
        command.validate_only,
        out,
        decide,
    )
}

fn edit_one(
    kind: ResourceKind,
    edit: &ConfigEdit,
    next: &mut Overrides,
    context: &Context<'_>,
) -> Result<(), ApiError> {
    let value = edit.value.clone().unwrap_or_default();
    let list_op = match edit.operation() {
        // Kafka answers an unknown server error; the request is what is wrong.
        None => {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                format!("Unknown config operation {}", edit.op),
            ));
        }
        Some(ConfigOp::Set) => {
            next.insert(edit.key.detach(), value.detach());
            return Ok(());
        }
        Some(ConfigOp::Delete) => {
            next.remove(&edit.key);
            return Ok(());
        }
        Some(ConfigOp::Append) => ListOp::Append,
        Some(ConfigOp::Subtract) => ListOp::Subtract,
    };
    let current = next.get(&edit.key).map(Str::as_str);
    let combined = context
        .rules
        .combine(kind, &edit.key, list_op, current, &value)
        .map_err(|why| ApiError::new(ErrorCode::InvalidConfig, why))?;
    next.insert(edit.key.detach(), Str::from(combined));
    Ok(())
}

/// Decides each resource by itself; a resource named twice is refused once.
fn each<E>(
    image: &Image,
    resources: &[EditedResource<E>],
    validate_only: bool,
    out: &mut Vec<MetadataRecord>,
    decide: impl Fn(&EditedResource<E>) -> Result<(ResourceKind, Overrides), ApiError>,
) -> Vec<ConfigRow> {
    let mut seen = BTreeSet::new();
    let mut doubled = BTreeSet::new();
    for resource in resources {
        let key = (resource.resource_type, &resource.name);
        if !seen.insert(key) {
            doubled.insert(key);
        }
    }
    let mut rows = Vec::with_capacity(seen.len());
    for resource in resources {
        let key = (resource.resource_type, &resource.name);
        if !seen.remove(&key) {
            continue;
        }
        let result = if doubled.contains(&key) {
            Err(invalid(
                "Each resource must appear at most once.".to_owned(),
            ))
        } else {
            decide(resource).map(|(kind, next)| {
                differences(
                    kind,
                    &resource.name,
                    image.overrides(kind, &resource.name),
                    &next,
                    out,
                );
            })
        };
        rows.push(ConfigRow {
            resource_type: resource.resource_type,
            name: resource.name.clone(),
            result,
        });
    }
    if validate_only {
        out.clear();
    }
    rows
}

/// The records that turn the overrides `now` into `next`.
fn differences(
    kind: ResourceKind,
    name: &Str,
    now: &Overrides,
    next: &Overrides,
    out: &mut Vec<MetadataRecord>,
) {
    let mut push = |key: &Str, value: Option<&Str>| {
        let record = ConfigV1 {
            resource_type: kind as i8,
            resource_name: name.to_string(),
            key: key.to_string(),
            value: value.map(Str::to_string),
        };
        out.push(record.into());
    };
    for key in now.keys().filter(|key| !next.contains_key(*key)) {
        push(key, None);
    }
    for (key, value) in next
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(*value))
    {
        push(key, Some(value));
    }
}

/// Checks the overrides of `keys` one by one, then all of them together.
pub(super) fn check_overrides<'a>(
    kind: ResourceKind,
    name: &str,
    overrides: &Overrides,
    keys: impl Iterator<Item = &'a Str>,
    context: &Context<'_>,
) -> Result<(), ApiError> {
    let code = match kind {
        ResourceKind::Topic | ResourceKind::Group => ErrorCode::InvalidConfig,
        ResourceKind::Broker | ResourceKind::ClientMetrics => ErrorCode::InvalidRequest,
    };
    for key in keys {
        if let Some(value) = overrides.get(key) {
            let checked = context.rules.check(kind, name, key, value);
            checked.map_err(|why| ApiError::new(code, why))?;
        }
    }
    let together = context.rules.check_together(kind, overrides);
    together.map_err(|why| ApiError::new(ErrorCode::InvalidConfig, why))
}

/// An edit of one key, of either request.
trait Edit {
    fn key(&self) -> &Str;
    fn lacks_value(&self) -> bool;
}

impl Edit for ConfigChange {
    fn key(&self) -> &Str {
        &self.key
    }

    fn lacks_value(&self) -> bool {
        self.value.is_none()
    }
}

impl Edit for ConfigEdit {
    fn key(&self) -> &Str {
        &self.key
    }

    fn lacks_value(&self) -> bool {
        self.value.is_none() && self.operation() != Some(ConfigOp::Delete)
    }
}

impl ConfigEdit {
    fn operation(&self) -> Option<ConfigOp> {
        ConfigOp::from_i8(self.op)
    }
}

fn check_edits(edits: &[impl Edit]) -> Result<(), ApiError> {
    let mut keys = BTreeSet::new();
    if !edits.iter().all(|edit| keys.insert(edit.key())) {
        return Err(invalid("Error due to duplicate config keys".to_owned()));
    }
    let nulls: Vec<&str> = edits
        .iter()
        .filter(|edit| edit.lacks_value())
        .map(|edit| edit.key().as_str())
        .collect();
    if !nulls.is_empty() {
        return Err(invalid(format!(
            "Null value not supported for : {}",
            nulls.join(", ")
        )));
    }
    Ok(())
}

/// Checks that the resource may have overrides and, of a topic, that it exists.
fn check_resource<E>(
    image: &Image,
    resource: &EditedResource<E>,
    context: &Context<'_>,
) -> Result<ResourceKind, ApiError> {
    let (code, name) = (resource.resource_type, &resource.name);
    let kind = ResourceKind::from_i8(code)
        .ok_or_else(|| invalid(format!("Unknown resource type {code}")))?;
    match kind {
        ResourceKind::Topic if name.is_empty() => Err(invalid(
            "Default topic resources are not allowed.".to_owned(),
        )),
        ResourceKind::Topic => {
            validate_topic_name(name)?;
            image.topic(name).map(|_| kind).ok_or_else(|| {
                ApiError::new(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("The topic '{name}' does not exist."),
                )
            })
        }
        ResourceKind::Broker if name.is_empty() => Ok(kind),
        ResourceKind::Broker => {
            // Only the plain form: "01" would be another resource, which no broker would look at.
            let id: Option<i32> = name.parse().ok();
            let id = id
                .filter(|id| id.to_string() == **name)
                .ok_or_else(|| invalid(format!("Node id must be an integer, but it is: {name}")))?;
            if id != context.node.0 {
                return Err(invalid(format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    context.node
                )));
            }
            Ok(kind)
        }
        ResourceKind::ClientMetrics if name.is_empty() => {
            Err(invalid("Subscription name can't be empty".to_owned()))
        }
        ResourceKind::Group if name.is_empty() => Err(invalid(
            "Default group resources are not allowed.".to_owned(),
        )),
        ResourceKind::ClientMetrics | ResourceKind::Group => Ok(kind),
    }
}

fn invalid(why: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, why)
}
