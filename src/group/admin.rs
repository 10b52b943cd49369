//! What administrators ask: describe, list, delete.

use crate::protocol::ErrorCode;
use crate::protocol::describe_groups::{DescribedGroup, DescribedGroupMember};
use crate::protocol::list_groups::ListedGroup;
use crate::types::Str;

use super::classic::{CONSUMER, ClassicGroup, ClassicMember, State};
use super::coordinator::Group;
use super::request::ListFilter;
use super::{Caller, GroupCoordinator, GroupOutput};

/// DescribeGroups tells of an unknown group by an error (KIP-1043).
const NOT_FOUND_VERSION: i16 = 6;

/// A classic group and its members. A group that is not there is "Dead", by which old clients know it.
pub(super) fn describe(coordinator: &GroupCoordinator, caller: &Caller, id: Str) -> DescribedGroup {
    let missing = match coordinator.groups.get(&id) {
        Some(Group::Classic(group)) => return described(id, group),
        Some(Group::Consumer(_)) => format!("Group {id} is not a classic group."),
        None => format!("Group {id} not found."),
    };
    let (error_code, error_message) = match caller.version >= NOT_FOUND_VERSION {
        true => (ErrorCode::GroupIdNotFound.code(), Some(Str::from(missing))),
        false => (ErrorCode::None.code(), None),
    };
    DescribedGroup {
        error_code,
        error_message,
        group_id: id,
        group_state: Str::from_static("Dead"),
        ..DescribedGroup::default()
    }
}

fn described(id: Str, group: &ClassicGroup) -> DescribedGroup {
    // Before the group is stable, what its members speak is not settled.
    let protocol = match group.state {
        State::Stable => group.protocol.clone(),
        State::Empty | State::PreparingRebalance | State::CompletingRebalance => None,
    };
    let member = |(id, member): (&Str, &ClassicMember)| DescribedGroupMember {
        member_id: id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: match &protocol {
            Some(protocol) => member.metadata(protocol),
            None => Default::default(),
        },
        // While the group rebalances, that is what the member had last.
        member_assignment: member.assignment.clone(),
    };
    DescribedGroup {
        group_id: id,
        group_state: Str::from_static(group.state.name()),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        members: group.members.iter().map(member).collect(),
        protocol_data: protocol.clone().unwrap_or_default(),
        ..DescribedGroup::default()
    }
}

/// The groups that pass the filter, sorted by name.
pub(super) fn list(coordinator: &GroupCoordinator, filter: &ListFilter) -> Vec<ListedGroup> {
    let passes = |words: &[Str], word: &str| {
        let mut words = words.iter();
        words.len() == 0 || words.any(|other| other.trim().eq_ignore_ascii_case(word))
    };
    let mut listed: Vec<ListedGroup> = coordinator
        .groups
        .iter()
        .map(|(id, group)| listed(id, group))
        .filter(|group| {
            passes(&filter.states, &group.group_state) && passes(&filter.types, &group.group_type)
        })
        .collect();
    listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    listed
}

fn listed(id: &Str, group: &Group) -> ListedGroup {
    let (protocol_type, state, kind) = match group {
        Group::Classic(group) => (
            group.protocol_type.clone().unwrap_or_default(),
            group.state.name(),
            "classic",
        ),
        Group::Consumer(group) => (Str::from_static(CONSUMER), group.state(), "consumer"),
    };
    ListedGroup {
        group_id: id.clone(),
        protocol_type,
        group_state: Str::from_static(state),
        group_type: Str::from_static(kind),
    }
}

/// Deletes a group without members, and its offsets.
pub(super) fn delete(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    out: &mut GroupOutput,
) -> ErrorCode {
    let Some((id, group)) = coordinator.groups.get_key_value(id) else {
        return ErrorCode::GroupIdNotFound;
    };
    let busy = match group {
        Group::Classic(group) => group.state != State::Empty,
        Group::Consumer(group) => !group.is_empty(),
    };
    if busy {
        return ErrorCode::NonEmptyGroup;
    }
    let id = id.clone();
    let mut records = coordinator.offsets.tombstones(&id, |_, _| true);
    records.extend(group.tombstones(&id));
    coordinator.write(records, out);
    // A classic group's tombstone takes it away; so it must be with any other.
    coordinator.groups.remove(&id);
    ErrorCode::None
}
