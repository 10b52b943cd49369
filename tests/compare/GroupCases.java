import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup: the classic protocol. */
final class GroupCases {
    static final List<String> ODD_GROUPS = List.of(" ", "a b", "ä/%", "x".repeat(300), "x".repeat(32_000));

    static void add(Compare c) {
        find(c);
        join(c);
        sync(c);
        heartbeat(c);
        leave(c);
        rebalances(c);
        staticMembers(c);
        timeouts(c);
    }

    static String shortly(String text) { return text.length() > 20 ? "of " + text.length() : "'" + text + "'"; }

    static void find(Compare c) {
        c.add("FindCoordinator", s -> {
            GroupAsk.ready(s, 0);
            GroupAsk.ready(s, 1);
            s.versions(ApiKeys.FIND_COORDINATOR, v -> {
                s.say("a group", v, GroupAsk.find(v, 0, s.topic("g")));
                s.say("no name", v, GroupAsk.find(v, 0, ""));
                for (var odd : ODD_GROUPS) s.say("a group " + shortly(odd), v, GroupAsk.find(v, 0, odd));
                if (v >= 1) for (int type : new int[] {1, 2, 3, 127, -1}) s.say("type " + type, v, GroupAsk.find(v, type, s.topic("g")));
                if (v >= 1) s.say("type 1, no name", v, GroupAsk.find(v, 1, ""));
                if (v >= 4) {
                    s.say("several", v, GroupAsk.find(v, 0, s.topic("a"), s.topic("b"), s.topic("c")));
                    s.say("one twice", v, GroupAsk.find(v, 0, s.topic("a"), s.topic("a")));
                    s.say("none", v, GroupAsk.find(v, 0));
                    s.say("one of them without name", v, GroupAsk.find(v, 1, s.topic("a"), ""));
                }
            });
        });
    }

