//! The scripted brokers by the native wire.

use std::collections::HashSet;

use ringlog::wire::*;

use super::*;
use crate::native::{LIMITS, Raw, frame_bytes};

const TOPIC_ID: [u8; 16] = [7; 16];

/// A connection's way out, and the streams on it that were given up.
#[derive(Clone)]
struct Out {
    stream: Arc<Mutex<TcpStream>>,
    ended: Arc<Mutex<HashSet<u64>>>,
}

impl Out {
    fn send<M: Control>(&self, correlation: u64, control: &M, body: &[u8]) -> io::Result<()> {
        let bytes = frame_bytes(correlation, control, body);
        let mut stream = self.stream.lock().expect("no writer panicked");
        stream.write_all(&bytes)
    }
}

pub(super) fn talk(node: usize, stream: TcpStream, world: &Arc<Mutex<World>>) {
    let out = Out {
        stream: Arc::new(Mutex::new(stream.try_clone().expect("a descriptor"))),
        ended: Arc::default(),
    };
    let mut raw = Raw::over(stream);
    while let Some(frame) = raw.receive() {
        if answer(node, &frame, &out, world).is_err() {
            break;
        }
    }
}

fn answer(node: usize, frame: &Frame, out: &Out, world: &Arc<Mutex<World>>) -> io::Result<()> {
    let correlation = frame.correlation;
    match Kind::from_u16(frame.kind).expect("a kind that was offered") {
        Kind::Hello => out.send(correlation, &welcome(node), b""),
        Kind::MetadataRequest => {
            let request: MetadataRequestV1 = owned(frame);
            out.send(correlation, &lock(world).told(node, &request), b"")
        }
        Kind::ProducerIdsRequest => {
            let mut world = lock(world);
            world.producers += 1;
            let ids = vec![world.producers];
            out.send(correlation, &ProducerIdsResponseV1 { error: 0, ids }, b"")
        }
        Kind::OffsetsRequest => {
            let request: OffsetsRequestV1 = owned(frame);
            out.send(correlation, &lock(world).found(node, &request), b"")
        }
        Kind::ProduceRequest => {
            thread::sleep(Duration::from_millis(1));
            let request: ProduceRequestV1 = owned(frame);
            out.send(
                correlation,
                &lock(world).produced(node, &request, &frame.body),
                b"",
            )
        }
        Kind::Subscribe => {
            let (out, world) = (out.clone(), world.clone());
            let request: SubscribeV1 = owned(frame);
            // It ends with its connection.
            thread::spawn(move || push(node, correlation, &request, &out, &world));
            Ok(())
        }
        // A test reads less than its first credits.
        Kind::Credits => Ok(()),
        Kind::Unsubscribe => {
            let stream = owned::<UnsubscribeV1>(frame).stream;
            out.ended.lock().expect("no writer panicked").insert(stream);
            Ok(())
        }
        other => panic!("{other:?} is not for a broker"),
    }
}

fn owned<M: Control>(frame: &Frame) -> M {
    frame.read_owned().expect("a request of our own client")
}

fn welcome(node: usize) -> WelcomeV1 {
    WelcomeV1 {
        software: "scripted".into(),
        software_version: "0".into(),
        cluster_id: "scripted".into(),
        node_id: node as i32 + 1,
        shard: 0,
        shards_count: 1,
        ranges: offer(Kind::CLIENT),
        control_bytes_max: LIMITS.control_bytes_max as u32,
        body_bytes_max: LIMITS.body_bytes_max as u32,
    }
}

/// Pushes what its partitions have and get, until it is given up or nothing is left of it.
fn push(
    node: usize,
    stream: u64,
    request: &SubscribeV1,
    out: &Out,
    world: &Mutex<World>,
) -> io::Result<()> {
    let is_ended = || {
        out.ended
            .lock()
            .expect("no writer panicked")
            .contains(&stream)
    };
    let offsets = request.partitions.iter().map(|asked| Some(asked.offset));
    let mut next: Vec<Option<i64>> = offsets.collect();
    while next.iter().any(Option::is_some) && !is_ended() {
        for (index, place) in next.iter_mut().enumerate() {
            let Some(from) = *place else { continue };
            let partition = request.partitions[index].partition;
            let data = lock(world).fetch(node, partition, from);
            let Some(Records::Bytes(bytes)) = data.records else {
                unreachable!("a fetch has records");
            };
            let last = split(&bytes).last();
            *place = match (data.error_code, last) {
                (0, None) => continue,
                (0, Some(batch)) => Some(batch.expect("a whole one").header.next_offset().0),
                _ => None,
            };
            let batches = BatchesV1 {
                index: index as u32,
                error: data.error_code,
                high_watermark: data.high_watermark,
                last_stable_offset: data.high_watermark,
                log_start: 0,
                aborted: Vec::new(),
            };
            out.send(stream, &batches, &bytes)?;
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

impl World {
    fn told(&self, node: usize, request: &MetadataRequestV1) -> MetadataResponseV1 {
        let alive: Vec<usize> = (0..2).filter(|node| !self.is_gone[*node]).collect();
        let endpoints = alive.iter().map(|&node| EndpointV1 {
            node_id: node as i32 + 1,
            host: "127.0.0.1".into(),
            port: self.native_ports[node],
            rack: None,
        });
        let partitions = self.leaders.iter().map(|&leader| {
            let endpoint = alive.iter().position(|&node| node as i32 + 1 == leader);
            PartitionV1 {
                error: 0,
                leader,
                leader_epoch: self.epoch,
                endpoint: endpoint.map_or(UNKNOWN_ENDPOINT, |place| place as u32),
                shard: match leader == node as i32 + 1 {
                    true => 0,
                    false => UNKNOWN_SHARD,
                },
            }
        });
        let asked = request.topics.iter().flatten();
        let topics = asked.map(|name| {
            let is_ours = *name == self.topic;
            TopicV1 {
                error: match is_ours {
                    true => 0,
                    false => ErrorCode::UnknownTopicOrPartition.code(),
                },
                name: name.clone(),
                id: TOPIC_ID,
                is_internal: false,
                partitions: partitions.clone().filter(|_| is_ours).collect(),
            }
        });
        MetadataResponseV1 {
            endpoints: endpoints.collect(),
            topics: topics.collect(),
        }
    }

    fn found(&mut self, node: usize, request: &OffsetsRequestV1) -> OffsetsResponseV1 {
        let rows = request.partitions.iter().map(|asked| {
            let end = self.logs[asked.partition as usize].next;
            FoundOffsetV1 {
                error: self.leads(node, asked.partition),
                offset: if asked.timestamp == -2 { 0 } else { end },
                timestamp: -1,
                leader_epoch: self.epoch,
            }
        });
        OffsetsResponseV1 {
            partitions: rows.collect(),
        }
    }

    fn produced(
        &mut self,
        node: usize,
        request: &ProduceRequestV1,
        body: &Bytes,
    ) -> ProduceResponseV1 {
        let mut at = 0;
        let rows = request.batches.iter().map(|batch| {
            let bytes = body.slice(at..at + batch.bytes as usize);
            at += batch.bytes as usize;
            let row = self.append(node, batch.partition, &bytes);
            ProducedV1 {
                error: row.error_code,
                base_offset: row.base_offset,
                append_time: -1,
                log_start: 0,
                message: None,
            }
        });
        ProduceResponseV1 {
            batches: rows.collect(),
        }
    }
}
