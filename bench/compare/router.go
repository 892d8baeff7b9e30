package compare

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/discovery"
)

// docs is where documents are in etcd.
const docs = "/gridrouter/docs/"

const (
	fillOps     = 128 // documents a transaction, as apply writes them
	fillWriters = 8
)

// idleBeside is how many connections there may be beside those that are measured idle.
const idleBeside = 4096

// startRouter fills an etcd with the documents and starts the router that follows it.
func (b *bench) startRouter(ctx context.Context) (*arm, error) {
	addrs := make([]string, 6)
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	member, err := b.launch("etcd", b.Part("etcd", "--dir", filepath.Join(b.dir, "etcd"), "--client", addrs[0], "--peer", addrs[1])...)
	if err != nil {
		return nil, err
	}
	if err := member.await(ctx, listens(addrs[0])); err != nil {
		return nil, err
	}
	if b.etcd, err = discovery.NewClient(discovery.ClientConfig{Endpoints: []string{"http://" + addrs[0]}}, nil); err != nil {
		return nil, err
	}
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	a := &arm{name: "gridrouter", version: b.Commit, addr: addrs[2], tlsAddr: addrs[3], admin: addrs[4]}
	a.process, err = b.launch("gridrouter", b.Router, "serve", "--etcd", "http://"+addrs[0], "--listen", a.addr,
		"--listen-tls", a.tlsAddr, "--tls-cert", b.grid.certDir, "--admin", a.admin, "--health", addrs[5],
		"--snapshot", "off", "--access-log", "off", "--log-level", "warn", "--router-id", "bench", "--client-idle-timeout", "10m",
		"--client-connections-per-address", strconv.Itoa(b.Idle+idleBeside)) // all of them come from one address
	if err != nil {
		return nil, err
	}
	return a, a.process.await(ctx, func() bool { return b.answers(ctx, "http://"+addrs[5]+"/readyz") })
}

// answers says whether a URL answers 200.
func (b *bench) answers(ctx context.Context, url string) bool {
	_, err := b.get(ctx, url)
	return err == nil
}

// get returns what a URL answers, if that is 200.
func (b *bench) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return body, err
}

// tenantDocument is the document of tenant number i: its users, told apart by a header, go to its
// deck by pin or split.
func tenantDocument(i, epoch int) (key, value string) {
	name := fmt.Sprintf("t%07d", i)
	return docs + "tenants/" + name, fmt.Sprintf(`{"kind":"Tenant","name":%q,"hosts":[%q],"epoch":%d,"rules":[{"name":"users","key":{"header":"x-user-id"},"pins":true,"split":{"d%d":100}}]}`,
		name, hostName(i), epoch, i%decks)
}

// fill writes the decks and tenants.
func (b *bench) fill(ctx context.Context) error {
	ops := make([]clientv3.Op, 0, decks)
	for i, addr := range b.grid.decks {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%sdecks/d%d", docs, i),
			fmt.Sprintf(`{"kind":"Deck","name":"d%d","domain":"d%d.deck.example","attach":"direct","addresses":[%q]}`, i, i, addr)))
	}
	if err := b.commit(ctx, ops); err != nil {
		return err
	}
	writers, ctx := errgroup.WithContext(ctx)
	writers.SetLimit(fillWriters)
	for from := 0; from < b.Hosts && ctx.Err() == nil; from += fillOps {
		writers.Go(func() error { return b.commit(ctx, tenants(from, min(from+fillOps, b.Hosts), 1)) })
	}
	return writers.Wait()
}

func tenants(from, to, epoch int) []clientv3.Op {
	ops := make([]clientv3.Op, 0, to-from)
	for i := from; i < to; i++ {
		key, value := tenantDocument(i, epoch)
		ops = append(ops, clientv3.OpPut(key, value))
	}
	return ops
}

func (b *bench) commit(ctx context.Context, ops []clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := b.etcd.Txn(ctx).Then(ops...).Commit()
	return err
}

// update writes documents anew, at [UpdateRate] a second, and returns when the last is written.
func (b *bench) update(ctx context.Context, n int) error {
	b.epoch++
	begun := time.Now()
	writers, ctx := errgroup.WithContext(ctx)
	writers.SetLimit(4)
	for from := 0; from < n && ctx.Err() == nil; from += fillOps {
		due := begun.Add(time.Duration(float64(from) / UpdateRate * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		ops := tenants(from%b.Hosts, min(from%b.Hosts+min(fillOps, n-from), b.Hosts), b.epoch)
		writers.Go(func() error { return b.commit(ctx, ops) })
	}
	return writers.Wait()
}

// metric returns the value of a metric of the router that has no labels.
func (b *bench) metric(ctx context.Context, a *arm, name string) (float64, error) {
	text, err := b.get(ctx, "http://"+a.admin+"/metrics")
	if err != nil {
		return 0, err
	}
	for scan := bufio.NewScanner(strings.NewReader(string(text))); scan.Scan(); {
		if value, ok := strings.CutPrefix(scan.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the router has no metric %s", name)
}

// profile writes a CPU profile of the router over so many seconds.
func (b *bench) profile(ctx context.Context, a *arm, seconds int, file string) error {
	text, err := b.get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", a.admin, seconds))
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}
