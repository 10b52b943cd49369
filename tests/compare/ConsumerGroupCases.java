import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848), and what the other APIs say of such groups. */
final class ConsumerGroupCases {
    static void add(Compare c) {
        enter(c);
        refused(c);
        epochs(c);
        assignments(c);
        regex(c);
        staticMembers(c);
        offsets(c);
        mixed(c);
        describe(c);
    }

    /** A member's id of this run; the transcript shows its name. */
    static String id(Side s, String name) {
        var id = "m-" + name + "-" + s.normal.tag;
        s.normal.member(id, name);
        return id;
    }

    /** A topic that every group coordinator has seen: Kafka's learn of it a moment after its leaders answer. */
    static String create(Side s, String label, int partitions) {
        var topic = s.create(label, partitions);
        int coordinators = s.metadata("__consumer_offsets").partitions().size();
        var asked = new java.util.HashSet<Integer>();
        for (int n = 0; asked.size() < coordinators; n++) {
            var probe = s.topic("probe-" + label + n);
            if (!asked.add(Math.abs(probe.hashCode()) % coordinators)) continue;
            Side.until("a coordinator sees " + topic, () -> {
                var answer = s.ask(1, GroupAsk.enter(probe, "probe", topic));
                if (!answer.replied() || !(answer.message() instanceof ConsumerGroupHeartbeatResponseData given) || given.errorCode() != 0) return false;
                return given.assignment() != null && !given.assignment().topicPartitions().isEmpty();
            });
            s.ask(1, GroupAsk.pulse(probe, "probe", -1));
        }
        return topic;
    }

    /** A member that joins, until the broker gives it its partitions: at most a few heartbeats. Returns its epoch. */
    static int settle(Side s, String group, String member, int epoch, ConsumerGroupHeartbeatRequestData.TopicPartitions... owned) {
        int[] now = {epoch};
        for (int n = 0; n < 3; n++) {
            var answer = s.ask(1, GroupAsk.pulse(group, member, now[0]).setTopicPartitions(List.of(owned)));
            if (Side.firstError(answer).equals("0")) now[0] = GroupAsk.epoch(answer);
        }
        return now[0];
    }

