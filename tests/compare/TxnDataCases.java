import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** Transactions in partitions: Produce, Fetch and ListOffsets read committed, WriteTxnMarkers, DescribeProducers. */
final class TxnDataCases {
    static void add(Compare c) {
        produce(c);
        implicit(c);
        fetch(c);
        markers(c);
        producers(c);
    }

    static void say(Side s, int v, String label, TxnAsk.Producer p, String topic, int partition, Batch... batches) { s.say(label, v, TxnAsk.produce(s, v, p, topic, partition, batches)); }

    /** What the coordinator does not know of is refused: Kafka says INVALID_TXN_STATE or TRANSACTION_ABORTABLE, as its question to the coordinator comes back. */
    static void sayRefused(Side s, int v, String label, TxnAsk.Producer p, String topic, int partition, Batch batch) {
        var error = Side.firstError(s.ask(v, TxnAsk.produce(s, v, p, topic, partition, batch)));
        s.note("v" + v + " " + label, error.equals("48") || error.equals("120") ? "refused" : error);
    }

    static void produce(Compare c) {
        c.add("Produce/transactional", s -> s.versions(ApiKeys.PRODUCE, 3, 11, v -> {
            var topic = s.create("t" + v, 2);
            var p = TxnAsk.producer(s, s.topic("x" + v));
            sayRefused(s, v, "before the partition is added", p, topic, 0, p.batch(0));
            s.ask(3, TxnAsk.add(3, p, Map.of(topic, List.of(0))));
            say(s, v, "the first", p, topic, 0, p.batch(0, 2));
            say(s, v, "the next", p, topic, 0, p.batch(2));
            say(s, v, "the next again", p, topic, 0, p.batch(2));
            say(s, v, "a gap", p, topic, 0, p.batch(7));
            sayRefused(s, v, "in a partition that was not added", p, topic, 1, p.batch(0));
            say(s, v, "an epoch below", p, topic, 0, p.epoch(p.epoch() - 1).batch(3));
            say(s, v, "another's id", p, topic, 0, p.id(777_777_777L).batch(0));
            say(s, v, "an idempotent batch of the producer in its transaction", p, topic, 0, Batch.of(1).producer(p.id(), p.epoch(), 3));
            say(s, v, "a plain batch", p, topic, 0, Batch.of(1));
            s.say("without the transactional id", v, Ask.produce(s, v, topic, 0, p.batch(3).bytes()));
            say(s, v, "under another's transactional id", p.txn(s.topic("nobody")), topic, 0, p.batch(3));
            say(s, v, "under an empty transactional id", p.txn(""), topic, 0, p.batch(3));
            say(s, v, "a control batch", p, topic, 0, p.batch(3).attributes(0x30));
            s.say("acks 1", v, TxnAsk.produce(s, v, p, topic, 0, p.batch(3)).setAcks((short) 1));
            TxnAsk.ended(s, p, true);
            sayRefused(s, v, "after its end", p, topic, 0, p.batch(4));
            s.ask(3, TxnAsk.add(3, p, Map.of(topic, List.of(0))));
            say(s, v, "in the next transaction", p, topic, 0, p.batch(4));
            TxnAsk.ended(s, p, false);
            s.say("the log after v" + v, 12, Ask.fetch(s, 12, topic, 0, 0));
            s.bounds("the other partition", topic, 1);
            say(s, v, "an epoch to come", p, topic, 0, p.epoch(p.epoch() + 1).batch(0));
        }));
    }

