import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** DescribeLogDirs and AlterReplicaLogDirs, of brokers with two log directories each. */
final class LogDirCases {
    static void add(Compare c) {
        describe(c);
        alter(c);
    }

    static DescribeLogDirsRequestData.DescribableLogDirTopic dirTopic(String name, Integer... partitions) {
        return new DescribeLogDirsRequestData.DescribableLogDirTopic().setTopic(name).setPartitions(List.of(partitions));
    }

    static DescribeLogDirsRequestData dirs(DescribeLogDirsRequestData.DescribableLogDirTopic... topics) {
        var request = new DescribeLogDirsRequestData();
        for (var topic : topics) request.topics().mustAdd(topic);
        return request;
    }

    static DescribeLogDirsResponseData described(Side s, String topic) {
        var answer = s.ask(5, dirs(dirTopic(topic, 0, 1, 2)));
        if (!answer.replied()) throw new IllegalStateException("set-up: log dirs: " + answer.fate());
        return (DescribeLogDirsResponseData) answer.message();
    }

    /** The broker's directories, in order; their names are numbers from here on. */
    static List<String> learn(Side s) {
        s.normal.dirs = described(s, s.topic("none")).results().stream().map(r -> r.logDir()).sorted().toList();
        if (s.normal.dirs.size() != 2) throw new IllegalStateException("set-up: two log directories, not " + s.normal.dirs);
        return s.normal.dirs;
    }

    static AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopic topic(String name, Integer... partitions) {
        return new AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopic().setName(name).setPartitions(List.of(partitions));
    }

    static AlterReplicaLogDirsRequestData.AlterReplicaLogDir dir(String path, AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopic... topics) {
        var dir = new AlterReplicaLogDirsRequestData.AlterReplicaLogDir().setPath(path);
        for (var topic : topics) dir.topics().mustAdd(topic);
        return dir;
    }

    static AlterReplicaLogDirsRequestData move(AlterReplicaLogDirsRequestData.AlterReplicaLogDir... dirs) {
        var request = new AlterReplicaLogDirsRequestData();
        for (var dir : dirs) request.dirs().mustAdd(dir);
        return request;
    }

    /** Until a partition lies in a directory, and nothing of it is on its way. */
    static void arrived(Side s, String topic, int partition, String path) {
        Side.until("moved " + topic, () -> {
            var homes = new ArrayList<String>();
            for (var result : described(s, topic).results())
                for (var t : result.topics()) for (var p : t.partitions()) if (p.partitionIndex() == partition) homes.add(result.logDir() + (p.isFutureKey() ? " coming" : ""));
            return homes.equals(List.of(path));
        });
    }

    static void place(Side s, String topic, int partition, String path) {
        s.ask(2, move(dir(path, topic(topic, partition))));
        arrived(s, topic, partition, path);
    }

    static void describe(Compare c) {
        c.add("DescribeLogDirs", s -> {
            var dirs = learn(s);
            var topic = s.create("d", 3);
            var other = s.create("o", 1);
            s.fill(topic, 0, Batch.of(10));
            s.fill(topic, 2, Batch.of(20).codec(3), Batch.of(3));
            for (int p = 0; p < 3; p++) place(s, topic, p, dirs.get(p % 2));
            place(s, other, 0, dirs.get(1));
            s.versions(ApiKeys.DESCRIBE_LOG_DIRS, v -> {
                s.say("one topic", v, dirs(dirTopic(topic, 0, 1, 2)));
                s.say("two topics, some partitions", v, dirs(dirTopic(topic, 2), dirTopic(other, 0)));
                s.say("unknown topic", v, dirs(dirTopic(s.topic("unknown"), 0)));
                s.say("unknown partition", v, dirs(dirTopic(topic, 9)));
                s.say("no partitions", v, dirs(dirTopic(topic)));
                s.say("a partition twice", v, dirs(dirTopic(topic, 0, 0)));
                s.say("empty list", v, dirs());
                s.sayMine("all", v, new DescribeLogDirsRequestData().setTopics(null));
            });
        });
    }

    static void alter(Compare c) {
        c.add("AlterReplicaLogDirs", s -> s.versions(ApiKeys.ALTER_REPLICA_LOG_DIRS, v -> {
            var dirs = learn(s);
            var topic = s.create("m" + v, 2);
            for (int p = 0; p < 2; p++) place(s, topic, p, dirs.get(0));
            s.fill(topic, 0, Batch.of(10), Batch.of(5).codec(3));
            s.say("where it is", v, move(dir(dirs.get(0), topic(topic, 0))));
            s.say("elsewhere", v, move(dir(dirs.get(1), topic(topic, 0))));
            arrived(s, topic, 0, dirs.get(1));
            s.say("elsewhere: there", 4, dirs(dirTopic(topic, 0, 1)));
            s.bounds("v" + v + " elsewhere: whole", topic, 0);
            s.say("back, and the other away", v, move(dir(dirs.get(0), topic(topic, 0)), dir(dirs.get(1), topic(topic, 1))));
            arrived(s, topic, 0, dirs.get(0));
            arrived(s, topic, 1, dirs.get(1));
            s.fill(topic, 0, Batch.of(3));
            s.say("back: there", 4, dirs(dirTopic(topic, 0, 1)));
            s.bounds("v" + v + " back: whole", topic, 0);
            for (var path : List.of("/nowhere", "", "data", dirs.get(0) + "/", dirs.get(0) + "/.", "/"))
                s.say("to '" + (path.startsWith(dirs.get(0)) ? "DIR0" + path.substring(dirs.get(0).length()) : path) + "'", v, move(dir(path, topic(topic, 0))));
            s.say("unknown topic", v, move(dir(dirs.get(0), topic(s.topic("unknown"), 0))));
            s.say("unknown topic to nowhere", v, move(dir("/nowhere", topic(s.topic("unknown"), 0))));
            s.say("unknown partition", v, move(dir(dirs.get(0), topic(topic, 0, 9))));
            s.say("negative partition", v, move(dir(dirs.get(0), topic(topic, -1))));
            s.say("bad name", v, move(dir(dirs.get(0), topic("a b", 0))));
            s.say("empty name", v, move(dir(dirs.get(0), topic("", 0))));
            s.say("a partition twice", v, move(dir(dirs.get(0), topic(topic, 0, 0))));
            s.say("to two directories, one nowhere", v, move(dir("/nowhere", topic(topic, 0)), dir(dirs.get(0), topic(topic, 0))));
            s.say("to two directories, one nowhere, last", v, move(dir(dirs.get(0), topic(topic, 0)), dir("/nowhere", topic(topic, 0))));
            s.say("no partitions", v, move(dir(dirs.get(0), topic(topic))));
            s.say("no topics", v, move(dir(dirs.get(0))));
            s.say("nothing", v, move());
        }));
    }
}
