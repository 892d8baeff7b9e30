package routing

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// compiledRule is a rule with its names resolved.
type compiledRule struct {
	name        string
	match       *compiledMatch
	deck        int32 // -1: the rule goes by a key
	key         compiledKey
	pins        bool            // its tenant's pins are held
	asks        bool            // its tenant's pins are read on demand
	ranges      []compiledRange // sorted
	split       *compiledSplit
	missing     string // MissingReject, MissingNext or empty: missingDeck
	missingDeck int32
}

type compiledRange struct {
	from, to int64
	deck     int32
}

// compiledSplit is shared by all rules with the same weights.
type compiledSplit struct {
	decks  []int32
	owners []byte // by slot, indexes of decks, as many to a byte as fit: see packOwners
	width  uint8  // bits of an index, as a power of two: 0 to 4
}

// owner returns the index of the deck that owns a slot.
func (s *compiledSplit) owner(slot int) int {
	if s.width == 4 {
		return int(s.owners[2*slot]) | int(s.owners[2*slot+1])<<8
	}
	bits := 1 << s.width
	at := slot << s.width
	return int(s.owners[at>>3]>>(at&7)) & (1<<bits - 1)
}

// packOwners packs indexes of so many decks in as few bits as hold them: 1, 2, 4, 8 or 16.
func packOwners(owners []uint16, decks int) (packed []byte, width uint8) {
	for width < 4 && decks > 1<<(1<<width) {
		width++
	}
	packed = make([]byte, len(owners)<<width/8)
	for slot, owner := range owners {
		if width == 4 {
			packed[2*slot], packed[2*slot+1] = byte(owner), byte(owner>>8)
			continue
		}
		at := slot << width
		packed[at>>3] |= byte(owner) << (at & 7)
	}
	return packed, width
}

type keyKind uint8

const (
	keyNone keyKind = iota
	keyHeader
	keyCookie
	keyQuery
	keyPath
	keyClaim
	keyClientIP
	keyHost
)

type compiledKey struct {
	kind    keyKind
	name    string
	segment int
	label   string // for people: "header x-user-id"
}

type compiledMatch struct {
	path    string
	methods []string
	headers []condition // lower-case names
	cookies []condition
	query   []condition

	pathUnmet, methodsUnmet string // for people
}

type condition struct {
	name, value string
	unmet       string // for people
}

func compileKey(k *KeySource) compiledKey {
	switch {
	case k == nil:
		return compiledKey{}
	case k.Header != "":
		return compiledKey{kind: keyHeader, name: k.Header, label: "header " + k.Header}
	case k.Cookie != "":
		return compiledKey{kind: keyCookie, name: k.Cookie, label: "cookie " + k.Cookie}
	case k.Query != "":
		return compiledKey{kind: keyQuery, name: k.Query, label: "query " + k.Query}
	case k.Claim != "":
		return compiledKey{kind: keyClaim, name: k.Claim, label: "claim " + k.Claim}
	case k.Path > 0:
		return compiledKey{kind: keyPath, segment: k.Path, label: "path segment " + strconv.Itoa(k.Path)}
	case k.ClientIP:
		return compiledKey{kind: keyClientIP, label: "client IP"}
	case k.Host:
		return compiledKey{kind: keyHost, label: "host"}
	}
	panic("a key source that nobody compiles: add it here") // validation lets in one that is set
}

func compileMatch(m *Match) *compiledMatch {
	if m == nil {
		return nil
	}
	return &compiledMatch{
		path:    m.Path,
		methods: m.Methods,
		headers: conditions("header", m.Headers),
		cookies: conditions("cookie", m.Cookies),
		query:   conditions("query parameter", m.Query),

		pathUnmet:    "the path is not under " + m.Path,
		methodsUnmet: "the method is not " + strings.Join(m.Methods, " or "),
	}
}

func conditions(what string, want map[string]string) []condition {
	list := make([]condition, 0, len(want))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		list = append(list, condition{name, want[name], fmt.Sprintf("the %s %s is not %q", what, name, want[name])})
	}
	return list
}
