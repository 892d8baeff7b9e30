package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// Finding is one thing that needs attention.
type Finding struct {
	// Reason and Severity are of its [Kind].
	Reason   Reason   `json:"reason"`
	Severity Severity `json:"severity"`
	// Member is the endpoint or the name of the member that it is about; empty: the whole cluster.
	Member string `json:"member,omitempty"`
	// Message says what was found, with figures.
	Message string `json:"message"`
	// Plan says what to do.
	Plan string `json:"plan"`
}

// Report is what an inspection found.
type Report struct {
	// At is when it was seen.
	At time.Time `json:"at"`
	// Worst is the severity of the most urgent finding; empty: there is none.
	Worst Severity `json:"worst,omitempty"`
	// Members are those that were asked, Findings what was found, the most urgent first.
	Members  []Member  `json:"members"`
	Findings []Finding `json:"findings"`
	// Unknown says what could not be learned, and so was not judged.
	Unknown []string `json:"unknown,omitempty"`
	// Left is how many entries were left out of the lists so that the report stays small.
	Left int `json:"left,omitempty"`
}

// Settings are what members do not tell of how they were started. A zero is not judged.
type Settings struct {
	// Heartbeat and Election are their heartbeat interval and election timeout.
	Heartbeat, Election time.Duration
}

// Options say how a configuration is examined.
type Options struct {
	// Settings are what members do not tell.
	Settings Settings
	// Limits say from where on something is found; a zero field is that of [DefaultLimits].
	Limits Limits
	// Window is the time over which counters are looked at; 0: since the start of each member.
	Window time.Duration
}

// Configuration examines the configuration and the state of a cluster: it looks at it ([Look]) and judges
// what it saw ([Judge]). It changes nothing. That members do not answer is a finding and no error.
func Configuration(ctx context.Context, access Access, options Options) (Report, error) {
	if options.Window < 0 || options.Settings.Heartbeat < 0 || options.Settings.Election < 0 {
		return Report{}, fmt.Errorf("window %s, heartbeat %s and election %s may not be negative",
			options.Window, options.Settings.Heartbeat, options.Settings.Election)
	}
	view, err := Look(ctx, access, options.Window)
	if err != nil {
		return Report{}, err
	}
	return NewReport(view, Judge(view, options.Settings, options.Limits))
}

// NewReport puts what was seen and found into a report that is small enough.
func NewReport(v View, findings []Finding) (Report, error) {
	r := Report{At: v.At.UTC().Truncate(time.Second), Findings: findings, Unknown: slices.Clone(v.Unknown), Members: []Member{}}
	if len(findings) > 0 {
		r.Worst = findings[0].Severity
	} else {
		r.Findings = []Finding{}
	}
	for _, s := range v.Seen {
		r.Members = append(r.Members, s.Member)
	}
	r.Findings, r.Unknown, r.Members = first(&r, r.Findings, 100), first(&r, r.Unknown, 30), first(&r, r.Members, 20)
	err := brief.Fit(&r, func() bool {
		r.Left++
		return brief.DropLast(&r.Unknown) || brief.DropLast(&r.Findings) || brief.DropLast(&r.Members)
	})
	return r, err
}

// first keeps so many entries, and counts the others as left out.
func first[T any](r *Report, list []T, most int) []T {
	r.Left += max(0, len(list)-most)
	return list[:min(len(list), most)]
}

// rank orders severities, the most urgent first.
func rank(s Severity) int {
	return slices.Index([]Severity{Critical, Warning, Info}, s)
}
