package restore_test

import (
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/store"
)

func TestBackupsInABucketAreAsInAFolder(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	s, err := store.OpenS3(store.S3Config{
		Endpoint: server.URL, Bucket: "backups", Prefix: "edge", Region: "here", PathStyle: true,
		Keys: func() (string, string, error) { return "key", "secret", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := startCluster(t)
	c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	f.reaches(t, c.change(t, 2))
	if _, err := backup.Take(patient(t), c.config(t, s)); err != nil {
		t.Fatal(err)
	}
	last := c.change(t, 3)
	f.reaches(t, last)
	f.mustEnd(t)
	for _, one := range all(t, s) {
		verified(t, s, one.ID)
	}
	o := options(s, t.TempDir())
	other, result := restored(t, o)
	if diff := cmp.Diff(pairs(t, c.Client, 0), pairs(t, other.Client, 0)); diff != "" || result.Revision != last {
		t.Errorf("%+v: %s", result, diff)
	}
	pruned, err := backup.Prune(patient(t), s, backup.Retention{Count: 1}, nil)
	if err != nil || len(pruned.Chains) != 1 || len(all(t, s)) != 1 {
		t.Errorf("%+v, %v", pruned, err)
	}
}
