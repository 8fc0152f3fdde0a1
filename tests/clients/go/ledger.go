package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// delivery is one message as a handler saw it.
type delivery struct {
	body     string
	attempts uint16
	at       time.Time
}

// ledger counts deliveries from any number of handlers.
type ledger struct {
	mutex      sync.Mutex
	deliveries []delivery
	changed    chan struct{}
}

func newLedger() *ledger { return &ledger{changed: make(chan struct{}, 1)} }

func (l *ledger) add(body []byte, attempts uint16) {
	l.mutex.Lock()
	l.deliveries = append(l.deliveries, delivery{string(body), attempts, time.Now()})
	l.mutex.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *ledger) all() []delivery {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return append([]delivery(nil), l.deliveries...)
}

// wait returns as soon as there are count deliveries, or an error after patience.
func (l *ledger) wait(count int) ([]delivery, error) {
	limit := time.After(patience)
	for {
		if seen := l.all(); len(seen) >= count {
			return seen, nil
		}
		select {
		case <-l.changed:
		case <-limit:
			return nil, fmt.Errorf("%d of %d deliveries after %s", len(l.all()), count, patience)
		}
	}
}

// exactlyOnce waits for every wanted body, and for nothing else and nothing twice.
func (l *ledger) exactlyOnce(wanted []string) error {
	seen, err := l.wait(len(wanted))
	if err != nil {
		return err
	}
	return sameBodies(seen, wanted)
}

func sameBodies(seen []delivery, wanted []string) error {
	counts := map[string]int{}
	for _, body := range wanted {
		counts[body]++
	}
	for _, d := range seen {
		counts[d.body]--
	}
	var wrong []string
	for body, count := range counts {
		if count > 0 {
			wrong = append(wrong, fmt.Sprintf("%.40q is missing", body))
		} else if count < 0 {
			wrong = append(wrong, fmt.Sprintf("%.40q came %d times too often", body, -count))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	sort.Strings(wrong)
	return fmt.Errorf("%d bodies wrong, e.g. %s", len(wrong), strings.Join(wrong[:min(3, len(wrong))], ", "))
}

// names gives the bodies that publishEach publishes.
func names(nsqds, count int, name func(index, number int) string) []string {
	var bodies []string
	for index := 0; index < nsqds; index++ {
		for number := 0; number < count; number++ {
			bodies = append(bodies, name(index, number))
		}
	}
	return bodies
}

func numbered(index, number int) string {
	return fmt.Sprintf("message %d from producer %d", number, index)
}
