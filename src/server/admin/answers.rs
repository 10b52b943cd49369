//! What each path answers.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::http::Counts;
use super::process;
use super::text::{self, Format, KafkaNames};
use super::{Known, Shards, Silent, Step};
use crate::metrics::{
    ADMIN_REFUSED, ADMIN_REQUESTS, BUILD, IO_WORKER_CPU, IO_WORKERS, LOG_LINES_DROPPED,
    LOG_LINES_LIMITED, PROCESS_CPU, PROCESS_FILES, PROCESS_FILES_MAX, PROCESS_MEMORY,
    PROCESS_START, SCRAPE_TIME, SHARD_CPU, SHARD_RUN_QUEUE, Sample, Snapshot, Value,
};
use crate::rt;
use crate::shard::{Detail, PageRequest, Shard, ShardRow};
use crate::types::Str;

/// Every path there is.
pub(super) const PATHS: [&str; 12] = [
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/cluster",
    "/api/v1/shards",
    "/api/v1/topics",
    "/api/v1/partitions",
    "/api/v1/groups",
    "/api/v1/connections",
    "/api/v1/slow",
    "/debug/shards",
];

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Whoever asks whether we are ready asks often, and takes silence for a no.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// A request, as far as anything depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub path: &'a str,
    pub query: &'a str,
    pub format: Format,
}

pub(super) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// A shard's row, with what the kernel tells of its thread.
#[derive(Serialize)]
struct ShardAnswer {
    #[serde(flatten)]
    row: ShardRow,
    cpu_us: u64,
    run_queue_us: u64,
}

impl Answer {
    fn json(status: u16, value: &impl Serialize) -> Answer {
        match serde_json::to_string_pretty(value) {
            Ok(text) => Answer {
                status,
                content_type: "application/json",
                body: text + "\n",
            },
            Err(error) => Answer::error(500, &error.to_string()),
        }
    }

    pub fn error(status: u16, why: &str) -> Answer {
        let text = json!({ "error": why }).to_string();
        Answer {
            status,
            content_type: "application/json",
            body: text + "\n",
        }
    }
}

impl From<Silent> for Answer {
    fn from(silent: Silent) -> Answer {
        Answer::error(
            503,
            match silent {
                Silent::Full => "too many ask at once",
                Silent::Late => "the shards did not answer in time: they start, stop or are stuck",
            },
        )
    }
}

pub(super) async fn answer(shards: &Shards, counts: &Counts, asked: Asked<'_>) -> Answer {
    let answered = match asked.path {
        "/" => Ok(Answer::json(200, &PATHS)),
        "/metrics" => metrics(shards, counts, asked).await,
        "/healthz" => health(shards).await,
        "/readyz" => Ok(readiness(shards).await),
        "/debug/shards" => debug(shards).await,
        path => match path.strip_prefix("/api/v1/") {
            Some(list) => list_of(shards, list, asked.query).await,
            None => Err(not_found()),
        },
    };
    answered.unwrap_or_else(|refused| refused)
}

fn not_found() -> Answer {
    let known = PATHS.join(" ");
    Answer::error(404, &format!("there is: {known}"))
}

async fn list_of(shards: &Shards, list: &str, query: &str) -> Result<Answer, Answer> {
    if list == "cluster" {
        let row = shards
            .ask(|shard| async move { shard.cluster_row() })
            .await?;
        return Ok(Answer::json(200, &row));
    }
    if list == "shards" {
        let rows = shards.ask(|shard| async move { shard.shard_rows().await });
        let rows = rows.await?.into_iter().zip(shards.known.threads());
        let answers: Vec<ShardAnswer> = rows.map(shard_answer).collect();
        return Ok(Answer::json(200, &answers));
    }
    let page = page_of(query)?;
    Ok(match list {
        "topics" => {
            let ask = shards.ask(|shard| async move { shard.topic_page(page).await });
            Answer::json(200, &ask.await?)
        }
        "partitions" => {
            let ask = shards.ask(|shard| async move { shard.partition_page(page).await });
            Answer::json(200, &ask.await?)
        }
        "groups" => {
            let ask = shards.ask(|shard| async move { shard.group_page(page).await });
            match ask.await? {
                Ok(page) => Answer::json(200, &page),
                Err(code) => Answer::error(503, &code.to_string()),
            }
        }
        "connections" => {
            let ask = shards.ask(|shard| async move { shard.connection_page(page).await });
            Answer::json(200, &ask.await?)
        }
        "slow" => {
            let ask =
                shards.ask(move |shard| async move { shard.slowest_requests(page.limit).await });
            Answer::json(200, &ask.await?)
        }
        _ => return Err(not_found()),
    })
}

