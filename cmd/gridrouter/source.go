package main

import (
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/routing/document"
)

// sourceFlags say where documents come from: etcd, or a folder of files.
type sourceFlags struct {
	etcd   flags.Etcd
	routes string
	// mayBeAway says that there is a snapshot to start from, so that a folder that cannot be read
	// now, such as one that is not mounted yet, is no mistake of the flags.
	mayBeAway bool
	// contact is what all clients of etcd in this process share.
	contact *discovery.Contact
}

// register adds the flags to fs.
func (s *sourceFlags) register(fs *pflag.FlagSet) {
	s.etcd.Register(fs)
	fs.StringVar(&s.routes, "routes", "", "follow the *.yaml, *.yml and *.json in the folder `DIR` instead of etcd (default none)")
}

// open returns the source of the documents in a folder of docs/ ("gslb/"; "": all), with
// keys relative to docs/ if it is all of them, else to that folder. With all of them come the
// marks for the guard against mass changes. It makes no contact.
func (s *sourceFlags) open(folder string, reader *document.Reader, logger *zap.Logger, registry prometheus.Registerer) (discovery.Source, error) {
	if err := flags.CheckSource(&s.etcd, s.routes); err != nil {
		return nil, err
	}
	if s.routes != "" {
		if info, err := os.Stat(s.routes); err != nil && s.mayBeAway {
			logger.Error("the folder of documents cannot be read; the start is from the snapshot, if that is of use", zap.Error(err))
		} else if err != nil {
			return nil, flags.Usagef("--routes: %w; name a folder of documents", err)
		} else if !info.IsDir() {
			return nil, flags.Usagef("--routes: %s is not a folder; name the folder that holds it", s.routes)
		}
		return discovery.NewFolder(discovery.FolderConfig{
			Dir: s.routes, Split: splitter(folder, reader), Logger: logger, Registerer: registry,
		}), nil
	}
	config, err := s.clientConfig()
	if err != nil {
		return nil, err
	}
	marks := ""
	if folder == "" {
		marks = s.etcd.Prefix + "guard/"
	}
	return discovery.NewEtcd(discovery.EtcdConfig{
		Dial:    func() (*clientv3.Client, error) { return discovery.NewClient(config, logger) },
		Contact: s.contact, Root: s.etcd.Prefix + "docs/" + folder, Marks: marks, Logger: logger, Registerer: registry,
	}), nil
}

// clientConfig says how to reach etcd, for every client in this process: what one of them
// hears of etcd, all know.
func (s *sourceFlags) clientConfig() (discovery.ClientConfig, error) {
	config, err := s.etcd.ClientConfig()
	if s.contact == nil {
		s.contact = discovery.NewContact()
	}
	config.Contact = s.contact
	return config, err
}

// splitter returns a function that splits a file into the entries of one folder of
// docs/. A document that is bad goes on in its raw form, so that what follows the source
// sees it under its key and keeps its last good form. One whose key cannot be read refuses
// the whole file: it may be any of those that were there before.
func splitter(folder string, reader *document.Reader) func(string, []byte) ([]discovery.Entry, error) {
	return func(name string, data []byte) ([]discovery.Entry, error) {
		docs, err := reader.ReadFile(name, data)
		if err != nil {
			return nil, err
		}
		entries := make([]discovery.Entry, 0, len(docs))
		for _, doc := range docs {
			if doc.Key == "" || doc.JSON == nil && doc.Raw == nil {
				return nil, doc.Err
			}
			key, wanted := strings.CutPrefix(doc.Key, folder)
			if !wanted {
				continue
			}
			value := doc.JSON
			if doc.Err != nil {
				value = doc.Raw
			}
			entries = append(entries, discovery.Entry{Key: key, Value: value, Origin: doc.Origin})
		}
		return entries, nil
	}
}
