package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/deploy/testbed/images"
)

// TestMain lets the test binary be what the tests start: a process that becomes a container, and
// the program in it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case Argument:
			_ = Become()
			os.Exit(127)
		case "report":
			json.NewEncoder(os.Stdout).Encode(look())
			return
		case "wait":
			fmt.Println("waits")
			time.Sleep(time.Hour)
		}
	}
	os.Exit(m.Run())
}

// report is what a program sees of its container.
type report struct {
	PID, UID, GID int
	Bounding      string // the capabilities that it may have, as the kernel shows them
	Hostname      string
	Directory     string
	Root          []string
	File          string
	Writes        map[string]bool
	Interfaces    []string
}

func look() report {
	r := report{PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), Writes: map[string]bool{}}
	r.Hostname, _ = os.Hostname()
	r.Directory, _ = os.Getwd()
	entries, _ := os.ReadDir("/")
	for _, entry := range entries {
		r.Root = append(r.Root, entry.Name())
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, bounding, _ := strings.Cut(string(status), "CapBnd:")
	r.Bounding = strings.Fields(bounding + " none")[0]
	text, _ := os.ReadFile("/etc/hello")
	r.File = string(text)
	for _, folder := range []string{"/", "/tmp", "/data", "/fixed"} {
		r.Writes[folder] = os.WriteFile(filepath.Join(folder, "written"), nil, 0o600) == nil
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		r.Interfaces = append(r.Interfaces, i.Name)
	}
	return r
}

// newSpec is a container with the test binary as its image, and an argument for it.
func newSpec(t *testing.T, arguments ...string) Spec {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes namespaces")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if images.Dynamic(self) {
		t.Skip("the test binary is its own image, so it must be built with CGO_ENABLED=0")
	}
	return Spec{
		Folder:    t.TempDir(),
		Image:     self,
		Hostname:  "box",
		Arguments: append([]string{"/" + filepath.Base(self)}, arguments...),
		Files:     map[string]string{"/etc/hello": "hello"},

		Capabilities: AllCapabilities(),
	}
}

// runToEnd runs a container to its end and reads its report.
func runToEnd(t *testing.T, spec Spec) (r report) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command, err := Start(spec, nil, Streams{Out: &stdout, Err: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v: %q", err, &stdout)
	}
	return r
}

func TestAContainerSeesNothingOfTheMachineButItsImage(t *testing.T) {
	spec := newSpec(t, "report")
	r := runToEnd(t, spec)
	if want := []string{filepath.Base(spec.Image), "dev", "etc", "proc", "tmp"}; !sameSet(r.Root, want) {
		t.Errorf("the root has %v; want %v", r.Root, want)
	}
	if r.PID != 1 || r.UID != 0 || r.Hostname != "box" || r.Directory != "/" || r.File != "hello" || !r.Writes["/"] {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(spec.Folder); err != nil || len(left) > 0 {
		t.Errorf("on the machine there is left %v, %v", left, err)
	}
}

func TestAContainerHasTheUserTheMountsAndTheRootItWasGiven(t *testing.T) {
	spec := newSpec(t, "report")
	data, fixed := t.TempDir(), t.TempDir()
	if err := os.Chmod(data, 0o777); err != nil {
		t.Fatal(err)
	}
	spec.UID, spec.GID, spec.ReadOnly, spec.WorkingDir = 65532, 65533, true, "/tmp"
	spec.Mounts = []Mount{{Host: data, Path: "/data"}, {Host: fixed, Path: "/fixed", ReadOnly: true}}
	r := runToEnd(t, spec)
	if r.UID != 65532 || r.GID != 65533 || r.Directory != "/tmp" {
		t.Errorf("%+v", r)
	}
	if want := (map[string]bool{"/": false, "/tmp": false, "/data": true, "/fixed": false}); !reflect.DeepEqual(r.Writes, want) {
		t.Errorf("writes %v; want %v", r.Writes, want)
	}
	if _, err := os.Stat(filepath.Join(data, "written")); err != nil {
		t.Error(err)
	}
}

func TestAContainerHasNoCapabilityButThoseItWasGiven(t *testing.T) {
	for _, c := range []struct {
		given []string
		want  string
	}{
		{nil, "0000000000000000"},
		{[]string{"CHOWN", "NET_BIND_SERVICE"}, "0000000000000401"},
	} {
		for _, user := range []int{0, 65532} {
			spec := newSpec(t, "report")
			spec.Capabilities, spec.UID = c.given, user
			if r := runToEnd(t, spec); r.Bounding != c.want || r.UID != user {
				t.Errorf("given %v, the user %d has %+v", c.given, user, r)
			}
		}
	}
}

func TestAFolderIsAnImageThatContainersDoNotChange(t *testing.T) {
	spec := newSpec(t, "report")
	root := t.TempDir()
	program, err := os.ReadFile(spec.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "program"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	spec.Image, spec.ImageFolder, spec.Arguments[0] = root, true, "/program"
	for range 2 {
		if r := runToEnd(t, spec); !sameSet(r.Root, []string{"dev", "etc", "proc", "program"}) || !r.Writes["/"] {
			t.Errorf("%+v", r)
		}
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 1 {
		t.Errorf("the image has %v, %v", left, err)
	}
}

func TestWhyAContainerCannotStartIsTold(t *testing.T) {
	for _, c := range []struct {
		edit func(*Spec)
		want string
	}{
		{func(s *Spec) { s.Arguments = []string{"/nothing"} }, `exec: "/nothing"`},
		{func(s *Spec) { s.Arguments = []string{"nothing"} }, "not found in $PATH"},
		{func(s *Spec) { s.Image = "/nothing" }, "image /nothing"},
		{func(s *Spec) { s.Mounts = []Mount{{Host: "/nothing", Path: "/data"}} }, "mount at /data"},
		{func(s *Spec) { s.WorkingDir = "/etc/hello" }, "working directory"},
	} {
		spec := newSpec(t, "report")
		c.edit(&spec)
		if _, err := Start(spec, nil, Streams{}); !errors.Is(err, ErrNotStarted) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %s", err, c.want)
		}
	}
}

func TestAProgramJoinsAContainerThatRuns(t *testing.T) {
	spec := newSpec(t, "wait")
	command, err := Start(spec, nil, Streams{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		command.Process.Kill()
		var status syscall.WaitStatus
		if command.Wait(); command.ProcessState.Sys().(syscall.WaitStatus) == status {
			t.Error("the container ended by itself")
		}
	}()
	joined := spec
	joined.Join = command.Process.Pid
	joined.Arguments = []string{spec.Arguments[0], "report"}
	if r := runToEnd(t, joined); r.Hostname != "box" || r.File != "hello" || r.PID == 1 {
		t.Errorf("%+v", r)
	}
}

func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, name := range a {
		count[name]++
	}
	for _, name := range b {
		count[name]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
