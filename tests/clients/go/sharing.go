package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// severalConsumers: consumers of one channel share its messages, each message going to exactly one of them.
func severalConsumers(c *cluster) error {
	const count, consumers = 300, 3
	if err := c.createChannels("ch"); err != nil {
		return err
	}
	seen := newLedger()
	var shares [consumers]atomic.Int32
	var running []*nsq.Consumer
	for number := 0; number < consumers; number++ {
		settings := config()
		settings.MaxInFlight = 4
		consumer, err := c.consume("ch", settings, func(m *nsq.Message) error {
			shares[number].Add(1)
			seen.add(m.Body, m.Attempts)
			return nil
		})
		if err != nil {
			return err
		}
		running = append(running, consumer)
	}
	for _, consumer := range running {
		if err := connected(consumer, len(c.nsqds)); err != nil {
			return err
		}
	}
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return err
	}
	for number := range shares {
		if shares[number].Load() == 0 {
			return fmt.Errorf("consumer %d of %d got nothing", number, consumers)
		}
	}
	return stopAll(running)
}

// severalChannels: every channel of a topic gets every message.
func severalChannels(c *cluster) error {
	const count = 100
	channels := []string{"archive", "billing", "shipping"}
	if err := c.createChannels(channels...); err != nil {
		return err
	}
	var running []*nsq.Consumer
	var ledgers []*ledger
	for _, channel := range channels {
		seen := newLedger()
		consumer, err := c.consume(channel, config(), recordIn(seen))
		if err != nil {
			return err
		}
		running, ledgers = append(running, consumer), append(ledgers, seen)
	}
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	for index, seen := range ledgers {
		if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
			return fmt.Errorf("channel %s: %w", channels[index], err)
		}
	}
	return stopAll(running)
}

// maxInFlight: no connection ever carries more messages than go-nsq said it can take.
func maxInFlight(c *cluster) error {
	const count, allowed = 100, 6
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	settings := config()
	settings.MaxInFlight = allowed
	seen := newLedger()
	held := &holder{now: map[string]int{}, release: make(chan struct{})}
	consumer, err := nsq.NewConsumer(c.topic, "ch", settings)
	if err != nil {
		return err
	}
	consumer.SetLogger(warnings, nsq.LogLevelError)
	consumer.AddConcurrentHandlers(nsq.HandlerFunc(func(m *nsq.Message) error {
		held.take(m.NSQDAddress, allowed)
		<-held.release
		seen.add(m.Body, m.Attempts)
		held.give(m.NSQDAddress)
		return nil
	}), 4*allowed)
	if err := consumer.ConnectToNSQLookupd(c.lookupd); err != nil {
		return err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return err
	}
	// Per connection: go-nsq itself exceeds the sum for a moment when it finds a second nsqd.
	if held.most > allowed {
		return fmt.Errorf("%d messages at once with max_in_flight %d", held.most, allowed)
	}
	return stop(consumer)
}

// holder counts the messages that handlers hold per nsqd, and keeps them until there are enough in all.
type holder struct {
	mutex   sync.Mutex
	now     map[string]int
	sum     int
	most    int
	opened  bool
	release chan struct{}
}

func (h *holder) take(address string, enough int) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.now[address]++
	h.sum++
	h.most = max(h.most, h.now[address])
	if h.sum == enough && !h.opened {
		h.opened = true
		// Time for one message too many to show itself.
		time.AfterFunc(200*time.Millisecond, func() { close(h.release) })
	}
}

func (h *holder) give(address string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.now[address]--
	h.sum--
}

// gracefulStop: a consumer that is stopped finishes what it holds, and only what it never got goes to the next one.
func gracefulStop(c *cluster) error {
	const count = 100
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	seen := newLedger()
	first, err := c.consume("ch", config(), recordIn(seen))
	if err != nil {
		return err
	}
	if _, err := seen.wait(count / 2); err != nil {
		return err
	}
	if err := stop(first); err != nil {
		return err
	}
	second, err := c.consume("ch", config(), recordIn(seen))
	if err != nil {
		return err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return err
	}
	return stop(second)
}

// lateTopic: a consumer that asked nsqlookupd for a topic nobody has yet finds it once it exists.
func lateTopic(c *cluster) error {
	seen := newLedger()
	consumer, err := nsq.NewConsumer(c.topic, "ch", config())
	if err != nil {
		return err
	}
	consumer.SetLogger(warnings, nsq.LogLevelMax)
	consumer.AddHandler(recordIn(seen))
	if err := consumer.ConnectToNSQLookupd(c.lookupd); err != nil {
		return err
	}
	if connections := consumer.Stats().Connections; connections != 0 {
		return fmt.Errorf("%d connections before the topic exists", connections)
	}
	if err := c.publishEach(10, numbered); err != nil {
		return err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), 10, numbered)); err != nil {
		return err
	}
	return stop(consumer)
}

func connected(consumer *nsq.Consumer, count int) error {
	limit := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for consumer.Stats().Connections < count {
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("%d of %d connections after %s", consumer.Stats().Connections, count, patience)
		}
	}
	return nil
}

func stopAll(running []*nsq.Consumer) error {
	for _, consumer := range running {
		if err := stop(consumer); err != nil {
			return err
		}
	}
	return nil
}
