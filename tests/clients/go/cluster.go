package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/nsqio/go-nsq"
)

// patience is how long a scenario waits for something that must happen. A loaded machine may need much of it.
const patience = 20 * time.Second

// cluster is where the daemons are and the one topic this run uses.
type cluster struct {
	lookupd   string
	nsqds     []string
	nsqdsHTTP []string
	topic     string
}

// config polls nsqlookupd quickly and never backs off, so that a scenario shows the daemons' timing and not go-nsq's.
func config() *nsq.Config {
	c := nsq.NewConfig()
	c.LookupdPollInterval = 100 * time.Millisecond
	c.LookupdPollJitter = 0
	c.DefaultRequeueDelay = 0
	c.MaxBackoffDuration = 0
	c.MaxInFlight = 50
	if err := negotiate(c); err != nil {
		log.Fatal(err) // a flag of ours is wrong, so every scenario would be
	}
	return c
}

// createChannels makes the topic with these channels on every nsqd, so that later messages are owed to all of them.
func (c *cluster) createChannels(names ...string) error {
	for _, address := range c.nsqdsHTTP {
		if err := post(address, "/topic/create", url.Values{"topic": {c.topic}}); err != nil {
			return err
		}
		for _, name := range names {
			if err := post(address, "/channel/create", url.Values{"topic": {c.topic}, "channel": {name}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func post(address, path string, query url.Values) error {
	target := url.URL{Scheme: "http", Host: address, Path: path, RawQuery: query.Encode()}
	response, err := http.Post(target.String(), "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("POST %s: %s %s", target.String(), response.Status, body)
	}
	return nil
}

// eachProducer calls work with a producer for every nsqd in turn and stops them.
func (c *cluster) eachProducer(work func(index int, producer *nsq.Producer) error) error {
	for index, address := range c.nsqds {
		producer, err := nsq.NewProducer(address, config())
		if err != nil {
			return err
		}
		producer.SetLogger(warnings, nsq.LogLevelWarning)
		err = work(index, producer)
		producer.Stop()
		if err != nil {
			return fmt.Errorf("producer at %s: %w", address, err)
		}
	}
	return nil
}

// publishEach publishes count messages to every nsqd, named by name(index, number), one PUB each.
func (c *cluster) publishEach(count int, name func(index, number int) string) error {
	return c.eachProducer(func(index int, producer *nsq.Producer) error {
		for number := 0; number < count; number++ {
			if err := producer.Publish(c.topic, []byte(name(index, number))); err != nil {
				return err
			}
		}
		return nil
	})
}

// consume starts a consumer that finds the nsqds through nsqlookupd.
func (c *cluster) consume(channel string, settings *nsq.Config, handler nsq.HandlerFunc) (*nsq.Consumer, error) {
	consumer, err := nsq.NewConsumer(c.topic, channel, settings)
	if err != nil {
		return nil, err
	}
	consumer.SetLogger(warnings, nsq.LogLevelError)
	consumer.AddHandler(handler)
	return consumer, consumer.ConnectToNSQLookupd(c.lookupd)
}

var warnings = log.New(os.Stderr, "go-nsq ", log.Ltime|log.Lmicroseconds)

// stop ends a consumer the polite way and waits for it.
func stop(consumer *nsq.Consumer) error {
	consumer.Stop()
	select {
	case <-consumer.StopChan:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the consumer did not stop within %s: was CLOSE_WAIT sent?", patience)
	}
}
