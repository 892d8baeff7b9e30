package tables

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"gridrouter.io/discovery/catalog"
)

// mostHashes is how many hashes a fleet's status may list.
const mostHashes = 100

// Router is a ready router of a fleet.
type Router struct {
	// Name is that of its pod, which is its ID in etcd.
	Name string
	// Since is when it got ready; zero: long ago.
	Since time.Time
}

// Judgement is what a fleet's tables look like beside each other. All names are sorted.
type Judgement struct {
	// RevisionLow and RevisionHigh are the least and the greatest revision of a ready router's table, and
	// Hashes all their hashes, at most 100, sorted. None has told: 0, 0 and none.
	RevisionLow, RevisionHigh int64
	Hashes                    []string
	// Lagging are ready routers whose table is older than what most of their peers had for a while.
	Lagging []string
	// Ahead are ready routers that had, for a while, a newer table than most: few, so that they and not
	// the others are doubted. They do not make anybody lag.
	Ahead []string
	// Differing are ready routers that have, for a while, another table than most of those at the same
	// revision; all of these if there is no majority.
	Differing []string
	// Silent are ready routers that have told nothing that can be read for a while.
	Silent []string
	// Ready is how many routers were judged, Told how many of them have told something.
	Ready, Told int
	// Again is when to judge anew though no key may have changed, since something may come to last for too
	// long; 0: there is no such thing.
	Again time.Duration
}

// Judge compares the tables of a fleet's ready routers. They are compared with each other and never with a
// clock: when etcd stands still, all are as old. A difference counts once it has lasted for lagAfter, over
// two looks or more, since routers tell of themselves at different times. Judge is pure.
//
// The measure is the greatest revision that half of the ready routers have reached: the higher one of two.
// One of three that is ahead alone makes nobody lag. What no router can have, because etcd itself is not
// that far, is left out. A router that begins after a deletion knows the same documents by a lower
// revision, so that equal hashes are never a lag.
func Judge(r Report, ready []Router, lagAfter time.Duration, now time.Time) Judgement {
	j := Judgement{Ready: len(ready)}
	looks := aligned(r.Looks, ready)
	if len(looks) > 0 {
		j.describe(looks[len(looks)-1])
	}
	for _, router := range ready {
		if _, told := r.Routers[router.Name]; told || r.At.IsZero() {
			continue
		}
		// Only a look can tell: while etcd is away, nobody is blamed for silence.
		if waited := r.At.Sub(router.Since); waited >= lagAfter {
			j.Silent = append(j.Silent, router.Name)
		} else if r.Err == nil {
			j.again(max(lagAfter-now.Sub(router.Since), time.Second))
		}
	}
	j.compare(looks, lagAfter)
	for _, names := range [][]string{j.Lagging, j.Ahead, j.Differing, j.Silent} {
		slices.Sort(names)
	}
	return j
}

// peers is a look at the ready routers of one fleet.
type peers struct {
	at      time.Time
	etcd    int64 // how far etcd itself had come
	routers map[string]catalog.Status
}

// aligned narrows looks to one fleet's ready routers.
func aligned(looks []Look, ready []Router) []peers {
	all := make([]peers, len(looks))
	for i, look := range looks {
		all[i] = peers{look.At, look.Revision, make(map[string]catalog.Status, len(ready))}
		for _, router := range ready {
			if said, told := look.Routers[router.Name]; told {
				all[i].routers[router.Name] = said
			}
		}
	}
	return all
}

func (j *Judgement) describe(p peers) {
	j.Told = len(p.routers)
	hashes := map[string]bool{}
	first := true
	for _, said := range p.routers {
		if first || said.Revision < j.RevisionLow {
			j.RevisionLow, first = said.Revision, false
		}
		j.RevisionHigh = max(j.RevisionHigh, said.Revision)
		if said.Hash != "" {
			hashes[said.Hash] = true
		}
	}
	j.Hashes = slices.Sorted(maps.Keys(hashes))
	j.Hashes = j.Hashes[:min(len(j.Hashes), mostHashes)]
}