fn shard_answer((row, thread): (ShardRow, u32)) -> ShardAnswer {
    let time = process::thread_time(thread).unwrap_or_default();
    ShardAnswer {
        row,
        cpu_us: time.cpu_us,
        run_queue_us: time.run_queue_us,
    }
}

/// Every shard answers.
async fn health(shards: &Shards) -> Result<Answer, Answer> {
    let answered = shards.ask(|shard| async move { shard.call_all(|_| async {}).await.len() });
    let count = answered.await?;
    Ok(Answer::json(
        200,
        &json!({ "status": "ok", "shards": count }),
    ))
}

/// Whether clients can be sent here: recovered, with a controller, listening, every shard at work, and not about to stop.
async fn readiness(shards: &Shards) -> Answer {
    let stuck = shards.known.stuck();
    // Before, there is nobody to ask; and shard 0, which would answer, may be the one that is stuck.
    let is_asked = shards.known.progress.has(Step::Recovered) && !stuck.contains(&0);
    let has_controller = is_asked && {
        let ask = |shard: Rc<Shard>| async move { shard.has_controller() };
        let answered = shards.ask_within(READY_WITHIN, ask).await;
        answered == Ok(true)
    };
    readiness_of(&shards.known, has_controller, &stuck)
}

fn readiness_of(known: &Known, has_controller: bool, stuck: &[usize]) -> Answer {
    let has = |step| known.progress.has(step);
    let (recovered, listening) = (has(Step::Recovered), has(Step::Listening));
    let stopping = has(Step::Stopping);
    let ready = recovered && has_controller && listening && stuck.is_empty() && !stopping;
    let state = json!({
        "ready": ready,
        "recovered": recovered,
        "controller": has_controller,
        "listeners": listening,
        "stuck_shards": stuck,
        "stopping": stopping,
    });
    Answer::json(if ready { 200 } else { 503 }, &state)
}

async fn metrics(shards: &Shards, counts: &Counts, asked: Asked<'_>) -> Result<Answer, Answer> {
    let (detail, kafka) = wanted_of(asked.query)?;
    let began = Instant::now();
    let ask = shards.ask(move |shard| async move { shard.metrics_snapshot(detail).await });
    let mut snapshot = ask.await?;
    let took_us = began.elapsed().as_micros() as i64;
    snapshot.add_samples([Sample::new(&SCRAPE_TIME, [], Value::Gauge(took_us))]);
    snapshot.add_samples(of_process(shards, counts));
    Ok(Answer {
        status: 200,
        content_type: asked.format.content_type(),
        body: text::encode(snapshot, asked.format, kafka),
    })
}

