// Consumer groups and transactions by sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"ringlog.test/clients/suite"
)

// handler counts what its member owns and reads.
type handler struct {
	lock   sync.Mutex
	owned  int
	values []string
}

func (h *handler) Setup(session sarama.ConsumerGroupSession) error {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.owned = 0
	for _, partitions := range session.Claims() {
		h.owned += len(partitions)
	}
	return nil
}

func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			h.lock.Lock()
			h.values = append(h.values, string(message.Value))
			h.lock.Unlock()
			session.MarkMessage(message, "read")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (h *handler) state() (int, int) {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.owned, len(h.values)
}

func groupConfig() *sarama.Config {
	c := config()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	c.Consumer.Offsets.Retention = 0
	return c
}

// join starts a member; what it returns makes it leave.
func join(ctx context.Context, group, topic string, h *handler, adjust func(*sarama.Config)) (func(), error) {
	c := groupConfig()
	adjust(c)
	member, err := sarama.NewConsumerGroup([]string{bootstrap}, group, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for range member.Errors() {
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := member.Consume(ctx, []string{topic}, h); err != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return func() { cancel(); <-done; member.Close() }, nil
}

func wait(ctx context.Context, what string, condition func() bool) error {
	for !condition() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func shareAndHandOver(strategy sarama.BalanceStrategy) func(context.Context) error {
	return func(ctx context.Context) error {
		topic, err := create("sarama-share", 4)
		if err != nil {
			return err
		}
		group := suite.Fresh("sarama-share")
		adjust := func(c *sarama.Config) {
			c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
		}
		var first, second handler
		leaveFirst, err := join(ctx, group, topic, &first, adjust)
		if err != nil {
			return err
		}
		defer leaveFirst()
		owns := func(h *handler, count int) func() bool {
			return func() bool { owned, _ := h.state(); return owned == count }
		}
		if err := wait(ctx, "all four", owns(&first, 4)); err != nil {
			return err
		}
		leaveSecond, err := join(ctx, group, topic, &second, adjust)
		if err != nil {
			return err
		}
		if err := wait(ctx, "two each", func() bool { return owns(&first, 2)() && owns(&second, 2)() }); err != nil {
			return err
		}
		leaveSecond()
		return wait(ctx, "four again", owns(&first, 4))
	}
}

func resumeAfterCommit(ctx context.Context) error {
	topic, err := create("sarama-commit", 1)
	if err == nil {
		err = produce(topic, 100, func(*sarama.Config) {})
	}
	if err != nil {
		return err
	}
	group := suite.Fresh("sarama-commit")
	var first, second handler
	leave, err := join(ctx, group, topic, &first, func(*sarama.Config) {})
	if err != nil {
		return err
	}
	if err := wait(ctx, "100 records", func() bool { _, read := first.state(); return read == 100 }); err != nil {
		return err
	}
	leave()
	if err := produce(topic, 10, func(*sarama.Config) {}); err != nil {
		return err
	}
	if leave, err = join(ctx, group, topic, &second, func(*sarama.Config) {}); err != nil {
		return err
	}
	defer leave()
	if err := wait(ctx, "10 records", func() bool { _, read := second.state(); return read >= 10 }); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond)
	if _, read := second.state(); read != 10 {
		return fmt.Errorf("%d records were read after the commit, 10 were new", read)
	}
	return nil
}

func manageOffsets(context.Context) error {
	topic, err := create("sarama-offsets", 1)
	if err == nil {
		err = produce(topic, 10, func(*sarama.Config) {})
	}
	if err != nil {
		return err
	}
	group := suite.Fresh("sarama-offsets")
	for _, version := range []sarama.KafkaVersion{sarama.V0_11_0_0, sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.MaxVersion} {
		c := groupConfig()
		c.Version = version
		client, err := sarama.NewClient([]string{bootstrap}, c)
		if err != nil {
			return err
		}
		defer client.Close()
		manager, err := sarama.NewOffsetManagerFromClient(group, client)
		if err != nil {
			return err
		}
		at, err := manager.ManagePartition(topic, 0)
		if err != nil {
			return fmt.Errorf("as version %s: %w", version, err)
		}
		at.ResetOffset(3, "back")
		at.MarkOffset(7, "marked "+version.String())
		manager.Commit()
		if err := errors.Join(at.Close(), manager.Close()); err != nil {
			return err
		}
		err = withAdmin(func(admin sarama.ClusterAdmin) error {
			shown, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
			if err != nil {
				return err
			}
			if block := shown.GetBlock(topic, 0); block.Offset != 7 || block.Metadata != "marked "+version.String() {
				return fmt.Errorf("as version %s: %+v", version, block)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func administerGroups(ctx context.Context) error {
	topic, err := create("sarama-groups", 2)
	if err == nil {
		err = produce(topic, 10, func(*sarama.Config) {})
	}
	if err != nil {
		return err
	}
	group := suite.Fresh("sarama-groups")
	var h handler
	leave, err := join(ctx, group, topic, &h, func(*sarama.Config) {})
	if err != nil {
		return err
	}
	if err := wait(ctx, "10 records", func() bool { _, read := h.state(); return read == 10 }); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond)
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		listed, err := admin.ListConsumerGroups()
		if err != nil || listed[group] != "consumer" {
			return fmt.Errorf("listed as %q: %v", listed[group], err)
		}
		described, err := admin.DescribeConsumerGroups([]string{group})
		if err != nil || described[0].State != "Stable" || len(described[0].Members) != 1 {
			return fmt.Errorf("described as %+v: %v", described, err)
		}
		if err := admin.DeleteConsumerGroup(group); !errors.Is(err, sarama.ErrNonEmptyGroup) {
			return fmt.Errorf("deleted with a member: %v", err)
		}
		if err := admin.DeleteConsumerGroupOffset(group, topic, 0); !errors.Is(err, sarama.ErrGroupSubscribedToTopic) {
			return fmt.Errorf("offset of a subscribed topic deleted: %v", err)
		}
		leave()
		if err := admin.DeleteConsumerGroupOffset(group, topic, 0); err != nil {
			return err
		}
		if err := admin.DeleteConsumerGroup(group); err != nil && !errors.Is(err, sarama.ErrGroupIDNotFound) {
			return err
		}
		return nil
	})
}

func transactional(id string) (sarama.SyncProducer, error) {
	c := config()
	c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks, c.Producer.Transaction.ID = true, 1, sarama.WaitForAll, id
	return sarama.NewSyncProducer([]string{bootstrap}, c)
}

func committed(ctx context.Context, topic string, count int) (values []string, err error) {
	c := config()
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer([]string{bootstrap}, c)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(topic, 0, 0)
	if err != nil {
		return nil, err
	}
	defer reader.AsyncClose()
	for len(values) < count {
		select {
		case message := <-reader.Messages():
			values = append(values, string(message.Value))
		case <-ctx.Done():
			return values, fmt.Errorf("only %d of %d records", len(values), count)
		}
	}
	return values, nil
}

func transactions(ctx context.Context) error {
	source, err := create("sarama-source", 1)
	if err != nil {
		return err
	}
	topic, err := create("sarama-txn", 1)
	if err != nil {
		return err
	}
	group := suite.Fresh("sarama-txn")
	producer, err := transactional(suite.Fresh("sarama-txn"))
	if err != nil {
		return err
	}
	defer producer.Close()
	for n := range 6 {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint(n))}); err != nil {
			return err
		}
		at := []*sarama.PartitionOffsetMetadata{{Partition: 0, Offset: int64(n), LeaderEpoch: -1}}
		if err := producer.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{source: at}, group); err != nil {
			return err
		}
		if n%2 == 0 {
			err = producer.CommitTxn()
		} else {
			err = producer.AbortTxn()
		}
		if err != nil {
			return err
		}
	}
	if values, err := committed(ctx, topic, 3); err != nil || fmt.Sprint(values) != "[0 2 4]" {
		return fmt.Errorf("read %v: %w", values, err)
	}
	return withAdmin(func(admin sarama.ClusterAdmin) error {
		shown, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{source: {0}})
		if err != nil || shown.GetBlock(source, 0).Offset != 4 {
			return fmt.Errorf("committed %+v: %v", shown.GetBlock(source, 0), err)
		}
		return nil
	})
}

var groupTests = []suite.Test{
	{Name: "partitions_are_shared_and_handed_over_range", Run: shareAndHandOver(sarama.NewBalanceStrategyRange())},
	{Name: "partitions_are_shared_and_handed_over_sticky", Run: shareAndHandOver(sarama.NewBalanceStrategySticky())},
	{Name: "reading_goes_on_where_it_was_committed", Run: resumeAfterCommit},
	{Name: "offsets_are_managed_in_every_version", Run: manageOffsets},
	{Name: "groups_are_administered", Run: administerGroups},
	{Name: "transactions_are_committed_and_aborted", Run: transactions},
}
