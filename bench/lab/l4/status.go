package l4

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
)

// Status is what a forwarder tells of itself, as JSON.
type Status struct {
	Name string `json:"name"`
	// Accepted counts connections of clients; Refused those for which no real server
	// could be found.
	Accepted int64        `json:"accepted"`
	Refused  int64        `json:"refused"`
	Reals    []RealStatus `json:"reals"`
}

// RealStatus is the state of one real server.
type RealStatus struct {
	Address string `json:"address"`
	// Up says whether it gets new connections.
	Up bool `json:"up"`
	// Open are connections now, Total since the start, Failures those that failed.
	Open     int64 `json:"open"`
	Total    int64 `json:"total"`
	Failures int64 `json:"failures"`
}

// Status returns the state of the forwarder now.
func (f *Forwarder) Status() Status {
	status := Status{Name: f.config.Name, Accepted: f.accepted.Load(), Refused: f.refused.Load()}
	for _, r := range f.reals {
		status.Reals = append(status.Reals, RealStatus{
			Address: r.Address, Up: !r.down.Load(),
			Open: r.open.Load(), Total: r.total.Load(), Failures: r.failures.Load(),
		})
	}
	return status
}

// ServeHTTP answers every request with the status.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	text, err := json.MarshalIndent(f.Status(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}

// sortByOpen puts the real servers with the fewest connections first; equals keep
// their order.
func sortByOpen(reals []*server) {
	slices.SortStableFunc(reals, func(a, b *server) int { return cmp.Compare(a.open.Load(), b.open.Load()) })
}
