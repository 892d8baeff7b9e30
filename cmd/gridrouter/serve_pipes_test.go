package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAPipeInPlaceOfAFileHoldsUpNoStart gives each flag that names a file a named pipe whose
// other end nobody opens: serve starts, or ends with a line that names the flag.
func TestAPipeInPlaceOfAFileHoldsUpNoStart(t *testing.T) {
	dir := t.TempDir()
	fifo, crts, routes := filepath.Join(dir, "fifo.yaml"), filepath.Join(dir, "crts"), filepath.Join(dir, "routes")
	for _, folder := range []string{crts, routes} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "token"), "token")
	for _, name := range []string{fifo, filepath.Join(crts, "a.crt"), filepath.Join(crts, "a.key"), filepath.Join(routes, "a.yaml")} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(flag string, args ...string) {
		t.Helper()
		cmd := exec.Command(binary(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--snapshot", "off"}, args...)...)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		out, _ := cmd.CombinedOutput() // the status is looked at
		if status := cmd.ProcessState.ExitCode(); status != 2 || !strings.Contains(string(out), flag) {
			t.Errorf("%v: exit status %d, %s", args, status, out)
		}
	}
	etcd := []string{"--etcd", "http://127.0.0.1:1"}
	refused("--admin-token-file", "--routes", t.TempDir(), "--admin-token-file", fifo)
	refused("--tls-cert", "--routes", t.TempDir(), "--tls-cert", crts, "--listen-tls", "127.0.0.1:0")
	refused("--routes", "--routes", fifo)
	refused("--snapshot", "--routes", t.TempDir(), "--snapshot", fifo)
	refused("--snapshot", "--routes", t.TempDir(), "--snapshot", os.DevNull)
	refused("--snapshot", "--routes", t.TempDir(), "--snapshot", dir)
	refused("--access-log", "--routes", t.TempDir(), "--access-log", dir)
	refused("--access-log", "--routes", t.TempDir(), "--access-log", filepath.Join(dir, "nowhere", "log"))
	refused("--etcd-password-file", append(etcd, "--etcd-user", "u", "--etcd-password-file", fifo)...)
	refused("--etcd-ca", append(etcd, "--etcd-ca", fifo)...)
	refused("--etcd-cert", append(etcd, "--etcd-cert", fifo, "--etcd-key", fifo)...)
	starts := func(args ...string) {
		t.Helper()
		s := startServe(t, args...)
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await(t, "reloaded")
		if status := s.terminate(t); status != 0 {
			t.Errorf("%v: exit status %d", args, status)
		}
	}
	starts("--routes", t.TempDir(), "--config", fifo) // it is empty
	starts("--routes", t.TempDir(), "--access-log", fifo)
	starts("--routes", routes, "--access-log", "off") // the pipe in it is a problem of the documents'
}
