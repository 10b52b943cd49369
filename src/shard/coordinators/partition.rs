//! A partition whose log holds a coordinator's state: what it tells the coordinator, and what it takes from it.

use std::rc::Rc;

use bytes::Bytes;

use super::super::Shard;
use super::super::append;
use super::super::replica::{Replica, append_failed};
use super::Hook;
use crate::protocol::ErrorCode;
use crate::storage::Stamps;

impl Replica {
    /// Names the coordinator whose state this partition holds.
    pub(super) fn hook(&self, coordinator: Rc<dyn Hook>) {
        self.coordinator.replace(Some(coordinator));
    }

    /// The coordinator whose state this partition holds.
    pub(in crate::shard) fn hooked(&self) -> Option<Rc<dyn Hook>> {
        self.coordinator.borrow().clone()
    }

    /// Appends a batch that a coordinator of this shard has made, in this turn. It is committed when the high watermark
    /// has passed it.
    ///
    /// - `records`: one well formed batch; it is held against no client's limits.
    /// - `Err`: nothing was appended.
    pub(super) fn append_own(&self, shard: &Shard, records: Bytes) -> Result<(), ErrorCode> {
        let now = shard.clock.wall();
        let (batch, facts) = append::own(shard, records);
        let stamps = {
            let core = self.core();
            if core.is_offline() || self.is_deleted() {
                return Err(ErrorCode::KafkaStorageError);
            }
            Stamps {
                base_offset: core.log_end(),
                epoch: core.leader_epoch(),
                restamp: None,
            }
        };
        let appended = self.log.append_stamped(&batch, stamps, now);
        appended.map_err(|error| append_failed(error).error)?;
        self.core_mut().on_appended(&facts, now);
        self.count_appended(batch.size());
        Ok(())
    }
}
