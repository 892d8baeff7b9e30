package flags

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/files"
)

// DefaultPrefix is where the documents of a fleet live in etcd, unless --prefix says otherwise.
const DefaultPrefix = "/gridrouter/"

// Etcd are the flags that say how etcd is reached and where in it the documents are.
// The zero value is ready for [Etcd.Register].
type Etcd struct {
	// Endpoints are URLs of members: http://host:port or https://host:port.
	Endpoints []string
	// Cert and Key are the files of the client's certificate and its key (PEM); both or none.
	Cert, Key string
	// CA is the file of the authorities that members' certificates are checked against
	// (PEM); empty: the system's.
	CA string
	// User and PasswordFile name an etcd user and the file that holds its password; both or none.
	User, PasswordFile string
	// Prefix is what all keys begin with; it begins and ends with "/".
	Prefix string
}

// Register adds the flags to fs.
func (e *Etcd) Register(fs *pflag.FlagSet) {
	e.RegisterClient(fs)
	fs.StringVar(&e.Prefix, "prefix", DefaultPrefix, "`P`, what all keys in etcd begin with; begins and ends with /")
}

// RegisterClient adds the flags to fs that say how etcd is reached, for who reads all keys alike.
func (e *Etcd) RegisterClient(fs *pflag.FlagSet) {
	e.Prefix = DefaultPrefix
	fs.StringSliceVar(&e.Endpoints, "etcd", nil, "`URL`s of etcd members, separated by commas, such as http://127.0.0.1:2379 (default none)")
	fs.StringVar(&e.Cert, "etcd-cert", "", "PEM `FILE` of the certificate shown to etcd; needs --etcd-key (default none)")
	fs.StringVar(&e.Key, "etcd-key", "", "PEM `FILE` of the key of --etcd-cert (default none)")
	fs.StringVar(&e.CA, "etcd-ca", "", "PEM `FILE` of the authorities that etcd's certificate is checked against (default the system's)")
	fs.StringVar(&e.User, "etcd-user", "", "etcd user `NAME`; needs --etcd-password-file (default none)")
	fs.StringVar(&e.PasswordFile, "etcd-password-file", "", "`FILE` that holds the password of --etcd-user (default none)")
}

// Given says whether etcd was named at all.
func (e *Etcd) Given() bool { return len(e.Endpoints) > 0 }

// Check says what is wrong with the flags, by [Usagef]; it opens no file and no socket.
func (e *Etcd) Check() error {
	for _, endpoint := range e.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Port() == "" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
			return Usagef("--etcd: an item is not the URL of an etcd member; write http://HOST:PORT or https://HOST:PORT")
		}
	}
	switch {
	case (e.Cert == "") != (e.Key == ""):
		return Usagef("--etcd-cert and --etcd-key go together; give both or none")
	case (e.User == "") != (e.PasswordFile == ""):
		return Usagef("--etcd-user and --etcd-password-file go together; give both or none")
	case !e.Given() && (e.Cert != "" || e.CA != "" || e.User != ""):
		return Usagef("--etcd-cert, --etcd-ca and --etcd-user need --etcd; name etcd's members")
	case len(e.Prefix) < 2 || e.Prefix[0] != '/' || e.Prefix[len(e.Prefix)-1] != '/':
		name := cmp.Or(strings.Trim(e.Prefix, "/"), "gridrouter")
		return Usagef("--prefix: %q is not a name between two /; write %q", e.Prefix, "/"+name+"/")
	case strings.Contains(e.Prefix, "//"):
		return Usagef("--prefix: %q holds an empty part; write each / once", e.Prefix)
	}
	return nil
}

// ClientConfig returns what [discovery.NewClient] asks for, or what is wrong with the
// flags, by [Usagef]. It refuses to be called without --etcd, and files that cannot be read.
func (e *Etcd) ClientConfig() (discovery.ClientConfig, error) {
	if !e.Given() {
		return discovery.ClientConfig{}, Usagef("--etcd is missing; name etcd's members, such as http://127.0.0.1:2379")
	}
	if err := e.Check(); err != nil {
		return discovery.ClientConfig{}, err
	}
	files := []struct{ flag, name string }{
		{"etcd-cert", e.Cert}, {"etcd-key", e.Key}, {"etcd-ca", e.CA}, {"etcd-password-file", e.PasswordFile},
	}
	for _, file := range files {
		if file.name == "" {
			continue
		}
		if err := readable(file.name); err != nil {
			return discovery.ClientConfig{}, Usagef("--%s: %w; name a file that can be read", file.flag, err)
		}
	}
	return discovery.ClientConfig{
		Endpoints: e.Endpoints,
		CertFile:  e.Cert, KeyFile: e.Key, CAFile: e.CA,
		User: e.User, PasswordFile: e.PasswordFile,
	}, nil
}

// maxFileBytes bounds a file that a flag of etcd names.
const maxFileBytes = 1 << 20

// readable says why a file cannot be read; nil if it can.
func readable(name string) error {
	_, err := files.Read(name, maxFileBytes)
	return err
}

// CheckSource refuses etcd and a folder of documents at once, neither of them, and bad
// flags of etcd.
func CheckSource(etcd *Etcd, routes string) error {
	switch {
	case etcd.Given() && routes != "":
		return Usagef("--etcd and --routes are two sources of documents; give one")
	case !etcd.Given() && routes == "":
		return Usagef("there is no source of documents; give --etcd URL or --routes DIR")
	}
	return etcd.Check()
}
