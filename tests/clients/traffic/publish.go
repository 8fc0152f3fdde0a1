// Publishers that never give up a message: each sends its next one only when the last one was acknowledged.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

const second = time.Second

// published is what all publishers have done so far.
type published struct {
	mutex sync.Mutex
	// The number of the last acknowledged message by publisher; all before it are acknowledged, too.
	Acknowledged map[string]int `json:"acknowledged"`
	Attempts     int            `json:"attempts"`
	Refused      int            `json:"refused"`
	// The longest that a message needed, in milliseconds, with all its attempts.
	Longest int64 `json:"longest"`
	// Publishers that have stopped, after a POST to /stop.
	Stopped int `json:"stopped"`
}

func publish(address, to, topic, as string, publishers int, pause time.Duration) {
	all := &published{Acknowledged: map[string]int{}}
	stop := make(chan struct{})
	for at := range publishers {
		go all.run(fmt.Sprintf("%s%d", as, at), to, topic, pause, stop)
	}
	var once sync.Once
	http.HandleFunc("/stop", func(answer http.ResponseWriter, _ *http.Request) {
		once.Do(func() { close(stop) })
		_, _ = answer.Write([]byte("{}"))
	})
	serve(address, func() any {
		all.mutex.Lock()
		defer all.mutex.Unlock()
		copied := map[string]int{}
		for name, last := range all.Acknowledged {
			copied[name] = last
		}
		return &published{
			Acknowledged: copied, Attempts: all.Attempts, Refused: all.Refused, Longest: all.Longest, Stopped: all.Stopped,
		}
	})
}

func (all *published) run(name, to, topic string, pause time.Duration, stop chan struct{}) {
	quiet := log.New(os.Stderr, name+" ", log.LstdFlags)
	var producer *nsq.Producer
	for number := 1; ; number++ {
		began := time.Now()
		body := []byte(fmt.Sprintf("%s-%d", name, number))
		for {
			if producer == nil {
				producer, _ = nsq.NewProducer(to, quick())
				producer.SetLogger(quiet, nsq.LogLevelError)
			}
			err := producer.Publish(topic, body)
			all.count(name, number, began, err)
			if err == nil {
				break
			}
			quiet.Printf("%s: %v", body, err)
			// The next attempt asks the Service for another broker.
			producer.Stop()
			producer = nil
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case <-stop:
			producer.Stop()
			all.mutex.Lock()
			all.Stopped++
			all.mutex.Unlock()
			return
		case <-time.After(pause):
		}
	}
}

func (all *published) count(name string, number int, began time.Time, err error) {
	all.mutex.Lock()
	defer all.mutex.Unlock()
	all.Attempts++
	if err != nil {
		all.Refused++
		return
	}
	all.Acknowledged[name] = number
	all.Longest = max(all.Longest, time.Since(began).Milliseconds())
}