/// What the admin thread knows by itself.
fn of_process(shards: &Shards, counts: &Counts) -> Vec<Sample> {
    let (process, lost) = (process::process(), rt::lines_lost());
    let gauge = |value: u64| Value::Gauge(value as i64);
    let refused = counts.refused.load(Ordering::Relaxed);
    let mut samples = vec![
        Sample::new(&IO_WORKERS, [], gauge(process.io_workers)),
        Sample::new(&IO_WORKER_CPU, [], gauge(process.io_worker_cpu_us)),
        Sample::new(&LOG_LINES_DROPPED, [], Value::Counter(lost.dropped)),
        Sample::new(&LOG_LINES_LIMITED, [], Value::Counter(lost.limited)),
        Sample::new(&ADMIN_REFUSED, [], Value::Counter(refused)),
        Sample::new(&PROCESS_CPU, [], Value::Counter(process.cpu_us)),
        Sample::new(&PROCESS_MEMORY, [], gauge(process.resident_bytes)),
        Sample::new(&PROCESS_FILES, [], gauge(process.files)),
        Sample::new(&PROCESS_FILES_MAX, [], gauge(process.files_max)),
        Sample::new(&PROCESS_START, [], gauge(process.started_us)),
    ];
    let version = Str::from_static(env!("CARGO_PKG_VERSION"));
    samples.push(Sample::new(&BUILD, [version], Value::Gauge(1)));
    let names = PATHS.into_iter().chain(["other"]);
    samples.extend(names.zip(&counts.requests).map(|(path, count)| {
        let count = Value::Counter(count.load(Ordering::Relaxed));
        Sample::new(&ADMIN_REQUESTS, [Str::from_static(path)], count)
    }));
    for (shard, thread) in shards.known.threads().enumerate() {
        let Some(time) = process::thread_time(thread) else {
            continue;
        };
        let shard = Str::from(shard.to_string());
        let cpu = Value::Counter(time.cpu_us);
        samples.push(Sample::new(&SHARD_CPU, [shard.clone()], cpu));
        let waited = Value::Counter(time.run_queue_us);
        samples.push(Sample::new(&SHARD_RUN_QUEUE, [shard], waited));
    }
    samples
}

/// Every metric of each shard by itself.
async fn debug(shards: &Shards) -> Result<Answer, Answer> {
    let rows = shards
        .ask(|shard| async move { shard.shard_rows().await })
        .await?;
    let snapshots = shards.ask(|shard| async move { shard.shard_snapshots().await });
    let snapshots = snapshots.await?;
    let threads = shards.known.threads();
    let each = rows
        .into_iter()
        .zip(threads)
        .zip(&snapshots)
        .map(|(of, snapshot)| {
            let mut answer = serde_json::to_value(shard_answer(of)).unwrap_or_default();
            if let Json::Object(fields) = &mut answer {
                fields.insert("metrics".to_owned(), Json::Object(values(snapshot)));
            }
            answer
        });
    Ok(Answer::json(200, &each.collect::<Vec<_>>()))
}

fn values(snapshot: &Snapshot) -> Map<String, Json> {
    let fixed = snapshot.rows().map(|row| {
        let labels = row
            .metric
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        (row.metric.name, labels.collect::<Vec<_>>(), row.value)
    });
    let sampled = snapshot.samples().map(|sample| {
        let labels = sample
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        (
            sample.metric.name,
            labels.collect::<Vec<_>>(),
            &sample.value,
        )
    });
    let named = fixed.chain(sampled).map(|(name, labels, value)| {
        let name = match labels.is_empty() {
            true => name.to_owned(),
            false => format!("{name}{{{}}}", labels.join(",")),
        };
        (name, told(value))
    });
    named.collect()
}

fn told(value: &Value) -> Json {
    match value {
        Value::Counter(count) => json!(count),
        Value::Gauge(value) | Value::Peak(value) => json!(value),
        Value::Histogram(counts) => {
            let count = counts.count();
            json!({
                "count": count,
                "mean": if count > 0 { counts.sum() as f64 / count as f64 } else { 0.0 },
                "p50": counts.quantile(0.5),
                "p99": counts.quantile(0.99),
                "p999": counts.quantile(0.999),
                "max": counts.quantile(1.0),
            })
        }
    }
}

/// `without=partitions,topics,groups`: which of the rows that there are many of are left out; `names=kafka`: all that Kafka
/// has too is told by Kafka's names besides, partitions as well.
fn wanted_of(query: &str) -> Result<(Detail, KafkaNames), Answer> {
    let (mut detail, mut kafka) = (Detail::ALL, KafkaNames::Usual);
    for (key, value) in pairs(query) {
        match key.as_str() {
            "without" => {
                for rows in value.split(',') {
                    match rows {
                        "partitions" => detail.partitions = false,
                        "topics" => detail.topics = false,
                        "groups" => detail.groups = false,
                        _ => {
                            let why = "without: expected partitions, topics or groups, separated by commas";
                            return Err(Answer::error(400, why));
                        }
                    }
                }
            }
            "names" if value == "kafka" => kafka = KafkaNames::All,
            "names" => return Err(Answer::error(400, "names: expected kafka")),
            _ => return Err(unknown_key(&key, "without and names")),
        }
    }
    Ok((detail, kafka))
}

