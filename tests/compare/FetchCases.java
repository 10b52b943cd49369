import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** Fetch: ranges, limits, waiting, epochs, sessions. */
final class FetchCases {
    static void add(Compare c) {
        ranges(c);
        limits(c);
        epochs(c);
        sessions(c);
    }

    /** Ten batches of three records, then one of one. */
    static String filled(Side s, String label, int partitions) {
        var topic = s.create(label, partitions);
        for (int p = 0; p < partitions; p++) { for (int n = 0; n < 10; n++) s.fill(topic, p, Batch.of(3, "batch " + n + " ")); s.fill(topic, p, Batch.of(1)); }
        return topic;
    }

    static void ranges(Compare c) {
        c.add("Fetch/ranges", s -> {
            var topic = filled(s, "f", 1);
            var empty = s.create("empty", 1);
            s.versions(ApiKeys.FETCH, v -> {
                for (long offset : new long[] {0, 1, 2, 3, 16, 30, 31, 32, 1000, -1, -2, Long.MAX_VALUE, Long.MIN_VALUE}) s.say("from " + offset, v, Ask.fetch(s, v, topic, 0, offset));
                s.say("empty log from 0", v, Ask.fetch(s, v, empty, 0, 0));
                s.say("empty log from 1", v, Ask.fetch(s, v, empty, 0, 1));
                for (int level : new int[] {1, 2, -1}) s.say("isolation " + level, v, Ask.fetch(s, v, topic, 0, 27).setIsolationLevel((byte) level));
                s.say("isolation 1 at the end", v, Ask.fetch(s, v, topic, 0, 31).setIsolationLevel((byte) 1));
            });
        });
        c.add("Fetch/whom", s -> {
            var topic = filled(s, "f", 2);
            s.versions(ApiKeys.FETCH, v -> {
                s.say("unknown partition", v, Ask.fetch(s, v, topic, 5, 0));
                s.say("negative partition", v, Ask.fetch(s, v, topic, -1, 0));
                if (v <= 12) {
                    s.say("unknown topic", v, Ask.fetch(s, v, s.topic("unknown"), 0, 0));
                    for (var bad : TopicCases.BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'", v, Ask.fetch(s, v, bad, 0, 0));
                } else {
                    s.say("unknown id", v, Ask.fetch(v, new FetchRequestData.FetchTopic().setTopicId(TopicCases.NOBODYS).setPartitions(List.of(Ask.want(0, 0)))));
                    s.say("zero id", v, Ask.fetch(v, new FetchRequestData.FetchTopic().setTopicId(Uuid.ZERO_UUID).setPartitions(List.of(Ask.want(0, 0)))));
                    s.say("known and unknown id", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 30)), new FetchRequestData.FetchTopic().setTopicId(TopicCases.NOBODYS).setPartitions(List.of(Ask.want(0, 0), Ask.want(1, 0)))));
                }
                s.say("good and bad partitions", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 30), Ask.want(7, 0), Ask.want(1, 99))));
                s.say("nothing", v, Ask.fetch(v));
                s.say("no partitions", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic)));
                s.say("the same partition twice", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 30), Ask.want(0, 28))));
                s.say("the same topic twice", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 30)), Ask.fetchTopic(s, v, topic, Ask.want(1, 30))));
                if (v >= 11) s.say("with a rack", v, Ask.fetch(s, v, topic, 0, 30).setRackId("somewhere"));
                if (v <= 14) s.say("as the debugging replica -2", v, Ask.fetch(s, v, topic, 0, 30).setReplicaId(-2));
                if (v <= 14) s.say("as a replica that is not one", v, Ask.fetch(s, v, topic, 0, 30).setReplicaId(42));
                if (v >= 15) s.say("as a replica that is not one (tagged)", v, Ask.fetch(s, v, topic, 0, 30).setReplicaState(new FetchRequestData.ReplicaState().setReplicaId(42).setReplicaEpoch(3)));
            });
        });
        c.add("Fetch/below the log start", s -> {
            var topic = filled(s, "f", 1);
            s.say("delete to the middle of a batch", 2, Ask.deleteRecords(topic, 0, 7));
            s.versions(ApiKeys.FETCH, v -> { for (long offset : new long[] {0, 5, 6, 7, 8, 9}) s.say("from " + offset, v, Ask.fetch(s, v, topic, 0, offset)); });
        });
        c.add("Fetch/codecs", s -> {
            var topic = s.create("f", 1);
            for (int codec = 0; codec <= 4; codec++) s.fill(topic, 0, Batch.of(30, "value that repeats value that repeats ").codec(codec));
            s.versions(ApiKeys.FETCH, v -> { for (long offset : new long[] {0, 45, 61, 119, 125}) s.say("from " + offset, v, Ask.fetch(s, v, topic, 0, offset)); });
        });
    }

    static void limits(Compare c) {
        c.add("Fetch/limits", s -> {
            var topic = filled(s, "f", 3);
            int one = Batch.of(3, "batch 0 ").bytes().length;
            s.versions(ApiKeys.FETCH, v -> {
                for (int bytes : new int[] {0, 1, one - 1, one, one + 1, 2 * one, 5 * one, -1}) {
                    s.say("partition limit of " + (bytes - one) + " against a batch", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 0, bytes))));
                    s.say("partition limit of " + (bytes - one) + " twice", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 0, bytes), Ask.want(1, 0, bytes))));
                    s.say("total limit of " + (bytes - one) + " against a batch", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 0), Ask.want(1, 0), Ask.want(2, 0))).setMaxBytes(bytes));
                }
                s.say("partition limits differ", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 31, one), Ask.want(1, 0, one), Ask.want(2, 4, 3 * one))));
                s.say("an error leaves the room to the next", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 999, one), Ask.want(1, 0, 1))).setMaxBytes(1));
            });
        });
        c.add("Fetch/waiting", s -> {
            var topic = filled(s, "f", 1);
            for (int v : new int[] {4, 11, 12, 17}) {
                timed(s, v, "at the end, 300 ms", Ask.fetch(s, v, topic, 0, 31).setMaxWaitMs(300));
                timed(s, v, "at the end, 300 ms, no minimum", Ask.fetch(s, v, topic, 0, 31).setMaxWaitMs(300).setMinBytes(0));
                timed(s, v, "too little, 300 ms", Ask.fetch(s, v, topic, 0, 30).setMaxWaitMs(300).setMinBytes(100_000));
                timed(s, v, "enough, 5 s", Ask.fetch(s, v, topic, 0, 0).setMaxWaitMs(5000).setMinBytes(100));
                timed(s, v, "out of range answers at once", Ask.fetch(s, v, topic, 0, 999).setMaxWaitMs(5000).setMinBytes(100_000));
                timed(s, v, "unknown partition answers at once", Ask.fetch(s, v, topic, 9, 0).setMaxWaitMs(5000));
                timed(s, v, "one bad among good answers at once", Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 31), Ask.want(9, 0))).setMaxWaitMs(5000));
                timed(s, v, "nothing asked", Ask.fetch(v).setMaxWaitMs(300));
                timed(s, v, "minimum above the maximum", Ask.fetch(s, v, topic, 0, 0).setMaxWaitMs(300).setMinBytes(2_000_000).setMaxBytes(1000));
                timed(s, v, "negative wait", Ask.fetch(s, v, topic, 0, 31).setMaxWaitMs(-1));
            }
        });
        c.add("Fetch/woken", s -> {
            var topic = s.create("f", 1);
            for (int v : new int[] {4, 12, 18}) {
                var at = s.offset(topic, 0, -1);
                var other = new Side(s.host + ":" + s.port, s.reference, s.scenario, s.normal.tag);
                var writer = new Thread(() -> { try { Thread.sleep(250); other.fill(topic, 0, Batch.of(2)); } catch (Exception ignored) { } finally { other.hangUp(); } });
                writer.start();
                timed(s, v, "by an append", Ask.fetch(s, v, topic, 0, at).setMaxWaitMs(6000));
                try { writer.join(); } catch (InterruptedException e) { throw new IllegalStateException(e); }
            }
        });
    }

    /** As `say`, and how long it took: at once, about the wait asked for, or something between. */
    static void timed(Side s, int v, String label, FetchRequestData request) {
        long began = System.nanoTime();
        s.say(label, v, request);
        long ms = (System.nanoTime() - began) / 1_000_000;
        int wait = request.maxWaitMs();
        s.note("v" + v + " " + label + ": took", wait > 0 && ms >= wait - 5 ? "the whole wait" : ms < Math.max(1000, wait / 2) ? "less" : "long");
    }

    static void epochs(Compare c) {
        c.add("Fetch/leader epochs", s -> {
            var topic = filled(s, "f", 1);
            s.versions(ApiKeys.FETCH, 9, 18, v -> {
                for (int epoch : new int[] {-1, 0, 1, 5, Integer.MAX_VALUE, -2}) s.say("current epoch " + epoch, v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 30).setCurrentLeaderEpoch(epoch))));
                if (v >= 12) for (int epoch : new int[] {-1, 0, 1, 7, -2}) for (long offset : new long[] {30, 31})
                    s.say("last fetched epoch " + epoch + " at " + offset, v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, offset).setLastFetchedEpoch(epoch))));
                s.say("wrong epoch and out of range", v, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 999).setCurrentLeaderEpoch(9))));
            });
        });
    }

    static int session(Side.Answer answer) { return answer.replied() ? ((FetchResponseData) answer.message()).sessionId() : 0; }

    static FetchRequestData in(int session, int epoch, FetchRequestData request) { return request.setSessionId(session).setSessionEpoch(epoch); }

    static void sessions(Compare c) {
        c.add("Fetch/sessions", s -> s.versions(ApiKeys.FETCH, 7, 18, v -> {
            var topic = s.create("f" + v, 3);
            s.fill(topic, 0, Batch.of(2));
            s.fill(topic, 1, Batch.of(2));
            int id = session(s.say("opens", v, in(0, 0, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 0), Ask.want(1, 2), Ask.want(2, 0))))));
            s.note("v" + v + " a session was given", id != 0);
            s.say("nothing changed, but 0 is read again", v, in(id, 1, Ask.fetch(v)));
            s.say("moved past the data", v, in(id, 2, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 2)))));
            s.say("nothing new", v, in(id, 3, Ask.fetch(v)));
            s.fill(topic, 2, Batch.of(1));
            s.say("data in 2", v, in(id, 4, Ask.fetch(v)));
            s.say("forgets 2", v, in(id, 5, Ask.fetch(v)).setForgottenTopicsData(List.of(Ask.forget(s, v, topic, 2))));
            s.fill(topic, 2, Batch.of(1));
            s.fill(topic, 1, Batch.of(1));
            s.say("data in 1, and 2 is forgotten", v, in(id, 6, Ask.fetch(v)));
            s.say("adds an unknown partition", v, in(id, 7, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(9, 0), Ask.want(1, 3)))));
            s.say("the error is told again", v, in(id, 8, Ask.fetch(v)));
            s.say("out of range", v, in(id, 9, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 50)))));
            s.say("and again", v, in(id, 10, Ask.fetch(v)));
            s.say("wrong epoch", v, in(id, 99, Ask.fetch(v)));
            s.say("the right epoch still", v, in(id, 11, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 2)))));
            s.say("an old epoch", v, in(id, 5, Ask.fetch(v)));
            s.say("unknown session", v, in(123456789, 1, Ask.fetch(v)));
            s.say("negative session", v, in(-5, 1, Ask.fetch(v)));
            s.say("closes", v, in(id, -1, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 0)))));
            s.say("closed", v, in(id, 12, Ask.fetch(v)));
            s.say("session 0 epoch -1 is none", v, in(0, -1, Ask.fetch(s, v, topic, 0, 0)));
            s.say("session 0 epoch 5", v, in(0, 5, Ask.fetch(s, v, topic, 0, 0)));
            int second = session(s.ask(v, in(0, 0, Ask.fetch(s, v, topic, 0, 0))));
            s.say("epoch 0 replaces a session", v, in(second, 0, Ask.fetch(s, v, topic, 1, 0)));
            s.say("the replaced one is gone", v, in(second, 1, Ask.fetch(v)));
        }));
        c.add("Fetch/sessions see starts move and topics go", s -> {
            for (int v : new int[] {7, 12, 13, 18}) {
                var topic = s.create("f" + v, 2);
                s.fill(topic, 0, Batch.of(5));
                int id = session(s.say("opens", v, in(0, 0, Ask.fetch(v, Ask.fetchTopic(s, v, topic, Ask.want(0, 5), Ask.want(1, 0))))));
                s.ask(2, Ask.deleteRecords(topic, 0, 3));
                s.say("the log start moved", v, in(id, 1, Ask.fetch(v)));
                s.say("told once", v, in(id, 2, Ask.fetch(v)));
                s.ask(6, Ask.delete(6, topic));
                s.gone(topic);
                s.say("the topic is gone", v, in(id, 3, Ask.fetch(v)));
                s.create("f" + v, 2);
                s.say("the topic is back with another id", v, in(id, 4, Ask.fetch(v)));
            }
        });
        c.add("Fetch/sessions that open with trouble", s -> {
            var topic = s.create("f", 1);
            for (int v : new int[] {7, 12, 13, 18}) {
                s.say("empty session", v, in(0, 0, Ask.fetch(v)));
                int id = session(s.say("unknown partition", v, in(0, 0, Ask.fetch(s, v, topic, 9, 0))));
                s.say("unknown partition again", v, in(id, 1, Ask.fetch(v)));
                if (v >= 13) {
                    int other = session(s.say("unknown id", v, in(0, 0, Ask.fetch(v, new FetchRequestData.FetchTopic().setTopicId(TopicCases.NOBODYS).setPartitions(List.of(Ask.want(0, 0)))))));
                    s.say("unknown id again", v, in(other, 1, Ask.fetch(v)));
                }
            }
        });
    }
}
