package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/lab"
)

// campaignFaults lists the kinds of faults.
func campaignFaults() []campaignFault {
	return []campaignFault{
		{"etcd stops", etcdStops},
		{"etcd is killed", etcdIsKilled},
		{"etcd is cut off", etcdIsCut},
		{"etcd is restored", etcdIsRestored},
		{"etcd is wiped", prefixIsWiped},
		{"logins are rotated", loginsAreRotated},
		{"a mass change", massChange},
		{"names fail", namesFail},
		{"a router is killed", routerIsKilled},
		{"a router is killed without etcd", routerIsKilledWithoutEtcd},
		{"a router is killed without names", routerIsKilledWithoutNames},
		{"a router stops", routerStops},
		{"odd documents", oddDocuments},
		{"bad tenants", badTenants},
		{"large documents", largeDocuments},
	}
}

// oddTenant is a tenant that only odd documents tell of. It may own what nobody else does.
const oddTenant = "zz"

// oddKeys are keys under docs/ that no command of ours writes.
func (c *campaign) oddKey() string {
	n := c.rng.IntN(1000)
	tenant := c.tenant()
	keys := []string{
		"tenants/\xff\xfe", fmt.Sprintf("tenants/\xff%d", n), "tenants/", "tenants//", "tenants//" + tenant, "tenants/" + tenant + "/",
		"tenants/" + strings.ToUpper(tenant), "tenants/" + oddTenant, fmt.Sprintf("tenants/x%d", n), "tenants/" + strings.Repeat("a", 4<<10), "tenants/\x00", "tenants/.", "tenants/%41",
		"pins/", "pins//", "pins//k0", "pins/" + tenant, "pins/" + tenant + "/", "pins/" + tenant + "/odd/1", "pins/" + tenant + "/odd%2f1", "pins/" + tenant + "/odd\xff",
		"pins/" + strings.ToUpper(tenant) + "/k0", "pins/nobody/k0", "pins/" + tenant + "/odd" + strings.Repeat("k", 4<<10), "pins/" + tenant + "/%6B0", "pins/\xff/\xfe",
		"decks/", "decks/\xff", "decks/A", fmt.Sprintf("decks/odd%d", n), "gslb/", "gslb/..", "gslb/\xff", "gslb/" + strings.Repeat("a.", 2<<10), "gslb/X.example",
		"", "/", "nothing", "nothing/at/all", "\xff", "TENANTS/" + tenant, strings.Repeat("/", 300), strings.Repeat("d", 4<<10),
	}
	return keys[c.rng.IntN(len(keys))]
}

// oddValue is a value that may be anything, or a good document in the wrong place.
func (c *campaign) oddValue() string {
	tenant, deck := c.tenant(), lab.DeckNames()[c.rng.IntN(4)]
	host := tenant + ".campaign.example"
	values := []string{
		"", " ", "null", "[]", "{}", "{", "\"", "0", "\xff\xfe", "\x00", "true",
		`{"kind":"Tenant"}`, `{"kind":"Tenant","name":""}`, `{"kind":"Deck","name":"` + tenant + `"}`, `{"kind":"Nobody"}`,
		`{"kind":"Tenant","name":"` + oddTenant + `","hosts":["zz.campaign.example"],"epoch":18446744073709551615,"rules":[{"name":"all","deck":"` + deck + `"}]}`,
		`{"kind":"Tenant","name":"` + oddTenant + `","hosts":["` + host + `"],"epoch":1,"rules":[{"name":"all","deck":"` + deck + `"}]}`, // somebody's host
		`{"kind":"Tenant","name":"` + oddTenant + `","hosts":["*.campaign.example"],"rules":[{"name":"all","deck":"` + deck + `"}]}`,
		`{"kind":"Tenant","name":"` + tenant + `","hosts":["` + host + `"],"epoch":999,"rules":[{"name":"all","deck":"` + deck + `"}]}`,
		`{"kind":"Pin","tenant":"` + tenant + `","key":"k0","deck":"` + deck + `"}`,
		`{"kind":"Pin","tenant":"nobody","key":"k0","deck":"nowhere"}`,
		`{"kind":"Gslb","name":"x.example","vips":[{"address":"999.1.1.1"}]}`,
		"kind: Tenant\nname: zz\n",
		strings.Repeat("[", 10_000), `{"a":` + strings.Repeat(`{"a":`, 5_000),
		string(bytes.Repeat([]byte{byte(c.rng.IntN(256))}, 1+c.rng.IntN(1<<20))),
	}
	return values[c.rng.IntN(len(values))]
}

