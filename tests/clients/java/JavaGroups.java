import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.Pattern;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** Kafka's own consumer in groups of both protocols, its transactional producer, and the administration of both. */
public final class JavaGroups {
    interface Test { void run() throws Exception; }

    interface ByProtocol { void run(String protocol) throws Exception; }

    static String bootstrap;
    static Admin admin;
    static final Random random = new Random();
    static final Map<String, Test> tests = new LinkedHashMap<>();

    static void both(String name, ByProtocol test) {
        for (var protocol : List.of("classic", "consumer")) tests.put(name + "_" + protocol, () -> test.run(protocol));
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        var wanted = Set.of(Arrays.copyOfRange(args, 1, args.length));
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", 20000, "request.timeout.ms", 15000));
        both("partitions_are_shared_and_handed_over", JavaGroups::share);
        both("reading_goes_on_where_it_was_committed", JavaGroups::resume);
        both("commits_carry_metadata_and_epoch", JavaGroups::metadata);
        both("a_static_member_comes_back_to_its_partitions", JavaGroups::staticMember);
        both("a_second_static_member_of_a_name_is_handled", JavaGroups::namesakes);
        both("a_member_that_stops_polling_is_replaced", JavaGroups::stalled);
        both("a_late_commit_is_refused", JavaGroups::lateCommit);
        both("a_pattern_follows_topics_as_they_come_and_go", JavaGroups::pattern);
        both("partitions_added_later_are_assigned", JavaGroups::growth);
        both("a_rebalance_can_be_asked_for", JavaGroups::enforced);
        both("unsubscribing_leaves_the_group", JavaGroups::unsubscribe);
        tests.put("every_client_side_assignor_shares", JavaGroups::clientAssignors);
        tests.put("every_server_side_assignor_shares", JavaGroups::serverAssignors);
        tests.put("an_unknown_server_side_assignor_is_refused", JavaGroups::unknownAssignor);
        tests.put("a_pattern_of_the_brokers_is_evaluated_there", JavaGroups::brokerPattern);
        tests.put("a_broken_pattern_is_refused", JavaGroups::brokenPattern);
        tests.put("cooperative_members_keep_what_they_keep", JavaGroups::cooperative);
        tests.put("a_group_moves_to_the_new_protocol_and_back_online", JavaGroups::migrate);
        tests.put("protocols_do_not_mix_without_members_of_one", JavaGroups::wrongProtocol);
        tests.put("group_configs_are_altered_and_take_effect", JavaGroups::groupConfigs);
        both("groups_are_listed_described_and_deleted", JavaGroups::administer);
        tests.put("offsets_are_altered_and_deleted", JavaGroups::alterOffsets);
        tests.put("members_are_removed_by_the_administrator", JavaGroups::removeMembers);
        tests.put("only_committed_transactions_are_read", JavaGroups::transactions);
        both("offsets_are_committed_with_the_transaction", JavaGroups::offsetsInTransaction);
        tests.put("a_pending_offset_holds_the_fetch_back", JavaGroups::unstable);
        tests.put("a_second_producer_fences_the_first", JavaGroups::fencing);
        tests.put("producers_are_fenced_by_the_administrator", JavaGroups::fencedByAdmin);
        tests.put("a_transaction_that_takes_too_long_is_aborted", JavaGroups::slow);
        tests.put("a_transaction_goes_over_many_partitions", JavaGroups::manyPartitions);
        tests.put("transactions_are_listed_described_and_aborted", JavaGroups::administerTransactions);
        tests.put("a_stale_member_may_not_commit_in_a_transaction", JavaGroups::staleMember);
        int failed = 0;
        var pool = Executors.newCachedThreadPool(r -> { var t = new Thread(r); t.setDaemon(true); return t; });
        for (var test : tests.entrySet()) {
            if (!wanted.isEmpty() && !wanted.contains(test.getKey())) continue;
            long began = System.nanoTime();
            try {
                pool.submit(() -> { test.getValue().run(); return null; }).get(90, TimeUnit.SECONDS);
                System.out.printf("ok java-groups %s (%.1f s)%n", test.getKey(), (System.nanoTime() - began) / 1e9);
            } catch (Throwable e) {
                failed++;
                var cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
                if (System.getenv("TRACE") != null) cause.printStackTrace();
                var why = (cause.getClass().getSimpleName() + ": " + cause.getMessage()).replaceAll("\\s+", " ");
                System.out.println("FAIL java-groups " + test.getKey() + ": " + why.substring(0, Math.min(400, why.length())));
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
        long deadline = System.nanoTime() + 40_000_000_000L;
        while (System.nanoTime() < deadline) {
            if (condition.call()) return;
            Thread.sleep(10);
        }
        throw new AssertionError("not within 40 s: " + what);
    }

    static <T extends Throwable> T raises(Class<T> wanted, Callable<?> call) throws Exception {
        Throwable thrown = null;
        try { call.call(); } catch (Throwable e) { thrown = e instanceof ExecutionException ? e.getCause() : e; }
        if (!wanted.isInstance(thrown)) throw new AssertionError("wanted " + wanted.getSimpleName() + ", got " + thrown);
        return wanted.cast(thrown);
    }

    static String create(String label, int partitions) throws Exception {
        var name = fresh(label);
        createNamed(name, partitions);
        return name;
    }

    /** Kafka answers the creation before its broker leads every partition, and the idempotent producer trips over that. */
    static void createNamed(String name, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        var ends = IntStream.range(0, partitions).boxed().collect(Collectors.toMap(p -> new TopicPartition(name, p), p -> OffsetSpec.latest()));
        until("every partition has its leader", () -> {
            try { return admin.listOffsets(ends).all().get() != null; } catch (ExecutionException e) { if (e.getCause() instanceof RetriableException) return false; throw e; }
        });
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "max.block.ms", 20000));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static void fill(String topic, int partitions, int from, int count) {
        try (var producer = producer(Map.of())) {
            for (int n = from; n < from + count; n++) producer.send(new ProducerRecord<>(topic, n % partitions, null, "" + n));
        }
    }

    /** A member of a group, not yet subscribed. */
    static KafkaConsumer<String, String> member(String group, String protocol, Map<String, Object> more) {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "metadata.max.age.ms", 1000, "isolation.level", "read_committed", "default.api.timeout.ms", 20000));
        // The new protocol's members are told these by the broker.
        if (protocol.equals("classic")) settings.putAll(Map.of("session.timeout.ms", 6000, "heartbeat.interval.ms", 300));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaConsumer<String, String> member(String group, String protocol, String topic, Map<String, Object> more) {
        var consumer = member(group, protocol, more);
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** Groups of the new protocol take their heartbeats and sessions from the broker's side: short ones for these tests. */
    static void quick(String group, String protocol) throws Exception {
        if (!protocol.equals("consumer")) return;
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("consumer.heartbeat.interval.ms", quickHeartbeat()), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", quickSession()), AlterConfigOp.OpType.SET)))).all().get();
    }

    static String brokerConfig(String name) throws Exception {
        int node = admin.describeCluster().nodes().get().iterator().next().id();
        var resource = new ConfigResource(ConfigResource.Type.BROKER, "" + node);
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
    }

    /** As short as the broker allows. */
    static String quickHeartbeat() throws Exception { return brokerConfig("group.consumer.min.heartbeat.interval.ms"); }

    static String quickSession() throws Exception { return "" + Math.max(2000, Integer.parseInt(brokerConfig("group.consumer.min.session.timeout.ms"))); }

    @SafeVarargs
    static void settle(List<Integer> sizes, KafkaConsumer<String, String>... members) throws Exception {
        var wanted = sizes.stream().sorted().toList();
        until(wanted + " partitions", () -> {
            for (var member : members) member.poll(Duration.ofMillis(50));
            var all = new HashSet<TopicPartition>();
            for (var member : members) all.addAll(member.assignment());
            var now = Arrays.stream(members).map(member -> member.assignment().size()).sorted().toList();
            return now.equals(wanted) && all.size() == wanted.stream().mapToInt(n -> n).sum();
        });
    }

    static List<ConsumerRecord<String, String>> drain(KafkaConsumer<String, String> member, int count) {
        var records = new ArrayList<ConsumerRecord<String, String>>();
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (records.size() < count && System.nanoTime() < deadline) member.poll(Duration.ofMillis(100)).forEach(records::add);
        return records;
    }

    static List<String> values(List<ConsumerRecord<String, String>> records) { return records.stream().map(ConsumerRecord::value).toList(); }

    static List<String> numbers(int from, int to) { return IntStream.range(from, to).mapToObj(n -> "" + n).toList(); }

    /** What a reader without a group sees of partition 0, once `count` have come and nothing more for a moment. */
    static List<String> read(String topic, String level, int count) {
        var settings = Map.<String, Object>of("bootstrap.servers", bootstrap, "isolation.level", level, "auto.offset.reset", "earliest", "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            var records = drain(consumer, count);
            consumer.poll(Duration.ofMillis(300)).forEach(records::add);
            return values(records);
        }
    }

    static OffsetAndMetadata committed(String group, TopicPartition at) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(at);
    }