/// `limit=N&after=NEXT`.
fn page_of(query: &str) -> Result<PageRequest, Answer> {
    let mut page = PageRequest {
        after: String::new(),
        limit: LIMIT_DEFAULT,
    };
    for (key, value) in pairs(query) {
        match key.as_str() {
            "after" => page.after = value,
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                let why = || Answer::error(400, &format!("limit: expected 1 to {LIMIT_MAX}"));
                page.limit = limit.ok_or_else(why)?;
            }
            _ => return Err(unknown_key(&key, "limit and after")),
        }
    }
    Ok(page)
}

fn unknown_key(key: &str, known: &str) -> Answer {
    Answer::error(400, &format!("{key}: expected {known}"))
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(key), decoded(value))
    })
}

/// `%XX` and `+` as what they stand for; what is no such thing stays, and bytes that are no text become a replacement.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_has_all_and_is_not_about_to_stop() {
        let told = |known: &Known, has_controller, stuck: &[usize]| {
            let answer = readiness_of(known, has_controller, stuck);
            let state: Json = serde_json::from_str(&answer.body).expect("it is JSON");
            assert_eq!(state["ready"], Json::Bool(answer.status == 200));
            (answer.status, state)
        };
        let known = Known::new(2);
        assert_eq!(told(&known, false, &[]).0, 503, "it has just been started");
        known.progress.note(Step::Recovered);
        assert_eq!(told(&known, true, &[]).0, 503, "nobody listens");
        known.progress.note(Step::Listening);
        assert_eq!(told(&known, true, &[]).0, 200);
        let (status, state) = told(&known, false, &[]);
        assert_eq!((status, &state["controller"]), (503, &Json::Bool(false)));
        assert_eq!(
            state["recovered"],
            Json::Bool(true),
            "which is another thing"
        );
        let (status, state) = told(&known, true, &[1]);
        assert_eq!((status, &state["stuck_shards"]), (503, &json!([1])));
        known.progress.note(Step::Stopping);
        assert_eq!(told(&known, true, &[]).0, 503);
    }

    #[test]
    fn a_query_is_read_or_refused_with_its_key() {
        let page = page_of("limit=7&after=a%2Fb+c%").map_err(|_| ()).unwrap();
        assert_eq!((page.after.as_str(), page.limit), ("a/b c%", 7));
        for wrong in ["limit=0", "limit=1001", "limit=x", "start=1", "limit"] {
            let Err(refused) = page_of(wrong) else {
                panic!("{wrong} is taken")
            };
            let key = wrong.split('=').next().unwrap_or("");
            assert_eq!(refused.status, 400);
            assert!(refused.body.contains(key), "{}", refused.body);
        }
        let (detail, kafka) = wanted_of("without=partitions,groups")
            .map_err(|_| ())
            .unwrap();
        assert!(detail.topics && !detail.partitions && !detail.groups);
        assert_eq!(kafka, KafkaNames::Usual);
        let (detail, kafka) = wanted_of("names=kafka").map_err(|_| ()).unwrap();
        assert_eq!((detail, kafka), (Detail::ALL, KafkaNames::All));
        for wrong in ["without=everything", "names", "names=ours", "name=kafka"] {
            let Err(refused) = wanted_of(wrong) else {
                panic!("{wrong} is taken")
            };
            let key = wrong.split('=').next().unwrap_or("");
            assert_eq!(refused.status, 400);
            assert!(
                refused.body.contains(&format!("{key}: expected")),
                "{}",
                refused.body
            );
        }
    }
}
