package store_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/backup/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const access, secret = "the-access-key", "the-secret-key"

// s3Server is a server that speaks S3, with one bucket, "backups". It knows one access key; refuse, if it
// says a code, has requests answered by that.
type s3Server struct {
	*httptest.Server
	mu     sync.Mutex
	refuse func(r *http.Request) (status int, code string)
}

func startS3(t testing.TB, tls bool) *s3Server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	s := &s3Server{}
	speaks := gofakes3.New(backend).Server()
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		refuse := s.refuse
		s.mu.Unlock()
		status, code := 0, ""
		if refuse != nil {
			status, code = refuse(r)
		}
		if code == "" && !strings.Contains(r.Header.Get("Authorization"), "Credential="+access+"/") {
			status, code = http.StatusForbidden, "InvalidAccessKeyId"
		}
		if code == "" {
			speaks.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused</Message></Error>", code)
	})
	s.Server = httptest.NewUnstartedServer(serve)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *s3Server) refuses(refuse func(r *http.Request) (int, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

func (s *s3Server) config() store.S3Config {
	return store.S3Config{
		Endpoint: s.URL, Bucket: "backups", Prefix: "a/b", Region: "here", PathStyle: true,
		Keys: func() (string, string, error) { return access, secret, nil },
	}
}

func open(t testing.TB, c store.S3Config) *store.S3 {
	t.Helper()
	s, err := store.OpenS3(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// each runs a test with each kind of store.
func each(t *testing.T, test func(t *testing.T, s store.Store)) {
	t.Run("folder", func(t *testing.T) { test(t, folder(t, t.TempDir())) })
	t.Run("S3", func(t *testing.T) { test(t, open(t, startS3(t, false).config())) })
	t.Run("S3 over TLS", func(t *testing.T) {
		server := startS3(t, true)
		c := server.config()
		c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		test(t, open(t, c))
	})
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	t.Cleanup(cancel)
	return ctx
}

func TestObjectsAreAsTheyWerePut(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := patient(t)
		large := bytes.Repeat([]byte("0123456789abcdef"), 18<<16) // more than a part
		objects := map[string][]byte{"x/large": large, "x/byte": {0}, "x/small": []byte("1"), "y/z/deep": []byte("2"), "x/small2": []byte("3")}
		for name, data := range objects {
			if err := s.Put(ctx, name, iotest.OneByteReader(bytes.NewReader(data[:min(len(data), 4)])), -1); len(data) < 5 && err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Delete(ctx, "x/large"); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(ctx, "x/large", bytes.NewReader(large), -1); err != nil {
			t.Fatal(err)
		}
		for name, data := range objects {
			if read, err := store.GetBytes(ctx, s, name, int64(len(data))); err != nil || !bytes.Equal(read, data) {
				t.Errorf("%s: %d bytes, %v", name, len(read), err)
			}
		}
		if _, err := store.GetBytes(ctx, s, "x/large", 100); err == nil {
			t.Error("more than the limit is read")
		}
		for prefix, want := range map[string]string{"": "x/byte x/large x/small x/small2 y/z/deep", "x/": "x/byte x/large x/small x/small2", "x/small": "x/small x/small2", "z": ""} {
			listed, err := s.List(ctx, prefix)
			var names []string
			for _, one := range listed {
				names = append(names, one.Name)
				if one.Size != int64(len(objects[one.Name])) || time.Since(one.Modified).Abs() > time.Hour {
					t.Errorf("%+v", one)
				}
			}
			if got := strings.Join(names, " "); err != nil || got != want {
				t.Errorf("%q: %q, %v", prefix, got, err)
			}
		}
	})
}

func TestNoObjectIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := patient(t)
		if err := store.PutBytes(ctx, s, "a/b", []byte("first")); err != nil {
			t.Fatal(err)
		}
		if err := store.PutBytes(ctx, s, "a/b", []byte("first")); err != nil {
			t.Errorf("the same once more: %v", err)
		}
		for _, other := range []string{"other", "firsd", "first and more"} {
			if err := store.PutBytes(ctx, s, "a/b", []byte(other)); !errors.Is(err, store.ErrExists) {
				t.Errorf("%s: %v", other, err)
			}
		}
		if read, err := store.GetBytes(ctx, s, "a/b", 10); err != nil || string(read) != "first" {
			t.Errorf("%q, %v", read, err)
		}
	})
}

func TestOfManyWritersOfOneNameOneWins(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := patient(t)
		const writers = 8
		errs := make(chan error, writers)
		for i := range writers {
			go func() { errs <- s.Put(ctx, "a/b", strings.NewReader(fmt.Sprint(i)), 1) }()
		}
		won := 0
		for range writers {
			if err := <-errs; err == nil {
				won++
			} else if !errors.Is(err, store.ErrExists) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	})
}

func TestWhatFailsMidwayLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := patient(t)
		broken := errors.New("the source broke off")
		half := io.MultiReader(bytes.NewReader(make([]byte, 17<<20)), iotest.ErrReader(broken))
		if err := s.Put(ctx, "a/b", half, -1); !errors.Is(err, broken) {
			t.Errorf("it ends with %v", err)
		}
		if listed, err := s.List(ctx, ""); err != nil || len(listed) > 0 {
			t.Errorf("%v, %v", listed, err)
		}
		if n, err := s.Sweep(ctx, time.Now().Add(time.Hour)); err != nil || n != 0 {
			t.Errorf("%d halves are left, %v", n, err)
		}
		ended, end := context.WithCancel(ctx)
		end()
		if err := s.Put(ended, "a/b", strings.NewReader("1"), 1); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestWhatIsNotThereIsSaidAndDeletedAtEase(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := patient(t)
		if _, err := s.Get(ctx, "a/b"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("read: %v", err)
		}
		if err := s.Delete(ctx, "a/b"); err != nil {
			t.Errorf("delete: %v", err)
		}
		for _, name := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a b", "a\x00"} {
			if err := s.Put(ctx, name, strings.NewReader(""), 0); err == nil {
				t.Errorf("%q is taken for a name", name)
			}
		}
	})
}

