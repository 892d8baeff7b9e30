package lab_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gridrouter.io/bench/lab"
)

func TestMissingProgramsAreNamedWithTheMend(t *testing.T) {
	_, err := lab.Start(t.Context(), lab.Config{Bin: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "gridrouter is missing") || !strings.Contains(err.Error(), "make build") {
		t.Errorf("the error is %v", err)
	}
}

// emptyPrograms makes a folder of programs that are there, but do nothing.
func emptyPrograms(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"gridrouter", "gridctl", "griddev"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDataOfAnotherBlockAreRefused(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "block"), []byte("127.99.99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := lab.Start(t.Context(), lab.Config{Bin: emptyPrograms(t, "exit 0"), Data: data})
	if err == nil || !strings.Contains(err.Error(), "127.99.99") {
		t.Errorf("the error is %v", err)
	}
}

func TestPartThatEndsWhileStartingSaysWhy(t *testing.T) {
	_, err := lab.Start(t.Context(), lab.Config{Bin: emptyPrograms(t, "echo no such luck >&2; exit 7")})
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("the error is %v", err)
	}
}

func TestStartCanBeCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan struct{}, 100)
	go func() {
		<-events
		cancel()
	}()
	// The parts never get ready; the first line that one writes ends the wait.
	_, err := lab.Start(ctx, lab.Config{
		Bin:     emptyPrograms(t, "echo up; exec sleep 1000"),
		Verbose: writerFunc(func(p []byte) (int, error) { events <- struct{}{}; return len(p), nil }),
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTakenAddressKeepsTheGridFromStarting(t *testing.T) {
	layout, err := lab.FreeBlock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", layout.Admin(2))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = lab.Start(t.Context(), lab.Config{Bin: emptyPrograms(t, "exit 0"), Net: layout.Net()})
	var inUse *lab.InUseError
	if !errors.As(err, &inUse) || !strings.Contains(inUse.Address, layout.Admin(2)) {
		t.Errorf("the error is %v", err)
	}
}

// TestE2EPartsLiveAndDie holds the grid's methods to what they say.
func TestE2EPartsLiveAndDie(t *testing.T) {
	if testing.Short() {
		t.Skip("whole grids take a while")
	}
	var ended []string
	config := sampleConfig(bin(t))
	config.Events = func(e lab.Event) {
		if e.Kind == lab.Ended {
			ended = append(ended, e.Part.Name+" "+e.Text)
		}
	}
	grid, err := lab.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	first := grid.PID(lab.Ingress)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(grid.Kill(lab.Ingress))
	if grid.PID(lab.Ingress) != 0 || grid.Kill(lab.Ingress) == nil || grid.Kill("nobody") == nil {
		t.Error("a part that was killed can be killed again")
	}
	must(grid.Restart(t.Context(), lab.Ingress))
	if second := grid.PID(lab.Ingress); second == 0 || second == first {
		t.Errorf("the process was %d and is %d", first, second)
	}
	if grid.Restart(t.Context(), lab.Ingress) == nil {
		t.Error("a part that runs was started again")
	}
	must(grid.Signal(lab.VIP1, syscall.SIGKILL)) // nobody asked the grid
	must(grid.Terminate(lab.VIP2))
	for grid.PID(lab.VIP1) != 0 {
		if t.Context().Err() != nil {
			t.Fatal("the part never ended")
		}
	}
	revived, err := grid.Revive(t.Context())
	if err != nil || len(revived) != 2 {
		t.Errorf("revived: %v, %v", revived, err)
	}
	if running := grid.Parts(); len(running) != 12 {
		t.Errorf("the grid has %d parts", len(running))
	}
	checkLogs(t.Errorf, grid)
	data := grid.Data()
	must(grid.Stop())
	if len(ended) != 1 || ended[0] != "vip-1 signal: killed" {
		t.Errorf("told of these ends: %q", ended)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the temporary folder is still there")
	}
}
