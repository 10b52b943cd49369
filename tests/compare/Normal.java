import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.*;
import java.util.*;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.protocol.ApiMessage;

/** Takes out of an answer what must differ between two brokers: ports, ids, times, names with this run's tag, orders nobody promised. */
final class Normal {
    static final long HOUR = 3_600_000;
    /** The APIs that are compared; a broker may have more. */
    static final Set<Integer> OURS = Set.of(0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 32, 33, 34, 35, 37, 42, 44, 45, 46, 47, 55, 60, 61, 65, 66, 68, 69, 74, 75);

    /** Keys that only the other broker has. */
    static final Set<String> OWN_KEYS = Set.of("write.caching");

    final String tag;
    final int port;
    /** Only entries about this scenario's own topics are kept in answers that list everything. */
    String mine;
    boolean sizes = true;
    /** Whether the offsets that Produce answers matter: not where one side may have taken what the other refused. */
    boolean offsets = true;
    /** The broker's log directories, in order of their names. */
    List<String> dirs = List.of();
    final Map<String, String> ids = new HashMap<>();
    final Map<Long, String> producers = new HashMap<>();
    final Map<String, String> members = new HashMap<>();
    final Map<Integer, String> sessions = new HashMap<>();
    /** Error texts, kept apart: their wording is compared separately. */
    final List<String> words = new ArrayList<>();

    Normal(String tag, int port) { this.tag = tag; this.port = port; }

    void id(String id, String name) { ids.put(id, "ID(" + text(name) + ")"); }

    String time(long at) { return Math.abs(at - System.currentTimeMillis()) < HOUR ? "NOW" : Long.toString(at); }

    String producer(long id) { return id < 0 ? Long.toString(id) : producers.computeIfAbsent(id, x -> "P" + producers.size()); }

    /** Member ids as brokers make them for the classic protocol: the client's id or the instance's name, and a UUID. */
    static final java.util.regex.Pattern MEMBER = java.util.regex.Pattern.compile("-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");

    String text(String raw) {
        var text = raw.replace(tag, "T").replace(":" + port, ":PORT");
        for (var dir : dirs) text = text.replace(dir, "DIR" + dirs.indexOf(dir));
        for (var id : ids.entrySet()) text = text.replace(id.getKey(), id.getValue());
        return MEMBER.matcher(text).replaceAll(found -> "-" + members.computeIfAbsent(found.group(), x -> "UUID" + members.size()));
    }

    /** A member's id that is a bare UUID, as the consumer protocol's are. */
    void member(String id, String name) { ids.put(id, "MEMBER(" + name + ")"); }

    JsonNode of(ApiMessage message, short version) throws Exception {
        var json = toJson(message, version);
        if (message instanceof FetchResponseData fetch) records(fetch, (ObjectNode) json);
        words.clear();
        var cleaned = clean(null, json);
        Collections.sort(words);
        return cleaned;
    }

    static JsonNode toJson(ApiMessage message, short version) throws Exception {
        var converter = Class.forName(message.getClass().getName() + "JsonConverter");
        try {
            if (message instanceof FetchResponseData) return (JsonNode) converter.getMethod("write", message.getClass(), short.class, boolean.class).invoke(null, message, version, false);
            return (JsonNode) converter.getMethod("write", message.getClass(), short.class).invoke(null, message, version);
        } catch (java.lang.reflect.InvocationTargetException e) { throw (Exception) e.getCause(); }
    }

    private void records(FetchResponseData fetch, ObjectNode json) {
        for (int t = 0; t < fetch.responses().size(); t++) {
            var partitions = fetch.responses().get(t).partitions();
            for (int p = 0; p < partitions.size(); p++) {
                var node = (ObjectNode) json.get("responses").get(t).get("partitions").get(p);
                node.remove("recordsSizeInBytes");
                var found = Batch.describe(partitions.get(p).records(), this);
                if (found == null) node.putNull("records");
                else { var list = node.putArray("records"); for (int n = 0; n < found.size(); n++) list.add(found.get(n)); }
            }
        }
    }

