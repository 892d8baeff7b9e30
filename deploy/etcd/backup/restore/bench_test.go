package restore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/restore"
)

// BenchmarkBackups follows a writer of half a million events in 5,000 revisions, and verifies and restores
// what came of it. Its figures are of one run of each.
func BenchmarkBackups(b *testing.B) {
	const revisions, events, size = 5000, 100, 256
	ctx := context.Background()
	for b.Loop() {
		c, s := startCluster(b), folder(b)
		f := follow(b, backup.FollowConfig{Config: c.config(b, s), Every: time.Second})
		value := make([]byte, size)
		random := rand.NewChaCha8([32]byte{})
		began := time.Now()
		last := int64(0)
		for revision := range revisions {
			ops := make([]clientv3.Op, 0, events)
			for i := range events {
				_, _ = random.Read(value)
				ops = append(ops, clientv3.OpPut(fmt.Sprintf("/key/%05d", (revision*events+i)%50000), string(value)))
			}
			answer, err := c.Txn(ctx).Then(ops...).Commit()
			if err != nil {
				b.Fatal(err)
			}
			last = answer.Header.Revision
		}
		written := time.Since(began)
		f.reaches(b, last)
		lag := time.Since(began) - written
		f.mustEnd(b)
		chain := newest(b, s)
		began = time.Now()
		verified(b, s, "")
		verify := time.Since(began)
		began = time.Now()
		if _, err := restore.Restore(ctx, options(s, b.TempDir())); err != nil {
			b.Fatal(err)
		}
		back := time.Since(began)
		began = time.Now()
		m, err := backup.Take(ctx, c.config(b, s))
		if err != nil {
			b.Fatal(err)
		}
		full := time.Since(began)
		b.ReportMetric(revisions*events/written.Seconds(), "events-written/s")
		b.ReportMetric(lag.Seconds(), "s-behind")
		b.ReportMetric(float64(chain.Bytes)/(1<<20), "chain-MiB")
		b.ReportMetric(revisions*events/verify.Seconds(), "events-verified/s")
		b.ReportMetric(revisions*events/back.Seconds(), "events-restored/s")
		b.ReportMetric(float64(m.Size)/(1<<20)/full.Seconds(), "full-MiB/s")
		b.ReportMetric(float64(m.Size)/(1<<20), "full-MiB")
	}
}
