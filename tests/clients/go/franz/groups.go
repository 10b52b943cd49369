// Groups of both protocols and transactions by franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ringlog.test/clients/suite"
)

func fill(ctx context.Context, topic string, partitions, count int) error {
	c := client()
	defer c.Close()
	records := make([]*kgo.Record, count)
	for n := range records {
		records[n] = &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte(suite.Line(n))}
	}
	return c.ProduceSync(ctx, records...).FirstErr()
}

// member joins a group. newProtocol asks for KIP-848, which franz-go takes up where the broker has it.
func member(ctx context.Context, group, topic string, newProtocol bool, options ...kgo.Opt) *kgo.Client {
	if newProtocol {
		options = append(options, kgo.ServerSideBalancer())
	}
	return client(append([]kgo.Opt{
		kgo.WithContext(ctx), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
	}, options...)...)
}

func drain(ctx context.Context, c *kgo.Client, count int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < count {
		fetches := c.PollRecords(ctx, count-len(records))
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

// settle waits until so many members own so many partitions between them.
func settle(ctx context.Context, group string, members, partitions int) error {
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	var last string
	for ctx.Err() == nil {
		assigned, shown := make(map[int32]int), 0
		if described, err := admin.DescribeConsumerGroups(ctx, group); err == nil && described[group].Err == nil {
			shown = len(described[group].Members)
			for _, m := range described[group].Members {
				for _, at := range m.Assignment {
					for p := range at {
						assigned[p]++
					}
				}
			}
		} else if described, err := admin.DescribeGroups(ctx, group); err == nil {
			shown = len(described[group].Members)
			for _, at := range described.AssignedPartitions() {
				for p := range at {
					assigned[p]++
				}
			}
		}
		if shown == members && len(assigned) == partitions {
			return nil
		}
		last = fmt.Sprintf("%d members own %d partitions", shown, len(assigned))
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("wanted %d members and %d partitions: %s", members, partitions, last)
}

func shareAndHandOver(newProtocol bool) func(context.Context) error {
	return func(ctx context.Context) error {
		topic, err := create(ctx, "franz-share", 6, nil)
		if err == nil {
			err = fill(ctx, topic, 6, 300)
		}
		if err != nil {
			return err
		}
		group := suite.Fresh("franz-share")
		background, stop := context.WithCancel(ctx)
		defer stop()
		seen := make(chan string, 1000)
		join := func() *kgo.Client {
			c := member(background, group, topic, newProtocol)
			go func() {
				for background.Err() == nil {
					fetches := c.PollFetches(background)
					if fetches.IsClientClosed() {
						return
					}
					fetches.EachRecord(func(r *kgo.Record) { seen <- string(r.Value) })
					if err := c.CommitUncommittedOffsets(background); err != nil && background.Err() == nil {
						time.Sleep(50 * time.Millisecond)
					}
				}
			}()
			return c
		}
		first := join()
		defer first.Close()
		if err := settle(ctx, group, 1, 6); err != nil {
			return err
		}
		second := join()
		if err := settle(ctx, group, 2, 6); err != nil {
			return err
		}
		second.Close()
		if err := settle(ctx, group, 1, 6); err != nil {
			return err
		}
		once := make(map[string]bool)
		for len(once) < 300 {
			select {
			case value := <-seen:
				once[value] = true
			case <-ctx.Done():
				return fmt.Errorf("only %d of 300 records", len(once))
			}
		}
		return nil
	}
}

func resumeAfterCommit(newProtocol bool) func(context.Context) error {
	return func(ctx context.Context) error {
		topic, err := create(ctx, "franz-commit", 1, nil)
		if err == nil {
			err = produce(ctx, topic, 100)
		}
		if err != nil {
			return err
		}
		group := suite.Fresh("franz-commit")
		for at := 0; at < 100; at += 50 {
			c := member(ctx, group, topic, newProtocol)
			records, err := drain(ctx, c, 50)
			if err == nil {
				err = c.CommitRecords(ctx, records...)
			}
			c.Close()
			if err != nil {
				return err
			}
			if records[0].Offset != int64(at) {
				return fmt.Errorf("began at %d, wanted %d", records[0].Offset, at)
			}
		}
		return nil
	}
}

func staticMember(newProtocol bool) func(context.Context) error {
	return func(ctx context.Context) error {
		topic, err := create(ctx, "franz-static", 2, nil)
		if err != nil {
			return err
		}
		group := suite.Fresh("franz-static")
		first := member(ctx, group, topic, newProtocol, kgo.InstanceID("one"))
		defer first.Close()
		go first.PollFetches(ctx)
		if err := settle(ctx, group, 1, 2); err != nil {
			return err
		}
		// The same name again takes the place over; whoever had it is fenced.
		second := member(ctx, group, topic, newProtocol, kgo.InstanceID("one"))
		defer second.Close()
		go second.PollFetches(ctx)
		if newProtocol {
			// Here the newcomer is refused while the first one lives.
			time.Sleep(2 * time.Second)
			return settle(ctx, group, 1, 2)
		}
		for ctx.Err() == nil {
			fetches := first.PollFetches(ctx)
			var fenced error
			fetches.EachError(func(_ string, _ int32, err error) {
				if errors.Is(err, kerr.FencedInstanceID) {
					fenced = err
				}
			})
			if fenced != nil {
				return settle(ctx, group, 1, 2)
			}
		}
		return errors.New("the first one was never fenced")
	}
}

func administerGroups(ctx context.Context) error {
	topic, err := create(ctx, "franz-groups", 2, nil)
	if err == nil {
		err = fill(ctx, topic, 2, 20)
	}
	if err != nil {
		return err
	}
	group := suite.Fresh("franz-groups")
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	offsets := make(kadm.Offsets)
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 4, LeaderEpoch: -1, Metadata: "why"})
	if answers, err := admin.CommitOffsets(ctx, group, offsets); err != nil || answers.Error() != nil {
		return errors.Join(err, answers.Error())
	}
	fetched, err := admin.FetchOffsets(ctx, group)
	if at, _ := fetched.Lookup(topic, 0); err != nil || at.At != 4 || at.Metadata != "why" {
		return fmt.Errorf("fetched %v %v", at, err)
	}
	lags, err := admin.Lag(ctx, group)
	if err != nil || lags.Error() != nil || lags[group].Lag[topic][0].Lag != 6 {
		return fmt.Errorf("lag %v %v", lags[group].Lag, err)
	}
	listed, err := admin.ListGroups(ctx, "Empty")
	if _, there := listed[group]; err != nil || !there {
		return fmt.Errorf("not listed as empty: %v", err)
	}
	if deleted, err := admin.DeleteOffsets(ctx, group, offsets.TopicsSet()); err != nil || deleted.Error() != nil {
		return errors.Join(err, deleted.Error())
	}
	// With its last offset an empty group that has no members is gone, or may still be there to delete.
	if deleted, err := admin.DeleteGroup(ctx, group); err != nil || deleted.Err != nil && !errors.Is(deleted.Err, kerr.GroupIDNotFound) {
		return errors.Join(err, deleted.Err)
	}
	if deleted, err := admin.DeleteGroup(ctx, group); !errors.Is(errors.Join(err, deleted.Err), kerr.GroupIDNotFound) {
		return fmt.Errorf("deleted twice: %v %v", err, deleted.Err)
	}
	return nil
}

func committed(ctx context.Context, topic string, wait time.Duration) (values []string) {
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	c := client(kgo.ConsumePartitions(at), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func commitAndAbort(ctx context.Context) error {
	topic, err := create(ctx, "franz-txn", 1, nil)
	if err != nil {
		return err
	}
	c := client(kgo.TransactionalID(suite.Fresh("franz-txn")))
	defer c.Close()
	for n := range 6 {
		if err := c.BeginTransaction(); err != nil {
			return err
		}
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte{byte('0' + n)}}).FirstErr(); err != nil {
			return err
		}
		if err := c.EndTransaction(ctx, kgo.TransactionEndTry(n%2 == 0)); err != nil {
			return err
		}
	}
	if got := fmt.Sprint(committed(ctx, topic, 2*time.Second)); got != "[0 2 4]" {
		return fmt.Errorf("read %s", got)
	}
	return nil
}

// etl copies a topic by a GroupTransactSession, which ends a transaction only while the group stands still.
func etl(newProtocol bool) func(context.Context) error {
	return func(ctx context.Context) error {
		source, err := create(ctx, "franz-source", 1, nil)
		if err != nil {
			return err
		}
		target, err := create(ctx, "franz-target", 1, nil)
		if err == nil {
			err = produce(ctx, source, 200)
		}
		if err != nil {
			return err
		}
		var protocol []kgo.Opt
		if newProtocol {
			protocol = append(protocol, kgo.ServerSideBalancer())
		}
		session, err := kgo.NewGroupTransactSession(append(protocol, kgo.SeedBrokers(bootstrap), kgo.TransactionalID(suite.Fresh("franz-etl")),
			kgo.ConsumerGroup(suite.Fresh("franz-etl")), kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			return err
		}
		defer session.Close()
		for copied, round := 0, 0; copied < 200; round++ {
			fetches := session.PollRecords(ctx, 20)
			if err := fetches.Err(); err != nil {
				return err
			}
			if err := session.Begin(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) { session.Produce(ctx, &kgo.Record{Topic: target, Value: r.Value}, nil) })
			ended, err := session.End(ctx, kgo.TransactionEndTry(round%3 != 1))
			if err != nil {
				return err
			}
			if ended {
				copied += fetches.NumRecords()
			}
		}
		values := committed(ctx, target, 2*time.Second)
		if len(values) != 200 {
			return fmt.Errorf("%d records of 200", len(values))
		}
		for n, value := range values {
			if value != suite.Line(n) {
				return fmt.Errorf("record %d is %.30q", n, value)
			}
		}
		return nil
	}
}

func seeTransactions(ctx context.Context) error {
	topic, err := create(ctx, "franz-see", 1, nil)
	if err != nil {
		return err
	}
	id := suite.Fresh("franz-see")
	c := client(kgo.TransactionalID(id))
	defer c.Close()
	if err := c.BeginTransaction(); err != nil {
		return err
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
		return err
	}
	admin := kadm.NewClient(client())
	defer admin.Close()
	listed, err := admin.ListTransactions(ctx, nil, []string{"Ongoing"})
	if _, there := listed[id]; err != nil || !there {
		return fmt.Errorf("not listed: %v", err)
	}
	described, err := admin.DescribeTransactions(ctx, id)
	if shown := described[id]; err != nil || shown.State != "Ongoing" || !shown.Topics.Lookup(topic, 0) {
		return fmt.Errorf("described as %+v %v", shown, err)
	}
	set := make(kadm.TopicsSet)
	set.Add(topic, 0)
	producers, err := admin.DescribeProducers(ctx, set)
	if err != nil || len(producers[topic].Partitions[0].ActiveProducers) != 1 {
		return fmt.Errorf("producers %v %v", producers[topic], err)
	}
	return c.EndTransaction(ctx, kgo.TryCommit)
}

var groupTests = []suite.Test{
	{Name: "partitions_are_shared_and_handed_over_classic", Run: shareAndHandOver(false)},
	{Name: "partitions_are_shared_and_handed_over_consumer", Run: shareAndHandOver(true)},
	{Name: "reading_goes_on_where_it_was_committed_classic", Run: resumeAfterCommit(false)},
	{Name: "reading_goes_on_where_it_was_committed_consumer", Run: resumeAfterCommit(true)},
	{Name: "a_static_member_is_fenced_by_its_namesake", Run: staticMember(false)},
	{Name: "a_static_member_keeps_its_name_in_the_new_protocol", Run: staticMember(true)},
	{Name: "groups_are_administered", Run: administerGroups},
	{Name: "only_committed_transactions_are_read", Run: commitAndAbort},
	{Name: "a_group_copies_in_transactions_classic", Run: etl(false)},
	{Name: "a_group_copies_in_transactions_consumer", Run: etl(true)},
	{Name: "open_transactions_are_seen", Run: seeTransactions},
}
