import java.util.*;
import java.util.concurrent.*;
import java.util.function.Consumer;

/**
 * Sends the same requests to two brokers and shows where their answers differ: Compare REFERENCE OTHER [--self] [--words] [NAME...].
 *
 * A scenario runs on both sides with topics of its own; each answer, freed of what must differ (see Normal), is one line of its
 * transcript; the transcripts are compared line by line. Differences that are meant stand in the file `accepted`. Equal differences over several versions are shown once. With --self the
 * other side is Kafka too, which proves that the normalisation is right: nothing may differ.
 */
public final class Compare {
    /** Scenarios by name, in the order they were written. */
    final Map<String, Consumer<Side>> scenarios = new LinkedHashMap<>();

    void add(String name, Consumer<Side> scenario) {
        if (scenarios.put(name, scenario) != null) throw new IllegalStateException("two scenarios named " + name);
    }

    /** Adds a scenario that changes the broker for everybody: it runs when all others are done, by itself. */
    void addAlone(String name, Consumer<Side> scenario) {
        add(name, scenario);
        alone.add(name);
    }

    final Set<String> alone = new HashSet<>();

    record Difference(String scenario, String label, List<String> details) { }

    final List<Difference> differences = new ArrayList<>();
    final List<Difference> words = new ArrayList<>();
    /** Differences that are meant: a pattern of `SCENARIO: LABEL` with its reason, from the file of that name. */
    final Map<java.util.regex.Pattern, String> meant = new LinkedHashMap<>();
    final Map<String, Integer> accepted = new LinkedHashMap<>();
    int passed = 0;

    void readMeant(java.nio.file.Path file) throws java.io.IOException {
        for (var line : java.nio.file.Files.readAllLines(file)) {
            if (line.isBlank() || line.startsWith("#")) continue;
            var parts = line.split("  +", 2);
            meant.put(java.util.regex.Pattern.compile(parts[0]), parts[1]);
        }
    }

    String accept(String scenario, String label) {
        var name = scenario + ": " + label.replaceFirst("^v\\d+ ", "");
        for (var entry : meant.entrySet()) if (entry.getKey().matcher(name).matches()) return entry.getValue();
        return null;
    }

    public static void main(String[] args) throws Exception {
        var options = new HashSet<String>();
        var rest = new ArrayList<String>();
        for (var arg : args) if (arg.startsWith("--")) options.add(arg); else rest.add(arg);
        var compare = new Compare();
        TopicCases.add(compare);
        ProduceCases.add(compare);
        FetchCases.add(compare);
        OffsetCases.add(compare);
        ConfigCases.add(compare);
        LoggerCases.add(compare);
        ClusterCases.add(compare);
        LogDirCases.add(compare);
        ReassignmentCases.add(compare);
        CordonCases.add(compare);
        ThrottleCases.add(compare);
        FrameCases.add(compare);
        GroupCases.add(compare);
        CommitCases.add(compare);
        ConsumerGroupCases.add(compare);
        TxnCases.add(compare);
        TxnDataCases.add(compare);
        if (!options.contains("--self")) compare.readMeant(java.nio.file.Path.of(System.getProperty("accepted")));
        System.exit(compare.run(rest.get(0), rest.get(1), options, rest.subList(2, rest.size())) ? 0 : 1);
    }

    boolean run(String reference, String other, Set<String> options, List<String> wanted) throws Exception {
        var names = scenarios.keySet().stream().filter(name -> wanted.isEmpty() || wanted.stream().anyMatch(name::contains)).toList();
        run(names.stream().filter(name -> !alone.contains(name)).toList(), Integer.getInteger("parallel", 4), reference, other, options);
        run(names.stream().filter(alone::contains).toList(), 1, reference, other, options);
        print("DIFF ", differences);
        if (options.contains("--words")) print("WORDS ", words);
        accepted.forEach((why, count) -> System.out.println("accepted " + count + ": " + why));
        System.out.println(words.size() + " error texts differ in wording" + (options.contains("--words") ? "" : " (--words shows them)"));
        System.out.println(passed + " passed, " + differences.size() + " failed");
        return differences.isEmpty();
    }

