import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;

/** Produce and InitProducerId: what is stored, what is refused, what idempotence promises. */
final class ProduceCases {
    static void add(Compare c) {
        stored(c);
        targets(c);
        malformed(c);
        topicRules(c);
        idempotence(c);
        producerIds(c);
    }

    static void say(Side s, int v, String label, String topic, Batch... batches) { s.say(label, v, Ask.produce(s, v, topic, 0, Batch.join(batches))); }

    /** Everything in partition 0, batch by batch. */
    static void shown(Side s, String label, String topic) { s.say(label, 12, Ask.fetch(s, 12, topic, 0, 0)); }

    static void stored(Compare c) {
        c.add("Produce/stored as sent", s -> s.versions(ApiKeys.PRODUCE, v -> {
            var topic = s.create("p" + v, 1);
            say(s, v, "one record", topic, Batch.of(1));
            say(s, v, "three records", topic, Batch.of(3));
            var odd = new Batch().add(5, null, null).add(3, "", "").add(9, "k", "v", Batch.header("h", "1"), Batch.header("h", ""), Batch.header("", null));
            say(s, v, "nulls, empties, headers, times out of order", topic, odd);
            say(s, v, "base offset is the broker's", topic, Batch.of(2).baseOffset(1234));
            say(s, v, "leader epoch is the broker's", topic, leaderEpoch(Batch.of(2), 77));
            say(s, v, "negative timestamp", topic, new Batch().add(-1, "k", "v"));
            shown(s, "log after v" + v, topic);
        }));
        c.add("Produce/codecs", s -> s.versions(ApiKeys.PRODUCE, v -> {
            var topic = s.create("p" + v, 1);
            for (int codec = 0; codec <= 7; codec++) say(s, v, "codec " + codec, topic, Batch.of(5).codec(codec));
            shown(s, "log after v" + v, topic);
        }));
        c.add("Produce/acks", s -> s.versions(ApiKeys.PRODUCE, v -> {
            var topic = s.create("p" + v, 1);
            for (int acks : new int[] {1, -1, 2, -2, 127}) {
                var request = Ask.produce(s, v, topic, 0, Batch.of(1).bytes()).setAcks((short) acks);
                s.say("acks " + acks, v, request);
            }
            s.sayAcksZero("acks 0", v, Ask.produce(s, v, topic, 0, Batch.of(1).bytes()).setAcks((short) 0));
            // Nobody waits for that one, so it may take a moment.
            Side.until("the record of acks 0", () -> s.offset(topic, 0, -1) == 3);
            // An error cannot be answered: the broker hangs up.
            s.sayAcksZero("acks 0, unknown partition", v, Ask.produce(s, v, topic, 9, Batch.of(1).bytes()).setAcks((short) 0));
            s.hangUp();
            s.sayAcksZero("acks 0, bad checksum", v, Ask.produce(s, v, topic, 0, Batch.of(1).crc(1).bytes()).setAcks((short) 0));
            s.hangUp();
            s.bounds("nothing more after v" + v, topic, 0);
        }));
        c.add("Produce/time-outs", s -> {
            var topic = s.create("p", 1);
            for (int timeout : new int[] {0, 1, -1, Integer.MAX_VALUE}) s.say("timeout " + timeout, 9, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes()).setTimeoutMs(timeout));
        });
    }

    static Batch leaderEpoch(Batch batch, int epoch) { batch.leaderEpoch = epoch; return batch; }

    static void targets(Compare c) {
        c.add("Produce/where to", s -> {
            var topic = s.create("p", 3);
            s.versions(ApiKeys.PRODUCE, v -> {
                var unknown = s.topic("unknown");
                var good = Batch.of(1).bytes();
                s.say("unknown partition", v, Ask.produce(s, v, topic, 3, good));
                s.say("negative partition", v, Ask.produce(s, v, topic, -1, good));
                if (v <= 12) {
                    s.say("unknown topic", v, Ask.produce(s, v, unknown, 0, good));
                    for (var bad : TopicCases.BAD_NAMES) s.say("bad name '" + (bad.length() > 20 ? "long" : bad) + "'", v, Ask.produce(s, v, bad, 0, good));
                } else {
                    var byId = Ask.topic(s, v, topic, Ask.part(0, good));
                    s.say("unknown id", v, Ask.produce(-1, byId.setTopicId(TopicCases.NOBODYS)));
                    s.say("zero id", v, Ask.produce(-1, Ask.topic(s, v, unknown, Ask.part(0, good))));
                }
                s.say("good and bad partitions", v, Ask.produce(-1, Ask.topic(s, v, topic, Ask.part(0, good), Ask.part(7, good), Ask.part(1, Batch.of(1).crc(5).bytes()), Ask.part(2, good))));
                if (v <= 12) s.say("good and bad topics", v, Ask.produce(-1, Ask.topic(s, v, topic, Ask.part(0, good)), Ask.topic(s, v, unknown, Ask.part(0, good), Ask.part(1, good))));
                s.say("no topics", v, Ask.produce(-1));
                s.say("no partitions", v, Ask.produce(-1, Ask.topic(s, v, topic)));
                s.say("the same partition twice", v, Ask.produce(-1, Ask.topic(s, v, topic, Ask.part(1, good), Ask.part(1, Batch.of(2).bytes()))));
                for (int p = 0; p < 3; p++) s.bounds("partition " + p + " after v" + v, topic, p);
            });
        });
        c.add("Produce/transactional id without a transaction", s -> {
            var topic = s.create("p", 1);
            s.say("transactional id, plain batch", 9, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes()).setTransactionalId(s.topic("txn")));
            s.bounds("log", topic, 0);
        });
    }

    static void malformed(Compare c) {
        c.add("Produce/malformed batches", s -> s.versions(ApiKeys.PRODUCE, v -> {
            var topic = s.create("p" + v, 1);
            s.normal.offsets = false;
            var three = Batch.of(3).bytes();
            say(s, v, "bad checksum", topic, Batch.of(2).crc(12345));
            s.say("no bytes", v, Ask.produce(s, v, topic, 0, new byte[0]));
            s.better("v" + v + " null records", () -> s.ask(v, Ask.produce(s, v, topic, 0, null)), "error 87", "error 2", "closed");
            say(s, v, "two batches", topic, Batch.of(1), Batch.of(1));
            s.say("cut short", v, Ask.produce(s, v, topic, 0, Arrays.copyOf(three, three.length - 5)));
            s.say("only a header's half", v, Ask.produce(s, v, topic, 0, Arrays.copyOf(three, 30)));
            s.say("eight bytes", v, Ask.produce(s, v, topic, 0, Arrays.copyOf(three, 8)));
            s.say("bytes behind the batch", v, Ask.produce(s, v, topic, 0, Wire.join(three, new byte[5])));
            s.say("zeroes behind the batch", v, Ask.produce(s, v, topic, 0, Wire.join(three, new byte[100])));
            say(s, v, "length too small", topic, Batch.of(3).length(50));
            say(s, v, "length below the header", topic, Batch.of(3).length(10));
            say(s, v, "length zero", topic, Batch.of(3).length(0));
            say(s, v, "length negative", topic, Batch.of(3).length(-1));
            say(s, v, "length too large", topic, Batch.of(3).length(10_000));
            say(s, v, "length 2 GiB", topic, Batch.of(3).length(Integer.MAX_VALUE));
            for (int magic : new int[] {3, 127, -1}) say(s, v, "magic " + magic, topic, Batch.of(1).magic(magic));
            for (int magic : new int[] {0, 1}) say(s, v, "magic " + magic + " on a v2 layout", topic, Batch.of(1).magic(magic));
            say(s, v, "count too large", topic, Batch.of(3).count(4));
            say(s, v, "count too small", topic, Batch.of(3).count(2));
            say(s, v, "count and delta too large", topic, Batch.of(3).count(4).lastDelta(3));
            say(s, v, "count and delta too small", topic, Batch.of(3).count(2).lastDelta(1));
            say(s, v, "count negative", topic, Batch.of(3).count(-1));
            say(s, v, "count 2 G", topic, Batch.of(3).count(Integer.MAX_VALUE).lastDelta(Integer.MAX_VALUE - 1));
            say(s, v, "last delta too large", topic, Batch.of(3).lastDelta(5));
            say(s, v, "last delta negative", topic, Batch.of(3).lastDelta(-1));
            say(s, v, "no records", topic, Batch.of(0).count(0).lastDelta(0).body(new byte[0]));
            say(s, v, "no records, delta -1", topic, Batch.of(0).count(0).lastDelta(-1).body(new byte[0]));
            say(s, v, "control batch", topic, Batch.of(1).attributes(0x20));
            say(s, v, "transactional without a producer", topic, Batch.of(1).attributes(0x10));
            say(s, v, "delete horizon bit", topic, Batch.of(1).attributes(0x40));
            say(s, v, "reserved attribute bits", topic, Batch.of(1).attributes(0x4000));
            say(s, v, "log append time from a producer", topic, Batch.of(1).attributes(0x08));
            s.normal.offsets = true;
            var other = s.create("q" + v, 1);
            say(s, v, "delete horizon bit, shown", other, Batch.of(1).attributes(0x40));
            say(s, v, "reserved attribute bits, shown", other, Batch.of(1).attributes(0x4000));
            say(s, v, "log append time from a producer, shown", other, Batch.of(1).attributes(0x08));
            say(s, v, "max timestamp wrong", other, Batch.of(2).maxTimestamp(7));
            shown(s, "log after v" + v, other);
        }));
        c.add("Produce/malformed records", s -> {
            var topic = s.create("p", 1);
            s.normal.offsets = false;
            for (int codec : new int[] {0, 1, 2, 3, 4}) {
                var squeezed = " (codec " + codec + ")";
                raw(s, topic, "record of wrong length" + squeezed, codec, "63 00 00 00 02 6b 02 76 00", 1);
                raw(s, topic, "record ends early" + squeezed, codec, "0e 00 00 00 02 6b 10 76 00", 1);
                raw(s, topic, "offset delta not in sequence" + squeezed, codec, "0e 00 00 04 02 6b 02 76 00", 1);
                raw(s, topic, "second offset delta repeats" + squeezed, codec, "0e 00 00 00 02 6b 02 76 00 0e 00 00 00 02 6b 02 76 00", 2);
                raw(s, topic, "key length -2" + squeezed, codec, "0e 00 00 00 03 6b 02 76 00", 1);
                raw(s, topic, "negative header count" + squeezed, codec, "0e 00 00 00 02 6b 02 76 01", 1);
                raw(s, topic, "header count beyond the bytes" + squeezed, codec, "0e 00 00 00 02 6b 02 76 7e", 1);
                raw(s, topic, "header key null" + squeezed, codec, "12 00 00 00 02 6b 02 76 02 01 01", 1);
                raw(s, topic, "bytes behind the records" + squeezed, codec, "0e 00 00 00 02 6b 02 76 00 00 00", 1);
                raw(s, topic, "record attributes set" + squeezed, codec, "0e 7f 00 00 02 6b 02 76 00", 1);
                raw(s, topic, "varint too long" + squeezed, codec, "ff ff ff ff ff ff 01 00 00", 1);
                raw(s, topic, "record length zero" + squeezed, codec, "00", 1);
                raw(s, topic, "record length negative" + squeezed, codec, "01 00 00 00", 1);
                raw(s, topic, "empty body" + squeezed, codec, "", 1);
            }
            for (int codec = 1; codec <= 4; codec++) {
                say(s, 9, "rubbish for codec " + codec, topic, Batch.of(3).codec(codec).body(new byte[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
                var cut = Batch.of(50, "some text that is long enough").codec(codec).encodedBody();
                say(s, 9, "half a stream for codec " + codec, topic, Batch.of(50).codec(codec).body(Arrays.copyOf(cut, cut.length / 2)));
                say(s, 9, "plain records called codec " + codec, topic, Batch.of(3).codec(codec).body(Batch.of(3).encodedBody()));
            }
        });
        c.add("Produce/old message formats", s -> {
            var topic = s.create("p", 1);
            for (byte magic : new byte[] {0, 1}) for (int v : new int[] {3, 7, 9, 12}) {
                var old = legacy(magic);
                s.say("message set of magic " + magic, v, Ask.produce(s, v, topic, 0, old));
            }
            s.bounds("log", topic, 0);
        });
    }

    static void raw(Side s, String topic, String label, int codec, String hex, int count) {
        var plain = hex.isEmpty() ? new byte[0] : HexFormat.ofDelimiter(" ").parseHex(hex);
        var batch = Batch.of(count).codec(codec).count(count).lastDelta(count - 1);
        say(s, 9, label, topic, batch.body(codec == 0 ? plain : squeeze(codec, plain)));
    }

    static byte[] squeeze(int codec, byte[] plain) {
        var target = new org.apache.kafka.common.utils.ByteBufferOutputStream(plain.length + 1024);
        try (var out = Compression.of(CompressionType.forId(codec)).build().wrapForOutput(target, (byte) 2)) { out.write(plain); } catch (java.io.IOException e) { throw new java.io.UncheckedIOException(e); }
        var buffer = target.buffer();
        buffer.flip();
        var bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static byte[] legacy(byte magic) {
        var buffer = ByteBuffer.allocate(500);
        try (var builder = MemoryRecords.builder(buffer, magic, Compression.NONE, TimestampType.CREATE_TIME, 0)) {
            builder.append(magic == 0 ? RecordBatch.NO_TIMESTAMP : Batch.T0, "k".getBytes(), "v".getBytes());
            var records = builder.build();
            var bytes = new byte[records.sizeInBytes()];
            records.buffer().get(bytes);
            return bytes;
        }
    }

    static void topicRules(Compare c) {
        c.add("Produce/size limits", s -> {
            var topic = s.create("small", 1, "max.message.bytes", "1000");
            s.versions(ApiKeys.PRODUCE, v -> {
                int fits = 1000 - Batch.of(0).add(Batch.T0, "k", "").bytes().length;
                for (int more : new int[] {-2, -1, 0, 1, 500}) {
                    var batch = new Batch().add(Batch.T0, "k", "x".repeat(fits - 2 + more));
                    s.say("a batch of " + (batch.bytes().length - 1000) + " against the limit", v, Ask.produce(s, v, topic, 0, batch.bytes()));
                }
                say(s, v, "large but squeezed below the limit", topic, new Batch().add(Batch.T0, "k", "x".repeat(5000)).codec(1));
                s.bounds("log after v" + v, topic, 0);
            });
            var normal = s.create("normal", 1);
            say(s, 9, "1 MiB and more", normal, new Batch().add(Batch.T0, "k", "x".repeat(1 << 20)));
            say(s, 9, "just below 1 MiB", normal, new Batch().add(Batch.T0, "k", "x".repeat((1 << 20) - 100)));
        });
        c.add("Produce/log append time", s -> s.versions(ApiKeys.PRODUCE, v -> {
            var topic = s.create("t" + v, 1, "message.timestamp.type", "LogAppendTime");
            say(s, v, "old records", topic, Batch.of(2));
            say(s, v, "compressed", topic, Batch.of(2).codec(3));
            say(s, v, "from the far future", topic, new Batch().add(9_000_000_000_000L, "k", "v"));
            shown(s, "log after v" + v, topic);
        }));
        c.add("Produce/timestamps out of bounds", s -> {
            var topic = s.create("t", 1, "message.timestamp.before.max.ms", "10000", "message.timestamp.after.max.ms", "10000");
            long now = System.currentTimeMillis();
            s.versions(ApiKeys.PRODUCE, v -> {
                say(s, v, "now", topic, new Batch().add(now, "k", "v"));
                say(s, v, "too old", topic, new Batch().add(now - 600_000, "k", "v"));
                say(s, v, "too new", topic, new Batch().add(now + 600_000, "k", "v"));
                say(s, v, "the second of three too old", topic, new Batch().add(now, "a", "v").add(now - 600_000, "b", "v").add(now, "c", "v"));
                say(s, v, "compressed, second and third too new", topic, new Batch().add(now, "a", "v").add(now + 600_000, "b", "v").add(now + 600_000, "c", "v").codec(1));
                say(s, v, "no timestamp", topic, new Batch().add(-1, "k", "v"));
                s.bounds("log after v" + v, topic, 0);
            });
            var normal = s.create("normal", 1);
            say(s, 9, "two hours ahead by default", normal, new Batch().add(now + 7_200_000, "k", "v"));
            say(s, 9, "epoch by default", normal, new Batch().add(0, "k", "v"));
        });
        c.add("Produce/compacted topics want keys", s -> {
            var topic = s.create("c", 1, "cleanup.policy", "compact");
            var both = s.create("cd", 1, "cleanup.policy", "compact,delete");
            s.versions(ApiKeys.PRODUCE, v -> {
                say(s, v, "with keys", topic, Batch.of(2));
                say(s, v, "empty key", topic, new Batch().add(Batch.T0, "", "v"));
                say(s, v, "no key", topic, new Batch().add(Batch.T0, null, "v"));
                say(s, v, "second and third without", topic, new Batch().add(Batch.T0, "a", "v").add(Batch.T0, null, "v").add(Batch.T0, null, "v"));
                say(s, v, "compressed, second without", both, new Batch().add(Batch.T0, "a", "v").add(Batch.T0, null, "v").codec(4));
                s.bounds("log after v" + v, topic, 0);
            });
        });
        c.add("Produce/compression.type of the topic", s -> {
            for (var wanted : List.of("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")) {
                s.normal.sizes = wanted.equals("producer") || wanted.equals("uncompressed");
                var topic = s.create(wanted, 1, "compression.type", wanted);
                for (int codec = 0; codec <= 4; codec++) say(s, 9, "codec " + codec + " to " + wanted, topic, Batch.of(20, "text text text text ").codec(codec));
                say(s, 9, "a producer's batch to " + wanted, topic, Batch.of(3).codec(3).producer(s.producerId(), 0, 0));
                shown(s, "log of " + wanted, topic);
            }
        });
        c.add("Produce/min.insync.replicas", s -> {
            var topic = s.create("m", 1, "min.insync.replicas", "2");
            for (int acks : new int[] {-1, 0, 1}) if (acks != 0) s.say("acks " + acks, 9, Ask.produce(s, 9, topic, 0, Batch.of(1).bytes()).setAcks((short) acks));
        });
    }

    static void idempotence(Compare c) {
        c.add("Produce/idempotence", s -> s.versions(ApiKeys.PRODUCE, v -> {
            var topic = s.create("i" + v, 1);
            long id = s.producerId();
            say(s, v, "first", topic, Batch.of(1).producer(id, 0, 0));
            say(s, v, "next three", topic, Batch.of(3).producer(id, 0, 1));
            say(s, v, "the three again", topic, Batch.of(3).producer(id, 0, 1));
            say(s, v, "the first again", topic, Batch.of(1).producer(id, 0, 0));
            say(s, v, "a gap", topic, Batch.of(1).producer(id, 0, 10));
            say(s, v, "after the gap", topic, Batch.of(1).producer(id, 0, 4));
            for (int n = 5; n < 10; n++) say(s, v, "sequence " + n, topic, Batch.of(1).producer(id, 0, n));
            say(s, v, "five back", topic, Batch.of(1).producer(id, 0, 5));
            say(s, v, "six back", topic, Batch.of(1).producer(id, 0, 4));
            say(s, v, "long ago", topic, Batch.of(1).producer(id, 0, 0));
            say(s, v, "part of an old batch", topic, Batch.of(2).producer(id, 0, 8));
            say(s, v, "overlapping the next", topic, Batch.of(3).producer(id, 0, 9));
            say(s, v, "new epoch not at zero", topic, Batch.of(1).producer(id, 1, 10));
            say(s, v, "new epoch", topic, Batch.of(1).producer(id, 1, 0));
            say(s, v, "old epoch", topic, Batch.of(1).producer(id, 0, 10));
            say(s, v, "old epoch's duplicate", topic, Batch.of(1).producer(id, 0, 9));
            say(s, v, "epoch far ahead", topic, Batch.of(1).producer(id, 30000, 0));
            say(s, v, "negative epoch", topic, Batch.of(1).producer(id, -1, 1));
            say(s, v, "negative sequence", topic, Batch.of(1).producer(id, 30000, -1));
            say(s, v, "negative sequence of many", topic, Batch.of(3).producer(id, 30000, -5));
            say(s, v, "sequence without a producer", topic, Batch.of(1).producer(-1, -1, 5));
            say(s, v, "epoch without a producer", topic, Batch.of(1).producer(-1, 5, -1));
            say(s, v, "two batches of a producer", topic, Batch.of(1).producer(id, 30000, 1), Batch.of(1).producer(id, 30000, 2));
            shown(s, "log after v" + v, topic);
        }));
        c.add("Produce/first sequence of an unknown producer", s -> {
            var topic = s.create("i", 1);
            say(s, 9, "any first sequence", topic, Batch.of(1).producer(s.producerId(), 0, 55));
            say(s, 9, "any first epoch", topic, Batch.of(1).producer(s.producerId(), 7, 0));
            say(s, 9, "any epoch and sequence", topic, Batch.of(1).producer(s.producerId(), 7, 20));
            say(s, 9, "an id nobody gave out", topic, Batch.of(1).producer(999_999_999L, 0, 0));
            shown(s, "log", topic);
        });
        c.add("Produce/sequences wrap around", s -> {
            var topic = s.create("i", 1);
            long id = s.producerId();
            say(s, 9, "up to the last", topic, Batch.of(1).producer(id, 0, Integer.MAX_VALUE));
            say(s, 9, "then zero", topic, Batch.of(1).producer(id, 0, 0));
            long other = s.producerId();
            say(s, 9, "across the end", topic, Batch.of(3).producer(other, 0, Integer.MAX_VALUE - 1));
            say(s, 9, "the same again", topic, Batch.of(3).producer(other, 0, Integer.MAX_VALUE - 1));
            say(s, 9, "then one", topic, Batch.of(1).producer(other, 0, 1));
            shown(s, "log", topic);
        });
        c.add("Produce/state after deleted records", s -> {
            var topic = s.create("i", 1);
            long id = s.producerId();
            say(s, 9, "some", topic, Batch.of(3).producer(id, 0, 0));
            s.say("deleted", 2, Ask.deleteRecords(topic, 0, -1));
            say(s, 9, "the same again", topic, Batch.of(3).producer(id, 0, 0));
            say(s, 9, "going on", topic, Batch.of(1).producer(id, 0, 3));
            say(s, 9, "a gap", topic, Batch.of(1).producer(id, 0, 9));
            s.bounds("log", topic, 0);
        });
        c.add("Produce/several producers in a partition", s -> {
            var topic = s.create("i", 1);
            var ids = new long[] {s.producerId(), s.producerId(), s.producerId()};
            for (int round = 0; round < 3; round++) for (long id : ids) say(s, 10, "round " + round, topic, Batch.of(2).producer(id, 0, round * 2));
            for (long id : ids) say(s, 10, "duplicate", topic, Batch.of(2).producer(id, 0, 2));
            shown(s, "log", topic);
            var parts = new DescribeProducersRequestData.TopicRequest().setName(topic).setPartitionIndexes(List.of(0));
            s.say("described", 0, new DescribeProducersRequestData().setTopics(List.of(parts)));
        });
        c.add("Produce/one request, one producer, several partitions", s -> {
            var topic = s.create("i", 3);
            long id = s.producerId();
            for (int round = 0; round < 2; round++)
                s.say("round " + round, 9, Ask.produce(-1, Ask.topic(s, 9, topic, Ask.part(0, Batch.of(1).producer(id, 0, round).bytes()), Ask.part(1, Batch.of(1).producer(id, 0, round).bytes()), Ask.part(2, Batch.of(1).producer(id, 0, round * 5).bytes()))));
        });
    }

    static void producerIds(Compare c) {
        c.add("InitProducerId", s -> s.versions(ApiKeys.INIT_PRODUCER_ID, v -> {
            s.producerId();
            var plain = new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000);
            s.say("a new one", v, plain);
            s.say("another", v, plain);
            s.say("timeout -1", v, plain.duplicate().setTransactionTimeoutMs(-1));
            s.say("timeout maximal", v, plain.duplicate().setTransactionTimeoutMs(Integer.MAX_VALUE));
            s.say("empty transactional id", v, plain.duplicate().setTransactionalId(""));
            if (v >= 3) {
                long id = s.producerId();
                s.say("with its own id", v, plain.duplicate().setProducerId(id).setProducerEpoch((short) 0));
                s.say("id without epoch", v, plain.duplicate().setProducerId(id));
                s.say("epoch without id", v, plain.duplicate().setProducerEpoch((short) 0));
                s.say("epoch at its end", v, plain.duplicate().setProducerId(id).setProducerEpoch(Short.MAX_VALUE));
            }
        }));
    }
}
