import jakarta.jms.*;
import java.util.Random;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import org.apache.activemq.artemis.api.core.TransportConfiguration;
import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.remoting.impl.netty.NettyAcceptorFactory;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;
import org.apache.activemq.artemis.jms.client.ActiveMQConnectionFactory;

/**
 * ActiveMQ Artemis as it comes: Artemis broker PORT DIRECTORY serves, its journal synced before it answers.
 * Artemis PORT QUEUES MESSAGES BYTES: what {@link Rabbit} does, by Artemis' own client.
 */
public class Artemis {
    static final int WINDOW = 1000;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("broker")) serve(args[1], args[2]);
        else measure(args[0], Integer.parseInt(args[1]), Integer.parseInt(args[2]), new byte[Integer.parseInt(args[3])]);
    }

    static void serve(String port, String directory) throws Exception {
        var acceptor = new TransportConfiguration(NettyAcceptorFactory.class.getName(), java.util.Map.of("host", "127.0.0.1", "port", port, "useEpoll", "false"));
        var configuration = new ConfigurationImpl().setSecurityEnabled(false).setPersistenceEnabled(true).addAcceptorConfiguration(acceptor)
            .setJournalDirectory(directory + "/journal").setBindingsDirectory(directory + "/bindings")
            .setLargeMessagesDirectory(directory + "/large").setPagingDirectory(directory + "/paging");
        new EmbeddedActiveMQ().setConfiguration(configuration).start();
        Thread.currentThread().join();
    }

    static void measure(String port, int queues, int all, byte[] body) throws Exception {
        int messages = all / queues;
        new Random(1).nextBytes(body);
        try (var factory = new ActiveMQConnectionFactory("tcp://127.0.0.1:" + port + "?useEpoll=false&confirmationWindowSize=1048576"); var connection = factory.createConnection()) {
            connection.start();
            var latencies = new long[queues * messages];
            Queues.measured(latencies, () -> Queues.each(queues, q -> produce(connection, "compare-" + q, body, messages, latencies, q * messages)),
                () -> Queues.each(queues, q -> consume(connection, "compare-" + q, messages)));
        }
    }

    static void produce(Connection connection, String queue, byte[] body, int messages, long[] latencies, int from) throws Exception {
        var session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        var producer = session.createProducer(session.createQueue(queue));
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        var room = new Semaphore(WINDOW);
        var refused = new AtomicReference<Exception>();
        for (int i = 0; i < messages; i++) {
            room.acquire();
            int number = from + i;
            var message = session.createBytesMessage();
            message.writeBytes(body);
            long sent = System.nanoTime();
            producer.send(message, new CompletionListener() {
                @Override public void onCompletion(Message message) {
                    latencies[number] = System.nanoTime() - sent;
                    room.release();
                }
                @Override public void onException(Message message, Exception why) {
                    refused.set(why);
                    room.release();
                }
            });
        }
        if (!room.tryAcquire(WINDOW, 120, TimeUnit.SECONDS)) throw new TimeoutException("not all messages of " + queue + " were confirmed");
        if (refused.get() != null) throw refused.get();
        session.close();
    }

    static void consume(Connection connection, String queue, int messages) throws Exception {
        var session = connection.createSession(true, Session.SESSION_TRANSACTED);
        var consumer = session.createConsumer(session.createQueue(queue));
        for (int seen = 1; seen <= messages; seen++) {
            if (consumer.receive(120_000) == null) throw new TimeoutException((messages - seen + 1) + " messages of " + queue + " did not come");
            if (seen % 500 == 0 || seen == messages) session.commit();
        }
        session.close();
    }
}
