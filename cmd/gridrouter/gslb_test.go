package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// startGslb runs "gridrouter gslb" with a snapshot of its own, unless args name one.
func startGslb(t *testing.T, args ...string) *process {
	t.Helper()
	if !slices.Contains(args, "--snapshot") {
		args = append(args, "--snapshot", filepath.Join(t.TempDir(), "gslb.snap"))
	}
	return start(t, append([]string{"gslb"}, args...)...)
}

// ask asks one question and returns the sorted addresses, or the code of the answer.
func ask(t *testing.T, network, server, name string) string {
	t.Helper()
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	client := dns.Client{Net: network, Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(question, server)
	if err != nil {
		return err.Error()
	}
	if answer.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[answer.Rcode]
	}
	var addrs []string
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			addrs = append(addrs, a.A.String())
		}
	}
	slices.Sort(addrs)
	return strings.Join(addrs, " ")
}

// wantAnswer waits until UDP and TCP both give an answer.
func wantAnswer(t *testing.T, server, name, want string) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		testkit.Eventually(t, fmt.Sprintf("%s over %s: %s", name, network, want), func() bool {
			return ask(t, network, server, name) == want
		})
	}
}

func gslbValue(name string, vips ...string) string {
	for i, vip := range vips {
		vips[i] = fmt.Sprintf(`{"address":%q}`, vip)
	}
	return fmt.Sprintf(`{"kind":"Gslb","name":%q,"ttl":5,"vips":[%s]}`, name, strings.Join(vips, ","))
}

func TestGslbFollowsEtcd(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := newClient(t, etcd.URL)
	put := func(name, value string) { putGslb(t, client, name, value) }
	put("west-1.deck.example", gslbValue("west-1.deck.example", "127.0.0.31", "127.0.0.32"))
	p := startGslb(t, "--etcd", etcd.URL, "--prefix", "/test/", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	server := p.await(t, "answering DNS")["addr"].(string)
	metrics := p.await(t, "serving metrics")["addr"].(string)

	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31 127.0.0.32")
	wantAnswer(t, server, "west-9.deck.example", "NXDOMAIN")
	wantAnswer(t, server, "shop.acme.example", "REFUSED")

	put("west-1.deck.example", gslbValue("west-1.deck.example", "127.0.0.32"))
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.32")

	// A bad value keeps the last good form, and others go on.
	put("west-1.deck.example", gslbValue("west-1.deck.example", "not an address"))
	put("west-2.deck.example", gslbValue("another.deck.example", "127.0.0.33"))
	put("west-3.deck.example", gslbValue("west-3.deck.example", "127.0.0.34"))
	wantAnswer(t, server, "west-3.deck.example", "127.0.0.34")
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.32")
	wantAnswer(t, server, "west-2.deck.example", "NXDOMAIN")
	fault := p.await(t, "a bad document; its last good form, if there is one, stays in force")
	if fault["name"] != "west-1.deck.example" || !strings.Contains(fmt.Sprint(fault["fault"]), "vips[0].address") {
		t.Errorf("logged %v", fault)
	}
	testkit.Eventually(t, "two problems and two names are counted", func() bool {
		text := get(t, "http://"+metrics+"/metrics")
		return strings.Contains(text, "\ngridrouter_gslb_problems 2\n") && strings.Contains(text, "\ngridrouter_gslb_names 2\n")
	})

	put("west-1.deck.example", gslbValue("west-1.deck.example", "127.0.0.35"))
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.35")
	if _, err := client.Delete(t.Context(), "/test/docs/gslb/west-3.deck.example"); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, server, "west-3.deck.example", "NXDOMAIN")

	etcd.Stop()
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.35")
	if status := p.terminate(t); status != 0 {
		t.Errorf("it ended with %d", status)
	}
}

// newClient returns a client of etcd that is closed with the test.
func newClient(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// putGslb writes a value under docs/gslb/ of the prefix /test/.
func putGslb(t *testing.T, client *clientv3.Client, name, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.Put(ctx, "/test/docs/gslb/"+name, value); err != nil {
		t.Fatal(err)
	}
}

func TestGslbWaitsForEtcd(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nothing speaks etcd there yet
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	addr := silent.Addr().String()
	p := startGslb(t, "--etcd", "http://"+addr, "--prefix", "/test/", "--listen", "127.0.0.1:0")
	server := p.await(t, "answering DNS")["addr"].(string)
	wantAnswer(t, server, "west-1.deck.example", "SERVFAIL")

	silent.Close()
	etcd := etcdtest.Start(t, etcdtest.At(addr))
	putGslb(t, newClient(t, etcd.URL), "west-1.deck.example", gslbValue("west-1.deck.example", "127.0.0.31"))
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31")
	if status := p.terminate(t); status != 0 {
		t.Errorf("it ended with %d", status)
	}
}

func TestGslbFollowsAFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		aside := filepath.Join(dir, "."+file)
		if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	const two = "kind: Gslb\nname: west-1.deck.example\nvips: [{address: 127.0.0.31}]\n---\nkind: Gslb\nname: west-2.deck.example\npolicy: nearest\n" +
		"vips: [{address: 127.0.0.32, zone: here}, {address: 127.0.0.33, zone: there}]\n---\nkind: Tenant\nname: acme\nhosts: [a.example]\nrules: [{name: all, deck: east}]\n"
	write("a.yaml", two)
	p := startGslb(t, "--routes", dir, "--listen", "127.0.0.1:0", "--origin", "deck.example", "--zone", "here=127.0.0.0/8", "--log-level", "debug")
	server := p.await(t, "answering DNS")["addr"].(string)
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31")
	wantAnswer(t, server, "west-2.deck.example", "127.0.0.32")

	// One bad document in a file leaves the other free to change.
	write("a.yaml", strings.NewReplacer("127.0.0.31", "127.0.0.300", "zone: here", "zone: there").Replace(two))
	wantAnswer(t, server, "west-2.deck.example", "127.0.0.32 127.0.0.33")
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31")

	// A file that is not YAML at all keeps everything.
	write("a.yaml", "kind: [\n")
	p.await(t, "a file cannot be read; what it held stays in force")
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31")

	// A name outside of the origins is left out, and told.
	write("b.yaml", "kind: Gslb\nname: west-1.other.example\nvips: [{address: 127.0.0.31}]\n")
	if left := p.await(t, "a name is left out"); left["name"] != "west-1.other.example" {
		t.Errorf("logged %v", left)
	}
	if status := p.terminate(t); status != 0 {
		t.Errorf("it ended with %d", status)
	}
}

func TestGslbSaysWhatToDoAboutATakenPort(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := startGslb(t, "--routes", t.TempDir(), "--listen", taken.LocalAddr().String())
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("it runs")
	}
	text := strings.Join(p.plain, "\n")
	if status := p.cmd.ProcessState.ExitCode(); status != 1 || len(p.plain) != 1 ||
		!strings.Contains(text, "--listen") || !strings.Contains(text, taken.LocalAddr().String()) || !strings.Contains(text, "choose another address") {
		t.Errorf("status %d, %q", status, text)
	}
}

// get returns the body of a page, "" if there is none.
func get(t *testing.T, page string) string {
	t.Helper()
	answer, err := http.Get(page)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return ""
	}
	return string(body)
}
