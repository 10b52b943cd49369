import java.io.*;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.*;

/** A record batch (v2) with every field to be set wrong if a case wants it, and the reading of batches into text. */
final class Batch {
    static final long T0 = 1_600_000_000_000L;

    long baseOffset = 0;
    int leaderEpoch = -1;
    int magic = 2;
    int codec = 0;
    int attributes = 0;
    long producerId = -1;
    int epoch = -1;
    int sequence = -1;
    Long baseTimestamp, maxTimestamp, crc;
    Integer count, lastDelta, length;
    byte[] body;
    final List<SimpleRecord> records = new ArrayList<>();

    static Batch of(int count) { return of(count, "v"); }

    static Batch of(int count, String value) {
        var batch = new Batch();
        for (int n = 0; n < count; n++) batch.add(T0 + n, "k" + n, value + n);
        return batch;
    }

    Batch add(long timestamp, String key, String value, Header... headers) {
        records.add(new SimpleRecord(timestamp, key == null ? null : key.getBytes(), value == null ? null : value.getBytes(), headers));
        return this;
    }

    Batch codec(int codec) { this.codec = codec; return this; }
    Batch attributes(int bits) { this.attributes = bits; return this; }
    Batch magic(int magic) { this.magic = magic; return this; }
    Batch producer(long id, int epoch, int sequence) { this.producerId = id; this.epoch = epoch; this.sequence = sequence; return this; }
    Batch baseOffset(long offset) { this.baseOffset = offset; return this; }
    Batch count(int count) { this.count = count; return this; }
    Batch lastDelta(int delta) { this.lastDelta = delta; return this; }
    Batch length(int length) { this.length = length; return this; }
    Batch crc(long crc) { this.crc = crc; return this; }
    Batch maxTimestamp(long at) { this.maxTimestamp = at; return this; }
    Batch body(byte[] body) { this.body = body; return this; }

    /** The records as they lie in the batch, compressed as its codec says. */
    byte[] encodedBody() {
        if (body != null) return body;
        try {
            long base = base();
            var plain = new ByteArrayOutputStream();
            var data = new DataOutputStream(plain);
            int delta = 0;
            for (var r : records) DefaultRecord.writeTo(data, delta++, r.timestamp() - base, r.key(), r.value(), r.headers());
            if (codec == 0 || codec > 4) return plain.toByteArray();
            var target = new ByteBufferOutputStream(plain.size() + 1024);
            try (var squeeze = Compression.of(CompressionType.forId(codec)).build().wrapForOutput(target, (byte) 2)) { squeeze.write(plain.toByteArray()); }
            var buffer = target.buffer();
            buffer.flip();
            var bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            return bytes;
        } catch (IOException e) { throw new UncheckedIOException(e); }
    }

    long base() { return baseTimestamp != null ? baseTimestamp : records.isEmpty() ? T0 : records.get(0).timestamp(); }

    byte[] bytes() {
        var body = encodedBody();
        var out = ByteBuffer.allocate(61 + body.length);
        long max = records.stream().mapToLong(SimpleRecord::timestamp).max().orElse(base());
        out.putLong(baseOffset).putInt(length != null ? length : 49 + body.length).putInt(leaderEpoch).put((byte) magic).putInt(0);
        out.putShort((short) (codec | attributes)).putInt(lastDelta != null ? lastDelta : records.size() - 1).putLong(base());
        out.putLong(maxTimestamp != null ? maxTimestamp : max).putLong(producerId).putShort((short) epoch).putInt(sequence);
        out.putInt(count != null ? count : records.size()).put(body);
        long sum = Crc32C.compute(out.array(), 21, out.capacity() - 21);
        out.putInt(17, (int) (crc != null ? crc : sum));
        return out.array();
    }

    MemoryRecords records() { return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes())); }

    static Header header(String key, String value) { return new RecordHeader(key, value == null ? null : value.getBytes()); }

    static byte[] join(Batch... batches) {
        var all = new ByteArrayOutputStream();
        for (var batch : batches) all.writeBytes(batch.bytes());
        return all.toByteArray();
    }

    /** Whole batches as text, one entry a batch; a partial one at the end is cut off as clients do. */
    static List<String> describe(BaseRecords records, Normal normal) {
        var found = new ArrayList<String>();
        if (records == null) return null;
        for (var batch : ((MemoryRecords) records).batches()) {
            var text = new StringBuilder();
            text.append(batch.baseOffset()).append("..").append(batch.lastOffset()).append(" epoch ").append(batch.partitionLeaderEpoch());
            text.append(" magic ").append(batch.magic()).append(' ').append(batch.compressionType().name).append(' ').append(batch.timestampType());
            text.append(" max ").append(normal.time(batch.maxTimestamp()));
            if (batch.producerId() >= 0) text.append(" producer ").append(normal.producer(batch.producerId())).append('/').append(batch.producerEpoch()).append('/').append(batch.baseSequence());
            if (batch.isTransactional()) text.append(" transactional");
            if (batch.isControlBatch()) text.append(" control");
            if (normal.sizes) text.append(" size ").append(batch.sizeInBytes());
            text.append(batch.isValid() ? " crc good" : " crc BAD");
            try {
                int shown = 0;
                for (var r : batch) {
                    if (shown++ == 12) { text.append(" …"); break; }
                    text.append(" [").append(r.offset()).append('@').append(normal.time(r.timestamp())).append(' ').append(show(r.hasKey() ? r.key() : null)).append('=').append(show(r.hasValue() ? r.value() : null));
                    for (var h : r.headers()) text.append(' ').append(h.key()).append(':').append(h.value() == null ? "null" : new String(h.value()));
                    text.append(']');
                }
            } catch (RuntimeException e) { text.append(" UNREADABLE ").append(e.getClass().getSimpleName()); }
            found.add(text.toString());
        }
        return found;
    }

    static String show(ByteBuffer bytes) {
        if (bytes == null) return "null";
        var text = Utils.utf8(bytes.duplicate());
        return text.length() <= 20 ? text : text.substring(0, 20) + "…" + text.length();
    }
}
