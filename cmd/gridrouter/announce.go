package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
)

// announcement is what a process tells of itself in etcd, so that gridctl shows it.
type announcement struct {
	source *sourceFlags
	// key is where it is told, status what is told at the moment.
	key      string
	status   func() []byte
	log      *zap.Logger
	registry prometheus.Registerer
	// beside runs meanwhile, over the same connection, and returns when ctx ends; nil: nothing does.
	beside func(ctx context.Context, client *clientv3.Client, log *zap.Logger)
}

// keep keeps the announcement in etcd until ctx ends.
func (a *announcement) keep(ctx context.Context) error {
	config, err := a.source.clientConfig()
	if err != nil {
		return err
	}
	log := withoutRepeats(a.log.Named("fleet"))
	client, err := discovery.NewClient(config, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := client.Close(); err != nil && ctx.Err() == nil {
			log.Warn("the connection that announced this process did not close cleanly", zap.Error(err))
		}
	}()
	if a.beside != nil {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.beside(ctx, client, log)
		}()
		defer func() { <-ended }()
	}
	announcer := discovery.NewAnnouncer(discovery.AnnouncerConfig{
		Client: client, Contact: config.Contact, Key: a.key, Value: a.status, Copied: statusOf(a.key), Logger: log, Registerer: a.registry,
	})
	return unlessDone(ctx, announcer.Run(ctx))
}

// statusOf returns what says whether a value is the status of the process that announces itself under a key.
func statusOf(key string) func(value []byte) bool {
	return func(value []byte) bool {
		var told catalog.Status
		return json.Unmarshal(value, &told) == nil && told.ID != "" && strings.HasSuffix(key, "/"+told.ID)
	}
}
