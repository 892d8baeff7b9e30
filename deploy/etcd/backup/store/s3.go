package store

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// partBytes is how much of an object is in memory at a time. S3 allows 10,000 parts.
	partBytes = 16 << 20
	// tries is how often a call is made when the store does not answer; with the pauses between, some
	// seconds.
	tries = 4
	// keysKept is how long keys are used before they are read again.
	keysKept = time.Minute
	// answerWait bounds how long the store may take for the first byte of an answer.
	answerWait = time.Minute
)

// S3Config says which bucket of which server.
type S3Config struct {
	// Endpoint is a URL without a path: http://HOST[:PORT] or https://HOST[:PORT].
	Endpoint string
	// Bucket is there already. Prefix is what names begin with in it, without a "/" at its ends; it may
	// be empty.
	Bucket, Prefix string
	// Region is signed; empty: it is asked for.
	Region string
	// PathStyle puts the bucket into the path of URLs, not into their host: what most servers want but
	// Amazon's.
	PathStyle bool
	// CA holds the authorities (PEM) that the server's certificate is checked against; empty: the
	// system's.
	CA []byte
	// Keys returns access key and secret key. It is called again each minute that they are needed, and
	// may be called by many goroutines.
	Keys func() (access, secret string, err error)
}

// S3 is a store in a bucket.
type S3 struct {
	client    *minio.Client
	transport *http.Transport
	bucket    string
	prefix    string // empty, or with a "/" at its end
}

var _ Store = (*S3)(nil)

// OpenS3 returns a store in a bucket. It makes no contact; the caller closes it.
func OpenS3(c S3Config) (*S3, error) {
	at, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || strings.Trim(at.Path, "/") != "" || at.User != nil:
		return nil, errors.New("the endpoint of the store is no URL of a server; write http://HOST:PORT or https://HOST:PORT")
	case c.Bucket == "":
		return nil, errors.New("the store names no bucket; write s3://BUCKET/PREFIX")
	case c.Keys == nil:
		return nil, errors.New("nothing says access key and secret key")
	}
	if prefix := strings.Trim(c.Prefix, "/"); prefix != "" {
		if err := checkName(prefix); err != nil {
			return nil, fmt.Errorf("the prefix in the bucket: %w", err)
		}
		c.Prefix = prefix + "/"
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout, transport.DisableCompression = answerWait, true
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("the authorities of the store hold no certificate; give a PEM file")
		}
	}
	lookup := minio.BucketLookupDNS
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(at.Host, &minio.Options{
		Creds: credentials.New(&keys{read: c.Keys}), Secure: at.Scheme == "https", Transport: transport,
		Region: c.Region, BucketLookup: lookup, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("S3 store %s: %w", c.Endpoint, err)
	}
	return &S3{client: client, transport: transport, bucket: c.Bucket, prefix: strings.TrimPrefix(c.Prefix, "/")}, nil
}

// Close lets go of idle connections.
func (s *S3) Close() { s.transport.CloseIdleConnections() }

// String is the bucket with the prefix.
func (s *S3) String() string {
	return "s3://" + s.bucket + "/" + s.prefix + " at " + s.client.EndpointURL().Host
}

// Put uploads an object, in parts where its size is not known. Servers that know conditional writes
// refuse to replace an object even when two write at once.
func (s *S3) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if there, err := s.has(ctx, name); err != nil {
		return err
	} else if there {
		return fault(s, "write", name, ErrExists, errors.New("it was looked for"))
	}
	r = &cancelled{ctx, r}
	if size < 0 { // what fits in a part takes one request, and not three
		first := &bytes.Buffer{}
		switch _, err := io.CopyN(first, r, partBytes); {
		case errors.Is(err, io.EOF):
			r, size = first, int64(first.Len())
		case err != nil:
			return s.fault("write", name, err)
		default:
			r = io.MultiReader(first, r)
		}
	}
	// The server compares the MD5 of what arrives; signed chunks are not understood by all servers.
	options := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: partBytes, SendContentMd5: true, DisableContentSha256: true}
	options.SetMatchETagExcept("*")
	if _, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, r, size, options); err != nil {
		return s.fault("write", name, err)
	}
	return nil
}

// has looks for an object by listing, since a listing says in its answer why it fails, and a HEAD does not.
func (s *S3) has(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	one, found := <-s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + name, Recursive: true, MaxKeys: 1})
	switch {
	case found && one.Err != nil:
		return false, s.fault("write", name, one.Err)
	case found:
		return one.Key == s.prefix+name, nil // it is before all that begin with it
	case ctx.Err() != nil:
		return false, s.fault("write", name, ctx.Err())
	}
	return false, nil
}

// Get asks for an object.
func (s *S3) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	core := minio.Core{Client: s.client}
	body, _, _, err := core.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, s.fault("read", name, err)
	}
	return body, nil
}

// List asks for all names.
func (s *S3) List(ctx context.Context, prefix string) (objects []Object, err error) {
	ctx, cancel := context.WithCancel(ctx) // ends the listing wherever it is left
	defer cancel()
	for one := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
		if one.Err != nil {
			return nil, s.fault("list", "", one.Err)
		}
		if name := strings.TrimPrefix(one.Key, s.prefix); checkName(name) == nil {
			objects = append(objects, Object{Name: name, Size: one.Size, Modified: one.LastModified.UTC()})
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, s.fault("list", "", err)
	}
	return objects, nil
}

// Delete removes an object.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}); err != nil && !isMissing(err) {
		return s.fault("delete", name, err)
	}
	return nil
}

// Sweep ends uploads of parts that were begun before a time, which cost their space until then.
func (s *S3) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	core := minio.Core{Client: s.client}
	for upload := range s.client.ListIncompleteUploads(ctx, s.bucket, s.prefix, true) {
		if isMissing(upload.Err) {
			return removed, nil // some servers say that there is none in this way
		}
		if upload.Err != nil {
			return removed, s.fault("sweep", "", upload.Err)
		}
		if !upload.Initiated.Before(before) {
			continue
		}
		if err := core.AbortMultipartUpload(ctx, s.bucket, upload.Key, upload.UploadID); err != nil && !isMissing(err) {
			return removed, s.fault("sweep", "", err)
		}
		removed++
	}
	return removed, nil
}

// keys gives the client the keys, and reads them again now and then, so that they can be renewed.
type keys struct {
	read func() (access, secret string, err error)
	at   time.Time
}

// Retrieve reads the keys. The client calls it, and IsExpired, under a lock.
func (k *keys) Retrieve() (credentials.Value, error) { return k.RetrieveWithCredContext(nil) }

// RetrieveWithCredContext is Retrieve.
func (k *keys) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	access, secret, err := k.read()
	if err != nil {
		return credentials.Value{}, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	k.at = time.Now()
	return credentials.Value{AccessKeyID: access, SecretAccessKey: secret, SignerType: credentials.SignatureV4}, nil
}

// IsExpired says that it is time to read them again.
func (k *keys) IsExpired() bool { return time.Since(k.at) > keysKept }
