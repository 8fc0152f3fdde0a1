package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/nsqio/go-nsq"
)

// direct: every PUB to either nsqd reaches a consumer that was told the nsqds' addresses. The producers' and the
// consumer's connections stay open while whoever runs this looks at them.
func direct(c *cluster) error {
	const count = 50
	var producers []*nsq.Producer
	for index, address := range c.nsqds {
		producer, err := nsq.NewProducer(address, config())
		if err != nil {
			return err
		}
		defer producer.Stop()
		producer.SetLogger(warnings, nsq.LogLevelWarning)
		for number := 0; number < count; number++ {
			if err := producer.Publish(c.topic, []byte(numbered(index, number))); err != nil {
				return fmt.Errorf("producer at %s: %w", address, err)
			}
		}
		producers = append(producers, producer)
	}
	seen := newLedger()
	consumer, err := nsq.NewConsumer(c.topic, "ch", config())
	if err != nil {
		return err
	}
	consumer.SetLogger(warnings, nsq.LogLevelError)
	consumer.AddHandler(recordIn(seen))
	if err := consumer.ConnectToNSQDs(c.nsqds); err != nil {
		return err
	}
	if err := seen.exactlyOnce(names(len(c.nsqds), count, numbered)); err != nil {
		return err
	}
	pause("LOOK")
	return stop(consumer)
}

// restart: what was acknowledged before the nsqds are killed is delivered after they came back.
func restart(c *cluster) error {
	const count = 50
	if err := c.publishEach(count, numbered); err != nil {
		return err
	}
	pause("RESTART")
	return c.drain(names(len(c.nsqds), count, numbered))
}

// readme: the program that the README shows, given what it reads from its environment.
func readme(c *cluster) error {
	os.Setenv("NSQ_CA", features.ca)
	os.Setenv("NSQ_SECRET", features.secret)
	os.Setenv("NSQD", c.nsqds[0])
	os.Setenv("NSQLOOKUPD", c.lookupd)
	return stockClient()
}

var input = bufio.NewReader(os.Stdin)

// pause says what whoever runs this should do now, and goes on when a line or the end of input says that it is done.
func pause(what string) {
	fmt.Println(what)
	_, _ = input.ReadString('\n')
}
