package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gridrouter.io/routing/compile"
)

// ErrNoRouter says that no router announces itself under the prefix.
var ErrNoRouter = errors.New("no router is alive: none announces itself under this prefix; check --prefix, and that routers run with --etcd")

// Arrival is what [Catalog.Await] waited for.
type Arrival struct {
	// Revision is the one that was waited for.
	Revision int64
	// Routers is how many run it.
	Routers int
}

// BehindError says that the time was over before all routers ran a revision.
type BehindError struct {
	// Revision is the one that was waited for.
	Revision int64
	// Routers is how many routers are alive, Stragglers those of them that do not run
	// the revision, sorted by ID.
	Routers    int
	Stragglers []Member
	// Waited is how long.
	Waited time.Duration
}

// Error names the stragglers, and the mend.
func (e *BehindError) Error() string {
	return fmt.Sprintf("after %s %d of %d routers still do not run revision %d: %s; look at gridctl fleet and their logs",
		e.Waited.Round(100*time.Millisecond), len(e.Stragglers), e.Routers, e.Revision, Stragglers(e.Stragglers))
}

// Stragglers names routers, and says how far each has come.
func Stragglers(members []Member) string {
	names := make([]string, len(members))
	for i := range members {
		m := &members[i]
		names[i] = fmt.Sprintf("%s (revision %d)", m.ID, m.Revision)
		switch {
		case m.Fault != "":
			names[i] = fmt.Sprintf("%s (%s)", m.ID, m.Fault)
		case m.Guard != nil:
			names[i] = fmt.Sprintf("%s (holds %d documents: see gridctl guard)", m.ID, m.Guard.Held)
		}
	}
	return strings.Join(names, ", ")
}

// How often Await looks at the routers, and at the documents, which takes etcd longer.
const (
	lookEvery = 200 * time.Millisecond
	goalEvery = 5 * time.Second
)

// Await returns when all live routers run the documents as they stood at a revision, or
// newer ones. Revision 0 stands for the newest change of any document, deletions
// included as far as a catalog made them. behind is told of the stragglers whenever
// others than before are left; it may be nil, and is called from the same goroutine.
//
// A router runs a revision if the revision of its table is as high. That of a table is
// the newest one of a document that it holds, or of a deletion that it watched; so a
// router that started after a deletion tells a lower one although it knows of it. Where no
// stored document is as new as the revision, equal documents count as well: a table
// with the hash of the stored documents, or of a router that runs the revision. A router
// whose guard holds changes of that time does not run them. One that was alive at first, or came
// since, and announces itself no longer is waited for like any other: it may be cut off from etcd.
// So are routers that have other forms of the same documents in force than the others.
//
// The deadline of ctx ends the wait with a *[BehindError]; no live router is
// [ErrNoRouter]; so is an error a revision that etcd has not come to.
func (c *Catalog) Await(ctx context.Context, revision int64, behind func(Arrival, []Member)) (Arrival, error) {
	w := &wait{Catalog: c, arrival: Arrival{Revision: revision}, newestOfAll: revision == 0, started: time.Now()}
	next := time.NewTicker(lookEvery)
	defer next.Stop()
	var told []string
	for {
		err := w.look(ctx)
		switch {
		case err != nil:
			return w.arrival, w.ended(ctx, err)
		case len(w.stragglers) == 0:
			return w.arrival, nil
		}
		if names := idsOf(w.stragglers); behind != nil && !slices.Equal(names, told) {
			told = names
			behind(w.arrival, w.stragglers)
		}
		select {
		case <-ctx.Done():
			return w.arrival, w.ended(ctx, ctx.Err())
		case <-next.C:
		}
	}
}

// holds says whether a router may hold changes of a revision or older ones. Where no revision was
// asked for, whatever it holds counts: what was deleted past any catalog has no revision that could
// be waited for.
func (w *wait) holds(m *Member) bool {
	return m.Guard != nil && (w.newestOfAll || m.Guard.Before < w.arrival.Revision)
}

func idsOf(members []Member) []string {
	ids := make([]string, len(members))
	for i := range members {
		ids[i] = members[i].ID
	}
	return ids
}

// wait is one wait for the routers.
type wait struct {
	*Catalog
	arrival    Arrival
	started    time.Time
	stragglers []Member
	// newestOfAll says that no revision was asked for.
	newestOfAll bool
	known       map[string]knownMember // by ID: all that were ever seen alive in this wait

	looked time.Time // when newest was read; zero: never
	newest int64     // the revision of the newest stored document
	hash   string    // of the stored documents; empty: not needed so far
}

// knownMember is a router as it was seen last.
type knownMember struct {
	Member
	arrived bool // it ran the revision
}

