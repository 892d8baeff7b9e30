package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/bench/load"
	"gridrouter.io/bench/report"
	"gridrouter.io/cmd/flags"
)

// loadFlags are the flags of "gridbench load".
type loadFlags struct {
	config            load.Config
	arrivals          string
	host, hostsFile   string
	hosts, keys       int
	key, keysFile     string
	hostZipf, keyZipf float64
	ca                string
	insecure          bool
	expectHeader      string
	expectBody        string
	output, html      string
	quiet             bool
	url               *url.URL
}

// newLoadCommand returns "gridbench load".
func newLoadCommand() *cobra.Command {
	f := &loadFlags{}
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Make HTTP load, check every answer, and measure latency",
		Long: `Sends requests to URL (http or https; ws or wss for WebSocket messages) and measures what comes back:
as fast as answers come, or with --rate at the times of a schedule, whatever the answers do. Latency
counts from when a request was due, so that a stall is seen by every request it would have met.

Every answer is checked: its status always, a field (--expect-header), the body (--expect-body), and
the receipt of what was sent (--expect-receipt) where that is asked for. With several values, the one
belongs to the request's host: host number N has value N modulo their number.

Names of hosts and keys are a pattern, in which {} stands for a number from 0 and {7} for one of seven
digits, or the lines of a file. They are drawn evenly, or with --host-zipf and --key-zipf such that few
are asked for often.`,
		Example: `  gridbench load http://127.0.0.1:8080/hello --host shop.acme.example --duration 10s
  gridbench load http://127.0.0.1:8080/ --host 't{7}.example' --hosts 1000000 --rate 20000 --arrivals poisson --html report.html
  gridbench load https://127.0.0.1:8443/ --insecure --per-connection 1 --connections 32 --duration 5s
  gridbench load ws://127.0.0.1:8080/echo --message-bytes 128 --duration 5s`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return flags.Usagef("%d URLs are given; write one, such as http://127.0.0.1:8080/", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fs, c := cmd.Flags(), &f.config
	fs.IntVarP(&c.Connections, "connections", "c", 64, "keep `N` connections open")
	fs.IntVar(&c.PerConnection, "per-connection", 0, "make a new connection after `N` requests (default never)")
	fs.Float64Var(&c.Rate, "rate", 0, "open loop: `N` requests a second are due (default as fast as answers come)")
	fs.StringVar(&f.arrivals, "arrivals", string(load.Constant), "how they are spread: constant or poisson")
	fs.DurationVarP(&c.Duration, "duration", "d", 0, "how long is measured (default 10s without --requests)")
	fs.Int64Var(&c.Requests, "requests", 0, "end after `N` requests (default no bound)")
	fs.DurationVar(&c.Warmup, "warmup", 0, "how long load is made before that (default none)")
	fs.DurationVar(&c.Timeout, "timeout", 10*time.Second, "how long a request may take")
	fs.Uint64Var(&c.Seed, "seed", 1, "`SEED` of all chance: the same load again")
	fs.StringVarP(&c.Method, "method", "X", "", "request method (default GET, POST with a body)")
	fs.StringVar(&f.host, "host", "", "`PATTERN` of hosts to ask for (default the URL's)")
	fs.IntVar(&f.hosts, "hosts", 1, "`N` hosts by the pattern")
	fs.StringVar(&f.hostsFile, "hosts-file", "", "`FILE` of hosts, one a line, in place of --host (default none)")
	fs.Float64Var(&f.hostZipf, "host-zipf", 0, "draw hosts by a Zipf distribution of this `EXPONENT`, above 1 (default evenly)")
	fs.BoolVar(&c.HostPerConnection, "host-per-connection", false, "let a connection ask for the same host always")
	fs.StringVar(&c.KeyHeader, "key-header", "", "`FIELD` that carries a key in each request (default none)")
	fs.StringVar(&f.key, "key", "{}", "`PATTERN` of keys")
	fs.IntVar(&f.keys, "keys", 1_000_000, "`N` keys by the pattern")
	fs.StringVar(&f.keysFile, "keys-file", "", "`FILE` of keys, one a line, in place of --key (default none)")
	fs.Float64Var(&f.keyZipf, "key-zipf", 0, "draw keys by a Zipf distribution of this `EXPONENT`, above 1 (default evenly)")
	fs.StringArrayVarP(&c.Headers, "header", "H", nil, "further `FIELD` line, such as 'Accept: */*', repeatable (default none)")
	fs.Int64Var(&c.BodyBytes, "body-bytes", 0, "send a body of `N` bytes with each request (default none)")
	fs.BoolVar(&c.Chunked, "chunked", false, "send it in chunks")
	fs.Int64Var(&c.ReadRate, "read-rate", 0, "read at most `N` bytes of answers a second on a connection (default as fast as they come)")
	fs.Int64Var(&c.WriteRate, "write-rate", 0, "write at most `N` bytes of bodies a second on a connection (default as fast as they are taken)")
	fs.IntVar(&c.MessageBytes, "message-bytes", 128, "size of WebSocket messages, `N` bytes")
	fs.StringVar(&f.ca, "ca", "", "PEM `FILE` of the authorities that certificates are checked against (default the system's)")
	fs.BoolVar(&f.insecure, "insecure", false, "take any certificate")
	fs.IntVar(&c.Expect.Status, "expect-status", 200, "status that is right")
	fs.StringVar(&f.expectHeader, "expect-header", "", "`FIELD: VALUE,...` that is right (default not checked)")
	fs.StringVar(&f.expectBody, "expect-body", "", "`FILE` with the body that is right (default not checked)")
	fs.StringVar(&c.Expect.ReceivedHeader, "expect-receipt", "", "`FIELD` in which the server tells SIZE-CRC32C of the body it received (default not checked)")
	fs.StringVarP(&f.output, "output", "o", "table", "table or json")
	fs.StringVar(&f.html, "html", "", "write a page with plots to `FILE` as well (default none)")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "no line of progress on stderr")
	return cmd
}

