package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Status is what a router says of itself under fleet/<router-id>, and a GSLB server under
// gslb/<server-id>.
type Status struct {
	ID            string    `json:"id"`
	Address       string    `json:"address"`
	Admin         string    `json:"admin"`
	Version       string    `json:"version"`
	Revision      int64     `json:"revision"`
	Hash          string    `json:"hash"`
	EffectiveHash string    `json:"effectiveHash"`
	Source        string    `json:"source"`
	AgeSeconds    float64   `json:"ageSeconds"`
	Problems      int       `json:"problems"`
	Started       time.Time `json:"started"`
	// Guard says what the router holds; nil: nothing.
	Guard *StatusGuard `json:"guard,omitempty"`
}

// StatusGuard is what a router's guard against mass changes holds.
type StatusGuard struct {
	// Revision is the newest revision whose changes are held, Before that of the table that
	// they are counted against: all that is held was written after it. 0: it is not known.
	Revision int64 `json:"revision"`
	Before   int64 `json:"before,omitempty"`
	// Held is how many documents have a newer form, or are gone, and keep theirs in force.
	Held int `json:"held"`
	// Since is when the hold began.
	Since time.Time `json:"since"`
}

// Member is one router of a fleet, or one GSLB server, and how it stands to the others of its sort.
type Member struct {
	Status
	// Behind says that its revision is lower than the newest that is known, and
	// its documents are not those of one at the newest.
	Behind bool `json:"behind"`
	// Disagrees says that it has another hash than most of those at its revision.
	Disagrees bool `json:"disagrees"`
	// OtherForms says that it has other forms of the same documents in force than most of
	// those that have these documents: two decks may serve one tenant.
	OtherForms bool `json:"otherForms,omitempty"`
	// GslbServer says that it is a GSLB server and no router.
	GslbServer bool `json:"gslbServer,omitempty"`
	// Fault says why the status cannot be read; empty: it can.
	Fault string `json:"fault,omitempty"`
}

// Fleet is who follows the prefix.
type Fleet struct {
	// Revision is the newest revision of any document, as far as etcd or a router knows.
	Revision int64 `json:"revision"`
	// Members are the routers, sorted by ID.
	Members []Member `json:"members"`
	// GslbRevision is the newest revision of any Gslb document, as far as etcd or a GSLB server knows.
	GslbRevision int64 `json:"gslbRevision,omitempty"`
	// GslbServers are the GSLB servers, sorted by ID. Their revision is that of the Gslb documents
	// that they answer from, and so is their hash.
	GslbServers []Member `json:"gslbServers,omitempty"`
}

// Fleet reads the leased status keys of all routers. A router that died is gone from it
// when its lease ends.
func (c *Catalog) Fleet(ctx context.Context) (Fleet, error) {
	s := &snapshot{Catalog: c}
	members, err := s.members(ctx)
	if err != nil {
		return Fleet{}, err
	}
	fleet := Fleet{Members: members}
	if fleet.GslbServers, err = s.gslbServers(ctx); err != nil {
		return Fleet{}, err
	}
	if fleet.Revision, err = s.newestUnder(ctx, c.at.docs()); err != nil {
		return Fleet{}, err
	}
	if fleet.GslbRevision, err = s.newestUnder(ctx, c.at.docs()+FolderGslb+"/"); err != nil {
		return Fleet{}, err
	}
	fleet.Revision = compare(fleet.Members, fleet.Revision)
	fleet.GslbRevision = compare(fleet.GslbServers, fleet.GslbRevision)
	return fleet, nil
}

// members reads what the routers say of themselves, in the order of their names.
func (s *snapshot) members(ctx context.Context) ([]Member, error) {
	return s.announced(ctx, s.at.fleet())
}

// gslbServers reads what the GSLB servers say of themselves, in the order of their names. Who may
// not read that knows of none.
func (s *snapshot) gslbServers(ctx context.Context) ([]Member, error) {
	servers, err := s.announced(ctx, s.at.gslbServers())
	if errors.Is(err, rpctypes.ErrPermissionDenied) {
		return nil, nil
	}
	for i := range servers {
		servers[i].GslbServer = true
	}
	return servers, err
}

