//! Which shard owns a partition.

use crate::types::{PartitionIndex, ShardId, TopicId};

/// The shard that owns a partition on any broker that holds it: the one function that says so.
///
/// - Consecutive partitions go to consecutive shards from a base that the topic's id gives, so that a topic is
///   balanced to within one partition and many small topics are balanced by chance.
/// - Every full lap around the shards starts one shard further on: a broker that holds every second or third
///   partition of a large topic would otherwise use only every second or third shard.
/// - Depends on nothing but its arguments: stable over restarts as long as `num_shards` is; part of the format.
///
/// `shards_count` must not be 0, `partition` not negative.
pub fn shard_of(topic_id: TopicId, partition: PartitionIndex, shards_count: u16) -> ShardId {
    assert!(shards_count > 0, "a broker has at least one shard");
    assert!(partition.0 >= 0, "partition {partition} does not exist");
    let (shards, partition) = (u64::from(shards_count), partition.0 as u64);
    let slot = (topic_hash(topic_id) + partition + partition / shards) % shards;
    ShardId(slot as u16)
}

/// 32 well mixed bits of a topic's id; also where its replicas' placement starts.
pub(super) fn topic_hash(topic_id: TopicId) -> u64 {
    let id = u128::from_be_bytes(topic_id.0);
    let mut hash = (id as u64) ^ ((id >> 64) as u64).rotate_left(32);
    // The finaliser of SplitMix64.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (hash ^ (hash >> 31)) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Prng, Uuid};

    fn id(prng: &mut Prng) -> TopicId {
        let mut id = [0; 16];
        prng.fill(&mut id);
        Uuid(id)
    }

    #[test]
    fn a_topic_is_balanced_to_within_one_partition() {
        let mut prng = Prng::new(1);
        for shards in [1u16, 2, 3, 7, 16, 64] {
            for partitions in [1, 5, 16, 100, 1000] {
                let topic = id(&mut prng);
                let mut counts = vec![0; shards as usize];
                for partition in 0..partitions {
                    counts[shard_of(topic, PartitionIndex(partition), shards).index()] += 1;
                }
                // Laps start one further each, so only the last, incomplete one can tip the scale.
                let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(
                    max - min <= 1,
                    "{shards} shards, {partitions} partitions: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn a_broker_with_every_nth_partition_still_uses_every_shard() {
        let topic = id(&mut Prng::new(2));
        for (brokers, shards) in [(2, 16u16), (3, 3), (4, 8), (16, 16)] {
            let mut counts = vec![0; shards as usize];
            for partition in (0..16 * 16 * 4).step_by(brokers) {
                counts[shard_of(topic, PartitionIndex(partition), shards).index()] += 1;
            }
            assert!(
                counts.iter().all(|&count| count > 0),
                "{brokers} brokers, {shards} shards: {counts:?}"
            );
        }
    }

    #[test]
    fn many_topics_of_one_partition_spread_over_the_shards() {
        let mut prng = Prng::new(3);
        let mut counts = [0; 16];
        for _ in 0..16_000 {
            counts[shard_of(id(&mut prng), PartitionIndex(0), 16).index()] += 1;
        }
        assert!(
            counts.iter().all(|&count| (850..1150).contains(&count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_owner_is_part_of_the_format() {
        let topic = Uuid(*b"0123456789abcdef");
        let owner = |partition| shard_of(topic, PartitionIndex(partition), 4).0;
        assert_eq!(std::array::from_fn(|p| owner(p as i32)), GOLDEN_OWNERS);
    }

    /// One lap over four shards, then the next from one shard further on.
    const GOLDEN_OWNERS: [u16; 10] = [3, 0, 1, 2, 0, 1, 2, 3, 1, 2];
}
