package inspect_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/inspect"
)

func configuration(t *testing.T, access inspect.Access, options inspect.Options) inspect.Report {
	t.Helper()
	r, err := inspect.Configuration(patient(t), access, options)
	if err != nil {
		t.Fatal(err)
	}
	small(t, r)
	return r
}

func TestAHealthyClusterHasFewFindings(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	r := configuration(t, accessTo(cluster.Members...), inspect.Options{Window: 10 * time.Millisecond})
	expect(t, r, inspect.AuthOff, 1)
	for _, f := range r.Findings {
		if f.Severity == inspect.Critical {
			t.Errorf("%+v", f)
		}
	}
	if len(r.Members) != 3 || len(r.Unknown) != 0 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []inspect.Options{{Window: -1}, {Settings: inspect.Settings{Heartbeat: -1}}, {Settings: inspect.Settings{Election: -1}}} {
		if _, err := inspect.Configuration(patient(t), accessTo(cluster.Members...), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestAMemberThatIsDownIsFoundAndSoIsALostQuorum(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	leader, follower := cluster.Leader(t)
	follower.Stop()
	r := configuration(t, access, inspect.Options{})
	expect(t, r, inspect.MemberUnreachable, 1)
	expect(t, r, inspect.QuorumAtRisk, 1)
	expect(t, r, inspect.QuorumLost, 0)
	leader.Stop()
	r = configuration(t, access, inspect.Options{})
	expect(t, r, inspect.MemberUnreachable, 2)
	expect(t, r, inspect.QuorumLost, 1)
	if r.Worst != inspect.Critical || len(r.Unknown) == 0 { // alarms need a quorum
		t.Errorf("%+v", r)
	}
}

func TestASmallQuotaThatIsFilledIsFound(t *testing.T) {
	server := etcdtest.Start(t, func(cfg *embed.Config) { cfg.QuotaBackendBytes = 16 << 20 })
	access := accessTo(server)
	client := clientOf(t, access)
	ctx, value := patient(t), strings.Repeat("v", 128<<10)
	for i := 0; ; i++ {
		if _, err := client.Put(ctx, fmt.Sprint("/key/", i), value); err != nil {
			t.Fatal(err)
		}
		if members, err := inspect.Members(ctx, access); err != nil || members[0].DBBytes > 27<<19 {
			break // at 13.5 MiB; what etcd has not written yet is some more
		}
	}
	r := configuration(t, access, inspect.Options{Limits: inspect.Limits{Revisions: 50}})
	for _, f := range append(expect(t, r, inspect.SpaceLow, 1), expect(t, r, inspect.NotCompacted, 1)...) {
		t.Log(f.Message)
	}
	expect(t, r, inspect.SingleVoter, 1)
	expect(t, r, inspect.NoSpace, 0)
}

func TestAMemberThatNeverStartedIsFound(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	client, peer := clientOf(t, access), "http://"+testkit.FreeAddr(t)
	testkit.Eventually(t, "the cluster has been healthy for long enough to take a member", func() bool {
		_, err := client.MemberAddAsLearner(patient(t), []string{peer})
		return err == nil
	})
	expect(t, configuration(t, access, inspect.Options{}), inspect.MemberNotStarted, 1)
}

func TestALearnerIsKnownForOne(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 1)
	client := clientOf(t, accessTo(cluster.Members...))
	learner := cluster.AddLearner(t, client)
	access := accessTo(learner, cluster.Members[0]) // the learner first, which refuses nearly everything
	r := configuration(t, access, inspect.Options{Limits: inspect.Limits{LearnerFor: time.Millisecond}})
	expect(t, r, inspect.LearnerLingers, 1)
	expect(t, r, inspect.SingleVoter, 1)
	if len(r.Unknown) != 0 {
		t.Errorf("%v", r.Unknown)
	}
	p, err := inspect.Probe(patient(t), access, inspect.ProbeOptions{Prefix: "/probe/", Timeout: testkit.Patience})
	if err != nil || !p.Works || !p.Probed[0].Learner || len(p.Probed[0].Timings) != 1 || p.Probed[1].Learner {
		t.Errorf("%+v, %v", p, err)
	}
	c, err := inspect.Consistency(patient(t), access)
	if err != nil || c.Verdict != inspect.Consistent || !c.Members[0].Learner || c.Members[0].Hash != "" {
		t.Errorf("%+v, %v", c, err)
	}
	enableAuth(t, client)
	access.User, access.Password = "root", "secret"
	members, err := inspect.Members(patient(t), access)
	if err != nil || !members[0].Learner || !members[0].Answers() || !members[1].Leads {
		t.Errorf("with auth on: %+v, %v", members, err)
	}
	p, err = inspect.Probe(patient(t), access, inspect.ProbeOptions{Prefix: "/probe/", Timeout: testkit.Patience})
	if err != nil || !p.Works {
		t.Errorf("with auth on: %+v, %v", p, err)
	}
}

func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := patient(t)
	_, err := client.UserAdd(ctx, "root", "secret")
	if err == nil {
		_, err = client.UserGrantRole(ctx, "root", "root")
	}
	if err == nil {
		_, err = client.AuthEnable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAuthIsFoundOnAndAMisspeltPasswordSaysSo(t *testing.T) {
	server := etcdtest.Start(t)
	access := accessTo(server)
	enableAuth(t, clientOf(t, access))
	access.User, access.Password = "root", "secret"
	r := configuration(t, access, inspect.Options{})
	expect(t, r, inspect.AuthOff, 0)
	if len(r.Unknown) != 0 {
		t.Errorf("%v", r.Unknown)
	}
	if p, err := inspect.Probe(patient(t), access, inspect.ProbeOptions{Prefix: "/probe/", Timeout: testkit.Patience}); err != nil || !p.Works {
		t.Errorf("%+v, %v", p, err)
	}
	access.Password = "misspelt"
	found := expect(t, configuration(t, access, inspect.Options{}), inspect.MemberUnreachable, 1)
	if len(found) != 1 || !strings.Contains(found[0].Message, "invalid user ID or password") || strings.Contains(found[0].Message, "misspelt") {
		t.Errorf("%+v", found)
	}
}

func TestACertificateThatExpiresSoonIsFound(t *testing.T) {
	authority := testkit.NewAuthority(t, "etcd")
	pair := authority.IssueForm(testkit.Form{Hosts: []string{"127.0.0.1"}, Until: time.Now().Add(72 * time.Hour)})
	server := etcdtest.Start(t, func(cfg *embed.Config) {
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = pair.CertFile, pair.KeyFile
		for _, urls := range [][]url.URL{cfg.ListenClientUrls, cfg.AdvertiseClientUrls} {
			urls[0].Scheme = "https"
		}
	})
	access := accessTo(server)
	access.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool(), Certificates: []tls.Certificate{pair.TLS}}
	r := configuration(t, access, inspect.Options{})
	found := expect(t, r, inspect.CertificateExpires, 2) // the member's, and the one that we show
	if len(found) != 2 || !strings.Contains(found[1].Message, "in 2 days") || len(r.Unknown) != 0 {
		t.Errorf("%+v, %v", found, r.Unknown)
	}
	expect(t, configuration(t, access, inspect.Options{Limits: inspect.Limits{CertificateFor: time.Hour}}), inspect.CertificateExpires, 0)
	if c, err := inspect.Consistency(patient(t), access); err != nil || c.Verdict != inspect.Consistent {
		t.Errorf("%+v, %v", c, err)
	}
	access.TLS = nil // a certificate that nobody trusts ends all the same
	r = configuration(t, access, inspect.Options{})
	expect(t, r, inspect.CertificateExpires, 1)
	expect(t, r, inspect.MemberUnreachable, 1)
}

// TestAClockThatIsAheadIsFound shows one member through a proxy that tells another time.
func TestAClockThatIsAheadIsFound(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	behind, err := url.Parse(access.Endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ModifyResponse = func(answer *http.Response) error {
		answer.Header.Set("Date", time.Now().Add(7*time.Second).UTC().Format(http.TimeFormat))
		return nil
	}
	ahead := httptest.NewServer(proxy)
	t.Cleanup(ahead.Close)
	access.Metrics = map[string]string{access.Endpoints[0]: ahead.URL + "/metrics"}
	found := expect(t, configuration(t, access, inspect.Options{}), inspect.ClockSkew, 2)
	t.Logf("%+v", found)
	access.Metrics = nil
	expect(t, configuration(t, access, inspect.Options{}), inspect.ClockSkew, 0)
}

func TestAMemberWhoseDataDifferIsFound(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	client := clientOf(t, access)
	for i := range 10 {
		if _, err := client.Put(patient(t), fmt.Sprint("/key/", i), "right"); err != nil {
			t.Fatal(err)
		}
	}
	c, err := inspect.Consistency(patient(t), access)
	if err != nil || c.Verdict != inspect.Consistent || len(c.Members) != 3 || c.Revision < 11 {
		t.Fatalf("%+v, %v", c, err)
	}
	_, follower := cluster.Leader(t)
	falsify(t, follower)
	if c, err = inspect.Consistency(patient(t), access); err != nil || c.Verdict != inspect.Incomplete {
		t.Errorf("with one that is stopped: %+v, %v", c, err)
	}
	follower.Restart(t)
	if c, err = inspect.Consistency(patient(t), access); err != nil || c.Verdict != inspect.Differs {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, m := range c.Members {
		if m.Differs != (m.Endpoint == follower.URL) || m.Hash == "" {
			t.Errorf("%+v", m)
		}
	}
	t.Log(small(t, c))
	two := accessTo(follower)
	for _, m := range cluster.Members {
		if m != follower && len(two.Endpoints) < 2 {
			two.Endpoints = append(two.Endpoints, m.URL)
		}
	}
	if c, err = inspect.Consistency(patient(t), two); err != nil || c.Verdict != inspect.CannotTell {
		t.Errorf("of two that differ: %+v, %v", c, err)
	}
}

// falsify stops a member and changes a value in its database.
func falsify(t *testing.T, member *etcdtest.Server) {
	t.Helper()
	member.Stop()
	db, err := bbolt.Open(filepath.Join(member.Dir, "member", "snap", "db"), 0o600, &bbolt.Options{Timeout: testkit.Patience})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	changed := 0
	err = db.Update(func(tx *bbolt.Tx) error {
		keys := tx.Bucket([]byte("key"))
		for revision, pair := keys.Cursor().First(); revision != nil && changed == 0; revision, pair = keys.Cursor().Seek(append(bytes.Clone(revision), 0)) {
			if bytes.Contains(pair, []byte("right")) {
				changed++
				return keys.Put(bytes.Clone(revision), bytes.ReplaceAll(pair, []byte("right"), []byte("wrong")))
			}
		}
		return nil
	})
	if err != nil || changed != 1 {
		t.Fatalf("%d values were changed, %v", changed, err)
	}
}

func TestConsistencyIsToldUnderWritesAndCompactions(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	client := clientOf(t, access)
	ctx, stop := context.WithCancel(patient(t))
	var compactions atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ctx.Err() == nil; i++ {
			put, err := client.Put(ctx, "/key", fmt.Sprint(i))
			if err == nil && i%5 == 0 {
				_, err = client.Compact(ctx, put.Header.Revision-2)
				compactions.Add(1)
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	}()
	told := 0
	for compactions.Load() < 5 || told == 0 {
		c, err := inspect.Consistency(patient(t), access)
		if err != nil || c.Verdict != inspect.Consistent && c.Verdict != inspect.Outrun {
			t.Errorf("%+v, %v", c, err)
			break
		}
		if c.Verdict == inspect.Consistent {
			told++
		}
	}
	stop()
	<-done
	t.Logf("consistent %d times during %d compactions", told, compactions.Load())
	twice := access
	twice.Endpoints = append(twice.Endpoints[:2:2], strings.Replace(access.Endpoints[0], "127.0.0.1", "localhost", 1))
	if _, err := inspect.Consistency(patient(t), twice); err == nil || !strings.Contains(err.Error(), "are the same member") {
		t.Errorf("a member that is named twice: %v", err)
	}
	if _, err := inspect.Consistency(patient(t), accessTo(cluster.Members[0], etcdtest.Start(t))); err == nil || !strings.Contains(err.Error(), "name the members of one cluster") {
		t.Errorf("members of two clusters: %v", err)
	}
}
