package starter

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/member"
)

// forces says whether etcd would be started with --force-new-cluster.
func forces(t testing.TB, dir, token string) bool {
	t.Helper()
	_, arguments, err := (&Options{DataDir: dir, ForceNewCluster: token, Command: []string{program(t, "etcd")}}).prepare()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(arguments, "--force-new-cluster=true")
}

func TestATokenForcesANewClusterOnceAndOnlyOutOfData(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	dir := filepath.Join(t.TempDir(), "data")
	f := func(token string, want bool) {
		t.Helper()
		if got := forces(t, dir, token); got != want {
			t.Errorf("token %q: forced is %v", token, got)
		}
	}
	f("one", false) // there is nothing to make a cluster of
	if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
		t.Fatal(err)
	}
	f("", false)
	f("one", true)
	f("one", false)
	f("two", true)
	f("one", false)
	// A folder of data that was restored into its place is not another volume.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
		t.Fatal(err)
	}
	f("two", false)
	f("three", true)
}

func TestATokenOfRefusedDataIsNotUsedUp(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	dir := g.copied(t)
	other := member.Identity{Member: 1, Cluster: 1}
	if got, said := status(t, &Options{DataDir: dir, ForceNewCluster: "token", PodInfo: joined(t, other)}); got != member.ExitOtherMember {
		t.Fatalf("status %d: %s", got, said)
	}
	if !forces(t, dir, "token") {
		t.Error("the token was used up by a start that was refused")
	}
}

func TestTheSurvivorOfALostQuorumServesAloneAndGrowsAgain(t *testing.T) {
	peers := map[string]string{"a": "http://" + testkit.FreeAddr(t), "b": "http://" + testkit.FreeAddr(t)}
	flags := func(name string) []string {
		return []string{
			"--name=" + name, "--listen-peer-urls=" + peers[name], "--initial-advertise-peer-urls=" + peers[name],
			"--initial-cluster=a=" + peers["a"] + ",b=" + peers["b"],
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	a := becoming(t, Options{DataDir: dir}, flags("a")...)
	b := becoming(t, Options{DataDir: filepath.Join(t.TempDir(), "data")}, flags("b")...)
	id := a.serves(t)
	a.put(t, "key", "value")
	b.client.Close()
	b.Kill()
	// In order: what etcd forces a cluster out of ends where its database did, which lags behind its log.
	a.client.Close()
	a.Stop(testkit.Patience, nil)

	recovered := becoming(t, Options{DataDir: dir, PodInfo: joined(t, id), ForceNewCluster: "task-1"}, flags("a")...)
	if got := recovered.serves(t); got != id || recovered.has(t, "key") != "value" {
		t.Errorf("it was %v and is %v", id, got)
	}
	if members, err := recovered.client.MemberList(t.Context()); err != nil || len(members.Members) != 1 {
		t.Fatalf("members: %v, %v", members, err)
	}
	if _, err := recovered.client.MemberAddAsLearner(t.Context(), []string{peers["b"]}); err != nil {
		t.Fatal(err)
	}
	recovered.client.Close()
	recovered.Stop(testkit.Patience, nil)

	again := becoming(t, Options{DataDir: dir, PodInfo: joined(t, id), ForceNewCluster: "task-1"}, flags("a")...)
	again.serves(t)
	if members, err := again.client.MemberList(t.Context()); err != nil || len(members.Members) != 2 {
		t.Errorf("the same token, and the members are %v, %v", members, err)
	}
}

func TestAFolderWithoutRightsIsToldWithItsPath(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	for _, c := range []struct {
		name, deny string
		mode       os.FileMode
	}{
		{"the folder cannot be read", "", 0},
		{"the folder cannot be written", "", 0o555},
		{"the log cannot be read", "member/wal", 0},
		{"the log cannot be written", "member/wal", 0o555},
		{"a segment cannot be read", "member/wal/0000000000000000-0000000000000000.wal", 0},
		{"the database cannot be read", "member/snap/db", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := g.copied(t)
			opened(t, dir)
			if err := os.Chmod(filepath.Join(dir, c.deny), c.mode); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Chmod(filepath.Join(dir, c.deny), 0o700) })
			asNobody(t, func() {
				got, said := status(t, &Options{DataDir: dir, Command: []string{"true"}})
				if got != member.ExitUnusable || !strings.Contains(said, filepath.Join(dir, c.deny)) || !strings.Contains(said, "permission denied") {
					t.Errorf("status %d: %s", got, said)
				}
			})
		})
	}
}

// opened lets everybody do everything with data, and reach them.
func opened(t testing.TB, dir string) {
	t.Helper()
	for _, above := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := os.Chmod(above, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o777)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asNobody runs a function without root's rights on files.
func asNobody(t testing.TB, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	defer unix.SetfsuidRetUid(0)
	f()
}

// mounted gives a file system of its own, of some bytes.
func mounted(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullVolumeIsToldWithItsCause(t *testing.T) {
	volume := mounted(t, "size=64k")
	if err := os.WriteFile(filepath.Join(volume, "filler"), make([]byte, 128<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the volume took it: %v", err)
	}
	got, said := status(t, &Options{DataDir: filepath.Join(volume, "data")})
	if got != member.ExitUnusable || !strings.Contains(said, "no space left") || !strings.Contains(said, volume) {
		t.Errorf("status %d: %s", got, said)
	}
}

func TestAReadOnlyVolumeIsToldWithItsCause(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	volume := mounted(t, "")
	dir := filepath.Join(volume, "data")
	if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", volume, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(volume, "fresh")} {
		if got, said := status(t, &Options{DataDir: dir}); got != member.ExitUnusable || !strings.Contains(said, "read-only") || !strings.Contains(said, dir) {
			t.Errorf("status %d: %s", got, said)
		}
	}
}

func TestAFileInPlaceOfTheFolderIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, said := status(t, &Options{DataDir: path}); got != member.ExitUnusable || !strings.Contains(said, "not a directory") {
		t.Errorf("status %d: %s", got, said)
	}
}

func TestATokenNeedsAFolderWithinTheVolume(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	volume := mounted(t, "")
	if err := os.CopyFS(volume, os.DirFS(g.dir)); err != nil {
		t.Fatal(err)
	}
	_, _, err := (&Options{DataDir: volume, ForceNewCluster: "token", Command: []string{program(t, "etcd")}}).prepare()
	if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "write "+volume+"/data") {
		t.Error(err)
	}
	if marks, err := filepath.Glob(filepath.Join(volume, ".gridrouter*")); err != nil || len(marks) > 0 {
		t.Errorf("it left %v, %v", marks, err)
	}
}

func TestTheProgramIsInstalledWholeAndForAllToRun(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gridrouter")
	if err := os.WriteFile(path, []byte("an older one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gridrouter.new"), []byte("a try that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer syscall.Umask(syscall.Umask(0o077))
	for range 2 {
		if err := Install(dir); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(self)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != want.Size() || info.Mode() != 0o755 {
		t.Errorf("%v, %v; want %d bytes", info, err, want.Size())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	if err := Install(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
}

func TestAProgramThatDoesNotFitLeavesNothing(t *testing.T) {
	dir := mounted(t, "size=64k")
	if err := Install(dir); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("into a full folder: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}
