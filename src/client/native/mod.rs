//! The client of Ringlog's native wire: a [`NativeProducer`] that batches, lingers and is idempotent, a [`NativeConsumer`]
//! of assigned partitions that batches are pushed to, both on a [`NativeClient`] that knows which shard of which broker owns
//! a partition and connects to it there.
//!
//! Records are the same on both wires: what is written here is read by any Kafka client, and the other way round. Errors
//! are [`ClientError`](crate::client::ClientError), which tells apart what a caller can do about them.
//!
//! All of it is asynchronous, on one executor ([`rt::run_local`](crate::rt::run_local)), and allocates by the batch, never by
//! the record. A broker serves the wire on the listeners that its configuration names, and on none by default:
//! `listeners=PLAINTEXT://:9092,NATIVE://:9093` with `native.listener.names=NATIVE`. It is as open as the PLAINTEXT
//! listeners of Kafka's wire are: there is no authentication and no encryption yet.
//!
//! ```
//! use ringlog::client::native::{
//!     NativeClient, NativeConsumer, NativeConsumerOptions, NativeOptions, NativeProducer,
//!     NativeProducerOptions,
//! };
//! use ringlog::client::Place;
//! use ringlog::record::{Codecs, Header, records};
//! use ringlog::types::Timestamp;
//! # use ringlog::client::{Cluster, ClusterOptions, Mode, NewTopic};
//! # let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
//! # let (kafka, native) = (free(), free());
//! # let dir = tempfile::tempdir().unwrap();
//! # let overrides = [
//! #     format!("listeners=PLAINTEXT://127.0.0.1:{kafka},NATIVE://127.0.0.1:{native}"),
//! #     "native.listener.names=NATIVE".to_owned(),
//! #     format!("log.dirs={}", dir.path().display()),
//! # ];
//! # let (config, _) = ringlog::config::BrokerConfig::load(None, &overrides).unwrap();
//! # std::thread::spawn(move || ringlog::server::run(config));
//! # let kafka = format!("127.0.0.1:{kafka}");
//! # while std::net::TcpStream::connect(&kafka).is_err() {
//! #     std::thread::sleep(std::time::Duration::from_millis(10));
//! # }
//! let address = "127.0.0.1:9093".to_owned();
//! # let address = format!("127.0.0.1:{native}");
//! ringlog::rt::run_local(async move {
//! #   let cluster = Cluster::connect(&[kafka], ClusterOptions::default()).await?;
//! #   let topic = NewTopic { name: "orders".into(), partitions: Some(2), ..NewTopic::default() };
//! #   cluster.create_topic(&topic, Mode::Do).await?;
//!     let client = NativeClient::connect(&[address], NativeOptions::default()).await?;
//!
//!     let producer =
//!         NativeProducer::open(client.clone(), "orders", NativeProducerOptions::default()).await?;
//!     let headers = [Header { key: b"source", value: Some(b"till 7") }];
//!     for number in 0..1000u32 {
//!         producer.room().await?;
//!         let (time, value) = (Timestamp(1_700_000_000_000), number.to_be_bytes());
//!         producer.append(0, time, Some(b"key"), Some(&value), &headers)?;
//!     }
//!     assert_eq!(producer.flush().await?.records_acked, 1000);
//!
//!     let options = NativeConsumerOptions::default();
//!     let mut consumer =
//!         NativeConsumer::open(client, "orders", Some(&[0]), Place::Beginning, options).await?;
//!     let (mut codecs, mut seen) = (Codecs::new(), 0u32);
//!     while seen < 1000 {
//!         let fetched = consumer.poll().await?;
//!         for batch in fetched.visible() {
//!             for record in records(batch?.bytes, 1 << 20, &mut codecs)? {
//!                 let record = record?;
//!                 assert_eq!(record.value, Some(&seen.to_be_bytes()[..]));
//!                 assert!(record.headers.eq(headers));
//!                 seen += 1;
//!             }
//!         }
//!     }
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod connection;
mod consumer;
mod producer;
mod pump;
mod queue;
mod sender;

pub use client::{NativeClient, NativeOptions, NativePartition, NativeTopic, Steering};
pub use connection::{BatchStream, NativeConnection, NativeConnectionOptions, NativeReply};
pub use consumer::{NativeConsumer, NativeConsumerOptions};
pub use producer::{NativeProducer, NativeProducerOptions};
