//! A blocking client of one connection: requests in, answers out, in order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ringlog::protocol::create_topics::{CreatableTopic, CreateTopicsRequest};
use ringlog::protocol::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ringlog::protocol::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use ringlog::protocol::init_producer_id::InitProducerIdRequest;
use ringlog::protocol::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};
use ringlog::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use ringlog::protocol::{Message, Reader, Records, Request, Writer, read_response, write_request};
use ringlog::types::{ProducerEpoch, ProducerId, Str};

const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const METADATA: i16 = 12;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;

pub struct Client {
    stream: TcpStream,
    correlation: i32,
    waiting: VecDeque<i32>,
}

fn bad(what: impl std::fmt::Debug) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what:?}"))
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Client {
            stream,
            correlation: 0,
            waiting: VecDeque::new(),
        })
    }

    /// Waits for answers as long as this.
    pub fn patient(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// Writes a request without waiting for its answer.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation += 1;
        let mut writer = Writer::new();
        write_request(
            &mut writer,
            version,
            self.correlation,
            Some(&Str::from("cluster-test")),
            request,
        );
        self.stream.write_all(writer.as_slice())?;
        self.waiting.push_back(self.correlation);
        Ok(())
    }

    /// Reads the answer to the oldest request that has none yet.
    pub fn receive<M: Message>(&mut self, version: i16) -> io::Result<M> {
        let wanted = self
            .waiting
            .pop_front()
            .ok_or_else(|| bad("nothing was asked"))?;
        let frame = read_frame(&mut self.stream)?;
        let (header, body) = read_response::<M>(Reader::new(frame), version).map_err(bad)?;
        if header.correlation_id != wanted {
            return Err(bad((
                "answered out of order",
                header.correlation_id,
                wanted,
            )));
        }
        Ok(body)
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        self.receive(version)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn api_versions(&mut self) -> io::Result<ApiVersionsResponse> {
        self.call(0, &ApiVersionsRequest::default())
    }

    /// Creates a topic and waits until every partition has a leader. Created already is good too.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = self.call(CREATE_TOPICS, &request)?;
        match answer.topics.first().map(|t| t.error_code) {
            Some(0 | 36) => self.led(name, partitions),
            other => Err(bad(("create", name, other))),
        }
    }

    pub fn delete_topic(&mut self, name: &str) -> io::Result<()> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name.into()),
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = self.call(DELETE_TOPICS, &request)?;
        match answer.responses.first().map(|t| t.error_code) {
            Some(0) => Ok(()),
            other => Err(bad(("delete", name, other))),
        }
    }

    /// Waits until every partition of a topic has a leader that serves it.
    pub fn led(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let topic = self.topic(name)?;
            let led = topic
                .partitions
                .iter()
                .filter(|p| p.leader_id >= 0 && p.error_code == 0)
                .count();
            let asked = (0..partitions).map(|p| Ok(self.fetch(name, p, 0, 1, 0)?.error_code));
            let codes: Vec<i16> = asked.collect::<io::Result<_>>()?;
            if topic.error_code == 0
                && led == partitions as usize
                && codes.iter().all(|code| *code == 0)
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(bad(("no leaders", topic, codes)));
            }
        }
    }

    pub fn topic(&mut self, name: &str) -> io::Result<MetadataResponseTopic> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let mut answer = self.call(METADATA, &request)?;
        answer
            .topics
            .pop()
            .ok_or_else(|| bad("no topic in the answer"))
    }

    pub fn producer_id(&mut self) -> io::Result<(ProducerId, ProducerEpoch)> {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = self.call(4, &request)?;
            if answer.error_code == 0 {
                return Ok((
                    ProducerId(answer.producer_id),
                    ProducerEpoch(answer.producer_epoch),
                ));
            }
            if Instant::now() > deadline {
                return Err(bad(("producer id", answer.error_code)));
            }
        }
    }

    /// Writes a Produce of one batch with acks=all, without waiting.
    pub fn send_batch(&mut self, topic: &str, partition: i32, batch: Bytes) -> io::Result<()> {
        let data = PartitionProduceData {
            index: partition,
            records: Some(Records::Bytes(batch)),
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![data],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.send(PRODUCE, &request)
    }

    /// The answer to the oldest Produce.
    pub fn receive_batch(&mut self) -> io::Result<PartitionProduceResponse> {
        let mut answer: ProduceResponse = self.receive(PRODUCE)?;
        let topic = answer.responses.pop();
        topic
            .and_then(|mut t| t.partition_responses.pop())
            .ok_or_else(|| bad("an empty answer"))
    }

    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> io::Result<PartitionProduceResponse> {
        self.send_batch(topic, partition, batch)?;
        self.receive_batch()
    }

    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes_max: i32,
        wait_ms: i32,
    ) -> io::Result<PartitionData> {
        let request = fetch_request(topic, partition, offset, bytes_max, wait_ms);
        let mut answer = self.call(FETCH, &request)?;
        let data = answer.responses.pop().and_then(|mut t| t.partitions.pop());
        data.ok_or_else(|| bad(("an empty answer", answer.error_code)))
    }
}

/// A Fetch of one partition, which is answered as soon as there is anything.
pub fn fetch_request(
    topic: &str,
    partition: i32,
    offset: i64,
    bytes_max: i32,
    wait_ms: i32,
) -> FetchRequest {
    let want = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: bytes_max,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![want],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The next frame without its length; refuses lengths that no answer of these tests has.
pub fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > 256 << 20 {
        return Err(bad(("a frame of", length)));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

/// The bytes of a request's frame, length included.
pub fn request_bytes<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::new();
    write_request(
        &mut writer,
        version,
        7,
        Some(&Str::from("cluster-test")),
        request,
    );
    writer.as_slice().to_vec()
}
