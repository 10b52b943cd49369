import com.rabbitmq.client.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

/**
 * Persistent messages into durable classic queues of RabbitMQ, each waited for by publisher confirms with a window, and
 * read back with acknowledgements: Rabbit PORT QUEUES MESSAGES BYTES. Prints what {@link Queues#measured} does.
 */
public class Rabbit {
    static final int WINDOW = 1000;

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]), queues = Integer.parseInt(args[1]), messages = Integer.parseInt(args[2]) / queues;
        byte[] body = new byte[Integer.parseInt(args[3])];
        new Random(1).nextBytes(body);
        var factory = new ConnectionFactory();
        factory.setHost("127.0.0.1");
        factory.setPort(port);
        try (var connection = factory.newConnection()) {
            var channel = connection.createChannel();
            for (int q = 0; q < queues; q++) channel.queueDeclare("compare-" + q, true, false, false, null);
            var latencies = new long[queues * messages];
            Queues.measured(latencies, () -> Queues.each(queues, q -> produce(connection, "compare-" + q, body, messages, latencies, q * messages)),
                () -> Queues.each(queues, q -> consume(connection, "compare-" + q, messages)));
            for (int q = 0; q < queues; q++) channel.queueDelete("compare-" + q);
        }
    }

    static void produce(Connection connection, String queue, byte[] body, int messages, long[] latencies, int from) throws Exception {
        var channel = connection.createChannel();
        channel.confirmSelect();
        var room = new Semaphore(WINDOW);
        var sent = new long[messages + 1];
        var confirmed = new AtomicLong();
        var refused = new AtomicBoolean();
        channel.addConfirmListener((tag, multiple) -> {
            long now = System.nanoTime(), first = multiple ? confirmed.get() + 1 : tag;
            for (long t = first; t <= tag; t++) latencies[from + (int) t - 1] = now - sent[(int) t];
            if (multiple) room.release((int) (tag - confirmed.getAndSet(tag)));
            else { confirmed.accumulateAndGet(tag, Math::max); room.release(); }
        }, (tag, multiple) -> { refused.set(true); room.release(); });
        for (int i = 0; i < messages; i++) {
            room.acquire();
            sent[(int) channel.getNextPublishSeqNo()] = System.nanoTime();
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, body);
        }
        channel.waitForConfirmsOrDie(60_000);
        if (refused.get()) throw new IllegalStateException("a message was refused");
        channel.close();
    }

    static void consume(Connection connection, String queue, int messages) throws Exception {
        var channel = connection.createChannel();
        channel.basicQos(WINDOW);
        var left = new CountDownLatch(messages);
        channel.basicConsume(queue, false, new DefaultConsumer(channel) {
            int seen = 0;
            @Override public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) throws java.io.IOException {
                if (++seen % 500 == 0 || seen == messages) getChannel().basicAck(envelope.getDeliveryTag(), true);
                left.countDown();
            }
        });
        if (!left.await(120, TimeUnit.SECONDS)) throw new IllegalStateException(left.getCount() + " messages of " + queue + " did not come");
        channel.close();
    }
}
