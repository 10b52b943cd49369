//! Two scripted brokers that share one topic in memory: leaders move between them, and one may go away, when a test says
//! so. They speak both wires, and hold a producer's sequences as Kafka's do, so that an order that is lost is refused.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringlog::protocol::api_versions::{ApiVersion, ApiVersionsResponse};
use ringlog::protocol::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ringlog::protocol::init_producer_id::InitProducerIdResponse;
use ringlog::protocol::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ringlog::protocol::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ringlog::protocol::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use ringlog::protocol::{
    ApiKey, ErrorCode, Message, Reader, Records, Request, RequestHeader, Writer, write_response,
};
use ringlog::record::split;

use crate::wire::read_frame;

#[path = "scripted_native.rs"]
mod native;

/// Both brokers, numbered 1 and 2.
pub struct Scripted {
    world: Arc<Mutex<World>>,
}

pub struct World {
    topic: String,
    ports: [u16; 2],
    native_ports: [u16; 2],
    is_gone: [bool; 2],
    /// By partition; −1: nobody.
    pub leaders: Vec<i32>,
    epoch: i32,
    logs: Vec<Log>,
    /// Produce and Fetch rows answered with NOT_LEADER_OR_FOLLOWER.
    pub refused: [usize; 2],
    /// Records appended by each broker.
    pub appended: [u64; 2],
    connections: [Vec<TcpStream>; 2],
    producers: i64,
}

#[derive(Default)]
struct Log {
    batches: Vec<(i64, Vec<u8>)>,
    next: i64,
    /// By producer id.
    sequences: HashMap<i64, i32>,
}

