//! Goal: the native wire reads and writes the same log as Kafka's, by the same rules, and survives a killed broker and
//! clients that mean harm.
//!
//! Method: a real broker with both listeners; the library's native client on one side and the little Kafka client of
//! these tests on the other; raw frames where a client would not send them.
mod clients;
mod frames;
mod harm;
mod limits;
mod load;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ringlog::client::native::{NativeClient, NativeConsumer, NativeOptions, Steering};
use ringlog::protocol::Records;
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, Producer, records, split};
use ringlog::rt;
use ringlog::types::Timestamp;
use ringlog::wire::*;

use crate::broker::{Broker, free_port};
use crate::wire::Client;

/// When the tests began. Not a fixed time: retention's first round deletes what is a week old, half a minute after a
/// broker's start.
pub static NOW: LazyLock<Timestamp> = LazyLock::new(|| {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    Timestamp(since.as_millis() as i64)
});

/// A broker of two shards with both wires.
pub struct Both {
    pub broker: Broker,
    pub native: SocketAddr,
}

impl Both {
    pub fn start(dir: &Path, overrides: &[&str]) -> Both {
        Both::at(free_port(), free_port(), dir, overrides)
    }

    pub fn at(port: u16, native: u16, dir: &Path, overrides: &[&str]) -> Both {
        let listeners =
            format!("listeners=PLAINTEXT://127.0.0.1:{port},NATIVE://127.0.0.1:{native}");
        let mut all = vec![listeners.as_str(), "native.listener.names=NATIVE"];
        all.extend(overrides);
        Both {
            broker: Broker::start_with(port, dir, &all),
            native: SocketAddr::from(([127, 0, 0, 1], native)),
        }
    }

    pub fn create(&self, topic: &str, partitions: i32) -> [u8; 16] {
        let mut client = self.broker.client();
        client.create_topic(topic, partitions).expect("set-up");
        client.topic(topic).expect("set-up").topic_id.0
    }

    pub fn raw(&self) -> Raw {
        let mut raw = Raw::connect(self.native);
        raw.greet(None);
        raw
    }
}

pub async fn native(address: SocketAddr, steering: Steering) -> Rc<NativeClient> {
    let options = NativeOptions {
        steering,
        ..NativeOptions::default()
    };
    NativeClient::connect(&[address.to_string()], options)
        .await
        .expect("a ready broker accepts")
}

pub fn batch(values: &[u64], producer: Option<Producer>, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    for value in values {
        let mut value = value.to_be_bytes().to_vec();
        value.resize(bytes.max(8), 7);
        builder.append(*NOW, None, Some(&value), &[]);
    }
    let seal = BatchSeal {
        producer,
        ..BatchSeal::default()
    };
    builder.build(&seal, &mut Codecs::new())
}

/// The numbers that the records of some batches begin with.
pub fn numbers(batches: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for batch in split(batches) {
        let batch = batch.expect("whole batches");
        let mut codecs = Codecs::new();
        for record in records(batch.bytes, 1 << 24, &mut codecs).expect("records") {
            let value = record.expect("a record").value.expect("a value");
            numbers.push(u64::from_be_bytes(value[..8].try_into().expect("8 bytes")));
        }
    }
    numbers
}

/// All numbers of a partition, read by the other wire.
pub fn kafka_numbers(client: &mut Client, topic: &str, partition: i32) -> Vec<u64> {
    let (mut all, mut offset) = (Vec::new(), 0);
    loop {
        let data = client
            .fetch(topic, partition, offset, 1 << 20, 0)
            .expect("served");
        assert_eq!(data.error_code, 0);
        let Some(Records::Bytes(bytes)) = data.records else {
            return all;
        };
        let mut next = offset;
        for batch in split(&bytes) {
            let batch = batch.expect("a batch");
            all.extend(numbers(batch.bytes));
            next = batch.header.next_offset().0;
        }
        if next == offset {
            return all;
        }
        offset = next;
    }
}

pub async fn read_numbers(consumer: &mut NativeConsumer, count: usize) -> Vec<(i32, u64)> {
    let mut all = Vec::new();
    while all.len() < count {
        let reading = rt::timeout(Duration::from_secs(20), consumer.poll());
        let reading = reading.await;
        let fetched =
            reading.unwrap_or_else(|_| panic!("nothing comes after {} of {count}", all.len()));
        let fetched = fetched.expect("it is served");
        let partition = fetched.partition;
        all.extend(
            numbers(&fetched.batches)
                .into_iter()
                .map(|n| (partition, n)),
        );
    }
    all
}