func (f *loadFlags) run(ctx context.Context, target string, out, progress io.Writer) error {
	if err := f.complete(target); err != nil {
		return err
	}
	live := liveLine{out: progress}
	if !f.quiet {
		f.config.Progress = live.show
	}
	result, err := load.Run(ctx, f.config)
	live.clear()
	if result == nil {
		return err
	}
	if f.output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = errors.Join(err, encoder.Encode(result))
	} else {
		_, writeErr := io.WriteString(out, report.LoadText(result))
		err = errors.Join(err, writeErr)
	}
	if f.html != "" {
		err = errors.Join(err, writePage(f.html, report.LoadPage("Load on "+target, result, report.DescribeMachine(flags.BuildVersion(version)))))
	}
	switch {
	case err != nil:
		return err
	case result.Failed() > 0:
		return fmt.Errorf("%d of %d requests failed or were answered wrongly", result.Failed(), result.Failed()+result.Requests)
	case result.Requests == 0:
		return errors.New("not one answer came")
	}
	return nil
}

func writePage(name string, page *report.Page) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(page.Write(file), file.Close())
}

// complete makes a configuration of the flags.
func (f *loadFlags) complete(target string) error {
	c := &f.config
	var err error
	if f.url, err = url.Parse(target); err != nil || f.url.Host == "" {
		return flags.Usagef("%q is no URL; write http://HOST:PORT/PATH", target)
	}
	secure := f.url.Scheme == "https" || f.url.Scheme == "wss"
	switch f.url.Scheme {
	case "http", "https":
		c.MessageBytes = 0
	case "ws", "wss":
		c.Expect.Status = 101
	default:
		return flags.Usagef("the scheme %q is none of http, https, ws, wss", f.url.Scheme)
	}
	port := f.url.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[secure]
	}
	c.Addr, c.Path, c.Arrivals = net.JoinHostPort(f.url.Hostname(), port), f.url.RequestURI(), load.Arrivals(f.arrivals)
	if c.Duration == 0 && c.Requests == 0 {
		c.Duration = 10 * time.Second
	}
	if f.host == "" {
		f.host = f.url.Host
	}
	if c.Hosts, err = chosen("host", f.host, f.hosts, f.hostsFile, f.hostZipf); err != nil {
		return err
	}
	if c.KeyHeader != "" {
		if c.Keys, err = chosen("key", f.key, f.keys, f.keysFile, f.keyZipf); err != nil {
			return err
		}
	}
	if f.expectHeader != "" {
		name, values, ok := strings.Cut(f.expectHeader, ":")
		if !ok || strings.TrimSpace(values) == "" {
			return flags.Usagef("--expect-header: %q is not FIELD: VALUE", f.expectHeader)
		}
		c.Expect.Header = name
		for value := range strings.SplitSeq(values, ",") {
			c.Expect.Values = append(c.Expect.Values, strings.TrimSpace(value))
		}
	}
	if f.expectBody != "" {
		body, err := os.ReadFile(f.expectBody)
		if err != nil {
			return flags.Usagef("--expect-body: %v", err)
		}
		c.Expect.Body, c.Expect.BodyBytes, c.Expect.BodySum = true, int64(len(body)), load.Sum(body)
	}
	if secure {
		if c.TLS, err = f.tls(); err != nil {
			return err
		}
	}
	if f.output != "table" && f.output != "json" {
		return flags.Usagef("--output: %q is neither table nor json", f.output)
	}
	if err := c.Check(); err != nil {
		return flags.Usagef("%v", err)
	}
	return nil
}

