import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** The levels of a broker's loggers (KIP-412): DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources of BROKER_LOGGER. */
final class LoggerCases {
    static final int SET = ConfigCases.SET, DELETE = ConfigCases.DELETE, APPEND = ConfigCases.APPEND, SUBTRACT = ConfigCases.SUBTRACT;
    static final int TOPIC = ConfigCases.TOPIC, LOGGER = ConfigCases.LOGGER;
    static final List<String> OTHERS = List.of("", "77", "abc", "-1", " 1", "01", "+1", "2147483648");

    static void add(Compare c) {
        describe(c);
        // Levels are the whole process's: one scenario alone may set them.
        c.addAlone("IncrementalAlterConfigs/broker loggers", s -> s.versions(ApiKeys.INCREMENTAL_ALTER_CONFIGS, v -> {
            var logger = logger(s);
            levels(s, v, logger);
            refusals(s, v, logger);
            resources(s, v, logger);
        }));
        c.add("AlterConfigs/broker loggers", s -> s.versions(ApiKeys.ALTER_CONFIGS, v -> {
            s.say("this broker", v, Ask.alter(LOGGER, "1", "root", "INFO").setValidateOnly(true));
            s.say("another broker", v, Ask.alter(LOGGER, "77", "root", "INFO").setValidateOnly(true));
        }));
    }

    /** A logger below the root that the broker has, under one name in what is written down. */
    static String logger(Side s) {
        var name = s.reference ? "kafka.server" : "ringlog::server";
        s.normal.ids.put(name, "LOGGER");
        return name;
    }

    /** Writes down the levels of the root and of the logger. */
    static void shown(Side s, String label, String logger) { s.say(label, 4, Ask.describe(LOGGER, "1", "root", logger)); }

    static void describe(Compare c) {
        c.add("DescribeConfigs/broker loggers", s -> s.versions(ApiKeys.DESCRIBE_CONFIGS, v -> {
            var logger = logger(s);
            s.say("two loggers", v, Ask.describe(LOGGER, "1", "root", logger));
            s.say("with synonyms", v, Ask.describe(LOGGER, "1", "root").setIncludeSynonyms(true));
            if (v >= 3) s.say("with documentation", v, Ask.describe(LOGGER, "1", "root").setIncludeDocumentation(true));
            s.say("an unknown logger", v, Ask.describe(LOGGER, "1", "no.such.logger"));
            s.say("known and unknown", v, Ask.describe(LOGGER, "1", "no.such.logger", "root"));
            s.say("one twice", v, Ask.describe(LOGGER, "1", "root", "root"));
            for (var name : OTHERS) s.say("broker '" + name + "'", v, Ask.describe(LOGGER, name, "root"));
            // Which loggers there are is a broker's own affair; how each is told is not.
            var all = s.ask(v, Ask.describe(LOGGER, "1"));
            if (!all.replied()) { s.note("v" + v + " all", all.fate()); return; }
            var rows = ((DescribeConfigsResponseData) all.message()).results().get(0).configs();
            s.note("v" + v + " all: the root is there", rows.stream().anyMatch(row -> row.name().equals("root")));
            s.note("v" + v + " all: the other is there", rows.stream().anyMatch(row -> row.name().equals(logger)));
            var shapes = new TreeSet<String>();
            for (var row : rows) shapes.add("source " + row.configSource() + " type " + row.configType() + " sensitive " + row.isSensitive() + " read only " + row.readOnly() + " synonyms " + row.synonyms() + " documented " + row.documentation());
            s.note("v" + v + " all: how each is told", shapes);
            s.note("v" + v + " all: values that are no levels", rows.stream().filter(row -> !Set.of("FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE").contains(row.value())).count());
        }));
    }

