//go:build !slim

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
)

// etcdRun runs "gridrouter etcd" and returns what it wrote to its output.
func etcdRun(ctx context.Context, t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := newRootCommand()
	var out, progress bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&progress)
	root.SetArgs(append([]string{"etcd"}, args...))
	err := root.ExecuteContext(ctx)
	t.Logf("%s: %v\n%s%s", strings.Join(args, " "), err, progress.String(), out.String())
	return out.String(), err
}

// etcdJSON is etcdRun with a result in JSON, which the result file has as well.
func etcdJSON(t *testing.T, args ...string) (etcdResult, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result")
	out, err := etcdRun(t.Context(), t, append(args, "-o", "json", "--result-file", file)...)
	var told etcdResult
	if jsonErr := json.Unmarshal([]byte(out), &told); jsonErr != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%q is no line of JSON: %v", out, jsonErr)
	}
	if text, readErr := os.ReadFile(file); readErr != nil || string(text) != out {
		t.Errorf("the result file has %q (%v), and the output %q", text, readErr, out)
	}
	if told.OK != (err == nil) || told.Command != args[0] {
		t.Errorf("%+v, and the command ends with %v", told, err)
	}
	return told, err
}

func mustJSON(t *testing.T, args ...string) etcdResult {
	t.Helper()
	told, err := etcdJSON(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return told
}

func TestBackupsAreMadeAndRestoredByCommands(t *testing.T) {
	server, folder := etcdtest.Start(t), t.TempDir()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	put := func(value string) int64 {
		t.Helper()
		written, err := client.Put(t.Context(), "key", value)
		if err != nil {
			t.Fatal(err)
		}
		return written.Header.Revision
	}
	first := put("first")
	at := []string{"--store", folder}
	full := mustJSON(t, "backup", "--etcd", server.URL, "--store", folder)
	if full.Revision != first || full.SHA256 == "" || full.HashKV == 0 || full.Covered == nil {
		t.Errorf("%+v", full)
	}
	last := followTo(t, server.URL, folder, func() int64 { return put("second") })
	all := mustJSON(t, append([]string{"list"}, at...)...)
	if len(all.Backups) != 1 || all.Backups[0].ID != full.Backup || all.Backups[0].To != last || all.Backups[0].State != "complete" {
		t.Errorf("%+v", all)
	}
	if text, err := etcdRun(t.Context(), t, append([]string{"list"}, at...)...); err != nil || !strings.Contains(text, full.Backup) {
		t.Errorf("%q, %v", text, err)
	}
	if seen := mustJSON(t, append([]string{"verify", full.Backup}, at...)...); seen.Revision != last || seen.Keys != 1 || seen.Compared < 2 {
		t.Errorf("%+v", seen)
	}
	for revision, want := range map[int64]string{0: "second", first: "first"} {
		dir := filepath.Join(t.TempDir(), "data")
		told := mustJSON(t, append([]string{"restore", "--data-dir", dir, "--initial-cluster", "default=http://127.0.0.1:2380", "--revision", fmt.Sprint(revision)}, at...)...)
		if told.NewRevision <= last {
			t.Errorf("%+v", told)
		}
		other := etcdtest.Start(t, etcdtest.In(dir))
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{other.URL}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		read, err := c.Get(t.Context(), "key")
		if err != nil || len(read.Kvs) != 1 || string(read.Kvs[0].Value) != want {
			t.Errorf("revision %d: %v, %v", revision, read, err)
		}
		_ = c.Close()
		if _, err := etcdJSON(t, append([]string{"restore", "--data-dir", dir, "--initial-cluster", "default=http://127.0.0.1:2380"}, at...)...); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("over data: %v", err)
		}
	}
	again := mustJSON(t, "backup", "--etcd", server.URL, "--store", folder)
	if gone := mustJSON(t, "prune", "--keep", "1", "--store", folder); !slices.Equal(gone.Removed, []string{full.Backup}) || !slices.Equal(gone.Kept, []string{again.Backup}) {
		t.Errorf("%+v", gone)
	}
}

