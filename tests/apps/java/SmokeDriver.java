import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.tests.SmokeTestDriver;

/**
 * The driver of Kafka's StreamsSmokeTest with its sizes as arguments (the class's own take a minute and a half to send):
 * SmokeDriver BOOTSTRAP KEYS RECORDS-PER-KEY SECONDS GUARANTEE. It creates the topics, sends, and has Kafka's own verifier judge.
 */
public final class SmokeDriver {
    public static void main(String[] args) throws Exception {
        int keys = Integer.parseInt(args[1]), records = Integer.parseInt(args[2]);
        try (var admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            var topics = new TreeSet<>(List.of(SmokeTestDriver.topics()));
            topics.addAll(List.of("data", "fk"));
            admin.createTopics(topics.stream().map(name -> new NewTopic(name, 5, (short) 1)).toList()).all().get();
            // Kafka answers the creation before it leads every partition, and the idempotent producer trips over that.
            var ends = new HashMap<TopicPartition, OffsetSpec>();
            for (var name : topics) for (int p = 0; p < 5; p++) ends.put(new TopicPartition(name, p), OffsetSpec.latest());
            for (;;) {
                try { admin.listOffsets(ends).all().get(); break; } catch (ExecutionException e) { Thread.sleep(50); }
            }
        }
        System.out.println("TOPICS CREATED");
        var sent = SmokeTestDriver.generate(args[0], keys, records, Duration.ofSeconds(Integer.parseInt(args[3])));
        System.out.println("ALL SENT");
        var result = SmokeTestDriver.verify(args[0], sent, records, args[4].equals("exactly_once_v2"));
        System.exit(result.passed() ? 0 : 1);
    }
}