    static void levels(Side s, int v, String logger) {
        shown(s, "at first v" + v, logger);
        for (var level : List.of("TRACE", "DEBUG", "WARN", "ERROR", "FATAL", "INFO")) {
            s.say("set " + level, v, Ask.incremental(LOGGER, "1", SET, logger, level));
            shown(s, "after " + level + " v" + v, logger);
        }
        s.say("validate only", v, Ask.incremental(LOGGER, "1", SET, logger, "ERROR").setValidateOnly(true));
        s.say("validate only, to be refused", v, Ask.incremental(LOGGER, "1", SET, logger, "LOUD").setValidateOnly(true));
        shown(s, "as it was v" + v, logger);
        // A logger with a level of its own keeps it, one without follows the root.
        s.say("set the root", v, Ask.incremental(LOGGER, "1", SET, "root", "WARN"));
        shown(s, "the root alone v" + v, logger);
        s.say("delete", v, Ask.incremental(LOGGER, "1", DELETE, logger, null));
        shown(s, "follows the root v" + v, logger);
        s.say("delete what has none", v, Ask.incremental(LOGGER, "1", DELETE, logger, null));
        s.say("delete with a value", v, Ask.incremental(LOGGER, "1", DELETE, logger, "LOUD"));
        s.say("two at once", v, Ask.incremental(LOGGER, "1", SET, "root", "INFO", SET, logger, "ERROR"));
        shown(s, "both are set v" + v, logger);
        s.say("set the root, delete the other", v, Ask.incremental(LOGGER, "1", SET, "root", "INFO", DELETE, logger, null));
        shown(s, "as at first v" + v, logger);
    }

    static void refusals(Side s, int v, String logger) {
        for (var level : Arrays.asList("info", "Info", "LOUD", "OFF", "ALL", "", " INFO", "CRITICAL", null)) s.say("set '" + level + "'", v, Ask.incremental(LOGGER, "1", SET, logger, level));
        for (var name : List.of("no.such.logger", "", "Root", "ROOT")) {
            s.say("set unknown '" + name + "'", v, Ask.incremental(LOGGER, "1", SET, name, "INFO"));
            s.say("set unknown '" + name + "' to no level", v, Ask.incremental(LOGGER, "1", SET, name, "LOUD"));
            s.say("delete unknown '" + name + "'", v, Ask.incremental(LOGGER, "1", DELETE, name, null));
            s.say("append to unknown '" + name + "'", v, Ask.incremental(LOGGER, "1", APPEND, name, "INFO"));
        }
        s.say("delete the root", v, Ask.incremental(LOGGER, "1", DELETE, "root", null));
        s.say("append", v, Ask.incremental(LOGGER, "1", APPEND, logger, "INFO"));
        s.say("subtract", v, Ask.incremental(LOGGER, "1", SUBTRACT, logger, "INFO"));
        s.say("append null", v, Ask.incremental(LOGGER, "1", APPEND, logger, null));
        s.say("operation 4", v, Ask.incremental(LOGGER, "1", 4, logger, "INFO"));
        s.say("operation -1", v, Ask.incremental(LOGGER, "1", -1, logger, "INFO"));
        s.say("good and bad", v, Ask.incremental(LOGGER, "1", SET, "root", "DEBUG", SET, logger, "LOUD"));
        s.say("bad and good", v, Ask.incremental(LOGGER, "1", SET, logger, "LOUD", SET, "root", "DEBUG"));
        s.say("set and delete one", v, Ask.incremental(LOGGER, "1", SET, logger, "DEBUG", DELETE, logger, null));
        s.say("set one twice", v, Ask.incremental(LOGGER, "1", SET, logger, "DEBUG", SET, logger, "DEBUG"));
        s.say("a topic's key", v, Ask.incremental(LOGGER, "1", SET, "retention.ms", "5000"));
        shown(s, "none was set v" + v, logger);
    }

    static void resources(Side s, int v, String logger) {
        for (var name : OTHERS) s.say("broker '" + name + "'", v, Ask.incremental(LOGGER, name, SET, "root", "INFO"));
        s.say("another broker and an unknown logger", v, Ask.incremental(LOGGER, "77", SET, "no.such.logger", "LOUD"));
        s.say("nothing to set", v, Ask.incremental(LOGGER, "1"));
        var twice = Ask.incremental(LOGGER, "1", SET, "root", "INFO");
        twice.resources().mustAdd(Ask.incrementalResource(LOGGER, "1", SET, logger, "INFO"));
        s.say("one resource twice", v, twice);
        var topic = s.create("logged" + v, 1);
        var both = Ask.incremental(LOGGER, "1", SET, logger, "DEBUG");
        both.resources().mustAdd(Ask.incrementalResource(TOPIC, topic, SET, "max.message.bytes", "5000"));
        s.say("with a topic", v, both);
        ConfigCases.shown(s, "the topic v" + v, topic, "max.message.bytes");
        shown(s, "the logger v" + v, logger);
        both = Ask.incremental(LOGGER, "1", DELETE, logger, null);
        both.resources().mustAdd(Ask.incrementalResource(TOPIC, topic, SET, "max.message.bytes", "many"));
        s.say("with a topic that is refused", v, both);
        shown(s, "at last v" + v, logger);
    }
}
