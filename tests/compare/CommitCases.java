import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** OffsetCommit, OffsetFetch, OffsetDelete, DescribeGroups, ListGroups, DeleteGroups, and the GROUP configuration. */
final class CommitCases {
    static void add(Compare c) {
        commit(c);
        fetch(c);
        forget(c);
        administer(c);
        configs(c);
    }

    static OffsetCommitRequestData one(Side s, int v, String group, GroupAsk.Member member, String topic, int partition, long offset) {
        return GroupAsk.commit(group, member, GroupAsk.topic(s, v, topic, GroupAsk.at(partition, offset, "m")));
    }

    static void shown(Side s, String label, String group) { s.say(label, 8, GroupAsk.fetch(8, group, null)); }

    static void commit(Compare c) {
        c.add("OffsetCommit/of nobody in particular", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            s.versions(ApiKeys.OFFSET_COMMIT, v -> {
                var group = s.topic("g" + v);
                s.say("the first", v, one(s, v, group, GroupAsk.NOBODY, topic, 0, 5));
                s.say("described", 5, GroupAsk.describe(group));
                s.say("with a generation", v, one(s, v, group, new GroupAsk.Member("", 1, ""), topic, 0, 6));
                s.say("with generation 0", v, one(s, v, group, new GroupAsk.Member("", 0, ""), topic, 0, 6));
                s.say("with a member", v, one(s, v, group, new GroupAsk.Member("compare-nobody", -1, ""), topic, 0, 7));
                s.say("with both", v, one(s, v, group, new GroupAsk.Member("compare-nobody", 1, ""), topic, 0, 8));
                s.say("with generation -2", v, one(s, v, group, new GroupAsk.Member("", -2, ""), topic, 0, 9));
                var fresh = s.topic("f" + v);
                s.say("with a generation, to a group that is not", v, one(s, v, fresh, new GroupAsk.Member("", 1, ""), topic, 0, 6));
                s.say("with a member, to a group that is not", v, one(s, v, fresh, new GroupAsk.Member("compare-nobody", -1, ""), topic, 0, 7));
                s.say("nothing", v, GroupAsk.commit(group, GroupAsk.NOBODY));
                s.say("a topic without partitions", v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic)));
                s.say("an unknown partition", v, one(s, v, group, GroupAsk.NOBODY, topic, 3, 1));
                s.say("a negative partition", v, one(s, v, group, GroupAsk.NOBODY, topic, -1, 1));
                s.say("an unknown topic", v, v <= 9 ? one(s, v, group, GroupAsk.NOBODY, s.topic("unknown"), 0, 1)
                    : GroupAsk.commit(group, GroupAsk.NOBODY, new OffsetCommitRequestData.OffsetCommitRequestTopic().setTopicId(TopicCases.NOBODYS).setPartitions(List.of(GroupAsk.at(0, 1, "")))));
                s.say("good and bad", v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic, GroupAsk.at(1, 4, null), GroupAsk.at(9, 4, null), GroupAsk.at(2, 4, "x".repeat(5000)))));
                s.say("a partition twice", v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic, GroupAsk.at(2, 7, "a"), GroupAsk.at(2, 8, "b"))));
                s.say("a topic twice", v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic, GroupAsk.at(0, 50, "a")), GroupAsk.topic(s, v, topic, GroupAsk.at(0, 51, "b"))));
                shown(s, "shown after v" + v, group);
                for (long offset : new long[] {0, -1, -2, Long.MAX_VALUE, Long.MIN_VALUE}) {
                    s.say("offset " + offset, v, one(s, v, group, GroupAsk.NOBODY, topic, 1, offset));
                    shown(s, "shown with offset " + offset + " after v" + v, group);
                }
                for (int size : new int[] {4095, 4096, 4097, 32767}) s.say("metadata of " + size, v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic, GroupAsk.at(1, 9, "x".repeat(size)))));
                s.say("metadata of 4096 in two bytes each", v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic, GroupAsk.at(1, 9, "ä".repeat(4096)))));
                if (v >= 6) for (int epoch : new int[] {0, 5, -1, -2}) {
                    s.say("leader epoch " + epoch, v, GroupAsk.commit(group, GroupAsk.NOBODY, GroupAsk.topic(s, v, topic, GroupAsk.at(0, 9, "").setCommittedLeaderEpoch(epoch))));
                    s.say("shown with leader epoch " + epoch, 8, GroupAsk.fetch(s, 8, group, Map.of(topic, List.of(0))));
                }
                if (v <= 4) for (long ms : new long[] {0, 1, 3_600_000, -2}) s.say("kept for " + ms, v, one(s, v, s.topic("k" + v), GroupAsk.NOBODY, topic, 0, 9).setRetentionTimeMs(ms));
                if (v >= 7) s.say("an instance", v, one(s, v, group, GroupAsk.NOBODY, topic, 0, 9).setGroupInstanceId("nobody"));
                if (v <= 9) for (var bad : TopicCases.BAD_NAMES) s.say("bad name " + GroupCases.shortly(bad), v, one(s, v, group, GroupAsk.NOBODY, bad, 0, 1));
                if (v >= 10) s.say("the zero id", v, GroupAsk.commit(group, GroupAsk.NOBODY, new OffsetCommitRequestData.OffsetCommitRequestTopic().setPartitions(List.of(GroupAsk.at(0, 1, "")))));
            });
            for (var odd : GroupCases.ODD_GROUPS) {
                var group = s.topic("g") + (odd.length() > 31_000 ? odd.substring(1000) : odd);
                s.say("a group " + GroupCases.shortly(odd), 8, one(s, 8, group, GroupAsk.NOBODY, topic, 0, 3));
            }
        });
        c.add("OffsetCommit/of members", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            s.versions(ApiKeys.OFFSET_COMMIT, v -> {
                var group = s.topic("g" + v);
                var member = GroupAsk.member(s.ask(3, GroupAsk.join(group, "")));
                s.say("before the assignment", v, one(s, v, group, member, topic, 0, 1));
                s.ask(3, GroupAsk.sync(group, member.generation(), member.id(), null, member.id(), "mine"));
                s.say("a member", v, one(s, v, group, member, topic, 0, 2));
                s.say("a stranger", v, one(s, v, group, new GroupAsk.Member("compare-nobody", member.generation(), ""), topic, 0, 3));
                s.say("nobody", v, one(s, v, group, GroupAsk.NOBODY, topic, 0, 4));
                for (int off : new int[] {-1, 1}) s.say("generation " + off + " off", v, one(s, v, group, new GroupAsk.Member(member.id(), member.generation() + off, ""), topic, 0, 5));
                s.say("without generation", v, one(s, v, group, new GroupAsk.Member(member.id(), -1, ""), topic, 0, 6));
                if (v >= 7) s.say("an instance it does not have", v, one(s, v, group, member, topic, 0, 7).setGroupInstanceId("nobody"));
                var joining = s.begin(3, GroupAsk.join(group, ""));
                s.sayWaiting("v" + v + " another joins", joining);
                s.say("while another joins", v, one(s, v, group, member, topic, 0, 8));
                shown(s, "shown while another joins, v" + v, group);
                s.ask(3, GroupAsk.leave(3, group, member.id()));
                s.end(joining);
                s.say("after it has left", v, one(s, v, group, member, topic, 0, 9));
                shown(s, "shown after v" + v, group);
            });
        });
        c.add("OffsetCommit/of static members", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            s.versions(ApiKeys.OFFSET_COMMIT, 7, 10, v -> {
                var group = s.topic("g" + v);
                var member = GroupAsk.alone(s, group, "fixed");
                s.say("with its name", v, one(s, v, group, member, topic, 0, 2).setGroupInstanceId("fixed"));
                s.say("without its name", v, one(s, v, group, member, topic, 0, 3));
                s.say("with another's name", v, one(s, v, group, member, topic, 0, 4).setGroupInstanceId("nobody"));
                s.say("another id", v, one(s, v, group, new GroupAsk.Member("compare-nobody", member.generation(), ""), topic, 0, 5).setGroupInstanceId("fixed"));
                shown(s, "shown after v" + v, group);
            });
        });
    }

    static void fetch(Compare c) {
        c.add("OffsetFetch", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            var other = s.create("o", 1);
            var group = s.topic("g");
            GroupAsk.committed(s, group, topic, 0, 5);
            GroupAsk.committed(s, group, topic, 2, 7);
            GroupAsk.committed(s, group, other, 0, 9);
            s.versions(ApiKeys.OFFSET_FETCH, v -> {
                s.say("some", v, GroupAsk.fetch(s, v, group, Map.of(topic, List.of(0, 1))));
                s.say("a partition that is not", v, GroupAsk.fetch(s, v, group, Map.of(topic, List.of(9, -1))));
                s.say("a topic that is not", v, v <= 9 ? GroupAsk.fetch(s, v, group, Map.of(s.topic("unknown"), List.of(0)))
                    : new OffsetFetchRequestData().setGroups(List.of(new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(group).setTopics(List.of(new OffsetFetchRequestData.OffsetFetchRequestTopics().setTopicId(TopicCases.NOBODYS).setPartitionIndexes(List.of(0)))))));
                s.say("a group that is not", v, GroupAsk.fetch(s, v, s.topic("nobody"), Map.of(topic, List.of(0))));
                s.say("no topics", v, GroupAsk.fetch(s, v, group, Map.of()));
                s.say("no partitions", v, GroupAsk.fetch(s, v, group, Map.of(topic, List.of())));
                s.say("a partition twice", v, GroupAsk.fetch(s, v, group, Map.of(topic, List.of(0, 0))));
                if (v <= 9) for (var bad : TopicCases.BAD_NAMES) s.say("bad name " + GroupCases.shortly(bad), v, GroupAsk.fetch(s, v, group, Map.of(bad, List.of(0))));
                if (v < 2) return;
                s.say("everything", v, GroupAsk.fetch(s, v, group, null));
                s.say("everything of a group that is not", v, GroupAsk.fetch(s, v, s.topic("nobody"), null));
                if (v >= 7) s.say("everything stable", v, GroupAsk.fetch(s, v, group, null).setRequireStable(true));
                if (v < 8) return;
                var groups = List.of(GroupAsk.fetchGroup(s, v, group, Map.of(topic, List.of(0))), GroupAsk.fetchGroup(s, v, s.topic("nobody"), Map.of(other, List.of(0))), GroupAsk.fetchGroup(s, v, group, null));
                s.say("several groups, one twice", v, new OffsetFetchRequestData().setGroups(groups));
                s.say("no groups", v, new OffsetFetchRequestData());
                if (v < 9) return;
                var named = GroupAsk.fetchGroup(s, v, group, Map.of(topic, List.of(0)));
                s.say("with a member", v, new OffsetFetchRequestData().setGroups(List.of(named.setMemberId("compare-nobody").setMemberEpoch(3))));
                s.say("with an epoch alone", v, new OffsetFetchRequestData().setGroups(List.of(named.setMemberId(null).setMemberEpoch(3))));
                s.say("with an empty member", v, new OffsetFetchRequestData().setGroups(List.of(named.setMemberId("").setMemberEpoch(-1))));
                s.say("with a member, no epoch", v, new OffsetFetchRequestData().setGroups(List.of(named.setMemberId("compare-nobody").setMemberEpoch(-1))));
                s.say("of a group that is not, with a member", v, new OffsetFetchRequestData().setGroups(List.of(GroupAsk.fetchGroup(s, v, s.topic("nobody"), Map.of(topic, List.of(0))).setMemberId("compare-nobody").setMemberEpoch(3))));
            });
        });
        c.add("OffsetFetch/of a group with members", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 2);
            var group = s.topic("g");
            var member = GroupAsk.alone(s, group);
            s.ask(8, one(s, 8, group, member, topic, 0, 4));
            s.versions(ApiKeys.OFFSET_FETCH, v -> {
                s.say("some", v, GroupAsk.fetch(s, v, group, Map.of(topic, List.of(0, 1))));
                if (v < 9) return;
                var wanted = GroupAsk.fetchGroup(s, v, group, Map.of(topic, List.of(0)));
                s.say("by the member", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberId(member.id()).setMemberEpoch(member.generation()))));
                s.say("by the member of another generation", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberId(member.id()).setMemberEpoch(member.generation() + 5))));
                s.say("by a stranger", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberId("compare-nobody").setMemberEpoch(member.generation()))));
            });
        });
        c.add("OffsetFetch/a deleted topic's offsets vanish", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 1);
            var other = s.create("o", 1);
            var group = s.topic("g");
            GroupAsk.committed(s, group, topic, 0, 5);
            GroupAsk.committed(s, group, other, 0, 6);
            var lone = s.topic("lone");
            GroupAsk.committed(s, lone, topic, 0, 5);
            s.ask(5, Ask.delete(5, topic));
            s.gone(topic);
            Side.until("the offsets are gone", () -> {
                var answer = s.ask(8, GroupAsk.fetch(8, group, null));
                return answer.replied() && ((OffsetFetchResponseData) answer.message()).groups().get(0).topics().size() == 1;
            });
            shown(s, "what is left", group);
            s.say("the group with nothing else", 6, GroupAsk.describe(lone));
        });
    }

    static void forget(Compare c) {
        c.add("OffsetDelete", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            var other = s.create("o", 1);
            var group = s.topic("g");
            for (int p = 0; p < 3; p++) GroupAsk.committed(s, group, topic, p, 5 + p);
            GroupAsk.committed(s, group, other, 0, 9);
            s.say("a group that is not", 0, GroupAsk.deleteOffsets(s.topic("nobody"), Map.of(topic, List.of(0))));
            s.say("nothing", 0, GroupAsk.deleteOffsets(group, Map.of()));
            s.say("no partitions", 0, GroupAsk.deleteOffsets(group, Map.of(topic, List.of())));
            s.say("two", 0, GroupAsk.deleteOffsets(group, Map.of(topic, List.of(0, 2))));
            shown(s, "after two", group);
            s.say("the same again", 0, GroupAsk.deleteOffsets(group, Map.of(topic, List.of(0))));
            s.say("a partition that is not", 0, GroupAsk.deleteOffsets(group, Map.of(topic, List.of(9, -1))));
            s.say("a topic that is not", 0, GroupAsk.deleteOffsets(group, Map.of(s.topic("unknown"), List.of(0))));
            s.say("good and bad", 0, GroupAsk.deleteOffsets(group, new TreeMap<>(Map.of(topic, List.of(1, 9), s.topic("unknown"), List.of(0)))));
            s.say("the last", 0, GroupAsk.deleteOffsets(group, Map.of(other, List.of(0))));
            shown(s, "after the last", group);
            s.say("described after the last", 6, GroupAsk.describe(group));
        });
        // The one group that scenarios cannot have to themselves: all about it is here.
        c.add("OffsetCommit/a group without name", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 1);
            s.ask(2, new DeleteGroupsRequestData().setGroupsNames(List.of("")));
            s.versions(ApiKeys.OFFSET_COMMIT, v -> {
                s.say("described before", 6, GroupAsk.describe(""));
                s.say("committed", v, one(s, v, "", GroupAsk.NOBODY, topic, 0, 7));
                s.say("committed by a member", v, one(s, v, "", new GroupAsk.Member("compare-nobody", 1, ""), topic, 0, 7));
                for (int f = 1; f <= 10; f++) s.say("fetched", f, GroupAsk.fetch(s, f, "", Map.of(topic, List.of(0))));
                for (int f = 2; f <= 9; f++) s.say("everything fetched", f, GroupAsk.fetch(s, f, "", null));
                for (int d = 0; d <= 6; d++) s.say("described", d, GroupAsk.describe(""));
                s.say("an offset deleted", 0, GroupAsk.deleteOffsets("", Map.of(topic, List.of(0))));
                for (int d = 0; d <= 2; d++) s.say("deleted", d, new DeleteGroupsRequestData().setGroupsNames(List.of("")));
            });
        });
        c.add("OffsetDelete/of groups with members", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 2);
            var read = s.create("r", 1);
            // A group that speaks another protocol than consumers do.
            var others = s.topic("others");
            var member = GroupAsk.alone(s, others);
            s.ask(8, one(s, 8, others, member, topic, 0, 4));
            s.say("of a group that is no consumer group", 0, GroupAsk.deleteOffsets(others, Map.of(topic, List.of(0))));
            // One whose members say what they read.
            var group = s.topic("consumers");
            var joined = GroupAsk.member(s.ask(3, consumer(group, "", read)));
            s.ask(3, GroupAsk.sync(group, joined.generation(), joined.id(), null, joined.id(), ""));
            s.ask(8, GroupAsk.commit(group, joined, GroupAsk.topic(s, 8, topic, GroupAsk.at(0, 4, "")), GroupAsk.topic(s, 8, read, GroupAsk.at(0, 4, ""))));
            s.say("read and not read", 0, GroupAsk.deleteOffsets(group, new TreeMap<>(Map.of(topic, List.of(0), read, List.of(0)))));
            shown(s, "what is left", group);
            s.say("described", 5, GroupAsk.describe(group));
            s.ask(1, GroupAsk.leave(1, group, joined.id()));
            s.say("read by nobody any more", 0, GroupAsk.deleteOffsets(group, Map.of(read, List.of(0))));
        });
    }

    /** A join as consumers make it: subscription version 0. */
    static JoinGroupRequestData consumer(String group, String member, String... topics) {
        var request = GroupAsk.join(group, member).setProtocolType("consumer");
        request.setProtocols(new JoinGroupRequestData.JoinGroupRequestProtocolCollection());
        request.protocols().mustAdd(new JoinGroupRequestData.JoinGroupRequestProtocol().setName("range").setMetadata(subscription(topics)));
        return request;
    }

    static byte[] subscription(String... topics) {
        var bytes = java.nio.ByteBuffer.allocate(4096).putShort((short) 0).putInt(topics.length);
        for (var topic : topics) bytes.putShort((short) topic.length()).put(topic.getBytes());
        return Arrays.copyOf(bytes.putInt(-1).array(), bytes.position());
    }

    static void administer(Compare c) {
        c.add("DescribeGroups", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 1);
            var simple = s.topic("simple");
            GroupAsk.committed(s, simple, topic, 0, 5);
            var group = s.topic("g");
            GroupAsk.alone(s, group);
            var fixed = s.topic("fixed");
            GroupAsk.alone(s, fixed, "fixed");
            s.versions(ApiKeys.DESCRIBE_GROUPS, v -> {
                s.say("one that is not", v, GroupAsk.describe(s.topic("nobody")));
                s.say("none", v, GroupAsk.describe());
                s.say("one with offsets only", v, GroupAsk.describe(simple));
                s.say("a stable one", v, GroupAsk.describe(group));
                if (v >= 4) s.say("one with a static member", v, GroupAsk.describe(fixed));
                s.say("several, one twice", v, GroupAsk.describe(group, s.topic("nobody"), group));
                if (v >= 3) s.say("with operations", v, GroupAsk.describe(group, s.topic("nobody")).setIncludeAuthorizedOperations(true));
            });
        });
        c.add("ListGroups", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 1);
            GroupAsk.committed(s, s.topic("simple"), topic, 0, 5);
            GroupAsk.alone(s, s.topic("stable"));
            var unsynced = s.topic("unsynced");
            s.ask(3, GroupAsk.join(unsynced, ""));
            GroupAsk.firstId(s, 5, s.topic("pending"));
            s.ask(1, GroupAsk.enter(s.topic("new"), "lg-" + s.normal.tag, topic));
            s.versions(ApiKeys.LIST_GROUPS, v -> {
                s.sayMine("all", v, new ListGroupsRequestData());
                if (v >= 4) for (var state : List.of("Stable", "stable", "Empty", "Dead", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "nonsense", ""))
                    s.sayMine("state '" + state + "'", v, new ListGroupsRequestData().setStatesFilter(List.of(state)));
                if (v >= 4) s.sayMine("two states", v, new ListGroupsRequestData().setStatesFilter(List.of("Stable", "Empty")));
                if (v >= 5) for (var type : List.of("classic", "Classic", "consumer", "share", "streams", "nonsense", ""))
                    s.sayMine("type '" + type + "'", v, new ListGroupsRequestData().setTypesFilter(List.of(type)));
                if (v >= 5) s.sayMine("type and state", v, new ListGroupsRequestData().setTypesFilter(List.of("consumer", "classic")).setStatesFilter(List.of("Stable")));
            });
        });
        c.add("DeleteGroups", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 1);
            s.versions(ApiKeys.DELETE_GROUPS, v -> {
                var simple = s.topic("simple" + v);
                GroupAsk.committed(s, simple, topic, 0, 5);
                var group = s.topic("g" + v);
                var member = GroupAsk.alone(s, group);
                s.say("one that is not", v, new DeleteGroupsRequestData().setGroupsNames(List.of(s.topic("nobody"))));
                s.say("none", v, new DeleteGroupsRequestData());
                s.say("good and bad, and again", v, new DeleteGroupsRequestData().setGroupsNames(List.of(simple, group, s.topic("nobody"), simple)));
                shown(s, "offsets after v" + v, simple);
                s.say("described", 6, GroupAsk.describe(simple, group));
                s.say("its member stays", 3, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.ask(1, GroupAsk.leave(1, group, member.id()));
                s.say("without members", v, new DeleteGroupsRequestData().setGroupsNames(List.of(group)));
                s.say("its member", 3, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.say("generation begins anew", 3, GroupAsk.join(group, ""));
            });
        });
    }

    static final String[] GROUP_KEYS = {"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"};

    static void configs(Compare c) {
        c.add("DescribeConfigs/groups", s -> s.versions(ApiKeys.DESCRIBE_CONFIGS, v -> {
            var group = s.topic("g" + v);
            s.say("keys of one that is not", v, Ask.describe(32, group, GROUP_KEYS));
            s.say("with synonyms", v, Ask.describe(32, group, GROUP_KEYS).setIncludeSynonyms(true));
            s.say("an unknown key", v, Ask.describe(32, group, "no.such.key"));
            s.say("one without name", v, Ask.describe(32, ""));
        }));
        c.add("IncrementalAlterConfigs/groups", s -> s.versions(ApiKeys.INCREMENTAL_ALTER_CONFIGS, v -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g" + v);
            s.say("a session", v, Ask.incremental(32, group, 0, "consumer.session.timeout.ms", "50000"));
            s.say("a heartbeat", v, Ask.incremental(32, group, 0, "consumer.heartbeat.interval.ms", "6000"));
            for (var bad : List.of("1", "-5", "soon", "99999999", "", "44999", "60001")) s.say("a session of '" + bad + "'", v, Ask.incremental(32, group, 0, "consumer.session.timeout.ms", bad));
            for (var bad : List.of("1", "4999", "15001", "soon")) s.say("a heartbeat of '" + bad + "'", v, Ask.incremental(32, group, 0, "consumer.heartbeat.interval.ms", bad));
            s.say("an unknown key", v, Ask.incremental(32, group, 0, "no.such.key", "1"));
            s.say("only validated", v, Ask.incremental(32, group, 0, "consumer.session.timeout.ms", "55000").setValidateOnly(true));
            s.say("one without name", v, Ask.incremental(32, "", 0, "consumer.session.timeout.ms", "50000"));
            ConfigCases.shown(s, "barrier for v" + v, s.create("b" + v, 1), "retention.ms");
            s.say("described", 4, Ask.describe(32, group, GROUP_KEYS).setIncludeSynonyms(true));
            var topic = ConsumerGroupCases.create(s, "t" + v, 1);
            s.say("a member is told", 1, GroupAsk.enter(group, "mm" + v + s.normal.tag, topic));
            s.sayMine("listed", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) 32)));
            s.say("taken back", v, Ask.incremental(32, group, 1, "consumer.heartbeat.interval.ms", null));
            ConfigCases.shown(s, "barrier again for v" + v, topic, "retention.ms");
            s.say("described again", 4, Ask.describe(32, group, GROUP_KEYS));
        }));
    }
}
