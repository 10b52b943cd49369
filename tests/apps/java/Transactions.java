import java.io.*;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.requests.*;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Transactions that nobody ends. `open BOOTSTRAP TOPIC ID`: a producer writes one record in a transaction, prints OPEN and stays.
 * `hang BOOTSTRAP TOPIC ID`: what Kafka calls hanging, a transactional batch an hour old in a partition that the coordinator was never
 * told of, as clients before KIP-890 could leave one; it prints HANGS, or REFUSED and the error where the broker asks its coordinator first.
 */
public final class Transactions {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("open")) open(args[1], args[2], args[3]);
        else hang(args[1], args[2], args[3]);
    }

    private static void open(String bootstrap, String topic, String id) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id", id, "transaction.timeout.ms", 600_000);
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "in an open transaction")).get();
        System.out.println("OPEN");
        Thread.sleep(600_000);
    }

    private static void hang(String bootstrap, String topic, String id) throws Exception {
        var at = bootstrap.split(":");
        try (var admin = Admin.create(Map.of("bootstrap.servers", bootstrap)); var socket = new Socket(at[0], Integer.parseInt(at[1]))) {
            // Makes the coordinator's topic and waits until it answers.
            admin.fenceProducers(List.of(id)).all().get();
            var init = new InitProducerIdRequestData().setTransactionalId(id).setTransactionTimeoutMs(60_000);
            var given = (InitProducerIdResponse) ask(socket, new InitProducerIdRequest.Builder(init).build((short) 4));
            var records = MemoryRecords.withTransactionalRecords(0L, Compression.NONE, given.data().producerId(), given.data().producerEpoch(), 0, -1,
                new SimpleRecord(System.currentTimeMillis() - 3_600_000, "k".getBytes(), "in a hanging transaction".getBytes()));
            var partition = new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records);
            var topics = new ProduceRequestData.TopicProduceDataCollection(List.of(new ProduceRequestData.TopicProduceData().setName(topic).setPartitionData(List.of(partition))).iterator());
            var data = new ProduceRequestData().setTransactionalId(id).setAcks((short) -1).setTimeoutMs(10_000).setTopicData(topics);
            var answer = (ProduceResponse) ask(socket, new ProduceRequest((data), (short) 11));
            short error = answer.data().responses().iterator().next().partitionResponses().get(0).errorCode();
            System.out.println(error == 0 ? "HANGS" : "REFUSED " + error);
        }
    }

    private static AbstractResponse ask(Socket socket, AbstractRequest request) throws IOException {
        var header = new RequestHeader(request.apiKey(), request.version(), "tests", 1);
        ByteBuffer body = request.serializeWithHeader(header);
        var out = new DataOutputStream(socket.getOutputStream());
        out.writeInt(body.remaining());
        out.write(body.array(), body.arrayOffset() + body.position(), body.remaining());
        out.flush();
        var in = new DataInputStream(socket.getInputStream());
        var answer = new byte[in.readInt()];
        in.readFully(answer);
        return AbstractResponse.parseResponse(ByteBuffer.wrap(answer), header);
    }
}
