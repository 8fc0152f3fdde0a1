// Command diskqueue writes and reads the data folder of a stock nsqd through go-diskqueue, the library stock nsqd
// itself uses, so that import and export are tested against the original.
//
//	diskqueue write --data-path=D --topic=T --messages=N --channel=NAME[:FINISHED[:paused]]...   prints a line per queue
//	diskqueue read --data-path=D                                                             drains all, prints the same
//
// A line is `QUEUE messages=N sum=HEX attempts=N`; the sum is over bodies and timestamps, in any order.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: diskqueue write|read --data-path=D ...")
	}
	switch os.Args[1] {
	case "write":
		write(os.Args[2:])
	case "read":
		read(os.Args[2:])
	default:
		fail("unknown mode %q: write or read", os.Args[1])
	}
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
