import java.io.*;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.requests.*;
import org.apache.kafka.common.serialization.*;

/**
 * The work behind the figures of scripts/perf-groups; each command prints one line of `name=value`.
 *
 * Members and commits are spoken in Kafka's protocol by sockets of this program's own, one blocking connection each, so that two
 * hundred clients' threads do not hide what the broker takes; transactions are Kafka's own producers and consumer.
 *
 *   settle BOOTSTRAP classic|consumer MEMBERS PARTITIONS HEARTBEAT_MS
 *   commits BOOTSTRAP GROUPS SECONDS
 *   transactions BOOTSTRAP PRODUCERS SECONDS
 *   offsets BOOTSTRAP GROUPS FIRST COUNT      commits COUNT partitions from FIRST on in each of GROUPS groups
 *   records BOOTSTRAP GROUPS RECORDS          commits 100 partitions at a time, over GROUPS groups, until RECORDS have been written
 *   loaded BOOTSTRAP GROUPS                   waits until every group's coordinator answers
 */
public final class Figures {
    static final String TOPIC = "figures";
    static String host;
    static int port;
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[1];
        host = bootstrap.split(":")[0];
        port = Integer.parseInt(bootstrap.split(":")[1]);
        switch (args[0]) {
            case "settle" -> settle(args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), Integer.parseInt(args[5]));
            case "commits" -> commits(Integer.parseInt(args[2]), Integer.parseInt(args[3]));
            case "transactions" -> transactions(Integer.parseInt(args[2]), Integer.parseInt(args[3]));
            case "offsets" -> offsets(Integer.parseInt(args[2]), Integer.parseInt(args[3]), Integer.parseInt(args[4]));
            case "records" -> records(Integer.parseInt(args[2]), Long.parseLong(args[3]));
            case "loaded" -> loaded(Integer.parseInt(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** One connection, one request at a time. */
    static final class Wire implements Closeable {
        final Socket socket;
        final DataInputStream in;
        final OutputStream out;
        int correlation;

        Wire() throws IOException {
            socket = new Socket(host, port);
            socket.setTcpNoDelay(true);
            in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), 1 << 16));
            out = socket.getOutputStream();
        }

        @SuppressWarnings("unchecked") <T extends AbstractResponse> T ask(AbstractRequest request) throws IOException {
            var header = new RequestHeader(request.apiKey(), request.version(), "figures", ++correlation);
            ByteBuffer body = request.serializeWithHeader(header);
            var frame = ByteBuffer.allocate(4 + body.remaining()).putInt(body.remaining()).put(body);
            out.write(frame.array());
            var answer = new byte[in.readInt()];
            in.readFully(answer);
            return (T) AbstractResponse.parseResponse(ByteBuffer.wrap(answer), header);
        }

        /** Until the coordinators of these groups answer; this makes the internal topic where it is missing. */
        void coordinate(List<String> groups) throws Exception {
            for (int from = 0; from < groups.size(); from += 500) {
                var some = groups.subList(from, Math.min(groups.size(), from + 500));
                for (;;) {
                    FindCoordinatorResponse found = ask(new FindCoordinatorRequest.Builder(new FindCoordinatorRequestData().setKeyType((byte) 0).setCoordinatorKeys(some)).build((short) 4));
                    if (found.data().coordinators().stream().allMatch(c -> c.errorCode() == 0)) break;
                    Thread.sleep(20);
                }
                while (!answers(some)) Thread.sleep(5);
            }
        }

        /** Whether all of these groups' coordinators are loaded. */
        boolean answers(List<String> groups) throws IOException {
            var asked = groups.stream().map(g -> new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(g)
                .setTopics(List.of(new OffsetFetchRequestData.OffsetFetchRequestTopics().setName(TOPIC).setPartitionIndexes(List.of(0))))).toList();
            OffsetFetchResponse answer = ask(OffsetFetchRequest.Builder.forTopicNames(new OffsetFetchRequestData().setGroups(asked), false).build((short) 8));
            return answer.data().groups().stream().allMatch(g -> g.errorCode() == 0);
        }