    void run(List<String> names, int parallel, String reference, String other, Set<String> options) throws Exception {
        var pool = Executors.newFixedThreadPool(parallel);
        var results = new LinkedHashMap<String, Future<List<Side>>>();
        for (var name : names) results.put(name, pool.submit(() -> List.of(
            play(name, scenarios.get(name), reference, true), play(name, scenarios.get(name), other, options.contains("--self")))));
        for (var result : results.entrySet()) {
            var sides = result.getValue().get();
            compare(result.getKey(), sides.get(0).lines, sides.get(1).lines);
            if (options.contains("--verbose")) for (var line : sides.get(1).lines) System.out.println(result.getKey() + " | " + line.label() + " | " + line.answer() + " " + line.words());
        }
        pool.shutdown();
    }

    static Side play(String name, Consumer<Side> scenario, String bootstrap, boolean reference) {
        var tag = "t" + Long.toString(ThreadLocalRandom.current().nextLong(1L << 40, 1L << 41), 36);
        var side = new Side(bootstrap, reference, Integer.toHexString(name.hashCode() & 0xffffff), tag);
        try {
            scenario.accept(side);
        } catch (RuntimeException | Error e) {
            if (System.getenv("TRACE") != null) e.printStackTrace();
            side.note("(ended early)", e.getClass().getSimpleName() + ": " + e.getMessage());
        } finally {
            side.hangUp();
        }
        return side;
    }

    void compare(String scenario, List<Side.Line> left, List<Side.Line> right) {
        for (int n = 0; n < Math.max(left.size(), right.size()); n++) {
            if (n >= left.size() || n >= right.size() || !left.get(n).label().equals(right.get(n).label())) {
                var l = n < left.size() ? left.get(n).label() + ": " + left.get(n).answer() : "(ended)";
                var r = n < right.size() ? right.get(n).label() + ": " + right.get(n).answer() : "(ended)";
                differences.add(new Difference(scenario, "the course of the scenario", List.of(cut(l) + "  |  " + cut(r))));
                return;
            }
            var a = left.get(n);
            var b = right.get(n);
            var details = details(a, b);
            var why = details.isEmpty() ? null : accept(scenario, a.label());
            if (details.isEmpty()) passed++;
            else if (why != null) accepted.merge(why, 1, Integer::sum);
            else differences.add(new Difference(scenario, a.label(), details));
            if (details.isEmpty() && !a.words().equals(b.words())) words.add(new Difference(scenario, a.label(), List.of(a.words() + "  |  " + b.words())));
        }
    }

    static List<String> details(Side.Line a, Side.Line b) {
        var details = new ArrayList<String>();
        var left = Normal.leaves(a.answer());
        var right = Normal.leaves(b.answer());
        var paths = new TreeSet<>(left.keySet());
        paths.addAll(right.keySet());
        for (var path : paths) {
            if (Objects.equals(left.get(path), right.get(path))) continue;
            details.add((path.isEmpty() ? "" : path + ": ") + cut(left.getOrDefault(path, "(absent)")) + "  |  " + cut(right.getOrDefault(path, "(absent)")));
        }
        return details;
    }

    static String cut(String text) { return text.length() <= 300 ? text : text.substring(0, 300) + "…"; }

    /** Differences that are the same but for the version, shown once with the versions. */
    static void print(String head, List<Difference> list) {
        var groups = new LinkedHashMap<String, List<String>>();
        for (var d : list) {
            var space = d.label().indexOf(' ');
            boolean versioned = d.label().matches("v\\d+ .*");
            var label = versioned ? d.label().substring(space + 1) : d.label();
            var key = head + d.scenario() + ": " + label + "\u0000" + String.join("\n    ", d.details().subList(0, Math.min(12, d.details().size())))
                + (d.details().size() > 12 ? "\n    … and " + (d.details().size() - 12) + " more" : "");
            groups.computeIfAbsent(key, x -> new ArrayList<>()).add(versioned ? d.label().substring(0, space) : "");
        }
        for (var group : groups.entrySet()) {
            var parts = group.getKey().split("\u0000");
            var versions = String.join(" ", group.getValue()).trim();
            System.out.println(parts[0] + (versions.isEmpty() ? "" : "  [" + versions + "]") + "\n    " + parts[1]);
        }
    }
}
