package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// requeue: a message given back at once returns with the next attempt, the same id and body.
func requeue(c *cluster) error {
	return stopAfter(c.failOnce(0, func(m *nsq.Message) { m.RequeueWithoutBackoff(0) }))
}

// requeueWithDelay: it does not return before the delay that was asked for.
func requeueWithDelay(c *cluster) error {
	const delay = 600 * time.Millisecond
	return stopAfter(c.failOnce(delay, func(m *nsq.Message) { m.RequeueWithoutBackoff(delay) }))
}

// timeout: a message that nobody answers returns after the consumer's own msg_timeout.
func timeout(c *cluster) error {
	// go-nsq counts the unanswered first deliveries as held for good, so this consumer can never stop politely.
	// The daemon's second began before our handler saw the message: half of it is what can be asked for.
	_, err := c.failOnce(time.Second/2, func(*nsq.Message) {})
	return err
}

// failOnce lets the first delivery of each message fail and checks the second: same id, attempts 2, not too early.
func (c *cluster) failOnce(earliest time.Duration, fail func(*nsq.Message)) (*nsq.Consumer, error) {
	const count = 20
	if err := c.publishEach(count, numbered); err != nil {
		return nil, err
	}
	settings := config()
	settings.MsgTimeout = time.Second
	type first struct {
		id nsq.MessageID
		at time.Time
	}
	firsts := map[string]first{} // one handler goroutine: no lock
	seen := newLedger()
	problems := make(chan error, 100)
	consumer, err := c.consume("ch", settings, func(m *nsq.Message) error {
		m.DisableAutoResponse()
		body := string(m.Body)
		before, again := firsts[body]
		if !again {
			firsts[body] = first{m.ID, time.Now()}
			fail(m)
			return nil
		}
		if m.ID != before.id || m.Attempts != 2 {
			problems <- fmt.Errorf("%q: id %s attempts %d after id %s", body, m.ID, m.Attempts, before.id)
		}
		if early := earliest - time.Since(before.at); early > 0 {
			problems <- fmt.Errorf("%q: returned %s too early", body, early)
		}
		m.Finish()
		seen.add(m.Body, m.Attempts)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return nil, err
	}
	select {
	case problem := <-problems:
		return nil, problem
	default:
		return consumer, nil
	}
}

func stopAfter(consumer *nsq.Consumer, err error) error {
	if err != nil {
		return err
	}
	return stop(consumer)
}

// touch: a message touched in time is not delivered twice, however long its handler takes.
func touch(c *cluster) error {
	if err := c.publishEach(1, numbered); err != nil {
		return err
	}
	settings := config()
	settings.MsgTimeout = 1500 * time.Millisecond
	seen := newLedger()
	consumer, err := c.consume("ch", settings, func(m *nsq.Message) error {
		m.DisableAutoResponse()
		seen.add(m.Body, m.Attempts)
		go func() {
			// The work itself: 3.6 s, more than two timeouts.
			tick := time.NewTicker(300 * time.Millisecond)
			defer tick.Stop()
			for round := 0; round < 12; round++ {
				<-tick.C
				m.Touch()
			}
			m.Finish()
			seen.add([]byte("finished"), 0)
		}()
		return nil
	})
	if err != nil {
		return err
	}
	wanted := names(len(c.nsqds), 1, numbered)
	for range c.nsqds {
		wanted = append(wanted, "finished")
	}
	if err := seen.exactlyOnce(wanted); err != nil {
		return err
	}
	return stop(consumer)
}

// attempts: go-nsq gives a message up after MaxAttempts deliveries, numbered 1, 2, 3.
func attempts(c *cluster) error {
	if err := c.publishEach(1, numbered); err != nil {
		return err
	}
	settings := config()
	settings.MaxAttempts = 3
	watcher := &failureWatcher{seen: newLedger(), given: newLedger()}
	consumer, err := nsq.NewConsumer(c.topic, "ch", settings)
	if err != nil {
		return err
	}
	consumer.SetLogger(warnings, nsq.LogLevelMax)
	consumer.AddHandler(watcher)
	if err := consumer.ConnectToNSQLookupd(c.lookupd); err != nil {
		return err
	}
	if err := watcher.given.exactlyOnce(names(len(c.nsqds), 1, numbered)); err != nil {
		return err
	}
	next := map[string]uint16{}
	for _, d := range watcher.seen.all() {
		next[d.body]++
		if d.attempts != next[d.body] {
			return fmt.Errorf("%q: attempts %d at delivery %d", d.body, d.attempts, next[d.body])
		}
	}
	for body, deliveries := range next {
		if deliveries != 3 {
			return fmt.Errorf("%q: handled %d times", body, deliveries)
		}
	}
	return stop(consumer)
}

type failureWatcher struct{ seen, given *ledger }

func (w *failureWatcher) HandleMessage(m *nsq.Message) error {
	w.seen.add(m.Body, m.Attempts)
	m.RequeueWithoutBackoff(0)
	return nil
}

func (w *failureWatcher) LogFailedMessage(m *nsq.Message) { w.given.add(m.Body, m.Attempts) }

// backoff: go-nsq answers failures with RDY 0 and one probe; after a success everything is delivered.
func backoff(c *cluster) error {
	const count = 20
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	settings := config()
	settings.BackoffMultiplier = 100 * time.Millisecond
	settings.MaxBackoffDuration = 500 * time.Millisecond
	seen := newLedger()
	var failures atomic.Int32
	consumer, err := c.consume("ch", settings, func(m *nsq.Message) error {
		if failures.Add(1) <= 3 {
			return errors.New("not yet")
		}
		seen.add(m.Body, m.Attempts)
		return nil
	})
	if err != nil {
		return err
	}
	consumer.SetLogger(warnings, nsq.LogLevelMax)
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return err
	}
	return stop(consumer)
}
