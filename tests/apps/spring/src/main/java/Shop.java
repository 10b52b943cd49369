import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.springframework.context.annotation.*;
import org.springframework.kafka.annotation.*;
import org.springframework.kafka.config.*;
import org.springframework.kafka.core.*;
import org.springframework.kafka.listener.*;
import org.springframework.kafka.transaction.KafkaTransactionManager;
import org.springframework.util.backoff.FixedBackOff;

/**
 * A shop as Spring Kafka users write one. A listener of three threads turns each order into an invoice inside the container's
 * transaction; orders that cannot be read go to a dead-letter topic after three tries. A second listener, without transactions, has an
 * error handler with a dead-letter topic too. Shop BOOTSTRAP PREFIX ORDERS prints OK and what it saw, or what is wrong.
 */
@Configuration
@EnableKafka
public class Shop {
    static String bootstrap, prefix;
    static final Set<String> threads = ConcurrentHashMap.newKeySet();
    static final Set<String> audited = ConcurrentHashMap.newKeySet();

    @Bean KafkaAdmin admin() { return new KafkaAdmin(Map.of("bootstrap.servers", bootstrap)); }

    @Bean KafkaAdmin.NewTopics topics() {
        return new KafkaAdmin.NewTopics(topic("orders"), topic("invoices"), topic("orders-dlt"), topic("invoices-dlt"));
    }

    static NewTopic topic(String name) { return TopicBuilder.name(prefix + name).partitions(3).replicas(1).build(); }

    @Bean ProducerFactory<String, String> producers() {
        var factory = new DefaultKafkaProducerFactory<String, String>(Map.of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer());
        factory.setTransactionIdPrefix(prefix + "tx-");
        return factory;
    }

    @Bean KafkaTemplate<String, String> template(ProducerFactory<String, String> producers) { return new KafkaTemplate<>(producers); }

    @Bean KafkaTransactionManager<String, String> transactions(ProducerFactory<String, String> producers) { return new KafkaTransactionManager<>(producers); }

