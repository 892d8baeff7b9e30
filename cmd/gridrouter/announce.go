package main

import (
	"context"
	"encoding/json"
	"strings"

	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
)

// wordOf returns what says whether a value is the word of the process that announces itself under a key.
func wordOf(key string) func(value []byte) bool {
	return func(value []byte) bool {
		var said catalog.Status
		return json.Unmarshal(value, &said) == nil && said.ID != "" && strings.HasSuffix(key, "/"+said.ID)
	}
}

// announce keeps this router's word in etcd, once it has a table to speak of. Without
// etcd there is nothing to do.
func (s *service) announce(ctx context.Context) error {
	if !s.flags.source.etcd.Given() {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.documents.first:
	}
	config, err := s.flags.source.clientConfig()
	if err != nil {
		return err
	}
	log := seldom(s.log.Named("fleet"))
	client, err := discovery.NewClient(config, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := client.Close(); err != nil && ctx.Err() == nil {
			log.Warn("the connection that announced this router did not close cleanly", zap.Error(err))
		}
	}()
	recording := make(chan struct{})
	go func() {
		defer close(recording)
		s.recordEpochs(ctx, client, log)
	}()
	defer func() { <-recording }()
	announcer := discovery.NewAnnouncer(discovery.AnnouncerConfig{
		Client: client, Contact: config.Contact, Key: s.announceKey(), Value: s.status, Copied: wordOf(s.announceKey()), Logger: log, Registerer: s.registry,
	})
	return untilDone(ctx, announcer.Run(ctx))
}
