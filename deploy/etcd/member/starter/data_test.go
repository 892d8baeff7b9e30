package starter

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/member"
)

// status returns the exit status that examining data ends with, and what is said; 0 if etcd would be started.
func status(t testing.TB, o *Options) (int, string) {
	t.Helper()
	if o.Command == nil {
		o.Command = []string{program(t, "etcd")}
	}
	_, _, err := o.prepare()
	var refusal *member.RefusalError
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &refusal):
		return refusal.ExitStatus(), err.Error()
	}
	t.Fatal(err)
	return 0, ""
}

func TestDataAreHeldToWhoTheMemberIs(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	dir := g.copied(t)
	fresh := filepath.Join(t.TempDir(), "data")
	emptied := g.copied(t)
	walk(t, emptied, func(path string) {
		if strings.HasSuffix(path, ".wal") {
			change(t, path, func([]byte) []byte { return nil })
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	})
	other := member.Identity{Member: g.id.Member + 1, Cluster: g.id.Cluster}
	elsewhere := member.Identity{Member: g.id.Member, Cluster: g.id.Cluster + 1}
	f := func(dir, podInfo string, cluster uint64, want int, parts ...string) {
		t.Helper()
		got, said := status(t, &Options{DataDir: dir, PodInfo: podInfo, Cluster: cluster})
		if got != want {
			t.Errorf("status %d: %s; want %d", got, said, want)
		}
		for _, part := range parts {
			if !strings.Contains(said, part) {
				t.Errorf("%q does not say %q", said, part)
			}
		}
	}
	nobody := podInfo(t, `a="b"`)
	f(fresh, "", 0, 0)
	f(fresh, nobody, g.id.Cluster, 0)
	f(dir, "", 0, 0)
	f(dir, nobody, g.id.Cluster, 0)
	f(dir, joined(t, g.id), 0, 0)
	f(dir, joined(t, g.id), g.id.Cluster, 0)
	f(fresh, joined(t, g.id), 0, member.ExitDataLost, strings.Split(g.id.String(), "/")[0], "forget votes", "the operator replaces it")
	f(emptied, joined(t, g.id), 0, member.ExitDataLost)
	f(dir, joined(t, other), 0, member.ExitOtherMember, strings.Split(g.id.String(), "/")[0], strings.Split(other.String(), "/")[0])
	f(dir, joined(t, elsewhere), 0, member.ExitOtherMember, strings.Split(g.id.String(), "/")[1], strings.Split(elsewhere.String(), "/")[1])
	f(dir, nobody, elsewhere.Cluster, member.ExitOtherMember, strings.Split(elsewhere.String(), "/")[1])
	f(dir, "", elsewhere.Cluster, member.ExitOtherMember)
}

// TestDamagedDataAreRefusedWhereEtcdCouldNotStart has a real etcd try each of them as well: what is refused is given
// up and replaced, so nothing may be refused that etcd would take.
func TestDamagedDataAreRefusedWhereEtcdCouldNotStart(t *testing.T) {
	server := program(t, "etcd")
	g := grow(t, server)
	const segment, database = "member/wal/0000000000000000-0000000000000000.wal", "member/snap/db"
	rename := func(to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Rename(filepath.Join(dir, segment), filepath.Join(dir, "member/wal", to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, path, want string
		edit             func([]byte) []byte
		also             func(t *testing.T, dir string)
	}{
		{"an empty segment", segment, "ends before its metadata", func([]byte) []byte { return nil }, nil},
		{"a segment of zeros", segment, "ends before its metadata", func(b []byte) []byte { return make([]byte, len(b)) }, nil},
		{"a segment cut in its first record", segment, "unexpected EOF", func(b []byte) []byte { return b[:12] }, nil},
		{"a segment cut in its metadata", segment, "unexpected EOF", func(b []byte) []byte { return b[:40] }, nil},
		{"a bit flipped in the metadata", segment, "crc mismatch", func(b []byte) []byte { return flip(b, 40) }, nil},
		{"a hostile length", segment, "unexpected EOF", func(b []byte) []byte { return append(bytes.Repeat([]byte{0xff}, 7), b[7:]...) }, nil},
		{"a segment with another name", "", "no file has the name of a segment", nil, rename("other.wal")},
		{"a database of zeros", database, "neither of its first two pages", func(b []byte) []byte { return make([]byte, len(b)) }, nil},
		{"a short database", database, "neither of its first two pages", func(b []byte) []byte { return b[:10] }, nil},
		{"text in place of the database", database, "neither of its first two pages", func([]byte) []byte { return bytes.Repeat([]byte("text"), 5000) }, nil},
		{"a database cut behind its first pages", database, "was cut", func(b []byte) []byte { return b[:2*os.Getpagesize()] }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := g.copied(t)
			if c.edit != nil {
				change(t, filepath.Join(dir, c.path), c.edit)
			}
			if c.also != nil {
				c.also(t, dir)
			}
			for _, info := range []string{"", joined(t, g.id)} {
				if got, said := status(t, &Options{DataDir: dir, PodInfo: info}); got != member.ExitUnreadable || !strings.Contains(said, c.want) || !strings.Contains(said, dir) {
					t.Errorf("status %d: %s; want %q", got, said, c.want)
				}
			}
			e := launch(t, func(arguments []string) *exec.Cmd {
				return exec.Command(server, append(arguments, "--data-dir="+dir)...)
			})
			testkit.Eventually(t, "etcd gives it up", func() bool { return !e.Running() })
		})
	}
}

func TestALostDatabaseIsRefusedUnlessTheLogBringsItBack(t *testing.T) {
	server := program(t, "etcd")
	g := grow(t, server)
	dir := g.copied(t)
	if err := os.Remove(filepath.Join(dir, "member/snap/db")); err != nil {
		t.Fatal(err)
	}
	e := becoming(t, Options{DataDir: dir, PodInfo: joined(t, g.id)})
	if e.serves(t) != g.id || e.has(t, "key") != "value" {
		t.Error("the log did not bring the data back")
	}
	e.client.Close()
	e.Stop(testkit.Patience, nil)

	// As if earlier segments had been purged.
	wal := filepath.Join(dir, "member/wal")
	if err := os.Rename(filepath.Join(wal, "0000000000000000-0000000000000000.wal"), filepath.Join(wal, "0000000000000001-0000000000000002.wal")); err != nil {
		t.Fatal(err)
	}
	for _, lose := range []func(string) error{func(path string) error { return os.Truncate(path, 0) }, os.Remove} {
		if err := lose(filepath.Join(dir, "member/snap/db")); err != nil {
			t.Fatal(err)
		}
		if got, said := status(t, &Options{DataDir: dir}); got != member.ExitUnreadable || !strings.Contains(said, "begins at index 0x0000000000000002") {
			t.Errorf("status %d: %s", got, said)
		}
	}
}

func TestDataOfEachMinorVersionAreRead(t *testing.T) {
	servers, err := filepath.Glob("../../../../bin/testbed/etcd/*/rootfs/usr/local/bin/etcd")
	if err != nil || len(servers) == 0 {
		t.Skip("make testbed builds the servers that this needs")
	}
	for _, server := range servers {
		g := grow(t, server)
		if got, said := status(t, &Options{DataDir: g.dir, PodInfo: joined(t, g.id)}); got != 0 {
			t.Errorf("%s: status %d: %s", server, got, said)
		}
	}
}

// TestNothingOfEtcdsIsChanged compares all files before and after, and finds no lock on the log.
func TestNothingOfEtcdsIsChanged(t *testing.T) {
	g := grow(t, program(t, "etcd"))
	before := map[string][]byte{}
	walk(t, g.dir, func(path string) { before[path] = read(t, path) })
	if got, said := status(t, &Options{DataDir: g.dir, PodInfo: joined(t, g.id)}); got != 0 {
		t.Fatalf("status %d: %s", got, said)
	}
	walk(t, g.dir, func(path string) {
		if was, found := before[path]; !found || !bytes.Equal(was, read(t, path)) {
			t.Errorf("%s was there: %v; or has changed", path, found)
		}
		delete(before, path)
	})
	if len(before) > 0 {
		t.Errorf("%d files are gone", len(before))
	}
}

// segmentHead is how a segment of etcd 3.7.3 begins.
const segmentHead = "0400000000000084" + "0804100000000000" + "2000000000000000" + "080110bb81c7fc05" +
	"1a1608cdd2918bd2b881cf8e0110b298eaf1948386fccd01" + "0e00000000000082" + "08051094bbc7ed0e1a04080010000000"

func FuzzSegmentsAreReadOrRefused(f *testing.F) {
	head, err := hex.DecodeString(segmentHead)
	if err != nil {
		f.Fatal(err)
	}
	if id, err := decode("segment", head); err != nil || id.String() != "8e9e05c52164694d/cdf818194e3a8c32" {
		f.Errorf("%v, %v", id, err)
	}
	f.Add(head)
	f.Add([]byte{})
	f.Add(head[:40])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, head []byte) {
		id, err := decode("segment", head)
		if err == nil && (id.Member == 0 || id.Cluster == 0) || err != nil && id != (member.Identity{}) {
			t.Errorf("%v, %v", id, err)
		}
	})
}

