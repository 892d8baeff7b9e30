package tables

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"gridrouter.io/discovery"
)

// Source is an etcd, how to be let in there, and the prefix of a fleet. It holds secrets: it is never
// printed.
type Source struct {
	// Endpoints are the URLs of etcd's members; their order does not matter.
	Endpoints []string
	// Prefix is what the fleet's keys begin with; begins and ends with "/".
	Prefix string
	// Username and Password, both or none.
	Username, Password string
	// CA are the authorities that members are checked against, Cert and Key what is shown to them: PEM.
	// Cert and Key, both or none. Nothing: the system's authorities, no certificate.
	CA, Cert, Key []byte
}

// String keeps secrets out of what is printed by mistake.
func (s Source) String() string { return strings.Join(s.Endpoints, ",") + s.Prefix }

// GoString does the same for %#v.
func (s Source) GoString() string { return s.String() }

// identity is equal for equal sources, whatever the order of their endpoints, and tells nothing of them.
type identity [sha256.Size]byte

// access identifies the client that a source needs: all but the prefix.
func (s Source) access() identity {
	endpoints := slices.Sorted(slices.Values(s.Endpoints))
	parts := append([]string{s.Username, s.Password, string(s.CA), string(s.Cert), string(s.Key)}, endpoints...)
	return digest(parts)
}

func (s Source) identity() identity {
	access := s.access()
	return digest([]string{string(access[:]), s.Prefix})
}

// sameKeys says whether two sources are the same keys of the same etcd, by whatever credentials.
func (s Source) sameKeys(other Source) bool {
	return s.Prefix == other.Prefix &&
		slices.Equal(slices.Sorted(slices.Values(s.Endpoints)), slices.Sorted(slices.Values(other.Endpoints)))
}

func digest(parts []string) identity {
	var text []byte
	for _, part := range parts { // with its length, so that no two lists look alike
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	return sha256.Sum256(text)
}

// check finds what makes a source unusable, before any secret gets into a message of others.
func (s Source) check() error {
	switch {
	case len(s.Endpoints) == 0:
		return errors.New("no etcd is named: set etcd.endpoints")
	case (s.Username == "") != (s.Password == ""):
		return errors.New("the secret of etcd has one of username and password: give both or none")
	case (len(s.Cert) == 0) != (len(s.Key) == 0):
		return errors.New("the secret of etcd has one of tls.crt and tls.key: give both or none")
	}
	return nil
}

// secrets are files that lie in memory alone and go with the process, since clients of etcd read their
// credentials from files. Nothing is left of them on a disk, and none has to be writable.
type secrets struct{ open []*os.File }

// put makes a file and returns the path by which this process opens it; "": there is nothing to put.
func (f *secrets) put(name string, content []byte) (string, error) {
	if len(content) == 0 {
		return "", nil
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("make a file in memory for %s of etcd's secret: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	f.open = append(f.open, file)
	if _, err := file.Write(content); err != nil {
		return "", fmt.Errorf("write a file in memory for %s of etcd's secret: %w", name, err)
	}
	return path(file), nil
}

// path is how this process opens a file once more.
func path(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }

// named puts what files are into a text in the place of their paths, which mean nothing to anybody.
func (f *secrets) named(text string) string {
	for _, file := range f.open {
		text = strings.ReplaceAll(text, path(file), "it")
	}
	return text
}

func (f *secrets) close() {
	for _, file := range f.open {
		_ = file.Close() // its content goes with it
	}
}

// dial makes a client of the source, and what is to be closed after it. It makes no contact.
func (s Source) dial(log *zap.Logger) (*clientv3.Client, *secrets, error) {
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	files := &secrets{}
	client, err := s.dialWith(files, log)
	if err != nil {
		text := files.named(inSpec(err.Error()))
		files.close()
		return nil, nil, fmt.Errorf("etcd cannot be used: %s", text)
	}
	return client, files, nil
}

func (s Source) dialWith(files *secrets, log *zap.Logger) (*clientv3.Client, error) {
	cfg := discovery.ClientConfig{Endpoints: s.Endpoints, User: s.Username}
	for _, file := range []struct {
		name    string
		content []byte
		path    *string
	}{
		{"ca.crt", s.CA, &cfg.CAFile}, {"tls.crt", s.Cert, &cfg.CertFile}, {"tls.key", s.Key, &cfg.KeyFile},
		{"password", []byte(s.Password), &cfg.PasswordFile},
	} {
		path, err := files.put(file.name, file.content)
		if err != nil {
			return nil, err
		}
		*file.path = path
	}
	return discovery.NewClient(cfg, log)
}
