package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/nsqio/go-nsq"
)

// publish: every PUB to either nsqd reaches a consumer that knows only nsqlookupd, exactly once, with id and time.
func publish(c *cluster) error {
	const count = 200
	began := time.Now().Add(-time.Second).UnixNano()
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	seen := newLedger()
	bad := make(chan error, 1)
	consumer, err := c.consume("ch", config(), func(m *nsq.Message) error {
		if m.Timestamp < began || m.Timestamp > time.Now().UnixNano() || len(m.NSQDAddress) == 0 {
			select {
			case bad <- fmt.Errorf("message %q has timestamp %d from %q", m.Body, m.Timestamp, m.NSQDAddress):
			default:
			}
		}
		seen.add(m.Body, m.Attempts)
		return nil
	})
	if err != nil {
		return err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return err
	}
	select {
	case err := <-bad:
		return err
	default:
		return stop(consumer)
	}
}

// publishAsync: a thousand PUBs in a row are answered in their order.
func publishAsync(c *cluster) error {
	const count = 1000
	return c.eachProducer(func(_ int, producer *nsq.Producer) error {
		answers := make(chan *nsq.ProducerTransaction, count)
		for number := 0; number < count; number++ {
			if err := producer.PublishAsync(c.topic, []byte("x"), answers, number); err != nil {
				return err
			}
		}
		limit := time.After(patience)
		for number := 0; number < count; number++ {
			select {
			case answer := <-answers:
				if answer.Error != nil {
					return answer.Error
				}
				if answer.Args[0] != number {
					return fmt.Errorf("answer %d came in place %d", answer.Args[0], number)
				}
			case <-limit:
				return fmt.Errorf("%d of %d answers", number, count)
			}
		}
		return nil
	})
}

// multiPublish: each message of an MPUB is delivered on its own.
func multiPublish(c *cluster) error {
	const count = 500
	err := c.eachProducer(func(index int, producer *nsq.Producer) error {
		var bodies [][]byte
		for number := 0; number < count; number++ {
			bodies = append(bodies, []byte(numbered(index, number)))
		}
		return producer.MultiPublish(c.topic, bodies)
	})
	if err != nil {
		return err
	}
	return c.drain(names(len(c.nsqds), count, numbered))
}

// largeMessage: a body of the default limit passes whole; one byte more is refused.
func largeMessage(c *cluster) error {
	const limit = 1024 * 1024
	body := strings.Repeat("0123456789abcdef", limit/16)
	producer, err := nsq.NewProducer(c.nsqds[0], config())
	if err != nil {
		return err
	}
	producer.SetLogger(warnings, nsq.LogLevelMax)
	defer producer.Stop()
	if err := producer.Publish(c.topic, []byte(body)); err != nil {
		return err
	}
	err = producer.Publish(c.topic, bytes.Repeat([]byte("x"), limit+1))
	if err == nil || !strings.Contains(err.Error(), "E_BAD_MESSAGE") {
		return fmt.Errorf("a body over the limit got %v and not E_BAD_MESSAGE", err)
	}
	return c.drain([]string{body})
}

// deferred: a DPUB is not delivered before its time, and soon after it.
func deferred(c *cluster) error {
	const delay = 700 * time.Millisecond
	if err := c.createChannels("ch"); err != nil {
		return err
	}
	seen := newLedger()
	consumer, err := c.consume("ch", config(), recordIn(seen))
	if err != nil {
		return err
	}
	began := time.Now()
	err = c.eachProducer(func(_ int, producer *nsq.Producer) error {
		return producer.DeferredPublish(c.topic, delay, []byte("later"))
	})
	if err != nil {
		return err
	}
	deliveries, err := seen.wait(len(c.nsqds))
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if early := delay - d.at.Sub(began); early > 0 {
			return fmt.Errorf("delivered %s before its time", early)
		}
		if d.attempts != 1 {
			return fmt.Errorf("attempts %d at the first delivery", d.attempts)
		}
	}
	return stop(consumer)
}

// publishError: an illegal topic name is refused with nsqd's own words.
func publishError(c *cluster) error {
	return c.eachProducer(func(_ int, producer *nsq.Producer) error {
		producer.SetLogger(warnings, nsq.LogLevelMax)
		const wanted = `E_BAD_TOPIC PUB topic name "a$b" is not valid`
		err := producer.Publish("a$b", []byte("x"))
		if err == nil || err.Error() != wanted {
			return fmt.Errorf("got %v, wanted %s", err, wanted)
		}
		// The connection is closed behind that answer; go-nsq refuses to publish until it noticed.
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for limit := time.Now().Add(patience); ; <-tick.C {
			err := producer.Publish(c.topic, []byte("the producer connects again"))
			if err == nil || time.Now().After(limit) {
				return err
			}
		}
	})
}

// drain consumes the channel "ch" until exactly these bodies have come.
func (c *cluster) drain(bodies []string) error {
	seen := newLedger()
	consumer, err := c.consume("ch", config(), recordIn(seen))
	if err != nil {
		return err
	}
	if err := seen.exactlyOnce(bodies); err != nil {
		return err
	}
	return stop(consumer)
}

func recordIn(seen *ledger) nsq.HandlerFunc {
	return func(m *nsq.Message) error {
		seen.add(m.Body, m.Attempts)
		return nil
	}
}
