//! What a run shall do.

use std::time::Duration;

use crate::client::{Acks, ClusterOptions};
use crate::record::Codec;

use super::observe::Observe;
use super::payload::{Keys, Stamp};

/// One workload, complete: nothing is asked of anyone after it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kafka's listeners: the topic is looked up, or created, there on either wire.
    pub bootstrap: Vec<String>,
    pub wire: Wire,
    pub cluster: ClusterOptions,
    /// Created if it does not exist.
    pub topic: String,
    /// Of a topic that is created; one that exists keeps its own.
    pub partitions: i32,
    pub pace: Pace,
    /// Before the measured part; what happens in it is not counted.
    pub warm_up: Duration,
    /// The measured part.
    pub duration: Duration,
    /// Executors that the producers are spread over, each a thread.
    pub threads: usize,
    pub producers: usize,
    /// Of each producer to each broker, or on the native wire to each of its shards.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub window: usize,
    pub record_bytes: usize,
    pub keys: Keys,
    pub acks: Acks,
    pub codec: Codec,
    pub batch_bytes: usize,
    pub linger: Duration,
    /// Batches of several partitions share a request up to this size.
    pub request_bytes: usize,
    pub seed: u64,
    pub consume: Consume,
    /// What is looked at, and done, beside the records.
    pub observe: Observe,
    /// Runs of the same label are repeats of one another to whoever compares.
    pub label: Option<String>,
}

/// What the records travel over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wire {
    Kafka,
    /// Ringlog's own.
    Native {
        /// Native listeners of the same brokers.
        bootstrap: Vec<String>,
    },
}

/// When records are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// Open loop: this many a second, all producers together, whatever the broker does; latency counts from when a
    /// record was due.
    Rate(f64),
    /// Closed loop: as fast as the windows allow; latency counts from when a request was submitted.
    Maximum,
}

/// Whether the records are read back while they are written, for the end-to-end latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consume {
    Yes,
    No,
}

impl Plan {
    /// What makes the plan impossible, for people.
    pub fn fault(&self) -> Option<String> {
        if self.consume == Consume::Yes && self.record_bytes < Stamp::BYTES {
            let least = Stamp::BYTES;
            return Some(format!(
                "records of {} bytes cannot carry the {least}-byte stamp of the end-to-end latency",
                self.record_bytes
            ));
        }
        for (what, count) in [
            ("threads", self.threads),
            ("producers", self.producers),
            ("connections", self.connections),
            ("window", self.window),
        ] {
            if count == 0 {
                return Some(format!("{what}: at least 1"));
            }
        }
        if self.threads > self.producers {
            return Some(format!(
                "{} threads for {} producers: a producer runs on one thread",
                self.threads, self.producers
            ));
        }
        self.observe.fault(self.duration)
    }
}

#[cfg(test)]
impl Plan {
    /// A small workload, for tests of what becomes of one.
    pub fn for_tests() -> Plan {
        Plan {
            bootstrap: vec!["127.0.0.1:9092".to_owned()],
            wire: Wire::Kafka,
            cluster: ClusterOptions::default(),
            topic: "load".to_owned(),
            partitions: 6,
            pace: Pace::Rate(10.0),
            warm_up: Duration::from_secs(1),
            duration: Duration::from_millis(4_500),
            threads: 1,
            producers: 1,
            connections: 1,
            window: 5,
            record_bytes: 100,
            keys: Keys::None,
            acks: Acks::All,
            codec: Codec::None,
            batch_bytes: 65_536,
            linger: Duration::from_millis(5),
            request_bytes: 1 << 20,
            seed: 1,
            consume: Consume::Yes,
            observe: Observe {
                interval: None,
                broker: super::observe::BrokerAt::Port,
                hooks: Vec::new(),
                hook_limit: Duration::from_secs(60),
            },
            label: None,
        }
    }
}
