package restore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/deploy/etcd/backup"
)

// startWait bounds the start of an etcd on verified data.
const startWait = 5 * time.Minute

// Verify reads every object of a chain, restores it in a scratch folder (empty: the system's for temporary
// files), starts an etcd on the result that serves loopback alone, and holds its hash of all keys against
// those that were recorded. It says all that is wrong with objects; an error is of what is needed to verify, and
// says nothing about the backup. Of the options Store, ID, Revision, DefaultTTL and Report count.
func Verify(ctx context.Context, o Options, scratch string) (Result, []*backup.DamageError, error) {
	name := "verified"
	o.Name, o.Token, o.Bump = name, name, 1
	o.PeerURLs, o.InitialCluster = []string{"http://127.0.0.1:0"}, name+"=http://127.0.0.1:0"
	c, damages, err := o.readAll(ctx)
	if err != nil || len(damages) > 0 {
		return Result{ID: c.ID}, damages, err
	}
	dir, err := os.MkdirTemp(scratch, "etcd-verify-*")
	if err != nil {
		return Result{ID: c.ID}, nil, fmt.Errorf("the scratch folder cannot be used: %w", err)
	}
	result, err := o.restoreAndStart(ctx, c, dir)
	if removeErr := os.RemoveAll(dir); err == nil {
		err = removeErr
	}
	if damage := (*backup.DamageError)(nil); errors.As(err, &damage) {
		return Result{ID: c.ID}, []*backup.DamageError{damage}, nil
	}
	if err != nil {
		return Result{ID: c.ID}, nil, err
	}
	return result, nil, nil
}

// readAll finds the chain, and reads its objects.
func (o *Options) readAll(ctx context.Context) (*backup.Chain, []*backup.DamageError, error) {
	none := &backup.Chain{ID: o.ID}
	var (
		c   *backup.Chain
		err error
	)
	if o.ID != "" {
		c, err = backup.Open(ctx, o.Store, o.ID)
	} else {
		c, err = backup.Newest(ctx, o.Store)
	}
	if err != nil {
		return none, nil, err
	}
	c.Report = o.Report
	o.report("backup %s: reading %d bytes in all", c.ID, c.Bytes)
	damages, err := c.Check(ctx)
	return c, damages, err
}

func (o *Options) restoreAndStart(ctx context.Context, c *backup.Chain, dir string) (Result, error) {
	database, data := filepath.Join(dir, "db"), filepath.Join(dir, "data")
	result, err := o.rebuild(ctx, c, database)
	if err != nil {
		return Result{}, err
	}
	if err := o.dataDir(database, data, 0); err != nil {
		return Result{}, err
	}
	o.report("starting etcd on revision %d", result.Revision)
	server, err := o.start(data)
	if err != nil {
		return Result{}, &backup.DamageError{Object: c.ID, Problem: fmt.Sprintf("etcd does not start on it: %v", err)}
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return Result{}, &backup.DamageError{Object: c.ID, Problem: fmt.Sprintf("etcd ends that was started on it: %v", err)}
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-time.After(startWait):
		return Result{}, errors.New("etcd was started on the restored data, and was not ready in time")
	}
	is, _, err := server.Server.KV().HashStorage().HashByRev(result.Revision)
	if err != nil {
		return Result{}, fmt.Errorf("etcd on the restored data does not say its hash: %w", err)
	}
	if is.CompactRevision == result.hash.CompactRevision && is.Hash != result.hash.Hash {
		return Result{}, &backup.DamageError{Object: c.ID, Problem: fmt.Sprintf("etcd on the restored data says the hash %d of revision %d, and %d was restored", is.Hash, is.Revision, result.hash.Hash)}
	}
	return result, nil
}

// start starts an etcd that nobody needs to reach.
func (o *Options) start(data string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	loopback := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config.Name, config.Dir = o.Name, data
	config.ListenPeerUrls, config.ListenClientUrls = loopback, loopback
	config.AdvertisePeerUrls, config.AdvertiseClientUrls = loopback, loopback
	config.InitialCluster, config.InitialClusterToken = o.InitialCluster, o.Token
	config.TickMs, config.ElectionMs = 10, 100 // who is alone has nobody to wait for
	config.UnsafeNoFsync = true
	config.QuotaBackendBytes = -1
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet())
	return embed.StartEtcd(config)
}
