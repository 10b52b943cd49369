import java.util.*;
import org.apache.kafka.common.message.*;

/** The rates by which reassignments and moves between log directories are held back: keys that brokers are given only while they run. */
final class ThrottleCases {
    static final int TOPIC = 2, BROKER = 4, SET = 0, DELETE = 1, APPEND = 2;
    static final List<String> KEYS = List.of("leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second");

    static void add(Compare c) {
        c.addAlone("Throttle/set, seen and taken away", ThrottleCases::set);
        c.addAlone("Throttle/what may be set", ThrottleCases::values);
        c.addAlone("Throttle/a move", ThrottleCases::move);
    }

    /** What the broker says of a key; Kafka's learns of a change a moment after it is answered. */
    static String value(Side s, String key) {
        var answer = s.ask(4, Ask.describe(BROKER, "1", key));
        if (!answer.replied()) return answer.fate();
        var configs = ((DescribeConfigsResponseData) answer.message()).results().get(0).configs();
        return configs.isEmpty() ? "none" : String.valueOf(configs.get(0).value());
    }

    static void free(Side s) {
        for (var name : List.of("1", "")) for (var key : KEYS) s.ask(1, Ask.incremental(BROKER, name, DELETE, key, null));
        for (var key : KEYS) Side.until(key + " is not set", () -> value(s, key).equals("none"));
    }

    static void shown(Side s, String label, String key) {
        s.say(label + ", by the broker", 4, Ask.describe(BROKER, "1", key).setIncludeSynonyms(true));
        s.say(label + ", by the default", 4, Ask.describe(BROKER, "", key).setIncludeSynonyms(true));
    }

    static void set(Side s) {
        try {
            for (var key : KEYS) {
                shown(s, key + " is not set", key);
                s.say("unset " + key + " before it was set", 1, Ask.incremental(BROKER, "1", DELETE, key, null));
                s.say("set " + key + " for all", 1, Ask.incremental(BROKER, "", SET, key, "5000000"));
                Side.until("seen", () -> value(s, key).equals("5000000"));
                shown(s, key + " is set for all", key);
                s.say("set " + key + " for one", 1, Ask.incremental(BROKER, "1", SET, key, "7000000"));
                Side.until("seen", () -> value(s, key).equals("7000000"));
                shown(s, key + " is set for both", key);
                s.say("unset " + key + " for all", 1, Ask.incremental(BROKER, "", DELETE, key, null));
                s.say("unset " + key + " for one", 1, Ask.incremental(BROKER, "1", DELETE, key, null));
                Side.until("not seen", () -> value(s, key).equals("none"));
                shown(s, key + " was taken away", key);
            }
        } finally {
            free(s);
        }
    }

    static void values(Side s) {
        for (var key : KEYS)
            for (var name : List.of("1", ""))
                for (var value : List.of("0", "1", "-1", "9223372036854775807", "9223372036854775808", "1.5", "fast", "", " 5 "))
                    s.say(key + "=" + value + " of '" + name + "'", 1, Ask.incremental(BROKER, name, SET, key, value).setValidateOnly(true));
        for (var key : KEYS) s.say("append to " + key, 1, Ask.incremental(BROKER, "1", APPEND, key, "5").setValidateOnly(true));
        var topic = s.create("t", 1);
        for (var key : KEYS) s.say(key + " of a topic", 1, Ask.incremental(TOPIC, topic, SET, key, "5").setValidateOnly(true));
    }

    static void move(Side s) {
        var dirs = LogDirCases.learn(s);
        var topic = s.create("m", 1);
        LogDirCases.place(s, topic, 0, dirs.get(0));
        for (int n = 0; n < 4; n++) s.fill(topic, 0, Batch.of(20));
        try {
            var all = new ArrayList<Object>();
            for (var key : KEYS) all.addAll(List.of(SET, key, "1000000"));
            s.say("set all three", 1, Ask.incremental(BROKER, "1", all.toArray()));
            s.say("set the topic's replicas", 1, Ask.incremental(TOPIC, topic, SET, "leader.replication.throttled.replicas", "0:1", SET, "follower.replication.throttled.replicas", "0:1"));
            s.say("move", 2, LogDirCases.move(LogDirCases.dir(dirs.get(1), LogDirCases.topic(topic, 0))));
            LogDirCases.arrived(s, topic, 0, dirs.get(1));
            s.fill(topic, 0, Batch.of(20));
            s.bounds("moved", topic, 0);
        } finally {
            free(s);
        }
    }
}
