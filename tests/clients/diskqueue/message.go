package main

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"
)

const headBytes = 26

// Where stock's ids begin, in units of 2^20 ns.
const epochTicks = 1288834974288

// message is message number n of a topic, one per millisecond from a fixed time on.
func message(topic string, n int, bodyBytes int, attempts uint16) []byte {
	at := time.Unix(1700000000, 0).Add(time.Duration(n) * time.Millisecond).UnixNano()
	id := uint64(at>>20-epochTicks)<<22 | 7<<12 | uint64(n&0xfff)
	body := fmt.Sprintf("%s-%d-", topic, n)
	for len(body) < bodyBytes {
		body += "x"
	}
	data := make([]byte, 0, headBytes+len(body))
	data = binary.BigEndian.AppendUint64(data, uint64(at))
	data = binary.BigEndian.AppendUint16(data, attempts)
	data = append(data, fmt.Sprintf("%016x", id)...)
	return append(data, body...)
}

// tally is what a queue holds, whatever its order and its ids.
type tally struct {
	messages int
	sum      uint64
	attempts int
}

func (t *tally) add(data []byte, sign int) {
	hash := fnv.New64a()
	hash.Write(data[:8])
	hash.Write(data[headBytes:])
	t.messages += sign
	t.attempts += sign * int(binary.BigEndian.Uint16(data[8:]))
	if sign > 0 {
		t.sum += hash.Sum64()
	} else {
		t.sum -= hash.Sum64()
	}
}

func (t *tally) print(queue string) {
	fmt.Printf("%s messages=%d sum=%016x attempts=%d\n", queue, t.messages, t.sum, t.attempts)
}