    static void close(Collection<KafkaConsumer<String, String>> members) {
        for (var member : members) member.close(CloseOptions.timeout(Duration.ofSeconds(5)));
    }

    // Membership.

    static void share(String protocol) throws Exception {
        var topic = create("jg-share", 6);
        var group = fresh("jg-share");
        quick(group, protocol);
        var first = member(group, protocol, topic, Map.of());
        settle(List.of(6), first);
        var second = member(group, protocol, topic, Map.of());
        settle(List.of(3, 3), first, second);
        var third = member(group, protocol, topic, Map.of());
        settle(List.of(2, 2, 2), first, second, third);
        second.close();
        settle(List.of(3, 3), first, third);
        close(List.of(first, third));
        until("the group is empty", () -> state(group) == GroupState.EMPTY);
    }

    static GroupState state(String group) throws Exception { return admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState(); }

    static void resume(String protocol) throws Exception {
        var topic = create("jg-resume", 2);
        var group = fresh("jg-resume");
        fill(topic, 2, 0, 100);
        var seen = new ArrayList<String>();
        try (var first = member(group, protocol, topic, Map.of("max.poll.records", 30))) {
            seen.addAll(values(drain(first, 60)));
            first.commitSync();
        }
        int half = seen.size();
        try (var second = member(group, protocol, topic, Map.of("enable.auto.commit", true))) {
            seen.addAll(values(drain(second, 100 - half)));
        }
        same(seen.stream().sorted(Comparator.comparing(Integer::valueOf)).toList(), numbers(0, 100), "records, each once");
        var ends = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        same(ends.values().stream().map(OffsetAndMetadata::offset).toList(), List.of(50L, 50L), "committed by closing");
    }

