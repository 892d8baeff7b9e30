package bed

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program gives the testbed's binary, and skips the test where a testbed cannot run.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("GRIDROUTER_TESTBED_BINARY")
	if path == "" || os.Geteuid() != 0 {
		t.Skip("make e2e-kube runs this, as root")
	}
	return path
}

// machine is what a testbed could leave behind.
type machine struct {
	mounts, interfaces, files, processes []string
}

// look takes stock. The folder is where testbeds make theirs; their processes are told by it.
func look(t *testing.T, folder string) machine {
	t.Helper()
	var m machine
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	m.mounts = strings.Split(string(mounts), "\n")
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		m.interfaces = append(m.interfaces, i.Name)
	}
	for _, pattern := range []string{folder + "/*", "/run/netns/*", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		m.files = append(m.files, found...)
	}
	m.processes = processes(t, folder)
	return m
}

// processes lists those whose environment names the folder, but for the test itself.
func processes(t *testing.T, folder string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range all {
		environment, err := os.ReadFile(path)
		if err == nil && bytes.Contains(environment, []byte("TMPDIR="+folder)) {
			found = append(found, path)
		}
	}
	return found
}

func (m machine) differs(t *testing.T, before machine) {
	t.Helper()
	for what, pair := range map[string][2][]string{
		"mounts": {before.mounts, m.mounts}, "interfaces": {before.interfaces, m.interfaces},
		"files": {before.files, m.files}, "processes": {before.processes, m.processes},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: before %q, after %q", what, pair[0], pair[1])
		}
	}
}

// start starts a testbed with one node, whose folder is in the given one.
func start(t *testing.T, folder string, arguments ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(program(t), arguments...)
	command.Env = append(os.Environ(), "TMPDIR="+folder)
	command.Stderr = os.Stderr
	return command
}

// newFolderFor gives a short path, since there will be sockets in it.
func newFolderFor(t *testing.T) string {
	t.Helper()
	path, err := os.MkdirTemp("/tmp", "bed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	return path
}

func TestACommandRunsInTheClusterAndGivesItsStatus(t *testing.T) {
	folder := newFolderFor(t)
	before := look(t, folder)
	command := start(t, folder, "run", "--nodes=1", "sh", "-c", "kubectl get nodes && exit 7")
	out, err := command.Output()
	if command.ProcessState == nil || command.ProcessState.ExitCode() != 7 || !strings.Contains(string(out), "node-0") {
		t.Errorf("%v\n%s", err, out)
	}
	look(t, folder).differs(t, before)
}

func TestACommandThatEndsInOrderWhenAskedToHasNotFailed(t *testing.T) {
	command := start(t, newFolderFor(t), "run", "--nodes=0", "sh", "-c", `trap "exit 0" TERM; echo ready; while :; do sleep 0.1; done`)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Errorf("%q: %v", line, err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAClusterIsReachedFromOutsideUntilItIsAskedToStop(t *testing.T) {
	folder := newFolderFor(t)
	before := look(t, folder)
	command, kubeconfig := up(t, folder)
	kubectl := filepath.Join(filepath.Dir(kubeconfig), "bin", "kubectl")
	if out, err := exec.Command(kubectl, "--kubeconfig", kubeconfig, "get", "nodes").CombinedOutput(); err != nil || !strings.Contains(string(out), "node-0") {
		t.Errorf("%v\n%s", err, out)
	}
	// Within, the address of the API server's Service answers; here it does not.
	enter := start(t, folder, "enter", "sh", "-c", "kubectl --server=https://10.96.0.1 get --raw /readyz")
	if out, err := enter.Output(); err != nil || string(out) != "ok" {
		t.Errorf("%v\n%s", err, out)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	look(t, folder).differs(t, before)
}

func TestNothingOutlivesATestbedThatIsKilled(t *testing.T) {
	folder := newFolderFor(t)
	before := look(t, folder)
	command, _ := up(t, folder)
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // it was killed
	deadline := time.Now().Add(time.Minute)
	for len(processes(t, folder)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %v", processes(t, folder))
		}
		time.Sleep(50 * time.Millisecond)
	}
	// Its folder is left, until the next one starts.
	if left := look(t, folder).files; len(left) != 1 {
		t.Errorf("files %v", left)
	}
	if err := start(t, folder, "run", "--nodes=1", "true").Run(); err != nil {
		t.Error(err)
	}
	look(t, folder).differs(t, before)
}

// up starts a testbed and returns when it has printed where its kubeconfig is.
func up(t *testing.T, folder string) (command *exec.Cmd, kubeconfig string) {
	t.Helper()
	command = start(t, folder, "up", "--nodes=1")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if path, found := strings.CutPrefix(strings.TrimSpace(lines.Text()), "export KUBECONFIG="); found {
			go io.Copy(io.Discard, out)
			return command, path
		}
	}
	t.Fatalf("the testbed did not start: %v", command.Wait())
	return nil, ""
}

func TestFoldersOfTestbedsThatLiveAreNotSwept(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	living, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer living.remove()
	dead, err := newFolder()
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close()
	sweep()
	if left := folders(); !slices.Equal(left, []string{living.path}) {
		t.Errorf("left are %v", left)
	}
}

func TestOfSeveralTestbedsOneMustBeNamed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if _, _, err := find(); err == nil {
		t.Error("a testbed was found where there is none")
	}
	begin := func() *folder {
		f, err := newFolder()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.remove)
		if err := os.WriteFile(filepath.Join(f.path, pidFile), []byte("123"), 0o644); err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := begin()
	if path, pid, err := find(); path != first.path || pid != 123 || err != nil {
		t.Errorf("found %s with process %d, %v", path, pid, err)
	}
	begin()
	if _, _, err := find(); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("of two: %v", err)
	}
}
