package metrics

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Name is the name of a metric that is read.
type Name string

// The gauges and counters that are read. A member that lacks one says nothing about it.
const (
	Started          Name = "process_start_time_seconds"
	Quota            Name = "etcd_server_quota_backend_bytes"
	LeaderChanges    Name = "etcd_server_leader_changes_seen_total"
	ProposalsApplied Name = "etcd_server_proposals_applied_total"
	ProposalsPending Name = "etcd_server_proposals_pending"
	ProposalsFailed  Name = "etcd_server_proposals_failed_total"
	SlowApplies      Name = "etcd_server_slow_apply_total"
	CurrentRevision  Name = "etcd_debugging_mvcc_current_revision"
	CompactRevision  Name = "etcd_debugging_mvcc_compact_revision"
	Keys             Name = "etcd_debugging_mvcc_keys_total"
	Watchers         Name = "etcd_debugging_mvcc_watcher_total"
	SlowWatchers     Name = "etcd_debugging_mvcc_slow_watcher_total"
	LeasesGranted    Name = "etcd_debugging_lease_granted_total"
	LeasesRevoked    Name = "etcd_debugging_lease_revoked_total"
)

// The histograms that are read, all of seconds.
const (
	WALSync       Name = "etcd_disk_wal_fsync_duration_seconds"
	BackendCommit Name = "etcd_disk_backend_commit_duration_seconds"
	PeerRoundTrip Name = "etcd_network_peer_round_trip_time_seconds"
)

var numbers = []Name{Started, Quota, LeaderChanges, ProposalsApplied, ProposalsPending, ProposalsFailed, SlowApplies,
	CurrentRevision, CompactRevision, Keys, Watchers, SlowWatchers, LeasesGranted, LeasesRevoked}

var histograms = []Name{WALSync, BackendCommit, PeerRoundTrip}

// The bounds of one answer.
const (
	// mostLine is the longest line that is looked at; those of etcd have some 200 bytes.
	mostLine = 4 << 10
	// mostKept bounds the lines that are parsed. Those of a member of seven take some 20 KiB.
	mostKept = 1 << 20
	// mostBuckets bounds a histogram; those of etcd have 15 to 21.
	mostBuckets = 256
)

// Sample is what a member had counted at one moment, since its process started.
type Sample struct {
	// At is when it was read, by the clock of the reader.
	At time.Time
	// numbers are gauges and counters by name.
	numbers map[Name]float64
	// histograms are sums over all labels, but for the round trips, of which the slowest peer's is kept.
	histograms map[Name]Buckets
}

// Number returns a gauge or counter; false if the member does not tell.
func (s Sample) Number(name Name) (float64, bool) {
	n, ok := s.numbers[name]
	return n, ok
}

// Age is how long the process had been running when the sample was read; false if the member does not tell.
// It compares two clocks, so it is good to the skew between them.
func (s Sample) Age() (time.Duration, bool) {
	started, ok := s.numbers[Started]
	if !ok || s.At.IsZero() {
		return 0, false
	}
	age := float64(s.At.UnixNano())/1e9 - started
	if !(age > 0) || age > 1e9 {
		return 0, false
	}
	return time.Duration(age * float64(time.Second)), true
}

// New makes a sample of numbers, for who tries what is reckoned from them. Nothing else is in it but what
// With adds.
func New(at time.Time, of map[Name]float64) Sample {
	s := Sample{At: at, numbers: map[Name]float64{}, histograms: map[Name]Buckets{}}
	for name, n := range of {
		s.numbers[name] = n
	}
	return s
}

// With puts a histogram into the sample.
func (s Sample) With(name Name, buckets Buckets) Sample {
	s.histograms[name] = buckets
	return s
}

// Parse reads a sample out of metrics in the text format of Prometheus. What is of others is passed over
// unread. Text that is no such format, or that has none of etcd's metrics, is an error. At is left zero.
func Parse(text io.Reader) (Sample, error) {
	kept, err := keep(text)
	if err != nil {
		return Sample{}, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(kept)
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics: %w", err)
	}
	s := New(time.Time{}, nil)
	for _, name := range numbers {
		if n, ok := sum(families[string(name)]); ok {
			s.numbers[name] = n
		}
	}
	for _, name := range histograms {
		buckets, err := slowest(families[string(name)], name == PeerRoundTrip)
		if err != nil {
			return Sample{}, fmt.Errorf("%s: %w", name, err)
		}
		if len(buckets) > 0 {
			s.histograms[name] = buckets
		}
	}
	if _, isEtcd := s.numbers[ProposalsApplied]; !isEtcd {
		return Sample{}, fmt.Errorf("the answer lacks %s: the address must be that of a member of etcd", ProposalsApplied)
	}
	return s, nil
}

// keep returns the lines that are about what is asked for, so that nothing else is ever held in memory.
func keep(text io.Reader) (io.Reader, error) {
	wanted := map[string]bool{}
	for _, name := range numbers {
		wanted[string(name)] = true
	}
	for _, name := range histograms {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			wanted[string(name)+suffix] = true
		}
	}
	kept := &bytes.Buffer{}
	lines := bufio.NewReaderSize(text, mostLine)
	for {
		line, whole, err := nextLine(lines)
		if whole && wanted[subject(line)] {
			if kept.Len()+len(line) > mostKept {
				return nil, fmt.Errorf("the answer has more than %d KiB of etcd's own metrics: whoever answers there is no member of etcd", mostKept>>10)
			}
			kept.Write(line)
			kept.WriteByte('\n')
		}
		if errors.Is(err, io.EOF) {
			return kept, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// nextLine reads a line, without its end. Of one that is too long, the rest is skipped and whole is false.
func nextLine(lines *bufio.Reader) (line []byte, whole bool, err error) {
	line, err = lines.ReadSlice('\n')
	if err == nil || errors.Is(err, io.EOF) {
		return bytes.TrimRight(line, "\r\n"), true, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = lines.ReadSlice('\n')
	}
	return nil, false, err
}

// subject is the name of the metric that a line is about. Help is about none: nobody reads it.
func subject(line []byte) string {
	text := string(line)
	if rest, typed := strings.CutPrefix(text, "# TYPE "); typed {
		name, _, _ := strings.Cut(rest, " ")
		return name
	}
	if end := strings.IndexAny(text, "{ \t"); end > 0 {
		return text[:end]
	}
	return ""
}

// sum adds up a counter or gauge over its labels; false if there is none, or it is no number.
func sum(family *dto.MetricFamily) (float64, bool) {
	total := 0.0
	for _, m := range family.GetMetric() {
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	}
	usable := !math.IsNaN(total) && !math.IsInf(total, 0)
	return total, usable && len(family.GetMetric()) > 0
}
