import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/**
 * Log directories that take no new partitions (KIP-1066). While these run no other scenario does: whoever makes topics meanwhile would fail.
 */
final class CordonCases {
    static final String KEY = "cordoned.log.dirs";
    static final int SET = 0, DELETE = 1, APPEND = 2, SUBTRACT = 3;

    static void add(Compare c) {
        c.addAlone("Cordon/one of two", CordonCases::one);
        c.addAlone("Cordon/all", CordonCases::all);
        c.addAlone("Cordon/what may be set", CordonCases::values);
    }

    static IncrementalAlterConfigsRequestData set(String broker, int operation, String value) { return Ask.incremental(4, broker, operation, KEY, value); }

    /** Takes what a scenario set back, and waits until the broker knows. */
    static void free(Side s, String topic) {
        s.ask(1, set("1", DELETE, null));
        s.ask(1, set("", DELETE, null));
        cordoned(s, topic, 0);
    }

    /** Waits until so many directories are cordoned, and until that is known where topics are made. */
    static void cordoned(Side s, String topic, int count) {
        Side.until(count + " cordoned", () -> LogDirCases.described(s, topic).results().stream().filter(r -> r.isCordoned()).count() == count);
        // Kafka's controller is told with the next heartbeat.
        Side.until("the controller knows", () -> {
            var topics = Ask.create(Ask.topic(s.topic("probe"), 1, 1)).setValidateOnly(true);
            var answer = s.ask(7, topics);
            return answer.replied() && Side.firstError(answer).equals("0") == (count < 2);
        });
    }

    static void one(Side s) {
        var dirs = LogDirCases.learn(s);
        var topic = s.create("c", 2);
        for (int p = 0; p < 2; p++) LogDirCases.place(s, topic, p, dirs.get(p));
        try {
            s.say("cordon one", 1, set("1", SET, dirs.get(1)));
            cordoned(s, topic, 1);
            s.versions(ApiKeys.DESCRIBE_LOG_DIRS, v -> s.say("one is cordoned", v, LogDirCases.dirs(LogDirCases.dirTopic(topic, 0, 1))));
            s.versions(ApiKeys.ALTER_REPLICA_LOG_DIRS, v -> {
                s.say("to the cordoned one", v, LogDirCases.move(LogDirCases.dir(dirs.get(1), LogDirCases.topic(topic, 0))));
                s.say("where it is, which is cordoned", v, LogDirCases.move(LogDirCases.dir(dirs.get(1), LogDirCases.topic(topic, 1))));
                s.say("an unknown topic to the cordoned one", v, LogDirCases.move(LogDirCases.dir(dirs.get(1), LogDirCases.topic(s.topic("unknown"), 0))));
                s.say("to both", v, LogDirCases.move(LogDirCases.dir(dirs.get(1), LogDirCases.topic(topic, 0)), LogDirCases.dir(dirs.get(0), LogDirCases.topic(topic, 0))));
            });
            s.fill(topic, 1, Batch.of(3));
            s.bounds("what lies there is written and read", topic, 1);
            s.say("away from the cordoned one", 2, LogDirCases.move(LogDirCases.dir(dirs.get(0), LogDirCases.topic(topic, 1))));
            LogDirCases.arrived(s, topic, 1, dirs.get(0));
            s.fill(topic, 1, Batch.of(3));
            var made = s.create("while", 4);
            s.say("what is made goes elsewhere", 5, LogDirCases.dirs(LogDirCases.dirTopic(made, 0, 1, 2, 3)));
            s.say("grown", 3, Ask.grow(made, 6));
            s.ready(made, 6);
            s.say("what is added goes elsewhere", 5, LogDirCases.dirs(LogDirCases.dirTopic(made, 0, 1, 2, 3, 4, 5)));
            s.say("placed by hand", 7, Ask.create(Ask.assigned(s.topic("hand"), new int[] {1})));
            s.say("shown", 4, Ask.describe(4, "1", KEY));
        } finally { free(s, topic); }
        s.say("shown afterwards", 5, LogDirCases.dirs(LogDirCases.dirTopic(topic, 0, 1)));
    }

