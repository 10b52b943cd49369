//! The levels of the broker's own log as configurations of the resource BROKER_LOGGER (KIP-412): they are this process's,
//! hold until it ends, and are no part of the cluster's metadata.

use std::collections::HashSet;

use crate::protocol::ErrorCode;
use crate::protocol::describe_configs::DescribeConfigsResourceResult;
use crate::protocol::incremental_alter_configs::AlterableConfig;
use crate::rt;
use crate::types::{LOGGERS, LogLevel, NodeId, ROOT_LOGGER, Str};

/// The resource's type on the wire.
pub(super) const BROKER_LOGGER: i8 = 8;
/// Where such a value comes from, on the wire (DYNAMIC_BROKER_LOGGER_CONFIG).
const SOURCE: i8 = 6;

/// Operations on a key (KIP-339).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Why a request about loggers is refused.
pub(super) type Refused = (ErrorCode, String);

/// Every logger with its level.
pub(super) fn describe(
    node: NodeId,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    check_node(node, name)?;
    let row = |(logger, level): (&'static str, LogLevel)| DescribeConfigsResourceResult {
        name: Str::from_static(logger),
        value: Some(Str::from_static(level.name())),
        config_source: SOURCE,
        // Kafka has none to tell, asked for or not, and says so by an empty one.
        documentation: Some(Str::default()),
        ..DescribeConfigsResourceResult::default()
    };
    Ok(rt::logger_levels().map(row).collect())
}

/// Sets levels, or has loggers follow the root again; all of them or, where one is refused, none.
pub(super) fn alter(
    node: NodeId,
    name: &str,
    edits: &[AlterableConfig],
    validate_only: bool,
) -> Result<(), Refused> {
    check_edits(edits)?;
    check_node(node, name)?;
    let changes = edits.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    if validate_only {
        return Ok(());
    }
    for (logger, level) in changes {
        let set = rt::set_logger_level(logger, level);
        set.map_err(|_| {
            (
                ErrorCode::UnknownServerError,
                format!("Logger {logger} is gone"),
            )
        })?;
        match level {
            Some(level) => tracing::info!("logger {logger} writes at {level} from now on"),
            None => tracing::info!("logger {logger} follows {ROOT_LOGGER} from now on"),
        }
    }
    Ok(())
}

/// What Kafka asks of a resource's edits before it looks at the resource.
fn check_edits(edits: &[AlterableConfig]) -> Result<(), Refused> {
    let mut names = HashSet::new();
    if !edits.iter().all(|edit| names.insert(&*edit.name)) {
        return Err(invalid("Error due to duplicate config keys".to_owned()));
    }
    let is_null = |edit: &&AlterableConfig| edit.config_operation != DELETE && edit.value.is_none();
    let nulls = edits.iter().filter(is_null).map(|edit| &*edit.name);
    let nulls: Vec<&str> = nulls.collect();
    match nulls.is_empty() {
        true => Ok(()),
        false => {
            let why = format!("Null value not supported for : {}", nulls.join(", "));
            Err(invalid(why))
        }
    }
}

fn check_node(node: NodeId, name: &str) -> Result<(), Refused> {
    match name.parse::<i32>() {
        Ok(id) if id == node.0 => Ok(()),
        Ok(id) => Err(invalid(format!(
            "Unexpected broker id, expected {node} but received {id}"
        ))),
        Err(_) => Err(invalid(format!(
            "Node id must be an integer, but it is: {name}"
        ))),
    }
}

fn change(edit: &AlterableConfig) -> Result<(&'static str, Option<LogLevel>), Refused> {
    let known = LOGGERS
        .into_iter()
        .find(|logger| *logger == edit.name.as_str());
    let known = known.ok_or_else(|| {
        let why = format!("Logger {} does not exist!", edit.name);
        (ErrorCode::InvalidConfig, why)
    });
    match edit.config_operation {
        SET => {
            let known = known?;
            let text = edit.value.as_deref().unwrap_or("");
            // Kafka takes upper case only.
            let level = LogLevel::ALL.into_iter().find(|level| level.name() == text);
            let level = level.ok_or_else(|| {
                let names = LogLevel::ALL.map(LogLevel::name).join(", ");
                let why = format!(
                    "Cannot set the log level of {known} to {text} as it is not a supported log level. Valid log levels are {names}"
                );
                (ErrorCode::InvalidConfig, why)
            })?;
            Ok((known, Some(level)))
        }
        DELETE if edit.name.as_str() == ROOT_LOGGER => Err(invalid(
            "Removing the log level of the root logger is not allowed".to_owned(),
        )),
        DELETE => Ok((known?, None)),
        APPEND | SUBTRACT => {
            let op = if edit.config_operation == APPEND {
                "APPEND"
            } else {
                "SUBTRACT"
            };
            Err(invalid(format!(
                "{op} operation is not allowed for the BROKER_LOGGER resource"
            )))
        }
        op => Err(invalid(format!("Unknown config operation {op}"))),
    }
}

fn invalid(why: String) -> Refused {
    (ErrorCode::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(name: &str, config_operation: i8, value: Option<&str>) -> AlterableConfig {
        AlterableConfig {
            name: Str::from(name),
            config_operation,
            value: value.map(Str::from),
        }
    }

    #[test]
    fn a_change_is_checked_before_any_is_made() {
        let code = |name: &str, op, value| change(&edit(name, op, value)).map_err(|(code, _)| code);
        assert_eq!(
            code("root", 0, Some("DEBUG")),
            Ok(("root", Some(LogLevel::Debug)))
        );
        assert_eq!(code("ringlog::api", 1, None), Ok(("ringlog::api", None)));
        assert_eq!(code("root", 1, None), Err(ErrorCode::InvalidRequest));
        assert_eq!(
            code("nobody", 0, Some("INFO")),
            Err(ErrorCode::InvalidConfig)
        );
        assert_eq!(code("root", 0, Some("info")), Err(ErrorCode::InvalidConfig));
        assert_eq!(code("root", 0, None), Err(ErrorCode::InvalidConfig));
        assert_eq!(
            code("root", 2, Some("INFO")),
            Err(ErrorCode::InvalidRequest)
        );
        assert_eq!(
            code("root", 9, Some("INFO")),
            Err(ErrorCode::InvalidRequest)
        );
    }

    #[test]
    fn a_logger_is_named_once_and_no_level_is_null() {
        let code = |edits: &[AlterableConfig]| check_edits(edits).map_err(|(code, _)| code);
        let set = edit("root", 0, Some("INFO"));
        let refused = Err(ErrorCode::InvalidRequest);
        assert_eq!(code(&[]), Ok(()));
        assert_eq!(code(&[set.clone(), edit("other", 1, None)]), Ok(()));
        assert_eq!(code(&[set.clone(), edit("root", 1, None)]), refused);
        assert_eq!(code(&[set, edit("other", 0, None)]), refused);
    }

    #[test]
    fn the_resource_is_this_broker() {
        assert!(check_node(NodeId(3), "3").is_ok());
        for other in ["", "4", "three"] {
            let (code, why) = check_node(NodeId(3), other).expect_err(other);
            assert_eq!(code, ErrorCode::InvalidRequest, "{why}");
        }
    }
}
