import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** Metadata, CreateTopics, DeleteTopics, CreatePartitions, DescribeTopicPartitions. */
final class TopicCases {
    static final Uuid NOBODYS = new Uuid(0x1234567812345678L, 0x1234567812345678L);
    static final String[] BAD_NAMES = {"", ".", "..", "a b", "a/b", "ü", "x".repeat(250)};

    static void add(Compare c) {
        metadata(c);
        create(c);
        delete(c);
        grow(c);
        describe(c);
    }

    static void metadata(Compare c) {
        c.add("Metadata/by name", s -> {
            var topic = s.create("m", 3);
            var missing = s.topic("missing");
            s.versions(ApiKeys.METADATA, v -> {
                s.say("one topic", v, Ask.metadata(v, topic));
                if (v >= 4) {
                    s.say("unknown topic", v, Ask.metadata(v, missing));
                    s.say("known and unknown", v, Ask.metadata(v, topic, missing));
                    s.say("the same twice", v, Ask.metadata(v, topic, topic));
                    for (var bad : BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'", v, Ask.metadata(v, bad));
                }
            });
        });
        c.add("Metadata/all and none", s -> {
            s.create("m", 2);
            s.versions(ApiKeys.METADATA, v -> {
                if (v >= 1) s.sayMine("null is all", v, Ask.metadata(v).setTopics(null));
                if (v >= 1) s.say("empty is none", v, Ask.metadata(v));
                else s.sayMine("empty is all", v, Ask.metadata(v));
            });
        });
        c.add("Metadata/by id", s -> {
            var topic = s.create("m", 1);
            s.versions(ApiKeys.METADATA, 10, 13, v -> {
                var one = new MetadataRequestData.MetadataRequestTopic().setName(null).setTopicId(s.id(topic));
                var unknown = new MetadataRequestData.MetadataRequestTopic().setName(null).setTopicId(NOBODYS);
                s.say("known id", v, Ask.metadata(v).setTopics(List.of(one)));
                s.say("unknown id", v, Ask.metadata(v).setTopics(List.of(unknown)));
                s.say("known and unknown id", v, Ask.metadata(v).setTopics(List.of(one, unknown)));
                s.say("name and id together", v, Ask.metadata(v).setTopics(List.of(one, Ask.named(topic))));
                s.say("name and id in one", v, Ask.metadata(v).setTopics(List.of(Ask.named(topic).setTopicId(s.id(topic)))));
                s.say("neither name nor id", v, Ask.metadata(v).setTopics(List.of(new MetadataRequestData.MetadataRequestTopic().setName(null))));
            });
        });
        c.add("Metadata/authorised operations", s -> {
            var topic = s.create("m", 1);
            s.versions(ApiKeys.METADATA, 8, 13, v -> {
                s.say("of topics", v, Ask.metadata(v, topic).setIncludeTopicAuthorizedOperations(true));
                if (v <= 10) s.say("of the cluster", v, Ask.metadata(v, topic).setIncludeClusterAuthorizedOperations(true));
            });
        });
        c.add("Metadata/creates a topic", s -> s.versions(ApiKeys.METADATA, v -> {
            var topic = s.topic("auto" + v);
            var request = Ask.metadata(v, topic);
            if (v >= 4) request.setAllowAutoTopicCreation(true);
            // The first answer may still be an error: Kafka creates behind it.
            s.ask(v, request);
            Side.until("created " + v, () -> { var shown = s.metadata(topic); if (shown == null || shown.errorCode() != 0) return false; s.learn(topic, shown.topicId()); return shown.partitions().stream().allMatch(p -> p.leaderId() >= 0); });
            s.say("afterwards", v, request);
        }));
        c.add("Metadata/does not create", s -> s.versions(ApiKeys.METADATA, 4, 13, v -> {
            var topic = s.topic("noauto" + v);
            s.say("asked", v, Ask.metadata(v, topic));
            s.say("asked again", v, Ask.metadata(v, topic));
            if (v >= 4) s.say("illegal name with creation allowed", v, Ask.metadata(v, "a b").setAllowAutoTopicCreation(true));
        }));
        c.add("Metadata/after deletion and re-creation", s -> {
            var topic = s.create("again", 1);
            var before = s.id(topic);
            s.say("deleted", 6, Ask.delete(6, topic));
            s.gone(topic);
            s.say("gone", 12, Ask.metadata(12, topic));
            s.create("again", 2);
            s.note("same id", before.equals(s.id(topic)));
            s.say("back", 12, Ask.metadata(12, topic));
            s.say("by its old id", 12, Ask.metadata(12).setTopics(List.of(new MetadataRequestData.MetadataRequestTopic().setName(null).setTopicId(before))));
        });
    }

    static CreateTopicsRequestData validate(CreateTopicsRequestData request) { return request.setValidateOnly(true); }

    static void create(Compare c) {
        c.add("CreateTopics/good", s -> s.versions(ApiKeys.CREATE_TOPICS, v -> {
            learnFrom(s, s.ask(v, Ask.create(Ask.topic(s.topic("first" + v), 1, 1))));
            s.say("existing", v, Ask.create(Ask.topic(s.topic("first" + v), 1, 1)));
            createAndSay(s, "three partitions", v, Ask.topic(s.topic("three" + v), 3, 1));
            createAndSay(s, "with configs", v, Ask.topic(s.topic("conf" + v), 1, 1, "retention.ms", "3600000", "cleanup.policy", "compact"));
            createAndSay(s, "assigned", v, Ask.assigned(s.topic("assigned" + v), new int[] {1}, new int[] {1}));
            if (v >= 4) createAndSay(s, "all defaults", v, Ask.topic(s.topic("defaults" + v), -1, -1));
            else s.say("defaults before they were known", v, Ask.create(Ask.topic(s.topic("defaults" + v), -1, -1)));
            for (var label : List.of("three", "conf", "assigned")) s.say("shown " + label, 9, Ask.metadata(9, s.topic(label + v)));
        }));
        c.add("CreateTopics/refused", s -> {
            var topic = s.create("there", 1);
            s.versions(ApiKeys.CREATE_TOPICS, v -> {
                for (boolean only : new boolean[] {false, true}) {
                    String w = only ? " (validate only)" : "";
                    s.say("existing" + w, v, Ask.create(Ask.topic(topic, 1, 1)).setValidateOnly(only));
                    for (var bad : BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'" + w, v, Ask.create(Ask.topic(bad, 1, 1)).setValidateOnly(only));
                    s.say("no partitions" + w, v, Ask.create(Ask.topic(s.topic("x"), 0, 1)).setValidateOnly(only));
                    s.say("-2 partitions" + w, v, Ask.create(Ask.topic(s.topic("x"), -2, 1)).setValidateOnly(only));
                    s.say("no replicas" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, 0)).setValidateOnly(only));
                    s.say("-2 replicas" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, -2)).setValidateOnly(only));
                    s.say("two replicas on one broker" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, 2)).setValidateOnly(only));
                    s.say("unknown config" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, 1, "no.such.key", "1")).setValidateOnly(only));
                    s.say("bad config value" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, 1, "retention.ms", "soon")).setValidateOnly(only));
                    s.say("config out of range" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, 1, "segment.bytes", "1")).setValidateOnly(only));
                    s.say("null config value" + w, v, Ask.create(Ask.topic(s.topic("x"), 1, 1, "retention.ms", null)).setValidateOnly(only));
                    s.say("assigned to nobody" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {99})).setValidateOnly(only));
                    s.say("assigned twice to one" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {1, 1})).setValidateOnly(only));
                    s.say("assigned to none" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {})).setValidateOnly(only));
                    s.say("negative broker" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {-1})).setValidateOnly(only));
                    s.say("unequal replicas" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {1}, new int[] {})).setValidateOnly(only));
                    s.say("assigned and counted" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {1}).setNumPartitions(1)).setValidateOnly(only));
                    s.say("assigned and replicated" + w, v, Ask.create(Ask.assigned(s.topic("x"), new int[] {1}).setReplicationFactor((short) 1)).setValidateOnly(only));
                    var gap = Ask.assigned(s.topic("x"), new int[] {1});
                    gap.assignments().forEach(a -> a.setPartitionIndex(3));
                    s.say("assignment with a gap" + w, v, Ask.create(gap).setValidateOnly(only));
                }
                s.say("nothing came of it", 9, Ask.metadata(9, s.topic("x")));
            });
        });
        c.add("CreateTopics/several at once", s -> s.versions(ApiKeys.CREATE_TOPICS, v -> {
            createAndSay(s, "good and bad", v, Ask.topic(s.topic("good" + v), 1, 1), Ask.topic("a b", 1, 1), Ask.topic(s.topic("none" + v), 0, 1), Ask.topic(s.topic("conf" + v), 1, 1, "retention.ms", "x"));
            s.say("the same twice", v, Ask.create(Ask.topic(s.topic("dup" + v), 1, 1), Ask.topic(s.topic("dup" + v), 2, 1)));
            s.say("twice and another", v, validateIf(v, Ask.create(Ask.topic(s.topic("dup" + v), 1, 1), Ask.topic(s.topic("dup" + v), 2, 1), Ask.topic("a b", 1, 1))));
            s.say("none", v, Ask.create());
        }));
        c.add("CreateTopics/validate only", s -> s.versions(ApiKeys.CREATE_TOPICS, v -> {
            s.say("good", v, validate(Ask.create(Ask.topic(s.topic("v" + v), 2, 1, "retention.ms", "3600000"))));
            s.say("not there", 9, Ask.metadata(9, s.topic("v" + v)));
        }));
        c.add("CreateTopics/names that collide", s -> {
            s.create("a.b", 1);
            s.versions(ApiKeys.CREATE_TOPICS, v -> s.say("differ in . and _ only", v, Ask.create(Ask.topic(s.topic("a_b"), 1, 1))));
        });
        c.add("CreateTopics/every config", s -> {
            var pairs = new String[][] {
                {"cleanup.policy", "delete", "compact", "compact,delete", "", "none", "delete,delete", "Delete"},
                {"compression.type", "producer", "gzip", "uncompressed", "lzma", "LZ4", ""},
                {"compression.gzip.level", "1", "9", "-1", "0", "10"}, {"compression.lz4.level", "1", "17", "0", "18"}, {"compression.zstd.level", "-131072", "22", "23", "3"},
                {"delete.retention.ms", "0", "-1", "1.5"}, {"file.delete.delay.ms", "0", "-1"}, {"flush.messages", "0", "1", "-1"}, {"flush.ms", "0", "-1"},
                {"index.interval.bytes", "0", "-1"}, {"max.compaction.lag.ms", "0", "1"}, {"max.message.bytes", "0", "-1", "2147483647", "2147483648"},
                {"message.timestamp.type", "CreateTime", "LogAppendTime", "createtime"}, {"message.timestamp.before.max.ms", "0", "-1"}, {"message.timestamp.after.max.ms", "0", "-1"},
                {"min.cleanable.dirty.ratio", "0", "1", "1.1", "-0.1"}, {"min.compaction.lag.ms", "0", "-1"}, {"min.insync.replicas", "0", "1", "3"}, {"preallocate", "true", "false", "yes", "TRUE"},
                {"retention.bytes", "-1", "0", "-2"}, {"retention.ms", "-1", "0", "-2"}, {"segment.bytes", "1048576", "1048575", "14"}, {"segment.index.bytes", "4", "3"},
                {"segment.jitter.ms", "0", "-1"}, {"segment.ms", "1", "0"}, {"unclean.leader.election.enable", "true", "maybe"}, {"remote.storage.enable", "false", "true"},
                {"local.retention.ms", "-2", "-3", "1"}, {"local.retention.bytes", "-2", "-3"}, {"leader.replication.throttled.replicas", "*", "0:1", "x", ""}, {"follower.replication.throttled.replicas", "*", "x"},
                {"message.format.version", "3.0"}, {"message.downconversion.enable", "true"}, {"remote.log.copy.disable", "true", "false"}, {"remote.log.delete.on.disable", "false", "true"},
            };
            for (var pair : pairs) for (int n = 1; n < pair.length; n++) s.say(pair[0] + "=" + pair[n], 7, validate(Ask.create(Ask.topic(s.topic("c"), 1, 1, pair[0], pair[n]))));
            s.say("spaces around", 7, validate(Ask.create(Ask.topic(s.topic("c"), 1, 1, "retention.ms", " 5 "))));
            s.say("min above max lag", 7, validate(Ask.create(Ask.topic(s.topic("c"), 1, 1, "min.compaction.lag.ms", "10", "max.compaction.lag.ms", "5"))));
            s.say("local above total retention", 7, validate(Ask.create(Ask.topic(s.topic("c"), 1, 1, "local.retention.ms", "10", "retention.ms", "5"))));
        });
    }

    static CreateTopicsRequestData validateIf(int v, CreateTopicsRequestData request) { return request.setValidateOnly(true); }

    static void learnFrom(Side s, Side.Answer answer) {
        if (answer.replied()) for (var t : ((CreateTopicsResponseData) answer.message()).topics()) s.learn(t.name(), t.topicId());
    }

    /** Creates, learns the ids before the answer is written down, then waits until the topics can be used. */
    static void createAndSay(Side s, String label, int v, CreateTopicsRequestData.CreatableTopic... topics) {
        var answer = s.ask(v, Ask.create(topics));
        learnFrom(s, answer);
        s.write("v" + v + " " + label, answer);
        if (!answer.replied()) return;
        for (var t : ((CreateTopicsResponseData) answer.message()).topics()) if (t.errorCode() == 0)
            Side.until("shown", () -> { var shown = s.metadata(t.name()); return shown != null && shown.errorCode() == 0 && shown.partitions().stream().allMatch(p -> p.leaderId() >= 0); });
    }

    static void delete(Compare c) {
        c.add("DeleteTopics/by name", s -> s.versions(ApiKeys.DELETE_TOPICS, v -> {
            var one = s.create("one" + v, 2);
            var two = s.create("two" + v, 1);
            s.say("unknown", v, Ask.delete(v, s.topic("unknown")));
            s.say("known and unknown", v, Ask.delete(v, one, s.topic("unknown")));
            s.gone(one);
            s.say("gone", v, Ask.delete(v, one));
            s.say("the same twice", v, Ask.delete(v, two, two));
            s.say("after the same twice", 9, Ask.metadata(9, two));
            s.say("bad name", v, Ask.delete(v, "a b"));
            s.say("empty name", v, Ask.delete(v, ""));
            s.say("none", v, Ask.delete(v));
        }));
        c.add("DeleteTopics/by id", s -> {
            var topic = s.create("one", 1);
            var other = s.create("other", 1);
            s.say("unknown id", 6, Ask.deleteById(NOBODYS));
            s.say("unknown id twice", 6, Ask.deleteById(NOBODYS, NOBODYS));
            s.say("zero id and no name", 6, Ask.deleteById(Uuid.ZERO_UUID));
            var both = new DeleteTopicsRequestData().setTimeoutMs(5000);
            both.topics().add(new DeleteTopicsRequestData.DeleteTopicState().setName(other).setTopicId(s.id(other)));
            s.say("name and id", 6, both);
            var mixed = Ask.deleteById(s.id(other));
            mixed.topics().add(new DeleteTopicsRequestData.DeleteTopicState().setName(other));
            s.say("by id and again by name", 6, mixed);
            s.say("known id", 6, Ask.deleteById(s.id(topic)));
            s.gone(topic);
            s.say("again", 6, Ask.deleteById(s.id(topic)));
        });
        c.add("DeleteTopics/afterwards", s -> {
            var topic = s.create("data", 1);
            s.fill(topic, 0, Batch.of(3));
            s.say("deleted", 6, Ask.delete(6, topic));
            s.gone(topic);
            s.say("produce", 9, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes()));
            s.say("produce by id", 13, Ask.produce(s, 13, topic, 0, Batch.of(1).bytes()));
            s.say("fetch", 12, Ask.fetch(s, 12, topic, 0, 0));
            s.say("fetch by id", 13, Ask.fetch(s, 13, topic, 0, 0));
            s.say("list offsets", 7, Ask.listOffsets(topic, Ask.at(0, -1)));
            s.create("data", 1);
            s.bounds("recreated is empty", topic, 0);
        });
    }

    static void grow(Compare c) {
        c.add("CreatePartitions", s -> s.versions(ApiKeys.CREATE_PARTITIONS, v -> {
            var topic = s.create("g" + v, 2);
            for (boolean only : new boolean[] {true, false}) {
                var w = only ? " (validate only)" : "";
                s.say("same count" + w, v, Ask.grow(topic, 2).setValidateOnly(only));
                s.say("fewer" + w, v, Ask.grow(topic, 1).setValidateOnly(only));
                s.say("none" + w, v, Ask.grow(topic, 0).setValidateOnly(only));
                s.say("-1" + w, v, Ask.grow(topic, -1).setValidateOnly(only));
                s.say("unknown topic" + w, v, Ask.grow(s.topic("unknown"), 3).setValidateOnly(only));
                s.say("bad name" + w, v, Ask.grow("a b", 3).setValidateOnly(only));
                s.say("assigned to nobody" + w, v, Ask.grow(topic, 3, new int[] {77}).setValidateOnly(only));
                s.say("too few assignments" + w, v, Ask.grow(topic, 4, new int[] {1}).setValidateOnly(only));
                s.say("too many assignments" + w, v, Ask.grow(topic, 3, new int[] {1}, new int[] {1}).setValidateOnly(only));
                s.say("another replication" + w, v, Ask.grow(topic, 3, new int[] {1, 2}).setValidateOnly(only));
                s.say("twice the same broker" + w, v, Ask.grow(topic, 3, new int[] {1, 1}).setValidateOnly(only));
                s.say("empty assignment" + w, v, Ask.grow(topic, 3, new int[] {}).setValidateOnly(only));
                var empty = Ask.grow(topic, 3).setValidateOnly(only);
                empty.topics().iterator().next().setAssignments(List.of());
                s.say("no assignments though not null" + w, v, empty.setValidateOnly(true));
            }
            s.say("more (validate only)", v, Ask.grow(topic, 5).setValidateOnly(true));
            s.say("still two", 9, Ask.metadata(9, topic));
            s.say("more", v, Ask.grow(topic, 3));
            s.say("assigned", v, Ask.grow(topic, 5, new int[] {1}, new int[] {1}));
            s.ready(topic, 5);
            s.say("five", 9, Ask.metadata(9, topic));
            s.say("nothing asked", v, new CreatePartitionsRequestData().setTimeoutMs(1000));
            s.fill(topic, 4, Batch.of(2));
            s.bounds("the new one works", topic, 4);
        }));
    }

    static DescribeTopicPartitionsRequestData parts(int limit, String... names) {
        return new DescribeTopicPartitionsRequestData().setResponsePartitionLimit(limit)
            .setTopics(new ArrayList<>(Arrays.stream(names).map(n -> new DescribeTopicPartitionsRequestData.TopicRequest().setName(n)).toList()));
    }

    static void describe(Compare c) {
        c.add("DescribeTopicPartitions", s -> {
            var a = s.create("a", 3);
            var b = s.create("b", 2);
            var unknown = s.topic("unknown");
            s.say("one", 0, parts(2000, a));
            s.say("two", 0, parts(2000, a, b));
            s.say("unknown", 0, parts(2000, unknown));
            s.say("known and unknown", 0, parts(2000, b, unknown));
            s.say("the same twice", 0, parts(2000, a, a));
            for (var bad : BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'", 0, parts(2000, bad));
            s.say("limit two", 0, parts(2, a, b));
            s.say("limit four", 0, parts(4, a, b));
            s.say("limit three", 0, parts(3, a, b));
            s.say("limit zero", 0, parts(0, a));
            s.say("limit -1", 0, parts(-1, a));
            s.say("from a cursor", 0, parts(2000, a, b).setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName(a).setPartitionIndex(1)));
            s.say("from a cursor at its end", 0, parts(2000, a, b).setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName(a).setPartitionIndex(3)));
            s.say("cursor before all", 0, parts(2000, b).setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName(a).setPartitionIndex(0)));
            s.say("cursor after all", 0, parts(2000, a).setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName(b).setPartitionIndex(0)));
            s.say("negative cursor", 0, parts(2000, a).setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName(a).setPartitionIndex(-1)));
            s.sayMine("all", 0, parts(2000).setCursor(new DescribeTopicPartitionsRequestData.Cursor().setTopicName(s.prefix()).setPartitionIndex(0)));
        });
    }
}
