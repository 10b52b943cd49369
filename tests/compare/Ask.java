import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.record.internal.*;

/** Requests in short: what most cases have in common, to be bent afterwards. */
final class Ask {
    static MemoryRecords records(byte[] bytes) { return bytes == null ? null : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)); }

    // Produce.

    static ProduceRequestData.PartitionProduceData part(int partition, byte[] bytes) {
        return new ProduceRequestData.PartitionProduceData().setIndex(partition).setRecords(records(bytes));
    }

    static ProduceRequestData.TopicProduceData topic(Side s, int version, String name, ProduceRequestData.PartitionProduceData... parts) {
        var topic = new ProduceRequestData.TopicProduceData().setPartitionData(List.of(parts));
        return version >= 13 ? topic.setTopicId(s.id(name)) : topic.setName(name);
    }

    static ProduceRequestData produce(int acks, ProduceRequestData.TopicProduceData... topics) {
        var collection = new ProduceRequestData.TopicProduceDataCollection();
        collection.addAll(List.of(topics));
        return new ProduceRequestData().setAcks((short) acks).setTimeoutMs(5000).setTopicData(collection);
    }

    static ProduceRequestData produce(Side s, int version, String name, int partition, byte[] bytes) {
        return produce(-1, topic(s, version, name, part(partition, bytes)));
    }

    // Fetch.

    static FetchRequestData.FetchPartition want(int partition, long offset) { return want(partition, offset, 1 << 20); }

    static FetchRequestData.FetchPartition want(int partition, long offset, int maxBytes) {
        return new FetchRequestData.FetchPartition().setPartition(partition).setFetchOffset(offset).setPartitionMaxBytes(maxBytes);
    }

    static FetchRequestData.FetchTopic fetchTopic(Side s, int version, String name, FetchRequestData.FetchPartition... parts) {
        var topic = new FetchRequestData.FetchTopic().setPartitions(List.of(parts));
        return version >= 13 ? topic.setTopicId(s.id(name)) : topic.setTopic(name);
    }

    static FetchRequestData fetch(int version, FetchRequestData.FetchTopic... topics) {
        var request = new FetchRequestData().setMaxWaitMs(0).setMinBytes(1).setMaxBytes(50 << 20).setTopics(List.of(topics));
        if (version <= 14) request.setReplicaId(-1);
        return request;
    }

    static FetchRequestData fetch(Side s, int version, String name, int partition, long offset) {
        return fetch(version, fetchTopic(s, version, name, want(partition, offset)));
    }

    static FetchRequestData.ForgottenTopic forget(Side s, int version, String name, Integer... partitions) {
        var topic = new FetchRequestData.ForgottenTopic().setPartitions(List.of(partitions));
        return version >= 13 ? topic.setTopicId(s.id(name)) : topic.setTopic(name);
    }

    // Offsets.

    static ListOffsetsRequestData.ListOffsetsPartition at(int partition, long timestamp) {
        return new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(partition).setTimestamp(timestamp);
    }

    static ListOffsetsRequestData listOffsets(String name, ListOffsetsRequestData.ListOffsetsPartition... parts) {
        return new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(new ListOffsetsRequestData.ListOffsetsTopic().setName(name).setPartitions(List.of(parts))));
    }

    static DeleteRecordsRequestData deleteRecords(String name, int partition, long offset) {
        var part = new DeleteRecordsRequestData.DeleteRecordsPartition().setPartitionIndex(partition).setOffset(offset);
        return new DeleteRecordsRequestData().setTimeoutMs(5000).setTopics(List.of(new DeleteRecordsRequestData.DeleteRecordsTopic().setName(name).setPartitions(List.of(part))));
    }

    static OffsetForLeaderEpochRequestData epochs(String name, int partition, int current, int wanted) {
        var part = new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(partition).setCurrentLeaderEpoch(current).setLeaderEpoch(wanted);
        var topics = new OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection();
        topics.add(new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic().setTopic(name).setPartitions(List.of(part)));
        return new OffsetForLeaderEpochRequestData().setTopics(topics);
    }

    // Topics.

    static MetadataRequestData.MetadataRequestTopic named(String name) { return new MetadataRequestData.MetadataRequestTopic().setName(name); }

    static MetadataRequestData metadata(int version, String... names) {
        var request = new MetadataRequestData().setTopics(Arrays.stream(names).map(Ask::named).toList());
        return version >= 4 ? request.setAllowAutoTopicCreation(false) : request;
    }

    static CreateTopicsRequestData.CreatableTopic topic(String name, int partitions, int replicas, String... configs) {
        var topic = new CreateTopicsRequestData.CreatableTopic().setName(name).setNumPartitions(partitions).setReplicationFactor((short) replicas);
        for (int n = 0; n < configs.length; n += 2) topic.configs().add(new CreateTopicsRequestData.CreatableTopicConfig().setName(configs[n]).setValue(configs[n + 1]));
        return topic;
    }

    static CreateTopicsRequestData.CreatableTopic assigned(String name, int[]... replicas) {
        var topic = new CreateTopicsRequestData.CreatableTopic().setName(name).setNumPartitions(-1).setReplicationFactor((short) -1);
        for (int p = 0; p < replicas.length; p++) topic.assignments().add(new CreateTopicsRequestData.CreatableReplicaAssignment().setPartitionIndex(p).setBrokerIds(Arrays.stream(replicas[p]).boxed().toList()));
        return topic;
    }

    static CreateTopicsRequestData create(CreateTopicsRequestData.CreatableTopic... topics) {
        var request = new CreateTopicsRequestData().setTimeoutMs(10_000);
        for (var topic : topics) request.topics().mustAdd(topic);
        return request;
    }

    static DeleteTopicsRequestData delete(int version, String... names) {
        var request = new DeleteTopicsRequestData().setTimeoutMs(10_000);
        if (version <= 5) return request.setTopicNames(List.of(names));
        for (var name : names) request.topics().add(new DeleteTopicsRequestData.DeleteTopicState().setName(name));
        return request;
    }

    static DeleteTopicsRequestData deleteById(Uuid... ids) {
        var request = new DeleteTopicsRequestData().setTimeoutMs(10_000);
        for (var id : ids) request.topics().add(new DeleteTopicsRequestData.DeleteTopicState().setName(null).setTopicId(id));
        return request;
    }

    static CreatePartitionsRequestData grow(String name, int count, int[]... assignments) {
        var topic = new CreatePartitionsRequestData.CreatePartitionsTopic().setName(name).setCount(count);
        topic.setAssignments(assignments.length == 0 ? null : new ArrayList<>());
        for (var a : assignments) topic.assignments().add(new CreatePartitionsRequestData.CreatePartitionsAssignment().setBrokerIds(Arrays.stream(a).boxed().toList()));
        var request = new CreatePartitionsRequestData().setTimeoutMs(10_000);
        request.topics().add(topic);
        return request;
    }

    // Configs. Resource types: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.

    static DescribeConfigsRequestData describe(int type, String name, String... keys) {
        var resource = new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) type).setResourceName(name).setConfigurationKeys(keys.length == 0 ? null : List.of(keys));
        return new DescribeConfigsRequestData().setResources(List.of(resource));
    }

    static AlterConfigsRequestData alter(int type, String name, String... pairs) {
        var request = new AlterConfigsRequestData();
        request.resources().add(alterResource(type, name, pairs));
        return request;
    }

    static AlterConfigsRequestData.AlterConfigsResource alterResource(int type, String name, String... pairs) {
        var resource = new AlterConfigsRequestData.AlterConfigsResource().setResourceType((byte) type).setResourceName(name);
        for (int n = 0; n < pairs.length; n += 2) resource.configs().add(new AlterConfigsRequestData.AlterableConfig().setName(pairs[n]).setValue(pairs[n + 1]));
        return resource;
    }

    /** Operations as `op`, `key`, `value` triples; op: 0 set, 1 delete, 2 append, 3 subtract. */
    static IncrementalAlterConfigsRequestData incremental(int type, String name, Object... triples) {
        var request = new IncrementalAlterConfigsRequestData();
        request.resources().add(incrementalResource(type, name, triples));
        return request;
    }

    static IncrementalAlterConfigsRequestData.AlterConfigsResource incrementalResource(int type, String name, Object... triples) {
        var resource = new IncrementalAlterConfigsRequestData.AlterConfigsResource().setResourceType((byte) type).setResourceName(name);
        for (int n = 0; n < triples.length; n += 3) resource.configs().mustAdd(new IncrementalAlterConfigsRequestData.AlterableConfig().setConfigOperation(((Integer) triples[n]).byteValue()).setName((String) triples[n + 1]).setValue((String) triples[n + 2]));
        return resource;
    }
}
