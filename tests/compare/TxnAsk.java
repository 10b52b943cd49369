import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/** Requests of transactions in short, and producers that have one. */
final class TxnAsk {
    /** A transactional producer as its coordinator knows it. */
    record Producer(String txn, long id, int epoch) {
        Producer epoch(int epoch) { return new Producer(txn, id, epoch); }
        Producer id(long id) { return new Producer(txn, id, epoch); }
        Producer txn(String txn) { return new Producer(txn, id, epoch); }
        /** A batch of this producer's transaction. */
        Batch batch(int sequence) { return batch(sequence, 1); }
        Batch batch(int sequence, int count) { return Batch.of(count).producer(id, epoch, sequence).attributes(0x10); }
    }

    static InitProducerIdRequestData init(String txn, int timeoutMs) { return new InitProducerIdRequestData().setTransactionalId(txn).setTransactionTimeoutMs(timeoutMs); }

    static InitProducerIdRequestData init(Producer p) { return init(p.txn, 60_000).setProducerId(p.id).setProducerEpoch((short) p.epoch); }

    /** A producer of that transactional id, as set-up: asked until the coordinator is ready and what was open is over. */
    static Producer producer(Side s, String txn) {
        GroupAsk.ready(s, 1);
        Producer[] found = {null};
        Side.until("a transactional producer", () -> {
            var answer = s.ask(4, init(txn, 60_000));
            if (!answer.replied() || ((InitProducerIdResponseData) answer.message()).errorCode() != 0) return false;
            found[0] = of(txn, answer);
            return true;
        });
        s.normal.producer(found[0].id);
        return found[0];
    }

    static Producer of(String txn, Side.Answer answer) {
        var made = (InitProducerIdResponseData) answer.message();
        return new Producer(txn, made.producerId(), made.producerEpoch());
    }

    static AddPartitionsToTxnRequestData.AddPartitionsToTxnTopicCollection topics(Map<String, List<Integer>> wanted) {
        var topics = new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopicCollection();
        for (var t : wanted.entrySet()) topics.mustAdd(new AddPartitionsToTxnRequestData.AddPartitionsToTxnTopic().setName(t.getKey()).setPartitions(t.getValue()));
        return topics;
    }

    static AddPartitionsToTxnRequestData.AddPartitionsToTxnTransaction transaction(Producer p, boolean verify, Map<String, List<Integer>> topics) {
        return new AddPartitionsToTxnRequestData.AddPartitionsToTxnTransaction().setTransactionalId(p.txn).setProducerId(p.id).setProducerEpoch((short) p.epoch).setVerifyOnly(verify).setTopics(topics(topics));
    }

    static AddPartitionsToTxnRequestData add(int version, Producer p, Map<String, List<Integer>> topics) {
        if (version <= 3) return new AddPartitionsToTxnRequestData().setV3AndBelowTransactionalId(p.txn).setV3AndBelowProducerId(p.id).setV3AndBelowProducerEpoch((short) p.epoch).setV3AndBelowTopics(topics(topics));
        return add(transaction(p, false, topics));
    }

    static AddPartitionsToTxnRequestData add(AddPartitionsToTxnRequestData.AddPartitionsToTxnTransaction... transactions) {
        var all = new AddPartitionsToTxnRequestData.AddPartitionsToTxnTransactionCollection();
        for (var t : transactions) all.mustAdd(t);
        return new AddPartitionsToTxnRequestData().setTransactions(all);
    }

    static AddOffsetsToTxnRequestData addOffsets(Producer p, String group) { return new AddOffsetsToTxnRequestData().setTransactionalId(p.txn).setProducerId(p.id).setProducerEpoch((short) p.epoch).setGroupId(group); }

    static TxnOffsetCommitRequestData.TxnOffsetCommitRequestPartition at(int partition, long offset, String metadata) {
        return new TxnOffsetCommitRequestData.TxnOffsetCommitRequestPartition().setPartitionIndex(partition).setCommittedOffset(offset).setCommittedMetadata(metadata);
    }