// expectedKey is what the keys look like that the campaign's other parts write.
var expectedKey = regexp.MustCompile(`^(tenants/t\d\d|pins/t\d\d/k\d|decks/orders-.*|gslb/orders-.*)$`)

// oddDocuments takes the odd documents of before away and writes others, which stay. They
// are problems, told by each router, and change nothing else.
func oddDocuments(c *campaign) error {
	defer c.writer()()
	n := 5 + c.rng.IntN(20)
	return c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		if err := c.sweep(ctx, client, func(key string) bool { return !expectedKey.MatchString(key) }); err != nil {
			return err
		}
		for range n {
			key := campaignPrefix + "docs/" + c.oddKey()
			if expectedKey.MatchString(strings.TrimPrefix(key, campaignPrefix+"docs/")) {
				continue
			}
			if _, err := client.Put(ctx, key, c.oddValue()); err != nil {
				return fmt.Errorf("%q: %w", key, err)
			}
			if c.chance(4) {
				if _, err := client.Delete(ctx, key); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// sweep deletes documents by their keys.
func (c *campaign) sweep(ctx context.Context, client *clientv3.Client, which func(key string) bool) error {
	answer, err := client.Get(ctx, campaignPrefix+"docs/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	for _, kv := range answer.Kvs {
		if which(strings.TrimPrefix(string(kv.Key), campaignPrefix+"docs/")) {
			if _, err := client.Delete(ctx, string(kv.Key)); err != nil {
				return err
			}
		}
	}
	return nil
}

// badTenants overwrites what is stored of some tenants with what is no tenant: they keep
// their last good form on every router that has one.
func badTenants(c *campaign) error {
	if err := c.writeSome(2); err != nil {
		return err
	}
	n, revision := 1+c.rng.IntN(3), int64(0)
	err := c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		for range n {
			name := c.tenant()
			if f, _, settled := c.model.settled(name); f.deck == "" || !settled || !c.changed.may(name) {
				continue
			}
			c.corrupt[name] = true
			bad := []string{"", "{", "null", "\xff", `{"kind":"Tenant","name":"other"}`, `{"kind":"Tenant","name":"` + name + `","hosts":[],"rules":[]}`}
			put, err := client.Put(ctx, campaignPrefix+"docs/tenants/"+name, bad[c.rng.IntN(len(bad))])
			if err != nil {
				return err
			}
			revision = put.Header.Revision
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.all("the bad tenants have arrived", func(told tableTold) bool { return told.Revision >= revision })
}

// mendCorrupt writes good forms of the tenants whose stored form is bad.
func (c *campaign) mendCorrupt() error {
	for name := range c.corrupt {
		if err := c.reapply(name, "a good form again"); err != nil {
			return err
		}
		delete(c.corrupt, name)
	}
	return nil
}

// mendAndWait is mendCorrupt, and waits until all have the good forms. What comes with one of them in a
// router's next batch may otherwise be discarded only together with it, to the bad form of before.
func (c *campaign) mendAndWait() error {
	if len(c.corrupt) == 0 {
		return nil
	}
	if err := c.mendCorrupt(); err != nil {
		return err
	}
	_, err := c.grid.Ctl(context.Background(), "wait", "--timeout", campaignPatience.String())
	return err
}

// largeDocuments writes tenants with thousands of delegates, up to what is let in and over
// it, by gridctl and past it.
func largeDocuments(c *campaign) error {
	defer c.writer()()
	for range 1 + c.rng.IntN(3) {
		name := fmt.Sprintf("large%d", c.rng.IntN(3))
		var hosts []string
		for i := range 1 + c.rng.IntN(12_000) {
			hosts = append(hosts, fmt.Sprintf("%s%d.%s.large.example", strings.Repeat("h", 1+c.rng.IntN(50)), i, name))
		}
		text := fmt.Sprintf(`{"kind":"Tenant","name":"%s","hosts":["*.%s.large.example"],"epoch":1,"delegates":["%s"],"rules":[{"name":"all","deck":"%s"}]}`,
			name, name, strings.Join(hosts, `","`), lab.DeckNames()[c.rng.IntN(4)])
		if err := c.writeLarge(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (c *campaign) writeLarge(name, text string) error {
	c.note("%d bytes", len(text))
	if c.chance(2) {
		return c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.Put(ctx, campaignPrefix+"docs/tenants/"+name, text)
			if err != nil && strings.Contains(err.Error(), "request is too large") {
				return nil
			}
			return err
		})
	}
	file := filepath.Join(c.dir, name+".json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := c.ctl(context.Background(), "apply", "-f", file, "--timeout", "30s")
	if err != nil {
		c.note("refused: %.100s", err)
	}
	return nil
}