    static void join(Compare c) {
        c.add("JoinGroup/alone", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.JOIN_GROUP, v -> {
                var group = s.topic("g" + v);
                s.say("the first, without id", v, GroupAsk.join(group, ""));
                if (v >= 4) {
                    s.say("once more without id", v, GroupAsk.join(group, ""));
                    s.say("described while an id is pending", 5, GroupAsk.describe(group));
                }
                var other = s.topic("h" + v);
                var id = GroupAsk.firstId(s, v, other);
                var answer = s.say("with an id if need be", v, GroupAsk.join(other, id));
                s.say("described before it is synced", 5, GroupAsk.describe(other));
                var member = GroupAsk.member(answer);
                s.say("its own id again", v, GroupAsk.join(other, member.id()));
                s.say("changed metadata", v, GroupAsk.join(other, member.id(), null, "one", "other"));
                s.say("several protocols", v, GroupAsk.join(other, member.id(), null, "two", "a", "one", "b", "three", ""));
                s.say("described", 5, GroupAsk.describe(other));
            });
        });
        c.add("JoinGroup/refused", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.JOIN_GROUP, v -> {
                var group = s.topic("g" + v);
                s.say("an id nobody gave", v, GroupAsk.join(group, "compare-nobody"));
                s.say("a group without name", v, GroupAsk.join("", ""));
                for (int ms : new int[] {0, -1, 1, 999, 1_800_001, Integer.MAX_VALUE}) s.say("a session of " + ms, v, GroupAsk.join(group, "").setSessionTimeoutMs(ms));
                if (v >= 1) for (int ms : new int[] {0, -1, Integer.MIN_VALUE}) s.say("a rebalance of " + ms, v, GroupAsk.join(s.topic("r" + v + "x" + ms), "").setRebalanceTimeoutMs(ms));
                s.say("no protocol type", v, GroupAsk.join(group, "").setProtocolType(""));
                s.say("no protocols", v, GroupAsk.join(group, "", null));
                s.say("a protocol without name", v, GroupAsk.join(s.topic("p" + v), "", null, "", "x"));
                var there = GroupAsk.alone(s, s.topic("there" + v));
                s.say("another protocol type", v, GroupAsk.join(s.topic("there" + v), "").setProtocolType("others"));
                s.say("another protocol", v, GroupAsk.join(s.topic("there" + v), "", null, "two", "x"));
                s.say("its own id with another type", v, GroupAsk.join(s.topic("there" + v), there.id()).setProtocolType("others"));
                s.say("its own id with another protocol", v, GroupAsk.join(s.topic("there" + v), there.id(), null, "two", "x"));
                s.say("an id nobody gave, in a group", v, GroupAsk.join(s.topic("there" + v), "compare-nobody"));
                s.say("described", 5, GroupAsk.describe(s.topic("there" + v)));
                if (v >= 5) {
                    s.say("an instance nobody knows with an id", v, GroupAsk.join(s.topic("there" + v), "compare-nobody", "nobody", "one", "x"));
                    for (var bad : List.of("", ".", "..", "a b", "ä", "x".repeat(250))) s.better("v" + v + " an instance called " + shortly(bad), () -> s.ask(v, GroupAsk.join(group, "", bad, "one", "x")), "error 42", "error 17");
                }
            });
        });
        c.add("JoinGroup/odd names of groups", s -> {
            GroupAsk.ready(s, 0);
            for (var odd : ODD_GROUPS) {
                var group = odd + s.topic("g");
                if (group.length() > 32_767) continue;
                var id = ((JoinGroupResponseData) s.say("joined " + shortly(odd), 5, GroupAsk.join(group, "")).message()).memberId();
                s.say("joined with id " + shortly(odd), 5, GroupAsk.join(group, id));
                s.say("described " + shortly(odd), 5, GroupAsk.describe(group));
            }
        });
        c.add("JoinGroup/large metadata", s -> {
            GroupAsk.ready(s, 0);
            for (int size : new int[] {100_000, 900_000, 1_100_000}) {
                var answer = s.ask(3, GroupAsk.join(s.topic("g" + size), "", null, "one", "m".repeat(size)));
                s.note("joined with " + size, answer.replied() ? Side.firstError(answer) : answer.fate());
                // The largest cannot be stored, which Kafka finds only now.
                if (!answer.replied() || !Side.firstError(answer).equals("0") || size > 1_000_000) continue;
                var member = GroupAsk.member(answer);
                s.say("synced with " + size, 3, GroupAsk.sync(s.topic("g" + size), member.generation(), member.id(), null, member.id(), "mine"));
            }
            for (int size : new int[] {100_000, 900_000, 1_100_000}) {
                var group = s.topic("a" + size);
                var member = GroupAsk.member(s.ask(3, GroupAsk.join(group, "")));
                var answer = s.ask(3, GroupAsk.sync(group, member.generation(), member.id(), null, member.id(), "a".repeat(size)));
                s.note("synced an assignment of " + size, answer.replied() ? Side.firstError(answer) + " " + ((SyncGroupResponseData) answer.message()).assignment().length : answer.fate());
            }
        });
    }

    static void sync(Compare c) {
        c.add("SyncGroup", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.SYNC_GROUP, v -> {
                var group = s.topic("g" + v);
                s.say("an unknown group", v, GroupAsk.sync(group, 1, "compare-nobody", null));
                s.say("no group", v, GroupAsk.sync("", 1, "compare-nobody", null));
                var member = GroupAsk.member(s.ask(3, GroupAsk.join(group, "", null, "one", "a", "two", "b")));
                s.say("an unknown member", v, GroupAsk.sync(group, member.generation(), "compare-nobody", null));
                s.say("no member", v, GroupAsk.sync(group, member.generation(), "", null));
                for (int off : new int[] {-1, 1, -100}) s.say("generation " + off + " off", v, GroupAsk.sync(group, member.generation() + off, member.id(), null, member.id(), "x"));
                if (v >= 5) {
                    s.say("another protocol type", v, GroupAsk.sync(group, member.generation(), member.id(), null).setProtocolType("others").setProtocolName("one"));
                    s.say("another protocol", v, GroupAsk.sync(group, member.generation(), member.id(), null).setProtocolType("compare").setProtocolName("two"));
                }
                s.say("the leader, for itself and a stranger", v, named(v, GroupAsk.sync(group, member.generation(), member.id(), null, member.id(), "mine", "compare-nobody", "not mine")));
                s.say("once more, with other words", v, named(v, GroupAsk.sync(group, member.generation(), member.id(), null, member.id(), "other")));
                s.say("once more, with none", v, named(v, GroupAsk.sync(group, member.generation(), member.id(), null)));
                s.say("described", 5, GroupAsk.describe(group));
                var none = s.topic("n" + v);
                member = GroupAsk.member(s.ask(3, GroupAsk.join(none, "")));
                s.say("a leader that gives nothing", v, GroupAsk.sync(none, member.generation(), member.id(), null));
                s.say("described with nothing given", 5, GroupAsk.describe(none));
                var empty = s.topic("e" + v);
                member = GroupAsk.member(s.ask(3, GroupAsk.join(empty, "")));
                s.say("a leader that gives empty bytes", v, GroupAsk.sync(empty, member.generation(), member.id(), null, member.id(), ""));
                var twice = s.topic("t" + v);
                member = GroupAsk.member(s.ask(3, GroupAsk.join(twice, "")));
                s.say("a leader that gives twice", v, GroupAsk.sync(twice, member.generation(), member.id(), null, member.id(), "first", member.id(), "second"));
            });
        });
    }

    static SyncGroupRequestData named(int version, SyncGroupRequestData request) {
        return version >= 5 ? request.setProtocolType("compare").setProtocolName("one") : request;
    }

    static void heartbeat(Compare c) {
        c.add("Heartbeat", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.HEARTBEAT, v -> {
                var group = s.topic("g" + v);
                s.say("an unknown group", v, GroupAsk.beat(group, 1, "compare-nobody", null));
                s.say("no group", v, GroupAsk.beat("", 1, "compare-nobody", null));
                s.say("an unknown group, generation -1", v, GroupAsk.beat(group, -1, "", null));
                var member = GroupAsk.member(s.ask(3, GroupAsk.join(group, "")));
                s.say("before it is synced", v, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.ask(3, GroupAsk.sync(group, member.generation(), member.id(), null, member.id(), "mine"));
                s.say("stable", v, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.say("an unknown member", v, GroupAsk.beat(group, member.generation(), "compare-nobody", null));
                s.say("no member", v, GroupAsk.beat(group, member.generation(), "", null));
                for (int off : new int[] {-1, 1}) s.say("generation " + off + " off", v, GroupAsk.beat(group, member.generation() + off, member.id(), null));
                if (v >= 3) s.say("with an instance it does not have", v, GroupAsk.beat(group, member.generation(), member.id(), "nobody"));
                var pending = s.begin(3, GroupAsk.join(group, ""));
                Side.until("the rebalance", () -> Side.firstError(s.ask(3, GroupAsk.beat(group, member.generation(), member.id(), null))).equals("27"));
                s.say("while another joins", v, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.say("gone", 1, GroupAsk.leave(1, group, member.id()));
                s.say("after leaving", v, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.sayEnd("the other is alone now", pending);
            });
        });
    }

    static void leave(Compare c) {
        c.add("LeaveGroup", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.LEAVE_GROUP, v -> {
                var group = s.topic("g" + v);
                s.say("an unknown group", v, GroupAsk.leave(v, group, "compare-nobody"));
                s.say("no group", v, GroupAsk.leave(v, "", "compare-nobody"));
                var member = GroupAsk.alone(s, group);
                s.say("an unknown member", v, GroupAsk.leave(v, group, "compare-nobody"));
                s.say("no member", v, GroupAsk.leave(v, group, ""));
                s.say("the member", v, GroupAsk.leave(v, group, member.id()));
                s.say("the member again", v, GroupAsk.leave(v, group, member.id()));
                s.say("described", 5, GroupAsk.describe(group));
                var pending = s.topic("p" + v);
                var id = GroupAsk.firstId(s, 4, pending);
                s.say("one that only has an id", v, GroupAsk.leave(v, pending, id));
                s.say("its id afterwards", 4, GroupAsk.join(pending, id));
                if (v < 3) return;
                var some = s.topic("s" + v);
                var fixed = GroupAsk.alone(s, some, "fixed");
                s.say("nobody", v, GroupAsk.leave(some));
                s.say("an unknown instance", v, GroupAsk.leave(some, "", "nobody"));
                s.say("an instance with another's id", v, GroupAsk.leave(some, "compare-nobody", "fixed"));
                s.say("an unknown instance with an id", v, GroupAsk.leave(some, fixed.id(), "nobody"));
                s.say("a static member by its id alone", v, GroupAsk.leave(some, fixed.id(), null));
                fixed = GroupAsk.alone(s, some, "fixed");
                s.say("by its instance, and strangers", v, GroupAsk.leave(some, "compare-nobody", null, "", "fixed", "", "nobody"));
                fixed = GroupAsk.alone(s, some, "fixed");
                s.say("the same twice", v, GroupAsk.leave(some, fixed.id(), "fixed", fixed.id(), "fixed"));
                s.say("described", 5, GroupAsk.describe(some));
            });
        });
    }

    static void rebalances(Compare c) {
        c.add("JoinGroup/two members", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.JOIN_GROUP, v -> {
                var group = s.topic("g" + v);
                var leader = GroupAsk.alone(s, group);
                var id = GroupAsk.firstId(s, v, group);
                var second = s.begin(v, GroupAsk.join(group, id, null, "one", "second"));
                s.sayWaiting("v" + v + " the second waits for the first", second);
                s.say("described while they join", 5, GroupAsk.describe(group));
                s.say("a sync of the old generation", 3, GroupAsk.sync(group, leader.generation(), leader.id(), null));
                s.say("the first joins again", v, GroupAsk.join(group, leader.id(), null, "one", "first"));
                var follower = GroupAsk.member(s.sayEnd("the second has joined", second));
                s.say("a heartbeat before the assignment", 3, GroupAsk.beat(group, follower.generation(), follower.id(), null));
                s.say("described before the assignment", 5, GroupAsk.describe(group));
                var waiting = s.begin(3, GroupAsk.sync(group, follower.generation(), follower.id(), null));
                s.sayWaiting("v" + v + " the second waits for its assignment", waiting);
                s.say("the first assigns", 3, GroupAsk.sync(group, follower.generation(), leader.id(), null, leader.id(), "A", follower.id(), "B"));
                s.sayEnd("the second has its assignment", waiting);
                s.say("described", 5, GroupAsk.describe(group));
                s.say("the second joins again unchanged", v, GroupAsk.join(group, follower.id(), null, "one", "second"));
                s.say("its assignment still", 3, GroupAsk.sync(group, follower.generation(), follower.id(), null));
                var changed = s.begin(v, GroupAsk.join(group, follower.id(), null, "one", "changed"));
                s.sayWaiting("v" + v + " the second changed", changed);
                s.say("the first is told", 3, GroupAsk.beat(group, follower.generation(), leader.id(), null));
                s.say("the first leaves", 1, GroupAsk.leave(1, group, leader.id()));
                s.sayEnd("the second is alone", changed);
            });
        });
        c.add("JoinGroup/the vote for a protocol", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var first = GroupAsk.member(s.ask(3, GroupAsk.join(group, "", null, "a", "1", "b", "2", "c", "3")));
            var second = s.begin(5, GroupAsk.join(group, GroupAsk.firstId(s, 5, group), null, "c", "1", "b", "2"));
            s.sayWaiting("the second waits", second);
            var third = s.begin(5, GroupAsk.join(group, GroupAsk.firstId(s, 5, group), null, "b", "1", "c", "2", "x", "9"));
            s.sayWaiting("the third waits", third);
            s.say("nothing in common", 5, GroupAsk.join(group, "", null, "x", "1", "y", "2"));
            s.say("the first joins again", 7, GroupAsk.join(group, first.id(), null, "a", "1", "b", "2", "c", "3"));
            s.end(second);
            s.end(third);
            s.say("described", 5, GroupAsk.describe(group));
        });
        c.add("SyncGroup/a rebalance in between", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var first = GroupAsk.alone(s, group);
            var joining = s.begin(3, GroupAsk.join(group, ""));
            s.sayWaiting("the second waits", joining);
            var again = GroupAsk.member(s.ask(3, GroupAsk.join(group, first.id())));
            var second = GroupAsk.member(s.end(joining));
            var syncing = s.begin(3, GroupAsk.sync(group, second.generation(), second.id(), null));
            s.sayWaiting("the second wants its assignment", syncing);
            var third = s.begin(3, GroupAsk.join(group, ""));
            s.sayWaiting("a third joins", third);
            s.sayEnd("the second must join again", syncing);
            s.say("and so must the first", 3, GroupAsk.sync(group, again.generation(), first.id(), null, first.id(), "x"));
            s.say("the second leaves", 3, GroupAsk.leave(3, group, second.id()));
            s.say("the first leaves", 3, GroupAsk.leave(3, group, first.id()));
            s.sayEnd("the third is alone", third);
        });
        c.add("JoinGroup/the leader is back", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.JOIN_GROUP, v -> {
                var group = s.topic("g" + v);
                var member = GroupAsk.alone(s, group);
                s.say("a leader that joins again unchanged", v, GroupAsk.join(group, member.id()));
                s.say("its old generation", 3, GroupAsk.beat(group, member.generation(), member.id(), null));
                s.say("its new generation", 3, GroupAsk.beat(group, member.generation() + 1, member.id(), null));
            });
        });
        c.add("JoinGroup/an empty group goes on counting", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            for (int n = 0; n < 3; n++) {
                var member = GroupAsk.alone(s, group);
                s.note("generation", member.generation());
                s.say("described", 5, GroupAsk.describe(group));
                s.ask(1, GroupAsk.leave(1, group, member.id()));
                s.say("described when empty", 5, GroupAsk.describe(group));
            }
            s.say("another type of protocol", 3, GroupAsk.join(group, "").setProtocolType("others"));
        });
    }

    static void staticMembers(Compare c) {
        c.add("JoinGroup/static members", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.JOIN_GROUP, 5, 9, v -> {
                var group = s.topic("g" + v);
                var topic = s.create("t" + v, 1);
                var old = GroupAsk.member(s.say("the first of its name", v, GroupAsk.join(group, "", "fixed", "one", "meta")));
                s.ask(3, GroupAsk.sync(group, old.generation(), old.id(), "fixed", old.id(), "mine"));
                s.say("described", 5, GroupAsk.describe(group));
                var now = GroupAsk.member(s.say("another takes its place", v, GroupAsk.join(group, "", "fixed", "one", "meta")));
                s.say("described after that", 5, GroupAsk.describe(group));
                s.say("the assignment is still there", 3, GroupAsk.sync(group, now.generation(), now.id(), "fixed"));
                s.say("the old one joins", v, GroupAsk.join(group, old.id(), "fixed", "one", "meta"));
                s.say("the old one syncs", 3, GroupAsk.sync(group, old.generation(), old.id(), "fixed"));
                s.say("the old one's heartbeat", 3, GroupAsk.beat(group, old.generation(), old.id(), "fixed"));
                s.say("the old one's heartbeat without its name", 3, GroupAsk.beat(group, old.generation(), old.id(), null));
                s.say("the old one commits", 7, GroupAsk.commit(group, old, GroupAsk.topic(s, 7, topic, GroupAsk.at(0, 1, ""))).setGroupInstanceId("fixed"));
                s.say("the old one leaves", 3, GroupAsk.leave(group, old.id(), "fixed"));
                s.say("the new one's heartbeat", 3, GroupAsk.beat(group, now.generation(), now.id(), "fixed"));
                s.say("the new one under another name", 3, GroupAsk.beat(group, now.generation(), now.id(), "stranger"));
                s.say("the new one commits", 7, GroupAsk.commit(group, now, GroupAsk.topic(s, 7, topic, GroupAsk.at(0, 1, ""))).setGroupInstanceId("fixed"));
                s.say("the new one with other metadata", v, GroupAsk.join(group, now.id(), "fixed", "one", "other"));
                s.say("a third takes its place with other metadata", v, GroupAsk.join(group, "", "fixed", "one", "third"));
                s.say("described at last", 5, GroupAsk.describe(group));
            });
        });
        c.add("JoinGroup/a static follower is back", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.JOIN_GROUP, 5, 9, v -> {
                var group = s.topic("g" + v);
                var leader = GroupAsk.alone(s, group, "leader");
                var joining = s.begin(v, GroupAsk.join(group, "", "follower", "one", "meta"));
                s.sayWaiting("v" + v + " the follower waits", joining);
                s.say("the leader joins again", v, GroupAsk.join(group, leader.id(), "leader", "one", "meta"));
                var follower = GroupAsk.member(s.sayEnd("the follower is in", joining));
                s.say("the leader assigns", 3, GroupAsk.sync(group, follower.generation(), leader.id(), "leader", leader.id(), "A", follower.id(), "B"));
                s.say("the follower has it", 3, GroupAsk.sync(group, follower.generation(), follower.id(), "follower"));
                var back = GroupAsk.member(s.say("the follower is back", v, GroupAsk.join(group, "", "follower", "one", "meta")));
                s.say("with its assignment", 3, GroupAsk.sync(group, back.generation(), back.id(), "follower"));
                s.say("nobody else was disturbed", 3, GroupAsk.beat(group, follower.generation(), leader.id(), "leader"));
                s.say("the leader is back", v, GroupAsk.join(group, "", "leader", "one", "meta"));
                s.say("described", 5, GroupAsk.describe(group));
            });
        });
    }

    static void timeouts(Compare c) {
        c.add("Heartbeat/a member that falls silent", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var member = GroupAsk.member(s.ask(3, GroupAsk.join(group, "").setSessionTimeoutMs(1000)));
            s.ask(3, GroupAsk.sync(group, member.generation(), member.id(), null, member.id(), "mine"));
            Side.until("the group is empty", () -> {
                var answer = s.ask(5, GroupAsk.describe(group));
                return answer.replied() && ((DescribeGroupsResponseData) answer.message()).groups().get(0).groupState().equals("Empty");
            });
            s.say("its heartbeat", 3, GroupAsk.beat(group, member.generation(), member.id(), null));
            s.say("described", 5, GroupAsk.describe(group));
        });
        c.add("JoinGroup/a member that does not come to the rebalance", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var slow = GroupAsk.member(s.ask(3, GroupAsk.join(group, "").setRebalanceTimeoutMs(1000)));
            s.ask(3, GroupAsk.sync(group, slow.generation(), slow.id(), null, slow.id(), "mine"));
            var joining = s.begin(3, GroupAsk.join(group, "").setRebalanceTimeoutMs(1000));
            s.sayWaiting("the second waits", joining);
            s.sayEnd("and goes on alone", joining);
            s.say("the slow one's heartbeat", 3, GroupAsk.beat(group, slow.generation(), slow.id(), null));
            s.say("the slow one joins", 3, GroupAsk.join(group, slow.id()));
        });
        c.add("SyncGroup/a leader that never assigns", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var leader = GroupAsk.member(s.ask(3, GroupAsk.join(group, "").setSessionTimeoutMs(1000).setRebalanceTimeoutMs(1000)));
            Side.until("the group is empty", () -> {
                var answer = s.ask(5, GroupAsk.describe(group));
                return answer.replied() && ((DescribeGroupsResponseData) answer.message()).groups().get(0).groupState().equals("Empty");
            });
            s.say("described", 5, GroupAsk.describe(group));
            s.say("its sync", 3, GroupAsk.sync(group, leader.generation(), leader.id(), null, leader.id(), "mine"));
        });
        c.add("JoinGroup/an id that is never used", s -> {
            GroupAsk.ready(s, 0);
            var group = s.topic("g");
            var answer = s.ask(5, GroupAsk.join(group, "").setSessionTimeoutMs(1000));
            var id = ((JoinGroupResponseData) answer.message()).memberId();
            pause(2500);
            s.say("it is forgotten", 5, GroupAsk.join(group, id));
        });
    }

    static void pause(long ms) {
        try { Thread.sleep(ms); } catch (InterruptedException e) { throw new IllegalStateException(e); }
    }
}
