package process

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAProgramThatEndsByItselfIsTold(t *testing.T) {
	p, err := Start(t.TempDir(), "talker", "/bin/sh", "-c", "echo a word; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Err(); !strings.Contains(err.Error(), "talker: exit status 3") || !strings.Contains(err.Error(), p.LogFile) {
		t.Error(err)
	}
	if text, err := os.ReadFile(p.LogFile); err != nil || string(text) != "a word\n" {
		t.Errorf("%q, %v", text, err)
	}
	p.Stop(time.Minute) // it has ended, so this returns at once
}

func TestAProgramIsAskedToEndAndThenKilled(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		grace  time.Duration
		want   syscall.Signal
	}{
		"willing":  {"echo begun; while :; do sleep 1; done", time.Minute, syscall.SIGTERM},
		"stubborn": {"trap '' TERM; echo begun; while :; do sleep 1; done", 10 * time.Millisecond, syscall.SIGKILL},
	} {
		p, err := Start(t.TempDir(), name, "/bin/sh", "-c", c.script)
		if err != nil {
			t.Fatal(err)
		}
		for text := []byte(nil); len(text) == 0; time.Sleep(time.Millisecond) {
			if text, err = os.ReadFile(p.LogFile); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		p.Stop(c.grace)
		if status := p.command.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != c.want {
			t.Errorf("%s ended by %v; want %v", name, status.Signal(), c.want)
		}
	}
}