    static void enter(Compare c) {
        c.add("ConsumerGroupHeartbeat/the first member", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.CONSUMER_GROUP_HEARTBEAT, v -> {
                var topic = create(s, "t" + v, 3);
                var group = s.topic("g" + v);
                var me = id(s, "a" + v);
                var joined = s.say("joins", v, GroupAsk.enter(group, me, topic));
                int epoch = GroupAsk.epoch(joined);
                s.say("joins again", v, GroupAsk.enter(group, me, topic));
                s.say("says what it owns", v, GroupAsk.pulse(group, me, epoch).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1, 2))));
                s.say("has nothing to say", v, GroupAsk.pulse(group, me, epoch));
                s.say("says everything again", v, GroupAsk.enter(group, me, topic).setMemberEpoch(epoch).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1, 2))));
                s.say("described", 0, GroupAsk.describeConsumers(group));
                s.say("described as a classic one", 6, GroupAsk.describe(group));
                s.say("leaves", v, GroupAsk.pulse(group, me, -1));
                s.say("leaves again", v, GroupAsk.pulse(group, me, -1));
                s.say("described when empty", 0, GroupAsk.describeConsumers(group));
                s.say("comes back", v, GroupAsk.enter(group, me, topic));
                s.say("deleted while it has a member", 2, new DeleteGroupsRequestData().setGroupsNames(List.of(group)));
                s.ask(v, GroupAsk.pulse(group, me, -1));
                s.say("deleted", 2, new DeleteGroupsRequestData().setGroupsNames(List.of(group)));
                s.say("described when gone", 0, GroupAsk.describeConsumers(group));
            });
        });
        c.add("ConsumerGroupHeartbeat/who names a member", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            var answer = s.ask(0, GroupAsk.enter(s.topic("g0"), "", topic));
            if (answer.replied()) {
                var given = ((ConsumerGroupHeartbeatResponseData) answer.message()).memberId();
                s.normal.member(String.valueOf(given), "given");
                s.note("a member without id in v0 is given one", given != null && given.length() == 22);
            }
            s.write("v0 the answer", answer);
            s.say("a member without id", 1, GroupAsk.enter(s.topic("g1"), "", topic));
            s.say("an id of blanks", 1, GroupAsk.enter(s.topic("g1"), "  ", topic));
            s.say("an id of 36", 1, GroupAsk.enter(s.topic("g1"), "x".repeat(36), topic));
            s.say("an id of 37", 1, GroupAsk.enter(s.topic("g1"), "x".repeat(37), topic));
            s.say("no id and no epoch", 1, GroupAsk.pulse(s.topic("g1"), "", 1));
        });
        c.add("ConsumerGroupHeartbeat/topics that come later", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var me = id(s, "a");
            var later = s.topic("later");
            int epoch = GroupAsk.epoch(s.say("of a topic that is not", 1, GroupAsk.enter(group, me, later)));
            s.say("described", 0, GroupAsk.describeConsumers(group));
            s.create("later", 2);
            int[] now = {epoch};
            Side.until("the topic is seen", () -> {
                now[0] = GroupAsk.epoch(s.ask(1, GroupAsk.pulse(group, me, now[0])));
                return now[0] > epoch;
            });
            s.say("described with the topic", 0, GroupAsk.describeConsumers(group));
            s.say("it grows", 3, Ask.grow(later, 3));
            int before = settle(s, group, me, now[0], GroupAsk.owns(s, later, 0, 1));
            now[0] = before;
            s.ready(later, 3);
            Side.until("the partition is seen", () -> {
                var seen = ((ConsumerGroupDescribeResponseData) s.ask(0, GroupAsk.describeConsumers(group)).message()).groups().get(0).groupEpoch();
                s.ask(1, GroupAsk.pulse(group, me, now[0]));
                return seen > epoch + 1;
            });
        });
    }

    static void refused(Compare c) {
        c.add("ConsumerGroupHeartbeat/refused", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            s.versions(ApiKeys.CONSUMER_GROUP_HEARTBEAT, v -> {
                var group = s.topic("g" + v);
                var me = id(s, "a" + v);
                s.say("a group without name", v, GroupAsk.enter("", me, topic));
                s.say("a group of blanks", v, GroupAsk.enter("  ", me, topic));
                for (int ms : new int[] {-1, 0, -5}) s.say("a rebalance of " + ms, v, GroupAsk.enter(group, me, topic).setRebalanceTimeoutMs(ms));
                s.say("without topics", v, GroupAsk.enter(group, me, topic).setSubscribedTopicNames(null));
                s.say("with an empty list of topics", v, GroupAsk.enter(s.topic("e" + v), me));
                s.say("a topic twice", v, GroupAsk.enter(s.topic("w" + v), me, topic, topic));
                s.say("without partitions", v, GroupAsk.enter(group, me, topic).setTopicPartitions(null));
                s.say("with partitions", v, GroupAsk.enter(group, me, topic).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0))));
                s.say("an empty instance", v, GroupAsk.enter(group, me, topic).setInstanceId(""));
                s.say("an instance of blanks", v, GroupAsk.enter(group, me, topic).setInstanceId("  "));
                s.say("an empty rack", v, GroupAsk.enter(group, me, topic).setRackId(""));
                s.say("an assignor nobody knows", v, GroupAsk.enter(group, me, topic).setServerAssignor("magic"));
                s.say("an empty assignor", v, GroupAsk.enter(group, me, topic).setServerAssignor(""));
                s.say("an epoch in a group that is not", v, GroupAsk.pulse(group, me, 1));
                s.say("leaving a group that is not", v, GroupAsk.pulse(group, me, -1));
                s.say("a static leave without name", v, GroupAsk.pulse(group, me, -2));
                s.say("epoch -3", v, GroupAsk.pulse(group, me, -3));
                int epoch = GroupAsk.epoch(s.ask(v, GroupAsk.enter(group, me, topic)));
                s.say("a stranger", v, GroupAsk.pulse(group, id(s, "stranger" + v), epoch));
                s.say("a stranger leaves", v, GroupAsk.pulse(group, id(s, "stranger" + v), -1));
                s.say("an empty list of topics now", v, GroupAsk.pulse(group, me, epoch).setSubscribedTopicNames(List.of()));
                s.say("another rebalance time now", v, GroupAsk.pulse(group, me, GroupAsk.epoch(s.ask(v, GroupAsk.pulse(group, me, epoch)))).setRebalanceTimeoutMs(50_000));
                for (var assignor : List.of("range", "uniform")) s.say("by " + assignor, v, GroupAsk.enter(s.topic(assignor + v), id(s, assignor + v), topic).setServerAssignor(assignor));
                s.say("described by range", 0, GroupAsk.describeConsumers(s.topic("range" + v)));
            });
        });
    }

    static void epochs(Compare c) {
        c.add("ConsumerGroupHeartbeat/epochs", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            var other = create(s, "o", 1);
            s.versions(ApiKeys.CONSUMER_GROUP_HEARTBEAT, v -> {
                var group = s.topic("g" + v);
                var me = id(s, "a" + v);
                int first = GroupAsk.epoch(s.ask(v, GroupAsk.enter(group, me, topic)));
                s.ask(v, GroupAsk.pulse(group, me, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1))));
                s.say("one ahead", v, GroupAsk.pulse(group, me, first + 1));
                s.say("one behind", v, GroupAsk.pulse(group, me, first - 1 == 0 ? 100 : first - 1));
                var second = s.say("reads another topic too", v, GroupAsk.pulse(group, me, first).setSubscribedTopicNames(List.of(topic, other)));
                s.say("the previous epoch, owning what it did", v, GroupAsk.pulse(group, me, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1))));
                s.say("the previous epoch, owning more", v, GroupAsk.pulse(group, me, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1), GroupAsk.owns(s, other, 0))));
                s.say("the previous epoch, silent on what it owns", v, GroupAsk.pulse(group, me, first));
                s.say("its epoch", v, GroupAsk.pulse(group, me, GroupAsk.epoch(second)));
                s.say("reads nothing else", v, GroupAsk.pulse(group, me, GroupAsk.epoch(second)).setSubscribedTopicNames(List.of(other)));
                s.say("described", 0, GroupAsk.describeConsumers(group));
                s.say("long ago", v, GroupAsk.pulse(group, me, first));
            });
        });
    }

    static void assignments(Compare c) {
        c.add("ConsumerGroupHeartbeat/two members share", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.CONSUMER_GROUP_HEARTBEAT, v -> {
                var topic = create(s, "t" + v, 4);
                var group = s.topic("g" + v);
                String a = id(s, "a" + v), b = id(s, "b" + v);
                int first = GroupAsk.epoch(s.say("a joins", v, GroupAsk.enter(group, a, topic).setServerAssignor("range")));
                s.say("a owns all", v, GroupAsk.pulse(group, a, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1, 2, 3))));
                int bEpoch = GroupAsk.epoch(s.say("b joins", v, GroupAsk.enter(group, b, topic)));
                s.say("described while a owns all", 0, GroupAsk.describeConsumers(group));
                s.say("b waits", v, GroupAsk.pulse(group, b, bEpoch));
                s.say("a is told", v, GroupAsk.pulse(group, a, first));
                s.say("a still owns all", v, GroupAsk.pulse(group, a, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1, 2, 3))));
                s.say("described while a gives up", 0, GroupAsk.describeConsumers(group));
                s.say("b still waits", v, GroupAsk.pulse(group, b, bEpoch));
                var done = s.say("a has given up", v, GroupAsk.pulse(group, a, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1))));
                s.say("b gets its share", v, GroupAsk.pulse(group, b, bEpoch));
                s.say("b owns it", v, GroupAsk.pulse(group, b, bEpoch).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 2, 3))));
                s.say("described when stable", 0, GroupAsk.describeConsumers(group));
                s.say("b leaves", v, GroupAsk.pulse(group, b, -1));
                s.say("a gets all back", v, GroupAsk.pulse(group, a, GroupAsk.epoch(done)));
                s.say("described when a is alone", 0, GroupAsk.describeConsumers(group));
            });
        });
        c.add("ConsumerGroupHeartbeat/by range, several topics", s -> {
            GroupAsk.ready(s, 0);
            var one = create(s, "one", 5);
            var two = create(s, "two", 3);
            var group = s.topic("g");
            for (var name : List.of("a", "b", "c")) s.ask(1, GroupAsk.enter(group, id(s, name), name.equals("c") ? new String[] {two} : new String[] {one, two}).setServerAssignor("range"));
            targets(s, "what each shall have", group);
        });
        c.add("ConsumerGroupHeartbeat/uniform is even", s -> {
            GroupAsk.ready(s, 0);
            var one = create(s, "one", 5);
            var two = create(s, "two", 3);
            var group = s.topic("g");
            for (var name : List.of("a", "b", "c")) s.ask(1, GroupAsk.enter(group, id(s, name), one, two).setServerAssignor("uniform"));
            // Which partitions exactly is the assignor's affair; how many is not.
            var answer = (ConsumerGroupDescribeResponseData) s.ask(0, GroupAsk.describeConsumers(group)).message();
            var sizes = answer.groups().get(0).members().stream().map(m -> m.targetAssignment().topicPartitions().stream().mapToInt(t -> t.partitions().size()).sum()).sorted().toList();
            s.note("how many each shall have", sizes);
            s.note("the assignor", answer.groups().get(0).assignorName());
        });
        c.add("ConsumerGroupHeartbeat/the vote for an assignor", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 3);
            var group = s.topic("g");
            for (var pair : List.of("a:range", "b:uniform", "c:uniform")) s.ask(1, GroupAsk.enter(group, id(s, pair.substring(0, 1)), topic).setServerAssignor(pair.substring(2)));
            s.note("chosen", ((ConsumerGroupDescribeResponseData) s.ask(0, GroupAsk.describeConsumers(group)).message()).groups().get(0).assignorName());
        });
    }

    static void targets(Side s, String label, String group) {
        var answer = (ConsumerGroupDescribeResponseData) s.ask(0, GroupAsk.describeConsumers(group)).message();
        var found = new TreeMap<String, String>();
        for (var m : answer.groups().get(0).members()) {
            var parts = new TreeMap<String, List<Integer>>();
            for (var t : m.targetAssignment().topicPartitions()) parts.put(t.topicName(), t.partitions().stream().sorted().toList());
            found.put(m.memberId(), parts.toString());
        }
        s.note(label, found);
    }

    static void regex(Compare c) {
        c.add("ConsumerGroupHeartbeat/regular expressions", s -> {
            GroupAsk.ready(s, 0);
            var one = create(s, "red-1", 1);
            create(s, "blue-1", 1);
            var group = s.topic("g");
            var me = id(s, "a");
            for (var bad : List.of("(", "[a", "*", "a{2,1}", "(?<n>a)(?P<n>b)")) s.say("not an expression: " + bad, 1, GroupAsk.enter(group, me).setSubscribedTopicNames(null).setSubscribedTopicRegex(bad));
            s.say("an empty one", 1, GroupAsk.enter(group, me).setSubscribedTopicNames(null).setSubscribedTopicRegex(""));
            s.say("with a back reference", 1, GroupAsk.enter(s.topic("back"), id(s, "back")).setSubscribedTopicNames(null).setSubscribedTopicRegex("(a)\\1"));
            var pattern = s.prefix() + "red-.*" + s.normal.tag;
            int[] epoch = {GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me).setSubscribedTopicNames(null).setSubscribedTopicRegex(pattern)))};
            Side.until("the topic is found", () -> assigned(s, group, me, epoch).equals(Set.of(one)));
            s.note("found", assigned(s, group, me, epoch));
            var two = s.create("red-2", 1);
            Side.until("the new topic is found", () -> assigned(s, group, me, epoch).equals(Set.of(one, two)));
            s.note("found later", new TreeSet<>(assigned(s, group, me, epoch)));
            s.ask(5, Ask.delete(5, one));
            Side.until("the deleted topic is gone", () -> assigned(s, group, me, epoch).equals(Set.of(two)));
            s.note("found at last", assigned(s, group, me, epoch));
            s.say("names and an expression", 1, GroupAsk.pulse(group, me, epoch[0]).setSubscribedTopicNames(List.of(two)).setSubscribedTopicRegex(pattern));
        });
    }

    /** The topics of a member's target; a heartbeat keeps it moving. */
    static Set<String> assigned(Side s, String group, String member, int[] epoch) {
        var answer = s.ask(1, GroupAsk.pulse(group, member, epoch[0]));
        if (Side.firstError(answer).equals("0")) epoch[0] = GroupAsk.epoch(answer);
        var found = new HashSet<String>();
        for (var m : ((ConsumerGroupDescribeResponseData) s.ask(0, GroupAsk.describeConsumers(group)).message()).groups().get(0).members())
            for (var t : m.targetAssignment().topicPartitions()) found.add(t.topicName());
        return found;
    }

    static void staticMembers(Compare c) {
        c.add("ConsumerGroupHeartbeat/static members", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.CONSUMER_GROUP_HEARTBEAT, v -> {
                var topic = create(s, "t" + v, 2);
                var group = s.topic("g" + v);
                String old = id(s, "old" + v), now = id(s, "new" + v);
                int epoch = GroupAsk.epoch(s.say("joins", v, GroupAsk.enter(group, old, topic).setInstanceId("fixed")));
                s.ask(v, GroupAsk.pulse(group, old, epoch).setInstanceId("fixed").setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1))));
                s.say("another while it is there", v, GroupAsk.enter(group, now, topic).setInstanceId("fixed"));
                s.say("a stranger in its name", v, GroupAsk.pulse(group, now, epoch).setInstanceId("fixed"));
                s.say("under a name nobody has", v, GroupAsk.pulse(group, old, epoch).setInstanceId("nobody"));
                s.say("leaves for a while", v, GroupAsk.pulse(group, old, -2).setInstanceId("fixed"));
                s.say("described while it is away", 0, GroupAsk.describeConsumers(group));
                s.say("comes back under another id", v, GroupAsk.enter(group, now, topic).setInstanceId("fixed"));
                s.say("described when it is back", 0, GroupAsk.describeConsumers(group));
                s.say("the old id", v, GroupAsk.pulse(group, old, epoch).setInstanceId("fixed"));
                s.say("the old id leaves", v, GroupAsk.pulse(group, old, -1).setInstanceId("fixed"));
                s.say("leaves for good", v, GroupAsk.pulse(group, now, -1).setInstanceId("fixed"));
                s.say("described at last", 0, GroupAsk.describeConsumers(group));
            });
        });
    }

    static void offsets(Compare c) {
        c.add("OffsetCommit/by members of the consumer protocol", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            s.versions(ApiKeys.OFFSET_COMMIT, v -> {
                var group = s.topic("g" + v);
                var me = id(s, "a" + v);
                int first = GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me, topic)));
                s.ask(1, GroupAsk.pulse(group, me, first).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1))));
                s.say("with its epoch", v, CommitCases.one(s, v, group, new GroupAsk.Member(me, first, ""), topic, 0, 1));
                for (int off : new int[] {-1, 1}) s.say("epoch " + off + " off", v, CommitCases.one(s, v, group, new GroupAsk.Member(me, first + off, ""), topic, 0, 2));
                s.say("a stranger", v, CommitCases.one(s, v, group, new GroupAsk.Member(id(s, "stranger"), first, ""), topic, 0, 3));
                s.say("nobody", v, CommitCases.one(s, v, group, GroupAsk.NOBODY, topic, 0, 4));
                s.say("without epoch", v, CommitCases.one(s, v, group, new GroupAsk.Member(me, -1, ""), topic, 0, 5));
                s.ask(1, GroupAsk.pulse(group, me, -1));
                s.say("after it has left", v, CommitCases.one(s, v, group, new GroupAsk.Member(me, first, ""), topic, 0, 6));
                s.say("nobody, when it has left", v, CommitCases.one(s, v, group, GroupAsk.NOBODY, topic, 1, 7));
                CommitCases.shown(s, "shown after v" + v, group);
            });
            s.versions(ApiKeys.OFFSET_FETCH, 9, 10, v -> {
                var group = s.topic("f" + v);
                var me = id(s, "f" + v);
                int epoch = GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me, topic)));
                s.ask(9, CommitCases.one(s, 9, group, new GroupAsk.Member(me, epoch, ""), topic, 0, 3));
                var wanted = GroupAsk.fetchGroup(s, v, group, Map.of(topic, List.of(0, 1)));
                s.say("fetched by the member", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberId(me).setMemberEpoch(epoch))));
                s.say("fetched with an old epoch", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberEpoch(epoch - 1))));
                s.say("fetched with a new epoch", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberEpoch(epoch + 1))));
                s.say("fetched by a stranger", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberId("stranger").setMemberEpoch(epoch))));
                s.say("fetched by nobody", v, new OffsetFetchRequestData().setGroups(List.of(wanted.setMemberId(null).setMemberEpoch(-1))));
            });
        });
        c.add("OffsetDelete/of groups of the consumer protocol", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            var other = create(s, "o", 1);
            var group = s.topic("g");
            var me = id(s, "a");
            int epoch = GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me, topic)));
            s.ask(9, CommitCases.one(s, 9, group, new GroupAsk.Member(me, epoch, ""), topic, 0, 3));
            s.ask(9, CommitCases.one(s, 9, group, new GroupAsk.Member(me, epoch, ""), other, 0, 3));
            s.say("read and not read", 0, GroupAsk.deleteOffsets(group, new TreeMap<>(Map.of(topic, List.of(0), other, List.of(0)))));
            CommitCases.shown(s, "what is left", group);
        });
    }

    static void mixed(Compare c) {
        c.add("ConsumerGroupHeartbeat/in a classic group", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            var others = s.topic("others");
            GroupAsk.alone(s, others);
            s.say("one that is no consumer group", 1, GroupAsk.enter(others, id(s, "x"), topic));
            var empty = s.topic("empty");
            var gone = GroupAsk.alone(s, empty);
            s.ask(1, GroupAsk.leave(1, empty, gone.id()));
            s.say("an empty one of another kind", 1, GroupAsk.enter(empty, id(s, "y"), topic));
            var simple = s.topic("simple");
            GroupAsk.committed(s, simple, topic, 0, 4);
            s.say("one with offsets only", 1, GroupAsk.enter(simple, id(s, "z"), topic));
            CommitCases.shown(s, "whose offsets stay", simple);
        });
        c.add("ConsumerGroupHeartbeat/migration", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 4);
            var group = s.topic("g");
            var classic = GroupAsk.member(s.ask(5, CommitCases.consumer(group, GroupAsk.firstId(s, 5, group), topic)));
            s.ask(5, GroupAsk.sync(group, classic.generation(), classic.id(), null).setProtocolType("consumer").setProtocolName("range").setAssignments(List.of(
                new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(classic.id()).setAssignment(assignment(topic, 0, 1, 2, 3)))));
            GroupAsk.committed(s, s.topic("warm2"), topic, 0, 1);
            var me = id(s, "a");
            int epoch = GroupAsk.epoch(s.say("a member of the new protocol joins", 1, GroupAsk.enter(group, me, topic).setServerAssignor("range")));
            s.say("described as new", 1, GroupAsk.describeConsumers(group));
            s.say("described as old", 5, GroupAsk.describe(group));
            s.say("the old member is told", 4, GroupAsk.beat(group, classic.generation(), classic.id(), null));
            var again = GroupAsk.member(s.say("the old member joins again", 5, CommitCases.consumer(group, classic.id(), topic)));
            s.say("and has its assignment", 5, GroupAsk.sync(group, again.generation(), again.id(), null));
            s.say("its heartbeat", 4, GroupAsk.beat(group, again.generation(), again.id(), null));
            s.say("its commit", 9, CommitCases.one(s, 9, group, again, topic, 0, 3));
            s.say("the new member's share", 1, GroupAsk.pulse(group, me, epoch));
            s.say("described when mixed", 1, GroupAsk.describeConsumers(group));
            s.say("the new member leaves", 1, GroupAsk.pulse(group, me, -1));
            s.say("described when it is old again", 5, GroupAsk.describe(group));
            s.say("listed", 6, GroupAsk.describe(group));
        });
        c.add("JoinGroup/into a group of the consumer protocol", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 4);
            var group = s.topic("g");
            var me = id(s, "a");
            int epoch = GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me, topic).setServerAssignor("range")));
            s.ask(1, GroupAsk.pulse(group, me, epoch).setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1, 2, 3))));
            s.say("of another kind", 5, GroupAsk.join(group, ""));
            var first = s.ask(5, CommitCases.consumer(group, "", topic));
            var id = first.replied() ? ((JoinGroupResponseData) first.message()).memberId() : "";
            if (!id.isEmpty()) s.normal.member(id, "classic");
            s.write("v5 without id", first);
            var joined = s.say("with its id", 5, CommitCases.consumer(group, id, topic));
            if (!Side.firstError(joined).equals("0")) return;
            var classic = GroupAsk.member(joined);
            s.say("its assignment", 5, GroupAsk.sync(group, classic.generation(), classic.id(), null));
            s.say("its heartbeat", 4, GroupAsk.beat(group, classic.generation(), classic.id(), null));
            s.say("with a generation off", 4, GroupAsk.beat(group, classic.generation() + 1, classic.id(), null));
            s.say("described", 1, GroupAsk.describeConsumers(group));
            s.say("it leaves", 3, GroupAsk.leave(3, group, classic.id()));
            s.say("described without it", 1, GroupAsk.describeConsumers(group));
        });
        for (boolean other : new boolean[] {false, true}) c.add("JoinGroup/the last static member goes back to the classic protocol" + (other ? ", with another subscription" : ""), s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            var more = create(s, "u", 2);
            var group = s.topic("g");
            var me = id(s, "a");
            int epoch = GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me, topic).setInstanceId("fixed")));
            s.ask(1, GroupAsk.pulse(group, me, epoch).setInstanceId("fixed").setTopicPartitions(List.of(GroupAsk.owns(s, topic, 0, 1))));
            var first = s.ask(5, CommitCases.consumer(group, "", other ? more : topic).setGroupInstanceId("fixed"));
            var id = first.replied() ? ((JoinGroupResponseData) first.message()).memberId() : "";
            if (!id.isEmpty()) s.normal.member(id, "classic");
            s.write("v5 as a classic member", first);
            s.say("described as classic", 5, GroupAsk.describe(group));
            s.say("described as a consumer group", 1, GroupAsk.describeConsumers(group));
            int generation = first.replied() ? ((JoinGroupResponseData) first.message()).generationId() : -1;
            s.say("its heartbeat", 4, GroupAsk.beat(group, generation, id, "fixed"));
            s.say("its assignment", 5, GroupAsk.sync(group, generation, id, "fixed"));
            s.say("its heartbeat again", 4, GroupAsk.beat(group, generation, id, "fixed"));
            s.say("the one it was", 1, GroupAsk.pulse(group, me, epoch).setInstanceId("fixed"));
        });
    }

    static byte[] assignment(String topic, int... partitions) {
        var bytes = java.nio.ByteBuffer.allocate(1024).putShort((short) 0).putInt(1).putShort((short) topic.length()).put(topic.getBytes()).putInt(partitions.length);
        for (int p : partitions) bytes.putInt(p);
        return Arrays.copyOf(bytes.putInt(-1).array(), bytes.position());
    }

    static void describe(Compare c) {
        c.add("ConsumerGroupDescribe", s -> {
            GroupAsk.ready(s, 0);
            var topic = create(s, "t", 2);
            var group = s.topic("g");
            s.ask(1, GroupAsk.enter(group, id(s, "a"), topic).setRackId("r1"));
            var classic = s.topic("classic");
            GroupAsk.alone(s, classic);
            s.versions(ApiKeys.CONSUMER_GROUP_DESCRIBE, v -> {
                s.say("one", v, GroupAsk.describeConsumers(group));
                s.say("one that is not", v, GroupAsk.describeConsumers(s.topic("nobody")));
                s.say("one without name", v, GroupAsk.describeConsumers(""));
                s.say("a classic one", v, GroupAsk.describeConsumers(classic));
                s.say("none", v, GroupAsk.describeConsumers());
                s.say("several, one twice", v, GroupAsk.describeConsumers(group, s.topic("nobody"), group));
                s.say("with operations", v, GroupAsk.describeConsumers(group).setIncludeAuthorizedOperations(true));
            });
        });
    }
}