func (f *loadFlags) tls() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: f.insecure, MinVersion: tls.VersionTLS12} //nolint:gosec // only if it is asked for
	if f.ca == "" {
		return config, nil
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, flags.Usagef("--ca: %v", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, flags.Usagef("--ca: there is no certificate in %s", f.ca)
	}
	return config, nil
}

// chosen makes names of the flags --WHATs, --WHATs-file and --WHAT-zipf.
func chosen(what, pattern string, count int, file string, zipf float64) (load.Names, error) {
	names, err := load.Pattern(pattern, count)
	flag := "--" + what
	if file != "" {
		flag = "--" + what + "s-file"
		var list *os.File
		if list, err = os.Open(file); err == nil {
			names, err = load.List(list)
			_ = list.Close() // it was read
		}
	}
	if err == nil && zipf != 0 {
		flag = "--" + what + "-zipf"
		names, err = names.Zipf(zipf)
	}
	if err != nil {
		return names, flags.Usagef("%s: %v", flag, err)
	}
	return names, nil
}

// liveLine is a line that shows how a run does: on a terminal always the same one.
type liveLine struct {
	out   io.Writer
	shown bool
}

func (l *liveLine) terminal() bool {
	file, ok := l.out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (l *liveLine) show(p load.Progress) {
	text := fmt.Sprintf("%3.0f s  %8.0f answers/s  p50 %s ms  p99 %s ms  %d errors", p.Elapsed.Seconds(), p.Rate,
		report.Number(p.P50.Seconds()*1e3), report.Number(p.P99.Seconds()*1e3), p.Errors)
	if p.Elapsed < 0 {
		text = fmt.Sprintf("warming up, %.0f s to go", -p.Elapsed.Seconds())
	}
	if l.terminal() {
		l.shown = true
		_, _ = fmt.Fprint(l.out, "\r\x1b[K"+text) // nothing depends on it
		return
	}
	_, _ = fmt.Fprintln(l.out, text) // as above
}

func (l *liveLine) clear() {
	if l.shown {
		_, _ = fmt.Fprint(l.out, "\r\x1b[K") // as above
	}
}
