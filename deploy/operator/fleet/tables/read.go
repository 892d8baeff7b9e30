package tables

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gridrouter.io/discovery/catalog"
)

const (
	fleetFolder = "fleet/" // under the prefix; each key below is a router's ID
	// pageKeys is how many keys one call asks for, pageBytes how large its answer may be: whoever may
	// write there cannot make the operator's memory grow.
	pageKeys  = 512
	pageBytes = 4 << 20
	// mostKeys bounds a look. A fleet has 1,000 routers at most, and some fleets may share a prefix.
	mostKeys       = 20_000
	mostUnreadable = 100
	mostValue      = 16 << 10 // a status has some hundred bytes
	mostID         = 253      // as a pod's name
	mostField      = 256
)

// found is one look, with the keys that could not be read.
type found struct {
	Look
	unreadable map[string]string
}

// tooManyError says that there are more keys than fleets can have.
type tooManyError struct{ folder string }

func (e *tooManyError) Error() string {
	return fmt.Sprintf("there are more than %d keys under %s: delete those that are no router's", mostKeys, e.folder)
}

// read reads all status keys under a prefix, page by page, each call within timeout. A router that comes
// or goes meanwhile may be among them or not.
func read(ctx context.Context, client *clientv3.Client, prefix string, timeout time.Duration) (found, error) {
	folder := prefix + fleetFolder
	request := &pb.RangeRequest{Key: []byte(folder), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(folder)), Limit: pageKeys}
	found := found{Look: Look{Routers: map[string]catalog.Status{}}, unreadable: map[string]string{}}
	for seen := 0; ; {
		answer, err := page(ctx, client, request, timeout)
		if err != nil {
			return found, err
		}
		for _, kv := range answer.Kvs {
			found.add(strings.TrimPrefix(string(kv.Key), folder), kv)
		}
		if seen += len(answer.Kvs); seen > mostKeys {
			return found, &tooManyError{folder}
		}
		if !answer.More || len(answer.Kvs) == 0 {
			found.At, found.Cluster, found.Revision = time.Now(), answer.Header.GetClusterId(), answer.Header.GetRevision()
			return found, nil
		}
		request.Key = slices.Concat(answer.Kvs[len(answer.Kvs)-1].Key, []byte{0}) // the next one after it
		request.Limit = min(2*request.Limit, pageKeys)
	}
}

// page makes one call. An answer that would be too large is asked for again in smaller parts; a single key
// that is too large comes without its value.
func page(ctx context.Context, client *clientv3.Client, request *pb.RangeRequest, timeout time.Duration) (*pb.RangeResponse, error) {
	defer func() { request.KeysOnly = false }()
	for {
		call, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), timeout)
		answer, err := clientv3.RetryKVClient(client).Range(call, request, grpc.MaxCallRecvMsgSize(pageBytes))
		cancel()
		switch {
		case status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max"):
			return answer, err
		case request.Limit > 1:
			request.Limit /= 4
			request.Limit = max(request.Limit, 1)
		case request.KeysOnly:
			return nil, err // which cannot be: a key alone is no longer than what etcd takes
		default:
			request.KeysOnly = true
		}
	}
}

func (f *found) add(id string, kv *mvccpb.KeyValue) {
	said, err := decode(id, kv.Value)
	switch {
	case err == nil:
		f.Routers[id] = said
	case len(f.unreadable) < mostUnreadable:
		f.unreadable[printable(id)] = err.Error()
	}
}

// decode reads a router's status. Whoever may write keys may have written it, so that nothing is taken
// over that a router would not say.
func decode(id string, value []byte) (catalog.Status, error) {
	var said catalog.Status
	switch {
	case id == "" || len(id) > mostID || printable(id) != id:
		return said, fmt.Errorf("the key is no router's ID")
	case len(value) == 0:
		return said, fmt.Errorf("the value is empty or too large")
	case len(value) > mostValue:
		return said, fmt.Errorf("the value is too large for a status: it has more than %d bytes", mostValue)
	}
	if err := json.Unmarshal(value, &said); err != nil {
		return catalog.Status{}, fmt.Errorf("the value is not the JSON of a status")
	}
	if said.ID != id {
		return catalog.Status{}, fmt.Errorf("the value is the status of another router")
	}
	if said.Revision < 0 {
		return catalog.Status{}, fmt.Errorf("the revision is below 0")
	}
	for _, field := range []string{said.Address, said.Admin, said.Version, said.Hash, said.EffectiveHash, said.Source} {
		if len(field) > mostField || printable(field) != field {
			return catalog.Status{}, fmt.Errorf("a field is longer than %d bytes, or holds what cannot be printed", mostField)
		}
	}
	return said, nil
}

// printable is a text as it may stand in a status or a log: short, of characters that can be seen.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, text)
	for len(text) > mostField {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
