import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes topics of every kind and goes on writing when told to; prints all records of topics, one a line. */
public class Import {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "write" -> write(arguments[1]);
            case "read" -> read(arguments[1], arguments[2], Arrays.copyOfRange(arguments, 3, arguments.length));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    static void write(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            Map<String, String> small = Map.of("segment.bytes", "1048576");
            Map<String, String> compacted = Map.of("cleanup.policy", "compact", "segment.bytes", "1048576",
                "min.cleanable.dirty.ratio", "0.01", "min.compaction.lag.ms", "0");
            admin.createTopics(List.of(
                new NewTopic("plain", 3, (short) 1).configs(small),
                new NewTopic("txn", 2, (short) 1).configs(small),
                new NewTopic("compacted", 1, (short) 1).configs(compacted))).all().get();
        }
        Random random = new Random(7);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, codec, null)) {
                for (int i = 0; i < 2000; i++) {
                    ProducerRecord<byte[], byte[]> record = record("plain", i % 3, "k" + i % 50, random, 400);
                    record.headers().add("codec", codec.getBytes(StandardCharsets.UTF_8));
                    producer.send(record);
                }
            }
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "none", "importer")) {
            producer.initTransactions();
            for (int round = 0; round < 12; round++) {
                producer.beginTransaction();
                for (int i = 0; i < 100; i++) {
                    producer.send(record("txn", i % 2, "r" + round, random, 1000));
                }
                producer.flush();
                if (round % 3 == 1) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "lz4", null)) {
            for (int i = 0; i < 12_000; i++) {
                producer.send(record("compacted", 0, "k" + i % 100, random, 500));
            }
        }
        // One goes on after the broker behind the address was replaced: same producer id, next sequence.
        KafkaProducer<byte[], byte[]> last = producer(bootstrap, "none", null);
        for (int i = 0; i < 30; i++) {
            last.send(record("plain", i % 3, "last" + i, random, 50)).get();
        }
        System.out.println("written");
        new BufferedReader(new InputStreamReader(System.in)).readLine();
        for (int i = 30; i < 60; i++) {
            long offset = last.send(record("plain", i % 3, "last" + i, random, 50)).get().offset();
            System.out.println("went on " + i % 3 + " " + offset);
        }
        last.close();
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "none", "importer")) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record("txn", 0, "after", random, 10)).get();
            producer.commitTransaction();
        }
        System.out.println("done");
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, String key, Random random, int size) {
        byte[] value = new byte[size];
        random.nextBytes(value);
        return new ProducerRecord<>(topic, partition, key.getBytes(StandardCharsets.UTF_8), value);
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, String codec, String transactionalId) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", codec);
        config.put("linger.ms", 5);
        config.put("delivery.timeout.ms", 60_000);
        config.put("request.timeout.ms", 5_000);
        if (transactionalId != null) {
            config.put("transactional.id", transactionalId);
        }
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void read(String bootstrap, String isolation, String[] topics) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "isolation.level", isolation,
            "enable.auto.commit", false);
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (String topic : topics) {
                for (PartitionInfo info : consumer.partitionsFor(topic)) {
                    TopicPartition place = new TopicPartition(topic, info.partition());
                    consumer.assign(List.of(place));
                    consumer.seekToBeginning(List.of(place));
                    long end = consumer.endOffsets(List.of(place)).get(place);
                    List<String> lines = new ArrayList<>();
                    while (consumer.position(place) < end) {
                        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                            lines.add(line(place, record));
                        }
                    }
                    lines.forEach(System.out::println);
                    System.out.println(place + " ends at " + end);
                }
            }
        }
    }

    static String line(TopicPartition place, ConsumerRecord<byte[], byte[]> record) {
        StringBuilder headers = new StringBuilder();
        for (Header header : record.headers()) {
            headers.append(header.key()).append('=').append(new String(header.value(), StandardCharsets.UTF_8));
        }
        return place + " " + record.offset() + " " + record.timestamp() + " " + record.timestampType() + " "
            + new String(record.key(), StandardCharsets.UTF_8) + " " + Arrays.hashCode(record.value()) + " " + headers;
    }
}