    static void metadata(String protocol) throws Exception {
        var topic = create("jg-meta", 1);
        var group = fresh("jg-meta");
        var at = new TopicPartition(topic, 0);
        fill(topic, 1, 0, 5);
        try (var member = member(group, protocol, topic, Map.of())) {
            drain(member, 5);
            member.commitSync(Map.of(at, new OffsetAndMetadata(3, Optional.of(0), "three of five")));
            same(member.committed(Set.of(at)).get(at), new OffsetAndMetadata(3, Optional.of(0), "three of five"), "committed");
            var async = new CompletableFuture<Map<TopicPartition, OffsetAndMetadata>>();
            member.commitAsync(Map.of(at, new OffsetAndMetadata(4)), (offsets, error) -> { if (error == null) async.complete(offsets); else async.completeExceptionally(error); });
            until("the asynchronous commit", () -> { member.poll(Duration.ofMillis(50)); return async.isDone(); });
            async.get();
            same(member.committed(Set.of(at)).get(at).offset(), 4L, "committed behind");
            // As long as offset.metadata.max.bytes has it, and not longer.
            member.commitSync(Map.of(at, new OffsetAndMetadata(4, "x".repeat(4096))));
            raises(OffsetMetadataTooLarge.class, () -> { member.commitSync(Map.of(at, new OffsetAndMetadata(4, "x".repeat(4097)))); return null; });
            // A partition that nobody has committed.
            var other = new TopicPartition(create("jg-meta-other", 1), 0);
            same(member.committed(Set.of(other)).get(other), null, "of another topic");
        }
    }

    static void staticMember(String protocol) throws Exception {
        var topic = create("jg-static", 4);
        var group = fresh("jg-static");
        quick(group, protocol);
        var one = member(group, protocol, topic, Map.of("group.instance.id", "one"));
        var two = member(group, protocol, topic, Map.of("group.instance.id", "two"));
        settle(List.of(2, 2), one, two);
        var ones = one.assignment();
        var twos = two.assignment();
        two.close();
        var again = member(group, protocol, topic, Map.of("group.instance.id", "two"));
        until("its partitions again", () -> { one.poll(Duration.ofMillis(50)); again.poll(Duration.ofMillis(50)); return again.assignment().equals(twos); });
        same(one.assignment(), ones, "the other's partitions");
        var members = admin.describeConsumerGroups(List.of(group)).all().get().get(group).members();
        same(members.stream().map(m -> m.groupInstanceId().get()).collect(Collectors.toCollection(TreeSet::new)), new TreeSet<>(List.of("one", "two")), "names");
        close(List.of(one, again));
    }

