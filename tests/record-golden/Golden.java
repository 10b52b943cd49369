// Kafka's own classes as oracle for record batches.
//   java -cp <kafka-clients and its dependencies> Golden.java write DIR   writes one batch a file, NAME.bin, and NAME.txt
//   java -cp <the same> Golden.java read FILE                             prints the batches in FILE as NAME.txt would be
//   java -cp <the same> Golden.java lz4 FILE                              prints size and CRC-32C of FILE's frame at each level of lz4
// A line: offset timestamp key value [header=value]...; bytes in hex, `-` for null, `.` for empty.
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.apache.kafka.common.utils.Crc32C;

public class Golden {
    static final long NOW = 1700000000000L;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("read")) {
            System.out.print(text(MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(Path.of(args[1]))))));
            return;
        }
        if (args[0].equals("lz4")) {
            lz4(Files.readAllBytes(Path.of(args[1])));
            return;
        }
        Path dir = Path.of(args[1]);
        Object[][] codecs = {{"none", Compression.NONE}, {"gzip", Compression.gzip().build()}, {"snappy", Compression.snappy().build()},
            {"lz4", Compression.lz4().build()}, {"zstd", Compression.zstd().build()}};
        for (Object[] codec : codecs) {
            Compression compression = (Compression) codec[1];
            save(dir, codec[0] + "", mixed(builder(compression, TimestampType.CREATE_TIME, 0, -1L, (short) -1, -1, false, false)));
            if (compression != Compression.NONE) {
                MemoryRecordsBuilder large = builder(compression, TimestampType.CREATE_TIME, 0, -1L, (short) -1, -1, false, false);
                for (int i = 0; i < 400; i++)
                    large.append(NOW + i, null, ("line " + i % 10 + " of a text that repeats itself. ").repeat(12).getBytes(StandardCharsets.UTF_8));
                save(dir, codec[0] + "-large", large);
            }
        }
        save(dir, "idempotent", mixed(builder(Compression.NONE, TimestampType.CREATE_TIME, 0, 4711L, (short) 3, Integer.MAX_VALUE - 1, false, false)));
        save(dir, "transactional", mixed(builder(Compression.lz4().build(), TimestampType.CREATE_TIME, 0, 4711L, (short) 3, 17, true, false)));
        save(dir, "append-time", mixed(builder(Compression.NONE, TimestampType.LOG_APPEND_TIME, 0, -1L, (short) -1, -1, false, false)));
        MemoryRecordsBuilder gaps = builder(Compression.NONE, TimestampType.CREATE_TIME, 1000, -1L, (short) -1, -1, false, false);
        for (long offset : new long[] {1000, 1003, 1004, 1700})
            gaps.appendWithOffset(offset, NOW + offset, "k".getBytes(), null);
        save(dir, "compacted", gaps);
        MemoryRecords marker = MemoryRecords.withEndTransactionMarker(900, NOW, 5, 4711L, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 12));
        save(dir, "marker", marker);
    }

    static void lz4(byte[] bytes) throws Exception {
        for (int level = 1; level <= 17; level++) {
            ByteBufferOutputStream out = new ByteBufferOutputStream(1 << 20);
            try (OutputStream frame = Compression.lz4().level(level).build().wrapForOutput(out, RecordBatch.MAGIC_VALUE_V2)) {
                frame.write(bytes);
            }
            ByteBuffer frame = out.buffer().flip();
            System.out.println(level + " " + frame.remaining() + " " + Crc32C.compute(frame, 0, frame.remaining()));
        }
    }

    static MemoryRecordsBuilder builder(Compression c, TimestampType type, long base, long pid, short epoch, int sequence, boolean txn, boolean control) {
        return new MemoryRecordsBuilder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, c, type, base, NOW + 77, pid, epoch, sequence, txn, control, 7, 1 << 20);
    }

    static MemoryRecordsBuilder mixed(MemoryRecordsBuilder b) {
        byte[] text = "some text ".repeat(20).getBytes(StandardCharsets.UTF_8);
        b.append(NOW, "key".getBytes(), "value".getBytes());
        b.append(NOW - 5000, (byte[]) null, text);
        b.append(NOW + 5000, new byte[0], null);
        b.append(NOW + 5000, "k".getBytes(), new byte[0], new Header[] {new RecordHeader("h", null), new RecordHeader("", new byte[0]), new RecordHeader("größe", text)});
        b.append(NOW + 4999, (byte[]) null, (byte[]) null, new Header[] {new RecordHeader("h", "1".getBytes()), new RecordHeader("h", "2".getBytes())});
        return b;
    }

    static void save(Path dir, String name, MemoryRecordsBuilder b) throws Exception { save(dir, name, b.build()); }

    static void save(Path dir, String name, MemoryRecords records) throws Exception {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        Files.write(dir.resolve(name + ".bin"), bytes);
        if (!name.endsWith("-large")) Files.writeString(dir.resolve(name + ".txt"), text(records));
    }

    static String text(MemoryRecords records) {
        StringBuilder out = new StringBuilder();
        for (RecordBatch batch : records.batches()) {
            batch.ensureValid();
            out.append("batch base=%d last=%d epoch=%d codec=%s type=%s transactional=%s control=%s producer=%d/%d sequence=%d..%d count=%d max=%d\n".formatted(
                batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(), batch.compressionType().name, batch.timestampType(),
                batch.isTransactional(), batch.isControlBatch(), batch.producerId(), batch.producerEpoch(), batch.baseSequence(), batch.lastSequence(),
                batch.countOrNull(), batch.maxTimestamp()));
            for (org.apache.kafka.common.record.internal.Record record : batch) {
                out.append(record.offset()).append(' ').append(record.timestamp()).append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
                for (Header h : record.headers())
                    out.append(' ').append(hex(ByteBuffer.wrap(h.key().getBytes(StandardCharsets.UTF_8)))).append('=').append(h.value() == null ? "-" : hex(ByteBuffer.wrap(h.value())));
                out.append('\n');
            }
        }
        return out.toString();
    }

    static String hex(ByteBuffer b) {
        if (b == null) return "-";
        byte[] bytes = new byte[b.remaining()];
        b.duplicate().get(bytes);
        return bytes.length == 0 ? "." : HexFormat.of().formatHex(bytes);
    }
}
