import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** ApiVersions, DescribeCluster, DescribeProducers, DescribeQuorum. */
final class ClusterCases {
    static void add(Compare c) {
        versions(c);
        cluster(c);
        producers(c);
        quorum(c);
    }

    static void versions(Compare c) {
        c.add("ApiVersions", s -> s.versions(ApiKeys.API_VERSIONS, v -> {
            s.say("plain", v, named(v, "compare", "1.0"));
            if (v < 3) return;
            for (var name : List.of("", "-a", "a-", "a b", "a", "a.b-c", "ä", "a_b", "9", "x".repeat(300))) s.say("client name '" + (name.length() > 20 ? "long" : name) + "'", v, named(v, name, "1.0"));
            for (var version : List.of("", "1..0", "1.0-", "v1.0-rc", "1 0")) s.say("client version '" + version + "'", v, named(v, "compare", version));
        }));
        c.add("ApiVersions/versions that do not exist", s -> {
            for (int v : new int[] {5, 6, 99, 32767, -1}) {
                var frame = Wire.framed(Wire.join(Wire.header(18, v, 7, "compare", v >= 3 ? 2 : 1), new byte[] {1, 1, 0}));
                s.sayRaw("version " + v, ApiKeys.API_VERSIONS, v, frame, 7);
                s.say("the connection goes on after " + v, 0, new ApiVersionsRequestData());
            }
        });
        c.add("ApiVersions/twice on a connection", s -> { for (int v : new int[] {3, 0, 4, 3}) s.say("once more", v, named(v, "compare", "1.0")); });
    }

    static ApiVersionsRequestData named(int v, String name, String version) {
        return v >= 3 ? new ApiVersionsRequestData().setClientSoftwareName(name).setClientSoftwareVersion(version) : new ApiVersionsRequestData();
    }

    static void cluster(Compare c) {
        c.add("DescribeCluster", s -> s.versions(ApiKeys.DESCRIBE_CLUSTER, v -> {
            s.say("plain", v, new DescribeClusterRequestData());
            s.say("with operations", v, new DescribeClusterRequestData().setIncludeClusterAuthorizedOperations(true));
            if (v >= 1) for (int type : new int[] {1, 2, 3, 0, -1}) s.say("endpoint type " + type, v, new DescribeClusterRequestData().setEndpointType((byte) type));
            if (v >= 2) s.say("with fenced brokers", v, new DescribeClusterRequestData().setIncludeFencedBrokers(true));
        }));
    }

    static DescribeProducersRequestData who(String topic, Integer... partitions) {
        return new DescribeProducersRequestData().setTopics(List.of(new DescribeProducersRequestData.TopicRequest().setName(topic).setPartitionIndexes(List.of(partitions))));
    }

    static void producers(Compare c) {
        c.add("DescribeProducers", s -> {
            var topic = s.create("p", 2);
            long id = s.producerId();
            s.fill(topic, 0, Batch.of(3), Batch.of(2).producer(id, 0, 0), Batch.of(1).producer(id, 0, 2));
            s.say("one", 0, who(topic, 0));
            s.say("nobody wrote", 0, who(topic, 1));
            s.say("both", 0, who(topic, 0, 1));
            s.say("unknown topic", 0, who(s.topic("unknown"), 0));
            s.say("unknown partition", 0, who(topic, 0, 9));
            s.say("negative partition", 0, who(topic, -1));
            s.say("bad name", 0, who("a b", 0));
            s.say("no partitions", 0, who(topic));
            s.say("nothing", 0, new DescribeProducersRequestData());
        });
    }

    static DescribeQuorumRequestData quorumOf(String topic, int... partitions) {
        var list = new ArrayList<DescribeQuorumRequestData.PartitionData>();
        for (int p : partitions) list.add(new DescribeQuorumRequestData.PartitionData().setPartitionIndex(p));
        return new DescribeQuorumRequestData().setTopics(List.of(new DescribeQuorumRequestData.TopicData().setTopicName(topic).setPartitions(list)));
    }

    static DescribeQuorumResponseData.PartitionData partitionOf(Side.Answer answer) { return ((DescribeQuorumResponseData) answer.message()).topics().get(0).partitions().get(0); }

    static void quorum(Compare c) {
        c.add("DescribeQuorum", s -> s.versions(ApiKeys.DESCRIBE_QUORUM, v -> {
            // Offsets, epochs and observers are the broker's own; its voters and who leads are not.
            // Kafka's learns its high watermark a moment after it serves.
            Side.until("the quorum has settled", () -> {
                var early = s.ask(v, quorumOf("__cluster_metadata", 0));
                return !early.replied() || partitionOf(early).highWatermark() >= 0;
            });
            var answer = s.ask(v, quorumOf("__cluster_metadata", 0));
            if (answer.replied()) {
                var data = (DescribeQuorumResponseData) answer.message();
                var p = partitionOf(answer);
                s.note("v" + v + " the quorum", data.errorCode() + " " + p.errorCode() + " leader " + p.leaderId() + " voters " + p.currentVoters().stream().map(x -> x.replicaId() + (x.logEndOffset() >= 0 ? " up" : " down")).toList()
                    + " high watermark " + (p.highWatermark() >= 0 ? "known" : "unknown") + " epoch " + (p.leaderEpoch() > 0 ? "positive" : "zero or less") + " nodes " + data.nodes().stream().map(n -> n.nodeId() + " " + n.listeners().size()).toList());
            } else s.note("v" + v + " the quorum", answer.fate());
            s.say("another topic", v, quorumOf("elsewhere", 0));
            s.say("another partition", v, quorumOf("__cluster_metadata", 1));
            s.say("no partitions", v, quorumOf("__cluster_metadata"));
            s.say("nothing", v, new DescribeQuorumRequestData());
        }));
    }
}