// followTo runs "etcd follow" until the store has what change wrote, which returns its revision.
func followTo(t *testing.T, url, folder string, change func() int64) (last int64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "result")
	ended := make(chan error, 1)
	go func() {
		_, err := etcdRun(ctx, t, "follow", "--etcd", url, "--store", folder, "--every", "10ms", "--result-file", file)
		ended <- err
	}()
	last = change()
	testkit.Eventually(t, "the store has it", func() bool {
		var told etcdResult
		text, _ := os.ReadFile(file)
		return json.Unmarshal(text, &told) == nil && told.Revision >= last && told.OK
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return last
}

// TestAFollowerThatIsKilledLosesNothing kills real processes while they write.
func TestAFollowerThatIsKilledLosesNothing(t *testing.T) {
	server, folder := etcdtest.Start(t), t.TempDir()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	file := filepath.Join(t.TempDir(), "result")
	last := int64(0)
	put := func() {
		t.Helper()
		written, err := client.Put(t.Context(), fmt.Sprintf("key-%d", last%7), fmt.Sprint(last))
		if err != nil {
			t.Fatal(err)
		}
		last = written.Header.Revision
	}
	reached := func() (told etcdResult) {
		text, _ := os.ReadFile(file)
		_ = json.Unmarshal(text, &told) // it is being written
		return told
	}
	args := []string{"etcd", "follow", "--etcd", server.URL, "--store", folder, "--every", "1ms", "--hash-every", "3", "--result-file", file}
	for range 5 {
		before := reached().Deltas
		p := start(t, args...)
		testkit.Eventually(t, "it follows", func() bool { put(); return reached().Deltas > before+5 })
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.ended
	}
	p := start(t, args...)
	put()
	testkit.Eventually(t, "it has all", func() bool { return reached().Revision == last })
	if status := p.terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	all := mustJSON(t, "list", "--store", folder)
	if len(all.Backups) != 1 || all.Backups[0].State != "complete" {
		t.Errorf("%+v", all.Backups)
	}
	if whole := mustJSON(t, "verify", "--store", folder); whole.Revision != last || whole.Compared < 5 {
		t.Errorf("%+v, want revision %d", whole, last)
	}
}

func TestFaultsOfBackupsHaveAReason(t *testing.T) {
	server, folder := etcdtest.Start(t), t.TempDir()
	full := mustJSON(t, "backup", "--etcd", server.URL, "--store", folder)
	file := filepath.Join(folder, filepath.FromSlash(chain.FullName(full.Backup)))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(accessKeyVariable, "the-access-key")
	t.Setenv(secretKeyVariable, "the-secret-key")
	s3 := []string{"--store", "s3://backups/x", "--store-endpoint", "http://" + testkit.FreeAddr(t), "--store-region", "here"}
	for _, one := range []struct {
		args   []string
		reason string
		says   string
	}{
		{[]string{"verify", "--store", folder}, "Damaged", "full.db"},
		{[]string{"restore", "--store", folder, "--data-dir", filepath.Join(t.TempDir(), "d"), "--initial-cluster", "default=http://127.0.0.1:2380"}, "Damaged", "full.db"},
		{[]string{"verify", "--store", t.TempDir()}, "NoBackup", "list shows"},
		{[]string{"list", "--store", filepath.Join(folder, "absent")}, "StoreAbsent", "mount it"},
		{append([]string{"list"}, s3...), "StoreUnreachable", "cannot be reached"},
	} {
		told, err := etcdJSON(t, one.args...)
		if err == nil || told.Reason != one.reason || !strings.Contains(told.Error, one.says) || flags.Exit(err) != flags.ExitFault {
			t.Errorf("%v: %+v, %v", one.args, told, err)
		}
		if strings.Contains(fmt.Sprint(told, err), "the-secret-key") {
			t.Errorf("%v: it tells the secret: %v", one.args, err)
		}
	}
}

func TestBadFlagsOfBackupsNameTheMend(t *testing.T) {
	t.Setenv(accessKeyVariable, "")
	t.Setenv(secretKeyVariable, "")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	etcd := " --etcd http://127.0.0.1:1 --store " + t.TempDir()
	member := "restore --store " + t.TempDir() + " --data-dir d"
	for args, want := range map[string]string{
		"list":                              "--store is missing",
		"list --store ftp://x":              "s3://BUCKET/PREFIX",
		"list --store /tmp -o yaml":         "text or json",
		"list --store d --store-endpoint x": "is of an s3:// store",
		"list --store s3://b":               accessKeyVariable,
		"list --store s3://b --store-access-key-file " + empty: "no key in",
		"list --store s3://b --store-secret-key-file absent":   "AWS_ACCESS_KEY_ID",
		"backup --store " + t.TempDir():                        "--etcd is missing",
		"follow --delta-size 0" + etcd:                         "within 1 to 256",
		"follow --every 0s" + etcd:                             "above 0",
		"prune --keep 0 --store " + t.TempDir():                "at least 1",
		"verify x --store " + t.TempDir():                      "no ID of a backup",
		member:                                                 "the initial cluster",
		member + " --initial-cluster a=http://a:1":             "default=http://HOST:2380",
		member + " --initial-cluster default=x":                "NAME=http://HOST:2380",
		member + " --initial-cluster default=http://a:1 --initial-advertise-peer-urls http://b:1": "they are the same",
		"restore --store " + t.TempDir() + " --initial-cluster default=http://a:1":                "--data-dir",
		member + " --initial-cluster default=http://a:1 --bump-revision -1":                       "positive",
	} {
		if _, err := etcdRun(t.Context(), t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) || flags.Exit(err) != flags.ExitUsage {
			t.Errorf("%s: %v, want %q as a usage error", args, err, want)
		}
	}
}

func TestAResultFitsInAMessageOfKubernetes(t *testing.T) {
	r := etcdResult{Command: "list", Error: shortened(strings.Repeat("ä", maxErrorBytes), maxErrorBytes)}
	for i := range 500 {
		id := chain.NewID(time.Now())
		r.Backups = append(r.Backups, listedBackup{ID: id, State: "complete", Damage: shortened(strings.Repeat("x", 300), 200)})
		r.Kept = append(r.Kept, id)
		if i < maxDamages {
			r.Damages = append(r.Damages, &backup.DamageError{Object: chain.DeltaName(id, 1), Problem: "it is missing"})
		}
	}
	line, err := r.bounded()
	if err != nil || len(line) > maxResultBytes {
		t.Fatalf("%d bytes, %v", len(line), err)
	}
	var told etcdResult
	if err := json.Unmarshal(line, &told); err != nil {
		t.Fatal(err)
	}
	kept := len(told.Backups) + len(told.Kept)
	if kept == 0 || told.Omitted != 1000-kept || len(r.Backups) != 500 {
		t.Errorf("%d are kept, %d omitted", kept, told.Omitted)
	}
	if n := len(told.Kept); n > 0 && told.Kept[n-1] != r.Kept[499] {
		t.Error("the newest are left out")
	}
}
