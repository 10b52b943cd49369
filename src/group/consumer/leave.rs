//! Members go: by themselves, for a while, or because their time is up; and a group without members of the consumer
//! protocol goes back to the classic one.

use std::collections::BTreeSet;

use super::group::{Change, ConsumerGroup, EPOCH_AWAY, MemberTimer, Refused, Settings, Work};
use super::reconcile::{Current, MemberState, Owned};
use super::topics::group_hash;
use crate::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::protocol::group_records::GroupMetadataValue;
use crate::types::Str;

/// What becomes of a group when members have gone.
#[derive(Clone, PartialEq, Debug)]
pub enum Fate {
    Stays,
    /// Only classic members are left: this is their classic group (KIP-848, "Downgrade"). The consumer group's
    /// tombstones are among the changes already.
    Downgraded(GroupMetadataValue, Rebalance),
}

/// Whether a group that was downgraded has to assign anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rebalance {
    /// A member has gone, or the target is older than the subscriptions.
    Needed,
    /// Its classic members have, or get, just what the target says.
    Spared,
}

impl ConsumerGroup {
    /// A member leaves for good (−1) or, with an instance id, for a while (−2).
    pub fn leave(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        work: &mut Work<'_>,
    ) -> Result<(ConsumerGroupHeartbeatResponse, Fate), Refused> {
        let id = &request.member_id;
        match &request.instance_id {
            Some(instance) => drop(self.owner_of(id, instance)?),
            None if self.members.contains_key(id) => {}
            None => return Err(self.unknown(id, &request.group_id)),
        }
        let fate = match request.member_epoch {
            EPOCH_AWAY => {
                self.goes_away(id, work);
                Fate::Stays
            }
            _ => self.fence(std::slice::from_ref(id), work),
        };
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        Ok((response, fate))
    }

    /// A static member keeps its place, and what it had, until its session ends.
    fn goes_away(&mut self, id: &Str, work: &mut Work<'_>) {
        let current = &self.members[id].current;
        let away = Current {
            epoch: EPOCH_AWAY,
            previous_epoch: current.epoch,
            revoking: Owned::new(),
            ..current.clone()
        };
        self.write(work, Change::Current(id.clone(), Some(away)));
        work.cancel(id, MemberTimer::Rebalance);
    }

    /// Takes members out, whoever wants it, and begins a new epoch or makes the group a classic one.
    pub fn fence(&mut self, ids: &[Str], work: &mut Work<'_>) -> Fate {
        let gone: BTreeSet<&Str> = ids.iter().collect();
        if self.would_downgrade(&gone, work.settings) {
            return self.downgrade(&gone, Rebalance::Needed, work);
        }
        for id in ids {
            self.take_away(id, work);
        }
        let used = |regex: &Str| {
            let mut members = self.members.values();
            members.any(|member| member.profile.regex == *regex)
        };
        let unused: Vec<Str> = self.regexes.keys().filter(|r| !used(r)).cloned().collect();
        for regex in unused {
            self.write(work, Change::Regex(regex, None));
        }
        let hash = group_hash(&self.topic_names(), work.image);
        let epoch = self.epoch.saturating_add(1);
        self.write(work, Change::Epoch(Some((epoch, hash))));
        Fate::Stays
    }

    /// Whether the group is a classic one but for `gone`, and may become it.
    pub(super) fn would_downgrade(&self, gone: &BTreeSet<&Str>, settings: &Settings) -> bool {
        let mut rest = self.members.iter().filter(|(id, _)| !gone.contains(id));
        let size = self.members.len() - gone.len();
        settings.downgrade
            && size > 0
            && size <= settings.classic_size_max
            && rest.all(|(_, member)| member.profile.classic.is_some())
    }

    /// Ends the consumer group without `gone`, and makes the record of its classic successor.
    pub(super) fn downgrade(
        &mut self,
        gone: &BTreeSet<&Str>,
        rebalance: Rebalance,
        work: &mut Work<'_>,
    ) -> Fate {
        let value = self.as_classic(gone, work);
        for id in self.members.keys() {
            work.cancel_all(id);
        }
        for change in self.tombstone_changes() {
            self.write(work, change);
        }
        Fate::Downgraded(value, rebalance)
    }

    /// A deadline of a member has come. Whether it still means something is seen from the group.
    pub fn on_timer(&mut self, id: &Str, timer: MemberTimer, work: &mut Work<'_>) -> Fate {
        let Some(member) = self.members.get(id) else {
            return Fate::Stays;
        };
        let over = match timer {
            MemberTimer::Session | MemberTimer::Join => true,
            MemberTimer::Rebalance => member.current.state == MemberState::UnrevokedPartitions,
        };
        match over {
            true => self.fence(std::slice::from_ref(id), work),
            false => Fate::Stays,
        }
    }

    /// The group was loaded: everybody's session begins anew, and the metadata may have moved.
    pub fn on_loaded(&mut self, work: &mut Work<'_>) {
        self.stale = true;
        for (id, member) in &self.members {
            let timeout = u64::try_from(member.profile.rebalance_timeout_ms).unwrap_or(0);
            match &member.profile.classic {
                Some(classic) => {
                    let session = u64::try_from(classic.session_timeout_ms).unwrap_or(0);
                    work.set(id, MemberTimer::Session, session);
                }
                None => {
                    work.set(id, MemberTimer::Session, work.settings.session_timeout_ms);
                    if member.current.state == MemberState::UnrevokedPartitions {
                        work.set(id, MemberTimer::Rebalance, timeout);
                    }
                }
            }
        }
    }

    /// Topics have come, changed or gone: the next heartbeat looks at the subscriptions again.
    pub fn on_metadata(&mut self) {
        self.stale = true;
    }
}