    static ConsumerFactory<String, String> consumers() {
        return new DefaultKafkaConsumerFactory<>(Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "auto.offset.reset", "earliest",
            "max.poll.records", 20), new StringDeserializer(), new StringDeserializer());
    }

    /** Dead letters keep their partition, so that the topic needs as many as the source. */
    static DeadLetterPublishingRecoverer deadLetters(KafkaTemplate<String, String> template) {
        return new DeadLetterPublishingRecoverer(template, (record, error) -> new TopicPartition(record.topic() + "-dlt", record.partition()));
    }

    @Bean ConcurrentKafkaListenerContainerFactory<String, String> transactional(KafkaTemplate<String, String> template, KafkaTransactionManager<String, String> transactions) {
        var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
        factory.setConsumerFactory(consumers());
        factory.setConcurrency(3);
        factory.getContainerProperties().setKafkaAwareTransactionManager(transactions);
        factory.setAfterRollbackProcessor(new DefaultAfterRollbackProcessor<>(deadLetters(template), new FixedBackOff(50, 2), template, true));
        return factory;
    }

    @Bean ConcurrentKafkaListenerContainerFactory<String, String> plain(KafkaTemplate<String, String> template) {
        var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
        factory.setConsumerFactory(consumers());
        factory.setConcurrency(3);
        factory.setCommonErrorHandler(new DefaultErrorHandler(deadLetters(template), new FixedBackOff(50, 2)));
        return factory;
    }

    @Bean Listeners listeners(KafkaTemplate<String, String> template) { return new Listeners(template); }

    public static class Listeners {
        final KafkaTemplate<String, String> template;

        Listeners(KafkaTemplate<String, String> template) { this.template = template; }

        public String prefix() { return prefix; }

        @KafkaListener(id = "billing", topics = "#{__listener.prefix()}orders", groupId = "#{__listener.prefix()}billing", containerFactory = "transactional")
        public void bill(ConsumerRecord<String, String> order) {
            threads.add(Thread.currentThread().getName());
            template.send(prefix + "invoices", order.key(), "invoice of " + order.value());
            if (order.value().startsWith("unreadable")) throw new IllegalArgumentException(order.value());
        }

        @KafkaListener(id = "audit", topics = "#{__listener.prefix()}invoices", groupId = "#{__listener.prefix()}audit", containerFactory = "plain")
        public void audit(ConsumerRecord<String, String> invoice) {
            if (invoice.value().endsWith("7")) throw new IllegalStateException("suspicious: " + invoice.value());
            audited.add(invoice.value());
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        prefix = args[1] + "-";
        int orders = Integer.parseInt(args[2]);
        try (var context = new AnnotationConfigApplicationContext(Shop.class)) {
            @SuppressWarnings("unchecked") var template = (KafkaTemplate<String, String>) context.getBean(KafkaTemplate.class);
            // Each of the three threads has its partition before the first order comes.
            var billing = (ConcurrentMessageListenerContainer<?, ?>) context.getBean(KafkaListenerEndpointRegistry.class).getListenerContainer("billing");
            for (int n = 0; n < 400 && !billing.getContainers().stream().allMatch(c -> c.getAssignedPartitions() != null && c.getAssignedPartitions().size() == 1); n++) Thread.sleep(50);
            var good = new TreeSet<String>();
            var bad = new TreeSet<String>();
            for (int at = 0; at < orders; at += 10) {
                int from = at;
                template.executeInTransaction(operations -> {
                    for (int n = from; n < from + 10; n++) {
                        var value = (n % 50 == 13 ? "unreadable " : "order ") + n;
                        (n % 50 == 13 ? bad : good).add(value);
                        operations.send(prefix + "orders", "customer " + n % 17, value);
                    }
                    return null;
                });
                if (at % 100 == 0) cancelled(template, from);
            }
            var suspicious = new TreeSet<String>();
            var invoices = new TreeSet<String>();
            for (var order : good) invoices.add("invoice of " + order);
            for (var invoice : invoices) if (invoice.endsWith("7")) suspicious.add(invoice);
            expect("invoices", invoices);
            expect("orders-dlt", bad);
            expect("invoices-dlt", suspicious);
            var calm = new TreeSet<>(invoices);
            calm.removeAll(suspicious);
            for (int n = 0; n < 200 && audited.size() < calm.size(); n++) Thread.sleep(50);
            if (!audited.equals(calm)) throw new AssertionError(audited.size() + " of " + calm.size() + " invoices audited");
            if (threads.size() != 3) throw new AssertionError("three threads listen, but orders came to " + threads);
        } catch (Throwable error) {
            System.out.println("WRONG " + error);
            error.printStackTrace(System.out);
            Runtime.getRuntime().halt(1);
        }
        System.out.println("OK " + orders + " orders");
        Runtime.getRuntime().halt(0);
    }

    /** A transaction that its sender gives up: nobody may see its orders. */
    static void cancelled(KafkaTemplate<String, String> template, int from) {
        try {
            template.executeInTransaction(operations -> {
                operations.send(prefix + "orders", "nobody", "cancelled " + from);
                operations.flush();
                throw new IllegalStateException("cancelled");
            });
            throw new AssertionError("a transaction given up was not");
        } catch (IllegalStateException wanted) {
            // As it should be.
        }
    }

    /** The topic's committed records are `wanted`, each once. */
    static void expect(String topic, Set<String> wanted) {
        try (var consumer = consumers().createConsumer(prefix + "judge-" + topic, null)) {
            consumer.subscribe(List.of(prefix + topic));
            var found = new ArrayList<String>();
            long deadline = System.nanoTime() + 60_000_000_000L, quiet = 0;
            while (System.nanoTime() < deadline && (found.size() < wanted.size() || System.nanoTime() < quiet)) {
                var records = consumer.poll(Duration.ofMillis(200));
                records.forEach(record -> found.add(record.value()));
                if (!records.isEmpty()) quiet = System.nanoTime() + 1_000_000_000L;
            }
            if (found.size() != wanted.size() || !new TreeSet<>(found).equals(wanted)) {
                var twice = new ArrayList<>(found);
                new TreeSet<>(found).forEach(twice::remove);
                var missing = new TreeSet<>(wanted);
                missing.removeAll(found);
                throw new AssertionError(topic + ": " + found.size() + " records, wanted " + wanted.size() + "; twice " + twice + ", missing " + missing);
            }
        }
    }
}
