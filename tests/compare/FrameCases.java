import java.io.IOException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/** What lies below the messages: frames, headers, versions, order. */
final class FrameCases {
    static final ByteBuffer NONE = ByteBuffer.allocate(0);

    static void add(Compare c) {
        unsupported(c);
        damaged(c);
        lengths(c);
        order(c);
    }

    /** A plain good request for each API that is compared, at a version. */
    static ApiMessage plain(Side s, ApiKeys key, int v, String topic) {
        return switch (key) {
            case PRODUCE -> Ask.produce(s, v, topic, 0, Batch.of(1).bytes());
            case FETCH -> Ask.fetch(s, v, topic, 0, 0);
            case LIST_OFFSETS -> Ask.listOffsets(topic, Ask.at(0, -1));
            case METADATA -> Ask.metadata(v, topic);
            case API_VERSIONS -> ClusterCases.named(v, "compare", "1.0");
            case CREATE_TOPICS -> Ask.create(Ask.topic(topic, 1, 1));
            case DELETE_TOPICS -> Ask.delete(v, s.topic("unknown"));
            case DELETE_RECORDS -> Ask.deleteRecords(topic, 0, 0);
            case INIT_PRODUCER_ID -> new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000);
            case OFFSET_FOR_LEADER_EPOCH -> Ask.epochs(topic, 0, -1, 0);
            case DESCRIBE_CONFIGS -> Ask.describe(2, topic, "retention.ms");
            case ALTER_CONFIGS -> Ask.alter(2, s.topic("unknown"), "retention.ms", "5000");
            case INCREMENTAL_ALTER_CONFIGS -> Ask.incremental(2, s.topic("unknown"), 0, "retention.ms", "5000");
            case ALTER_REPLICA_LOG_DIRS -> LogDirCases.move(LogDirCases.dir("/nowhere", LogDirCases.topic(topic, 0)));
            case DESCRIBE_LOG_DIRS -> LogDirCases.dirs(LogDirCases.dirTopic(topic, 0));
            case ALTER_PARTITION_REASSIGNMENTS -> ReassignmentCases.alter(ReassignmentCases.topic(topic, ReassignmentCases.to(0, 1)));
            case LIST_PARTITION_REASSIGNMENTS -> ReassignmentCases.list(topic, 0);
            case CREATE_PARTITIONS -> Ask.grow(s.topic("unknown"), 3);
            case DESCRIBE_QUORUM -> ClusterCases.quorumOf("__cluster_metadata", 0);
            case DESCRIBE_CLUSTER -> new DescribeClusterRequestData();
            case DESCRIBE_PRODUCERS -> ClusterCases.who(topic, 0);
            case LIST_CONFIG_RESOURCES -> new ListConfigResourcesRequestData();
            case DESCRIBE_TOPIC_PARTITIONS -> TopicCases.parts(10, topic);
            default -> throw new IllegalArgumentException(key.name);
        };
    }

    static List<ApiKeys> keys() { return Arrays.stream(ApiKeys.values()).filter(k -> Normal.OURS.contains((int) k.id)).toList(); }

    /** How the broker takes these bytes: the answer's length class, a closed connection, or silence. */
    static String fate(Side s, byte[] bytes) {
        try {
            s.wire().send(bytes);
            var back = s.wire().receive();
            s.hangUp();
            return back == null ? "closed" : "answered " + ByteBuffer.wrap(back).getInt();
        } catch (SocketTimeoutException e) {
            s.hangUp();
            return "silent";
        } catch (IOException e) {
            s.hangUp();
            return "closed";
        }
    }

    static void unsupported(Compare c) {
        c.add("Frames/unsupported versions", s -> {
            for (var key : keys()) {
                if (key == ApiKeys.API_VERSIONS) continue;
                for (int v : new int[] {key.oldestVersion() - 1, Side.newest(key) + 1, 100, -1}) {
                    if (key == ApiKeys.PRODUCE && v == -1) continue;
                    var body = new byte[40];
                    s.note(key.name + " version " + v, fate(s, Wire.framed(Wire.join(Wire.header(key.id, v, 5, "compare", v >= 0 && v <= key.latestVersion(true) ? key.requestHeaderVersion((short) v) : 2), body))));
                }
            }
            for (int v : new int[] {0, 1, 2}) s.note("Produce version " + v, fate(s, Wire.framed(Wire.join(Wire.header(0, v, 5, "compare", 1), new byte[40]))));
        });
        c.add("Frames/unknown keys", s -> {
            for (int key : new int[] {-1, 93, 999, 32767, -32768, 4, 5, 6, 7, 52, 62}) s.note("key " + key, fate(s, Wire.framed(Wire.join(Wire.header(key, 0, 5, "compare", 1), new byte[20]))));
        });
    }

    static void damaged(Compare c) {
        c.add("Frames/cut and stretched bodies", s -> {
            var topic = s.create("f", 1);
            for (var key : keys()) s.versions(key, v -> {
                var bytes = Wire.request(key, v, 5, plain(s, key, v, topic));
                var header = Wire.header(key.id, v, 5, "compare", key.requestHeaderVersion((short) v));
                s.note("v" + v + " whole " + key.name, fate(s, Wire.framed(bytes)));
                if (bytes.length > header.length) {
                    s.note("v" + v + " one byte short " + key.name, fate(s, Wire.framed(Arrays.copyOf(bytes, bytes.length - 1))));
                    s.note("v" + v + " half the body " + key.name, fate(s, Wire.framed(Arrays.copyOf(bytes, header.length + (bytes.length - header.length) / 2))));
                    if (key != ApiKeys.API_VERSIONS) s.note("v" + v + " no body " + key.name, fate(s, Wire.framed(header)));
                }
                // librdkafka 2.16 sends four bytes too many where it asks for all topics.
                if (key == ApiKeys.METADATA) s.note("v" + v + " bytes too many " + key.name, fate(s, Wire.framed(Wire.join(bytes, new byte[] {0, 1, 0, 0}))));
                else s.better("v" + v + " a byte too many " + key.name, () -> answered(fate(s, Wire.framed(Wire.join(bytes, new byte[1])))), "closed");
            });
        });
        c.add("Frames/damaged headers", s -> {
            s.note("only a key", fate(s, Wire.framed(new byte[] {0, 3})));
            s.note("no client id", fate(s, Wire.framed(new byte[] {0, 3, 0, 1, 0, 0, 0, 5})));
            s.note("client id longer than the frame", fate(s, Wire.framed(new byte[] {0, 3, 0, 1, 0, 0, 0, 5, 0, 99})));
            s.note("client id of length -2", fate(s, Wire.framed(new byte[] {0, 3, 0, 1, 0, 0, 0, 5, -1, -2, 0, 0, 0, 0})));
            s.note("null client id", fate(s, Wire.framed(new byte[] {0, 3, 0, 1, 0, 0, 0, 5, -1, -1, 0, 0, 0, 0})));
            s.note("empty client id", fate(s, Wire.framed(new byte[] {0, 3, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0})));
            s.note("an unknown tag in the header", fate(s, Wire.framed(Wire.join(new byte[] {0, 3, 0, 12, 0, 0, 0, 5, -1, -1, 1, 99, 2, 1, 2}, Wire.bytes(Ask.metadata(12), 12)))));
            s.note("a tag longer than the frame", fate(s, Wire.framed(Wire.join(new byte[] {0, 3, 0, 12, 0, 0, 0, 5, -1, -1, 1, 99, 100, 1, 2}, Wire.bytes(Ask.metadata(12), 12)))));
            s.note("negative correlation id", fate(s, Wire.framed(Wire.request(ApiKeys.METADATA, 1, -7, Ask.metadata(1)))));
        });
        c.add("Frames/fields that lie", s -> {
            var metadata = new byte[] {0, 3, 0, 1, 0, 0, 0, 5, -1, -1};
            s.note("array of 2 G", fate(s, Wire.framed(Wire.join(metadata, new byte[] {127, -1, -1, -1}))));
            s.note("array of 1000 in no bytes", fate(s, Wire.framed(Wire.join(metadata, new byte[] {0, 0, 3, -24}))));
            s.better("array of -2", () -> answered(fate(s, Wire.framed(Wire.join(metadata, new byte[] {-1, -1, -1, -2})))), "closed");
            s.note("string of 32767 in no bytes", fate(s, Wire.framed(Wire.join(metadata, new byte[] {0, 0, 0, 1, 127, -1}))));
            s.note("null string where none may be", fate(s, Wire.framed(Wire.join(metadata, new byte[] {0, 0, 0, 1, -1, -1}))));
            s.better("string not UTF-8", () -> answered(fate(s, Wire.framed(Wire.join(metadata, new byte[] {0, 0, 0, 1, 0, 2, -61, 40})))), "closed");
            var flexible = new byte[] {0, 3, 0, 9, 0, 0, 0, 5, -1, -1, 0};
            s.note("compact array of 4 G", fate(s, Wire.framed(Wire.join(flexible, new byte[] {-1, -1, -1, -1, 15, 0, 0, 0, 0}))));
            s.note("varint of six bytes", fate(s, Wire.framed(Wire.join(flexible, new byte[] {-1, -1, -1, -1, -1, 15, 0, 0, 0, 0}))));
            s.note("compact string of 4 G", fate(s, Wire.framed(Wire.join(flexible, new byte[] {2, -1, -1, -1, -1, 15, 0, 0, 0, 0}))));
            s.note("compact null string where none may be", fate(s, Wire.framed(Wire.join(flexible, new byte[] {2, 0, 0, 0, 0, 0, 0}))));
            s.note("unknown tags are passed over", fate(s, Wire.framed(Wire.join(flexible, new byte[] {1, 0, 0, 0, 2, 50, 1, 9, 51, 0}))));
            s.better("a tag twice", () -> answered(fate(s, Wire.framed(Wire.join(flexible, new byte[] {1, 0, 0, 0, 2, 50, 1, 9, 50, 0})))), "closed");
            s.note("tags of 2 G", fate(s, Wire.framed(Wire.join(flexible, new byte[] {1, 0, 0, 0, -1, -1, -1, -1, 7}))));
        });
    }

    static Side.Answer answered(String fate) { return new Side.Answer(fate, null, (short) 0); }

    static void lengths(Compare c) {
        c.add("Frames/lengths", s -> {
            for (int length : new int[] {-1, Integer.MIN_VALUE, Integer.MAX_VALUE, 104_857_601}) s.note("length " + length, fate(s, ByteBuffer.allocate(64).putInt(length).array()));
            s.note("length 0", fate(s, new byte[4]));
            s.note("length 1", fate(s, new byte[] {0, 0, 0, 1, 0}));
            s.note("rubbish", fate(s, "GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n".getBytes()));
            s.note("a TLS greeting", fate(s, HexFormat.of().parseHex("16030100a5010000a10303" + "00".repeat(160))));
        });
    }

    static void order(Compare c) {
        c.add("Frames/pipelined requests are answered in order", s -> {
            var topic = s.create("f", 1);
            try {
                var all = new java.io.ByteArrayOutputStream();
                for (int n = 0; n < 60; n++) {
                    var message = switch (n % 6) {
                        case 0 -> Ask.metadata(9, topic);
                        case 1 -> Ask.produce(s, 9, topic, 0, Batch.of(1).bytes());
                        case 2 -> Ask.fetch(s, 11, topic, 0, n / 6).setMaxWaitMs(20);
                        case 3 -> Ask.listOffsets(topic, Ask.at(0, -1));
                        case 4 -> Ask.fetch(s, 11, topic, 0, n / 6 + 1).setMaxWaitMs(20).setMinBytes(100_000);
                        default -> new ApiVersionsRequestData();
                    };
                    var key = ApiKeys.forId(message.apiKey());
                    int v = switch (n % 6) { case 0, 1 -> 9; case 2, 4 -> 11; case 3 -> 5; default -> 0; };
                    all.writeBytes(Wire.framed(Wire.request(key, v, 100 + n, message)));
                }
                s.wire().send(all.toByteArray());
                var got = new ArrayList<Integer>();
                for (int n = 0; n < 60; n++) { var frame = s.wire().receive(); if (frame == null) break; got.add(ByteBuffer.wrap(frame).getInt() - 100); }
                s.note("order", got);
            } catch (IOException e) { s.note("order", e.toString()); }
            s.hangUp();
            s.bounds("log", topic, 0);
        });
        c.add("Frames/acks 0 among others", s -> {
            var topic = s.create("f", 1);
            try {
                var all = new java.io.ByteArrayOutputStream();
                for (int n = 0; n < 20; n++) all.writeBytes(Wire.framed(Wire.request(ApiKeys.PRODUCE, 9, n, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes()).setAcks((short) (n % 2 == 0 ? 0 : -1)))));
                s.wire().send(all.toByteArray());
                var got = new ArrayList<Integer>();
                for (int n = 0; n < 10; n++) { var frame = s.wire().receive(); if (frame == null) break; got.add(ByteBuffer.wrap(frame).getInt()); }
                s.note("answers", got);
            } catch (IOException e) { s.note("answers", e.toString()); }
            s.bounds("log", topic, 0);
        });
        c.add("Frames/half-closed after sending", s -> {
            var topic = s.create("f", 1);
            try {
                s.wire().send(Wire.framed(Wire.request(ApiKeys.PRODUCE, 9, 1, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes()).setAcks((short) 0))));
                s.wire().socket.shutdownOutput();
                s.note("then", s.wire().receive() == null ? "closed" : "an answer");
            } catch (IOException e) { s.note("then", "closed"); }
            s.hangUp();
            Side.until("the record is kept", () -> s.offset(topic, 0, -1) == 1);
        });
        c.add("Frames/byte by byte", s -> {
            var topic = s.create("f", 1);
            try {
                for (byte b : Wire.framed(Wire.request(ApiKeys.PRODUCE, 9, 77, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes())))) { s.wire().send(new byte[] {b}); Thread.sleep(1); }
                var frame = s.wire().receive();
                s.write("answer", frame == null ? answered("closed") : Side.parse(ApiKeys.PRODUCE, (short) 9, frame));
            } catch (Exception e) { s.note("answer", e.toString()); }
        });
    }
}
