import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** InitProducerId with transactional ids, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, DescribeTransactions, ListTransactions. */
final class TxnCases {
    static void add(Compare c) {
        init(c);
        addPartitions(c);
        addOffsets(c);
        commitOffsets(c);
        end(c);
        list(c);
    }

    static void init(Compare c) {
        c.add("InitProducerId/transactional", s -> {
            GroupAsk.ready(s, 1);
            s.versions(ApiKeys.INIT_PRODUCER_ID, v -> {
                var txn = s.topic("x" + v);
                s.say("a new one", v, TxnAsk.init(txn, 60_000));
                s.say("described", 0, TxnAsk.describe(txn));
                s.say("again", v, TxnAsk.init(txn, 50_000));
                s.say("described again", 0, TxnAsk.describe(txn));
                for (int ms : new int[] {0, -1, 1, 900_000, 900_001, Integer.MAX_VALUE, Integer.MIN_VALUE}) s.say("a time-out of " + ms, v, TxnAsk.init(s.topic("y" + v + "x" + ms), ms));
                s.say("an empty id", v, TxnAsk.init("", 60_000));
                for (var odd : GroupCases.ODD_GROUPS) {
                    var id = s.topic("o" + v) + (odd.length() > 31_000 ? odd.substring(1000) : odd);
                    s.say("an id " + GroupCases.shortly(odd), v, TxnAsk.init(id, 60_000));
                }
            });
        });
        c.add("InitProducerId/with what it had (KIP-360)", s -> s.versions(ApiKeys.INIT_PRODUCER_ID, 3, 5, v -> {
            var txn = s.topic("x" + v);
            var first = TxnAsk.producer(s, txn);
            s.say("its id and epoch", v, TxnAsk.init(first));
            s.say("the same again", v, TxnAsk.init(first));
            s.say("the epoch now", v, TxnAsk.init(first.epoch(1)));
            s.say("two epochs ago", v, TxnAsk.init(first));
            s.say("an epoch to come", v, TxnAsk.init(first.epoch(9)));
            s.say("another's id", v, TxnAsk.init(first.id(TxnAsk.producer(s, s.topic("other" + v)).id())));
            s.say("an id nobody has", v, TxnAsk.init(first.id(888_888_888L)));
            s.say("an id without epoch", v, TxnAsk.init(first.epoch(-1)));
            s.say("an epoch without id", v, TxnAsk.init(first.id(-1)));
            s.say("of a transactional id that is not", v, TxnAsk.init(new TxnAsk.Producer(s.topic("new" + v), first.id(), 0)));
            s.say("negative ones", v, TxnAsk.init(first.id(-5).epoch(-5)));
            s.say("described", 0, TxnAsk.describe(txn));
        }));
        c.add("InitProducerId/in the middle of a transaction", s -> {
            var topic = s.create("t", 1);
            s.versions(ApiKeys.INIT_PRODUCER_ID, v -> {
                var txn = s.topic("x" + v);
                var p = TxnAsk.producer(s, txn);
                TxnAsk.begun(s, p, topic, 0, 0, 2);
                s.say("the first answer", v, TxnAsk.init(txn, 60_000));
                TxnAsk.settled(s, txn);
                TxnAsk.sayAtLast(s, "the answer at last", v, TxnAsk.init(txn, 60_000));
                s.say("the old one produces", 9, TxnAsk.produce(s, 9, p, topic, 0, p.batch(2)));
                s.say("the old one adds", v == 0 ? 1 : 3, TxnAsk.add(v == 0 ? 1 : 3, p, Map.of(topic, List.of(0))));
                s.say("the old one ends", v == 0 ? 1 : 3, TxnAsk.end(p, true));
                s.say("described", 0, TxnAsk.describe(txn));
            });
            s.bounds("the log", topic, 0);
            s.say("what is in it", 12, Ask.fetch(s, 12, topic, 0, 0));
        });
        c.add("InitProducerId/by the producer in the middle of its transaction", s -> {
            var topic = s.create("t", 1);
            s.versions(ApiKeys.INIT_PRODUCER_ID, 3, 5, v -> {
                var txn = s.topic("x" + v);
                var p = TxnAsk.producer(s, txn);
                TxnAsk.begun(s, p, topic, 0, 0, 2);
                s.say("the first answer", v, TxnAsk.init(p));
                TxnAsk.settled(s, txn);
                TxnAsk.sayAtLast(s, "the answer at last", v, TxnAsk.init(p));
                s.say("described", 0, TxnAsk.describe(txn));
            });
        });
        c.add("InitProducerId/epochs run out", s -> {
            // Nobody waits for 32,767 of them: the producer itself may go on from a late one only where it had it.
            var txn = s.topic("x");
            var p = TxnAsk.producer(s, txn);
            s.say("from an epoch it never had", 4, TxnAsk.init(p.epoch(Short.MAX_VALUE - 1)));
            s.say("from the last", 4, TxnAsk.init(p.epoch(Short.MAX_VALUE)));
            s.say("described", 0, TxnAsk.describe(txn));
        });
        c.add("InitProducerId/a transaction that takes too long", s -> {
            var topic = s.create("t", 1);
            var txn = s.topic("x");
            GroupAsk.ready(s, 1);
            var p = TxnAsk.of(txn, TxnAsk.insist(s, 4, TxnAsk.init(txn, 500)));
            s.normal.producer(p.id());
            TxnAsk.begun(s, p, topic, 0, 0, 2);
            long deadline = System.nanoTime() + 40_000_000_000L;
            while (!TxnAsk.state(s, txn).equals("CompleteAbort") && System.nanoTime() < deadline) GroupCases.pause(100);
            s.say("described", 0, TxnAsk.describe(txn));
            s.say("its end", 3, TxnAsk.end(p, true));
            s.say("its end in the old words", 1, TxnAsk.end(p, true));
            s.say("it produces", 9, TxnAsk.produce(s, 9, p, topic, 0, p.batch(2)));
            s.say("it begins anew", 4, TxnAsk.init(p));
            s.bounds("the log", topic, 0);
        });
    }

