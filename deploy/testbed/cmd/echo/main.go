// Command echo is a small HTTP server for tests of the testbed: it tells who it is and what it
// sees, and does on request what a test wants to see handled.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// version is set by the linker.
var version = "none"

func main() {
	listen := flag.String("listen", ":8080", "where to listen")
	listenTLS := flag.String("listen-tls", "", "where to listen for HTTPS too, with a certificate that nobody knows")
	delay := flag.Duration("delay", 0, "how long each answer to GET / takes")
	exit := flag.Int("exit", -1, "end at once with this status")
	linger := flag.Duration("linger", 0, "how long to go on after SIGTERM")
	exists := flag.String("exists", "", "end at once with status 0 if this file exists, else 1; for probes")
	copyTo := flag.String("copy-to", "", "copy this program into this folder and end; for containers of another image, which share the folder")
	flag.Parse()
	if *copyTo != "" {
		if err := copySelf(*copyTo); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
			os.Exit(1)
		}
		return
	}
	if *exists != "" {
		if _, err := os.Stat(*exists); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	fmt.Println("echo", version, "starts")
	if *exit >= 0 {
		os.Exit(*exit)
	}
	if err := serve(*listen, *listenTLS, *linger, *delay); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// copySelf copies this program into a folder, under the name echo.
func copySelf(folder string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "echo"), program, 0o755) //nolint:gosec // programs of any user run it
}

// serve serves until SIGTERM, goes on for as long as linger says, and ends when all requests are
// answered.
func serve(listen, listenTLS string, linger, delay time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: listen, Handler: handler(delay), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- server.ListenAndServe() }()
	if listenTLS != "" {
		go func() { failed <- serveTLS(server, listenTLS) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Println("SIGTERM received")
	time.Sleep(linger)
	if err := server.Shutdown(context.Background()); err != nil {
		return err
	}
	// The kubelet shows it in the container's status.
	err := os.WriteFile("/dev/termination-log", []byte("ended in order"), 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Identity is the answer to GET /.
type Identity struct {
	Version  string `json:"version"`
	Pod      string `json:"pod"`
	Node     string `json:"node"`
	Address  string `json:"address"`
	Hostname string `json:"hostname"`
	PID      int    `json:"pid"`
	UID      int    `json:"uid"`
}

func handler(delay time.Duration) http.Handler {
	var unready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(delay)
		hostname, _ := os.Hostname() // an empty one says it
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Identity{
			Version: version, Pod: os.Getenv("POD_NAME"), Node: os.Getenv("NODE_NAME"), Address: os.Getenv("POD_IP"),
			Hostname: hostname, PID: os.Getpid(), UID: os.Getuid(),
		})
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if unready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /ready/{state}", func(_ http.ResponseWriter, r *http.Request) {
		unready.Store(r.PathValue("state") == "off")
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(r.FormValue("path"))
		answer(w, text, err)
	})
	mux.HandleFunc("POST /file", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, os.WriteFile(r.FormValue("path"), []byte(r.FormValue("text")), 0o600))
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) {
		answer(w, []byte(os.Getenv(r.FormValue("name"))), nil)
	})
	mux.HandleFunc("GET /resolve", func(w http.ResponseWriter, r *http.Request) {
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.FormValue("name"))
		answer(w, fmt.Append(nil, addresses), err)
	})
	answers := &answers{byPath: map[string]string{}}
	mux.HandleFunc("POST /answers", answers.store)
	mux.HandleFunc("GET /", answers.give)
	mux.HandleFunc("POST /exit", func(_ http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			code = 1
		}
		os.Exit(code)
	})
	return mux
}

func answer(w http.ResponseWriter, text []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(text) //nolint:gosec // plain text; if it cannot be written, who asked has gone
}
