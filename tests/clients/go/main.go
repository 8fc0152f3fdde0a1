// Command go-client proves that go-nsq works against the daemons it is pointed at, scenario by scenario:
//
//	go-client -lookupd HOST:PORT -nsqd HOST:PORT -nsqd HOST:PORT -nsqd-http HOST:PORT -nsqd-http HOST:PORT
//	          [-tls -ca FILE] [-snappy | -deflate] [-auth-secret SECRET] SCENARIO...
//
// It prints "PASS SCENARIO" for each and exits 0, or prints why not and exits 1. Scenarios share nothing, not even a
// topic. Two of them stop half-way for whoever runs this: they print LOOK or RESTART and go on at the next line of input.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/nsqio/go-nsq"
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
	"direct":             direct,
	"restart":            restart,
	"readme":             readme,
}

func main() {
	var c cluster
	var list bool
	flag.StringVar(&c.lookupd, "lookupd", "", "HTTP address of nsqlookupd")
	flag.Var((*addresses)(&c.nsqds), "nsqd", "TCP address of an nsqd (repeat)")
	flag.Var((*addresses)(&c.nsqdsHTTP), "nsqd-http", "HTTP address of an nsqd (repeat, same order)")
	flag.BoolVar(&list, "list", false, "print the scenarios' names")
	featureFlags()
	flag.Parse()
	if list {
		for name := range scenarios {
			fmt.Println(name)
		}
		return
	}
	fmt.Printf("CLIENT go-nsq %s\n", nsq.VERSION)
	for _, name := range flag.Args() {
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
}

type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(address string) error {
	*a = append(*a, address)
	return nil
}