impl Scripted {
    /// The topic's partitions are led by 1 and 2 in turn.
    pub fn start(topic: &str, partitions: usize) -> Scripted {
        let bind = || [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let port = |of: &TcpListener| of.local_addr().expect("it is bound").port();
        let (listeners, natives) = (bind(), bind());
        let world = Arc::new(Mutex::new(World {
            topic: topic.to_owned(),
            ports: listeners.each_ref().map(port),
            native_ports: natives.each_ref().map(port),
            is_gone: [false; 2],
            leaders: (0..partitions as i32).map(|index| 1 + index % 2).collect(),
            epoch: 0,
            logs: (0..partitions).map(|_| Log::default()).collect(),
            refused: [0; 2],
            appended: [0; 2],
            connections: Default::default(),
            producers: 100,
        }));
        for (listeners, talk) in [(listeners, kafka as Talk), (natives, native::talk as Talk)] {
            for (node, listener) in listeners.into_iter().enumerate() {
                let world = world.clone();
                thread::spawn(move || accept(node, &listener, &world, talk));
            }
        }
        Scripted { world }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no broker panicked")
    }

    /// `HOST:PORT` of both.
    pub fn bootstrap(&self) -> String {
        addresses(self.world().ports)
    }

    /// The same of their native listeners.
    pub fn native_bootstrap(&self) -> String {
        addresses(self.world().native_ports)
    }

    /// Of broker 1 or 2.
    pub fn address(&self, node: i32) -> SocketAddr {
        let port = self.world().ports[node as usize - 1];
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Waits until `records` were appended in all.
    pub fn wait_for(&self, records: u64) {
        for _ in 0..2000 {
            if self.world().appended.iter().sum::<u64>() >= records {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{records} records did not come");
    }
}

impl World {
    pub fn lead(&mut self, partition: usize, node: i32) {
        self.leaders[partition] = node;
        self.epoch += 1;
    }

    /// Broker 1 or 2 closes everything and takes nothing more.
    pub fn kill(&mut self, node: i32) {
        let at = node as usize - 1;
        self.is_gone[at] = true;
        for connection in self.connections[at].drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    fn leads(&mut self, node: usize, partition: i32) -> i16 {
        let leader = self.leaders.get(partition as usize);
        if leader == Some(&(node as i32 + 1)) {
            return 0;
        }
        self.refused[node] += 1;
        ErrorCode::NotLeaderOrFollower.code()
    }

    fn append(&mut self, node: usize, partition: i32, bytes: &Bytes) -> PartitionProduceResponse {
        let mut row = PartitionProduceResponse {
            index: partition,
            error_code: self.leads(node, partition),
            base_offset: -1,
            ..Default::default()
        };
        if row.error_code != 0 {
            return row;
        }
        let batch = split(bytes).next().expect("a batch").expect("a whole one");
        let (producer, count) = (batch.header.producer_id().0, batch.header.count());
        let log = &mut self.logs[partition as usize];
        if producer >= 0 {
            let wanted = log.sequences.entry(producer).or_insert(0);
            let found = batch.header.base_sequence();
            row.error_code = match found.cmp(wanted) {
                std::cmp::Ordering::Less => ErrorCode::DuplicateSequenceNumber.code(),
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => ErrorCode::OutOfOrderSequenceNumber.code(),
            };
            if row.error_code != 0 {
                return row;
            }
            *wanted += count;
        }
        // The base offset is not under the checksum.
        let mut own = batch.bytes.to_vec();
        own[..8].copy_from_slice(&log.next.to_be_bytes());
        row.base_offset = log.next;
        log.next += i64::from(count);
        log.batches.push((log.next, own));
        self.appended[node] += count as u64;
        row
    }

    fn fetch(&mut self, node: usize, partition: i32, from: i64) -> PartitionData {
        let error_code = self.leads(node, partition);
        let mut data = PartitionData {
            partition_index: partition,
            error_code,
            high_watermark: -1,
            records: Some(Records::Bytes(Bytes::new())),
            ..Default::default()
        };
        if error_code == 0 {
            let log = &self.logs[partition as usize];
            let first = log.batches.partition_point(|(next, _)| *next <= from);
            let batches = log.batches[first..].iter().take(FETCH_BATCHES);
            let bytes: Vec<u8> = batches.flat_map(|(_, bytes)| bytes.clone()).collect();
            data.high_watermark = log.next;
            data.records = Some(Records::Bytes(bytes.into()));
        }
        data
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let alive = (0..2).filter(|node| !self.is_gone[*node]);
        let brokers = alive.map(|node| MetadataResponseBroker {
            node_id: node as i32 + 1,
            host: "127.0.0.1".into(),
            port: i32::from(self.ports[node]),
            rack: None,
        });
        let partitions = self.leaders.iter().enumerate();
        let partitions = partitions.map(|(index, leader)| MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: *leader,
            leader_epoch: self.epoch,
            replica_nodes: vec![1, 2],
            isr_nodes: vec![1, 2],
            ..Default::default()
        });
        let asked = request.topics.iter().flatten();
        let topics = asked.map(|asked| {
            let is_ours = asked.name.as_deref() == Some(self.topic.as_str());
            MetadataResponseTopic {
                error_code: match is_ours {
                    true => 0,
                    false => ErrorCode::UnknownTopicOrPartition.code(),
                },
                name: asked.name.clone(),
                partitions: match is_ours {
                    true => partitions.clone().collect(),
                    false => Vec::new(),
                },
                ..Default::default()
            }
        });
        MetadataResponse {
            brokers: brokers.collect(),
            controller_id: 2,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn offsets(&mut self, node: usize, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let rows = topic.partitions.iter().map(|asked| {
                let index = asked.partition_index;
                let error_code = self.leads(node, index);
                let next = self.logs[index as usize].next;
                ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code,
                    offset: if asked.timestamp == -2 { 0 } else { next },
                    ..Default::default()
                }
            });
            ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: rows.collect(),
            }
        });
        ListOffsetsResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }
}

fn addresses(ports: [u16; 2]) -> String {
    format!("127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1])
}

/// Serves one connection to its end.
type Talk = fn(usize, TcpStream, &Arc<Mutex<World>>);

fn accept(node: usize, listener: &TcpListener, world: &Arc<Mutex<World>>, talk: Talk) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut state = world.lock().expect("no broker panicked");
        if state.is_gone[node] {
            continue;
        }
        let handle = stream.try_clone().expect("a descriptor");
        state.connections[node].push(handle);
        let world = world.clone();
        // It ends with its connection.
        thread::spawn(move || talk(node, stream, &world));
    }
}

fn kafka(node: usize, mut stream: TcpStream, world: &Arc<Mutex<World>>) {
    while serve(node, &mut stream, world).is_ok() {}
}

/// Answers one request.
fn serve(node: usize, stream: &mut TcpStream, world: &Mutex<World>) -> io::Result<()> {
    let frame = read_frame(stream)?;
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).expect("a header");
    let key = ApiKey::from_i16(header.api_key).expect("an API that was offered");
    let answer = match key {
        ApiKey::ApiVersions => respond(&header, &versions()),
        ApiKey::Metadata => {
            let request = decode::<MetadataRequest>(&mut reader, &header);
            respond(&header, &lock(world).metadata(&request))
        }
        ApiKey::ListOffsets => {
            let request = decode::<ListOffsetsRequest>(&mut reader, &header);
            respond(&header, &lock(world).offsets(node, &request))
        }
        ApiKey::InitProducerId => {
            let mut world = lock(world);
            world.producers += 1;
            let answer = InitProducerIdResponse {
                producer_id: world.producers,
                ..Default::default()
            };
            respond(&header, &answer)
        }
        ApiKey::Produce => {
            let request = decode::<ProduceRequest>(&mut reader, &header);
            respond(&header, &produce(node, &request, world))
        }
        ApiKey::Fetch => {
            let request = decode::<FetchRequest>(&mut reader, &header);
            respond(&header, &fetch(node, &request, world))
        }
        other => panic!("{other:?} was not offered"),
    };
    stream.write_all(answer.as_slice())
}

