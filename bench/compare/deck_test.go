package compare

import (
	"bytes"
	"context"
	"testing"

	"gridrouter.io/bench/load"
	"gridrouter.io/bench/testkit"
)

// startDecks starts two decks, ended with the test.
func startDecks(t *testing.T) []string {
	t.Helper()
	addrs := []string{testkit.FreeAddr(t), testkit.FreeAddr(t)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ServeDecks(ctx, addrs) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for _, addr := range addrs {
		testkit.Eventually(t, "a deck listens at "+addr, listens(addr))
	}
	return addrs
}

func TestDecksAnswerAsTheLoadExpects(t *testing.T) {
	addrs := startDecks(t)
	hosts, err := load.Pattern(hostPattern, 10)
	if err != nil {
		t.Fatal(err)
	}
	base := load.Config{Connections: 2, Requests: 20, Hosts: hosts, Expect: load.Expect{Header: deckHeader}}
	for name, change := range map[string]func(*load.Config){
		"nothing":     func(c *load.Config) { size(c, 0) },
		"small":       func(c *load.Config) { size(c, 128) },
		"64 KiB":      func(c *load.Config) { size(c, 64<<10) },
		"1 MiB":       func(c *load.Config) { size(c, 1<<20) },
		"upload":      func(c *load.Config) { size(c, 128); upload(c) },
		"long upload": func(c *load.Config) { size(c, 1); upload(c); c.BodyBytes, c.Chunked = 3<<20, true },
		"messages":    func(c *load.Config) { c.MessageBytes, c.Expect = 128, load.Expect{} },
		"long ones":   func(c *load.Config) { c.MessageBytes, c.Expect = 50_000, load.Expect{} },
		"closing":     func(c *load.Config) { size(c, 128); c.PerConnection = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			for i, addr := range addrs {
				config := base
				config.Addr = addr
				config.Expect.Values = []string{[]string{"d0", "d1"}[i]}
				change(&config)
				result, err := load.Run(t.Context(), config)
				if err != nil || result.Failed() > 0 || result.Requests < 20 {
					t.Errorf("%v, %d right, %v %v", err, result.Requests, result.Errors, result.Examples)
				}
			}
		})
	}
}

// FuzzUnmask undoes what it does to a frame, and never reads beyond it.
func FuzzUnmask(f *testing.F) {
	f.Add([]byte{0x82, 0x83, 1, 2, 3, 4, 'a', 'b', 'c', 0x82})
	f.Add([]byte{0x82, 0xfe, 0, 126, 1, 2, 3, 4})
	f.Add([]byte{0x88, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		frame, rest, err := unmask(in)
		if err != nil || frame == nil {
			return
		}
		taken := len(before) - len(rest)
		if len(frame)+4 != taken || frame[0] != before[0] || frame[1] != before[1]&0x7f {
			t.Fatalf("% x became % x", before, frame)
		}
		mask, payload := before[taken-(len(frame)-headBytes(frame))-4:][:4], frame[headBytes(frame):]
		for i := range payload {
			if payload[i]^mask[i&3] != before[taken-len(payload)+i] {
				t.Fatalf("% x became % x", before, frame)
			}
		}
	})
}

func headBytes(frame []byte) int {
	if frame[1]&0x7f == 126 {
		return 4
	}
	return 2
}
