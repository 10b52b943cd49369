// Kafka's own message classes as the second opinion on ours.
//
//   java -cp CLASSPATH Frames.java write SEED VARIANTS SIZE FILE KEY...
//   java -cp CLASSPATH Frames.java check FILE
//
// `write` fills each message of the given API keys, at every stable version, VARIANTS times from SEED (arrays of up to
// SIZE elements), and writes the frames (header and body) to FILE. `check` reads frames that were written elsewhere, writes
// what it read, and fails unless the bytes are the same.
//
// An entry of FILE, big-endian: int16 API key, int16 version, int8 kind, int32 length, frame. The kinds: 0 a request, 1 a
// response, 2 and 3 the same as the entry before it but with tagged fields nobody knows, 4 (key −1) the table of error codes,
// 5 and 6 the CRC-32C of the schema of a request and of a response, as text.

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.ByteArrayOutputStream;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageSizeAccumulator;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class Frames {
    /** Whether no field is left out, null or empty. */
    static boolean full;

    static final int REQUEST = 0, RESPONSE = 1, UNKNOWN_TAGS = 2, ERRORS = 4, SCHEMAS = 5;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("write")) {
            List<Short> keys = new ArrayList<>();
            for (int i = 5; i < args.length; i++) keys.add(Short.parseShort(args[i]));
            writeAll(Long.parseLong(args[1]), Integer.parseInt(args[2]), Integer.parseInt(args[3]), Path.of(args[4]), keys);
        } else {
            checkAll(Path.of(args[1]));
        }
    }

    static void writeAll(long seed, int variants, int size, Path file, List<Short> keys) throws Exception {
        try (DataOutputStream out = new DataOutputStream(Files.newOutputStream(file))) {
            ByteArrayOutputStream whole = new ByteArrayOutputStream();
            DataOutputStream entries = new DataOutputStream(whole);
            entry(entries, -1, 0, ERRORS, errors());
            for (short key : keys) {
                ApiMessageType type = ApiMessageType.fromApiKey(key);
                for (short v = type.lowestSupportedVersion(); v <= type.highestSupportedVersion(false); v++) {
                    for (int kind = REQUEST; kind <= RESPONSE; kind++) {
                        String text = schema((kind == REQUEST ? type.requestSchemas() : type.responseSchemas())[v]);
                        entry(entries, key, v, SCHEMAS + kind, crc(text));
                        for (int variant = 0; variant < variants; variant++) {
                            Random random = new Random(((seed * 1009 + key) * 1009 + v) * 1009 + kind * 503 + variant);
                            writeOne(entries, type, v, kind, variant, size, random);
                        }
                    }
                }
            }
            out.write(whole.toByteArray());
        }
    }

    static void writeOne(DataOutputStream out, ApiMessageType type, short version, int kind, int variant, int size, Random random)
            throws Exception {
        boolean request = kind == REQUEST;
        Message message = request ? type.newRequest() : type.newResponse();
        Schema schema = (request ? type.requestSchemas() : type.responseSchemas())[version];
        // The first is all defaults; the second has everything at least once.
        full = variant == 1;
        if (variant > 0) fill(message, schema, size, random);
        String client = new String[] {null, "", "client"}[random.nextInt(3)];
        int correlation = random.nextInt();
        byte[] frame = frame(type, version, request, correlation, client, message, null);
        entry(out, type.apiKey(), version, kind, frame);
        boolean flexible = type.requestHeaderVersion(version) >= 2;
        if (flexible && variant == 1) {
            addUnknownTags(message, random);
            entry(out, type.apiKey(), version, kind + UNKNOWN_TAGS,
                frame(type, version, request, correlation, client, message, random));
        }
    }

    static void entry(DataOutputStream out, int key, int version, int kind, byte[] bytes) throws Exception {
        out.writeShort(key);
        out.writeShort(version);
        out.writeByte(kind);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    static byte[] frame(ApiMessageType type, short version, boolean request, int correlation, String client, Message body, Random tags)
            throws Exception {
        Message header;
        short headerVersion;
        if (request) {
            header = new RequestHeaderData().setRequestApiKey(type.apiKey()).setRequestApiVersion(version)
                .setCorrelationId(correlation).setClientId(client);
            headerVersion = type.requestHeaderVersion(version);
        } else {
            header = new ResponseHeaderData().setCorrelationId(correlation);
            headerVersion = type.responseHeaderVersion(version);
        }
        if (tags != null && headerVersion >= (request ? 2 : 1)) addUnknownTags(header, tags);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes(header, headerVersion));
        out.write(bytes(body, version));
        return out.toByteArray();
    }

    static byte[] bytes(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        MessageSizeAccumulator size = new MessageSizeAccumulator();
        message.addSize(size, cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(size.totalSize());
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) throw new IllegalStateException("size and write differ");
        return buffer.array();
    }

    /** Sets every field that the schema of one version has. */
    static void fill(Object message, Schema schema, int size, Random random) throws Exception {
        for (BoundField field : schema.fields()) {
            if (field.def.type instanceof TaggedFields tagged) {
                for (var known : tagged.fields().values()) {
                    // A tagged field at its default is absent.
                    if (full || random.nextInt(4) > 0) set(message, known.name, known.type, size, random);
                }
            } else {
                set(message, field.def.name, field.def.type, size, random);
            }
        }
    }

    static void set(Object message, String name, Type type, int size, Random random) throws Exception {
        Method setter = setter(message.getClass(), name);
        setter.invoke(message, value(setter, type, size, random));
    }

    static Method setter(Class<?> owner, String field) {
        String wanted = "set" + field.replace("_", "");
        for (Method method : owner.getMethods()) {
            if (method.getName().equalsIgnoreCase(wanted)) return method;
        }
        throw new IllegalStateException(owner + " has no " + wanted);
    }

    static Object value(Method setter, Type type, int size, Random random) throws Exception {
        Class<?> target = setter.getParameterTypes()[0];
        if (!full && type.isNullable() && random.nextInt(4) == 0) return null;
        if (type.isArray()) return array(setter, target, type.arrayElementType().get(), size, random);
        if (type instanceof Schema schema) return struct(target, schema, size, random);
        if (target == ByteBuffer.class) return ByteBuffer.wrap(blob(random, size));
        return scalar(target, type, size, random);
    }

    static Object struct(Class<?> target, Schema schema, int size, Random random) throws Exception {
        Object struct = target.getDeclaredConstructor().newInstance();
        fill(struct, schema, size, random);
        return struct;
    }

    @SuppressWarnings("unchecked")
    static Object array(Method setter, Class<?> target, Type element, int size, Random random) throws Exception {
        Collection<Object> elements;
        java.lang.reflect.Type parameter;
        if (target == List.class) {
            elements = new ArrayList<>();
            parameter = ((ParameterizedType) setter.getGenericParameterTypes()[0]).getActualTypeArguments()[0];
        } else {
            elements = (Collection<Object>) target.getDeclaredConstructor().newInstance();
            parameter = ((ParameterizedType) target.getGenericSuperclass()).getActualTypeArguments()[0];
        }
        int count = count(size, random);
        for (int i = 0; i < count; i++) {
            elements.add(element(parameter, element, size, random));
        }
        return elements;
    }

    static int count(int size, Random random) {
        return full ? 1 : random.nextInt(size + 1);
    }

    static Object element(java.lang.reflect.Type parameter, Type type, int size, Random random) throws Exception {
        if (type instanceof Schema schema) return struct((Class<?>) parameter, schema, size, random);
        if (type.isArray()) {
            List<Object> inner = new ArrayList<>();
            java.lang.reflect.Type of = ((ParameterizedType) parameter).getActualTypeArguments()[0];
            for (int i = count(size, random); i > 0; i--) {
                inner.add(element(of, type.arrayElementType().get(), size, random));
            }
            return inner;
        }
        return scalar((Class<?>) parameter, type, size, random);
    }

    static Object scalar(Class<?> target, Type type, int size, Random random) {
        if (target == String.class) return text(random, size);
        if (target == byte[].class) return blob(random, size);
        if (target == Uuid.class) return new Uuid(number(random), number(random));
        if (target == boolean.class || target == Boolean.class) return random.nextBoolean();
        if (target == double.class) return random.nextGaussian();
        if (org.apache.kafka.common.record.internal.BaseRecords.class.isAssignableFrom(target)) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(blob(random, size)));
        }
        long number = number(random);
        if (type == Type.UINT16) return (int) number & 0xffff;
        if (target == byte.class || target == Byte.class) return (byte) number;
        if (target == short.class || target == Short.class) return (short) number;
        if (target == int.class || target == Integer.class) return (int) number;
        if (target == long.class || target == Long.class) return number;
        throw new IllegalStateException("no value for " + target + " as " + type);
    }

    static long number(Random random) {
        return switch (full ? 3 : random.nextInt(6)) {
            case 0 -> 0;
            case 1 -> -1;
            case 2 -> random.nextInt(1000);
            default -> random.nextLong();
        };
    }

    static String text(Random random, int size) {
        return switch (random.nextInt(8)) {
            case 0 -> "";
            case 1 -> "é世🦀";
            // Long enough for a compact length of two bytes.
            case 2 -> size > 2 ? "x".repeat(120 + random.nextInt(300)) : "x";
            default -> Integer.toString(random.nextInt(Integer.MAX_VALUE), 36);
        };
    }

    static byte[] blob(Random random, int size) {
        byte[] bytes = new byte[random.nextInt(4) == 0 ? 0 : random.nextInt(size > 2 ? 300 : 20)];
        random.nextBytes(bytes);
        return bytes;
    }

    static void addUnknownTags(Message message, Random random) {
        for (int tag = 1000 + random.nextInt(1000), i = random.nextInt(3); i >= 0; i--, tag += 1 + random.nextInt(100_000)) {
            message.unknownTaggedFields().add(new RawTaggedField(tag, blob(random, 1)));
        }
    }

    /** A schema in the words that our own side uses. */
    static String schema(Type type) {
        String nullable = type.isNullable() ? "?" : "";
        if (type.isArray()) return nullable + "[" + schema(type.arrayElementType().get()) + "]";
        if (!(type instanceof Schema schema)) {
            String name = type.toString().toLowerCase().replace("compact_", "").replace("nullable_", "");
            return nullable + name;
        }
        List<String> fields = new ArrayList<>();
        for (BoundField field : schema.fields()) {
            if (field.def.type instanceof TaggedFields tagged) {
                tagged.fields().forEach((tag, known) -> fields.add(known.name + "@" + tag + ":" + schema(known.type)));
            } else {
                fields.add(field.def.name + ":" + schema(field.def.type));
            }
        }
        return nullable + "{" + String.join(",", fields) + "}";
    }

    static byte[] crc(String text) {
        if (System.getenv("SCHEMAS") != null) System.out.println(text);
        java.util.zip.CRC32C crc = new java.util.zip.CRC32C();
        crc.update(text.getBytes(StandardCharsets.UTF_8));
        return ByteBuffer.allocate(4).putInt((int) crc.getValue()).array();
    }

    static byte[] errors() throws Exception {
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(whole);
        for (Errors error : Arrays.stream(Errors.values()).sorted((a, b) -> a.code() - b.code()).toList()) {
            out.writeShort(error.code());
            out.writeBoolean(error.exception() instanceof RetriableException);
            byte[] name = error.name().getBytes(StandardCharsets.UTF_8);
            out.writeByte(name.length);
            out.write(name);
        }
        return whole.toByteArray();
    }

    static void checkAll(Path file) throws Exception {
        int count = 0, failures = 0;
        try (DataInputStream in = new DataInputStream(new java.io.BufferedInputStream(Files.newInputStream(file)))) {
            while (in.available() > 0) {
                ApiMessageType type = ApiMessageType.fromApiKey(in.readShort());
                short version = in.readShort();
                boolean request = in.readByte() == REQUEST;
                byte[] frame = in.readNBytes(in.readInt());
                count++;
                String wrong = check(type, version, request, frame);
                if (wrong != null && failures++ < 20) {
                    System.err.printf("%s v%d %s: %s%n  %s%n", type.name, version, request ? "request" : "response", wrong,
                        java.util.HexFormat.of().formatHex(frame));
                }
            }
        }
        System.out.printf("%d frames read and written by Kafka's classes, %d differ%n", count, failures);
        if (failures > 0 || count == 0) System.exit(1);
    }

    static String check(ApiMessageType type, short version, boolean request, byte[] frame) {
        try {
            ByteBuffer buffer = ByteBuffer.wrap(frame);
            ByteBufferAccessor in = new ByteBufferAccessor(buffer);
            short headerVersion = request ? type.requestHeaderVersion(version) : type.responseHeaderVersion(version);
            Message header = request ? new RequestHeaderData(in, headerVersion) : new ResponseHeaderData(in, headerVersion);
            ApiMessage body = request ? type.newRequest() : type.newResponse();
            body.read(in, version);
            if (buffer.hasRemaining()) return buffer.remaining() + " bytes are left";
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            out.write(bytes(header, headerVersion));
            out.write(bytes(body, version));
            return Arrays.equals(out.toByteArray(), frame) ? null
                : "writes " + java.util.HexFormat.of().formatHex(out.toByteArray());
        } catch (Exception e) {
            return e.toString();
        }
    }
}
