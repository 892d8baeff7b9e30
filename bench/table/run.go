package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"

	"gridrouter.io/bench/parts"
	"gridrouter.io/bench/report"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing/compile"
)

// Config says how much is measured. All fields without a remark are required.
type Config struct {
	// Tenants and Pins are how many are held, at least [LeastTenants] and [LeastPins].
	Tenants, Pins int
	// Policies is how many different policies the tenants share, at most [MostPolicies].
	Policies int
	// Lookups is how many single lookups are timed.
	Lookups int
	// Seconds is how long changes are written at 1,000 a second.
	Seconds int
	// Only are the parts to run, in the order of [Parts]; empty: all.
	Only []string
	// Dir is an existing folder for the snapshot and etcd's data; what is made in it is removed.
	Dir string
	// Profiles is an existing folder for a CPU profile of each timed section; empty: none.
	Profiles string
	// Commit is told in the report.
	Commit string
	// Etcd returns the command that serves a single etcd member from dir until SIGTERM.
	Etcd func(dir, client, peer string) *exec.Cmd
	// Progress is told what is being done, a line at a time; nil: nobody.
	Progress io.Writer
}

// The least and the most that can be measured.
const (
	LeastTenants = 1000
	LeastPins    = 1000
	MostPolicies = 1000
)

// allParts are the pieces of a run.
func allParts() parts.Parts[*bench] {
	return parts.Parts[*bench]{
		{Name: "memory", Run: (*bench).memory},
		{Name: "lookup", Run: (*bench).lookup},
		{Name: "update", Run: (*bench).update},
		{Name: "snapshot", Run: (*bench).snapshot},
		{Name: "pins", Run: (*bench).pins},
		{Name: "etcd", Run: (*bench).etcd},
		{Name: "propagation", Run: (*bench).propagation},
	}
}

// Parts returns the names of the parts of a run, in the order in which they are run.
func Parts() []string { return allParts().Names() }

// bench is a run in progress. One goroutine.
type bench struct {
	Config
	docs   *documents
	decode compile.Decoder
	report *Report

	held   *holding    // tenants in memory; nil: none at present
	member *etcdMember // filled with documents; nil: none yet
}

// Run measures, and returns what it found so far also beside an error. It takes both
// the memory and the cores of the machine: run nothing else meanwhile, and one Run at a time.
func Run(ctx context.Context, config Config) (*Report, error) {
	report := &Report{Machine: report.DescribeMachine(config.Commit)}
	if err := config.check(); err != nil {
		return report, err
	}
	docs, err := newDocuments(config.Policies)
	if err != nil {
		return report, err
	}
	b := &bench{Config: config, docs: docs, decode: catalog.NewReader().Decode, report: report}
	b.describe()
	err = allParts().Run(ctx, b, b.Only, func(name string) { b.progress("%s", name) })
	if b.member != nil {
		err = errors.Join(err, b.member.stop())
	}
	return report, err
}

func (c *Config) check() error {
	if err := allParts().Check(c.Only); err != nil {
		return err
	}
	switch {
	case c.Tenants < LeastTenants:
		return fmt.Errorf("%d tenants are too few; measure at least %d", c.Tenants, LeastTenants)
	case c.Pins < LeastPins:
		return fmt.Errorf("%d pins are too few; measure at least %d", c.Pins, LeastPins)
	case c.Policies < 1 || c.Policies > MostPolicies:
		return fmt.Errorf("there can be 1 to %d policies, not %d", MostPolicies, c.Policies)
	case c.Lookups < 1 || c.Seconds < 1:
		return errors.New("at least one lookup and one second must be measured")
	}
	return nil
}

// describe notes what holds for the whole run.
func (b *bench) describe() {
	b.report.note("%d tenants: names of %d bytes, one host of %d bytes each (random label, shared domain), over %d shared policies and %d decks;"+
		" documents in their stored form, about %d bytes each", b.Tenants, tenantBytes, hostBytes, b.Policies, decks, b.documentBytes())
}

func (b *bench) documentBytes() int {
	sum := 0
	for i := range b.Policies {
		_, value := b.docs.tenant(i, i, 1)
		sum += len(value)
	}
	return sum / b.Policies
}

func (b *bench) progress(format string, args ...any) {
	if b.Progress != nil {
		_, _ = fmt.Fprintf(b.Progress, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...) // no report depends on it
	}
}

// timed runs a section under the clock and, where profiles are wanted, the profiler.
func (b *bench) timed(name string, section func() error) (took time.Duration, err error) {
	if b.Profiles != "" {
		file, err := os.Create(filepath.Join(b.Profiles, name+".pprof"))
		if err != nil {
			return 0, err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return 0, errors.Join(err, file.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = file.Close() // a lost profile is no lost result
		}()
	}
	begun := time.Now()
	err = section()
	return time.Since(begun), err
}

// afresh lets go of all memory, so that what is timed next pays for its pages as a
// process that has just started does.
func (b *bench) afresh() {
	b.held = nil
	debug.FreeOSMemory()
}

// heldBytes returns what is alive on the heap, after collections that were waited for.
func heldBytes() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// percentile returns the value that a share of the sorted values does not exceed.
func percentile[T any](sorted []T, share float64) T {
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func median[T int64 | uint32 | time.Duration](values []T) T {
	slices.Sort(values)
	return percentile(values, 0.5)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
