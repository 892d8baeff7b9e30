package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
)

// gslbSnapshotFormat is the version of what a GSLB server's snapshot holds: the section
// [discovery.SnapshotNames], and perhaps one more.
const gslbSnapshotFormat = 1

// heldSection is there while the guard holds something: the names are older than the snapshot's
// revision then.
const heldSection = "held"

// savedHold is what heldSection holds.
type savedHold struct {
	Before int64 `json:"before"` // of catalog.StatusGuard
}

// saved returns what there is to write down; nil: nothing.
func (n *gslbNames) saved(cluster string) *saved {
	n.mu.Lock()
	state := n.answered
	n.mu.Unlock()
	if state == nil {
		return nil
	}
	revision := strconv.FormatInt(state.revision, 16) // so that serial numbers do not go back
	return &saved{
		header: discovery.SnapshotHeader{
			Cluster: cluster, Revision: state.revision, Hash: state.hash + "-" + revision, EffectiveHash: state.inForce, Names: len(state.documents), Partial: state.partial,
		},
		sections: func() ([]discovery.SnapshotSection, error) {
			data, err := json.Marshal(state.documents)
			sections := []discovery.SnapshotSection{{Name: discovery.SnapshotNames, Data: data}}
			if state.held != nil {
				held, _ := json.Marshal(savedHold{state.held.Before}) // a number always has a JSON form
				sections = append(sections, discovery.SnapshotSection{Name: heldSection, Data: held})
			}
			return sections, err
		},
	}
}

// restore answers from the documents of a snapshot. It is for names that have none yet.
func (n *gslbNames) restore(header discovery.SnapshotHeader, sections []discovery.SnapshotSection) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	named := map[string][]byte{}
	for _, section := range sections {
		named[section.Name] = section.Data
	}
	if named[discovery.SnapshotNames] == nil {
		return fmt.Errorf("it has no section %q", discovery.SnapshotNames)
	}
	documents, err := n.readSection(named[discovery.SnapshotNames])
	if err != nil {
		return err
	}
	for name, document := range documents {
		n.setDocument(name, document)
	}
	n.allRead = !header.Partial
	n.answer(header.Revision)
	if n.answered == nil {
		n.documents, n.inForce = map[string]*gslb.Document{}, catalog.Fingerprint{}
		return errors.New("its documents bring out a fault of gridrouter's")
	}
	n.answered.hash, _, _ = strings.Cut(header.Hash, "-") // until the source has listed what it holds
	if held := named[heldSection]; held != nil {
		// What was held is held again by the first list, however little it is, and began as long ago as it did.
		n.guard.wary = true
		var hold savedHold
		if n.guard.stamps = nil; json.Unmarshal(held, &hold) == nil && hold.Before > 0 {
			n.guard.stamps.note(n.guard.now, hold.Before)
		}
	}
	return nil
}

func (n *gslbNames) readSection(data []byte) (map[string]*gslb.Document, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("section %s: %w", discovery.SnapshotNames, err)
	}
	documents := make(map[string]*gslb.Document, len(values))
	for _, value := range values {
		var head struct{ Name string }
		if err := json.Unmarshal(value, &head); err != nil {
			return nil, fmt.Errorf("section %s: %w", discovery.SnapshotNames, err)
		}
		decoded, err := n.decode(catalog.FolderGslb+"/"+head.Name, value)
		if document, ok := decoded.(*gslb.Document); ok && err == nil {
			documents[head.Name] = document
			continue
		}
		n.log.Error("a name of the snapshot is left out, since this version refuses its document", zap.String("name", head.Name), zap.Error(err))
	}
	return documents, nil
}
