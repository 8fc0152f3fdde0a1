// Load inside a cluster, over go-nsq: `traffic publish` and `traffic consume` each run until they are ended, and tell
// what they have seen as JSON at /counts. Each message is numbered by its publisher, so that lost ones can be named.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"

	"github.com/nsqio/go-nsq"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: traffic publish|consume FLAGS")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	http := flags.String("http", ":8080", "where /counts is")
	topic := flags.String("topic", "orders", "the topic")
	switch os.Args[1] {
	case "publish":
		to := flags.String("to", "", "a broker's address, or a Service's")
		as := flags.String("as", "p", "how the names of publishers begin")
		publishers := flags.Int("publishers", 3, "how many publish at once")
		pause := flags.Duration("pause", 0, "between two messages of one publisher")
		parse(flags)
		publish(*http, *to, *topic, *as, *publishers, *pause)
	case "consume":
		lookupd := flags.String("lookupd", "", "an nsqlookupd's HTTP address, or a Service's")
		channel := flags.String("channel", "archive", "the channel")
		parse(flags)
		consume(*http, *lookupd, *topic, *channel)
	default:
		log.Fatalf("traffic: what is %q? publish or consume", os.Args[1])
	}
}

func parse(flags *flag.FlagSet) {
	_ = flags.Parse(os.Args[2:])
}

// quick is a client that finds out within a second what a patient one finds out within a minute.
func quick() *nsq.Config {
	config := nsq.NewConfig()
	config.DialTimeout = second
	config.ReadTimeout = 5 * second
	config.WriteTimeout = second
	config.HeartbeatInterval = second
	config.LookupdPollInterval = second
	config.LookupdPollJitter = 0
	config.MaxBackoffDuration = 0
	config.DefaultRequeueDelay = 0
	config.MaxInFlight = 300
	return config
}

// serve answers /counts with what counts gives, until the process is ended.
func serve(address string, counts func() any) {
	http.HandleFunc("/counts", func(answer http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(answer).Encode(counts())
	})
	log.Fatal(http.ListenAndServe(address, nil))
}
