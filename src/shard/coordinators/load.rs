//! Loading: a coordinator's partition is read from its start, and every record is applied as it was when it was new.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::super::replica::Replica;
use super::coordinator::{Coordinator, Core, Hook, Replayed};
use crate::record::{EndMarker, RawBatch, RecordError, records, split};
use crate::rt::{self, Queue};
use crate::storage::ReadError;
use crate::types::Offset;

/// Bytes read at a time; between two reads others get their turn.
const READ_BYTES: usize = 1 << 20;
/// A batch of ours is not compressed, or by little; one that inflates past this is not ours.
const INFLATED_BYTES_MAX: usize = 256 << 20;
/// A log that cannot be read so many times leaves its coordinator without its state: it stays away.
const ATTEMPTS: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a log was not read to its end.
enum LoadError {
    Read(ReadError),
    Record(RecordError),
    /// A read that brought no whole batch.
    Nothing(Offset),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read(error) => write!(f, "{error:?}"),
            LoadError::Record(error) => write!(f, "{error}"),
            LoadError::Nothing(offset) => write!(f, "no whole batch at offset {offset}"),
        }
    }
}

impl<C: Core> Coordinator<C> {
    /// Loads in the background; requests are told COORDINATOR_LOAD_IN_PROGRESS meanwhile.
    pub(super) fn begin_loading(self: &Rc<Self>, after: Duration) {
        let coordinator = self.clone();
        rt::spawn(Queue::Net, "coordinator load", async move {
            if !after.is_zero() {
                rt::sleep(after).await;
            }
            coordinator.load().await;
        });
    }

    async fn load(self: Rc<Self>) {
        let place = format!("{}-{}", C::TOPIC.name(), self.partition);
        for _ in 0..ATTEMPTS {
            if !self.is_loading() {
                return;
            }
            let began = self.shard.clock.now();
            match self.replay().await {
                Ok(()) => {
                    let took = self.shard.clock.now().since(began);
                    self.shard.metrics.coordinator_load_time.record(took);
                    return;
                }
                Err(error) => tracing::error!("{place}: its state is not loaded: {error}"),
            }
            rt::sleep(RETRY_AFTER).await;
        }
        self.close();
    }

    /// Applies the log to a fresh core and installs it, when there is nothing more to apply.
    async fn replay(self: &Rc<Self>) -> Result<(), LoadError> {
        let replica = &self.replica;
        let (mut offset, epoch) = {
            let core = replica.core();
            (core.log_start(), core.leader_epoch())
        };
        let mut core = C::new(self.partition, epoch);
        let mut buffer = Vec::new();
        let mut strange = 0u64;
        // A marker may be appended meanwhile, so the end is looked at again before each read, and no await lies between
        // the last look and the installation.
        while offset < end_of(replica) {
            let read = replica
                .log
                .read(offset, end_of(replica), READ_BYTES, true)
                .await;
            let read = read.map_err(LoadError::Read)?;
            buffer.clear();
            read.slices
                .iter()
                .for_each(|slice| buffer.extend_from_slice(slice));
            drop(read);
            // Texts and values are slices of this chunk until the core has made its own.
            let chunk = Bytes::from(std::mem::take(&mut buffer));
            let before = offset;
            for batch in split(&chunk) {
                let batch = batch.map_err(LoadError::Record)?;
                strange += self.replay_batch(&mut core, &chunk, &batch, offset)?;
                offset = batch.header.next_offset();
            }
            if offset == before {
                return Err(LoadError::Nothing(offset));
            }
            buffer = chunk.try_into_mut().map(Vec::from).unwrap_or_default();
            rt::yield_if_needed().await;
        }
        if strange > 0 {
            let (topic, partition) = (C::TOPIC.name(), self.partition);
            tracing::warn!(
                "{topic}-{partition}: {strange} records are of no known kind and were passed over"
            );
        }
        if self.is_loading() {
            self.on_loaded(core);
        }
        Ok(())
    }

    /// Applies one batch. Returns how many of its records the core does not know.
    fn replay_batch(
        &self,
        core: &mut C,
        chunk: &Bytes,
        batch: &RawBatch<'_>,
        from: Offset,
    ) -> Result<u64, LoadError> {
        let header = batch.header;
        let producer = (header.producer_id(), header.producer_epoch());
        let codecs = &mut *self.shard.codecs.borrow_mut();
        if header.is_control() {
            if let Some(marker) = EndMarker::of(batch.bytes, codecs) {
                core.on_marker(producer.0, producer.1, marker.committed);
            }
            return Ok(0);
        }
        let mut strange = 0;
        for record in records(batch.bytes, INFLATED_BYTES_MAX, codecs).map_err(LoadError::Record)? {
            let record = record.map_err(LoadError::Record)?;
            let Some(key) = record.key.filter(|_| record.offset >= from) else {
                continue;
            };
            let replayed = Replayed {
                key: shared(chunk, key),
                value: record.value.map(|value| shared(chunk, value)),
                producer: header.is_transactional().then_some(producer),
            };
            strange += u64::from(core.replay(replayed).is_err());
        }
        Ok(strange)
    }
}

/// A part of `chunk` without a copy; what was inflated lies elsewhere and is copied.
fn shared(chunk: &Bytes, part: &[u8]) -> Bytes {
    match chunk.as_ptr_range().contains(&part.as_ptr()) {
        true => chunk.slice_ref(part),
        false => Bytes::copy_from_slice(part),
    }
}

fn end_of(replica: &Replica) -> Offset {
    replica.core().log_end()
}
