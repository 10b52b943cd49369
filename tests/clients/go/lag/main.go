// lag reads a cluster's consumer lag as monitors like Burrow do: not by asking the coordinator, but by reading the records of
// __consumer_offsets and decoding Kafka's keys and values itself. lag BOOTSTRAP prints `GROUP TOPIC PARTITION OFFSET END LAG` for each
// offset that is committed and `GROUP member PROTOCOL-TYPE GENERATION MEMBERS` for each classic group, then `end`.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/IBM/sarama"
)

// reader takes Kafka's types from the front of a record's key or value.
type reader struct {
	bytes []byte
	bad   bool
}

func (r *reader) take(count int) []byte {
	if count < 0 || len(r.bytes) < count {
		r.bad = true
		return make([]byte, 8)
	}
	taken := r.bytes[:count]
	r.bytes = r.bytes[count:]
	return taken
}

func (r *reader) int16() int16 { return int16(binary.BigEndian.Uint16(r.take(2))) }
func (r *reader) int32() int32 { return int32(binary.BigEndian.Uint32(r.take(4))) }
func (r *reader) int64() int64 { return int64(binary.BigEndian.Uint64(r.take(8))) }

// text is a nullable string, null being empty.
func (r *reader) text() string {
	length := int(r.int16())
	if length < 0 || r.bad {
		return ""
	}
	return string(r.take(length))
}

// compact is a string of a flexible version.
func (r *reader) compact() string {
	length, size := binary.Uvarint(r.bytes)
	if size <= 0 || length == 0 {
		r.bad = r.bad || size <= 0
		return ""
	}
	r.take(size)
	return string(r.take(int(length) - 1))
}

type at struct {
	group, topic string
	partition    int32
}

type state struct {
	offsets map[at]int64
	groups  map[string]string
}

// apply takes one record of __consumer_offsets; those of other kinds than commits and classic groups are passed over.
func (s *state) apply(key, value []byte) error {
	k := reader{bytes: key}
	switch version := k.int16(); version {
	case 0, 1:
		where := at{k.text(), k.text(), k.int32()}
		if k.bad {
			return fmt.Errorf("an offset's key: % x", key)
		}
		if value == nil {
			delete(s.offsets, where)
			return nil
		}
		v := reader{bytes: value}
		version := v.int16()
		offset := v.int64()
		if version >= 3 {
			v.int32() // leader epoch
		}
		if version >= 4 {
			v.compact()
		} else {
			v.text()
		}
		committed := v.int64()
		if v.bad || version > 4 || committed <= 0 {
			return fmt.Errorf("an offset's value: % x", value)
		}
		s.offsets[where] = offset
	case 2:
		group := k.text()
		if value == nil {
			delete(s.groups, group)
			return nil
		}
		v := reader{bytes: value}
		version := v.int16()
		if version < 0 || version > 3 {
			return fmt.Errorf("a group's value: % x", value)
		}
		protocolType, generation := v.text(), v.int32()
		v.text() // protocol
		v.text() // leader
		if version >= 2 {
			v.int64() // when it came into this state
		}
		members := v.int32()
		if v.bad {
			return fmt.Errorf("a group's value: % x", value)
		}
		s.groups[group] = fmt.Sprintf("%s %d %d", protocolType, generation, members)
	}
	return nil
}

func run(bootstrap string) error {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	client, err := sarama.NewClient([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	const internal = "__consumer_offsets"
	partitions, err := client.Partitions(internal)
	if err != nil {
		return err
	}
	s := state{offsets: make(map[at]int64), groups: make(map[string]string)}
	merged := make(chan *sarama.ConsumerMessage)
	for _, partition := range partitions {
		messages, err := consumer.ConsumePartition(internal, partition, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		defer messages.AsyncClose()
		go func() {
			for message := range messages.Messages() {
				merged <- message
			}
		}()
	}
	// A partition may end in markers, which no client shows: the end is where nothing more comes.
	for quiet := false; !quiet; {
		select {
		case message := <-merged:
			if err := s.apply(message.Key, message.Value); err != nil {
				return err
			}
		case <-time.After(2 * time.Second):
			quiet = true
		}
	}
	var lines []string
	for where, offset := range s.offsets {
		end, err := client.GetOffset(where.topic, where.partition, sarama.OffsetNewest)
		if err != nil {
			continue // deleted since
		}
		lines = append(lines, fmt.Sprintf("%s %s %d %d %d %d", where.group, where.topic, where.partition, offset, end, end-offset))
	}
	for group, text := range s.groups {
		lines = append(lines, fmt.Sprintf("%s member %s", group, text))
	}
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	fmt.Println("end")
	return nil
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}
