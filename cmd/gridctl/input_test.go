package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestACommandThatWaitsForItsInputCanBeStopped has each command that reads an input wait for one
// that does not come: the standard input, and a pipe in place of a file.
func TestACommandThatWaitsForItsInputCanBeStopped(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo.yaml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{"-", fifo} {
		for _, args := range [][]string{{"apply", "-f", input}, {"diff", "-f", input}, {"pins", "import", "acme", input}, {"explain", "--batch", input}} {
			ctx, cancel := context.WithCancel(context.Background())
			reader, writer := io.Pipe()
			silent, err := os.OpenFile(fifo, os.O_RDWR, 0) // a writer that writes nothing
			if err != nil {
				t.Fatal(err)
			}
			root := newRootCommand()
			var out bytes.Buffer
			root.SetArgs(append(args, "--etcd", "http://127.0.0.1:1"))
			root.SetIn(reader)
			root.SetOut(&out)
			root.SetErr(&out)
			ended := make(chan error, 1)
			go func() { ended <- root.ExecuteContext(ctx) }()
			cancel()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "stopped") || !strings.Contains(err.Error(), "nothing was written") {
					t.Errorf("%q ended with %v", args, err)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("%q goes on waiting", args)
			}
			_ = writer.Close()
			_ = silent.Close() // whoever still reads comes to the end
		}
	}
}