pub fn of_partition(all: &[(i32, u64)], partition: i32) -> Vec<u64> {
    let own = all.iter().filter(|(p, _)| *p == partition);
    own.map(|(_, number)| *number).collect()
}

/// A blocking native connection of raw frames.
pub struct Raw {
    pub stream: TcpStream,
    buffer: FrameBuffer,
}

pub const LIMITS: FrameLimits = FrameLimits {
    control_bytes_max: 16 << 20,
    body_bytes_max: 64 << 20,
};

pub fn hello(shard: Option<u16>) -> HelloV1 {
    HelloV1 {
        software: "test".into(),
        software_version: "0".into(),
        cluster_id: None,
        ranges: offer(Kind::CLIENT),
        authentication: None,
        shard,
        control_bytes_max: 16 << 20,
        body_bytes_max: 64 << 20,
    }
}

pub fn frame_bytes<M: Control>(correlation: u64, control: &M, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, correlation, control, body.len());
    bytes.extend_from_slice(body);
    bytes
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).expect("a ready broker accepts");
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("a socket option");
        stream.set_write_timeout(patience).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        Raw::over(stream)
    }

    pub fn over(stream: TcpStream) -> Raw {
        Raw {
            stream,
            buffer: FrameBuffer::new(LIMITS),
        }
    }

    pub fn greet(&mut self, shard: Option<u16>) -> WelcomeV1 {
        self.send(1, &hello(shard), b"");
        let frame = self.receive().expect("a Welcome");
        assert_eq!(frame.correlation, 1);
        frame.read_owned().expect("a Welcome")
    }

    pub fn send<M: Control>(&mut self, correlation: u64, control: &M, body: &[u8]) {
        let bytes = frame_bytes(correlation, control, body);
        self.stream.write_all(&bytes).expect("the broker reads");
    }

    /// `None`: the broker has closed the connection.
    pub fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.buffer.next_frame().expect("the broker sends frames") {
                return Some(frame);
            }
            let (input, limit) = self.buffer.read_buffer();
            let mut bytes = [0; 64 << 10];
            let room = limit.min(input.capacity() - input.len()).min(bytes.len());
            match self.stream.read(&mut bytes[..room]) {
                Ok(0) => return None,
                Ok(count) => input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("no frame comes: {error}"),
            }
        }
    }

    pub fn is_silent(&mut self, time: Duration) -> bool {
        assert!(self.buffer.input().is_empty());
        self.stream
            .set_read_timeout(Some(time))
            .expect("a socket option");
        let read = self.stream.read(&mut [0]);
        let patience = Some(Duration::from_secs(10));
        self.stream
            .set_read_timeout(patience)
            .expect("a socket option");
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    pub fn error(&mut self) -> (u64, ErrorV1) {
        let frame = self.receive().expect("an Error");
        let error = frame.read_owned::<ErrorV1>().expect("an Error");
        (frame.correlation, error)
    }

    pub fn produce(&mut self, topic_id: [u8; 16], batches: &[(i32, Bytes)]) -> Vec<ProducedV1> {
        let rows = batches.iter().map(|(partition, batch)| ProduceBatchV1 {
            topic_id,
            partition: *partition,
            bytes: batch.len() as u32,
        });
        let request = ProduceRequestV1 {
            acks: -1,
            timeout_ms: 30_000,
            batches: rows.collect(),
        };
        let body: Vec<u8> = batches
            .iter()
            .flat_map(|(_, batch)| batch.to_vec())
            .collect();
        self.send(77, &request, &body);
        let frame = self.receive().expect("an answer");
        assert_eq!(frame.correlation, 77);
        let answer = frame.read_owned::<ProduceResponseV1>();
        answer.expect("an answer").batches
    }
}

pub fn subscribe(topic_id: [u8; 16], credit_bytes: u64, offsets: &[i64]) -> SubscribeV1 {
    let partitions = offsets
        .iter()
        .zip(0..)
        .map(|(offset, partition)| SubscribedV1 {
            topic_id,
            partition,
            offset: *offset,
            leader_epoch: -1,
        });
    SubscribeV1 {
        isolation: 0,
        credit_bytes,
        max_bytes: 1 << 20,
        partitions: partitions.collect(),
    }
}
