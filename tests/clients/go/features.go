package main

import (
	"flag"

	"github.com/nsqio/go-nsq"
)

// features is what a connection negotiates beyond the plain protocol. It is set once, by flags, for the whole run.
var features struct {
	tls     bool
	ca      string
	snappy  bool
	deflate bool
	secret  string
}

func featureFlags() {
	flag.BoolVar(&features.tls, "tls", false, "upgrade every connection to TLS")
	flag.StringVar(&features.ca, "ca", "", "file of the certificate authority that the nsqd's certificate must be from")
	flag.BoolVar(&features.snappy, "snappy", false, "compress with snappy")
	flag.BoolVar(&features.deflate, "deflate", false, "compress with deflate")
	flag.StringVar(&features.secret, "auth-secret", "", "secret to send with AUTH")
}

// negotiate sets in c what the flags ask for, by the names a program would take from its own options.
func negotiate(c *nsq.Config) error {
	for option, value := range map[string]any{
		"tls_v1":           features.tls,
		"tls_root_ca_file": features.ca,
		"snappy":           features.snappy,
		"deflate":          features.deflate,
		"auth_secret":      features.secret,
	} {
		if value == "" {
			continue
		}
		if err := c.Set(option, value); err != nil {
			return err
		}
	}
	return nil
}
