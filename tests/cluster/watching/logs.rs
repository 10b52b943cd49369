//! Goal: the broker's own log is written as configured, and its levels change while it runs, by Kafka's configs.
//!
//! Method: BROKER_LOGGER resources over the wire, and what the broker writes.

use ringlog::protocol::ErrorCode;
use ringlog::protocol::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ringlog::protocol::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::Watched;
use crate::wire::Client;

fn levels(client: &mut Client, node: &str) -> (i16, Vec<(String, String)>) {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 8,
            resource_name: node.into(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    let mut answer = client
        .call(4, &request)
        .expect("DescribeConfigs is answered");
    let result = answer.results.pop().expect("a result");
    let level = |row: ringlog::protocol::describe_configs::DescribeConfigsResourceResult| {
        assert_eq!((row.config_source, row.read_only), (6, false));
        (
            row.name.to_string(),
            row.value.expect("a level").to_string(),
        )
    };
    (
        result.error_code,
        result.configs.into_iter().map(level).collect(),
    )
}

fn level(client: &mut Client, logger: &str) -> String {
    let (error, levels) = levels(client, "1");
    assert_eq!(error, 0);
    let found = levels.into_iter().find(|(name, _)| name == logger);
    found.unwrap_or_else(|| panic!("no logger {logger}")).1
}

/// The error of one edit.
fn alter(client: &mut Client, logger: &str, operation: i8, value: Option<&str>) -> ErrorCode {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 8,
            resource_name: "1".into(),
            configs: vec![AlterableConfig {
                name: logger.into(),
                config_operation: operation,
                value: value.map(Into::into),
            }],
        }],
        ..Default::default()
    };
    let answer = client
        .call(1, &request)
        .expect("IncrementalAlterConfigs is answered");
    ErrorCode::from_code(answer.responses[0].error_code).expect("a code")
}

#[test]
fn levels_change_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(
        dir.path(),
        &["logger.levels=root=INFO,ringlog::storage=WARN"],
    );
    let mut client = watched.broker.client();
    assert_eq!(level(&mut client, "root"), "INFO");
    assert_eq!(level(&mut client, "ringlog::storage"), "WARN");
    assert_eq!(level(&mut client, "ringlog::api"), "INFO");
    assert_ne!(
        levels(&mut client, "2").0,
        0,
        "another broker's are not known here"
    );
    assert_eq!(
        alter(&mut client, "ringlog::api", 0, Some("ERROR")),
        ErrorCode::None
    );
    assert_eq!(level(&mut client, "ringlog::api"), "ERROR");
    // The line that tells of a change is the API's own: it is silent now.
    assert_eq!(alter(&mut client, "root", 0, Some("WARN")), ErrorCode::None);
    assert_eq!(
        alter(&mut client, "ringlog::api", 0, Some("INFO")),
        ErrorCode::None
    );
    assert_eq!(
        alter(&mut client, "root", 0, Some("DEBUG")),
        ErrorCode::None
    );
    assert_eq!(alter(&mut client, "ringlog::api", 1, None), ErrorCode::None);
    assert_eq!(
        level(&mut client, "ringlog::api"),
        "DEBUG",
        "it follows the root"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !watched
        .broker
        .output()
        .contains("ringlog::api follows root")
    {
        assert!(
            std::time::Instant::now() < deadline,
            "{}",
            watched.broker.output()
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = watched.broker.output();
    assert!(output.contains("logger root writes at DEBUG"), "{output}");
    assert!(!output.contains("logger root writes at WARN"), "{output}");
    for (logger, operation, value, error) in [
        ("nobody", 0, Some("INFO"), ErrorCode::InvalidConfig),
        ("root", 0, Some("LOUD"), ErrorCode::InvalidConfig),
        ("root", 1, None, ErrorCode::InvalidRequest),
        ("root", 2, Some("INFO"), ErrorCode::InvalidRequest),
    ] {
        assert_eq!(
            alter(&mut client, logger, operation, value),
            error,
            "{logger} {operation}"
        );
    }
}

#[test]
fn lines_are_json_where_that_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &["logger.format=json"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let lines = loop {
        let output = watched.broker.output();
        let lines: Vec<String> = output
            .lines()
            .filter(|l| l.starts_with('{'))
            .map(str::to_owned)
            .collect();
        if !lines.is_empty() {
            break lines;
        }
        assert!(std::time::Instant::now() < deadline, "{output}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON object");
        assert!(
            line["level"].is_string() && line["target"].is_string(),
            "{line}"
        );
    }
}
