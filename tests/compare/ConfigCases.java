import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources. */
final class ConfigCases {
    static final int TOPIC = 2, BROKER = 4, LOGGER = 8, METRICS = 16, GROUP = 32;
    static final int SET = 0, DELETE = 1, APPEND = 2, SUBTRACT = 3;

    static void add(Compare c) {
        describe(c);
        alter(c);
        incremental(c);
        list(c);
    }

    /**
     * Writes the keys down with their sources and synonyms. Kafka's broker learns of a change a moment after it is
     * answered, but learns everything in order: a topic that is seen shows that what came before it is seen too.
     */
    static void shown(Side s, String label, String topic, String... keys) {
        s.create("barrier" + s.lines.size(), 1);
        s.say(label, 4, Ask.describe(TOPIC, topic, keys).setIncludeSynonyms(true));
    }

    static void describe(Compare c) {
        c.add("DescribeConfigs/topics", s -> {
            var plain = s.create("plain", 1);
            var altered = s.create("altered", 1, "retention.ms", "7200000", "cleanup.policy", "compact", "max.message.bytes", "5000");
            s.versions(ApiKeys.DESCRIBE_CONFIGS, v -> {
                for (var topic : List.of(plain, altered)) {
                    var what = topic == plain ? " of a plain topic" : " of an altered topic";
                    s.say("all" + what, v, Ask.describe(TOPIC, topic));
                    s.say("all with synonyms" + what, v, Ask.describe(TOPIC, topic).setIncludeSynonyms(true));
                    s.say("two keys" + what, v, Ask.describe(TOPIC, topic, "retention.ms", "segment.bytes"));
                    s.say("an unknown key" + what, v, Ask.describe(TOPIC, topic, "no.such.key", "retention.ms"));
                    s.say("a broker's key" + what, v, Ask.describe(TOPIC, topic, "log.retention.ms"));
                    s.say("a key twice" + what, v, Ask.describe(TOPIC, topic, "retention.ms", "retention.ms"));
                }
                var none = Ask.describe(TOPIC, plain);
                none.resources().get(0).setConfigurationKeys(List.of());
                s.say("empty list of keys", v, none);
                s.say("unknown topic", v, Ask.describe(TOPIC, s.topic("unknown")));
                for (var bad : TopicCases.BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'", v, Ask.describe(TOPIC, bad));
                s.say("nothing", v, new DescribeConfigsRequestData());
                var two = Ask.describe(TOPIC, plain, "retention.ms");
                two.setResources(new ArrayList<>(List.of(two.resources().get(0), two.resources().get(0).duplicate())));
                s.say("the same resource twice", v, two);
                two.setResources(List.of(two.resources().get(0), Ask.describe(TOPIC, s.topic("unknown")).resources().get(0)));
                s.say("known and unknown", v, two);
            });
            // Whose words the documentation is in is a broker's own affair; that there is some is not.
            var documented = s.ask(4, Ask.describe(TOPIC, plain).setIncludeDocumentation(true));
            if (documented.replied()) s.note("documentation of each key", ((DescribeConfigsResponseData) documented.message()).results().get(0).configs().stream().allMatch(e -> e.documentation() != null && !e.documentation().isEmpty()));
        });
        c.add("DescribeConfigs/brokers", s -> s.versions(ApiKeys.DESCRIBE_CONFIGS, v -> {
            var keys = new String[] {"num.partitions", "default.replication.factor", "log.retention.hours", "log.retention.ms", "message.max.bytes", "auto.create.topics.enable", "log.segment.bytes",
                "min.insync.replicas", "compression.type", "delete.topic.enable", "node.id", "process.roles", "log.flush.interval.messages", "log.message.timestamp.type", "socket.request.max.bytes", "fetch.max.bytes",
                "connections.max.idle.ms", "max.connections", "max.connections.per.ip", "queued.max.request.bytes", "log.index.interval.bytes", "log.roll.hours", "log.roll.ms", "log.cleanup.policy", "inter.broker.listener.name"};
            s.say("known keys", v, Ask.describe(BROKER, "1", keys));
            s.say("known keys with synonyms", v, Ask.describe(BROKER, "1", keys).setIncludeSynonyms(true));
            s.say("an unknown key", v, Ask.describe(BROKER, "1", "no.such.key"));
            s.say("the default broker", v, Ask.describe(BROKER, ""));
            s.say("the default broker, one key", v, Ask.describe(BROKER, "", "num.partitions"));
            s.say("another broker", v, Ask.describe(BROKER, "77"));
            s.say("not a number", v, Ask.describe(BROKER, "abc"));
            s.say("negative number", v, Ask.describe(BROKER, "-1"));
        }));
        c.add("DescribeConfigs/other resources", s -> s.versions(ApiKeys.DESCRIBE_CONFIGS, v -> {
            for (int type : new int[] {0, 1, 3, 64, 127, -1}) s.say("resource type " + type, v, Ask.describe(type, "x"));
        }));
    }

    static void alter(Compare c) {
        c.add("AlterConfigs/topics", s -> s.versions(ApiKeys.ALTER_CONFIGS, v -> {
            var topic = s.create("a" + v, 1, "retention.ms", "7200000");
            s.say("set one, reset the other", v, Ask.alter(TOPIC, topic, "max.message.bytes", "5000"));
            shown(s, "after v" + v, topic, "retention.ms", "max.message.bytes");
            s.say("validate only", v, Ask.alter(TOPIC, topic, "max.message.bytes", "6000").setValidateOnly(true));
            s.say("unknown key", v, Ask.alter(TOPIC, topic, "no.such.key", "1"));
            s.say("bad value", v, Ask.alter(TOPIC, topic, "retention.ms", "soon"));
            s.say("good and bad", v, Ask.alter(TOPIC, topic, "max.message.bytes", "7000", "retention.ms", "soon"));
            s.say("null value", v, Ask.alter(TOPIC, topic, "retention.ms", null));
            s.say("empty value", v, Ask.alter(TOPIC, topic, "retention.ms", ""));
            s.say("a default set", v, Ask.alter(TOPIC, topic, "retention.ms", "604800000"));
            shown(s, "a default is set after v" + v, topic, "retention.ms", "max.message.bytes");
            s.say("unknown topic", v, Ask.alter(TOPIC, s.topic("unknown"), "retention.ms", "1"));
            for (var bad : List.of("", "a b")) s.say("bad name '" + bad + "'", v, Ask.alter(TOPIC, bad, "retention.ms", "1"));
            s.say("nothing set resets all", v, Ask.alter(TOPIC, topic));
            shown(s, "reset after v" + v, topic, "retention.ms", "max.message.bytes");
            s.say("nothing", v, new AlterConfigsRequestData());
            var two = Ask.alter(TOPIC, topic, "retention.ms", "5000");
            two.resources().mustAdd(Ask.alterResource(TOPIC, s.topic("unknown"), "retention.ms", "5000"));
            s.say("known and unknown", v, two);
            var twice = Ask.alter(TOPIC, topic, "retention.ms", "5000");
            twice.resources().mustAdd(Ask.alterResource(TOPIC, topic, "retention.ms", "6000"));
            s.better("v" + v + " one resource twice", () -> s.ask(v, twice), "error 42");
            s.say("a key twice", v, Ask.alter(TOPIC, topic, "retention.ms", "5000", "retention.ms", "6000"));
        }));
        c.add("AlterConfigs/other resources", s -> s.versions(ApiKeys.ALTER_CONFIGS, v -> {
            for (int type : new int[] {0, 1, 3, 64, 127}) s.say("resource type " + type, v, Ask.alter(type, "x", "a", "b"));
            s.say("another broker", v, Ask.alter(BROKER, "77", "log.retention.ms", "5000").setValidateOnly(true));
            s.say("not a number", v, Ask.alter(BROKER, "abc", "log.retention.ms", "5000").setValidateOnly(true));
            s.say("a key that only a restart changes", v, Ask.alter(BROKER, "1", "node.id", "5").setValidateOnly(true));
        }));
        c.add("AlterConfigs/what was described is taken back", s -> {
            var topic = s.create("back", 1, "retention.ms", "7200000", "cleanup.policy", "compact,delete");
            var shown = s.ask(4, Ask.describe(TOPIC, topic));
            if (!shown.replied()) return;
            var pairs = new ArrayList<String>();
            for (var entry : ((DescribeConfigsResponseData) shown.message()).results().get(0).configs()) { pairs.add(entry.name()); pairs.add(entry.value()); }
            s.say("all of it", 2, Ask.alter(TOPIC, topic, pairs.toArray(String[]::new)));
            shown(s, "afterwards", topic);
        });
    }

    static void incremental(Compare c) {
        c.add("IncrementalAlterConfigs/topics", s -> s.versions(ApiKeys.INCREMENTAL_ALTER_CONFIGS, v -> {
            var topic = s.create("i" + v, 1, "retention.ms", "7200000");
            s.say("set", v, Ask.incremental(TOPIC, topic, SET, "max.message.bytes", "5000"));
            s.say("delete", v, Ask.incremental(TOPIC, topic, DELETE, "retention.ms", null));
            s.say("delete with a value", v, Ask.incremental(TOPIC, topic, DELETE, "retention.ms", "5"));
            s.say("delete what is not set", v, Ask.incremental(TOPIC, topic, DELETE, "segment.ms", null));
            s.say("delete an unknown key", v, Ask.incremental(TOPIC, topic, DELETE, "no.such.key", null));
            s.say("append to a list", v, Ask.incremental(TOPIC, topic, APPEND, "cleanup.policy", "compact"));
            shown(s, "after appending v" + v, topic, "cleanup.policy", "retention.ms", "max.message.bytes");
            s.say("append what is there", v, Ask.incremental(TOPIC, topic, APPEND, "cleanup.policy", "compact"));
            s.say("append two", v, Ask.incremental(TOPIC, topic, APPEND, "cleanup.policy", "compact,delete"));
            s.say("append rubbish", v, Ask.incremental(TOPIC, topic, APPEND, "cleanup.policy", "burn"));
            s.say("subtract", v, Ask.incremental(TOPIC, topic, SUBTRACT, "cleanup.policy", "delete"));
            shown(s, "after subtracting v" + v, topic, "cleanup.policy");
            s.say("subtract what is not there", v, Ask.incremental(TOPIC, topic, SUBTRACT, "cleanup.policy", "delete"));
            s.say("subtract the last", v, Ask.incremental(TOPIC, topic, SUBTRACT, "cleanup.policy", "compact"));
            shown(s, "after subtracting the last v" + v, topic, "cleanup.policy");
            s.say("append to a number", v, Ask.incremental(TOPIC, topic, APPEND, "retention.ms", "5"));
            s.say("subtract from a number", v, Ask.incremental(TOPIC, topic, SUBTRACT, "retention.ms", "5"));
            s.say("operation 4", v, Ask.incremental(TOPIC, topic, 4, "retention.ms", "5"));
            s.say("operation -1", v, Ask.incremental(TOPIC, topic, -1, "retention.ms", "5"));
            s.say("set null", v, Ask.incremental(TOPIC, topic, SET, "retention.ms", null));
            s.say("append null", v, Ask.incremental(TOPIC, topic, APPEND, "cleanup.policy", null));
            s.say("set an empty value", v, Ask.incremental(TOPIC, topic, SET, "retention.ms", ""));
            s.say("set an empty list", v, Ask.incremental(TOPIC, topic, SET, "leader.replication.throttled.replicas", ""));
            s.say("unknown key", v, Ask.incremental(TOPIC, topic, SET, "no.such.key", "5"));
            s.say("bad value", v, Ask.incremental(TOPIC, topic, SET, "retention.ms", "soon"));
            s.say("good and bad", v, Ask.incremental(TOPIC, topic, SET, "max.message.bytes", "9000", SET, "retention.ms", "soon"));
            s.say("set and delete one key", v, Ask.incremental(TOPIC, topic, SET, "retention.ms", "5", DELETE, "retention.ms", null));
            s.say("set one key twice", v, Ask.incremental(TOPIC, topic, SET, "retention.ms", "5", SET, "retention.ms", "5"));
            s.say("validate only", v, Ask.incremental(TOPIC, topic, SET, "max.message.bytes", "6000").setValidateOnly(true));
            s.say("nothing set", v, Ask.incremental(TOPIC, topic));
            s.say("unknown topic", v, Ask.incremental(TOPIC, s.topic("unknown"), SET, "retention.ms", "5"));
            for (var bad : List.of("", "a b")) s.say("bad name '" + bad + "'", v, Ask.incremental(TOPIC, bad, SET, "retention.ms", "5"));
            s.say("nothing", v, new IncrementalAlterConfigsRequestData());
            shown(s, "at last v" + v, topic, "cleanup.policy", "retention.ms", "max.message.bytes", "leader.replication.throttled.replicas");
            var twice = Ask.incremental(TOPIC, topic, SET, "retention.ms", "5000");
            twice.resources().mustAdd(Ask.incrementalResource(TOPIC, topic, SET, "retention.ms", "6000"));
            s.say("one resource twice", v, twice);
            var two = Ask.incremental(TOPIC, topic, SET, "retention.ms", "5000");
            two.resources().mustAdd(Ask.incrementalResource(TOPIC, s.topic("unknown"), SET, "retention.ms", "6000"));
            s.say("known and unknown", v, two);
        }));
        c.add("IncrementalAlterConfigs/limits take effect", s -> {
            var topic = s.create("i", 1);
            s.say("set", 1, Ask.incremental(TOPIC, topic, SET, "max.message.bytes", "100"));
            Side.until("the limit", () -> Side.firstError(s.ask(9, Ask.produce(s, 9, topic, 0, Batch.of(20).bytes()))).equals("10"));
            s.say("too large", 9, Ask.produce(s, 9, topic, 0, Batch.of(20).bytes()));
            s.say("unset", 1, Ask.incremental(TOPIC, topic, DELETE, "max.message.bytes", null));
            Side.until("no limit", () -> Side.firstError(s.ask(9, Ask.produce(s, 9, topic, 0, Batch.of(20).bytes()))).equals("0"));
        });
        c.add("IncrementalAlterConfigs/brokers", s -> s.versions(ApiKeys.INCREMENTAL_ALTER_CONFIGS, v -> {
            for (var name : List.of("1", "")) {
                var what = name.isEmpty() ? " of the default broker" : " of broker 1";
                s.say("a key that can change" + what, v, Ask.incremental(BROKER, name, SET, "log.retention.ms", "86400000").setValidateOnly(true));
                s.say("a key that cannot" + what, v, Ask.incremental(BROKER, name, SET, "node.id", "5").setValidateOnly(true));
                s.say("a bad value" + what, v, Ask.incremental(BROKER, name, SET, "log.retention.ms", "soon").setValidateOnly(true));
                s.say("an unknown key" + what, v, Ask.incremental(BROKER, name, SET, "no.such.key", "5").setValidateOnly(true));
            }
            s.say("another broker", v, Ask.incremental(BROKER, "77", SET, "log.retention.ms", "5000").setValidateOnly(true));
            s.say("not a number", v, Ask.incremental(BROKER, "abc", SET, "log.retention.ms", "5000").setValidateOnly(true));
            for (int type : new int[] {0, 1, 3, 64, 127}) s.say("resource type " + type, v, Ask.incremental(type, "x", SET, "a", "b"));
        }));
        c.add("IncrementalAlterConfigs/a broker's setting reaches its topics", s -> {
            // One key of no consequence, set for the cluster, seen, and taken away again.
            var topic = s.create("i", 1);
            s.say("set for all", 1, Ask.incremental(BROKER, "", SET, "log.segment.delete.delay.ms", "61234"));
            Side.until("seen", () -> value(s, topic).equals("61234"));
            s.say("seen by the topic", 4, Ask.describe(TOPIC, topic, "file.delete.delay.ms").setIncludeSynonyms(true));
            s.say("seen by the broker", 4, Ask.describe(BROKER, "1", "log.segment.delete.delay.ms").setIncludeSynonyms(true));
            s.say("seen by the default", 4, Ask.describe(BROKER, "").setIncludeSynonyms(true));
            s.say("set for one", 1, Ask.incremental(BROKER, "1", SET, "log.segment.delete.delay.ms", "61235"));
            Side.until("seen", () -> value(s, topic).equals("61235"));
            s.say("one before all", 4, Ask.describe(TOPIC, topic, "file.delete.delay.ms").setIncludeSynonyms(true));
            s.say("unset for one", 1, Ask.incremental(BROKER, "1", DELETE, "log.segment.delete.delay.ms", null));
            s.say("unset for all", 1, Ask.incremental(BROKER, "", DELETE, "log.segment.delete.delay.ms", null));
            Side.until("default again", () -> value(s, topic).equals("60000"));
        });
    }

    static String value(Side s, String topic) {
        var answer = s.ask(4, Ask.describe(TOPIC, topic, "file.delete.delay.ms"));
        if (!answer.replied()) return answer.fate();
        var configs = ((DescribeConfigsResponseData) answer.message()).results().get(0).configs();
        return configs.isEmpty() ? "" : configs.get(0).value();
    }

    static void list(Compare c) {
        c.add("ListConfigResources", s -> {
            s.create("l", 1, "retention.ms", "5000");
            s.create("m", 1);
            s.sayMine("client metrics only", 0, new ListConfigResourcesRequestData());
            s.sayMine("topics", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) TOPIC)));
            s.say("brokers", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) BROKER)));
            s.say("broker loggers", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) LOGGER)));
            s.sayMine("client metrics", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) METRICS)));
            s.say("an unknown type", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) 99)));
            s.say("type 0", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) 0)));
            s.sayMine("topics twice", 1, new ListConfigResourcesRequestData().setResourceTypes(List.of((byte) TOPIC, (byte) TOPIC)));
            s.sayMine("all", 1, new ListConfigResourcesRequestData());
        });
    }
}