        public void close() throws IOException { socket.close(); }
    }

    static ExecutorService threads() {
        return Executors.newCachedThreadPool(r -> { var t = new Thread(null, r, "figures", 256 << 10); t.setDaemon(true); return t; });
    }

    static void topic(String name, int partitions) throws Exception {
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            if (!admin.listTopics().names().get().contains(name)) admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
            var ends = IntStream.range(0, partitions).boxed().collect(Collectors.toMap(p -> new TopicPartition(name, p), p -> OffsetSpec.latest()));
            for (;;) {
                try { admin.listOffsets(ends).all().get(); break; } catch (ExecutionException e) { Thread.sleep(50); }
            }
        }
    }

    static double seconds(long from, long to) { return (to - from) / 1e9; }

    // A large group.

    /** What the members of a group tell whoever waits for them to settle. */
    static final class Watch {
        final Map<Integer, Set<Object>> owned = new ConcurrentHashMap<>();
        final Map<Integer, Integer> epochs = new ConcurrentHashMap<>();
        final AtomicLong changed = new AtomicLong(System.nanoTime());

        void now(int member, int epoch, Set<Object> partitions) {
            if (!Objects.equals(epochs.put(member, epoch), epoch) | !partitions.equals(owned.put(member, partitions))) changed.set(System.nanoTime());
        }

        /** When the last change came after which `members` own all `partitions`, each one's, in one epoch. */
        long settled(int members, int partitions, List<Future<?>> running, long deadline) throws Exception {
            while (System.nanoTime() < deadline) {
                for (var one : running) if (one.isDone()) one.get();
                long at = changed.get();
                var all = new HashSet<>();
                int sum = 0;
                for (var set : owned.values()) { all.addAll(set); sum += set.size(); }
                boolean one = new HashSet<>(epochs.values()).size() == 1;
                // Nothing changes for half a second more.
                if (owned.size() == members && all.size() == partitions && sum == partitions && one && System.nanoTime() - at > 500_000_000L && changed.get() == at) return at;
                Thread.sleep(2);
            }
            throw new IllegalStateException("never settled: " + owned.size() + " members, " + owned.values().stream().mapToInt(Set::size).sum() + " partitions, epochs " + new TreeSet<>(epochs.values()));
        }
    }

    static void settle(String protocol, int members, int partitions, int heartbeat) throws Exception {
        var topic = TOPIC + "-" + partitions;
        topic(topic, partitions);
        var group = "settle-" + protocol + "-" + System.nanoTime();
        try (var wire = new Wire()) { wire.coordinate(List.of(group)); }
        var watch = new Watch();
        var pool = threads();
        var leave = new AtomicBoolean();
        var stop = new AtomicBoolean();
        long began = System.nanoTime();
        var running = new ArrayList<Future<?>>();
        for (int n = 0; n < members; n++) {
            int member = n;
            running.add(pool.submit(() -> {
                if (protocol.equals("classic")) new Classic(group, topic, partitions, member, member == members - 1, heartbeat, watch, leave, stop).run();
                else new Modern(group, topic, member, member == members - 1, heartbeat, watch, leave, stop).run();
                return null;
            }));
        }
        long settled = watch.settled(members, partitions, running, began + 120_000_000_000L);
        Thread.sleep(1000);
        long left = System.nanoTime();
        leave.set(true);
        while (watch.owned.containsKey(members - 1)) {
            for (var one : running) if (one.isDone()) one.get();
            Thread.sleep(1);
        }
        long again = watch.settled(members - 1, partitions, running, left + 120_000_000_000L);
        stop.set(true);
        System.out.printf(Locale.ROOT, "settle_s=%.3f leave_s=%.3f%n", seconds(began, settled), seconds(left, again));
    }

    /** A member of the classic protocol; the leader assigns ranges. The last member leaves when asked. */
    record Classic(String group, String topic, int partitions, int number, boolean isLast, int heartbeat, Watch watch, AtomicBoolean leave, AtomicBoolean stop) {
        void run() throws Exception {
            try (var wire = new Wire()) {
                var id = "";
                var subscription = bytes(ConsumerProtocol.serializeSubscription(new ConsumerPartitionAssignor.Subscription(List.of(topic))));
                while (!stop.get()) {
                    var protocols = new JoinGroupRequestData.JoinGroupRequestProtocolCollection(List.of(new JoinGroupRequestData.JoinGroupRequestProtocol().setName("range").setMetadata(subscription)).iterator());
                    JoinGroupResponse joined = wire.ask(new JoinGroupRequest(new JoinGroupRequestData().setGroupId(group).setMemberId(id).setSessionTimeoutMs(30_000).setRebalanceTimeoutMs(60_000)
                        .setProtocolType("consumer").setProtocols(protocols), (short) 9));
                    if (joined.error() == Errors.MEMBER_ID_REQUIRED) { id = joined.data().memberId(); continue; }
                    if (joined.error() != Errors.NONE) { if (joined.error() == Errors.UNKNOWN_MEMBER_ID) id = ""; Thread.sleep(5); continue; }
                    id = joined.data().memberId();
                    var plan = new ArrayList<SyncGroupRequestData.SyncGroupRequestAssignment>();
                    int size = joined.data().members().size();
                    for (int m = 0; m < size; m++) {
                        var mine = new ArrayList<TopicPartition>();
                        for (int p = m * partitions / size; p < (m + 1) * partitions / size; p++) mine.add(new TopicPartition(topic, p));
                        plan.add(new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(joined.data().members().get(m).memberId())
                            .setAssignment(bytes(ConsumerProtocol.serializeAssignment(new ConsumerPartitionAssignor.Assignment(mine)))));
                    }
                    int generation = joined.data().generationId();
                    SyncGroupResponse synced = wire.ask(new SyncGroupRequest.Builder(new SyncGroupRequestData().setGroupId(group).setMemberId(id).setGenerationId(generation)
                        .setProtocolType("consumer").setProtocolName("range").setAssignments(plan)).build((short) 5));
                    if (synced.error() != Errors.NONE) continue;
                    watch.now(number, generation, new HashSet<>(ConsumerProtocol.deserializeAssignment(ByteBuffer.wrap(synced.data().assignment())).partitions()));
                    for (;;) {
                        Thread.sleep(heartbeat);
                        if (stop.get()) return;
                        if (leave.get() && isLast) {
                            wire.ask(new LeaveGroupRequest.Builder(group, List.of(new LeaveGroupRequestData.MemberIdentity().setMemberId(id))).build((short) 5));
                            watch.owned.remove(number);
                            watch.epochs.remove(number);
                            return;
                        }
                        HeartbeatResponse beat = wire.ask(new HeartbeatRequest.Builder(new HeartbeatRequestData().setGroupId(group).setMemberId(id).setGenerationId(generation)).build((short) 4));
                        if (beat.error() != Errors.NONE) { if (beat.error() == Errors.UNKNOWN_MEMBER_ID) id = ""; break; }
                    }
                }
            }
        }
    }

    /** A member of KIP-848's protocol: what it is told to own it owns at once, and says so. */
    record Modern(String group, String topic, int number, boolean isLast, int heartbeat, Watch watch, AtomicBoolean leave, AtomicBoolean stop) {
        void run() throws Exception {
            try (var wire = new Wire()) {
                var id = Uuid.randomUuid().toString();
                int epoch = 0;
                Set<Object> owned = new HashSet<>();
                List<ConsumerGroupHeartbeatRequestData.TopicPartitions> report = List.of();
                boolean tell = true;
                while (!stop.get()) {
                    var data = new ConsumerGroupHeartbeatRequestData().setGroupId(group).setMemberId(id).setMemberEpoch(epoch);
                    if (epoch == 0) data.setRebalanceTimeoutMs(60_000).setSubscribedTopicNames(List.of(topic)).setServerAssignor("uniform");
                    data.setTopicPartitions(tell ? report : null);
                    ConsumerGroupHeartbeatResponse answer = wire.ask(new ConsumerGroupHeartbeatRequest.Builder(data).build((short) 1));
                    var error = Errors.forCode(answer.data().errorCode());
                    if (error == Errors.FENCED_MEMBER_EPOCH || error == Errors.UNKNOWN_MEMBER_ID) { epoch = 0; owned = new HashSet<>(); report = List.of(); tell = true; continue; }
                    if (error != Errors.NONE) { Thread.sleep(5); continue; }
                    tell = false;
                    epoch = answer.data().memberEpoch();
                    if (answer.data().assignment() != null) {
                        var now = new HashSet<Object>();
                        report = new ArrayList<>();
                        for (var part : answer.data().assignment().topicPartitions()) {
                            for (int p : part.partitions()) now.add(part.topicId() + "-" + p);
                            report.add(new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(part.topicId()).setPartitions(part.partitions()));
                        }
                        owned = now;
                        tell = true;
                    }
                    watch.now(number, epoch, owned);
                    if (tell) continue; // what changed is told at once, as Kafka's consumer does
                    Thread.sleep(heartbeat);
                    if (leave.get() && !stop.get() && isLast) {
                        wire.ask(new ConsumerGroupHeartbeatRequest.Builder(new ConsumerGroupHeartbeatRequestData().setGroupId(group).setMemberId(id).setMemberEpoch(-1)).build((short) 1));
                        watch.owned.remove(number);
                        watch.epochs.remove(number);
                        return;
                    }
                }
            }
        }
    }

    static byte[] bytes(ByteBuffer buffer) {
        var array = new byte[buffer.remaining()];
        buffer.get(array);
        return array;
    }

    // Offsets.

    static AbstractRequest commit(String group, int first, int count, long offset) {
        var partitions = new ArrayList<OffsetCommitRequestData.OffsetCommitRequestPartition>();
        for (int p = first; p < first + count; p++) {
            partitions.add(new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(p).setCommittedOffset(offset).setCommittedLeaderEpoch(-1).setCommittedMetadata(""));
        }
        var topic = new OffsetCommitRequestData.OffsetCommitRequestTopic().setName(TOPIC).setPartitions(partitions);
        return new OffsetCommitRequest(new OffsetCommitRequestData().setGroupId(group).setMemberId("").setGenerationIdOrMemberEpoch(-1).setTopics(List.of(topic)), (short) 9);
    }

    static void check(OffsetCommitResponse answer) {
        for (var topic : answer.data().topics()) for (var p : topic.partitions()) {
            if (p.errorCode() != 0) throw new IllegalStateException("a commit was refused: " + Errors.forCode(p.errorCode()));
        }
    }

    static List<String> names(String label, int groups) { return IntStream.range(0, groups).mapToObj(n -> label + "-" + n).toList(); }

    /** One commit of four partitions at a time by each group, all groups at once. */
    static void commits(int groups, int duration) throws Exception {
        topic(TOPIC, 100);
        var names = names("commits", groups);
        try (var wire = new Wire()) { wire.coordinate(names); }
        var count = new AtomicLong();
        var pool = threads();
        var latencies = new ConcurrentLinkedQueue<long[]>();
        long end = System.nanoTime() + duration * 1_000_000_000L, began = System.nanoTime();
        var running = new ArrayList<Future<?>>();
        for (var group : names) {
            running.add(pool.submit(() -> {
                try (var wire = new Wire()) {
                    var mine = new long[1 << 20];
                    int n = 0;
                    while (System.nanoTime() < end) {
                        long at = System.nanoTime();
                        check(wire.ask(commit(group, 0, 4, n)));
                        mine[n++ % mine.length] = System.nanoTime() - at;
                    }
                    count.addAndGet(n);
                    latencies.add(Arrays.copyOf(mine, Math.min(n, mine.length)));
                }
                return null;
            }));
        }
        for (var one : running) one.get();
        double took = seconds(began, System.nanoTime());
        long[] all = latencies.stream().flatMapToLong(Arrays::stream).sorted().toArray();
        System.out.printf(Locale.ROOT, "commits=%d seconds=%.3f p50_ms=%.3f p99_ms=%.3f%n", count.get(), took, all[all.length / 2] / 1e6, all[all.length * 99 / 100] / 1e6);
    }

    /** COUNT partitions from FIRST on, in one commit a group. */
    static void offsets(int groups, int first, int count) throws Exception {
        topic(TOPIC, 100);
        var names = names("idle", groups);
        try (var wire = new Wire()) { wire.coordinate(names); }
        var pool = threads();
        var running = new ArrayList<Future<?>>();
        int share = 16;
        for (int t = 0; t < share; t++) {
            int from = t;
            running.add(pool.submit(() -> {
                try (var wire = new Wire()) {
                    for (int n = from; n < groups; n += share) check(wire.ask(commit(names.get(n), first, count, 1)));
                }
                return null;
            }));
        }
        for (var one : running) one.get();
        System.out.printf(Locale.ROOT, "groups=%d offsets=%d%n", groups, (long) groups * count);
    }

    static void records(int groups, long records) throws Exception {
        topic(TOPIC, 100);
        var names = names("load", groups);
        try (var wire = new Wire()) { wire.coordinate(names); }
        var left = new AtomicLong(records / 100);
        var pool = threads();
        var running = new ArrayList<Future<?>>();
        for (int t = 0; t < 16; t++) {
            int from = t;
            running.add(pool.submit(() -> {
                try (var wire = new Wire()) {
                    for (int n = from; left.getAndDecrement() > 0; n += 16) check(wire.ask(commit(names.get(n % groups), 0, 100, n)));
                }
                return null;
            }));
        }
        for (var one : running) one.get();
        System.out.printf(Locale.ROOT, "records=%d%n", records);
    }

    static void loaded(int groups) throws Exception {
        var names = names("load", groups);
        long began = System.nanoTime(), answered = 0;
        for (;;) {
            try (var wire = new Wire()) {
                wire.ask(new ApiVersionsRequest.Builder().build((short) 3));
                if (answered == 0) answered = System.nanoTime();
                wire.coordinate(names);
                break;
            } catch (IOException notYet) {
                Thread.sleep(2);
            }
        }
        System.out.printf(Locale.ROOT, "answers_s=%.3f loaded_s=%.3f%n", seconds(began, answered), seconds(began, System.nanoTime()));
    }

    // Transactions.

    /** Transactions of ten records by Kafka's own producers, one thread each; a read-committed consumer counts what it sees. */
    static void transactions(int producers, int duration) throws Exception {
        int partitions = 16;
        var topic = TOPIC + "-transactions-" + System.nanoTime();
        topic(topic, partitions);
        var stop = new AtomicBoolean();
        var read = new AtomicLong();
        var pool = threads();
        var reader = pool.submit(() -> {
            Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "auto.offset.reset", "earliest", "enable.auto.commit", false);
            try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                consumer.assign(IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(topic, p)).toList());
                while (!stop.get()) read.addAndGet(consumer.poll(Duration.ofMillis(100)).count());
            }
            return null;
        });
        var ready = new CyclicBarrier(producers + 1);
        var count = new AtomicLong();
        var latencies = new ConcurrentLinkedQueue<Long>();
        var running = new ArrayList<Future<?>>();
        var run = System.nanoTime();
        var end = new AtomicLong();
        for (int n = 0; n < producers; n++) {
            int number = n;
            running.add(pool.submit(() -> {
                Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", "figures-" + run + "-" + number, "linger.ms", 0);
                try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
                    producer.initTransactions();
                    var value = new byte[100];
                    // Two for the way there: the first ones make the internal topic and the connections.
                    for (int warm = 0; warm < 2; warm++) transact(producer, topic, number % partitions, value);
                    ready.await();
                    while (System.nanoTime() < end.get()) {
                        latencies.add(transact(producer, topic, number % partitions, value));
                        count.incrementAndGet();
                    }
                }
                return null;
            }));
        }
        end.set(Long.MAX_VALUE);
        // The end is set before the last one may go.
        while (ready.getNumberWaiting() < producers) {
            for (var one : running) if (one.isDone()) one.get();
            Thread.sleep(1);
        }
        long began = System.nanoTime();
        end.set(began + duration * 1_000_000_000L);
        System.out.println("begin");
        ready.await();
        for (var one : running) one.get();
        double took = seconds(began, System.nanoTime());
        System.out.println("done");
        long wanted = (count.get() + 2L * producers) * 10, deadline = System.nanoTime() + 20_000_000_000L;
        while (read.get() < wanted && System.nanoTime() < deadline) Thread.sleep(1);
        double behind = seconds(began, System.nanoTime()) - took;
        stop.set(true);
        reader.get();
        if (read.get() != wanted) throw new IllegalStateException("the reader saw " + read.get() + " of " + wanted + " records");
        long[] all = latencies.stream().mapToLong(n -> n).sorted().toArray();
        System.out.printf(Locale.ROOT, "transactions=%d seconds=%.3f p50_ms=%.3f p99_ms=%.3f behind_ms=%.1f%n", count.get(), took, all[all.length / 2] / 1e6, all[all.length * 99 / 100] / 1e6, behind * 1e3);
    }

    /** One transaction; how long its commit took, which waits for the records too. */
    static long transact(KafkaProducer<byte[], byte[]> producer, String topic, int partition, byte[] value) {
        producer.beginTransaction();
        for (int n = 0; n < 10; n++) producer.send(new ProducerRecord<>(topic, partition, null, value));
        long at = System.nanoTime();
        // The commit waits for the records anyhow. Without this the client now and then sends the end of the transaction before
        // its records: its sender looks for unsent ones before it looks for the commit, and both come in between (seen in its log).
        producer.flush();
        producer.commitTransaction();
        return System.nanoTime() - at;
    }
}