fn produce(node: usize, request: &ProduceRequest, world: &Mutex<World>) -> ProduceResponse {
    // As slow as a broker may be: a closed loop fills no memory in a test.
    thread::sleep(Duration::from_millis(1));
    let mut world = lock(world);
    let responses = request.topic_data.iter().map(|topic| {
        let rows = topic.partition_data.iter().map(|data| {
            let Some(Records::Bytes(bytes)) = &data.records else {
                panic!("a request without records");
            };
            world.append(node, data.index, bytes)
        });
        TopicProduceResponse {
            name: topic.name.clone(),
            partition_responses: rows.collect(),
            ..Default::default()
        }
    });
    ProduceResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn fetch(node: usize, request: &FetchRequest, world: &Mutex<World>) -> FetchResponse {
    // A long poll in short: what is not there in a moment is asked for again.
    for _ in 0..5 {
        let answer = fetched(node, request, &mut lock(world));
        let mut rows = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let is_something = |row: &PartitionData| {
            row.error_code != 0 || row.records.as_ref().is_some_and(|r| !r.is_empty())
        };
        if rows.any(is_something) {
            return answer;
        }
        thread::sleep(Duration::from_millis(5));
    }
    fetched(node, request, &mut lock(world))
}

fn fetched(node: usize, request: &FetchRequest, world: &mut World) -> FetchResponse {
    let responses = request.topics.iter().map(|topic| {
        let rows = topic.partitions.iter();
        let rows = rows.map(|asked| world.fetch(node, asked.partition, asked.fetch_offset));
        FetchableTopicResponse {
            topic: topic.topic.clone(),
            partitions: rows.collect(),
            ..Default::default()
        }
    });
    FetchResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn versions() -> ApiVersionsResponse {
    let apis = [
        (ApiKey::Produce, 9),
        (ApiKey::Fetch, 12),
        (ApiKey::ListOffsets, 7),
        (ApiKey::Metadata, 9),
        (ApiKey::ApiVersions, 4),
        (ApiKey::InitProducerId, 4),
    ];
    let rows = apis.map(|(api, version)| ApiVersion {
        api_key: api.code(),
        min_version: version.min(*api.versions().end()),
        max_version: version,
    });
    ApiVersionsResponse {
        api_keys: rows.to_vec(),
        ..Default::default()
    }
}

fn decode<R: Request>(reader: &mut Reader, header: &RequestHeader) -> R {
    R::decode(reader, header.api_version).expect("a request of our own client")
}

fn respond<M: Message>(header: &RequestHeader, body: &M) -> Writer {
    let mut writer = Writer::new();
    write_response(&mut writer, header.api_version, header.correlation_id, body);
    writer
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().expect("no broker panicked")
}

/// A fetch answers so many at most.
const FETCH_BATCHES: usize = 256;
