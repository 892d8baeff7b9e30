package router

import (
	"net"
	"syscall"
	"testing"

	"gridrouter.io/bench/testkit"
)

// descriptorLimit is the process's limit on open files while it is lowered.
type descriptorLimit struct {
	t      *testing.T
	before syscall.Rlimit
	done   bool
}

// shrinkDescriptors leaves exactly one descriptor to be had.
func shrinkDescriptors(t *testing.T) *descriptorLimit {
	t.Helper()
	l := &descriptorLimit{t: t}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l.before); err != nil {
		t.Skip(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var next uintptr
	if err := raw.Control(func(fd uintptr) { next = fd }); err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	lowered := l.before
	lowered.Cur = uint64(next) + 1 // the descriptor just given back is the last one
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
		t.Skip(err)
	}
	t.Cleanup(l.restore)
	return l
}

func (l *descriptorLimit) restore() {
	if l.done {
		return
	}
	l.done = true
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l.before); err != nil {
		l.t.Error(err)
	}
}

// The addresses of all decks would be taken out of use at once.
func TestAnEndOfDescriptorsIsNoFaultOfADeck(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	w := g.dial()
	testkit.Eventually(t, "the connection is accepted", func() bool { return g.router.fresh.Load() == 1 })
	limit := shrinkDescriptors(t)
	last, err := net.Listen("tcp", "127.0.0.1:0") // takes the one that is left
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	for range ejectAfter + 1 {
		w.send(get("/"))
		r := w.reply("GET")
		wantStatus(t, r, 503, "overloaded")
		if r.Header.Get("Retry-After") == "" {
			t.Fatal("it does not say when to try again")
		}
	}
	limit.restore()
	w.send(get("/"))
	wantStatus(t, w.reply("GET"), 200, "")
	if n := g.counts().Ejections; n != 0 {
		t.Fatalf("%d ejections", n)
	}
}
