// Command go-client proves that go-nsq works against the daemons it is pointed at, one scenario per call:
//
//	go-client -lookupd HOST:PORT -nsqd HOST:PORT -nsqd HOST:PORT -nsqd-http HOST:PORT -nsqd-http HOST:PORT SCENARIO
//
// It prints "PASS SCENARIO" and exits 0, or prints why not and exits 1. Scenarios share nothing, not even a topic.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

// scenarios in the order of the documents: publish, deliver, fail, share.
var scenarios = map[string]func(*cluster) error{
	"publish":            publish,
	"publish-async":      publishAsync,
	"multi-publish":      multiPublish,
	"large-message":      largeMessage,
	"deferred":           deferred,
	"requeue":            requeue,
	"requeue-with-delay": requeueWithDelay,
	"backoff":            backoff,
	"touch":              touch,
	"timeout":            timeout,
	"attempts":           attempts,
	"several-consumers":  severalConsumers,
	"several-channels":   severalChannels,
	"max-in-flight":      maxInFlight,
	"graceful-stop":      gracefulStop,
	"publish-error":      publishError,
	"late-topic":         lateTopic,
}

func main() {
	var c cluster
	var list bool
	flag.StringVar(&c.lookupd, "lookupd", "", "HTTP address of nsqlookupd")
	flag.Var((*addresses)(&c.nsqds), "nsqd", "TCP address of an nsqd (repeat)")
	flag.Var((*addresses)(&c.nsqdsHTTP), "nsqd-http", "HTTP address of an nsqd (repeat, same order)")
	flag.BoolVar(&list, "list", false, "print the scenarios' names")
	flag.Parse()
	if list {
		for name := range scenarios {
			fmt.Println(name)
		}
		return
	}
	name := flag.Arg(0)
	run, found := scenarios[name]
	if !found {
		fmt.Fprintf(os.Stderr, "unknown scenario %q\n", name)
		os.Exit(2)
	}
	c.topic = "go-" + name
	if err := run(&c); err != nil {
		fmt.Printf("FAIL %s: %v\n", name, err)
		os.Exit(1)
	}
	fmt.Printf("PASS %s\n", name)
}

type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(address string) error {
	*a = append(*a, address)
	return nil
}
