import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads a topic from its beginning by assignment: ReadAll BOOTSTRAP TOPIC RECORDS; prints the records, the bytes and the seconds from the first poll. */
public final class ReadAll {
    public static void main(String[] args) {
        long wanted = Long.parseLong(args[2]);
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "enable.auto.commit", false, "max.poll.records", 10000,
            "max.partition.fetch.bytes", 8 << 20, "fetch.max.bytes", 50 << 20, "receive.buffer.bytes", 1 << 20);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partitions = consumer.partitionsFor(args[1]).stream().map(p -> new TopicPartition(p.topic(), p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            partitions.forEach(consumer::position);
            long records = 0, bytes = 0, began = System.nanoTime(), last = began;
            while (records < wanted) {
                var batch = consumer.poll(Duration.ofSeconds(1));
                for (var record : batch) bytes += record.serializedValueSize();
                records += batch.count();
                if (!batch.isEmpty()) last = System.nanoTime();
                if (System.nanoTime() - last > 20_000_000_000L) throw new IllegalStateException("only " + records + " of " + wanted + " records");
            }
            System.out.printf(Locale.ROOT, "%d %d %.3f%n", records, bytes, (System.nanoTime() - began) / 1e9);
        }
    }
}
