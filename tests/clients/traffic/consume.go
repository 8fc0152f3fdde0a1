// A consumer that finds its brokers through nsqlookupd and remembers each message that it was given.
package main

import (
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

// seen are the numbers of one publisher: seen[n] tells whether message n has come.
type seen []bool

type consumed struct {
	mutex    sync.Mutex
	received int
	unknown  int
	by       map[string]seen
}

// progress of one publisher's messages.
type progress struct {
	Distinct int `json:"distinct"`
	// All messages from the first one up to this number have come.
	Whole int `json:"whole"`
}

func consume(address, lookupd, topic, channel string) {
	all := &consumed{by: map[string]seen{}}
	consumer, err := nsq.NewConsumer(topic, channel, quick())
	if err != nil {
		log.Fatal(err)
	}
	consumer.SetLogger(log.New(os.Stderr, "", log.LstdFlags), nsq.LogLevelWarning)
	consumer.AddConcurrentHandlers(nsq.HandlerFunc(all.handle), 4)
	for consumer.ConnectToNSQLookupd(lookupd) != nil {
		time.Sleep(second)
	}
	serve(address, func() any { return all.counts() })
}

func (all *consumed) handle(message *nsq.Message) error {
	name, digits, _ := strings.Cut(string(message.Body), "-")
	number, err := strconv.Atoi(digits)
	all.mutex.Lock()
	defer all.mutex.Unlock()
	all.received++
	if err != nil || number < 1 || number > 1<<28 {
		all.unknown++
		return nil
	}
	of := all.by[name]
	for len(of) <= number {
		of = append(of, false)
	}
	of[number] = true
	all.by[name] = of
	return nil
}

func (all *consumed) counts() any {
	all.mutex.Lock()
	defer all.mutex.Unlock()
	by := map[string]progress{}
	for name, of := range all.by {
		by[name] = of.progress()
	}
	return map[string]any{"received": all.received, "unknown": all.unknown, "publishers": by}
}

func (of seen) progress() progress {
	var p progress
	isWhole := true
	for number, there := range of {
		if number == 0 {
			continue
		}
		if there {
			p.Distinct++
		}
		isWhole = isWhole && there
		if isWhole {
			p.Whole = number
		}
	}
	return p
}
