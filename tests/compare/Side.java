import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/** One broker in one scenario: asks it, and writes down what it answered, normalised. */
final class Side {
    /** One line of the transcript: what was asked, what came (a JSON tree), and the error texts in it. */
    record Line(String label, JsonNode answer, List<String> words) { }

    /** What came back: a message, or `closed`, `silent`, `unreadable`. */
    record Answer(String fate, ApiMessage message, short version) {
        boolean replied() { return message != null; }
    }

    final String host;
    final int port;
    final boolean reference;
    final String scenario;
    final Normal normal;
    final List<Line> lines = new ArrayList<>();
    private final Map<String, Uuid> topicIds = new HashMap<>();
    private Wire wire;
    private int correlation = 0;

    Side(String bootstrap, boolean reference, String scenario, String tag) {
        int colon = bootstrap.lastIndexOf(':');
        this.host = bootstrap.substring(0, colon);
        this.port = Integer.parseInt(bootstrap.substring(colon + 1));
        this.reference = reference;
        this.scenario = scenario;
        this.normal = new Normal(tag, port);
    }

    // Names.

    String prefix() { return "cmp-" + scenario + "-"; }

    /** A topic name of this scenario; equal on both sides once the tag is taken out. */
    String topic(String label) { return prefix() + label + "-" + normal.tag; }

    /** Runs over all versions of an API; a version that cannot express the request is written down as such on both sides. */
    void versions(ApiKeys key, IntConsumer each) { versions(key, key.oldestVersion(), key.latestVersion(true), each); }

    void versions(ApiKeys key, int from, int to, IntConsumer each) {
        for (int version = from; version <= Math.min(to, newest(key)); version++) {
            try { each.accept(version); } catch (UnsupportedVersionException inexpressible) { note("v" + version + " cannot say this", ""); }
        }
    }

    /** The newest version that Kafka 4.3 lets clients use. */
    static int newest(ApiKeys key) { return key == ApiKeys.INIT_PRODUCER_ID ? 5 : key == ApiKeys.DESCRIBE_CLUSTER ? 2 : key.latestVersion(); }

    // Asking.

    Wire wire() throws IOException {
        if (wire == null) wire = new Wire(host, port);
        return wire;
    }

    void hangUp() {
        if (wire != null) wire.close();
        wire = null;
    }

    Answer ask(int version, ApiMessage request) { return ask((short) version, request, false); }

    private Answer ask(short version, ApiMessage request, boolean mayBeSilent) {
        var key = ApiKeys.forId(request.apiKey());
        var bytes = Wire.request(key, version, ++correlation, request);
        return exchange(key, version, Wire.framed(bytes), correlation, mayBeSilent);
    }

    /** Sends a frame and reads the answer as `key` `version`; behind one that may have none, a probe shows that nothing came. */
    Answer exchange(ApiKeys key, short version, byte[] frame, int wanted, boolean mayBeSilent) {
        try {
            wire().send(frame);
            if (mayBeSilent) wire().send(Wire.framed(Wire.request(ApiKeys.API_VERSIONS, 0, ++correlation, new ApiVersionsRequestData())));
            var frameBack = wire().receive();
            if (frameBack == null) { hangUp(); return new Answer("closed", null, version); }
            int got = ByteBuffer.wrap(frameBack).getInt();
            if (mayBeSilent && got == correlation) return new Answer("no answer, as acks=0 asks", null, version);
            if (mayBeSilent) wire().receive();
            if (got != wanted) { hangUp(); return new Answer("answer " + (got - wanted) + " off in order", null, version); }
            return parse(key, version, frameBack);
        } catch (SocketTimeoutException silent) {
            hangUp();
            return new Answer("silent", null, version);
        } catch (IOException broken) {
            hangUp();
            return new Answer("closed", null, version);
        }
    }

    static Answer parse(ApiKeys key, short version, byte[] frame) {
        var buffer = ByteBuffer.wrap(frame);
        try {
            var accessor = new ByteBufferAccessor(buffer);
            new ResponseHeaderData(accessor, key.responseHeaderVersion(version));
            var message = ApiMessageType.fromApiKey(key.id).newResponse();
            message.read(accessor, version);
            if (buffer.hasRemaining()) return new Answer("unreadable: " + buffer.remaining() + " bytes too many", null, version);
            return new Answer("reply", message, version);
        } catch (RuntimeException bad) {
            // An ApiVersions of a version that the broker does not know is answered in version 0.
            if (key == ApiKeys.API_VERSIONS && version != 0) return parse(key, (short) 0, frame);
            return new Answer("unreadable: " + bad.getClass().getSimpleName(), null, version);
        }
    }

