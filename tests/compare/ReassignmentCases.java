import java.util.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.ApiKeys;

/** AlterPartitionReassignments and ListPartitionReassignments, in a cluster of one broker. */
final class ReassignmentCases {
    static void add(Compare c) {
        c.add("AlterPartitionReassignments", ReassignmentCases::alters);
        c.add("ListPartitionReassignments", ReassignmentCases::lists);
    }

    static AlterPartitionReassignmentsRequestData.ReassignablePartition to(int partition, Integer... brokers) {
        return new AlterPartitionReassignmentsRequestData.ReassignablePartition().setPartitionIndex(partition).setReplicas(List.of(brokers));
    }

    static AlterPartitionReassignmentsRequestData.ReassignablePartition cancel(int partition) {
        return new AlterPartitionReassignmentsRequestData.ReassignablePartition().setPartitionIndex(partition).setReplicas(null);
    }

    static AlterPartitionReassignmentsRequestData.ReassignableTopic topic(String name, AlterPartitionReassignmentsRequestData.ReassignablePartition... partitions) {
        return new AlterPartitionReassignmentsRequestData.ReassignableTopic().setName(name).setPartitions(List.of(partitions));
    }

    static AlterPartitionReassignmentsRequestData alter(AlterPartitionReassignmentsRequestData.ReassignableTopic... topics) {
        return new AlterPartitionReassignmentsRequestData().setTimeoutMs(5000).setTopics(List.of(topics));
    }

    static ListPartitionReassignmentsRequestData list(String name, Integer... partitions) {
        var topic = new ListPartitionReassignmentsRequestData.ListPartitionReassignmentsTopics().setName(name).setPartitionIndexes(List.of(partitions));
        return new ListPartitionReassignmentsRequestData().setTimeoutMs(5000).setTopics(List.of(topic));
    }

    static void alters(Side s) {
        var topic = s.create("r", 2);
        s.versions(ApiKeys.ALTER_PARTITION_REASSIGNMENTS, v -> {
            s.say("where it is", v, alter(topic(topic, to(0, 1))));
            s.say("both where they are", v, alter(topic(topic, to(0, 1), to(1, 1))));
            s.say("a broker that is not there", v, alter(topic(topic, to(0, 7), to(1, 1))));
            s.say("one more that is not there", v, alter(topic(topic, to(0, 1, 7))));
            s.say("twice the same", v, alter(topic(topic, to(0, 1, 1))));
            s.say("nowhere", v, alter(topic(topic, to(0))));
            s.say("a negative broker", v, alter(topic(topic, to(0, -1))));
            s.say("given up", v, alter(topic(topic, cancel(0), cancel(1))));
            s.say("unknown partition", v, alter(topic(topic, to(9, 1), cancel(9), to(-1, 1))));
            s.say("unknown topic", v, alter(topic(s.topic("unknown"), to(0, 1), cancel(0)), topic(topic, to(0, 1))));
            s.say("bad names", v, alter(topic("a b", to(0, 1)), topic("", to(0, 1))));
            s.say("a partition twice", v, alter(topic(topic, to(0, 1), to(0, 7))));
            s.say("a topic twice", v, alter(topic(topic, to(0, 1)), topic(topic, to(1, 7))));
            s.say("no partitions", v, alter(topic(topic)));
            s.say("nothing", v, alter());
            if (v >= 1) {
                s.say("the same count", v, alter(topic(topic, to(0, 1))).setAllowReplicationFactorChange(false));
                s.say("another count", v, alter(topic(topic, to(0, 1, 7), to(1))).setAllowReplicationFactorChange(false));
            }
        });
        s.say("the topic is as it was", 12, Ask.metadata(12, topic));
    }

    static void lists(Side s) {
        var topic = s.create("l", 2);
        s.versions(ApiKeys.LIST_PARTITION_REASSIGNMENTS, v -> {
            s.say("one", v, list(topic, 0));
            s.say("both and an unknown one", v, list(topic, 0, 1, 9, -1));
            s.say("unknown topic", v, list(s.topic("unknown"), 0));
            s.say("bad name", v, list("a b", 0));
            s.say("no partitions", v, list(topic));
            s.say("no topics", v, new ListPartitionReassignmentsRequestData().setTopics(List.of()));
            s.say("all", v, new ListPartitionReassignmentsRequestData().setTopics(null));
        });
    }
}