// described returns a page that describes a database, in the form that bbolt gives to it.
func described(pageSize uint32, pages, transaction uint64) []byte {
	page := binary.LittleEndian.AppendUint32(make([]byte, pageHeader, pageSize), metaMagic)
	page = binary.LittleEndian.AppendUint32(page, metaVersion)
	page = binary.LittleEndian.AppendUint64(page, uint64(pageSize)) // and no flags
	for _, number := range []uint64{4, 0, ^uint64(0), pages, transaction} {
		page = binary.LittleEndian.AppendUint64(page, number)
	}
	sum := fnv.New64a()
	sum.Write(page[pageHeader:])
	return binary.LittleEndian.AppendUint64(page, sum.Sum64())[:pageSize]
}

func TestTheNewestValidDescriptionOfADatabaseHolds(t *testing.T) {
	f := func(pages []byte, size int64, want string) {
		t.Helper()
		err := checkMeta(pages, size)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for _, pageSize := range []uint32{1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		old, young := described(pageSize, 4, 7), described(pageSize, 8, 8)
		torn := flip(young, pageHeader+45)
		size := int64(pageSize)
		f(slices.Concat(old, young), 8*size, "")
		f(slices.Concat(young, old), 8*size, "")
		f(slices.Concat(old, young), 8*size-1, "was cut")
		f(slices.Concat(old, torn), 4*size, "")
		f(slices.Concat(torn, old), 4*size, "")
		f(slices.Concat(torn, torn), 8*size, "neither")
	}
	f(described(512, 1<<62, 1), 1<<40, "was cut")
	f(nil, 0, "neither")
}

func FuzzDatabasesAreTakenOrRefused(f *testing.F) {
	head := slices.Concat(described(4096, 4, 7), described(4096, 8, 8))
	f.Add(head, int64(8*4096))
	f.Add(head[:100], int64(100))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		if err := checkMeta(head, max(size, 0)); err == nil && len(head) < pageHeader+metaBytes {
			t.Error("a database of no page was taken")
		}
	})
}

func walk(t testing.TB, dir string, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			visit(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func change(t testing.TB, path string, edit func([]byte) []byte) {
	t.Helper()
	if err := os.WriteFile(path, edit(read(t, path)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(content []byte, at int) []byte {
	content = bytes.Clone(content)
	content[at] ^= 1
	return content
}