// compare finds who lags, who is ahead and who differs.
func (j *Judgement) compare(looks []peers, lagAfter time.Duration) {
	if len(looks) == 0 {
		return
	}
	last := looks[len(looks)-1]
	if !last.uneven() {
		return
	}
	// The youngest look that is old enough.
	old := slices.IndexFunc(looks, func(p peers) bool { return last.at.Sub(p.at) < lagAfter }) - 1
	if old < 0 {
		j.again(max(lagAfter-last.at.Sub(looks[0].at), time.Second))
		return
	}
	j.again(lagAfter)
	window := looks[old:]
	measure := last.measure()
	before := min(measure, window[0].measure()) // peers that had more may be gone
	for name := range last.routers {
		switch {
		case always(window, name, func(p peers, was catalog.Status) bool { return p.lacks(was, before) }):
			j.Lagging = append(j.Lagging, name)
		case always(window, name, func(p peers, was catalog.Status) bool {
			return was.Revision > measure && p.alone(was)
		}):
			j.Ahead = append(j.Ahead, name)
		}
	}
	for _, p := range window { // who lags is at its revision for another reason than the others
		maps.DeleteFunc(p.routers, func(name string, _ catalog.Status) bool { return slices.Contains(j.Lagging, name) })
	}
	for name := range last.routers {
		if always(window, name, peers.differs) {
			j.Differing = append(j.Differing, name)
		}
	}
}

func (j *Judgement) again(after time.Duration) {
	if j.Again == 0 || after < j.Again {
		j.Again = after
	}
}

// always says whether something is true of a router at each of some looks.
func always(looks []peers, name string, holds func(p peers, said catalog.Status) bool) bool {
	for _, p := range looks {
		if said, told := p.routers[name]; !told || !holds(p, said) {
			return false
		}
	}
	return true
}

// table is what makes two tables the same: the documents, and what of them is in force.
type table struct{ hash, effective string }

func tableOf(said catalog.Status) table { return table{said.Hash, said.EffectiveHash} }

// uneven says whether any two routers have different tables.
func (p peers) uneven() bool {
	first, some := table{}, false
	for _, said := range p.routers {
		if some && tableOf(said) != first {
			return true
		}
		first, some = tableOf(said), true
	}
	return false
}

// measure is the greatest revision that half have reached.
func (p peers) measure() int64 {
	revisions := make([]int64, 0, len(p.routers))
	for _, said := range p.routers {
		if p.possible(said) {
			revisions = append(revisions, said.Revision)
		}
	}
	slices.SortFunc(revisions, func(a, b int64) int { return cmp.Compare(b, a) })
	if len(revisions) == 0 {
		return 0
	}
	return revisions[(len(revisions)-1)/2]
}

// possible says whether a router can have what it says: nothing comes from beyond etcd's own revision,
// unless from another etcd, as before a restore.
func (p peers) possible(said catalog.Status) bool { return said.Revision <= p.etcd }

// lacks says whether a router has not got as far as a revision, and has not the documents of one that has
// either.
func (p peers) lacks(said catalog.Status, revision int64) bool {
	if said.Revision >= revision {
		return false
	}
	for _, peer := range p.routers {
		if peer.Revision >= revision && p.possible(peer) && peer.Hash == said.Hash {
			return false
		}
	}
	return true
}

// alone says that no router at a lower revision has the same documents.
func (p peers) alone(said catalog.Status) bool {
	for _, peer := range p.routers {
		if peer.Revision < said.Revision && peer.Hash == said.Hash {
			return false
		}
	}
	return true
}

// differs says whether a router has another table than most at its revision. Without a majority all do.
func (p peers) differs(said catalog.Status) bool {
	votes := map[table]int{}
	for _, peer := range p.routers {
		if peer.Revision == said.Revision {
			votes[tableOf(peer)]++
		}
	}
	own := votes[tableOf(said)]
	for other, n := range votes {
		if other != tableOf(said) && n >= own {
			return true
		}
	}
	return false
}
