import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** ListOffsets, OffsetForLeaderEpoch, DeleteRecords. */
final class OffsetCases {
    static final long T = Batch.T0;

    static void add(Compare c) {
        listOffsets(c);
        epochs(c);
        deleteRecords(c);
    }

    static void listOffsets(Compare c) {
        c.add("ListOffsets/times", s -> {
            var topic = s.create("t", 1);
            var squeezed = s.create("z", 1);
            for (int n = 0; n < 5; n++) {
                var plain = new Batch();
                // Times go up by a second a record, but for one that is far ahead.
                for (int r = 0; r < 10; r++) plain.add(T + (n == 2 && r == 3 ? 100_000 : (n * 10 + r) * 1000L), "k", "v");
                s.fill(topic, 0, plain);
                s.fill(squeezed, 0, plain.codec(n % 5));
            }
            var empty = s.create("e", 1);
            s.versions(ApiKeys.LIST_OFFSETS, v -> {
                for (var name : List.of(topic, squeezed, empty)) {
                    var what = name == topic ? " plain" : name == squeezed ? " squeezed" : " empty";
                    for (long time : new long[] {-1, -2, -3, -4, -5, -6, -7, -100, Long.MIN_VALUE, 0, 1, T, T + 1, T + 999, T + 1000, T + 20_500, T + 22_000, T + 23_500, T + 30_000, T + 49_000, T + 49_001, T + 99_999, T + 100_000, T + 100_001, Long.MAX_VALUE})
                        s.say((time < 0 ? "time " + time : "time T+" + (time - T)) + what, v, Ask.listOffsets(name, Ask.at(0, time)));
                }
            });
        });
        c.add("ListOffsets/whom", s -> {
            var topic = s.create("t", 2);
            s.fill(topic, 0, Batch.of(3));
            s.versions(ApiKeys.LIST_OFFSETS, v -> {
                for (int level : new int[] {0, 1}) if (v >= 2) s.say("isolation " + level, v, Ask.listOffsets(topic, Ask.at(0, -1)).setIsolationLevel((byte) level));
                if (v >= 2) s.say("isolation 2", v, Ask.listOffsets(topic, Ask.at(0, -1)).setIsolationLevel((byte) 2));
                if (v >= 2) s.say("isolation 1 by time", v, Ask.listOffsets(topic, Ask.at(0, T)).setIsolationLevel((byte) 1));
                s.say("unknown topic", v, Ask.listOffsets(s.topic("unknown"), Ask.at(0, -1)));
                s.say("unknown partition", v, Ask.listOffsets(topic, Ask.at(7, -1)));
                s.say("negative partition", v, Ask.listOffsets(topic, Ask.at(-1, -1)));
                s.say("good and bad", v, Ask.listOffsets(topic, Ask.at(0, -1), Ask.at(7, -1), Ask.at(1, -2)));
                s.say("the same twice", v, Ask.listOffsets(topic, Ask.at(0, -1), Ask.at(0, -2)));
                s.say("the same twice and another", v, Ask.listOffsets(topic, Ask.at(0, -1), Ask.at(0, -2), Ask.at(1, -1)));
                for (var bad : TopicCases.BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'", v, Ask.listOffsets(bad, Ask.at(0, -1)));
                s.say("nothing", v, new ListOffsetsRequestData().setReplicaId(-1));
                s.say("no partitions", v, Ask.listOffsets(topic));
                for (int replica : new int[] {-2, 1, 42}) s.say("replica " + replica, v, Ask.listOffsets(topic, Ask.at(0, -1)).setReplicaId(replica));
                if (v >= 4) for (int epoch : new int[] {-1, 0, 1, 9, -2}) for (long time : new long[] {-1, -2, T}) s.say("current epoch " + epoch + (time > 0 ? " by time" : " at " + time), v, Ask.listOffsets(topic, Ask.at(0, time).setCurrentLeaderEpoch(epoch)));
                if (v >= 10) s.say("timeout 0", v, Ask.listOffsets(topic, Ask.at(0, T)).setTimeoutMs(0));
            });
        });
        c.add("ListOffsets/log append time", s -> {
            var topic = s.create("t", 1, "message.timestamp.type", "LogAppendTime");
            s.fill(topic, 0, Batch.of(3));
            try { Thread.sleep(5); } catch (InterruptedException e) { throw new IllegalStateException(e); }
            s.fill(topic, 0, Batch.of(3).codec(1));
            for (int v : new int[] {1, 7, 11}) for (long time : new long[] {0, T, T + 1, Long.MAX_VALUE}) s.say(time == Long.MAX_VALUE ? "after all" : "time " + time, v, Ask.listOffsets(topic, Ask.at(0, time)));
            s.say("the latest time", 7, Ask.listOffsets(topic, Ask.at(0, -3)));
        });
        c.add("ListOffsets/after deleted records", s -> {
            var topic = s.create("t", 1);
            s.fill(topic, 0, Batch.of(5), Batch.of(5));
            s.ask(2, Ask.deleteRecords(topic, 0, 3));
            for (int v : new int[] {1, 7, 8, 11}) for (long time : new long[] {-1, -2, -3, -4, -5, 0, T, T + 1, T + 2, T + 3, T + 4, T + 5}) s.say("time " + (time <= 0 ? time : "T+" + (time - T)), v, Ask.listOffsets(topic, Ask.at(0, time)));
            s.ask(2, Ask.deleteRecords(topic, 0, -1));
            for (int v : new int[] {1, 7, 8, 11}) for (long time : new long[] {-1, -2, -3, -4, 0, T, T + 4}) s.say("all gone, time " + (time <= 0 ? time : "T+" + (time - T)), v, Ask.listOffsets(topic, Ask.at(0, time)));
        });
    }

    static void epochs(Compare c) {
        c.add("OffsetForLeaderEpoch", s -> {
            var topic = s.create("t", 2);
            var empty = s.create("e", 1);
            s.fill(topic, 0, Batch.of(5), Batch.of(2));
            s.versions(ApiKeys.OFFSET_FOR_LEADER_EPOCH, v -> {
                for (int current : new int[] {-1, 0, 1, 9, -2}) for (int wanted : new int[] {-1, 0, 1, 5, -2, Integer.MAX_VALUE}) s.say("epoch " + wanted + " at " + current, v, request(v, Ask.epochs(topic, 0, current, wanted)));
                s.say("empty log", v, request(v, Ask.epochs(empty, 0, -1, 0)));
                s.say("unknown topic", v, request(v, Ask.epochs(s.topic("unknown"), 0, -1, 0)));
                s.say("unknown partition", v, request(v, Ask.epochs(topic, 7, -1, 0)));
                s.say("negative partition", v, request(v, Ask.epochs(topic, -1, -1, 0)));
                s.say("bad name", v, request(v, Ask.epochs("a b", 0, -1, 0)));
                s.say("nothing", v, request(v, new OffsetForLeaderEpochRequestData()));
                var two = Ask.epochs(topic, 0, -1, 0);
                two.topics().iterator().next().setPartitions(List.of(part(0), part(1), part(9), part(0)));
                s.say("several, one twice", v, request(v, two));
            });
        });
    }

    static OffsetForLeaderEpochRequestData.OffsetForLeaderPartition part(int index) { return new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(index).setLeaderEpoch(0); }

    static OffsetForLeaderEpochRequestData request(int v, OffsetForLeaderEpochRequestData request) { return v >= 3 ? request.setReplicaId(-1) : request; }

    static void deleteRecords(Compare c) {
        c.add("DeleteRecords", s -> s.versions(ApiKeys.DELETE_RECORDS, v -> {
            var topic = s.create("d" + v, 2);
            s.fill(topic, 0, Batch.of(5), Batch.of(5));
            s.say("beyond the end", v, Ask.deleteRecords(topic, 0, 11));
            s.say("-2", v, Ask.deleteRecords(topic, 0, -2));
            s.say("nothing before 0", v, Ask.deleteRecords(topic, 0, 0));
            s.say("into a batch", v, Ask.deleteRecords(topic, 0, 3));
            s.bounds("bounds after v" + v, topic, 0);
            s.say("below the start", v, Ask.deleteRecords(topic, 0, 1));
            s.say("the start itself", v, Ask.deleteRecords(topic, 0, 3));
            s.bounds("unchanged after v" + v, topic, 0);
            s.say("unknown topic", v, Ask.deleteRecords(s.topic("unknown"), 0, 1));
            s.say("unknown partition", v, Ask.deleteRecords(topic, 7, 1));
            s.say("negative partition", v, Ask.deleteRecords(topic, -1, 1));
            s.say("bad name", v, Ask.deleteRecords("a b", 0, 1));
            s.say("nothing", v, new DeleteRecordsRequestData().setTimeoutMs(1000));
            s.say("empty partition to its end", v, Ask.deleteRecords(topic, 1, -1));
            s.say("empty partition beyond", v, Ask.deleteRecords(topic, 1, 1));
            var several = Ask.deleteRecords(topic, 0, 4);
            several.topics().get(0).setPartitions(List.of(at(0, 4), at(1, 0), at(9, 0)));
            s.say("good and bad", v, several);
            var twice = Ask.deleteRecords(topic, 0, 4);
            twice.topics().get(0).setPartitions(List.of(at(0, 5), at(0, 6)));
            s.say("the same twice", v, twice);
            s.bounds("bounds then, v" + v, topic, 0);
            s.say("everything", v, Ask.deleteRecords(topic, 0, -1));
            s.bounds("bounds at last, v" + v, topic, 0);
            s.say("timeout 0", v, Ask.deleteRecords(topic, 0, -1).setTimeoutMs(0));
            s.say("produced after", 9, Ask.produce(s, 9, topic, 0, Batch.of(2).bytes()));
            s.say("fetched after", 12, Ask.fetch(s, 12, topic, 0, 10));
        }));
        c.add("DeleteRecords/compacted topics", s -> {
            var topic = s.create("c", 1, "cleanup.policy", "compact");
            var both = s.create("cd", 1, "cleanup.policy", "compact,delete");
            s.fill(topic, 0, Batch.of(3));
            s.fill(both, 0, Batch.of(3));
            s.say("compact", 2, Ask.deleteRecords(topic, 0, 1));
            s.say("compact,delete", 2, Ask.deleteRecords(both, 0, 1));
        });
    }

    static DeleteRecordsRequestData.DeleteRecordsPartition at(int partition, long offset) { return new DeleteRecordsRequestData.DeleteRecordsPartition().setPartitionIndex(partition).setOffset(offset); }
}
