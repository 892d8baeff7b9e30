package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
)

func deckJSON(name, address string) string {
	return `{"kind":"Deck","name":"` + name + `","domain":"` + name + `.deck.example","attach":"direct","addresses":["` + address + `"]}`
}

func tenantJSON(deck string) string {
	return `{"kind":"Tenant","name":"acme","hosts":["acme.example"],"rules":[{"name":"all","deck":"` + deck + `"}]}`
}

// snapshotted starts a router from etcd with a tenant on a deck, and stops it and etcd, so
// that a snapshot and a previous one are left.
func snapshotted(t *testing.T) (snap, etcdURL string) {
	t.Helper()
	snap = filepath.Join(t.TempDir(), "state", "r1.snap")
	etcd := etcdtest.Start(t)
	addr, url := etcd.Addr, etcd.URL
	one, two := startDeck(t, "one"), startDeck(t, "two")
	putRaw(t, addr, "decks/d1", deckJSON("d1", one))
	putRaw(t, addr, "decks/d2", deckJSON("d2", two))
	putRaw(t, addr, "tenants/acme", tenantJSON("d1"))
	s := startServe(t, "--etcd", url, "--snapshot", snap, "--access-log", "off")
	s.becomes(t, "one ")
	if code := s.terminate(t); code != 0 { // at its end it writes a snapshot: the previous one
		t.Fatalf("exit status %d", code)
	}
	s = startServe(t, "--etcd", url, "--snapshot", snap, "--access-log", "off")
	putRaw(t, addr, "tenants/acme", tenantJSON("d2"))
	s.becomes(t, "two ")
	if code := s.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	etcd.Stop()
	return snap, url
}

func TestARouterStartsFromItsSnapshotWhileEtcdIsAway(t *testing.T) {
	snap, url := snapshotted(t)
	s := startServe(t, "--etcd", url, "--snapshot", snap, "--access-log", "off")
	s.ready(t)
	s.becomes(t, "two ")
	if _, table := fetch(s.admin + "/table"); !strings.Contains(table, `"source": "snapshot"`) && !strings.Contains(table, `"source":"snapshot"`) {
		t.Errorf("the table does not say that it is a snapshot's:\n%s", table)
	}
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.ended

	// Killed and started again it serves the same.
	s = startServe(t, "--etcd", url, "--snapshot", snap, "--access-log", "off")
	s.becomes(t, "two ")
}

func TestADamagedSnapshotGivesWayToThePreviousOne(t *testing.T) {
	snap, url := snapshotted(t)
	data, err := os.ReadFile(snap)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	if err := os.WriteFile(snap, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, "--etcd", url, "--snapshot", snap, "--access-log", "off")
	s.becomes(t, "one ")
	if !s.said("A SNAPSHOT IS OF NO USE and is ignored; the next one takes its place") {
		t.Error("nothing was said of the damage")
	}
	if _, metrics := fetch(s.admin + "/metrics"); !strings.Contains(metrics, "gridrouter_snapshot_refused_total 1") {
		t.Error("the damage is not counted")
	}
}

func TestASnapshotOfAnotherSourceIsIgnored(t *testing.T) {
	snap, url := snapshotted(t)
	s := startServe(t, "--etcd", url, "--prefix", "/other/", "--snapshot", snap, "--access-log", "off")
	status, _ := fetch(s.health + "/readyz")
	if status != 503 {
		t.Errorf("with nothing to serve /readyz answers %d", status)
	}
	header, _, err := discovery.ReadSnapshot(snap)
	if err != nil || header.Of != "etcd prefix /gridrouter/" {
		t.Errorf("the snapshot is now of %q, %v", header.Of, err)
	}
}

func TestASnapshotThatCannotBeWrittenStopsNothing(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "decks.yaml"), deckYAML("d1", startDeck(t, "one")))
	writeFile(t, filepath.Join(dir, "tenants.yaml"), tenantYAML("d1"))
	s := startServe(t, "--routes", dir, "--snapshot", filepath.Join(dir, "decks.yaml", "under", "r1.snap"), "--access-log", "off")
	s.becomes(t, "one ")
	testkit.Eventually(t, "it says that it cannot write", func() bool {
		return s.said("the snapshot cannot be written; without it the router cannot start while its source is away")
	})
	s.becomes(t, "one ")
}

func TestInspectSaysWhatASnapshotHolds(t *testing.T) {
	snap, _ := snapshotted(t)
	run := func(args ...string) (string, error) {
		out, err := exec.Command(binary(t), append([]string{"snapshot", "inspect"}, args...)...).CombinedOutput()
		return string(out), err
	}
	out, err := run(snap)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"etcd prefix /gridrouter/", "1 tenants, 1 hosts, 2 decks, 0 pins", "state, ", "whole"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if out, err = run("-o", "json", snap+".1"); err != nil || !strings.Contains(out, `"tenants": 1`) {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.Truncate(snap, 300); err != nil {
		t.Fatal(err)
	}
	if out, err = run(snap); err == nil || !strings.Contains(out, "the snapshot is damaged: it ends within") || !strings.Contains(out, "of no use") {
		t.Errorf("of a cut snapshot: %v: %s", err, out)
	}
	if out, err = run(snap + ".none"); err == nil || !strings.Contains(out, "name a snapshot's file") {
		t.Errorf("of no file: %v: %s", err, out)
	}
}

// TestTheSnapshotIsInTheStateFolder asks for its place in each environment. systemd separates several
// folders with colons.
func TestTheSnapshotIsInTheStateFolder(t *testing.T) {
	for _, c := range []struct{ flag, systemd, xdg, want string }{
		{"", "", "", "/var/lib/gridrouter/r1.snap"},
		{"", "", "/x", "/x/gridrouter/r1.snap"},
		{"", "/s", "/x", "/s/gridrouter/r1.snap"},
		{"", "/s:/t", "/x", "/s/gridrouter/r1.snap"},
		{"/f", "/s", "/x", "/f"},
		{"off", "/s", "/x", ""},
	} {
		t.Setenv("STATE_DIRECTORY", c.systemd)
		t.Setenv("XDG_STATE_HOME", c.xdg)
		if got := snapshotPath(c.flag, "r1"); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
