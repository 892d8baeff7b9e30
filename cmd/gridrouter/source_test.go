package main

import (
	"testing"

	"gridrouter.io/cmd/flags"
)

// TestAllClientsOfEtcdShareWhatTheyHear holds that no part of a process is left to wait for etcd by itself.
func TestAllClientsOfEtcdShareWhatTheyHear(t *testing.T) {
	source := &sourceFlags{etcd: flags.Etcd{Endpoints: []string{"http://127.0.0.1:1"}, Prefix: flags.DefaultPrefix}}
	first, err := source.clientConfig()
	if err != nil {
		t.Fatal(err)
	}
	second, err := source.clientConfig()
	if err != nil {
		t.Fatal(err)
	}
	if first.Contact == nil || first.Contact != second.Contact {
		t.Errorf("two clients of one process have the contacts %p and %p, want one", first.Contact, second.Contact)
	}
}
