// franz-go: the client that takes the newest version of everything. Produces with each codec and with idempotence,
// reads directly (no group), administers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ringlog.test/clients/suite"
)

var bootstrap = "127.0.0.1:9092"

func client(options ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.RetryTimeout(10 * time.Second), kgo.RecordDeliveryTimeout(20 * time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, options...)...)
	if err != nil {
		panic(err)
	}
	return c
}

func create(ctx context.Context, label string, partitions int32, configs map[string]*string) (string, error) {
	c := client()
	defer c.Close()
	topic := suite.Fresh(label)
	answer, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, configs, topic)
	return topic, errors.Join(err, answer.Err)
}

func produce(ctx context.Context, topic string, count int, options ...kgo.Opt) error {
	c := client(options...)
	defer c.Close()
	records := make([]*kgo.Record, count)
	for n := range records {
		records[n] = &kgo.Record{Topic: topic, Value: []byte(suite.Line(n))}
	}
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	for n, record := range records {
		if record.Offset != int64(n) {
			return fmt.Errorf("record %d was acknowledged at offset %d", n, record.Offset)
		}
	}
	return nil
}

func read(ctx context.Context, topic string, from int64, count int) ([]*kgo.Record, error) {
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}
	c := client(kgo.ConsumePartitions(at))
	defer c.Close()
	var records []*kgo.Record
	for len(records) < count {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

func check(ctx context.Context, topic string, count int) error {
	records, err := read(ctx, topic, 0, count)
	if err != nil {
		return err
	}
	for n, record := range records {
		if record.Offset != int64(n) || string(record.Value) != suite.Line(n) {
			return fmt.Errorf("record %d: offset %d value %.40q", n, record.Offset, record.Value)
		}
	}
	return nil
}

func everyCodec(ctx context.Context) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		topic, err := create(ctx, "franz-"+name, 1, nil)
		if err == nil {
			err = produce(ctx, topic, 3000, kgo.ProducerBatchCompression(codec))
		}
		if err == nil {
			err = check(ctx, topic, 3000)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func everyAcks(ctx context.Context) error {
	for name, acks := range map[string]kgo.Acks{"all": kgo.AllISRAcks(), "leader": kgo.LeaderAck()} {
		topic, err := create(ctx, "franz-"+name, 1, nil)
		if err == nil {
			err = produce(ctx, topic, 100, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
		}
		if err == nil {
			err = check(ctx, topic, 100)
		}
		if err != nil {
			return fmt.Errorf("acks %s: %w", name, err)
		}
	}
	return nil
}

func readFromAnyOffset(ctx context.Context) error {
	topic, err := create(ctx, "franz-from", 1, nil)
	if err == nil {
		err = produce(ctx, topic, 500)
	}
	if err != nil {
		return err
	}
	records, err := read(ctx, topic, 490, 10)
	if err == nil && records[0].Offset != 490 {
		err = fmt.Errorf("began at %d", records[0].Offset)
	}
	return err
}

func manyPartitions(ctx context.Context) error {
	const partitions, each = 50, 40
	topic, err := create(ctx, "franz-many", partitions, nil)
	if err != nil {
		return err
	}
	c := client()
	defer c.Close()
	var records []*kgo.Record
	for n := range partitions * each {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte("x")})
	}
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset != each {
			err = fmt.Errorf("partition %d ends at %d", end.Partition, end.Offset)
		}
	})
	reader := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	for seen := 0; seen < partitions*each; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		seen += fetches.NumRecords()
	}
	return err
}

func administer(ctx context.Context) error {
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	week := "604800000"
	topic, err := create(ctx, "franz-admin", 2, map[string]*string{"retention.ms": &week})
	if err != nil {
		return err
	}
	if again, err := admin.CreateTopic(ctx, 1, 1, nil, topic); !errors.Is(errors.Join(err, again.Err), kerr.TopicAlreadyExists) {
		return fmt.Errorf("created twice: %v", err)
	}
	grown, err := admin.UpdatePartitions(ctx, 4, topic)
	if err != nil || grown.Error() != nil {
		return errors.Join(err, grown.Error())
	}
	shown, err := admin.ListTopics(ctx, topic)
	if err != nil || len(shown[topic].Partitions) != 4 {
		return fmt.Errorf("after growing: %v %v", shown[topic], err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil || len(configs) != 1 || len(configs[0].Configs) < 25 {
		return fmt.Errorf("configs: %v %v", configs, err)
	}
	compact := "compact"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &compact}}, topic)
	if err != nil || altered[0].Err != nil {
		return fmt.Errorf("alter: %v %v", altered, err)
	}
	meta, err := admin.Metadata(ctx)
	if err != nil || meta.Cluster == "" || len(meta.Brokers) != 1 {
		return fmt.Errorf("metadata: %v %v", meta.Cluster, err)
	}
	deleted, err := admin.DeleteTopics(ctx, topic)
	if err != nil || deleted.Error() != nil {
		return errors.Join(err, deleted.Error())
	}
	missing, err := admin.DeleteTopics(ctx, topic)
	if err != nil || !errors.Is(missing.Error(), kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("deleted twice: %v %v", missing.Error(), err)
	}
	return nil
}

func deleteRecords(ctx context.Context) error {
	topic, err := create(ctx, "franz-delete", 1, nil)
	if err == nil {
		err = produce(ctx, topic, 100)
	}
	if err != nil {
		return err
	}
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	offsets := make(kadm.Offsets)
	offsets.AddOffset(topic, 0, 30, -1)
	gone, err := admin.DeleteRecords(ctx, offsets)
	if err != nil || gone.Error() != nil {
		return errors.Join(err, gone.Error())
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if start, _ := starts.Lookup(topic, 0); err != nil || start.Offset != 30 {
		return fmt.Errorf("start %d %v", start.Offset, err)
	}
	records, err := read(ctx, topic, 30, 70)
	if err == nil && !strings.HasPrefix(string(records[0].Value), suite.Line(30)) {
		err = fmt.Errorf("first record left is %q", records[0].Value)
	}
	return err
}

func main() {
	if len(os.Args) > 1 {
		bootstrap = os.Args[1]
	}
	suite.Run("franz-go", append([]suite.Test{
		{Name: "every_codec_round_trips", Run: everyCodec},
		{Name: "every_acks_level_stores_the_records", Run: everyAcks},
		{Name: "reading_starts_at_any_offset", Run: readFromAnyOffset},
		{Name: "fifty_partitions_are_written_and_read", Run: manyPartitions},
		{Name: "topics_are_administered", Run: administer},
		{Name: "deleted_records_are_gone", Run: deleteRecords},
	}, groupTests...))
}
