package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// TestASupervisorIsToldOfReadinessAndDraining starts a router whose documents are not there
// yet: it is ready, and says so, only once they are.
func TestASupervisorIsToldOfReadinessAndDraining(t *testing.T) {
	for kind, name := range map[string]string{
		"a path":   filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@gridrouter-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	} {
		t.Run(kind, func(t *testing.T) {
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			t.Setenv("NOTIFY_SOCKET", name)
			word := func(want string) {
				t.Helper()
				text := make([]byte, 1000)
				if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				n, err := conn.Read(text)
				if got := string(text[:n]); err != nil || got != want {
					t.Fatalf("told %q, %v; want %q", got, err, want)
				}
			}
			s := startServe(t, "--routes", t.TempDir())
			word(supervisorReady)
			if status, _ := fetch(s.health + "/readyz"); status != 200 {
				t.Errorf("ready, and /readyz says %d", status)
			}
			if status := s.terminate(t); status != 0 {
				t.Errorf("exit status %d", status)
			}
			word(supervisorStopping)
		})
	}
}

// TestARouterThatIsNotReadyDoesNotSayThatItIs has a source that never answers.
func TestARouterThatIsNotReadyDoesNotSayThatItIs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	s := startServe(t, "--etcd", "http://"+testkit.FreeAddr(t))
	if status := s.terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	text := make([]byte, 1000)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(text); err != nil || string(text[:n]) != supervisorStopping {
		t.Errorf("the first word is %q, %v", text[:n], err)
	}
}

func TestASupervisorThatIsNotThereStopsNothing(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	s := startServe(t, "--routes", t.TempDir())
	s.await(t, "the supervisor ($NOTIFY_SOCKET) cannot be told")
	if status := s.terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
