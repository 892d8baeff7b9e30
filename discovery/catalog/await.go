package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"gridrouter.io/routing/compile"
)

// ErrNoRouter says that no router announces itself under the prefix.
var ErrNoRouter = errors.New("no router is alive: none announces itself under this prefix; check --prefix, and that routers run with --etcd")

// Arrival is what [Catalog.Await] waited for.
type Arrival struct {
	// Revision is the one that was waited for.
	Revision int64
	// Routers is how many routers are alive, GslbServers how many GSLB servers are.
	Routers, GslbServers int
}

// BehindError says that the time was over before all routers and GSLB servers ran a revision.
type BehindError struct {
	// Arrival says what was waited for, and by how many.
	Arrival
	// Stragglers are those that do not run the revision: routers, then GSLB servers, by ID.
	Stragglers []Member
	// Waited is how long.
	Waited time.Duration
}

// Error names the stragglers, and the mend.
func (e *BehindError) Error() string {
	return fmt.Sprintf("after %s %d of %s still do not run revision %d: %s; look at gridctl fleet and their logs",
		e.Waited.Round(100*time.Millisecond), len(e.Stragglers), e.Who(), e.Revision, Stragglers(e.Stragglers))
}

// Who says who is alive, such as "3 routers and 1 GSLB server".
func (a Arrival) Who() string {
	text := plural(a.Routers, "router")
	if a.GslbServers > 0 {
		text += " and " + plural(a.GslbServers, "GSLB server")
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Stragglers names routers and GSLB servers, and says how far each has come.
func Stragglers(members []Member) string {
	names := make([]string, len(members))
	for i := range members {
		m := &members[i]
		why := fmt.Sprintf("revision %d", m.Revision)
		switch {
		case m.Fault != "":
			why = m.Fault
		case m.Guard != nil:
			why = fmt.Sprintf("holds %d documents: see gridctl guard", m.Guard.Held)
		}
		names[i] = fmt.Sprintf("%s (%s)", m.name(), why)
	}
	return strings.Join(names, ", ")
}

// name tells a GSLB server from a router of the same ID.
func (m *Member) name() string {
	if m.GslbServer {
		return "GSLB server " + m.ID
	}
	return m.ID
}

// How often Await looks at the routers, and at the documents, which takes etcd longer.
const (
	lookEvery = 200 * time.Millisecond
	goalEvery = 5 * time.Second
)

// Await returns when all live routers and GSLB servers run the documents as they stood at a
// revision, or newer ones. Revision 0 stands for the newest change of any document, deletions
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
// So are routers that have other documents than others at the same revision, or other forms of the
// same documents in force.
//
// A GSLB server follows the Gslb documents alone: its revision is the newest of these, so that one
// with the hash of those that are stored counts as well.
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
		if names := namesOf(w.stragglers); behind != nil && !slices.Equal(names, told) {
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

func namesOf(members []Member) []string {
	names := make([]string, len(members))
	for i := range members {
		names[i] = members[i].name()
	}
	return names
}

// wait is one wait for the routers.
type wait struct {
	*Catalog
	arrival    Arrival
	started    time.Time
	stragglers []Member
	// newestOfAll says that no revision was asked for.
	newestOfAll bool
	known       map[string]knownMember // by name: all that were ever seen alive in this wait

	looked   time.Time // when newest was read; zero: never
	newest   int64     // the revision of the newest stored document
	hash     string    // of the stored documents; empty: not needed so far
	gslbHash string    // of the stored Gslb documents; empty: not needed so far
}

// knownMember is a router or GSLB server as it was seen last.
type knownMember struct {
	Member
	arrived bool // it ran the revision
}

// missing returns those that were there and are not any more, and did not run the revision
// when they were seen last: their leases ended, which is what becomes of one that is cut off from
// etcd and goes on serving what it had.
func (w *wait) missing(members, late []Member) (gone []Member) {
	if w.known == nil {
		w.known = map[string]knownMember{}
	}
	alive, behind := namesOf(members), namesOf(late)
	for i, name := range alive {
		w.known[name] = knownMember{members[i], !slices.Contains(behind, name)}
	}
	for _, name := range sortedKeys(w.known) {
		known := w.known[name]
		if known.arrived || slices.Contains(alive, name) {
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
	return &BehindError{w.arrival, w.stragglers, waited}
}

// look finds out who is behind.
func (w *wait) look(ctx context.Context) error {
	if w.looked.IsZero() || time.Since(w.looked) > goalEvery {
		if err := w.readGoal(ctx); err != nil {
			return err
		}
	}
	s := &snapshot{Catalog: w.Catalog}
	routers, err := s.members(ctx)
	if err != nil {
		return err
	}
	servers, err := s.gslbServers(ctx)
	if err != nil {
		return err
	}
	if len(routers)+len(w.known) == 0 {
		return ErrNoRouter
	}
	late, err := w.lateRouters(ctx, routers)
	if err != nil {
		return err
	}
	lateServers, err := w.lateServers(ctx, servers)
	if err != nil {
		return err
	}
	w.stragglers = slices.Concat(late, lateServers)
	gone := w.missing(slices.Concat(routers, servers), w.stragglers)
	w.stragglers = append(w.stragglers, gone...)
	w.arrival.Routers, w.arrival.GslbServers = 0, 0
	for _, m := range slices.Concat(routers, servers, gone) {
		if m.GslbServer {
			w.arrival.GslbServers++
		} else {
			w.arrival.Routers++
		}
	}
	slices.SortFunc(w.stragglers, func(a, b Member) int {
		if a.GslbServer != b.GslbServer {
			return cmp.Compare(orderOf(&a), orderOf(&b))
		}
		return strings.Compare(a.ID, b.ID)
	})
	if w.arrival.Routers == 0 { // all that ran it have gone
		return ErrNoRouter
	}
	return nil
}

// orderOf puts routers before GSLB servers.
func orderOf(m *Member) int {
	if m.GslbServer {
		return 1
	}
	return 0
}

// lateRouters returns the routers that do not run the revision, or not like the others.
func (w *wait) lateRouters(ctx context.Context, routers []Member) (late []Member, err error) {
	late = slices.DeleteFunc(slices.Clone(routers), func(m Member) bool {
		return m.Fault == "" && m.Revision >= w.arrival.Revision && !w.holds(&m)
	})
	if w.newest < w.arrival.Revision {
		if late, err = w.withOtherDocuments(ctx, routers, late); err != nil {
			return nil, err
		}
	}
	return w.withSplit(routers, late, func() (string, error) { return w.storedHash(ctx) })
}

// withSplit adds to the late those that differ from others of their sort, by documents at one
// revision or by what is in force of them. Who has the documents that are stored is right.
func (w *wait) withSplit(members, late []Member, stored func() (string, error)) ([]Member, error) {
	compared, behind := slices.Clone(members), namesOf(late)
	compare(compared, w.newest)
	for _, m := range compared {
		if slices.Contains(behind, m.name()) || !m.Disagrees && !m.OtherForms {
			continue
		}
		why := "has other forms of the same documents in force than others: see /problems there, and gridctl fleet"
		if m.Disagrees {
			hash, err := stored()
			switch {
			case err != nil:
				return nil, err
			case hash != m.Hash:
				why = fmt.Sprintf("has other documents at revision %d than others: see gridctl fleet, and their logs", m.Revision)
			case !m.OtherForms:
				continue
			}
		}
		m.Fault = why
		late = append(late, m)
	}
	return late, nil
}

// lateServers returns the GSLB servers that do not answer from the revision, or not like the others.
func (w *wait) lateServers(ctx context.Context, servers []Member) (late []Member, err error) {
	arrived := func(m Member) bool { // one of an earlier version tells no hash
		return m.Fault == "" && (m.Revision >= w.arrival.Revision || m.Hash == "") && !w.holds(&m)
	}
	late = slices.DeleteFunc(slices.Clone(servers), arrived)
	if len(late) > 0 {
		hash, err := w.storedGslbHash(ctx)
		if err != nil {
			return nil, err
		}
		late = slices.DeleteFunc(late, func(m Member) bool { return m.Fault == "" && m.Hash == hash && !w.holds(&m) })
	}
	return w.withSplit(servers, late, func() (string, error) { return w.storedGslbHash(ctx) })
}

// storedGslbHash returns the hash of the stored Gslb documents.
func (w *wait) storedGslbHash(ctx context.Context) (string, error) {
	if w.gslbHash != "" {
		return w.gslbHash, nil
	}
	var hash Fingerprint
	folder := w.at.docs() + FolderGslb + "/"
	s := &snapshot{Catalog: w.Catalog}
	err := s.scan(ctx, folder, documentPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			hash.Add(strings.TrimPrefix(string(kv.Key), folder), kv.Value)
		}
		return nil
	})
	if err == nil {
		w.gslbHash = hash.String()
	}
	return w.gslbHash, err
}

// storedHash returns the hash of the documents that routers follow, as they are stored.
func (w *wait) storedHash(ctx context.Context) (string, error) {
	if w.hash == "" {
		update, err := w.Update(ctx)
		if err != nil {
			return "", err
		}
		table, err := compile.NewCompiler(w.reader.Decode).Compile(update)
		if err != nil {
			return "", err
		}
		w.hash = table.Hash()
		w.looked = time.Now() // reading may have taken long
	}
	return w.hash, nil
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
	w.newest, w.hash, w.gslbHash, w.looked = newest, "", "", time.Now()
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
	hash, err := w.storedHash(ctx)
	if err != nil {
		return nil, err
	}
	right[hash] = true
	return slices.DeleteFunc(late, arrived), nil
}
