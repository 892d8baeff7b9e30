//go:build !slim

package main

import (
	"cmp"
	"context"
	"os"
	"strings"

	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/store"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/files"
)

const (
	// maxKeyFileBytes bounds the file of a key of an S3 store.
	maxKeyFileBytes = 4 << 10
	// maxAuthoritiesBytes bounds the file of authorities of an S3 store.
	maxAuthoritiesBytes = 1 << 20
	// The variables that S3 clients know; secrets are never flags.
	accessKeyVariable, secretKeyVariable = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY" //nolint:gosec // names of variables
)

// storeFlags say where backups are.
type storeFlags struct {
	store, endpoint, region, ca  string
	pathStyle                    bool
	accessKeyFile, secretKeyFile string
}

func (f *storeFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.store, "store", "", "`PLACE` of the backups: a folder that is there, or s3://BUCKET/PREFIX")
	fs.StringVar(&f.endpoint, "store-endpoint", "", "`URL` of the server of an s3:// store: http://HOST:PORT or https://HOST:PORT")
	fs.StringVar(&f.region, "store-region", "", "`REGION` of the bucket (default the store is asked)")
	fs.BoolVar(&f.pathStyle, "store-path-style", true, "whether the bucket is in the path of URLs, and not in their host")
	fs.StringVar(&f.ca, "store-ca", "", "PEM `FILE` of the authorities that the store's certificate is checked against (default the system's)")
	fs.StringVar(&f.accessKeyFile, "store-access-key-file", "", "`FILE` that holds the access key (default $"+accessKeyVariable+")")
	fs.StringVar(&f.secretKeyFile, "store-secret-key-file", "", "`FILE` that holds the secret key (default $"+secretKeyVariable+")")
}

// open returns the store, and what closes it.
func (f *storeFlags) open() (s store.Store, closeIt func(), err error) {
	rest, isS3 := strings.CutPrefix(f.store, "s3://")
	switch {
	case f.store == "":
		return nil, nil, flags.Usagef("--store is missing; name a folder or s3://BUCKET/PREFIX")
	case !isS3 && strings.Contains(f.store, "://"):
		return nil, nil, flags.Usagef("--store: %q is of no kind that is known; name a folder or s3://BUCKET/PREFIX", f.store)
	case !isS3 && f.endpoint != "":
		return nil, nil, flags.Usagef("--store-endpoint is of an s3:// store, and --store is the folder %q; give one", f.store)
	case !isS3:
		s, err := store.OpenFolder(f.store)
		return s, func() {}, err
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	c := store.S3Config{Endpoint: f.endpoint, Bucket: bucket, Prefix: prefix, Region: f.region, PathStyle: f.pathStyle, Keys: f.keys}
	if _, _, err := f.keys(); err != nil {
		return nil, nil, err
	}
	if f.ca != "" {
		if c.CA, err = files.Read(f.ca, maxAuthoritiesBytes); err != nil {
			return nil, nil, flags.Usagef("--store-ca: %w; name a PEM file", err)
		}
	}
	opened, err := store.OpenS3(c)
	if err != nil {
		return nil, nil, flags.Usagef("--store, --store-endpoint: %w", err)
	}
	return opened, opened.Close, nil
}

// keys reads access key and secret key.
func (f *storeFlags) keys() (access, secret string, err error) {
	for _, one := range []struct {
		into                 *string
		flag, file, variable string
	}{
		{&access, "store-access-key-file", f.accessKeyFile, accessKeyVariable},
		{&secret, "store-secret-key-file", f.secretKeyFile, secretKeyVariable},
	} {
		if *one.into = os.Getenv(one.variable); one.file != "" {
			text, err := files.Read(one.file, maxKeyFileBytes)
			if err != nil {
				return "", "", flags.Usagef("--%s: %w; name a file that can be read", one.flag, err)
			}
			*one.into = strings.TrimSpace(string(text))
		}
		if *one.into == "" {
			return "", "", flags.Usagef("--%s: there is no key in %s; an s3:// store needs one", one.flag, cmp.Or(one.file, "$"+one.variable))
		}
	}
	return access, secret, nil
}

// source returns how members of etcd are reached.
func etcdSource(etcd *flags.Etcd) (backup.Source, error) {
	config, err := etcd.ClientConfig()
	if err != nil {
		return backup.Source{}, err
	}
	return backup.Source{Endpoints: config.Endpoints, Connect: func(endpoints ...string) (*clientv3.Client, error) {
		some := config
		some.Endpoints = endpoints
		return discovery.NewClient(some, nil)
	}}, nil
}

// backupFlags are of every command that has to do with backups.
type backupFlags struct {
	storeFlags
	resultFlags
}

func (f *backupFlags) register(fs *pflag.FlagSet) {
	f.storeFlags.register(fs)
	f.resultFlags.register(fs)
}

// with opens the store, has work do its part until a signal ends it, and tells what came out, be it an
// error. name is of the command.
func (f *backupFlags) with(ctx context.Context, name string, o outputs, work func(ctx context.Context, s store.Store, t *teller) error) error {
	if err := f.resultFlags.check(); err != nil {
		return err
	}
	t := &teller{flags: f.resultFlags, outputs: o, result: etcdResult{Command: name}}
	err := func() error {
		s, closeIt, err := f.open()
		if err != nil {
			return err
		}
		defer closeIt()
		return untilSignal(ctx, "gridrouter etcd "+name, func(ctx context.Context) error { return work(ctx, s, t) })
	}()
	return t.end(err)
}

// untilSignal has work's context end at the first signal to stop; the second one ends the process.
func untilSignal(ctx context.Context, name string, work func(context.Context) error) error {
	ignoreBrokenPipes()
	told := watchSignals(name)
	defer told.end()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told.running.Store(true)
	go func() {
		select {
		case <-told.stop:
			stop()
		case <-ctx.Done():
		}
	}()
	return work(ctx)
}
