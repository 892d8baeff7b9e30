package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gridrouter.io/discovery/files"
)

// login adds etcd's token to each call and gets one when it is needed. The
// etcd client could log in by itself, but does so while it is made, and so
// cannot be made while etcd is away; and it keeps the password it was made
// with, where ours is read from its file each time.
type login struct {
	user, passwordFile string
	timeout            time.Duration

	mu    sync.Mutex // held while logging in: one login serves all who wait
	token string     // empty with known set: etcd has its authentication off
	known bool
	since time.Time
	// replace says that a new token is wanted, since a call with this one went unanswered at asked. The next
	// time that happens counts only after doubt.
	replace bool
	asked   time.Time
	doubt   time.Duration
}

// tokenTrust is how old a token may be to open a stream with. A refused token
// fails a call, which then gets a new one, but a stream tells of it too late.
const tokenTrust = time.Minute

const (
	maxPEMBytes      = 1 << 20 // of a file of certificates or a key; bundles of authorities have some hundred KiB
	maxPasswordBytes = 4 << 10
)

// mostDoubt bounds how rarely a token is replaced while calls go unanswered.
const mostDoubt = 16 * time.Minute

// unary is a grpc.UnaryClientInterceptor. A call whose token was refused has
// done nothing yet, so it is made once more with a new one.
func (l *login) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if method == pb.Auth_Authenticate_FullMethodName {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	for again := false; ; again = true {
		token, err := l.get(ctx, conn, 0)
		if err != nil {
			return err
		}
		err = invoke(withToken(ctx, token), method, request, reply, conn, options...)
		if !tokenRefused(err) {
			l.answered(token, err)
			return err
		}
		l.forget(token)
		if again {
			return err
		}
	}
}

// stream is a grpc.StreamClientInterceptor.
func (l *login) stream(ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	token, err := l.get(ctx, conn, tokenTrust)
	if err != nil {
		return nil, err
	}
	return open(withToken(ctx, token), description, conn, method, options...)
}

// get gives a token, at most trust old (0: of any age), logging in if need be.
func (l *login) get(ctx context.Context, conn *grpc.ClientConn, trust time.Duration) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known && !l.replace && (trust == 0 || time.Since(l.since) < trust) {
		return l.token, nil
	}
	password, err := readPassword(l.passwordFile)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	answer, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: l.user, Password: password})
	if err != nil && !says(err, rpctypes.ErrGRPCAuthNotEnabled) {
		// That no answer came says nothing of the token that is there. Without it each call would be a
		// login, where etcd is too busy for one already.
		l.known, l.replace = l.known && unanswered(err), false
		return "", err
	}
	l.token, l.known, l.replace, l.since = answer.GetToken(), true, false, time.Now()
	return l.token, nil
}

func (l *login) forget(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == token {
		l.known = false
	}
}

// answered notes whether etcd answered a call with the token. A token of etcd's own kind names the
// raft index at which it was given, and etcd lets calls with it wait until it has come as far: one
// that was restored from a backup, or began anew, does not refuse the tokens of before, but never
// answers. So a token that brought no answer is replaced. That costs etcd a password check, which is
// slow by design, so while it is of no use, as where etcd is frozen or overloaded, it is done ever
// more rarely.
func (l *login) answered(token string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.doubt = 0
	case unanswered(err) && l.known && !l.replace && l.token == token && token != "" && time.Since(l.since) >= tokenTrust && time.Since(l.asked) >= l.doubt:
		l.replace, l.asked = true, time.Now()
		l.doubt = min(max(tokenTrust, 2*l.doubt), mostDoubt)
	}
}

// unanswered says whether the time of a call ran out.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

func tokenRefused(err error) bool {
	return says(err, rpctypes.ErrGRPCInvalidAuthToken) || says(err, rpctypes.ErrGRPCAuthOldRevision) || says(err, rpctypes.ErrGRPCUserEmpty)
}

func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
}

// readPassword reads a password file: its first and only line.
func readPassword(path string) (string, error) {
	content, err := files.Read(path, maxPasswordBytes)
	if err != nil {
		return "", fmt.Errorf("etcd password (--etcd-password-file): %w", err)
	}
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return "", fmt.Errorf("etcd password (--etcd-password-file): %s must hold one line, the password", path)
	}
	return password, nil
}
