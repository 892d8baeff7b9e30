package inspect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/deploy/etcd/inspect/metrics"
)

// askTimeout bounds one question to one member.
const askTimeout = 5 * time.Second

// Access says how a cluster is reached.
type Access struct {
	// Endpoints are the members' client URLs, one of each member: http://host:port or https://host:port. A URL
	// behind which members take turns would be taken for one member.
	Endpoints []string
	// TLS is used with https; nil: what the machine trusts, and no certificate of our own.
	TLS *tls.Config
	// User and Password are for clusters with auth on; of the root role, since maintenance asks for it. Both
	// empty: none. They appear in no error.
	User, Password string
	// Metrics has the URL of a member's metrics by its endpoint, where these are not at the endpoint itself
	// with the path /metrics.
	Metrics map[string]string
}

// Check says what is wrong with an access, before anybody is asked.
func (a Access) Check() error {
	if len(a.Endpoints) == 0 {
		return errors.New("no endpoint: name the client URL of each member, like http://host:2379")
	}
	seen := map[string]bool{}
	for i, endpoint := range a.Endpoints {
		where, err := url.Parse(endpoint)
		if err != nil || where.Scheme != "http" && where.Scheme != "https" || where.Host == "" || where.Port() == "" {
			return fmt.Errorf("endpoint %d must be like http://host:2379 or https://host:2379", i+1)
		}
		if where.User != nil || where.RawQuery != "" || where.Path != "" && where.Path != "/" {
			return fmt.Errorf("endpoint %d (%s) must be scheme, host and port alone", i+1, where.Host)
		}
		if seen[endpoint] {
			return fmt.Errorf("endpoint %s is named twice: name each member once", endpoint)
		}
		seen[endpoint] = true
	}
	if (a.User == "") != (a.Password == "") {
		return errors.New("user and password belong together: give both or none")
	}
	return nil
}

// Connect returns a client that talks to the given endpoints alone; to all, if none is given. It is to be
// closed. Where auth is on, the password is tried within 5 s; otherwise no member is asked yet. The end of ctx
// ends what the client does.
func (a Access) Connect(ctx context.Context, endpoints ...string) (*clientv3.Client, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	if len(endpoints) == 0 {
		endpoints = a.Endpoints
	}
	config := clientv3.Config{
		Context: ctx, Endpoints: endpoints, DialTimeout: askTimeout, Logger: zap.NewNop(),
		Username: a.User, Password: a.Password,
	}
	if a.TLS != nil {
		config.TLS = a.TLS.Clone()
	} else if secure(endpoints) {
		config.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	client, err := clientv3.New(config)
	if err != nil && strings.Contains(err.Error(), "not supported for learner") {
		// A learner checks no password, but knows the tokens that others gave.
		if config.Token = a.tokenOf(ctx, endpoints); config.Token != "" {
			config.Username, config.Password = "", ""
			client, err = clientv3.New(config)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}

// tokenOf has another member than the given ones check the password, and returns the token that it gives; empty:
// none gave one.
func (a Access) tokenOf(ctx context.Context, but []string) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, endpoint := range a.Endpoints {
		if slices.Contains(but, endpoint) {
			continue
		}
		without := a
		without.User, without.Password, without.Endpoints = "", "", []string{endpoint}
		client, err := without.Connect(ctx)
		if err != nil {
			continue
		}
		given, err := client.Authenticate(ctx, a.User, a.Password)
		_ = client.Close()
		if err == nil {
			return given.Token
		}
	}
	return ""
}

// Follower returns a client that talks to one follower which answers, so that the leader is spared, and its
// endpoint. Where there is no follower it is the leader. The client is to be closed.
func (a Access) Follower(ctx context.Context) (*clientv3.Client, string, error) {
	members, err := Members(ctx, a)
	if err != nil {
		return nil, "", err
	}
	endpoint := ""
	for _, m := range members {
		if !m.Answers() || m.Learner { // a learner serves no watches, and no reads that all must agree upon
			continue
		}
		if endpoint == "" || !m.Leads {
			endpoint = m.Endpoint
		}
	}
	if endpoint == "" {
		return nil, "", fmt.Errorf("no member answers: %s", firstError(members))
	}
	client, err := a.Connect(ctx, endpoint)
	return client, endpoint, err
}

// Voters are the endpoints of those members that are no learners: a learner refuses nearly everything. All are,
// if none is known to be a voter.
func Voters(members []Member) []string {
	var voters []string
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.Endpoint
		if !m.Learner {
			voters = append(voters, m.Endpoint)
		}
	}
	if len(voters) == 0 {
		return all
	}
	return voters
}

func firstError(members []Member) string {
	for _, m := range members {
		if m.Error != "" {
			return m.Error
		}
	}
	return "none was asked"
}

func secure(endpoints []string) bool {
	for _, endpoint := range endpoints {
		if where, err := url.Parse(endpoint); err == nil && where.Scheme == "https" {
			return true
		}
	}
	return false
}

// metricsOf is the URL of a member's metrics.
func (a Access) metricsOf(endpoint string) string {
	if at := a.Metrics[endpoint]; at != "" {
		return at
	}
	at, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return at.JoinPath("metrics").String()
}

// sample reads a member's metrics.
func (a Access) sample(ctx context.Context, endpoint string) (metrics.Sample, error) {
	return metrics.Read(ctx, metrics.Client(a.TLS), a.metricsOf(endpoint))
}