    private JsonNode clean(String field, JsonNode node) {
        if (node instanceof ObjectNode object) return cleanObject(object);
        if (node instanceof ArrayNode array) return cleanArray(field, array);
        if (field == null) return node;
        // What members tell each other names topics.
        if (node instanceof BinaryNode bytes) return TextNode.valueOf(text(new String(bytes.binaryValue(), java.nio.charset.StandardCharsets.ISO_8859_1)));
        switch (field) {
            case "port": return node.asInt() == port ? TextNode.valueOf("PORT") : node;
            case "clusterId": return node.isNull() || node.asText().isEmpty() ? node : TextNode.valueOf("CLUSTER");
            case "baseOffset": return offsets || node.asLong() < 0 ? node : TextNode.valueOf("OFFSET");
            case "producerId": return TextNode.valueOf(producer(node.asLong()));
            case "sessionId": return node.asInt() == 0 ? node : TextNode.valueOf(sessions.computeIfAbsent(node.asInt(), x -> "S" + sessions.size()));
            case "topicId": return topicId(node.asText());
            case "logDir": return node.asText().isEmpty() ? node : TextNode.valueOf("DIR" + dirs.indexOf(node.asText()));
            case "totalBytes", "usableBytes": return node.asLong() > 0 ? TextNode.valueOf("BYTES") : node;
            case "errorMessage", "batchIndexErrorMessage":
                words.add(node.isNull() ? "null" : text(node.asText()).replaceAll("-?\\b[0-9]{12,}\\b", "TIME"));
                return TextNode.valueOf("(words)");
            default:
        }
        if (field.toLowerCase().contains("time") && node.isNumber()) return time(node.asLong()).equals("NOW") ? TextNode.valueOf("NOW") : node;
        return node.isTextual() ? TextNode.valueOf(text(node.asText())) : node;
    }

    private JsonNode topicId(String raw) {
        if (raw.equals("AAAAAAAAAAAAAAAAAAAAAA")) return TextNode.valueOf("ZERO");
        return TextNode.valueOf(ids.getOrDefault(raw, "ID(?)"));
    }

    private JsonNode cleanObject(ObjectNode object) {
        var out = JsonNodeFactory.instance.objectNode();
        boolean elr = object.path("name").asText().equals("min.insync.replicas");
        for (var names = object.fieldNames(); names.hasNext();) {
            var name = names.next();
            // Where an answer about everything breaks off hangs on what else there is.
            if (mine != null && name.equals("nextCursor")) continue;
            // Kafka's formatting sets this one for the whole cluster, where its ELR is on.
            if (elr && (name.equals("configSource") || name.equals("synonyms"))) continue;
            // What a broker finalises is its own affair.
            if (name.endsWith("Features") || name.equals("finalizedFeaturesEpoch")) continue;
            // A directory's id and the state of the metadata log are nobody else's.
            if (name.endsWith("DirectoryId") || name.equals("directoryId")) continue;
            out.set(name, clean(name, object.get(name)));
        }
        return out;
    }

    private JsonNode cleanArray(String field, ArrayNode array) {
        var entries = new ArrayList<JsonNode>();
        for (var entry : array) {
            if ("apiKeys".equals(field) && !OURS.contains(entry.get("apiKey").asInt())) continue;
            if (mine != null && foreign(entry)) continue;
            if (entry.has("configSource") && OWN_KEYS.contains(entry.get("name").asText())) continue;
            entries.add(clean(field, entry));
        }
        if (!entries.isEmpty() && entries.get(0).isObject()) entries.sort(Comparator.comparing(JsonNode::toString));
        if ("partitions".equals(field) && !entries.isEmpty() && entries.get(0).isInt()) entries.sort(Comparator.comparingInt(JsonNode::asInt));
        var out = JsonNodeFactory.instance.arrayNode();
        return out.addAll(entries);
    }

    private boolean foreign(JsonNode entry) {
        for (var field : List.of("name", "topicName", "resourceName", "topic", "groupId", "transactionalId")) {
            var value = entry.get(field);
            if (value != null && value.isTextual()) return !(value.asText().startsWith(mine) && value.asText().endsWith(tag));
        }
        return false;
    }

    /** Every leaf with its path. */
    static SortedMap<String, String> leaves(JsonNode node) {
        var out = new TreeMap<String, String>();
        leaves("", node, out);
        return out;
    }

    private static void leaves(String path, JsonNode node, Map<String, String> out) {
        if (node.isObject() && !node.isEmpty()) node.fieldNames().forEachRemaining(n -> leaves(path.isEmpty() ? n : path + "." + n, node.get(n), out));
        else if (node.isArray() && !node.isEmpty()) for (int n = 0; n < node.size(); n++) leaves(path + "[" + n + "]", node.get(n), out);
        else out.put(path, node.toString());
    }
}
