package table

import (
	"bytes"
	"fmt"
	"strconv"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// What the measured documents are like.
const (
	decks = 100
	// hostBytes is the length of every host, tenantBytes that of every tenant's name.
	hostBytes   = 30
	tenantBytes = 8
	// userHeader is the header that the rules read their key from.
	userHeader = "x-user-id"
)

// Places that a template leaves open. No rule holds such text.
const (
	openName  = "the-name"
	openHost  = "the.host"
	openEpoch = 987654321
)

// documents makes the documents of a run. Equal numbers give equal documents. It may be
// used by many goroutines at once.
type documents struct {
	tenants []template // by policy
	plain   []template // by deck: all to that deck
	pin     template
}

// template is a document's stored form, cut at the places that differ.
type template [][]byte

// newDocuments makes the templates from real documents, by the function that apply
// stores documents with.
func newDocuments(policies int) (*documents, error) {
	d := &documents{}
	for p := range policies {
		t, err := tenantTemplate(rulesOf(p))
		if err != nil {
			return nil, err
		}
		d.tenants = append(d.tenants, t)
	}
	for deck := range decks {
		t, err := tenantTemplate([]routing.Rule{{Name: "all", Deck: deckName(deck)}})
		if err != nil {
			return nil, err
		}
		d.plain = append(d.plain, t)
	}
	text, err := document.Encode(&routing.Pin{Kind: routing.KindPin, Tenant: openName, Key: openHost, Deck: "the-deck"})
	if err != nil {
		return nil, err
	}
	d.pin = cut(text, openName, openHost, "the-deck")
	return d, nil
}

// rulesOf returns one of the policies: one in ten sends all to a deck, four in ten have a
// path for one deck before the users, the rest splits users alone. The weights make each
// split another one, so that no two policies share their slots.
func rulesOf(p int) []routing.Rule {
	if p%10 == 0 {
		return []routing.Rule{{Name: "all", Deck: deckName(p / 10)}}
	}
	split := map[string]int{deckName(p): p + 1, deckName(p + 37): MostPolicies - p}
	if p%3 == 0 {
		split[deckName(p+61)] = 100
	}
	users := routing.Rule{Name: "users", Key: &routing.KeySource{Header: userHeader}, Split: split}
	if p%10 > 4 {
		return []routing.Rule{users}
	}
	return []routing.Rule{{Name: "tools", Match: &routing.Match{Path: "/admin"}, Deck: deckName(p + 13)}, users}
}

func tenantTemplate(rules []routing.Rule) (template, error) {
	text, err := document.Encode(&routing.Tenant{
		Kind: routing.KindTenant, Name: openName, Hosts: []string{openHost}, Epoch: openEpoch, Rules: rules,
	})
	if err != nil {
		return nil, err
	}
	return cut(text, openName, openHost, strconv.Itoa(openEpoch)), nil
}

// cut splits a text at the given parts, each of which is in it once, in this order.
func cut(text []byte, parts ...string) template {
	var t template
	for _, part := range parts {
		before, after, found := bytes.Cut(text, []byte(part))
		if !found {
			panic("a stored form without " + part) // it was put in just before
		}
		t, text = append(t, before), after
	}
	return append(t, text)
}

// fill appends the document to out.
func (t template) fill(out []byte, parts ...string) []byte {
	for i, part := range parts {
		out = append(append(out, t[i]...), part...)
	}
	return append(out, t[len(parts)]...)
}

// deck returns the key and the stored form of a deck.
func (d *documents) deck(i int) (key string, value []byte, err error) {
	name := deckName(i)
	value, err = document.Encode(&routing.Deck{
		Kind: routing.KindDeck, Name: name, Domain: name + ".deck.example", Attach: routing.AttachDirect,
		Addresses: []string{fmt.Sprintf("127.1.%d.1:8080", i%decks)},
	})
	return "decks/" + name, value, err
}

// tenant returns the key and the stored form of a tenant, with one of the policies.
func (d *documents) tenant(i, policy int, epoch uint64) (key string, value []byte) {
	return fillTenant(d.tenants[policy%len(d.tenants)], i, epoch)
}

// plainTenant returns a tenant whose requests all go to one deck.
func (d *documents) plainTenant(i, deck int, epoch uint64) (key string, value []byte) {
	return fillTenant(d.plain[deck%decks], i, epoch)
}

func fillTenant(t template, i int, epoch uint64) (key string, value []byte) {
	name := tenantName(i)
	return "tenants/" + name, t.fill(make([]byte, 0, 256), name, hostOf(i), strconv.FormatUint(epoch, 10))
}

// pinOf returns the key and the stored form of a pin.
func (d *documents) pinOf(tenant, user int) (key string, value []byte) {
	name, id := tenantName(tenant), userID(user)
	return "pins/" + name + "/" + id, d.pin.fill(make([]byte, 0, 96), name, id, deckName(pinnedTo(tenant, user)))
}

// pinnedTo returns the deck that a user is pinned to.
func pinnedTo(tenant, user int) int { return int(scatter(uint64(tenant)<<32|uint64(user)) % decks) }

func deckName(i int) string { return fmt.Sprintf("deck-%03d", i%decks) }

func tenantName(i int) string { return "t" + digits(i, tenantBytes-1) }

func userID(i int) string { return "u" + digits(i, 11) }

// digits writes a number with leading zeros, faster than fmt does.
func digits(i, width int) string {
	var out [20]byte
	for at := width - 1; at >= 0; at-- {
		out[at] = byte('0' + i%10)
		i /= 10
	}
	return string(out[:width])
}

// hostOf returns a tenant's host.
func hostOf(i int) string {
	var host [hostBytes]byte
	putHost(&host, i)
	return string(host[:])
}

// putHost writes a tenant's host: a label that looks random, so that no table gains by
// what names have in common, under a domain that all share.
func putHost(out *[hostBytes]byte, i int) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	bits := scatter(uint64(i))
	for at := range hostBytes - len(hostDomain) {
		out[at] = alphabet[bits&31]
		bits >>= 5
	}
	copy(out[hostBytes-len(hostDomain):], hostDomain)
}

const hostDomain = ".customer.example"

// scatter maps different numbers to different numbers that look random (the finalizer of
// splitmix64).
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
