package starter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/member"
)

func TestAMemberStartsAndRestartsWithItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e := becoming(t, Options{DataDir: dir, PodInfo: podInfo(t, `a="b"`)})
	id := e.serves(t)
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", e.PID())); err == nil && filepath.Base(strings.Split(string(line), "\x00")[0]) != "etcd" {
		t.Errorf("the process that was started is %q, not etcd", line)
	}
	e.put(t, "key", "value")
	e.client.Close()
	if err := e.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "etcd has ended by SIGTERM", func() bool { return !e.Running() })
	if !strings.Contains(e.said(), "closed etcd server") {
		t.Errorf("it did not end in order: %s", e.Ending())
	}

	again := becoming(t, Options{DataDir: dir, PodInfo: joined(t, id), Cluster: id.Cluster})
	if got := again.serves(t); got != id {
		t.Errorf("it was %v and is %v", id, got)
	}
	if got := again.has(t, "key"); got != "value" {
		t.Errorf("the key has %q", got)
	}
}

func TestAMemberThatLostItsDataDoesNotJoinAgain(t *testing.T) {
	volume := t.TempDir()
	log := filepath.Join(volume, "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := member.Identity{Member: 0xa1, Cluster: 0xc1}
	e := becoming(t, Options{DataDir: filepath.Join(volume, "data"), PodInfo: joined(t, id), TerminationLog: log})
	if ended := e.Ending(); ended != "exit status 41" {
		t.Errorf("it ended by %s", ended)
	}
	told, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(told), "lost the data of member a1 of cluster c1") || !strings.Contains(e.said(), string(told)) {
		t.Errorf("the termination log has %q, %v; the process said %q", told, err, e.said())
	}
	if _, err := os.Stat(filepath.Join(volume, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a folder of data now: %v", err)
	}
}

func TestATerminationLogIsNeitherMadeNorFilledBeyondItsSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := tell(path, "text"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tell(path, strings.Repeat("x", 5000)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 4096 {
		t.Errorf("it has %v, %v", info, err)
	}
	err := Run(&Options{TerminationLog: filepath.Join(path, "below a file"), Command: []string{"etcd"}})
	if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "termination log") {
		t.Errorf("where it cannot be written: %v", err)
	}
}

func TestOptionsThatCannotWorkAreRefusedWithTheMend(t *testing.T) {
	self := program(t, "etcd")
	f := func(want string, change func(*Options)) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "data")
		o := Options{DataDir: dir, Command: []string{self}}
		change(&o)
		_, _, err := o.prepare()
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the folder was made", want)
		}
	}
	arguments := func(arguments ...string) func(*Options) {
		return func(o *Options) { o.Command = append(o.Command, arguments...) }
	}
	f("--data-dir is missing", func(o *Options) { o.DataDir = "" })
	f("write its whole path", func(o *Options) { o.DataDir = "data" })
	f("not a folder below /", func(o *Options) { o.DataDir = "/tmp/.." })
	f("program is missing", func(o *Options) { o.Command = nil })
	f("no such file", func(o *Options) { o.Command = []string{"/nothing/etcd"} })
	f("letters, digits", func(o *Options) { o.ForceNewCluster = "a/b" })
	f("letters, digits", func(o *Options) { o.ForceNewCluster = "." })
	f("at most 64", func(o *Options) { o.ForceNewCluster = strings.Repeat("x", 65) })
	f("leave it out", arguments("--wal-dir=/elsewhere"))
	f("leave it out", arguments("--name", "a", "-wal-dir", "/elsewhere"))
	f("write flags", arguments("--config-file=/etc/etcd.yaml"))
	f("at each start", arguments("--force-new-cluster"))
	f("leave the argument out", arguments("--data-dir=/elsewhere"))
	f("leave the argument out", arguments("--data-dir", "/elsewhere"))
	f("leave the argument out", arguments("--data-dir"))
	f("downward API", func(o *Options) { o.PodInfo = "/nothing/annotations" })
	f("2: the line is not of the form", func(o *Options) { o.PodInfo = podInfo(t, `a="b"`, `b=c`) })
	f("not MEMBER/CLUSTER", func(o *Options) { o.PodInfo = podInfo(t, member.Joined+`="yes"`) })
	f("there twice", func(o *Options) { o.PodInfo = podInfo(t, member.Joined+`="1/2"`, member.Joined+`="1/2"`) })
	for _, variable := range []string{"ETCD_WAL_DIR", "ETCD_CONFIG_FILE", "ETCD_FORCE_NEW_CLUSTER"} {
		t.Setenv(variable, "true")
		f(variable, func(*Options) {})
		t.Setenv(variable, "")
	}
}

func TestEtcdGetsTheFolderAndItsOwnArguments(t *testing.T) {
	self := program(t, "etcd")
	dir := filepath.Join(t.TempDir(), "data")
	for _, given := range [][]string{nil, {"--name=a", "-v"}, {"--data-dir=" + dir + "/"}, {"-data-dir", dir}} {
		o := Options{DataDir: dir, Command: append([]string{self}, given...)}
		got, arguments, err := o.prepare()
		want := append([]string{self, "--data-dir=" + dir}, given...)
		if err != nil || got != self || strings.Join(arguments, " ") != strings.Join(want, " ") {
			t.Errorf("%s %v, %v; want %v", got, arguments, err, want)
		}
	}
}

func FuzzAnnotationsAreReadOrRefused(f *testing.F) {
	f.Add(`a="b"` + "\n" + member.Joined + `="8e9e05c52164694d/cdf818194e3a8c32"` + "\n")
	f.Add(member.Joined + `="a\"\n\x00b"`)
	f.Add("=\n=\"\"")
	f.Add("a='b'\nb=`c`")
	f.Fuzz(func(t *testing.T, text string) {
		value, found, err := annotation(text, member.Joined)
		if err != nil && found || !found && value != "" {
			t.Errorf("%q: %q, %v, %v", text, value, found, err)
		}
		if found && !strings.Contains(text, member.Joined+`="`) {
			t.Errorf("%q: it is not there, and was found", text)
		}
	})
}
