//! Reads back what a run writes, while it writes it: end-to-end latency and what is missing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::native::{NativeClient, NativeConsumer, NativeConsumerOptions};
use crate::client::{ClientError, Cluster, Consumer, ConsumerOptions, Fetched, Place};
use crate::protocol::ErrorCode;
use crate::record::{Codecs, RecordError, records, split};
use crate::rt;

use super::control::{Control, Stream};
use super::payload::Stamp;
use super::plan::{Plan, Wire};
use super::tally::Tally;
use super::target::native_options;

/// A consumer of all partitions, of either wire.
enum Reader {
    Kafka(Box<Consumer>),
    Native(Box<NativeConsumer>),
}

impl Reader {
    /// Reads from where the topic ends now.
    async fn open(plan: &Plan) -> Result<Reader, ClientError> {
        match &plan.wire {
            Wire::Kafka => {
                let cluster = Cluster::connect(&plan.bootstrap, plan.cluster.clone()).await?;
                let options = ConsumerOptions::default();
                let opened = Consumer::open(cluster, &plan.topic, None, Place::End, options);
                Ok(Reader::Kafka(Box::new(opened.await?)))
            }
            Wire::Native { bootstrap } => {
                let client = NativeClient::connect(bootstrap, native_options(plan)).await?;
                let options = NativeConsumerOptions::default();
                let opened = NativeConsumer::open(client, &plan.topic, None, Place::End, options);
                Ok(Reader::Native(Box::new(opened.await?)))
            }
        }
    }

    async fn poll(&mut self) -> Result<Fetched, ClientError> {
        match self {
            Reader::Kafka(consumer) => consumer.poll().await,
            Reader::Native(consumer) => consumer.poll().await,
        }
    }
}

/// Reads the topic from where it ends now until everything acknowledged has been read, or nothing more comes.
///
/// - `run`: whose records are counted; others are passed over.
pub async fn tail(plan: &Plan, control: &Arc<Control>, run: u64) -> Result<Tally, ClientError> {
    let mut consumer = Reader::open(plan).await?;
    control.worker_ready();
    let window = loop {
        match control.begun() {
            Some((_, window)) => break window,
            None if control.is_stopped() => return Err(stopped()),
            None => rt::sleep(Duration::from_millis(1)).await,
        }
    };
    let mut tally = control.tally(window, Stream::Consumed);
    let mut codecs = Codecs::new();
    let mut last_arrival = Instant::now();
    loop {
        match rt::timeout(LOOK, consumer.poll()).await {
            Ok(fetched) => {
                let fetched = fetched?;
                last_arrival = Instant::now();
                let now_ns = control.now_ns();
                count(&fetched, now_ns, run, &mut tally, &mut codecs)
                    .map_err(|error| corrupt(&fetched, &error))?;
                control.count_consumed(tally.records_ever - control.consumed());
            }
            Err(rt::Elapsed) if control.is_stopped() => return Ok(tally),
            Err(rt::Elapsed) => {}
        }
        let is_complete = tally.records_ever >= control.acked();
        if !control.is_producing() && (is_complete || last_arrival.elapsed() > PATIENCE) {
            return Ok(tally);
        }
    }
}

fn count(
    fetched: &Fetched,
    now_ns: u64,
    run: u64,
    tally: &mut Tally,
    codecs: &mut Codecs,
) -> Result<(), RecordError> {
    for batch in split(&fetched.batches) {
        let batch = batch?;
        if batch.header.is_control() {
            continue;
        }
        let (mut count, mut bytes) = (0, 0);
        for record in records(batch.bytes, INFLATED_BYTES_MAX, codecs)? {
            let record = record?;
            let value = record.value.unwrap_or_default();
            let Some(stamp) = Stamp::read(value, run) else {
                continue;
            };
            if record.offset < fetched.from {
                continue;
            }
            tally.latency(stamp.due_ns, now_ns, 1);
            count += 1;
            bytes += (value.len() + record.key.map_or(0, <[u8]>::len)) as u64;
        }
        tally.received(now_ns, count, bytes);
    }
    Ok(())
}

fn corrupt(fetched: &Fetched, error: &RecordError) -> ClientError {
    ClientError::Server {
        code: ErrorCode::CorruptMessage,
        about: format!(
            "partition {} from offset {}",
            fetched.partition, fetched.from
        ),
        message: Some(error.to_string()),
    }
}

fn stopped() -> ClientError {
    ClientError::Invalid("another worker has failed".to_owned())
}

/// How often the reader looks whether the run is over.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may come before the rest is called missing.
const PATIENCE: Duration = Duration::from_secs(3);
const INFLATED_BYTES_MAX: usize = 1 << 30;