    static void namesakes(String protocol) throws Exception {
        var topic = create("jg-names", 2);
        var group = fresh("jg-names");
        quick(group, protocol);
        var first = member(group, protocol, topic, Map.of("group.instance.id", "same"));
        settle(List.of(2), first);
        var second = member(group, protocol, topic, Map.of("group.instance.id", "same"));
        if (protocol.equals("classic")) {
            // The newcomer has the place; who had it is fenced.
            settle(List.of(2), second);
            raises(FencedInstanceIdException.class, () -> { for (int n = 0; n < 100; n++) first.poll(Duration.ofMillis(100)); return null; });
        } else {
            // The newcomer is refused as long as the name is in use.
            raises(UnreleasedInstanceIdException.class, () -> { for (int n = 0; n < 100; n++) { second.poll(Duration.ofMillis(100)); first.poll(Duration.ofMillis(1)); } return null; });
            settle(List.of(2), first);
        }
        close(List.of(first, second));
    }

    static void stalled(String protocol) throws Exception {
        var topic = create("jg-stalled", 2);
        var group = fresh("jg-stalled");
        quick(group, protocol);
        var stalled = member(group, protocol, topic, Map.of("max.poll.interval.ms", 2000));
        settle(List.of(2), stalled);
        var other = member(group, protocol, topic, Map.of("max.poll.interval.ms", 5000));
        settle(List.of(2), other);
        close(List.of(stalled, other));
    }

