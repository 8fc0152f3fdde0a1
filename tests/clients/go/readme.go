package main

import (
	"fmt"
	"os"

	"github.com/nsqio/go-nsq"
)

// stockClient is a program written for stock NSQ: TLS with deflate inside, a secret for AUTH, a producer at one nsqd
// and a consumer that finds all of them through nsqlookupd.
func stockClient() error {
	config := nsq.NewConfig()
	config.Set("tls_v1", true)
	config.Set("tls_root_ca_file", os.Getenv("NSQ_CA"))
	config.Set("deflate", true)
	config.Set("auth_secret", os.Getenv("NSQ_SECRET"))

	producer, err := nsq.NewProducer(os.Getenv("NSQD"), config)
	if err != nil {
		return err
	}
	if err := producer.Publish("orders", []byte("hello")); err != nil {
		return err
	}

	consumer, err := nsq.NewConsumer("orders", "billing", config)
	if err != nil {
		return err
	}
	received := make(chan string)
	consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
		received <- string(m.Body)
		return nil
	}))
	if err := consumer.ConnectToNSQLookupd(os.Getenv("NSQLOOKUPD")); err != nil {
		return err
	}
	fmt.Println(<-received)

	consumer.Stop()
	<-consumer.StopChan
	producer.Stop()
	return nil
}
