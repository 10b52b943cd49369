import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/** Kafka's own clients: producer (idempotent by default), consumer by assignment, administrator. */
public final class JavaClients {
    interface Test { void run() throws Exception; }

    static String bootstrap;
    static Admin admin;
    static final Random random = new Random();

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        var wanted = Set.of(Arrays.copyOfRange(args, 1, args.length));
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", 20000, "request.timeout.ms", 15000));
        var tests = new LinkedHashMap<String, Test>();
        tests.put("default_producer_keeps_order_and_loses_nothing", JavaClients::defaultProducer);
        tests.put("every_codec_round_trips", JavaClients::everyCodec);
        tests.put("every_acks_level_stores_the_records", JavaClients::everyAcks);
        tests.put("keys_headers_and_timestamps_travel_unchanged", JavaClients::shapes);
        tests.put("many_partitions_are_written_and_read", JavaClients::manyPartitions);
        tests.put("positions_and_lookups_agree", JavaClients::positions);
        tests.put("records_are_found_by_time_inside_batches", JavaClients::byTime);
        tests.put("an_offset_out_of_range_is_reported", JavaClients::outOfRange);
        tests.put("small_fetch_limits_still_make_progress", JavaClients::smallFetches);
        tests.put("read_committed_reads_what_is_not_transactional", JavaClients::readCommitted);
        tests.put("a_waiting_reader_is_woken_by_an_append", JavaClients::waking);
        tests.put("sessions_survive_a_changing_assignment", JavaClients::sessions);
        tests.put("topics_are_created_with_all_answers", JavaClients::createTopics);
        tests.put("creation_is_refused_with_the_right_error", JavaClients::createRefused);
        tests.put("topics_are_described_by_name_and_id", JavaClients::describeTopics);
        tests.put("a_recreated_topic_has_a_new_id_and_no_records", JavaClients::recreate);
        tests.put("partitions_grow", JavaClients::grow);
        tests.put("configs_are_altered_incrementally", JavaClients::configs);
        tests.put("the_broker_and_the_cluster_are_described", JavaClients::cluster);
        tests.put("records_are_deleted", JavaClients::deleteRecords);
        tests.put("offsets_are_listed_by_every_spec", JavaClients::listOffsets);
        tests.put("log_dirs_show_what_was_written", JavaClients::logDirs);
        tests.put("producers_are_described", JavaClients::producers);
        tests.put("the_quorum_is_described", JavaClients::quorum);
        tests.put("too_large_records_are_refused", JavaClients::tooLarge);
        tests.put("producing_creates_the_topic", JavaClients::autoCreate);
        int failed = 0;
        var pool = Executors.newCachedThreadPool(r -> { var t = new Thread(r); t.setDaemon(true); return t; });
        for (var test : tests.entrySet()) {
            if (!wanted.isEmpty() && !wanted.contains(test.getKey())) continue;
            try {
                pool.submit(() -> { test.getValue().run(); return null; }).get(60, TimeUnit.SECONDS);
                System.out.println("ok java " + test.getKey());
            } catch (Throwable e) {
                failed++;
                var cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
                if (System.getenv("TRACE") != null) cause.printStackTrace();
                var why = (cause.getClass().getSimpleName() + ": " + cause.getMessage()).replaceAll("\\s+", " ");
                System.out.println("FAIL java " + test.getKey() + ": " + why.substring(0, Math.min(400, why.length())));
            }
        }
        System.out.flush();
        Runtime.getRuntime().halt(failed == 0 ? 0 : 1);
    }

    // What the tests are made of.

    static String fresh(String label) { return label + "-" + ProcessHandle.current().pid() + "-" + Integer.toHexString(random.nextInt() & 0xffffff); }

    static void same(Object got, Object wanted, String what) {
        if (!Objects.equals(got, wanted)) throw new AssertionError(what + ": got " + got + ", wanted " + wanted);
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + 15_000_000_000L;
        while (System.nanoTime() < deadline) {
            if (condition.call()) return;
            Thread.sleep(30);
        }
        throw new AssertionError("not within 15 s: " + what);
    }

    static <T extends Throwable> T raises(Class<T> wanted, Callable<?> call) throws Exception {
        Throwable thrown = null;
        try { call.call(); } catch (Throwable e) { thrown = e instanceof ExecutionException ? e.getCause() : e; }
        if (!wanted.isInstance(thrown)) throw new AssertionError("wanted " + wanted.getSimpleName() + ", got " + thrown);
        return wanted.cast(thrown);
    }

    static String create(String label, int partitions, Map<String, String> configs) throws Exception {
        var name = fresh(label);
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
        return name;
    }

    static String create(String label) throws Exception { return create(label, 1, Map.of()); }

    static KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 20000, "request.timeout.ms", 10000, "linger.ms", 5, "max.block.ms", 15000));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "enable.auto.commit", false));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] line(int n) { return (n + " " + "ringlog ".repeat(8)).getBytes(StandardCharsets.UTF_8); }

    static void produce(String topic, int count, Map<String, Object> settings) throws Exception {
        try (var producer = producer(settings)) {
            var sent = new ArrayList<Future<RecordMetadata>>();
            for (int n = 0; n < count; n++) sent.add(producer.send(new ProducerRecord<>(topic, 0, null, line(n))));
            producer.flush();
            boolean silent = "0".equals(settings.get("acks"));
            for (int n = 0; n < count; n++) same(sent.get(n).get().offset(), silent ? -1L : (long) n, "offset of record " + n);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> read(String topic, long from, int count, Map<String, Object> settings) {
        try (var consumer = consumer(settings)) {
            var at = new TopicPartition(topic, 0);
            consumer.assign(List.of(at));
            consumer.seek(at, from);
            var records = new ArrayList<ConsumerRecord<byte[], byte[]>>();
            long deadline = System.nanoTime() + 20_000_000_000L;
            while (records.size() < count && System.nanoTime() < deadline) consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            same(records.size(), count, "records read");
            return records;
        }
    }

    static void check(String topic, int count) {
        var records = read(topic, 0, count, Map.of());
        for (int n = 0; n < count; n++) {
            same(records.get(n).offset(), (long) n, "offset");
            if (!Arrays.equals(records.get(n).value(), line(n))) throw new AssertionError("value of record " + n);
        }
    }

    // The data path.

    static void defaultProducer() throws Exception {
        var topic = create("java-default");
        produce(topic, 50_000, Map.of());
        check(topic, 50_000);
    }

    static void everyCodec() throws Exception {
        for (var codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            var topic = create("java-" + codec);
            produce(topic, 3000, Map.of("compression.type", codec));
            check(topic, 3000);
        }
    }

    static void everyAcks() throws Exception {
        for (var acks : List.of("0", "1", "all")) {
            var topic = create("java-acks" + acks);
            produce(topic, 200, Map.of("acks", acks, "enable.idempotence", false));
            check(topic, 200);
        }
    }

    static void shapes() throws Exception {
        var topic = create("java-shapes");
        try (var producer = producer(Map.of())) {
            var first = new ProducerRecord<>(topic, 0, 1_600_000_000_000L, "k".getBytes(), "v".getBytes());
            first.headers().add(new RecordHeader("a", new byte[] {1})).add(new RecordHeader("a", new byte[0])).add(new RecordHeader("null", null));
            producer.send(first).get();
            producer.send(new ProducerRecord<>(topic, 0, 1_600_000_000_001L, new byte[0], (byte[]) null)).get();
            producer.send(new ProducerRecord<>(topic, 0, 1_600_000_000_002L, null, new byte[0])).get();
        }
        var records = read(topic, 0, 3, Map.of());
        same(Arrays.toString(records.get(0).headers().toArray()), "[RecordHeader(key = a, value = [1]), RecordHeader(key = a, value = []), RecordHeader(key = null, value = null)]", "headers");
        same(records.get(0).timestamp(), 1_600_000_000_000L, "timestamp");
        same(records.get(1).key().length + " " + records.get(1).value(), "0 null", "empty key, null value");
        same(records.get(2).key() + " " + records.get(2).value().length, "null 0", "null key, empty value");
    }

    static void manyPartitions() throws Exception {
        int partitions = 60, each = 100;
        var topic = create("java-many", partitions, Map.of());
        // Kafka answers the creation before its broker leads every partition, and the idempotent producer trips over that.
        var ends = new HashMap<TopicPartition, OffsetSpec>();
        for (int p = 0; p < partitions; p++) ends.put(new TopicPartition(topic, p), OffsetSpec.latest());
        admin.listOffsets(ends).all().get();
        try (var producer = producer(Map.of())) {
            var sent = new ArrayList<Future<RecordMetadata>>();
            for (int n = 0; n < partitions * each; n++) sent.add(producer.send(new ProducerRecord<>(topic, n % partitions, null, line(n))));
            for (int n = 0; n < sent.size(); n++) same(sent.get(n).get().offset(), (long) (n / partitions), "offset");
        }
        try (var consumer = consumer(Map.of())) {
            var all = new ArrayList<TopicPartition>();
            for (int p = 0; p < partitions; p++) all.add(new TopicPartition(topic, p));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            int seen = 0;
            long deadline = System.nanoTime() + 20_000_000_000L;
            while (seen < partitions * each && System.nanoTime() < deadline) seen += consumer.poll(Duration.ofMillis(200)).count();
            same(seen, partitions * each, "records read");
        }
    }

    static void positions() throws Exception {
        var topic = create("java-positions");
        produce(topic, 100, Map.of());
        var at = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(at));
            same(consumer.beginningOffsets(List.of(at)).get(at), 0L, "beginning");
            same(consumer.endOffsets(List.of(at)).get(at), 100L, "end");
            consumer.seekToEnd(List.of(at));
            same(consumer.position(at), 100L, "position at the end");
            consumer.seek(at, 42);
            var batch = consumer.poll(Duration.ofSeconds(5));
            same(batch.iterator().next().offset(), 42L, "sought");
            same(consumer.currentLag(at).getAsLong() >= 0, true, "lag is known");
            same(consumer.partitionsFor(topic).size(), 1, "partitions");
            same(consumer.listTopics().containsKey(topic), true, "listed");
        }
    }

    static void byTime() throws Exception {
        for (var codec : List.of("none", "lz4")) {
            var topic = create("java-time");
            try (var producer = producer(Map.of("linger.ms", 200, "compression.type", codec))) {
                for (int n = 0; n < 100; n++) producer.send(new ProducerRecord<>(topic, 0, 1_600_000_000_000L + n * 1000L, null, line(n)));
            }
            var at = new TopicPartition(topic, 0);
            try (var consumer = consumer(Map.of())) {
                var found = consumer.offsetsForTimes(Map.of(at, 1_600_000_041_500L)).get(at);
                same(found.offset() + " " + found.timestamp(), "42 1600000042000", "in the middle of a batch, " + codec);
                same(consumer.offsetsForTimes(Map.of(at, 0L)).get(at).offset(), 0L, "before all");
                same(consumer.offsetsForTimes(Map.of(at, 1_800_000_000_000L)).get(at), null, "after all");
            }
        }
    }

    static void outOfRange() throws Exception {
        var topic = create("java-range");
        produce(topic, 10, Map.of());
        var at = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(at));
            consumer.seek(at, 11);
            raises(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> consumer.poll(Duration.ofSeconds(10)));
            consumer.seek(at, 10);
            same(consumer.poll(Duration.ofMillis(600)).count(), 0, "the end itself is in range");
        }
    }

    static void smallFetches() throws Exception {
        var topic = create("java-small");
        produce(topic, 2000, Map.of("batch.size", 2000));
        var records = read(topic, 0, 2000, Map.of("max.partition.fetch.bytes", 1, "fetch.max.bytes", 1, "max.poll.records", 100000));
        for (int n = 0; n < 2000; n++) same(records.get(n).offset(), (long) n, "offset");
    }

    static void readCommitted() throws Exception {
        var topic = create("java-committed");
        produce(topic, 100, Map.of());
        same(read(topic, 0, 100, Map.of("isolation.level", "read_committed")).size(), 100, "records");
    }

    static void waking() throws Exception {
        var topic = create("java-wake");
        var at = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of("fetch.max.wait.ms", 20_000, "request.timeout.ms", 40_000)); var producer = producer(Map.of("linger.ms", 0))) {
            consumer.assign(List.of(at));
            consumer.seek(at, 0);
            producer.partitionsFor(topic);
            same(consumer.poll(Duration.ofMillis(500)).count(), 0, "nothing yet");
            long began = System.nanoTime();
            producer.send(new ProducerRecord<>(topic, 0, null, line(0))).get();
            same(consumer.poll(Duration.ofSeconds(10)).count(), 1, "woken");
            long ms = (System.nanoTime() - began) / 1_000_000;
            if (ms > 3000) throw new AssertionError("woken after " + ms + " ms");
        }
    }

    static void sessions() throws Exception {
        int partitions = 10;
        var topic = create("java-sessions", partitions, Map.of());
        try (var consumer = consumer(Map.of("fetch.max.wait.ms", 100)); var producer = producer(Map.of("linger.ms", 0))) {
            for (int round = 0; round < 30; round++) {
                var now = new ArrayList<TopicPartition>();
                for (int p = 0; p < partitions; p++) if ((p + round) % 3 != 0) now.add(new TopicPartition(topic, p));
                consumer.assign(now);
                consumer.seekToEnd(now);
                for (var at : now) consumer.position(at);
                var target = now.get(round % now.size());
                long offset = producer.send(new ProducerRecord<>(topic, target.partition(), null, line(round))).get().offset();
                var got = new ArrayList<ConsumerRecord<byte[], byte[]>>();
                until("the record of round " + round, () -> { consumer.poll(Duration.ofMillis(100)).forEach(got::add); return !got.isEmpty(); });
                same(got.size() + " " + got.get(0).partition() + " " + got.get(0).offset(), "1 " + target.partition() + " " + offset, "round " + round);
            }
        }
    }

    // Administration.

    static void createTopics() throws Exception {
        var name = fresh("java-create");
        var answer = admin.createTopics(List.of(new NewTopic(name, 3, (short) 1).configs(Map.of("retention.ms", "3600000"))));
        same(answer.numPartitions(name).get(), 3, "partitions in the answer");
        same(answer.replicationFactor(name).get(), 1, "replication factor in the answer");
        if (answer.topicId(name).get().equals(Uuid.ZERO_UUID)) throw new AssertionError("topic id is zero");
        same(answer.config(name).get().get("retention.ms").value(), "3600000", "config in the answer");
        var defaults = fresh("java-defaults");
        admin.createTopics(List.of(new NewTopic(defaults, Optional.empty(), Optional.empty()))).all().get();
        var shown = admin.describeTopics(List.of(defaults)).allTopicNames().get().get(defaults);
        if (shown.partitions().isEmpty()) throw new AssertionError("no partitions by default");
        var assigned = fresh("java-assigned");
        int node = shown.partitions().get(0).leader().id();
        admin.createTopics(List.of(new NewTopic(assigned, Map.of(0, List.of(node), 1, List.of(node))))).all().get();
        same(admin.describeTopics(List.of(assigned)).allTopicNames().get().get(assigned).partitions().size(), 2, "assigned partitions");
    }

    static void createRefused() throws Exception {
        Callable<Object> existing = () -> { var t = create("java-twice"); return admin.createTopics(List.of(new NewTopic(t, 1, (short) 1))).all().get(); };
        raises(TopicExistsException.class, existing);
        raises(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic(fresh("a"), 1, (short) 4))).all().get());
        raises(InvalidPartitionsException.class, () -> admin.createTopics(List.of(new NewTopic(fresh("a"), 0, (short) 1))).all().get());
        raises(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all().get());
        raises(InvalidConfigurationException.class, () -> create("java-bad", 1, Map.of("no.such.key", "1")));
        raises(InvalidConfigurationException.class, () -> create("java-bad", 1, Map.of("segment.bytes", "-1")));
        raises(InvalidReplicaAssignmentException.class, () -> admin.createTopics(List.of(new NewTopic(fresh("a"), Map.of(0, List.of(99))))).all().get());
        var good = fresh("java-good");
        var mixed = admin.createTopics(List.of(new NewTopic(good, 1, (short) 1), new NewTopic("a b", 1, (short) 1))).values();
        mixed.get(good).get();
        raises(InvalidTopicException.class, () -> mixed.get("a b").get());
    }

    static void describeTopics() throws Exception {
        var topic = create("java-describe", 3, Map.of());
        var shown = admin.describeTopics(List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get(topic);
        same(shown.partitions().size(), 3, "partitions");
        for (var p : shown.partitions()) same(p.leader() != null && p.isr().equals(p.replicas()), true, "leader and isr");
        var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(shown.topicId()))).allTopicIds().get().get(shown.topicId());
        same(byId.name(), topic, "name by id");
        raises(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(fresh("none"))).allTopicNames().get());
        raises(UnknownTopicIdException.class, () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());
        same(admin.listTopics().names().get().contains(topic), true, "listed");
    }

    static void recreate() throws Exception {
        var topic = create("java-again");
        produce(topic, 10, Map.of());
        var before = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        admin.deleteTopics(List.of(topic)).all().get();
        until("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        var after = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        same(before.equals(after), false, "same id");
        produce(topic, 5, Map.of());
        check(topic, 5);
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(after))).all().get();
        until("deleted by id", () -> !admin.listTopics().names().get().contains(topic));
    }

    static void grow() throws Exception {
        var topic = create("java-grow");
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        until("three partitions", () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3);
        raises(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get());
        raises(UnknownTopicOrPartitionException.class, () -> admin.createPartitions(Map.of(fresh("none"), NewPartitions.increaseTo(3))).all().get());
    }

    static void alter(ConfigResource resource, AlterConfigOp... ops) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(ops))).all().get();
    }

    static AlterConfigOp op(String name, String value, OpType type) { return new AlterConfigOp(new ConfigEntry(name, value), type); }

    static void configs() throws Exception {
        var topic = create("java-config", 1, Map.of("cleanup.policy", "compact"));
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var shown = admin.describeConfigs(List.of(resource), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all().get().get(resource);
        same(shown.get("cleanup.policy").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "source of an override");
        same(shown.get("segment.bytes").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG, "source of a default");
        same(shown.get("segment.bytes").synonyms().isEmpty(), false, "synonyms");
        same(shown.get("segment.bytes").type(), ConfigEntry.ConfigType.INT, "type");
        same(shown.get("segment.bytes").documentation() != null, true, "documentation");
        alter(resource, op("cleanup.policy", "delete", OpType.APPEND), op("retention.ms", "5000", OpType.SET));
        until("the altered configs", () -> {
            var now = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            return now.get("cleanup.policy").value().equals("compact,delete") && now.get("retention.ms").value().equals("5000");
        });
        raises(InvalidConfigurationException.class, () -> { alter(resource, op("retention.ms", "x", OpType.SET)); return null; });
        raises(InvalidConfigurationException.class, () -> { alter(resource, op("no.such.key", "x", OpType.SET)); return null; });
        raises(UnknownTopicOrPartitionException.class, () -> { alter(new ConfigResource(ConfigResource.Type.TOPIC, fresh("none")), op("retention.ms", "1", OpType.SET)); return null; });
        same(admin.listConfigResources().all().get().contains(resource), true, "listed among the config resources");
    }

    static void cluster() throws Exception {
        var shown = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        same(shown.nodes().get().size(), 1, "nodes");
        same(shown.clusterId().get().isEmpty(), false, "empty cluster id");
        same(shown.controller().get() != null, true, "controller");
        var broker = new ConfigResource(ConfigResource.Type.BROKER, shown.nodes().get().iterator().next().idString());
        var configs = admin.describeConfigs(List.of(broker)).all().get().get(broker);
        for (var key : List.of("log.dirs", "num.partitions", "default.replication.factor", "advertised.listeners")) same(configs.get(key) != null, true, key);
        var features = admin.describeFeatures().featureMetadata().get();
        same(features.finalizedFeatures() != null, true, "features");
    }

    static void deleteRecords() throws Exception {
        var topic = create("java-delete");
        produce(topic, 100, Map.of());
        var at = new TopicPartition(topic, 0);
        same(admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(60))).lowWatermarks().get(at).get().lowWatermark(), 60L, "low watermark");
        same(read(topic, 60, 40, Map.of()).get(0).offset(), 60L, "first left");
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(at));
            same(consumer.beginningOffsets(List.of(at)).get(at), 60L, "beginning");
            consumer.seek(at, 59);
            raises(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> consumer.poll(Duration.ofSeconds(10)));
        }
        raises(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(101))).all().get());
    }

    static void listOffsets() throws Exception {
        var topic = create("java-list");
        try (var producer = producer(Map.of())) {
            for (int n = 0; n < 10; n++) producer.send(new ProducerRecord<>(topic, 0, 1_600_000_000_000L + (n == 3 ? 999_000 : n), null, line(n)));
        }
        var at = new TopicPartition(topic, 0);
        var specs = Map.of(
            "earliest", OffsetSpec.earliest(), "latest", OffsetSpec.latest(), "max timestamp", OffsetSpec.maxTimestamp(),
            "local", OffsetSpec.earliestLocal(), "tiered", OffsetSpec.latestTiered(), "by time", OffsetSpec.forTimestamp(1_600_000_000_005L));
        var wanted = Map.of("earliest", 0L, "latest", 10L, "max timestamp", 3L, "local", 0L, "tiered", -1L, "by time", 3L);
        for (var spec : specs.entrySet()) same(admin.listOffsets(Map.of(at, spec.getValue())).partitionResult(at).get().offset(), wanted.get(spec.getKey()), spec.getKey());
        var empty = new TopicPartition(create("java-list-empty"), 0);
        same(admin.listOffsets(Map.of(empty, OffsetSpec.maxTimestamp())).partitionResult(empty).get().offset(), -1L, "max timestamp of nothing");
    }

    static void logDirs() throws Exception {
        var topic = create("java-dirs");
        produce(topic, 1000, Map.of());
        int node = admin.describeCluster().nodes().get().iterator().next().id();
        var dirs = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
        same(dirs.size() >= 1, true, "a directory");
        var info = dirs.values().stream().map(d -> d.replicaInfos().get(new TopicPartition(topic, 0))).filter(Objects::nonNull).findFirst().orElseThrow();
        same(info.size() > 1000 && info.offsetLag() == 0 && !info.isFuture(), true, "size " + info.size() + " lag " + info.offsetLag());
        same(dirs.values().iterator().next().totalBytes().isPresent(), true, "volume size");
    }

    static void producers() throws Exception {
        var topic = create("java-producers");
        produce(topic, 10, Map.of());
        var at = new TopicPartition(topic, 0);
        var active = admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers();
        same(active.size(), 1, "active producers");
        same(active.get(0).lastSequence(), 9, "last sequence");
        same(active.get(0).currentTransactionStartOffset().isPresent(), false, "no transaction");
    }

    static void quorum() throws Exception {
        var shown = admin.describeMetadataQuorum().quorumInfo().get();
        same(shown.voters().size(), 1, "voters");
        same(shown.leaderId(), shown.voters().get(0).replicaId(), "leader");
    }

    static void tooLarge() throws Exception {
        var topic = create("java-large", 1, Map.of("max.message.bytes", "10000"));
        try (var producer = producer(Map.of())) {
            raises(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, 0, null, new byte[20_000])).get());
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[9_000])).get();
        }
    }

    static void autoCreate() throws Exception {
        var topic = fresh("java-auto");
        try (var producer = producer(Map.of())) {
            same(producer.send(new ProducerRecord<>(topic, null, line(0))).get().offset(), 0L, "offset");
        }
        same(admin.listTopics().names().get().contains(topic), true, "listed");
    }
}
