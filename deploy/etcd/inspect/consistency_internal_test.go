package inspect

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestTheMajorityIsBelieved(t *testing.T) {
	const learner, silent, behind = "learner", "silent", "behind"
	f := func(want Verdict, differ []int, hashes ...string) {
		t.Helper()
		c := Comparison{Revision: 7, Tries: 1}
		for i, hash := range hashes {
			m := Hashed{Endpoint: fmt.Sprint(i), Hash: hash, CompactRevision: 3}
			switch hash {
			case learner:
				m.Hash, m.Learner = "", true
			case silent:
				m.Hash, m.err = "", errors.New("silent")
			case behind:
				m.Hash, m.err = "", rpctypes.ErrFutureRev
			}
			c.Members = append(c.Members, m)
		}
		c.judge()
		var marked []int
		for i, m := range c.Members {
			if m.Differs {
				marked = append(marked, i)
			}
		}
		if c.Verdict != want || !slices.Equal(marked, differ) || c.Message == "" {
			t.Errorf("%v: %s, %v differ, %s", hashes, c.Verdict, marked, c.Message)
		}
	}
	f(Consistent, nil, "a")
	f(Consistent, nil, "a", "a", "a")
	f(Consistent, nil, "a", "a", learner)
	f(Differs, []int{1}, "a", "b", "a")
	f(Differs, []int{0, 4}, "b", "a", "a", "a", "c")
	f(Differs, []int{3}, "a", "a", learner, "b", "a")
	f(CannotTell, nil, "a", "b")
	f(CannotTell, nil, "a", "b", silent)
	f(CannotTell, nil, "a", "a", "b", "b", "c")
	f(CannotTell, nil, "a", "a", "b", "b")
	f(Incomplete, nil, "a", "a", silent)
	f(Incomplete, nil, silent)
	f(Outrun, nil, "a", "a", behind)
	c := Comparison{Members: []Hashed{{Hash: "a", CompactRevision: 1}, {Hash: "b", CompactRevision: 2}}}
	if c.judge(); c.Verdict != Outrun {
		t.Errorf("hashes from different revisions on were compared: %s", c.Verdict)
	}
}

func FuzzVersions(f *testing.F) {
	f.Add("3.7.3", "3.6.0")
	f.Add("3.7.3", "")
	f.Add("-1.5", "99999999999999999999.1")
	f.Fuzz(func(t *testing.T, a, b string) {
		v := View{Seen: []Seen{{Member: Member{Version: a}}, {Member: Member{Version: b}}}}
		j := &judge{View: v, limits: DefaultLimits()}
		if j.judgeVersions(); (a != b) != (len(j.found) == 1) {
			t.Fatalf("%q and %q: %+v", a, b, j.found)
		}
	})
}

func FuzzAccess(f *testing.F) {
	f.Add("http://host:2379", "https://[::1]:2379/")
	f.Add("http://user:pw@host:1", "host")
	f.Add("http://host:2379/../x?y", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		access := Access{Endpoints: []string{a, b}}
		if access.Check() != nil {
			return
		}
		for _, endpoint := range access.Endpoints {
			if at := access.metricsOf(endpoint); at == "" || access.clockURL(endpoint) == "" {
				t.Fatalf("%q has metrics at %q", endpoint, at)
			}
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add(`"c530e7e4c1429ad2"`)
	f.Add(`"0"`)
	f.Add(`12`)
	f.Fuzz(func(t *testing.T, text string) {
		var id, again ID
		if id.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		told, err := id.MarshalJSON()
		if err != nil || again.UnmarshalJSON(told) != nil || again != id {
			t.Fatalf("%s is %s, %v", text, told, err)
		}
	})
}
