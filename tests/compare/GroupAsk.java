import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/** Requests of groups in short, and members that have joined. */
final class GroupAsk {
    /** Who a member of a classic group is after it has joined. */
    record Member(String id, int generation, String leader) {
        boolean leads() { return id.equals(leader); }
    }

    static final Member NOBODY = new Member("", -1, "");

    // Set-up.

    /** Waits until the broker coordinates groups (or transactions): the topic behind is made at the first question. */
    static void ready(Side s, int type) {
        Side.until("a coordinator", () -> {
            var found = s.ask(4, find(4, type, s.topic("warm")));
            if (!found.replied() || ((FindCoordinatorResponseData) found.message()).coordinators().get(0).errorCode() != 0) return false;
            var next = type == 0 ? s.ask(7, fetch(7, s.topic("warm"), null)) : s.ask(0, new DescribeTransactionsRequestData().setTransactionalIds(List.of(s.topic("warm"))));
            return next.replied() && !Set.of("14", "15", "16").contains(Side.firstError(next));
        });
    }

    // Coordinators.

    static FindCoordinatorRequestData find(int version, int type, String... keys) {
        var request = new FindCoordinatorRequestData();
        if (version >= 1) request.setKeyType((byte) type);
        return version >= 4 ? request.setCoordinatorKeys(List.of(keys)) : request.setKey(keys[0]);
    }

    // Membership.

    static JoinGroupRequestData join(String group, String member, String instance, String... protocols) {
        var wanted = new JoinGroupRequestData.JoinGroupRequestProtocolCollection();
        for (int n = 0; n < protocols.length; n += 2) wanted.mustAdd(new JoinGroupRequestData.JoinGroupRequestProtocol().setName(protocols[n]).setMetadata(protocols[n + 1].getBytes()));
        return new JoinGroupRequestData().setGroupId(group).setMemberId(member).setGroupInstanceId(instance).setSessionTimeoutMs(30_000).setRebalanceTimeoutMs(30_000).setProtocolType("compare").setProtocols(wanted);
    }

    static JoinGroupRequestData join(String group, String member) { return join(group, member, null, "one", "meta"); }

    static Member member(Side.Answer answer) {
        if (!answer.replied()) throw new IllegalStateException("set-up: join: " + answer.fate());
        var joined = (JoinGroupResponseData) answer.message();
        if (joined.errorCode() != 0) throw new IllegalStateException("set-up: join: error " + joined.errorCode());
        return new Member(joined.memberId(), joined.generationId(), joined.leader());
    }

    /** The id that KIP-394 has a member ask for first; empty before version 4, and for static members. */
    static String firstId(Side s, int version, String group) {
        if (version < 4) return "";
        var answer = s.ask(version, join(group, ""));
        var id = answer.replied() ? ((JoinGroupResponseData) answer.message()).memberId() : "";
        // Known from now on, so that the order in which lists of members come does not matter.
        s.normal.text(id);
        return id;
    }

    /** The only member of a group, joined and synced: the group is stable. */
    static Member alone(Side s, String group) { return alone(s, group, null); }

    static Member alone(Side s, String group, String instance) {
        var version = instance == null ? 3 : 5;
        var member = member(s.ask(version, join(group, "", instance, "one", "meta")));
        s.normal.text(member.id());
        s.ask(3, sync(group, member.generation(), member.id(), instance, member.id(), "mine"));
        return member;
    }

    static SyncGroupRequestData sync(String group, int generation, String member, String instance, String... assignments) {
        var request = new SyncGroupRequestData().setGroupId(group).setGenerationId(generation).setMemberId(member).setGroupInstanceId(instance);
        for (int n = 0; n < assignments.length; n += 2) request.assignments().add(new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(assignments[n]).setAssignment(assignments[n + 1].getBytes()));
        return request;
    }

    static HeartbeatRequestData beat(String group, int generation, String member, String instance) {
        return new HeartbeatRequestData().setGroupId(group).setGenerationId(generation).setMemberId(member).setGroupInstanceId(instance);
    }

    static LeaveGroupRequestData leave(int version, String group, String member) {
        return version <= 2 ? new LeaveGroupRequestData().setGroupId(group).setMemberId(member) : leave(group, member, null);
    }

    /** `pairs`: member id and instance id of each that leaves. */
    static LeaveGroupRequestData leave(String group, String... pairs) {
        var request = new LeaveGroupRequestData().setGroupId(group);
        for (int n = 0; n < pairs.length; n += 2) request.members().add(new LeaveGroupRequestData.MemberIdentity().setMemberId(pairs[n]).setGroupInstanceId(pairs[n + 1]));
        return request;
    }

    // Offsets.