    // Writing down.

    Answer say(String label, int version, ApiMessage request) { return write("v" + version + " " + label, ask(version, request)); }

    /** As `say`, of an answer that lists everything: only this scenario's topics are kept. */
    Answer sayMine(String label, int version, ApiMessage request) {
        normal.mine = prefix();
        try { return say(label, version, request); } finally { normal.mine = null; }
    }

    Answer sayAcksZero(String label, int version, ApiMessage request) { return write("v" + version + " " + label, ask((short) version, request, true)); }

    /** Sends bytes as they are (the length included) and reads the answer as one to `key` `version`, if any comes. */
    Answer sayRaw(String label, ApiKeys key, int version, byte[] frame, int wanted) { return write(label, exchange(key, (short) version, frame, wanted, false)); }

    Answer write(String label, Answer answer) {
        try {
            var shown = answer.replied() ? normal.of(answer.message(), answer.version()) : JsonNodeFactory.instance.textNode(answer.fate());
            lines.add(new Line(label, shown, answer.replied() ? List.copyOf(normal.words) : List.of()));
        } catch (Exception e) { note(label, "cannot be shown: " + e); }
        return answer;
    }

    // Requests that are answered late, as JoinGroup and SyncGroup are: each on a connection of its own.

    /** A request whose answer somebody else's request may bring about. */
    record Pending(Side side, Wire wire, ApiKeys key, short version, int correlation) { }

    Pending begin(int version, ApiMessage request) {
        var key = ApiKeys.forId(request.apiKey());
        try {
            var wire = new Wire(host, port);
            wire.send(Wire.framed(Wire.request(key, version, ++correlation, request)));
            return new Pending(this, wire, key, (short) version, correlation);
        } catch (IOException e) { throw new IllegalStateException("set-up: " + e); }
    }

    /** Writes down that nothing comes for a while: the broker holds the answer back. */
    void sayWaiting(String label, Pending pending) {
        try {
            pending.wire().socket.setSoTimeout(150);
            pending.wire().in.mark(1);
            int first = pending.wire().in.read();
            pending.wire().in.reset();
            note(label, first < 0 ? "closed" : "answered at once");
        } catch (SocketTimeoutException waiting) {
            note(label, "waiting");
        } catch (IOException broken) { note(label, "closed"); }
    }

    /** The answer, not written down. */
    Answer end(Pending pending) {
        try {
            pending.wire().socket.setSoTimeout(Wire.SILENCE_MS);
            var frame = pending.wire().receive();
            return frame == null ? new Answer("closed", null, pending.version()) : parse(pending.key(), pending.version(), frame);
        } catch (SocketTimeoutException silent) {
            return new Answer("silent", null, pending.version());
        } catch (IOException broken) {
            return new Answer("closed", null, pending.version());
        } finally { pending.wire().close(); }
    }

    Answer sayEnd(String label, Pending pending) { return write("v" + pending.version() + " " + label, end(pending)); }

    void note(String label, Object value) {
        lines.add(new Line(label, JsonNodeFactory.instance.textNode(normal.text(String.valueOf(value))), List.of()));
    }

    /**
     * Where Kafka itself misbehaves and we do better on purpose: the reference is not even asked,
     * the other's fate or error must be one of those given.
     */
    void better(String label, Supplier<Answer> ask, String... wanted) {
        if (reference) {
            note(label + " (better than Kafka)", "as wanted");
            return;
        }
        var answer = ask.get();
        var got = answer.replied() ? "error " + firstError(answer) : answer.fate();
        note(label + " (better than Kafka)", List.of(wanted).contains(got) ? "as wanted" : got + ", wanted " + String.join(" or ", wanted));
    }

    static String firstError(Answer answer) {
        try {
            for (var leaf : Normal.leaves(Normal.toJson(answer.message(), answer.version())).entrySet())
                if (leaf.getKey().endsWith("errorCode") && !leaf.getValue().equals("0")) return leaf.getValue();
            return "0";
        } catch (Exception e) { return e.toString(); }
    }

