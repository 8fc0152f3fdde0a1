module nsqube/diskqueue

go 1.22

require github.com/nsqio/go-diskqueue v1.1.0