    static void implicit(Compare c) {
        c.add("Produce/adds by itself (KIP-890)", s -> s.versions(ApiKeys.PRODUCE, 12, 13, v -> {
            var topic = s.create("t" + v, 2);
            var txn = s.topic("x" + v);
            var p = TxnAsk.producer(s, txn);
            say(s, v, "the first, not added before", p, topic, 0, p.batch(0, 2));
            s.say("described", 0, TxnAsk.describe(txn));
            say(s, v, "the next", p, topic, 0, p.batch(2));
            say(s, v, "in another partition", p, topic, 1, p.batch(0));
            say(s, v, "the next again", p, topic, 0, p.batch(2));
            say(s, v, "a gap", p, topic, 0, p.batch(9));
            say(s, v, "an epoch below", p, topic, 0, p.epoch(p.epoch() - 1).batch(3));
            say(s, v, "another's id", p, topic, 0, p.id(777_777_777L).batch(0));
            say(s, v, "under a transactional id that is not", p.txn(s.topic("nobody")), topic, 0, p.batch(3));
            say(s, v, "under an empty transactional id", p.txn(""), topic, 0, p.batch(3));
            s.say("without the transactional id", v, Ask.produce(s, v, topic, 0, p.batch(3).bytes()));
            say(s, v, "an idempotent batch", p, topic, 0, Batch.of(1).producer(p.id(), p.epoch(), 3));
            s.say("ended", 5, TxnAsk.end(p, true));
            TxnAsk.settled(s, txn);
            var now = p.epoch(p.epoch() + 1);
            TxnAsk.sayAtLast(s, "the old epoch", v, TxnAsk.produce(s, v, p, topic, 0, p.batch(3)));
            TxnAsk.sayAtLast(s, "the new epoch, not at zero", v, TxnAsk.produce(s, v, now, topic, 0, now.batch(3)));
            TxnAsk.sayAtLast(s, "the new epoch", v, TxnAsk.produce(s, v, now, topic, 0, now.batch(0)));
            s.say("ended again", 5, TxnAsk.end(now, false));
            TxnAsk.settled(s, txn);
            s.say("the log after v" + v, 12, Ask.fetch(s, 12, topic, 0, 0));
            s.say("described at last", 0, TxnAsk.describe(txn));
            say(s, v, "an epoch to come", now.epoch(now.epoch() + 2), topic, 0, p.epoch(now.epoch() + 2).batch(0));
        }));
        c.add("Produce/after an epoch to come was refused", s -> s.versions(ApiKeys.PRODUCE, 11, 12, v -> {
            var topic = s.create("t" + v, 1);
            var p = TxnAsk.producer(s, s.topic("x" + v));
            TxnAsk.begun(s, p, topic, 0, 0, 1);
            s.note("refused", Side.firstError(s.ask(v, TxnAsk.produce(s, v, p, topic, 0, p.epoch(p.epoch() + 1).batch(0)))));
            say(s, v, "the rightful producer", p, topic, 0, p.batch(1));
        }));
    }

