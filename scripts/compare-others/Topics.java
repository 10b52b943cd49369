import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/**
 * What {@link Rabbit} does with queues, with the partitions of a topic by Kafka's own client as it comes (acks=all,
 * idempotent): Topics PORT QUEUES MESSAGES BYTES TOPIC. One producer whose messages wait for their acknowledgement with a
 * window of the same size for each partition; read back with a commit every 500 messages.
 */
public final class Topics {
    static final int WINDOW = 1000;

    public static void main(String[] args) throws Exception {
        int queues = Integer.parseInt(args[1]), messages = Integer.parseInt(args[2]) / queues;
        String bootstrap = "127.0.0.1:" + args[0], topic = args[4];
        byte[] body = new byte[Integer.parseInt(args[3])];
        new Random(1).nextBytes(body);
        var latencies = new long[queues * messages];
        try (var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", bootstrap), new ByteArraySerializer(), new ByteArraySerializer())) {
            // What the others' connections know when they are open.
            producer.partitionsFor(topic);
            Queues.measured(latencies, () -> Queues.each(queues, q -> produce(producer, topic, q, body, messages, latencies, q * messages)),
                () -> Queues.each(queues, q -> consume(bootstrap, topic, q, messages)));
        }
    }

    static void produce(Producer<byte[], byte[]> producer, String topic, int queue, byte[] body, int messages, long[] latencies, int from) throws Exception {
        var room = new Semaphore(WINDOW);
        var refused = new AtomicReference<Exception>();
        for (int i = 0; i < messages; i++) {
            room.acquire();
            int number = from + i;
            long sent = System.nanoTime();
            producer.send(new ProducerRecord<>(topic, queue, null, body), (where, why) -> {
                latencies[number] = System.nanoTime() - sent;
                if (why != null) refused.set(why);
                room.release();
            });
        }
        if (!room.tryAcquire(WINDOW, 120, TimeUnit.SECONDS)) throw new TimeoutException("not all messages of partition " + queue + " were acknowledged");
        if (refused.get() != null) throw refused.get();
    }

    static void consume(String bootstrap, String topic, int queue, int messages) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "group.id", topic + "-" + queue, "enable.auto.commit", false, "auto.offset.reset", "earliest", "max.poll.records", 500);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(new TopicPartition(topic, queue)));
            long last = System.nanoTime();
            for (int seen = 0, committed = 0; seen < messages; ) {
                int count = consumer.poll(Duration.ofSeconds(1)).count();
                seen += count;
                if (count > 0) last = System.nanoTime();
                if (System.nanoTime() - last > 120_000_000_000L) throw new IllegalStateException((messages - seen) + " messages of partition " + queue + " did not come");
                if (seen == messages) consumer.commitSync();
                else if (seen - committed >= 500) {
                    consumer.commitAsync();
                    committed = seen;
                }
            }
        }
    }
}
