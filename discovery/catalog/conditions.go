package catalog

import (
	clientv3 "go.etcd.io/etcd/client/v3"
)

// conditionKind says what must still be so when a transaction is committed.
type conditionKind int

const (
	// unchanged: the key was not written since; revision is that of its last write, 0 for none.
	unchanged conditionKind = iota
	// sameCreation: the key was not deleted since; revision is that of its creation, 0 for none.
	sameCreation
	// noneNewer: no key with this prefix was written since the revision.
	noneNewer
)

// condition is what must still be as it was read for a transaction to be committed. Conditions are
// comparable: a transaction has each once.
type condition struct {
	key      string // in etcd
	how      conditionKind
	revision int64
}

// revisions are what a key came to by a transaction of our own.
type revisions struct{ mod, created int64 }

// ledger knows what our own transactions did to keys since the plan was made.
type ledger struct {
	keys   map[string]revisions
	latest int64 // revision of our last transaction
}

// compare returns the comparison for a condition.
func (l *ledger) compare(c condition) clientv3.Cmp {
	own, mine := l.keys[c.key]
	switch c.how {
	case sameCreation:
		if mine {
			c.revision = own.created
		}
		return clientv3.Compare(clientv3.CreateRevision(c.key), "=", c.revision)
	case noneNewer:
		newer := clientv3.Compare(clientv3.ModRevision(c.key), "<", max(c.revision, l.latest)+1)
		return newer.WithPrefix()
	case unchanged:
	}
	if mine {
		c.revision = own.mod
	}
	return clientv3.Compare(clientv3.ModRevision(c.key), "=", c.revision)
}

// docCondition says that a document is still as it was read.
func (p *planner) docCondition(key string) condition {
	c := condition{key: p.at.doc(key)}
	if it := p.w.items[key]; it != nil {
		c.revision = it.mod
	}
	return c
}

// creationCondition says that a document was not deleted since it was read.
func (p *planner) creationCondition(key string) condition {
	c := condition{key: p.at.doc(key), how: sameCreation}
	if it := p.w.items[key]; it != nil {
		c.revision = it.created
	}
	return c
}

// hostCondition says that a claim is still as it was read.
func (p *planner) hostCondition(host string) condition {
	return condition{key: p.at.host(host), revision: p.w.claims[host].mod}
}

// manyDecks is how many decks have a condition each. A document that names more is
// held against any change of any deck instead, since etcd bounds the comparisons of a
// transaction. A deletion shows by its change record.
const manyDecks = 48

// deckConditions say that decks are still there, and in the state in which they were.
func (p *planner) deckConditions(decks []string) []condition {
	if len(decks) > manyDecks {
		return []condition{
			{key: p.at.doc(FolderDecks + "/"), how: noneNewer, revision: p.w.revision},
			{key: p.at.records(FolderDecks), how: noneNewer, revision: p.w.revision},
		}
	}
	conditions := make([]condition, 0, len(decks))
	for _, deck := range decks {
		conditions = append(conditions, p.docCondition(deckKey(deck)))
	}
	return conditions
}