    static void addPartitions(Compare c) {
        c.add("AddPartitionsToTxn", s -> {
            var topic = s.create("t", 3);
            s.versions(ApiKeys.ADD_PARTITIONS_TO_TXN, v -> {
                var txn = s.topic("x" + v);
                var p = TxnAsk.producer(s, txn);
                s.say("one", v, TxnAsk.add(v, p, Map.of(topic, List.of(0))));
                s.say("the same again", v, TxnAsk.add(v, p, Map.of(topic, List.of(0))));
                s.say("another and the same", v, TxnAsk.add(v, p, Map.of(topic, List.of(0, 1))));
                s.say("one twice", v, TxnAsk.add(v, p, Map.of(topic, List.of(2, 2))));
                s.say("described", 0, TxnAsk.describe(txn));
                s.say("a partition that is not", v, TxnAsk.add(v, p, Map.of(topic, List.of(9))));
                s.say("good and bad", v, TxnAsk.add(v, p, new TreeMap<>(Map.of(topic, List.of(1, 9, -1), s.topic("unknown"), List.of(0)))));
                s.say("a topic that is not", v, TxnAsk.add(v, p, Map.of(s.topic("unknown"), List.of(0))));
                if (v <= 3) s.say("none", v, TxnAsk.add(v, p, Map.of()));
                s.say("no partitions", v, TxnAsk.add(v, p, Map.of(topic, List.of())));
                s.say("an internal topic", v, TxnAsk.add(v, p, Map.of("__transaction_state", List.of(0))));
                s.say("an old epoch", v, TxnAsk.add(v, p.epoch(-1), Map.of(topic, List.of(0))));
                s.say("an epoch to come", v, TxnAsk.add(v, p.epoch(5), Map.of(topic, List.of(0))));
                s.say("another's id", v, TxnAsk.add(v, p.id(777_777_777L), Map.of(topic, List.of(0))));
                s.say("a transactional id that is not", v, TxnAsk.add(v, p.txn(s.topic("nobody")), Map.of(topic, List.of(0))));
                s.say("an empty transactional id", v, TxnAsk.add(v, p.txn(""), Map.of(topic, List.of(0))));
                s.say("described at last", 0, TxnAsk.describe(txn));
                TxnAsk.ended(s, p, v % 2 == 0);
                TxnAsk.sayAtLast(s, "after its end", v, TxnAsk.add(v, p, Map.of(topic, List.of(0))));
                TxnAsk.ended(s, p, false);
            });
        });
        c.add("AddPartitionsToTxn/batches and checks of brokers", s -> {
            var topic = s.create("t", 3);
            s.versions(ApiKeys.ADD_PARTITIONS_TO_TXN, 4, 5, v -> {
                var a = TxnAsk.producer(s, s.topic("a" + v));
                var b = TxnAsk.producer(s, s.topic("b" + v));
                s.say("a check before there is one", v, TxnAsk.add(TxnAsk.transaction(a, true, Map.of(topic, List.of(0)))));
                s.say("two transactions", v, TxnAsk.add(TxnAsk.transaction(a, false, Map.of(topic, List.of(0))), TxnAsk.transaction(b, false, Map.of(topic, List.of(1)))));
                s.say("checked, in and not in", v, TxnAsk.add(TxnAsk.transaction(a, true, Map.of(topic, List.of(0, 1)))));
                s.say("checked with an old epoch", v, TxnAsk.add(TxnAsk.transaction(a.epoch(-1), true, Map.of(topic, List.of(0)))));
                s.say("checked with another's id", v, TxnAsk.add(TxnAsk.transaction(a.id(b.id()), true, Map.of(topic, List.of(0)))));
                s.say("good and bad", v, TxnAsk.add(TxnAsk.transaction(a, false, Map.of(topic, List.of(2))), TxnAsk.transaction(b.epoch(7), false, Map.of(topic, List.of(2))), TxnAsk.transaction(a.txn(s.topic("nobody")), true, Map.of(topic, List.of(2)))));
                s.better("v" + v + " none at all", () -> s.ask(v, TxnAsk.add()), "error 42", "error 0");
                TxnAsk.ended(s, a, true);
                s.say("checked after its end", v, TxnAsk.add(TxnAsk.transaction(a, true, Map.of(topic, List.of(0)))));
                TxnAsk.ended(s, b, false);
            });
        });
    }

