package catalog

import (
	clientv3 "go.etcd.io/etcd/client/v3"
)

// reliance is in which way a transaction relies upon what was read.
type reliance int

const (
	// unchanged: the key was not written since; revision is that of its last write, 0 for none.
	unchanged reliance = iota
	// sameCreation: the key was not deleted since; revision is that of its creation, 0 for none.
	sameCreation
	// noneNewer: no key with this prefix was written since the revision.
	noneNewer
)

// guard is one thing that a transaction relies upon. Guards are comparable: a
// transaction holds each once.
type guard struct {
	key      string // in etcd
	how      reliance
	revision int64
}

// revisions are what a key came to by a transaction of our own.
type revisions struct{ mod, created int64 }

// ledger knows what our own transactions did to keys since the plan was made.
type ledger struct {
	keys   map[string]revisions
	latest int64 // revision of our last transaction
}

// compare returns the comparison for a guard.
func (l *ledger) compare(g guard) clientv3.Cmp {
	own, mine := l.keys[g.key]
	switch g.how {
	case sameCreation:
		if mine {
			g.revision = own.created
		}
		return clientv3.Compare(clientv3.CreateRevision(g.key), "=", g.revision)
	case noneNewer:
		newer := clientv3.Compare(clientv3.ModRevision(g.key), "<", max(g.revision, l.latest)+1)
		return newer.WithPrefix()
	case unchanged:
	}
	if mine {
		g.revision = own.mod
	}
	return clientv3.Compare(clientv3.ModRevision(g.key), "=", g.revision)
}

// docGuard relies upon a document as it was read.
func (p *planner) docGuard(key string) guard {
	g := guard{key: p.at.doc(key)}
	if it := p.w.items[key]; it != nil {
		g.revision = it.mod
	}
	return g
}

// creationGuard relies upon a document's not having been deleted.
func (p *planner) creationGuard(key string) guard {
	g := guard{key: p.at.doc(key), how: sameCreation}
	if it := p.w.items[key]; it != nil {
		g.revision = it.created
	}
	return g
}

// hostGuard relies upon a claim as it was read.
func (p *planner) hostGuard(host string) guard {
	return guard{key: p.at.host(host), revision: p.w.claims[host].mod}
}

// manyDecks is how many decks are guarded one by one. A document that names more is
// held against any change of any deck instead, since etcd bounds the comparisons of a
// transaction. A deletion shows by its change record.
const manyDecks = 48

// deckGuards rely upon decks' being there, and in the state they were in.
func (p *planner) deckGuards(decks []string) []guard {
	if len(decks) > manyDecks {
		return []guard{
			{key: p.at.doc(FolderDecks + "/"), how: noneNewer, revision: p.w.revision},
			{key: p.at.records(FolderDecks), how: noneNewer, revision: p.w.revision},
		}
	}
	guards := make([]guard, 0, len(decks))
	for _, deck := range decks {
		guards = append(guards, p.docGuard(deckKey(deck)))
	}
	return guards
}
