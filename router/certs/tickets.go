package certs

import (
	"crypto/rand"
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

const (
	// ticketLife is how long new session tickets are made with one key.
	ticketLife = 24 * time.Hour
	// ticketKeys is how many keys are kept: the one that tickets are made with, and those
	// before it, whose tickets are still taken.
	ticketKeys = 3
)

// tickets are the keys of session tickets. Nobody but this process has them, and what was
// recorded of a connection can be read by them only as long as they are kept.
type tickets struct {
	mu   sync.Mutex
	keys [][32]byte // the newest first
	made time.Time  // when the newest was
}

// rotate gives config fresh keys, if it is time to. For each day that went by one key is
// made and one is forgotten, so that a pause lengthens no key's life.
func (t *tickets) rotate(config *tls.Config, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	due := 1
	if len(t.keys) > 0 {
		if now.Before(t.made) {
			t.made = now // the clock was set back
		}
		due = int(min(now.Sub(t.made)/ticketLife, ticketKeys))
	}
	if due == 0 {
		return
	}
	for range due {
		var key [32]byte
		_, _ = rand.Read(key[:]) // it never fails: it ends the process instead
		t.keys = slices.Insert(t.keys, 0, key)
	}
	if len(t.keys) > ticketKeys {
		clear(t.keys[ticketKeys:])
		t.keys = t.keys[:ticketKeys]
	}
	t.made = now
	config.SetSessionTicketKeys(t.keys)
}