// missing returns the routers that were there and are not any more, and did not run the revision
// when they were seen last: their leases ended, which is what becomes of one that is cut off from
// etcd and goes on serving what it had.
func (w *wait) missing(members, late []Member) (gone []Member) {
	if w.known == nil {
		w.known = map[string]knownMember{}
	}
	for _, m := range members {
		w.known[m.ID] = knownMember{m, !slices.ContainsFunc(late, func(l Member) bool { return l.ID == m.ID })}
	}
	for _, id := range sortedKeys(w.known) {
		known := w.known[id]
		if known.arrived || slices.ContainsFunc(members, func(m Member) bool { return m.ID == id }) {
			continue
		}
		known.Fault = "announces itself no longer: it is cut off from etcd and serves older documents, or it has ended"
		gone = append(gone, known.Member)
	}
	return gone
}

// ended turns what ended the wait into its error.
func (w *wait) ended(ctx context.Context, err error) error {
	waited := time.Since(w.started)
	switch {
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return err
	case len(w.stragglers) == 0: // etcd has not answered once
		return &UnreachableError{w.client.Endpoints(), waited.Round(100 * time.Millisecond), false, err}
	}
	return &BehindError{w.arrival.Revision, w.arrival.Routers, w.stragglers, waited}
}

// look finds out who is behind.
func (w *wait) look(ctx context.Context) error {
	if w.looked.IsZero() || time.Since(w.looked) > goalEvery {
		if err := w.readGoal(ctx); err != nil {
			return err
		}
	}
	s := &snapshot{Catalog: w.Catalog}
	members, err := s.members(ctx)
	if err != nil {
		return err
	}
	if len(members)+len(w.known) == 0 {
		return ErrNoRouter
	}
	late := slices.DeleteFunc(slices.Clone(members), func(m Member) bool {
		return m.Fault == "" && m.Revision >= w.arrival.Revision && !w.holds(&m)
	})
	if w.newest < w.arrival.Revision {
		if late, err = w.withOtherDocuments(ctx, members, late); err != nil {
			return err
		}
	}
	for _, id := range otherForms(members) {
		if !slices.ContainsFunc(late, func(m Member) bool { return m.ID == id }) {
			split := members[slices.IndexFunc(members, func(m Member) bool { return m.ID == id })]
			split.Fault = "has other forms of the same documents in force than other routers: see /problems there, and gridctl fleet"
			late = append(late, split)
		}
	}
	gone := w.missing(members, late)
	w.arrival.Routers = len(members) + len(gone)
	w.stragglers = slices.Concat(late, gone)
	slices.SortFunc(w.stragglers, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	if w.arrival.Routers == 0 { // all that ran it have gone
		return ErrNoRouter
	}
	return nil
}

// readGoal reads how new the documents are.
func (w *wait) readGoal(ctx context.Context) error {
	s := &snapshot{Catalog: w.Catalog}
	newest, err := s.newestUnder(ctx, w.at.docs())
	if err != nil {
		return err
	}
	if w.arrival.Revision > s.revision {
		return fmt.Errorf("no router can run revision %d: etcd has come to revision %d only; leave out --revision to wait for the newest", w.arrival.Revision, s.revision)
	}
	if w.arrival.Revision == 0 {
		// A deletion leaves no document, but it leaves a record.
		changed, err := s.newestUnder(ctx, w.at.changes())
		if err != nil {
			return err
		}
		w.arrival.Revision = max(newest, changed)
	}
	w.newest, w.hash, w.looked = newest, "", time.Now()
	return nil
}

// withOtherDocuments leaves those of the late whose documents are not those of the
// revision, or of a newer one.
func (w *wait) withOtherDocuments(ctx context.Context, members, late []Member) ([]Member, error) {
	right := map[string]bool{}
	for i := range members {
		if m := &members[i]; m.Fault == "" && m.Hash != "" && m.Revision >= w.arrival.Revision {
			right[m.Hash] = true
		}
	}
	arrived := func(m Member) bool { return m.Fault == "" && right[m.Hash] && !w.holds(&m) }
	late = slices.DeleteFunc(late, arrived)
	if len(late) == 0 {
		return nil, nil
	}
	if w.hash == "" {
		update, err := w.Update(ctx)
		if err != nil {
			return nil, err
		}
		table, err := compile.NewCompiler(w.reader.Decode).Compile(update)
		if err != nil {
			return nil, err
		}
		w.hash = table.Hash()
		w.looked = time.Now() // reading may have taken long
	}
	right[w.hash] = true
	return slices.DeleteFunc(late, arrived), nil
}
