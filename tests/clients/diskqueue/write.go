package main

import (
	"flag"
	"os"
	"strconv"
	"strings"

	"github.com/nsqio/go-diskqueue"
)

type channelSpec struct {
	name     string
	finished int
	paused   bool
}

// write makes one topic with its channels. Run it again for another topic in the same folder.
func write(args []string) {
	flags := flag.NewFlagSet("write", flag.ExitOnError)
	dataPath := flags.String("data-path", "", "folder, made if missing")
	topic := flags.String("topic", "t", "topic")
	messages := flags.Int("messages", 0, "messages the channels were shown")
	backlog := flags.Int("backlog", 0, "messages behind them that only the topic has")
	late := flags.Int("late", 0, "of the first messages, how many are at the end with one attempt, as if in flight at the end")
	bodyBytes := flags.Int("body-bytes", 100, "bytes of a body")
	maxBytesPerFile := flags.Int64("max-bytes-per-file", 104857600, "bytes of a file")
	maxMsgSize := flags.Int("max-msg-size", 1048576, "largest body")
	paused := flags.Bool("paused", false, "the topic is paused")
	var channels []channelSpec
	flags.Func("channel", "NAME[:FINISHED[:paused]]", func(text string) error {
		parts := strings.Split(text, ":")
		spec := channelSpec{name: parts[0], paused: len(parts) > 2}
		var err error
		if len(parts) > 1 {
			spec.finished, err = strconv.Atoi(parts[1])
		}
		channels = append(channels, spec)
		return err
	})
	flags.Parse(args)
	if err := os.MkdirAll(*dataPath, 0700); err != nil {
		fail("%s", err)
	}

	entry := topicEntry{Name: *topic, Paused: *paused}
	for _, channel := range channels {
		entry.Channels = append(entry.Channels, channelEntry{Name: channel.name, Paused: channel.paused})
		name := *topic + ":" + channel.name
		queue := open(*dataPath, name, *maxBytesPerFile, *maxMsgSize)
		var left tally
		for n := *late; n < *messages+*late; n++ {
			data := message(*topic, n, *bodyBytes, 0)
			if n >= *messages {
				data = message(*topic, n-*messages, *bodyBytes, 1)
			}
			put(queue, data, &left)
		}
		for i := 0; i < channel.finished; i++ {
			left.add(take(queue, name), -1)
		}
		closeQueue(queue, name, &left)
	}
	var left tally
	queue := open(*dataPath, *topic, *maxBytesPerFile, *maxMsgSize)
	for n := *messages; n < *messages+*backlog; n++ {
		put(queue, message(*topic, n, *bodyBytes, 0), &left)
	}
	closeQueue(queue, *topic, &left)

	list := loadMetadata(*dataPath)
	list.Version = "1.3.0"
	list.Topics = append(list.Topics, entry)
	list.save(*dataPath)
}

func put(queue diskqueue.Interface, data []byte, left *tally) {
	if err := queue.Put(data); err != nil {
		fail("put: %s", err)
	}
	left.add(data, 1)
}

func closeQueue(queue diskqueue.Interface, name string, left *tally) {
	if err := queue.Close(); err != nil {
		fail("%s: close: %s", name, err)
	}
	left.print(name)
}
