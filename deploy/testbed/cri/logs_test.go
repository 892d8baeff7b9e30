package cri

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// entries reads a log, and gives what follows the time of each line.
func entries(t *testing.T, path string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		stamp, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		all = append(all, rest)
	}
	return all
}

func TestOutputIsCutIntoLines(t *testing.T) {
	long := strings.Repeat("x", longestLine)
	for _, c := range []struct {
		parts, want []string
	}{
		{[]string{"one\n"}, []string{"stdout F one"}},
		{[]string{"one\ntwo\n\n"}, []string{"stdout F one", "stdout F two", "stdout F "}},
		{[]string{"o", "n", "e\nt", "wo"}, []string{"stdout F one", "stdout F two"}},
		{[]string{long, "end\n"}, []string{"stdout P " + long, "stdout F end"}},
		{nil, nil},
	} {
		log, err := openLog(filepath.Join(t.TempDir(), "pod", "0.log"))
		if err != nil {
			t.Fatal(err)
		}
		stream := log.stream("stdout")
		for _, part := range c.parts {
			if n, err := stream.Write([]byte(part)); n != len(part) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		stream.flush()
		if err := log.close(); err != nil {
			t.Fatal(err)
		}
		if got := entries(t, log.path); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q gave %q; want %q", c.parts, got, c.want)
		}
	}
}

func TestALogThatWasMovedAwayGoesOnInANewFile(t *testing.T) {
	log, err := openLog(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := log.stream("stdout"), log.stream("stderr")
	stdout.Write([]byte("before\n"))
	if err := os.Rename(log.path, log.path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := log.reopen(); err != nil {
		t.Fatal(err)
	}
	stderr.Write([]byte("after\n"))
	if err := log.close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{log.path + ".1": "stdout F before", log.path: "stderr F after"} {
		if got := entries(t, path); !reflect.DeepEqual(got, []string{want}) {
			t.Errorf("%s has %q", path, got)
		}
	}
}
