package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/nsqio/go-diskqueue"
)

// metadata is nsqd.dat.
type metadata struct {
	Topics  []topicEntry `json:"topics"`
	Version string       `json:"version"`
}

type topicEntry struct {
	Name     string         `json:"name"`
	Paused   bool           `json:"paused"`
	Channels []channelEntry `json:"channels"`
}

type channelEntry struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused"`
}

func loadMetadata(dataPath string) metadata {
	var found metadata
	bytes, err := os.ReadFile(filepath.Join(dataPath, "nsqd.dat"))
	if err == nil {
		err = json.Unmarshal(bytes, &found)
	}
	if err != nil && !os.IsNotExist(err) {
		fail("nsqd.dat: %s", err)
	}
	return found
}

func (m metadata) save(dataPath string) {
	bytes, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(filepath.Join(dataPath, "nsqd.dat"), bytes, 0600)
	}
	if err != nil {
		fail("nsqd.dat: %s", err)
	}
}

// open opens a queue as nsqd does.
func open(dataPath string, name string, maxBytesPerFile int64, maxMsgSize int) diskqueue.Interface {
	log := func(level diskqueue.LogLevel, format string, args ...any) {
		if level >= diskqueue.WARN {
			fail(format, args...)
		}
	}
	size := int32(maxMsgSize + headBytes)
	return diskqueue.New(name, dataPath, maxBytesPerFile, headBytes, size, 2500, 2*time.Second, log)
}

func take(queue diskqueue.Interface, name string) []byte {
	select {
	case data := <-queue.ReadChan():
		return data
	case <-time.After(10 * time.Second):
		fail("%s: no message, and depth is %d", name, queue.Depth())
		return nil
	}
}