    static void all(Side s) {
        var dirs = LogDirCases.learn(s);
        var topic = s.create("a", 1);
        LogDirCases.place(s, topic, 0, dirs.get(0));
        try {
            s.say("cordon all", 1, set("1", SET, "*"));
            cordoned(s, topic, 2);
            s.say("all are cordoned", 5, LogDirCases.dirs(LogDirCases.dirTopic(topic, 0)));
            s.versions(ApiKeys.CREATE_TOPICS, v -> {
                s.say("a topic", v, Ask.create(Ask.topic(s.topic("none"), 1, 1)));
                s.say("a topic with two replicas", v, Ask.create(Ask.topic(s.topic("none"), 1, 2)));
                s.say("a topic placed by hand", v, Ask.create(Ask.assigned(s.topic("hand" + v), new int[] {1})));
                s.say("a topic that exists", v, Ask.create(Ask.topic(topic, 1, 1)));
                s.say("a topic with a bad name", v, Ask.create(Ask.topic("a b", 1, 1)));
            });
            s.ready(s.topic("hand7"), 1);
            s.note("what is placed by hand is somewhere", LogDirCases.described(s, s.topic("hand7")).results().stream().filter(r -> !r.topics().isEmpty()).count());
            s.say("a topic by defaults", 7, Ask.create(Ask.topic(s.topic("none"), -1, -1)));
            s.versions(ApiKeys.CREATE_PARTITIONS, v -> {
                s.say("more partitions", v, Ask.grow(topic, 3));
                s.say("no more partitions", v, Ask.grow(topic, 1));
                s.say("more partitions placed by hand", v, Ask.grow(topic, 2, new int[] {1}).setValidateOnly(true));
                s.say("more partitions of an unknown topic", v, Ask.grow(s.topic("unknown"), 3));
            });
            s.say("made by asking", 12, Ask.metadata(12, s.topic("auto")).setAllowAutoTopicCreation(true));
            s.versions(ApiKeys.ALTER_PARTITION_REASSIGNMENTS, v -> {
                s.say("reassigned to where it is", v, ReassignmentCases.alter(ReassignmentCases.topic(topic, ReassignmentCases.to(0, 1))));
                s.say("reassigned to nowhere", v, ReassignmentCases.alter(ReassignmentCases.topic(topic, ReassignmentCases.to(0, 7))));
            });
            s.versions(ApiKeys.ALTER_REPLICA_LOG_DIRS, v -> {
                s.say("to another", v, LogDirCases.move(LogDirCases.dir(dirs.get(1), LogDirCases.topic(topic, 0))));
                s.say("where it is", v, LogDirCases.move(LogDirCases.dir(dirs.get(0), LogDirCases.topic(topic, 0))));
                s.say("nowhere", v, LogDirCases.move(LogDirCases.dir("/nowhere", LogDirCases.topic(topic, 0))));
            });
            s.fill(topic, 0, Batch.of(3));
            s.bounds("what is there serves on", topic, 0);
        } finally { free(s, topic); }
        s.say("a topic afterwards", 7, Ask.create(Ask.topic(s.topic("after"), 1, 1)));
    }

    static void values(Side s) {
        var dirs = LogDirCases.learn(s);
        var topic = s.create("v", 1);
        try {
            s.say("nowhere", 1, set("1", SET, "/nowhere"));
            s.say("one and nowhere", 1, set("1", SET, dirs.get(1) + ",/nowhere"));
            s.say("all and one", 1, set("1", SET, "*," + dirs.get(1)));
            s.say("one and all", 1, set("1", SET, dirs.get(1) + ",*"));
            s.say("with a slash", 1, set("1", SET, dirs.get(1) + "/"));
            s.say("one twice", 1, set("1", SET, dirs.get(1) + "," + dirs.get(1)));
            s.say("with spaces", 1, set("1", SET, " " + dirs.get(1) + " , " + dirs.get(0) + " "));
            s.say("empty", 1, set("1", SET, ""));
            s.say("empty entries", 1, set("1", SET, "," + dirs.get(1) + ","));
            s.say("null", 1, set("1", SET, null));
            s.say("for all brokers", 1, set("", SET, dirs.get(1)));
            s.say("all, for all brokers", 1, set("", SET, "*"));
            s.say("for another broker", 1, set("7", SET, dirs.get(1)));
            s.say("append", 1, set("1", APPEND, dirs.get(1)));
            s.say("append again", 1, set("1", APPEND, dirs.get(1)));
            s.say("append nowhere", 1, set("1", APPEND, "/nowhere"));
            s.say("append all", 1, set("1", APPEND, "*"));
            s.say("subtract nowhere", 1, set("1", SUBTRACT, "/nowhere"));
            cordoned(s, topic, 1);
            s.say("shown", 4, Ask.describe(4, "1", KEY));
            s.say("subtract", 1, set("1", SUBTRACT, dirs.get(1)));
            cordoned(s, topic, 0);
            s.say("shown without", 4, Ask.describe(4, "1", KEY));
            s.say("replaced", 2, Ask.alter(4, "1", KEY, dirs.get(1)));
            s.say("replaced by nowhere", 2, Ask.alter(4, "1", KEY, "/nowhere"));
            s.say("replaced for all", 2, Ask.alter(4, "", KEY, "*"));
            s.say("of a topic", 1, Ask.incremental(2, topic, SET, KEY, "*"));
            s.say("take it back", 1, set("1", DELETE, null));
            s.say("take back what is not set", 1, set("1", DELETE, null));
            s.say("take it back for all", 1, set("", DELETE, null));
        } finally { free(s, topic); }
    }
}