// wants tries all that can be done with a store, and wants errors of one kind that tell no secret.
func wants(t *testing.T, s store.Store, kind error) {
	t.Helper()
	ctx := patient(t)
	_, getErr := s.Get(ctx, "a/b")
	_, listErr := s.List(ctx, "")
	for did, err := range map[string]error{"write": s.Put(ctx, "a/b", strings.NewReader("1"), 1), "stream": s.Put(ctx, "a/b", strings.NewReader("1"), -1), "read": getErr, "list": listErr} {
		if !errors.Is(err, kind) {
			t.Errorf("%s: %v", did, err)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret key: %v", did, err)
		}
	}
}

func TestErrorsOfS3SayWhichTheyAre(t *testing.T) {
	t.Run("unreachable", func(t *testing.T) {
		c := startS3(t, false).config()
		c.Endpoint = "http://" + testkit.FreeAddr(t)
		wants(t, open(t, c), store.ErrUnreachable)
	})
	t.Run("unknown authority", func(t *testing.T) {
		wants(t, open(t, startS3(t, true).config()), store.ErrUnreachable)
	})
	t.Run("wrong credentials", func(t *testing.T) {
		c := startS3(t, false).config()
		c.Keys = func() (string, string, error) { return "another", secret, nil }
		wants(t, open(t, c), store.ErrCredentials)
	})
	t.Run("no credentials", func(t *testing.T) {
		c := startS3(t, false).config()
		c.Keys = func() (string, string, error) { return "", "", errors.New("the file is gone") }
		wants(t, open(t, c), store.ErrCredentials)
	})
	t.Run("no bucket", func(t *testing.T) {
		c := startS3(t, false).config()
		c.Bucket = "absent"
		wants(t, open(t, c), store.ErrNoBucket)
	})
	for code, kind := range map[string]error{"AccessDenied": store.ErrForbidden, "SignatureDoesNotMatch": store.ErrCredentials} {
		t.Run(code, func(t *testing.T) {
			server := startS3(t, false)
			server.refuses(func(*http.Request) (int, string) { return http.StatusForbidden, code })
			wants(t, open(t, server.config()), kind)
		})
	}
	for code, status := range map[string]int{"XMinioStorageFull": http.StatusInsufficientStorage, "QuotaExceeded": http.StatusForbidden} {
		t.Run(code, func(t *testing.T) {
			server := startS3(t, false)
			server.refuses(func(r *http.Request) (int, string) {
				if r.Method == http.MethodPut || r.Method == http.MethodPost {
					return status, code
				}
				return 0, ""
			})
			s := open(t, server.config())
			for _, size := range []int64{1, -1} {
				if err := s.Put(patient(t), "a/b", strings.NewReader("1"), size); !errors.Is(err, store.ErrNoSpace) {
					t.Errorf("size %d: %v", size, err)
				}
			}
		})
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	server := startS3(t, false)
	c := server.config()
	var mu sync.Mutex
	reads := 0
	c.Keys = func() (string, string, error) {
		mu.Lock()
		defer mu.Unlock()
		if reads++; reads == 1 {
			return "", "", errors.New("not there yet")
		}
		return access, secret, nil
	}
	s := open(t, c)
	if _, err := s.List(patient(t), ""); !errors.Is(err, store.ErrCredentials) {
		t.Errorf("at first: %v", err)
	}
	if _, err := s.List(patient(t), ""); err != nil {
		t.Errorf("then: %v", err)
	}
}

func TestBadSettingsOfS3AreRefused(t *testing.T) {
	good := store.S3Config{Endpoint: "http://127.0.0.1:1", Bucket: "b", Keys: func() (string, string, error) { return "", "", nil }}
	for what, change := range map[string]func(*store.S3Config){
		"no endpoint":    func(c *store.S3Config) { c.Endpoint = "" },
		"no scheme":      func(c *store.S3Config) { c.Endpoint = "127.0.0.1:1" },
		"another scheme": func(c *store.S3Config) { c.Endpoint = "ftp://127.0.0.1" },
		"a path":         func(c *store.S3Config) { c.Endpoint = "http://127.0.0.1/x" },
		"a user":         func(c *store.S3Config) { c.Endpoint = "http://u:p@127.0.0.1" },
		"no bucket":      func(c *store.S3Config) { c.Bucket = "" },
		"a bad prefix":   func(c *store.S3Config) { c.Prefix = "../x" },
		"no authority":   func(c *store.S3Config) { c.CA = []byte("x") },
		"no keys":        func(c *store.S3Config) { c.Keys = nil },
	} {
		c := good
		change(&c)
		if s, err := store.OpenS3(c); err == nil {
			s.Close()
			t.Errorf("%s: it is taken", what)
		}
	}
	if s, err := store.OpenS3(good); err != nil {
		t.Error(err)
	} else {
		s.Close()
	}
}