    static OffsetCommitRequestData.OffsetCommitRequestPartition at(int partition, long offset, String metadata) {
        return new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(partition).setCommittedOffset(offset).setCommittedMetadata(metadata);
    }

    static OffsetCommitRequestData.OffsetCommitRequestTopic topic(Side s, int version, String name, OffsetCommitRequestData.OffsetCommitRequestPartition... parts) {
        var topic = new OffsetCommitRequestData.OffsetCommitRequestTopic().setPartitions(List.of(parts));
        return version >= 10 ? topic.setTopicId(s.id(name)) : topic.setName(name);
    }

    static OffsetCommitRequestData commit(String group, Member member, OffsetCommitRequestData.OffsetCommitRequestTopic... topics) {
        return new OffsetCommitRequestData().setGroupId(group).setMemberId(member.id()).setGenerationIdOrMemberEpoch(member.generation()).setTopics(List.of(topics));
    }

    /** Commits of nobody in particular, not compared. */
    static void committed(Side s, String group, String topic, int partition, long offset) {
        var answer = s.ask(8, commit(group, NOBODY, topic(s, 8, topic, at(partition, offset, "set-up"))));
        if (!answer.replied() || !Side.firstError(answer).equals("0")) throw new IllegalStateException("set-up: commit: " + answer.fate() + " " + (answer.replied() ? Side.firstError(answer) : ""));
    }

    /** OffsetFetch of one group by topic names; null: everything. */
    static OffsetFetchRequestData fetch(int version, String group, Map<String, List<Integer>> topics) {
        if (version <= 7) {
            var request = new OffsetFetchRequestData().setGroupId(group);
            return topics == null ? request.setTopics(null) : request.setTopics(topics.entrySet().stream().map(t -> new OffsetFetchRequestData.OffsetFetchRequestTopic().setName(t.getKey()).setPartitionIndexes(t.getValue())).toList());
        }
        return new OffsetFetchRequestData().setGroups(List.of(fetchGroup(null, version, group, topics)));
    }

    static OffsetFetchRequestData fetch(Side s, int version, String group, Map<String, List<Integer>> topics) {
        return version <= 7 ? fetch(version, group, topics) : new OffsetFetchRequestData().setGroups(List.of(fetchGroup(s, version, group, topics)));
    }

    static OffsetFetchRequestData.OffsetFetchRequestGroup fetchGroup(Side s, int version, String group, Map<String, List<Integer>> topics) {
        var wanted = new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(group);
        return topics == null ? wanted.setTopics(null) : wanted.setTopics(topics.entrySet().stream().map(t -> {
            var topic = new OffsetFetchRequestData.OffsetFetchRequestTopics().setPartitionIndexes(t.getValue());
            return version >= 10 ? topic.setTopicId(s.id(t.getKey())) : topic.setName(t.getKey());
        }).toList());
    }

    static OffsetDeleteRequestData deleteOffsets(String group, Map<String, List<Integer>> topics) {
        var request = new OffsetDeleteRequestData().setGroupId(group);
        for (var t : topics.entrySet()) request.topics().mustAdd(new OffsetDeleteRequestData.OffsetDeleteRequestTopic().setName(t.getKey()).setPartitions(t.getValue().stream().map(p -> new OffsetDeleteRequestData.OffsetDeleteRequestPartition().setPartitionIndex(p)).toList()));
        return request;
    }

    static DescribeGroupsRequestData describe(String... groups) { return new DescribeGroupsRequestData().setGroups(List.of(groups)); }

    // The consumer protocol.

    static ConsumerGroupHeartbeatRequestData enter(String group, String member, String... topics) {
        return new ConsumerGroupHeartbeatRequestData().setGroupId(group).setMemberId(member).setMemberEpoch(0).setRebalanceTimeoutMs(30_000).setSubscribedTopicNames(List.of(topics)).setTopicPartitions(List.of());
    }

    static ConsumerGroupHeartbeatRequestData pulse(String group, String member, int epoch) {
        return new ConsumerGroupHeartbeatRequestData().setGroupId(group).setMemberId(member).setMemberEpoch(epoch);
    }

    static ConsumerGroupHeartbeatRequestData.TopicPartitions owns(Side s, String topic, Integer... partitions) {
        return new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(s.id(topic)).setPartitions(List.of(partitions));
    }

    static ConsumerGroupDescribeRequestData describeConsumers(String... groups) { return new ConsumerGroupDescribeRequestData().setGroupIds(List.of(groups)); }

    static int epoch(Side.Answer answer) { return answer.replied() ? ((ConsumerGroupHeartbeatResponseData) answer.message()).memberEpoch() : -99; }
}