    // Set-up that is not itself compared: newest well-tried versions, repeated until the broker is ready.

    /** Creates a topic of the scenario and waits until each partition has a leader that answers. */
    String create(String label, int partitions, String... configs) {
        var name = topic(label);
        var wanted = new CreateTopicsRequestData.CreatableTopic().setName(name).setNumPartitions(partitions).setReplicationFactor((short) 1);
        for (int n = 0; n < configs.length; n += 2) wanted.configs().add(new CreateTopicsRequestData.CreatableTopicConfig().setName(configs[n]).setValue(configs[n + 1]));
        var request = new CreateTopicsRequestData().setTimeoutMs(10_000);
        request.topics().add(wanted);
        var answer = ask(7, request);
        if (!answer.replied() || ((CreateTopicsResponseData) answer.message()).topics().iterator().next().errorCode() != 0) throw new IllegalStateException("set-up: create " + label + ": " + answer.fate() + " " + (answer.replied() ? firstError(answer) : ""));
        ready(name, partitions);
        return name;
    }

    void ready(String name, int partitions) {
        until("ready " + name, () -> {
            var shown = metadata(name);
            if (shown == null || shown.errorCode() != 0 || shown.partitions().size() != partitions) return false;
            for (var p : shown.partitions()) if (p.errorCode() != 0 || p.leaderId() < 0) return false;
            learn(name, shown.topicId());
            for (int p = 0; p < partitions; p++) if (offset(name, p, -1) < 0) return false;
            return true;
        });
    }

    void gone(String name) {
        until("gone " + name, () -> { var shown = metadata(name); return shown != null && shown.errorCode() == 3; });
    }

    static void until(String what, java.util.function.BooleanSupplier condition) {
        long deadline = System.nanoTime() + 15_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) throw new IllegalStateException("set-up: not within 15 s: " + what);
            try { Thread.sleep(10); } catch (InterruptedException e) { throw new IllegalStateException(e); }
        }
    }

    void learn(String name, Uuid id) {
        if (id.equals(Uuid.ZERO_UUID)) return;
        topicIds.put(name, id);
        normal.id(id.toString(), name);
    }

    Uuid id(String topic) { return topicIds.getOrDefault(topic, Uuid.ZERO_UUID); }

    MetadataResponseData.MetadataResponseTopic metadata(String name) {
        var request = new MetadataRequestData().setAllowAutoTopicCreation(false).setTopics(List.of(new MetadataRequestData.MetadataRequestTopic().setName(name)));
        var answer = ask(12, request);
        return answer.replied() ? ((MetadataResponseData) answer.message()).topics().find(name) : null;
    }

    /** ListOffsets of one partition; the negated error code less 100 where it fails. */
    long offset(String topic, int partition, long timestamp) {
        var at = new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(partition).setTimestamp(timestamp);
        var request = new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(new ListOffsetsRequestData.ListOffsetsTopic().setName(topic).setPartitions(List.of(at))));
        var answer = ask(7, request);
        if (!answer.replied()) return -1000;
        var p = ((ListOffsetsResponseData) answer.message()).topics().get(0).partitions().get(0);
        return p.errorCode() != 0 ? -100 - p.errorCode() : p.offset();
    }

    /** Writes down where a partition begins and ends. */
    void bounds(String label, String topic, int partition) { note(label, offset(topic, partition, -2) + " to " + offset(topic, partition, -1)); }

    /** Puts batches into a partition, acks=all, one request each. */
    void fill(String topic, int partition, Batch... batches) {
        for (var batch : batches) {
            var answer = ask(9, Ask.produce(this, 9, topic, partition, batch.bytes()));
            if (!answer.replied() || !firstError(answer).equals("0")) throw new IllegalStateException("set-up: produce: " + answer.fate() + (answer.replied() ? " " + firstError(answer) : ""));
        }
    }

    /** A producer id of the broker's. */
    long producerId() {
        long[] id = {-1};
        until("producer id", () -> {
            var answer = ask(4, new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000));
            if (!answer.replied() || ((InitProducerIdResponseData) answer.message()).errorCode() != 0) return false;
            id[0] = ((InitProducerIdResponseData) answer.message()).producerId();
            return true;
        });
        normal.producer(id[0]);
        return id[0];
    }
}