    static TxnOffsetCommitRequestData commit(Producer p, String group, String topic, TxnOffsetCommitRequestData.TxnOffsetCommitRequestPartition... parts) {
        return new TxnOffsetCommitRequestData().setTransactionalId(p.txn).setProducerId(p.id).setProducerEpoch((short) p.epoch).setGroupId(group)
            .setTopics(List.of(new TxnOffsetCommitRequestData.TxnOffsetCommitRequestTopic().setName(topic).setPartitions(List.of(parts))));
    }

    static EndTxnRequestData end(Producer p, boolean commit) { return new EndTxnRequestData().setTransactionalId(p.txn).setProducerId(p.id).setProducerEpoch((short) p.epoch).setCommitted(commit); }

    static ProduceRequestData produce(Side s, int version, Producer p, String topic, int partition, Batch... batches) {
        return Ask.produce(s, version, topic, partition, Batch.join(batches)).setTransactionalId(p.txn);
    }

    static DescribeTransactionsRequestData describe(String... ids) { return new DescribeTransactionsRequestData().setTransactionalIds(List.of(ids)); }

    static WriteTxnMarkersRequestData.WritableTxnMarker marker(int version, Producer p, boolean commit, int coordinator, String topic, Integer... partitions) {
        var marker = new WriteTxnMarkersRequestData.WritableTxnMarker().setProducerId(p.id).setProducerEpoch((short) p.epoch).setTransactionResult(commit).setCoordinatorEpoch(coordinator);
        return marker.setTopics(List.of(new WriteTxnMarkersRequestData.WritableTxnMarkerTopic().setName(topic).setPartitionIndexes(List.of(partitions))));
    }

    static WriteTxnMarkersRequestData mark(WriteTxnMarkersRequestData.WritableTxnMarker... markers) { return new WriteTxnMarkersRequestData().setMarkers(List.of(markers)); }

    // Waiting.

    static String state(Side s, String txn) {
        var answer = s.ask(0, describe(txn));
        return answer.replied() ? ((DescribeTransactionsResponseData) answer.message()).transactionStates().get(0).transactionState() : answer.fate();
    }

    /** Waits until the markers of a decided transaction are written everywhere. */
    static void settled(Side s, String txn) {
        Side.until("the transaction is over", () -> { var state = state(s, txn); return !state.startsWith("Prepare"); });
    }

    /** Asks until the answer is no CONCURRENT_TRANSACTIONS. */
    static Side.Answer insist(Side s, int version, ApiMessage request) {
        Side.Answer[] last = {null};
        Side.until("no concurrent transaction", () -> { last[0] = s.ask(version, request); return !last[0].replied() || !Side.firstError(last[0]).equals("51"); });
        return last[0];
    }

    /** As `insist`, written down. */
    static Side.Answer sayAtLast(Side s, String label, int version, ApiMessage request) { return s.write("v" + version + " " + label, insist(s, version, request)); }

    /** A producer with a transaction of one partition that has `count` records: versions of before KIP-890. */
    static void begun(Side s, Producer p, String topic, int partition, int sequence, int count) {
        var added = insist(s, 3, add(3, p, Map.of(topic, List.of(partition))));
        if (!Side.firstError(added).equals("0")) throw new IllegalStateException("set-up: add: " + Side.firstError(added));
        var produced = insist(s, 9, produce(s, 9, p, topic, partition, p.batch(sequence, count)));
        if (!Side.firstError(produced).equals("0")) throw new IllegalStateException("set-up: transactional produce: " + Side.firstError(produced));
    }

    static void ended(Side s, Producer p, boolean commit) {
        var done = insist(s, 3, end(p, commit));
        if (!Side.firstError(done).equals("0")) throw new IllegalStateException("set-up: end: " + Side.firstError(done));
        settled(s, p.txn);
    }
}