// holders reads what all say of themselves that have a guard: the routers, then the GSLB servers.
func (s *snapshot) holders(ctx context.Context) ([]Member, error) {
	routers, err := s.members(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := s.gslbServers(ctx)
	return append(routers, servers...), err
}

// announced reads what processes say of themselves under a prefix.
func (s *snapshot) announced(ctx context.Context, prefix string) ([]Member, error) {
	members := []Member{}
	err := s.scan(ctx, prefix, documentPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			members = append(members, decodeMember(strings.TrimPrefix(string(kv.Key), prefix), kv.Value))
		}
		return nil
	})
	return members, err
}

// newestUnder is the revision of the newest value under a prefix; 0: there is none.
func (s *snapshot) newestUnder(ctx context.Context, prefix string) (int64, error) {
	answer, err := s.get(ctx, prefix, s.options(append(clientv3.WithLastRev(), clientv3.WithPrefix(), clientv3.WithKeysOnly())...)...)
	if err != nil {
		return 0, s.mend(err)
	}
	s.settle(answer.Header.Revision)
	if len(answer.Kvs) == 0 {
		return 0, nil
	}
	return answer.Kvs[0].ModRevision, nil
}

// decodeMember reads a router's status; what cannot be read is told, and keeps its id.
func decodeMember(id string, value []byte) Member {
	var said Status
	if err := json.Unmarshal(value, &said); err != nil {
		return Member{Status: Status{ID: id}, Fault: fmt.Sprintf("its status cannot be read: %v", err)}
	}
	said.ID = id
	return Member{Status: said}
}

// compare marks stragglers, and those whose documents differ from the others', and sorts all by ID.
// It returns the newest revision that is known, of etcd's and theirs.
func compare(members []Member, newest int64) int64 {
	type state struct {
		revision int64
		hash     string
	}
	votes := map[state]int{}
	for i := range members {
		m := &members[i]
		if m.Fault == "" {
			newest = max(newest, m.Revision)
			votes[state{m.Revision, m.Hash}]++
		}
	}
	most := map[int64]int{} // revision -> votes of its commonest hash
	for s, n := range votes {
		most[s.revision] = max(most[s.revision], n)
	}
	tied := map[int64]int{} // revision -> how many hashes have that many votes
	for s, n := range votes {
		if n == most[s.revision] {
			tied[s.revision]++
		}
	}
	for i := range members {
		m := &members[i]
		if m.Fault != "" {
			continue
		}
		// One that started after a deletion knows the same documents by a lower revision.
		m.Behind = m.Revision < newest && votes[state{newest, m.Hash}] == 0
		m.Disagrees = votes[state{m.Revision, m.Hash}] < most[m.Revision] || tied[m.Revision] > 1
	}
	for _, id := range otherForms(members) {
		members[slices.IndexFunc(members, func(m Member) bool { return m.ID == id })].OtherForms = true
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return newest
}

// otherForms returns those that have something else in force than most of those that store
// the same documents; where there is no majority, all of these. What is in force depends on the
// past where a document is bad, or its epoch lower than one that was seen.
func otherForms(members []Member) (ids []string) {
	votes := map[string]map[string]int{} // hash -> effective hash -> routers
	for i := range members {
		if m := &members[i]; m.Fault == "" && m.EffectiveHash != "" {
			if votes[m.Hash] == nil {
				votes[m.Hash] = map[string]int{}
			}
			votes[m.Hash][m.EffectiveHash]++
		}
	}
	for i := range members {
		m := &members[i]
		if m.Fault != "" || m.EffectiveHash == "" || len(votes[m.Hash]) == 1 {
			continue
		}
		most, tied := 0, false
		for _, n := range votes[m.Hash] {
			tied = tied && n <= most || n == most
			most = max(most, n)
		}
		if tied || votes[m.Hash][m.EffectiveHash] < most {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