    static void addOffsets(Compare c) {
        c.add("AddOffsetsToTxn", s -> {
            GroupAsk.ready(s, 0);
            s.versions(ApiKeys.ADD_OFFSETS_TO_TXN, v -> {
                var txn = s.topic("x" + v);
                var p = TxnAsk.producer(s, txn);
                s.say("of a group that is not", v, TxnAsk.addOffsets(p, s.topic("g" + v)));
                s.say("again", v, TxnAsk.addOffsets(p, s.topic("g" + v)));
                s.say("a group without name", v, TxnAsk.addOffsets(p, ""));
                s.note("state", TxnAsk.state(s, txn));
                s.say("an old epoch", v, TxnAsk.addOffsets(p.epoch(-1), s.topic("g" + v)));
                s.say("an epoch to come", v, TxnAsk.addOffsets(p.epoch(3), s.topic("g" + v)));
                s.say("another's id", v, TxnAsk.addOffsets(p.id(777_777_777L), s.topic("g" + v)));
                s.say("a transactional id that is not", v, TxnAsk.addOffsets(p.txn(s.topic("nobody")), s.topic("g" + v)));
                s.say("an empty transactional id", v, TxnAsk.addOffsets(p.txn(""), s.topic("g" + v)));
                TxnAsk.ended(s, p, true);
            });
        });
    }

    /** Waits until a group that had no offsets before its transaction shows some. */
    static void visible(Side s, String group) {
        Side.until("its offsets are visible", () -> {
            var answer = s.ask(7, GroupAsk.fetch(7, group, null).setRequireStable(true));
            return Side.firstError(answer).equals("0") && !((OffsetFetchResponseData) answer.message()).topics().isEmpty();
        });
    }

    static void stable(Side s, String label, String group) { s.say(label, 7, GroupAsk.fetch(7, group, null).setRequireStable(true)); }

