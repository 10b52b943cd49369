// sarama: the oldest Go client. Produces with each codec it has, reads partitions directly, administers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/IBM/sarama"

	"ringlog.test/clients/suite"
)

var bootstrap = "127.0.0.1:9092"

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Return.Errors = true
	return c
}

func withAdmin(run func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return run(admin)
}

func create(label string, partitions int32) (string, error) {
	topic := suite.Fresh(label)
	return topic, withAdmin(func(admin sarama.ClusterAdmin) error {
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
	})
}

func produce(topic string, count int, adjust func(*sarama.Config)) error {
	c := config()
	adjust(c)
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, c)
	if err != nil {
		return err
	}
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, count)
	for n := range messages {
		messages[n] = &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(suite.Line(n))}
	}
	return producer.SendMessages(messages)
}

func check(ctx context.Context, topic string, from int64, count int) error {
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(topic, 0, from)
	if err != nil {
		return err
	}
	defer reader.AsyncClose()
	for n := from; n < int64(count); n++ {
		select {
		case message := <-reader.Messages():
			if message.Offset != n || string(message.Value) != suite.Line(int(n)) {
				return fmt.Errorf("record %d: offset %d value %.40q", n, message.Offset, message.Value)
			}
		case err := <-reader.Errors():
			return err
		case <-ctx.Done():
			return fmt.Errorf("waiting for record %d: %w", n, ctx.Err())
		}
	}
	return nil
}

func everyCodec(ctx context.Context) error {
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	} {
		topic, err := create("sarama-"+codec.String(), 1)
		if err == nil {
			err = produce(topic, 1000, func(c *sarama.Config) { c.Producer.Compression = codec })
		}
		if err == nil {
			err = check(ctx, topic, 0, 1000)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	return nil
}

func everyAcks(ctx context.Context) error {
	for _, acks := range []sarama.RequiredAcks{sarama.WaitForLocal, sarama.WaitForAll} {
		topic, err := create("sarama-acks", 1)
		if err == nil {
			err = produce(topic, 100, func(c *sarama.Config) { c.Producer.RequiredAcks = acks })
		}
		if err == nil {
			err = check(ctx, topic, 0, 100)
		}
		if err != nil {
			return fmt.Errorf("acks %d: %w", acks, err)
		}
	}
	return nil
}

func idempotent(ctx context.Context) error {
	topic, err := create("sarama-idem", 1)
	if err == nil {
		err = produce(topic, 2000, func(c *sarama.Config) {
			c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
		})
	}
	if err == nil {
		err = check(ctx, topic, 0, 2000)
	}
	return err
}

func oldVersions(ctx context.Context) error {
	for _, version := range []sarama.KafkaVersion{sarama.V0_11_0_0, sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.V2_8_0_0, sarama.V3_6_0_0} {
		topic, err := create("sarama-"+version.String(), 1)
		if err == nil {
			err = produce(topic, 50, func(c *sarama.Config) { c.Version = version })
		}
		if err == nil {
			err = check(ctx, topic, 10, 50)
		}
		if err != nil {
			return fmt.Errorf("as version %s: %w", version, err)
		}
	}
	return nil
}

func administer(context.Context) error {
	topic, err := create("sarama-admin", 2)
	if err != nil {
		return err
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
		if !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("created twice: %w", err)
		}
		topics, err := admin.ListTopics()
		if err != nil || topics[topic].NumPartitions != 2 {
			return fmt.Errorf("list: %v %v", topics[topic], err)
		}
		if err := admin.CreatePartitions(topic, 3, nil, false); err != nil {
			return err
		}
		size := "2000000"
		alter := map[string]*string{"segment.bytes": &size}
		if err := admin.AlterConfig(sarama.TopicResource, topic, alter, false); err != nil {
			return err
		}
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"segment.bytes"}})
		if err != nil || len(entries) != 1 || entries[0].Value != size {
			return fmt.Errorf("describe: %v %v", entries, err)
		}
		if err := produce(topic, 10, func(*sarama.Config) {}); err != nil {
			return err
		}
		if err := admin.DeleteRecords(topic, map[int32]int64{0: 4}); err != nil {
			return err
		}
		brokers, controller, err := admin.DescribeCluster()
		if err != nil || len(brokers) != 1 || brokers[0].ID() != controller {
			return fmt.Errorf("cluster: %v controller %d %v", brokers, controller, err)
		}
		dirs, err := admin.DescribeLogDirs([]int32{controller})
		if err != nil || len(dirs[controller]) == 0 {
			return fmt.Errorf("log dirs: %v %v", dirs, err)
		}
		return admin.DeleteTopic(topic)
	})
}

func main() {
	if len(os.Args) > 1 {
		bootstrap = os.Args[1]
	}
	suite.Run("sarama", append([]suite.Test{
		{Name: "every_codec_round_trips", Run: everyCodec},
		{Name: "every_acks_level_stores_the_records", Run: everyAcks},
		{Name: "idempotent_producer_stores_each_record_once", Run: idempotent},
		{Name: "older_protocol_versions_work", Run: oldVersions},
		{Name: "topics_are_administered", Run: administer},
	}, groupTests...))
}