    static void lateCommit(String protocol) throws Exception {
        var topic = create("jg-late", 1);
        var group = fresh("jg-late");
        quick(group, protocol);
        fill(topic, 1, 0, 10);
        var late = member(group, protocol, topic, Map.of("max.poll.interval.ms", 1500));
        drain(late, 10);
        var other = member(group, protocol, topic, Map.of());
        settle(List.of(1), other);
        drain(other, 10);
        other.commitSync();
        raises(CommitFailedException.class, () -> { late.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))); return null; });
        same(committed(group, new TopicPartition(topic, 0)).offset(), 10L, "committed");
        close(List.of(late, other));
    }

    static void pattern(String protocol) throws Exception {
        var stem = fresh("jg-pattern");
        var group = fresh("jg-pattern");
        quick(group, protocol);
        createNamed(stem + "-a", 1);
        var member = member(group, protocol, Map.of());
        member.subscribe(Pattern.compile(stem + "-[ab]"));
        settle(List.of(1), member);
        createNamed(stem + "-b", 2);
        createNamed(stem + "-c", 2);
        settle(List.of(3), member);
        admin.deleteTopics(List.of(stem + "-b")).all().get();
        settle(List.of(1), member);
        member.close();
    }

    static void growth(String protocol) throws Exception {
        var topic = create("jg-growth", 1);
        var group = fresh("jg-growth");
        quick(group, protocol);
        var member = member(group, protocol, topic, Map.of());
        settle(List.of(1), member);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        settle(List.of(4), member);
        member.close();
    }

    static void enforced(String protocol) throws Exception {
        var topic = create("jg-enforced", 2);
        var group = fresh("jg-enforced");
        var times = new int[1];
        var member = member(group, protocol, Map.of());
        member.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override public void onPartitionsRevoked(Collection<TopicPartition> gone) { }
            @Override public void onPartitionsAssigned(Collection<TopicPartition> come) { times[0]++; }
        });
        settle(List.of(2), member);
        int before = times[0];
        member.enforceRebalance("because");
        if (protocol.equals("classic")) until("another assignment", () -> { member.poll(Duration.ofMillis(50)); return times[0] > before; });
        settle(List.of(2), member);
        member.close();
    }

    static void unsubscribe(String protocol) throws Exception {
        var topic = create("jg-unsubscribe", 2);
        var group = fresh("jg-unsubscribe");
        quick(group, protocol);
        var one = member(group, protocol, topic, Map.of());
        var two = member(group, protocol, topic, Map.of());
        settle(List.of(1, 1), one, two);
        one.unsubscribe();
        settle(List.of(2), two);
        one.subscribe(List.of(topic));
        settle(List.of(1, 1), one, two);
        close(List.of(one, two));
    }

    static void clientAssignors() throws Exception {
        for (var assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            var topic = create("jg-assignor", 4);
            var group = fresh("jg-assignor");
            Map<String, Object> settings = Map.of("partition.assignment.strategy", assignor.getName());
            var one = member(group, "classic", topic, settings);
            settle(List.of(4), one);
            var two = member(group, "classic", topic, settings);
            settle(List.of(2, 2), one, two);
            var shown = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            same(shown.partitionAssignor(), assignor.getDeclaredConstructor().newInstance().name(), "the assignor");
            close(List.of(one, two));
        }
    }

    static void serverAssignors() throws Exception {
        for (var assignor : List.of("uniform", "range")) {
            var topic = create("jg-remote", 4);
            var group = fresh("jg-remote");
            quick(group, "consumer");
            var one = member(group, "consumer", topic, Map.of("group.remote.assignor", assignor));
            var two = member(group, "consumer", topic, Map.of("group.remote.assignor", assignor));
            settle(List.of(2, 2), one, two);
            var shown = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            same(shown.partitionAssignor() + " " + shown.type(), assignor + " Consumer", "the assignor");
            if (assignor.equals("range")) {
                var halves = Stream.of(one, two).map(c -> c.assignment().stream().map(TopicPartition::partition).sorted().toList()).map(Object::toString).sorted().toList();
                same(halves, List.of("[0, 1]", "[2, 3]"), "ranges");
            }
            close(List.of(one, two));
        }
    }

    static void unknownAssignor() throws Exception {
        var member = member(fresh("jg-unknown"), "consumer", create("jg-unknown", 1), Map.of("group.remote.assignor", "nobody"));
        raises(UnsupportedAssignorException.class, () -> { for (int n = 0; n < 100; n++) member.poll(Duration.ofMillis(100)); return null; });
        close(List.of(member));
    }

    static void brokerPattern() throws Exception {
        var stem = fresh("jg-re2");
        var group = fresh("jg-re2");
        quick(group, "consumer");
        createNamed(stem + "-a1", 1);
        var one = member(group, "consumer", Map.of());
        one.subscribe(new SubscriptionPattern(stem + "-[ab]\\d+"));
        settle(List.of(1), one);
        // Another member's pattern is another subscription; it matches the whole name.
        createNamed(stem + "-b22", 2);
        createNamed(stem + "-b22x", 2);
        settle(List.of(3), one);
        var two = member(group, "consumer", Map.of());
        two.subscribe(new SubscriptionPattern(stem + "-.*"));
        settle(List.of(2, 3), one, two);
        admin.deleteTopics(List.of(stem + "-a1")).all().get();
        until("four partitions between them", () -> {
            one.poll(Duration.ofMillis(50));
            two.poll(Duration.ofMillis(50));
            return one.assignment().size() + two.assignment().size() == 4 && two.assignment().size() >= 2;
        });
        close(List.of(one, two));
    }

    static void brokenPattern() throws Exception {
        var member = member(fresh("jg-broken"), "consumer", Map.of());
        member.subscribe(new SubscriptionPattern("a(b"));
        raises(InvalidRegularExpression.class, () -> { for (int n = 0; n < 100; n++) member.poll(Duration.ofMillis(100)); return null; });
        close(List.of(member));
    }

    static void cooperative() throws Exception {
        var topic = create("jg-coop", 4);
        var group = fresh("jg-coop");
        Map<String, Object> settings = Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        var revoked = new ArrayList<TopicPartition>();
        var one = member(group, "classic", settings);
        one.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override public void onPartitionsRevoked(Collection<TopicPartition> gone) { revoked.addAll(gone); }
            @Override public void onPartitionsAssigned(Collection<TopicPartition> come) { }
        });
        settle(List.of(4), one);
        var two = member(group, "classic", topic, settings);
        settle(List.of(2, 2), one, two);
        same(revoked.size(), 2, "partitions revoked");
        close(List.of(one, two));
    }

    // Both protocols in one group.

    static void migrate() throws Exception {
        var topic = create("jg-migrate", 4);
        var group = fresh("jg-migrate");
        fill(topic, 4, 0, 40);
        // A name that the new protocol's groups have too: what a classic member must use to be let in.
        Map<String, Object> settings = Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        var old = member(group, "classic", topic, settings);
        drain(old, 40);
        old.commitSync();
        same(type(group), GroupType.CLASSIC, "at first");
        var modern = member(group, "consumer", topic, Map.of());
        settle(List.of(2, 2), old, modern);
        same(type(group), GroupType.CONSUMER, "with a member of the new protocol");
        fill(topic, 4, 40, 40);
        var seen = new ArrayList<String>();
        until("40 records by both", () -> {
            for (var member : List.of(old, modern)) member.poll(Duration.ofMillis(50)).forEach(record -> seen.add(record.value()));
            return seen.size() >= 40;
        });
        same(seen.stream().sorted(Comparator.comparing(Integer::valueOf)).toList(), numbers(40, 80), "each once");
        old.commitSync();
        modern.commitSync();
        modern.close();
        settle(List.of(4), old);
        same(type(group), GroupType.CLASSIC, "when the last one of the new protocol has left");
        same(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values().stream().mapToLong(OffsetAndMetadata::offset).sum(), 80L, "committed");
        old.close();
    }

    static GroupType type(String group) throws Exception {
        return admin.listGroups().all().get().stream().filter(g -> g.groupId().equals(group)).findFirst().orElseThrow().type().orElseThrow();
    }

    static void wrongProtocol() throws Exception {
        var topic = create("jg-wrong", 1);
        var group = fresh("jg-wrong");
        // An empty group of either kind changes over without ado.
        for (var protocol : List.of("classic", "consumer", "classic")) {
            var member = member(group, protocol, topic, Map.of());
            settle(List.of(1), member);
            same(type(group).toString().toLowerCase(), protocol, "type");
            member.close();
            until("the group is empty", () -> state(group) == GroupState.EMPTY);
        }
    }

    static void groupConfigs() throws Exception {
        var group = fresh("jg-config");
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", "50000"), AlterConfigOp.OpType.SET)))).all().get();
        var shown = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        same(shown.get("consumer.session.timeout.ms").value() + " " + shown.get("consumer.session.timeout.ms").source(), "50000 DYNAMIC_GROUP_CONFIG", "altered");
        same(shown.get("consumer.heartbeat.interval.ms").value(), brokerConfig("group.consumer.heartbeat.interval.ms"), "by default");
        raises(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource,
            List.of(new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", "1"), AlterConfigOp.OpType.SET)))).all().get());
        raises(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource,
            List.of(new AlterConfigOp(new ConfigEntry("no.such.key", "1"), AlterConfigOp.OpType.SET)))).all().get());
        var listed = admin.listConfigResources(Set.of(ConfigResource.Type.GROUP), new ListConfigResourcesOptions()).all().get();
        same(listed.contains(resource), true, "listed among the groups that are configured");
    }

    // Administration.

    static void administer(String protocol) throws Exception {
        var topic = create("jg-admin", 2);
        var group = fresh("jg-admin");
        quick(group, protocol);
        fill(topic, 2, 0, 10);
        var member = member(group, protocol, topic, Map.of("client.id", "someone", "client.rack", "here"));
        drain(member, 10);
        member.commitSync();
        var type = GroupType.parse(protocol);
        var listed = admin.listGroups(new ListGroupsOptions().withTypes(Set.of(type)).inGroupStates(Set.of(GroupState.STABLE))).all().get();
        same(listed.stream().filter(g -> g.groupId().equals(group)).map(g -> g.protocol() + " " + g.groupState().get()).toList(), List.of("consumer Stable"), "listed");
        var shown = admin.describeConsumerGroups(List.of(group), new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get(group);
        var only = shown.members().iterator().next();
        same(shown.groupState() + " " + shown.type() + " " + only.clientId() + " " + only.host(), "Stable " + type + " someone /127.0.0.1", "described");
        same(only.assignment().topicPartitions(), Set.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)), "its assignment");
        raises(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        raises(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).partitionResult(new TopicPartition(topic, 0)).get());
        raises(UnknownMemberIdException.class, () -> admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))).all().get());
        member.close();
        until("the group is empty", () -> state(group) == GroupState.EMPTY);
        admin.deleteConsumerGroups(List.of(group)).all().get();
        raises(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        raises(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(group)).all().get());
        same(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().size(), 0, "offsets of a group that is gone");
    }

    static void alterOffsets() throws Exception {
        var topic = create("jg-alter", 2);
        var group = fresh("jg-alter");
        TopicPartition zero = new TopicPartition(topic, 0), one = new TopicPartition(topic, 1), missing = new TopicPartition(fresh("jg-missing"), 0);
        admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(3, "why"), one, new OffsetAndMetadata(4))).all().get();
        same(committed(group, zero), new OffsetAndMetadata(3, "why"), "altered");
        raises(UnknownTopicOrPartitionException.class, () -> admin.alterConsumerGroupOffsets(group, Map.of(missing, new OffsetAndMetadata(1))).all().get());
        admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
        same(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet(), Set.of(one), "left");
        // Several groups in one request.
        var other = fresh("jg-alter");
        admin.alterConsumerGroupOffsets(other, Map.of(zero, new OffsetAndMetadata(9))).all().get();
        var both = admin.listConsumerGroupOffsets(Map.of(group, new ListConsumerGroupOffsetsSpec(), other, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(zero)))).all().get();
        same(both.get(group).get(one).offset() + " " + both.get(other).get(zero).offset(), "4 9", "of both");
        admin.deleteConsumerGroups(List.of(group, other)).all().get();
    }

    static void removeMembers() throws Exception {
        var topic = create("jg-remove", 2);
        var group = fresh("jg-remove");
        var one = member(group, "classic", topic, Map.of("group.instance.id", "one"));
        settle(List.of(2), one);
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all().get();
        until("the group is empty", () -> state(group) == GroupState.EMPTY);
        raises(UnknownMemberIdException.class, () -> admin.removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("two")))).memberResult(new MemberToRemove("two")).get());
        close(List.of(one));
        var two = member(group, "classic", topic, Map.of());
        settle(List.of(2), two);
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
        until("the group is empty again", () -> state(group) == GroupState.EMPTY);
        close(List.of(two));
    }

    // Transactions.

    static KafkaProducer<String, String> transactional(String id, Map<String, Object> more) {
        var settings = new HashMap<String, Object>(Map.of("transactional.id", id));
        settings.putAll(more);
        var producer = producer(settings);
        producer.initTransactions();
        return producer;
    }

    static void transactions() throws Exception {
        var topic = create("jt-levels", 1);
        try (var producer = transactional(fresh("jt-levels"), Map.of())) {
            for (int n = 0; n < 6; n++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, 0, null, "" + n));
                producer.flush();
                if (n % 2 == 0) producer.commitTransaction(); else producer.abortTransaction();
            }
            same(read(topic, "read_committed", 3), List.of("0", "2", "4"), "committed");
            same(read(topic, "read_uncommitted", 6), numbers(0, 6), "uncommitted");
            // Transactions without records, of both ends.
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, null, "open")).get();
            fill(topic, 1, 100, 1);
            var at = new TopicPartition(topic, 0);
            long end = admin.listOffsets(Map.of(at, OffsetSpec.latest())).all().get().get(at).offset();
            long stable = admin.listOffsets(Map.of(at, OffsetSpec.latest()), new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).all().get().get(at).offset();
            same(end - stable, 2L, "records behind the stable offset");
            same(read(topic, "read_committed", 3), List.of("0", "2", "4"), "committed, before the open one");
            producer.commitTransaction();
            same(read(topic, "read_committed", 5), List.of("0", "2", "4", "open", "100"), "when it has ended");
        }
    }

    static void offsetsInTransaction(String protocol) throws Exception {
        String source = create("jt-source", 1), target = create("jt-target", 1), group = fresh("jt-offsets");
        fill(source, 1, 0, 30);
        var at = new TopicPartition(source, 0);
        try (var member = member(group, protocol, source, Map.of("max.poll.records", 10)); var producer = transactional(fresh("jt-offsets"), Map.of())) {
            for (int round = 0; round < 3; ) {
                var records = member.poll(Duration.ofMillis(100));
                if (records.isEmpty()) continue;
                for (boolean commit : new boolean[] {false, true}) {
                    producer.beginTransaction();
                    for (var record : records) producer.send(new ProducerRecord<>(target, 0, null, record.value()));
                    producer.sendOffsetsToTransaction(Map.of(at, new OffsetAndMetadata(member.position(at), "round " + round)), member.groupMetadata());
                    if (commit) producer.commitTransaction(); else producer.abortTransaction();
                    var now = member.committed(Set.of(at)).get(at);
                    same(now == null ? 0L : now.offset(), (long) (commit ? round + 1 : round) * 10, "committed after " + (commit ? "commit" : "abort"));
                }
                round++;
            }
        }
        same(read(target, "read_committed", 30), numbers(0, 30), "copied");
        same(committed(group, at).metadata(), "round 2", "metadata");
    }

    static void unstable() throws Exception {
        String source = create("jt-unstable", 1), group = fresh("jt-unstable");
        var at = new TopicPartition(source, 0);
        admin.alterConsumerGroupOffsets(group, Map.of(at, new OffsetAndMetadata(1))).all().get();
        try (var producer = transactional(fresh("jt-unstable"), Map.of()); var reader = member(group, "classic", Map.of("default.api.timeout.ms", 1500))) {
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(Map.of(at, new OffsetAndMetadata(7)), new ConsumerGroupMetadata(group));
            same(admin.listConsumerGroupOffsets(Map.of(group, new ListConsumerGroupOffsetsSpec()), new ListConsumerGroupOffsetsOptions()).all().get().get(group).get(at).offset(), 1L, "what was");
            raises(org.apache.kafka.common.errors.TimeoutException.class, () -> reader.committed(Set.of(at)));
            producer.commitTransaction();
            until("the new offset", () -> { try { return reader.committed(Set.of(at)).get(at).offset() == 7; } catch (org.apache.kafka.common.errors.TimeoutException e) { return false; } });
        }
    }

    static void fencing() throws Exception {
        var topic = create("jt-fence", 1);
        var id = fresh("jt-fence");
        var first = transactional(id, Map.of());
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, 0, null, "of the fenced")).get();
        try (var second = transactional(id, Map.of())) {
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 0, null, "of the second"));
            second.commitTransaction();
            raises(ProducerFencedException.class, () -> { first.commitTransaction(); return null; });
            same(read(topic, "read_committed", 1), List.of("of the second"), "committed");
        }
        first.close(Duration.ZERO);
    }

    static void fencedByAdmin() throws Exception {
        var topic = create("jt-admin", 1);
        var id = fresh("jt-admin");
        var producer = transactional(id, Map.of());
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, null, "of the fenced")).get();
        admin.fenceProducers(List.of(id)).all().get();
        raises(ProducerFencedException.class, () -> { producer.commitTransaction(); return null; });
        fill(topic, 1, 0, 1);
        same(read(topic, "read_committed", 1), List.of("0"), "committed");
        producer.close(Duration.ZERO);
    }

    static void slow() throws Exception {
        var topic = create("jt-slow", 1);
        var producer = transactional(fresh("jt-slow"), Map.of("transaction.timeout.ms", 1500));
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, null, "too late")).get();
        fill(topic, 1, 0, 1);
        until("the reader goes on", () -> read(topic, "read_committed", 1).equals(List.of("0")));
        raises(KafkaException.class, () -> { producer.commitTransaction(); return null; });
        producer.close(Duration.ZERO);
        var refused = raises(KafkaException.class, () -> transactional(fresh("jt-limit"), Map.of("transaction.timeout.ms", Integer.MAX_VALUE, "max.block.ms", 5000)));
        same(refused.getMessage().contains("larger than the maximum value"), true, "beyond the broker's limit: " + refused.getMessage());
    }

    static void manyPartitions() throws Exception {
        int partitions = 50;
        var topic = create("jt-many", partitions);
        var group = fresh("jt-many");
        try (var producer = transactional(fresh("jt-many"), Map.of()); var member = member(group, "classic", topic, Map.of())) {
            for (int round = 0; round < 4; round++) {
                producer.beginTransaction();
                for (int n = 0; n < partitions * 4; n++) producer.send(new ProducerRecord<>(topic, n % partitions, null, round + " " + n));
                if (round % 2 == 0) producer.commitTransaction(); else producer.abortTransaction();
            }
            var seen = new TreeSet<>(values(drain(member, 2 * partitions * 4)));
            same(seen.size() + " " + seen.stream().filter(v -> v.startsWith("1") || v.startsWith("3")).count(), 2 * partitions * 4 + " 0", "records, and of aborted transactions");
        }
    }

    static void administerTransactions() throws Exception {
        var topic = create("jt-see", 1);
        var id = fresh("jt-see");
        var at = new TopicPartition(topic, 0);
        var producer = transactional(id, Map.of("transaction.timeout.ms", 55_000));
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, null, "x")).get();
        var listed = admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING)).filterOnTransactionalIdPattern(id.substring(0, 6) + ".*")).all().get();
        same(listed.stream().anyMatch(t -> t.transactionalId().equals(id)), true, "listed");
        var shown = admin.describeTransactions(List.of(id)).all().get().get(id);
        same(shown.state() + " " + shown.transactionTimeoutMs() + " " + shown.topicPartitions(), "Ongoing 55000 [" + at + "]", "described");
        var open = admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers().get(0);
        same(open.producerId() + " " + open.currentTransactionStartOffset().getAsLong(), shown.producerId() + " 0", "the partition's producer");
        admin.abortTransaction(new AbortTransactionSpec(at, open.producerId(), (short) open.producerEpoch(), open.coordinatorEpoch().orElse(-1))).all().get();
        fill(topic, 1, 0, 1);
        same(read(topic, "read_committed", 1), List.of("0"), "committed");
        raises(TransactionalIdNotFoundException.class, () -> admin.describeTransactions(List.of(fresh("missing"))).all().get());
        producer.close(Duration.ZERO);
    }

    static void staleMember() throws Exception {
        String source = create("jt-stale", 1), group = fresh("jt-stale");
        var at = new TopicPartition(source, 0);
        try (var member = member(group, "classic", source, Map.of()); var producer = transactional(fresh("jt-stale"), Map.of())) {
            settle(List.of(1), member);
            var now = member.groupMetadata();
            var stale = new ConsumerGroupMetadata(group, now.generationId() - 1, now.memberId(), Optional.empty());
            producer.beginTransaction();
            raises(CommitFailedException.class, () -> { producer.sendOffsetsToTransaction(Map.of(at, new OffsetAndMetadata(1)), stale); return null; });
            producer.abortTransaction();
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(Map.of(at, new OffsetAndMetadata(2)), now);
            producer.commitTransaction();
            same(committed(group, at).offset(), 2L, "committed");
        }
    }
}
