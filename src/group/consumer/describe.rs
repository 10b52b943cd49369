//! ConsumerGroupDescribe: a group as people see it.

use super::assign::{Assignor, Partitions};
use super::group::ConsumerGroup;
use super::reconcile::plain;
use crate::metadata::Image;
use crate::protocol::consumer_group_describe::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use crate::types::Str;

impl ConsumerGroup {
    /// The group with its members by id. Topics that are gone are left out of assignments.
    pub fn describe(&self, id: &Str, assignors: &[Assignor], image: &Image) -> DescribedGroup {
        let nothing = Partitions::new();
        let members = self.members.iter().map(|(id, member)| {
            let profile = &member.profile;
            let target = self.targets.get(id).unwrap_or(&nothing);
            // What a member still has to give back is shown as its own.
            let mut has = plain(&member.current.assigned);
            for (topic, partitions) in plain(&member.current.revoking) {
                has.entry(topic).or_default().extend(partitions);
            }
            Member {
                member_id: id.clone(),
                instance_id: profile.instance_id.clone(),
                rack_id: profile.rack_id.clone(),
                member_epoch: member.current.epoch,
                client_id: profile.client_id.clone(),
                client_host: profile.client_host.clone(),
                subscribed_topic_names: profile.topics.iter().cloned().collect(),
                subscribed_topic_regex: Some(profile.regex.clone()),
                assignment: named(&has, image),
                target_assignment: named(target, image),
                member_type: i8::from(profile.classic.is_none()),
            }
        });
        DescribedGroup {
            group_id: id.clone(),
            group_state: Str::from(self.state()),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: Str::from(self.assignor(assignors).name()),
            members: members.collect(),
            ..DescribedGroup::default()
        }
    }
}

fn named(partitions: &Partitions, image: &Image) -> Assignment {
    let mut topics: Vec<TopicPartitions> = partitions
        .iter()
        .filter_map(|(id, partitions)| {
            let topic = image.topic_by_id(*id)?;
            Some(TopicPartitions {
                topic_id: *id,
                topic_name: topic.name.clone(),
                partitions: partitions.iter().copied().collect(),
            })
        })
        .collect();
    topics.sort_by(|a, b| a.topic_name.cmp(&b.topic_name));
    Assignment {
        topic_partitions: topics,
    }
}
