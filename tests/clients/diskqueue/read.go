package main

import (
	"flag"
	"sort"
)

// read drains every queue that nsqd.dat names, as a stock nsqd would.
func read(args []string) {
	flags := flag.NewFlagSet("read", flag.ExitOnError)
	dataPath := flags.String("data-path", "", "folder")
	maxMsgSize := flags.Int("max-msg-size", 1048576, "largest body")
	maxBytesPerFile := flags.Int64("max-bytes-per-file", 104857600, "bytes of a file")
	flags.Parse(args)

	list := loadMetadata(*dataPath)
	if len(list.Topics) == 0 {
		fail("nsqd.dat names no topics")
	}
	sort.Slice(list.Topics, func(i, j int) bool { return list.Topics[i].Name < list.Topics[j].Name })
	for _, topic := range list.Topics {
		for _, channel := range topic.Channels {
			drain(*dataPath, topic.Name+":"+channel.Name, *maxBytesPerFile, *maxMsgSize)
		}
		drain(*dataPath, topic.Name, *maxBytesPerFile, *maxMsgSize)
	}
}

func drain(dataPath string, name string, maxBytesPerFile int64, maxMsgSize int) {
	queue := open(dataPath, name, maxBytesPerFile, maxMsgSize)
	depth := queue.Depth()
	var found tally
	for i := int64(0); i < depth; i++ {
		found.add(take(queue, name), 1)
	}
	if left := queue.Depth(); left != 0 {
		fail("%s: depth %d after reading all", name, left)
	}
	if err := queue.Close(); err != nil {
		fail("%s: close: %s", name, err)
	}
	found.print(name)
}
