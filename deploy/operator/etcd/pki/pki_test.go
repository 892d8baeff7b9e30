package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func three() Wanted {
	return Wanted{Cluster: "edge", Namespace: "grid", Members: []string{"edge-0", "edge-1", "edge-2"}, Users: []string{"fleet"}}
}

// world is the Secrets of a cluster and who uses them.
type world struct {
	t       testing.TB
	now     time.Time
	wanted  Wanted
	has     map[string]Data
	running []Process
}

func newWorld(t testing.TB, wanted Wanted) *world {
	return &world{t: t, now: start, wanted: wanted, has: map[string]Data{}}
}

func (w *world) plan() Plan {
	w.t.Helper()
	p, err := Desired(w.now, rand.Reader, w.has, w.running, w.wanted)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// settle writes what is to be written until there is nothing, and returns why each Secret was written.
func (w *world) settle() (Plan, []string) {
	w.t.Helper()
	var whys []string
	for range 20 {
		p := w.plan()
		if len(p.Writes) == 0 {
			return p, whys
		}
		for _, write := range p.Writes {
			w.has[write.Secret] = p.Secrets[write.Secret]
			whys = append(whys, write.Secret+": "+write.Why)
		}
	}
	w.t.Fatalf("it writes again and again: %q", whys)
	return Plan{}, nil
}

// runs has everyone run with what the Secrets hold.
func (w *world) runs() {
	w.running = nil
	for _, h := range w.wanted.holders() {
		bundle, issuer := IDs(w.has[h.secret])
		w.running = append(w.running, Process{Name: h.what, Secret: h.secret, Bundle: bundle, Issuer: issuer})
	}
}

func (w *world) leaf(secret string) *x509.Certificate {
	w.t.Helper()
	cert, _, err := readPair(w.has[secret][CertKey], w.has[secret][PrivateKey])
	if err != nil {
		w.t.Fatalf("%s: %v", secret, err)
	}
	return cert
}

func (w *world) change(secret, key string, value []byte) {
	data := maps.Clone(w.has[secret])
	data[key] = value
	w.has[secret] = data
}

func TestANewClusterGetsItsCertificates(t *testing.T) {
	w := newWorld(t, three())
	p, whys := w.settle()
	names := slices.Sorted(maps.Keys(w.has))
	if diff := cmp.Diff([]string{"edge.ca", "edge.member.edge-0", "edge.member.edge-1", "edge.member.edge-2", "edge.user.fleet", "edge.user.root"}, names); diff != "" {
		t.Error(diff)
	}
	if len(whys) != 6 || whys[0] != "edge.ca: there is no CA yet" || whys[1] != "edge.member.edge-0: member edge-0: a new certificate: there is none yet" {
		t.Errorf("%q", whys)
	}
	if p.Waiting != "" || p.TrustLost || p.NeedsRestart() != nil || p.Bundle == "" || p.Next != start.Add(latest) {
		t.Errorf("%+v", p)
	}
	ca, _, err := readPair(w.has["edge.ca"][TrustKey], w.has["edge.ca"][caKey])
	if err != nil || ca.Subject.String() != "CN=edge etcd CA,O=grid" || !ca.NotAfter.Equal(start.Add(lifeOfCA)) || !ca.NotBefore.Equal(start.Add(-backdateCA)) {
		t.Errorf("CA %v %v %v %v", ca.Subject, ca.NotBefore, ca.NotAfter, err)
	}
	member, root := w.leaf("edge.member.edge-1"), w.leaf("edge.user.root")
	if p.Issuer != IssuerID(member) || root.Subject.CommonName != "root" || member.Subject.CommonName != "" {
		t.Errorf("%s of %s, %s of %s", member.Subject, IssuerID(member), root.Subject, p.Issuer)
	}
	for _, host := range []string{
		"edge-1.edge-peers.grid.svc", "edge-1.edge-peers.grid.svc.cluster.local", "edge-client", "edge-client.grid",
		"edge-client.grid.svc", "edge-client.grid.svc.cluster.local", "localhost", "127.0.0.1", "::1", "edge-peers.grid.svc",
	} {
		if err := member.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if err := member.VerifyHostname("edge-0.edge-peers.grid.svc"); err == nil {
		t.Error("a member's certificate is good for another")
	}
	for name, uses := range map[string][]x509.ExtKeyUsage{
		"edge.member.edge-0": {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, "edge.user.root": {x509.ExtKeyUsageClientAuth},
	} {
		leaf := w.leaf(name)
		if !slices.Equal(leaf.ExtKeyUsage, uses) || !leaf.NotAfter.Equal(start.Add(lifeOfLeaf)) || !leaf.NotBefore.Equal(start.Add(-backdateLeaf)) || leaf.SerialNumber.BitLen() != 127 {
			t.Errorf("%s: %v %v %v %v", name, leaf.ExtKeyUsage, leaf.NotBefore, leaf.NotAfter, leaf.SerialNumber)
		}
	}
}

func TestTheSameRandomBytesMakeTheSamePlan(t *testing.T) {
	plan := func(seed byte) Plan {
		p, err := Desired(start, mathrand.NewChaCha8([32]byte{seed}), nil, nil, three())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if diff := cmp.Diff(plan(1).Secrets, plan(1).Secrets); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(plan(1).Secrets["edge.ca"], plan(2).Secrets["edge.ca"]) {
		t.Error("other bytes make the same CA")
	}
	if _, err := Desired(start, bytes.NewReader(nil), nil, nil, three()); err == nil || !strings.Contains(err.Error(), "draw a key") {
		t.Errorf("without random bytes: %v", err)
	}
	if _, err := newKey(bytes.NewReader(make([]byte, 1<<16))); err == nil {
		t.Error("zeros make a key")
	}
}

func TestWhatIsDamagedIsMadeAnew(t *testing.T) {
	f := func(why string, damage func(w *world)) {
		t.Helper()
		w := newWorld(t, three())
		w.settle()
		before := maps.Clone(w.has)
		damage(w)
		_, whys := w.settle()
		if why == "" {
			if len(whys) > 0 {
				t.Errorf("nothing is wrong, but %q", whys)
			}
			return
		}
		if len(whys) != 1 || !strings.Contains(whys[0], why) {
			t.Fatalf("%q, want one: %q", whys, why)
		}
		for name, data := range before {
			if same := sameData(w.has[name], data); same == strings.HasPrefix(whys[0], name+":") && !strings.Contains(why, "are trusted") {
				t.Errorf("%s changed: %v", name, !same)
			}
		}
	}
	const m, u = "edge.member.edge-1", "edge.user.fleet"
	other := newWorld(t, three())
	other.settle()
	set := func(secret, key string, value []byte) func(*world) {
		return func(w *world) { w.change(secret, key, value) }
	}
	f("", func(*world) {})
	f("", set(m, "another.key", []byte("x")))
	f(m+": member edge-1: a new certificate: there is none yet", func(w *world) { delete(w.has, m) })
	f("the certificate is missing or empty", set(m, CertKey, nil))
	f("the certificate holds no certificate in PEM", set(m, CertKey, []byte("hello")))
	f("the certificate is missing or empty", func(w *world) { w.has[u] = Data{} })
	f("the key is missing or empty", set(u, PrivateKey, []byte{}))
	f("does not fit", set(u, PrivateKey, other.has[u][PrivateKey]))
	f("cannot be read", set(u, PrivateKey, []byte("-----BEGIN")))
	f("more than", set(u, PrivateKey, bytes.Repeat([]byte("x"), 1<<20)))
	f("more than", set(u, CertKey, bytes.Repeat([]byte("x"), 1<<20)))
	f("none of the CAs signed it", func(w *world) { w.has[m] = other.has[m] })
	f("the CAs that are trusted changed", set(m, TrustKey, other.has[m][TrustKey]))
	f("the CAs that are trusted changed", set(m, TrustKey, nil))
	f("its common name is another", func(w *world) { w.has[u] = w.has["edge.user.root"] })
	f("it is for the names", func(w *world) { w.has[m] = w.has["edge.member.edge-0"] })
	f("holds a \"PRIVATE KEY\"", func(w *world) { w.change(m, CertKey, w.has[m][PrivateKey]) })
	f("cannot be read", set(m, CertKey, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: []byte{1, 2}})))
	f("cut off", func(w *world) {
		w.change(m, CertKey, append(slices.Clone(w.has[m][CertKey]), w.has[m][CertKey][:100]...))
	})
}

func TestWhatIsWantedIsFollowed(t *testing.T) {
	f := func(change func(w *Wanted), want ...string) {
		t.Helper()
		w := newWorld(t, three())
		w.settle()
		change(&w.wanted)
		p, whys := w.settle()
		for i := range whys {
			whys[i], _, _ = strings.Cut(whys[i], ":")
		}
		if diff := cmp.Diff(want, whys); diff != "" {
			t.Error(diff)
		}
		if _, there := p.Secrets["edge.member.edge-2"]; there != slices.Contains(w.wanted.Members, "edge-2") {
			t.Error("the Secret of a member is not as the member")
		}
	}
	f(func(w *Wanted) { w.Members = append(w.Members, "edge-3", "edge-0") }, "edge.member.edge-3")
	f(func(w *Wanted) { w.Users = []string{"root", "a.b"} }, "edge.user.a.b")
	f(func(w *Wanted) { w.Members = w.Members[:2] })
	f(func(w *Wanted) { w.Domain = "corp.example" }, "edge.member.edge-0", "edge.member.edge-1", "edge.member.edge-2")
	f(func(w *Wanted) { w.RotateBefore = MaxRotateBefore })
	f(func(w *Wanted) { w.RenewCA = start }) // the CA was made just then
	f(func(w *Wanted) { w.RenewCA = start.Add(time.Hour) })
}

func TestBadNamesAreRefused(t *testing.T) {
	f := func(change func(w *Wanted), words ...string) {
		t.Helper()
		w := three()
		change(&w)
		p, err := Desired(start, rand.Reader, nil, nil, w)
		if err == nil || p.Secrets != nil {
			t.Fatal("it is not refused")
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v, want %q", err, word)
			}
		}
	}
	f(func(w *Wanted) { w.Cluster = "" }, `name of the cluster ""`, "at most 56")
	f(func(w *Wanted) { w.Cluster = strings.Repeat("x", 57) }, "name of the cluster")
	f(func(w *Wanted) { w.Cluster = "a.b" }, "name of the cluster")
	f(func(w *Wanted) { w.Namespace = "-x" }, "namespace")
	f(func(w *Wanted) { w.Domain = "cluster.local." }, "without dots at its ends")
	f(func(w *Wanted) { w.Members = []string{"edge-0", "a.b", "Ä"} }, `member "a.b"`, `member "Ä"`)
	f(func(w *Wanted) { w.Users = []string{"a..b"} }, `user "a..b"`)
	f(func(w *Wanted) { w.Users = []string{strings.Repeat("a", 63) + ".b"} }, "at most 64")
	f(func(w *Wanted) { w.RotateBefore = time.Minute }, "tls.rotateBefore 1m0s", "choose 1h0m0s to 4380h0m0s")
	f(func(w *Wanted) { w.RotateBefore = MaxRotateBefore + 1; w.Cluster = "A" }, "tls.rotateBefore", "name of the cluster")
	f(func(w *Wanted) { w.RotateBefore = -time.Hour }, "tls.rotateBefore")
}

// verify says whether a server and a client trust each other.
func verify(now time.Time, leaf *x509.Certificate, trust []byte) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trust)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

func TestReadyForTLS(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	for name, data := range w.has {
		if name == "edge.ca" {
			continue
		}
		if _, err := tls.X509KeyPair(data[CertKey], data[PrivateKey]); err != nil {
			t.Error(err)
		}
		if err := verify(start, w.leaf(name), data[TrustKey]); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkPlanAtRest(b *testing.B) {
	w := newWorld(b, three())
	w.settle()
	w.runs()
	for b.Loop() {
		if p := w.plan(); len(p.Writes) > 0 {
			b.Fatal("it writes")
		}
	}
}