    static void fetch(Compare c) {
        c.add("Fetch/read committed", s -> {
            var topic = s.create("t", 1);
            var a = TxnAsk.producer(s, s.topic("a"));
            var b = TxnAsk.producer(s, s.topic("b"));
            s.fill(topic, 0, Batch.of(2));
            committed(s, "plain records", topic);
            TxnAsk.begun(s, a, topic, 0, 0, 2);
            committed(s, "one open", topic);
            s.fill(topic, 0, Batch.of(1));
            TxnAsk.begun(s, b, topic, 0, 0, 3);
            committed(s, "two open", topic);
            TxnAsk.ended(s, b, false);
            committed(s, "the second aborted", topic);
            s.fill(topic, 0, Batch.of(1));
            TxnAsk.ended(s, a, true);
            committed(s, "both over", topic);
            TxnAsk.begun(s, a, topic, 0, 2, 1);
            TxnAsk.ended(s, a, false);
            TxnAsk.begun(s, b, topic, 0, 3, 1);
            TxnAsk.ended(s, b, false);
            committed(s, "two more aborted", topic);
            TxnAsk.begun(s, a, topic, 0, 3, 1);
            s.fill(topic, 0, Batch.of(2));
            committed(s, "one open at the end", topic);
            s.versions(ApiKeys.FETCH, v -> {
                for (int from = 0; from <= 18; from += v == 12 ? 1 : 6) {
                    var request = Ask.fetch(s, v, topic, 0, from).setIsolationLevel((byte) 1);
                    s.say("from " + from, v, request);
                }
                var little = Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 3, 1))).setIsolationLevel((byte) 1);
                s.say("a little", v, little);
                s.say("uncommitted", v, Ask.fetch(s, v, topic, 0, 3));
                s.say("isolation 2", v, Ask.fetch(s, v, topic, 0, 3).setIsolationLevel((byte) 2));
            });
            s.versions(ApiKeys.LIST_OFFSETS, 2, 11, v -> {
                for (long time : new long[] {-1, -2, -3, -4, 0, Batch.T0, Batch.T0 + 1, Batch.T0 + 2}) {
                    if (time == -3 && v < 7 || time == -4 && v < 8) continue;
                    s.say("time " + time + ", committed", v, Ask.listOffsets(topic, Ask.at(0, time)).setIsolationLevel((byte) 1));
                }
            });
            TxnAsk.ended(s, a, true);
            committed(s, "all over", topic);
        });
        c.add("Fetch/read committed waits for the end", s -> {
            var topic = s.create("t", 1);
            var p = TxnAsk.producer(s, s.topic("x"));
            TxnAsk.begun(s, p, topic, 0, 0, 2);
            var waiting = s.begin(12, Ask.fetch(s, 12, topic, 0, 0).setIsolationLevel((byte) 1).setMaxWaitMs(8000));
            s.sayWaiting("a reader waits", waiting);
            TxnAsk.ended(s, p, true);
            s.sayEnd("it is woken", waiting);
        });
        c.add("Fetch/read committed after deleted records", s -> {
            var topic = s.create("t", 1);
            var p = TxnAsk.producer(s, s.topic("x"));
            for (int n = 0; n < 3; n++) { TxnAsk.begun(s, p, topic, 0, n * 2, 2); TxnAsk.ended(s, p, n == 1); }
            s.say("deleted", 2, Ask.deleteRecords(topic, 0, 4));
            committed(s, "what is left", topic);
            s.say("from the start", 12, Ask.fetch(s, 12, topic, 0, 4).setIsolationLevel((byte) 1));
            TxnAsk.begun(s, p, topic, 0, 6, 2);
            s.say("all of it deleted", 2, Ask.deleteRecords(topic, 0, -1));
            s.note("start", s.offset(topic, 0, -2));
            s.say("its end", 3, TxnAsk.end(p, true));
            TxnAsk.settled(s, p.txn());
            committed(s, "at last", topic);
        });
    }

    static void committed(Side s, String label, String topic) {
        long start = s.offset(topic, 0, -2);
        s.say(label + ": committed", 12, Ask.fetch(s, 12, topic, 0, start).setIsolationLevel((byte) 1));
        s.say(label + ": the stable end", 7, Ask.listOffsets(topic, Ask.at(0, -1)).setIsolationLevel((byte) 1));
        s.bounds(label + ": the log", topic, 0);
    }

    static void markers(Compare c) {
        c.add("WriteTxnMarkers", s -> s.versions(ApiKeys.WRITE_TXN_MARKERS, v -> {
            var topic = s.create("t" + v, 2);
            var p = TxnAsk.producer(s, s.topic("x" + v));
            s.say("none", v, TxnAsk.mark());
            s.say("of a producer the partition does not know", v, TxnAsk.mark(TxnAsk.marker(v, p, true, 0, topic, 0)));
            TxnAsk.begun(s, p, topic, 0, 0, 2);
            s.say("an epoch below", v, TxnAsk.mark(TxnAsk.marker(v, p.epoch(p.epoch() - 1), false, 0, topic, 0)));
            s.say("partitions that are not", v, TxnAsk.mark(TxnAsk.marker(v, p, false, 0, topic, 9, -1)));
            s.say("a topic that is not", v, TxnAsk.mark(TxnAsk.marker(v, p, false, 0, s.topic("unknown"), 0)));
            s.say("no partitions", v, TxnAsk.mark(TxnAsk.marker(v, p, false, 0, topic)));
            s.say("an abort", v, TxnAsk.mark(TxnAsk.marker(v, p, false, 3, topic, 0)));
            s.say("the same again", v, TxnAsk.mark(TxnAsk.marker(v, p, false, 3, topic, 0)));
            s.say("of an older coordinator", v, TxnAsk.mark(TxnAsk.marker(v, p, false, 2, topic, 0)));
            s.say("of a younger coordinator and an epoch to come", v, TxnAsk.mark(TxnAsk.marker(v, p.epoch(p.epoch() + 1), true, 4, topic, 0, 1)));
            s.say("of nobody", v, TxnAsk.mark(TxnAsk.marker(v, p.id(-1).epoch(-1), true, 4, topic, 1)));
            s.say("two producers", v, TxnAsk.mark(TxnAsk.marker(v, p.epoch(p.epoch() + 1), true, 5, topic, 0), TxnAsk.marker(v, p.id(666_666_666L).epoch(0), false, 5, topic, 0, 1)));
            s.say("coordinator epoch -1", v, TxnAsk.mark(TxnAsk.marker(v, p.id(666_666_666L).epoch(1), false, -1, topic, 1)));
            if (v >= 2) for (int tv : new int[] {0, 1, 2, 3, 99, -1}) s.say("transaction version " + tv, v, TxnAsk.mark(TxnAsk.marker(v, p.epoch(p.epoch() + 1), true, 6, topic, 0).setTransactionVersion((byte) tv)));
            s.say("the log after v" + v, 12, Ask.fetch(s, 12, topic, 0, 0));
            s.say("the other partition after v" + v, 12, Ask.fetch(s, 12, topic, 1, 0));
            s.say("the producers", 0, described(topic, 0));
        }));
    }

    static DescribeProducersRequestData described(String topic, Integer... partitions) {
        return new DescribeProducersRequestData().setTopics(List.of(new DescribeProducersRequestData.TopicRequest().setName(topic).setPartitionIndexes(List.of(partitions))));
    }

    static void producers(Compare c) {
        c.add("DescribeProducers/transactions", s -> {
            var topic = s.create("t", 2);
            var p = TxnAsk.producer(s, s.topic("x"));
            TxnAsk.begun(s, p, topic, 0, 0, 3);
            s.say("while open", 0, described(topic, 0, 1));
            TxnAsk.ended(s, p, true);
            s.say("when over", 0, described(topic, 0));
            TxnAsk.begun(s, p, topic, 0, 3, 1);
            s.say("the next", 0, described(topic, 0));
            TxnAsk.ended(s, p, false);
            s.say("when aborted", 0, described(topic, 0));
        });
    }
}