    static void commitOffsets(Compare c) {
        c.add("TxnOffsetCommit", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            s.versions(ApiKeys.TXN_OFFSET_COMMIT, v -> {
                for (boolean commit : new boolean[] {true, false}) {
                    var what = commit ? ", to be committed" : ", to be aborted";
                    var group = s.topic("g" + v + commit);
                    var p = TxnAsk.producer(s, s.topic("x" + v + commit));
                    GroupAsk.committed(s, group, topic, 0, 3);
                    s.ask(3, TxnAsk.addOffsets(p, group));
                    s.say("one" + what, v, TxnAsk.commit(p, group, topic, TxnAsk.at(0, 10, "pending")));
                    s.say("two more" + what, v, TxnAsk.commit(p, group, topic, TxnAsk.at(1, 11, null), TxnAsk.at(2, 12, "")));
                    s.say("one again" + what, v, TxnAsk.commit(p, group, topic, TxnAsk.at(0, 20, "again")));
                    CommitCases.shown(s, "shown while pending, v" + v + what, group);
                    stable(s, "shown stable while pending, v" + v + what, group);
                    s.say("one of them, stable", 8, GroupAsk.fetch(s, 8, group, Map.of(topic, List.of(0))).setRequireStable(true));
                    s.say("described while pending", 5, GroupAsk.describe(group));
                    s.say("deleted while pending", 2, new DeleteGroupsRequestData().setGroupsNames(List.of(s.topic("none"))));
                    GroupAsk.committed(s, group, topic, 1, 100);
                    TxnAsk.ended(s, p, commit);
                    Side.until("it is stable", () -> !Side.firstError(s.ask(7, GroupAsk.fetch(7, group, null).setRequireStable(true))).equals("88"));
                    stable(s, "shown at last, v" + v + what, group);
                }
            });
        });
        c.add("TxnOffsetCommit/refused", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            s.versions(ApiKeys.TXN_OFFSET_COMMIT, v -> {
                var group = s.topic("g" + v);
                var p = TxnAsk.producer(s, s.topic("x" + v));
                if (v <= 4) s.say("a group that was not added", v, TxnAsk.commit(p, s.topic("other" + v), topic, TxnAsk.at(0, 10, "")));
                s.ask(3, TxnAsk.addOffsets(p, group));
                s.say("an unknown partition", v, TxnAsk.commit(p, group, topic, TxnAsk.at(9, 1, ""), TxnAsk.at(-1, 1, ""), TxnAsk.at(0, 1, "")));
                s.say("an unknown topic", v, TxnAsk.commit(p, group, s.topic("unknown"), TxnAsk.at(0, 1, "")));
                s.say("metadata of 4097", v, TxnAsk.commit(p, group, topic, TxnAsk.at(0, 1, "x".repeat(4097)), TxnAsk.at(1, 1, "")));
                s.say("a group without name", v, TxnAsk.commit(p, "", topic, TxnAsk.at(0, 1, "")));
                s.say("nothing", v, TxnAsk.commit(p, group, topic).setTopics(List.of()));
                s.say("no partitions", v, TxnAsk.commit(p, group, topic));
                s.say("an epoch below", v, TxnAsk.commit(p.epoch(-1), group, topic, TxnAsk.at(0, 1, "")));
                s.say("an epoch to come", v, TxnAsk.commit(p.epoch(4), group, topic, TxnAsk.at(0, 1, "")));
                s.say("another's id", v, TxnAsk.commit(p.id(777_777_777L), group, topic, TxnAsk.at(0, 1, "")));
                s.say("a transactional id that is not", v, TxnAsk.commit(p.txn(s.topic("nobody")), group, topic, TxnAsk.at(0, 1, "")));
                s.say("an empty transactional id", v, TxnAsk.commit(p.txn(""), group, topic, TxnAsk.at(0, 1, "")));
                s.note("state", TxnAsk.state(s, p.txn()));
                TxnAsk.ended(s, p, false);
            });
        });
        c.add("TxnOffsetCommit/by members", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 3);
            s.versions(ApiKeys.TXN_OFFSET_COMMIT, 3, 5, v -> {
                var group = s.topic("g" + v);
                var member = GroupAsk.alone(s, group, "fixed");
                var p = TxnAsk.producer(s, s.topic("x" + v));
                s.ask(3, TxnAsk.addOffsets(p, group));
                var request = TxnAsk.commit(p, group, topic, TxnAsk.at(0, 1, ""));
                s.say("the member", v, request.duplicate().setGenerationId(member.generation()).setMemberId(member.id()).setGroupInstanceId("fixed"));
                s.say("the member without its name", v, request.duplicate().setGenerationId(member.generation()).setMemberId(member.id()));
                s.say("under another name", v, request.duplicate().setGenerationId(member.generation()).setMemberId(member.id()).setGroupInstanceId("nobody"));
                s.say("another id of its name", v, request.duplicate().setGenerationId(member.generation()).setMemberId("compare-nobody").setGroupInstanceId("fixed"));
                for (int off : new int[] {-1, 1}) s.say("generation " + off + " off", v, request.duplicate().setGenerationId(member.generation() + off).setMemberId(member.id()));
                s.say("a stranger", v, request.duplicate().setGenerationId(member.generation()).setMemberId("compare-nobody"));
                s.say("a member without generation", v, request.duplicate().setMemberId(member.id()));
                s.say("a generation without member", v, request.duplicate().setGenerationId(member.generation()));
                s.say("nobody in particular", v, request);
                TxnAsk.ended(s, p, true);
                CommitCases.shown(s, "shown after v" + v, group);
                var fresh = s.topic("f" + v);
                s.ask(3, TxnAsk.addOffsets(p, fresh));
                s.say("a member of a group that is not", v, TxnAsk.commit(p, fresh, topic, TxnAsk.at(0, 1, "")).setGenerationId(1).setMemberId("compare-nobody"));
                TxnAsk.ended(s, p, true);
            });
        });
        c.add("TxnOffsetCommit/by members of the consumer protocol", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 2);
            s.versions(ApiKeys.TXN_OFFSET_COMMIT, 3, 5, v -> {
                var group = s.topic("g" + v);
                var me = ConsumerGroupCases.id(s, "a" + v);
                int epoch = GroupAsk.epoch(s.ask(1, GroupAsk.enter(group, me, topic)));
                var p = TxnAsk.producer(s, s.topic("x" + v));
                s.ask(3, TxnAsk.addOffsets(p, group));
                var request = TxnAsk.commit(p, group, topic, TxnAsk.at(0, 1, ""));
                s.say("the member", v, request.duplicate().setGenerationId(epoch).setMemberId(me));
                for (int off : new int[] {-1, 1}) s.say("epoch " + off + " off", v, request.duplicate().setGenerationId(epoch + off).setMemberId(me));
                s.say("a stranger", v, request.duplicate().setGenerationId(epoch).setMemberId("stranger"));
                s.say("nobody in particular", v, request);
                TxnAsk.ended(s, p, true);
            });
        });
        c.add("TxnOffsetCommit/adds by itself (KIP-890)", s -> {
            GroupAsk.ready(s, 0);
            var topic = s.create("t", 2);
            var group = s.topic("g");
            var p = TxnAsk.producer(s, s.topic("x"));
            s.say("not added before", 5, TxnAsk.commit(p, group, topic, TxnAsk.at(0, 5, "")));
            s.note("state", TxnAsk.state(s, p.txn()));
            stable(s, "shown while pending", group);
            var ended = TxnAsk.sayAtLast(s, "ended", 5, TxnAsk.end(p, true));
            TxnAsk.settled(s, p.txn());
            visible(s, group);
            stable(s, "shown at last", group);
            if (ended.replied()) TxnAsk.sayAtLast(s, "with the old epoch", 5, TxnAsk.commit(p, group, topic, TxnAsk.at(0, 6, "")));
        });
    }

    static void end(Compare c) {
        c.add("EndTxn", s -> {
            var topic = s.create("t", 2);
            s.versions(ApiKeys.END_TXN, v -> {
                for (boolean commit : new boolean[] {true, false}) {
                    var how = commit ? " (commit)" : " (abort)";
                    var txn = s.topic("x" + v + commit);
                    var p = TxnAsk.producer(s, txn);
                    s.say("nothing was begun" + how, v, TxnAsk.end(p, commit));
                    // Only when the end is written: how soon that is differs.
                    TxnAsk.settled(s, txn);
                    s.say("described when nothing was begun" + how, 0, TxnAsk.describe(txn));
                    p = TxnAsk.producer(s, txn);
                    TxnAsk.begun(s, p, topic, 0, 0, 2);
                    s.say("an epoch below" + how, v, TxnAsk.end(p.epoch(p.epoch() - 1), commit));
                    s.say("an epoch to come" + how, v, TxnAsk.end(p.epoch(9), commit));
                    s.say("another's id" + how, v, TxnAsk.end(p.id(777_777_777L), commit));
                    s.say("a transactional id that is not" + how, v, TxnAsk.end(p.txn(s.topic("nobody")), commit));
                    s.say("an empty transactional id" + how, v, TxnAsk.end(p.txn(""), commit));
                    s.say("its end" + how, v, TxnAsk.end(p, commit));
                    TxnAsk.settled(s, txn);
                    s.say("described" + how, 0, TxnAsk.describe(txn));
                    s.say("its end again" + how, v, TxnAsk.end(p, commit));
                    s.say("the other outcome" + how, v, TxnAsk.end(p, !commit));
                    s.say("described at last" + how, 0, TxnAsk.describe(txn));
                }
            });
            s.bounds("the log", topic, 0);
        });
        c.add("EndTxn/the second version of transactions", s -> {
            var topic = s.create("t", 2);
            for (boolean commit : new boolean[] {true, false}) {
                var how = commit ? " (commit)" : " (abort)";
                var txn = s.topic("x" + commit);
                var p = TxnAsk.producer(s, txn);
                s.say("a record" + how, 12, TxnAsk.produce(s, 12, p, topic, 0, p.batch(0)));
                s.say("described while open" + how, 0, TxnAsk.describe(txn));
                var ended = s.say("its end" + how, 5, TxnAsk.end(p, commit));
                TxnAsk.settled(s, txn);
                var now = p.epoch(p.epoch() + 1);
                s.say("described" + how, 0, TxnAsk.describe(txn));
                s.say("its end again with the old epoch" + how, 5, TxnAsk.end(p, commit));
                s.say("the other outcome with the old epoch" + how, 5, TxnAsk.end(p, !commit));
                s.say("its end with the new epoch, nothing begun" + how, 5, TxnAsk.end(now, commit));
                TxnAsk.settled(s, txn);
                s.say("described after that" + how, 0, TxnAsk.describe(txn));
                s.say("the old epoch produces" + how, 12, TxnAsk.produce(s, 12, p, topic, 0, p.batch(1)));
                s.say("two epochs on, nothing begun" + how, 5, TxnAsk.end(p.epoch(p.epoch() + 2), !commit));
                s.note("replied" + how, ended.replied());
            }
            s.say("the log", 12, Ask.fetch(s, 12, topic, 0, 0));
        });
    }

    static void list(Compare c) {
        c.add("DescribeTransactions", s -> {
            var topic = s.create("t", 3);
            var open = TxnAsk.producer(s, s.topic("open"));
            s.ask(3, TxnAsk.add(3, open, new TreeMap<>(Map.of(topic, List.of(0, 2)))));
            TxnAsk.producer(s, s.topic("empty"));
            s.say("several, one twice", 0, TxnAsk.describe(open.txn(), s.topic("empty"), s.topic("nobody"), open.txn()));
            s.say("none", 0, TxnAsk.describe());
            s.say("one without name", 0, TxnAsk.describe(""));
            TxnAsk.ended(s, open, true);
            s.say("after its end", 0, TxnAsk.describe(open.txn()));
        });
        c.add("ListTransactions", s -> {
            var topic = s.create("t", 3);
            var open = TxnAsk.producer(s, s.topic("open"));
            s.ask(3, TxnAsk.add(3, open, Map.of(topic, List.of(0))));
            var empty = TxnAsk.producer(s, s.topic("empty"));
            var done = TxnAsk.producer(s, s.topic("done"));
            TxnAsk.begun(s, done, topic, 1, 0, 1);
            TxnAsk.ended(s, done, false);
            GroupCases.pause(50);
            s.versions(ApiKeys.LIST_TRANSACTIONS, v -> {
                s.sayMine("all", v, new ListTransactionsRequestData());
                for (var state : List.of("Ongoing", "ongoing", "Empty", "CompleteAbort", "CompleteCommit", "PrepareCommit", "Dead", "nonsense", "")) s.sayMine("state '" + state + "'", v, new ListTransactionsRequestData().setStateFilters(List.of(state)));
                s.sayMine("a known and an unknown state", v, new ListTransactionsRequestData().setStateFilters(List.of("Empty", "nonsense")));
                s.sayMine("of two producers", v, new ListTransactionsRequestData().setProducerIdFilters(List.of(open.id(), empty.id(), 777_777_777L)));
                s.sayMine("of no producer", v, new ListTransactionsRequestData().setProducerIdFilters(List.of(-1L)));
                s.sayMine("producer and state", v, new ListTransactionsRequestData().setProducerIdFilters(List.of(open.id())).setStateFilters(List.of("Empty")));
                if (v >= 1) for (long ms : new long[] {0, 1, 3_600_000, -1, -5}) s.sayMine("for longer than " + ms, v, new ListTransactionsRequestData().setDurationFilter(ms));
                if (v >= 2) for (var pattern : List.of(".*open.*", "", "open", "(", ".*" + s.normal.tag)) s.sayMine("like " + pattern.replace(s.normal.tag, "T"), v, new ListTransactionsRequestData().setTransactionalIdPattern(pattern));
            });
            TxnAsk.ended(s, open, true);
        });
    }
}
