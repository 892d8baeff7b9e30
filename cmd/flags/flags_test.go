package flags_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

// outcome is what a run of the command below left behind.
type outcome struct {
	status         int
	stdout, stderr string
	listen         []string
	delay          time.Duration
	count          int
	on             bool
	etcd           flags.Etcd
	ran            string
}

// run runs a command "tool" with subcommands "serve", which has flags of several types,
// "other", which has one more, and "group", which only holds "sub".
func run(t *testing.T, args ...string) outcome {
	t.Helper()
	var out outcome
	root := &cobra.Command{Use: "tool"}
	serve := &cobra.Command{Use: "serve", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		out.ran = "serve"
		return nil
	}}
	serve.Flags().StringSliceVar(&out.listen, "listen", []string{":8080"}, "listeners")
	serve.Flags().DurationVar(&out.delay, "drain-delay", time.Second, "delay")
	serve.Flags().IntVar(&out.count, "count", 1, "count")
	serve.Flags().BoolVar(&out.on, "on", false, "on")
	serve.Flags().StringSlice("listen-tls", nil, "TLS listeners")
	serve.Flags().String("snapshot", "off", "snapshot")
	flags.Refuse(serve.Flags(), "listen-tls", "snapshot")
	out.etcd.Register(serve.Flags())
	other := &cobra.Command{Use: "other", RunE: func(_ *cobra.Command, args []string) error {
		out.ran = "other"
		if len(args) > 0 && args[0] == "usage" {
			return fmt.Errorf("wrapped: %w", flags.Usagef("--zone: bad\n\n  really; mend it"))
		}
		return errors.New("the disk is full")
	}}
	other.Flags().String("zone", "", "zone")
	group := &cobra.Command{Use: "group"}
	group.AddCommand(&cobra.Command{Use: "sub", RunE: func(*cobra.Command, []string) error { return nil }})
	root.AddCommand(serve, other, group)
	flags.Bind(root, "TOOL_")
	var stdout, stderr bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	out.status = flags.Main(context.Background(), root)
	out.stdout, out.stderr = stdout.String(), stderr.String()
	return out
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	config := writeConfig(t, "drain-delay: 3s\ncount: 3\nlisten: [':1', ':2']\non: true\nzone: of another command\n")
	t.Setenv("TOOL_DRAIN_DELAY", "2s")
	t.Setenv("TOOL_COUNT", "2")
	t.Setenv("TOOL_ON", "")
	out := run(t, "serve", "--config", config, "--count", "1")
	if out.status != 0 || out.stderr != "" || out.ran != "serve" {
		t.Fatalf("got %+v", out)
	}
	if out.count != 1 || out.delay != 2*time.Second || !out.on || fmt.Sprint(out.listen) != "[:1 :2]" {
		t.Errorf("count %d, delay %s, on %v, listen %v", out.count, out.delay, out.on, out.listen)
	}
	t.Setenv("TOOL_CONFIG", config)
	t.Setenv("TOOL_LISTEN", ":3,:4")
	if out = run(t, "serve"); out.count != 2 || fmt.Sprint(out.listen) != "[:3 :4]" {
		t.Errorf("count %d, listen %v", out.count, out.listen)
	}
}

func TestDefaultsStayWhereNothingIsGiven(t *testing.T) {
	out := run(t, "serve")
	if out.status != 0 || fmt.Sprint(out.listen) != "[:8080]" || out.delay != time.Second || out.etcd.Prefix != "/gridrouter/" || out.etcd.Given() {
		t.Errorf("got %+v", out)
	}
}

func TestFaultsAreOneLineAndAStatus(t *testing.T) {
	f := func(status int, want string, args ...string) {
		t.Helper()
		out := run(t, args...)
		if out.status != status || !strings.Contains(out.stderr, want) || strings.Count(out.stderr, "\n") != 1 || !strings.HasPrefix(out.stderr, "tool: ") {
			t.Errorf("tool %v: status %d, %q; want %d and one line with %q", args, out.status, out.stderr, status, want)
		}
		if out.stdout != "" {
			t.Errorf("tool %v: wrote %q", args, out.stdout)
		}
	}
	f(1, "the disk is full", "other")
	f(2, "wrapped: --zone: bad; really; mend it", "other", "usage")
	f(2, `unknown command "sevre"; write one of group, other, serve`, "sevre")
	f(2, `unknown command "x"; write one of sub`, "group", "x")
	f(2, `unknown command "x"`, "serve", "x")
	f(2, "unknown flag --lisen; did you mean --listen?", "serve", "--lisen", ":1")
	f(2, "unknown flag --bogus-name; see tool serve --help", "serve", "--bogus-name")
	f(2, "unknown flag -x", "serve", "-x")
	f(2, "--listen needs a value", "serve", "--listen")
	f(2, `--drain-delay: "5" is not a duration; write a number and a unit`, "serve", "--drain-delay", "5")
	f(2, `--count: "many" is not a whole number`, "serve", "--count", "many")
	f(2, `--on: "maybe" is neither true nor false`, "serve", "--on=maybe")
	f(2, "--listen-tls is not supported yet; leave it out", "serve", "--listen-tls", ":8443")
	f(2, "--snapshot is not supported yet", "serve", "--snapshot", "x.snap")
}

func TestRefusedFlagsTakeTheirDefault(t *testing.T) {
	if out := run(t, "serve", "--snapshot", "off"); out.status != 0 {
		t.Errorf("got %+v", out)
	}
}

func TestEnvironmentFaultsNameTheVariable(t *testing.T) {
	t.Setenv("TOOL_DRAIN_DELAY", "soon")
	if out := run(t, "serve"); out.status != 2 || !strings.Contains(out.stderr, `TOOL_DRAIN_DELAY: "soon" is not a duration`) {
		t.Errorf("got %d, %q", out.status, out.stderr)
	}
	if out := run(t, "serve", "--drain-delay", "1s"); out.status != 0 {
		t.Errorf("a flag that beats the variable: got %d, %q", out.status, out.stderr)
	}
	t.Setenv("TOOL_DRAIN_DELAY", "")
	t.Setenv("TOOL_LISTEN_TLS", ":1")
	if out := run(t, "serve"); out.status != 2 || !strings.Contains(out.stderr, "--listen-tls is not supported yet") {
		t.Errorf("got %d, %q", out.status, out.stderr)
	}
}

func TestConfigFileFaultsNameTheLine(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		name := writeConfig(t, text)
		out := run(t, "serve", "--config", name)
		if want == "" {
			if out.status != 0 {
				t.Errorf("%q: got %d, %q", text, out.status, out.stderr)
			}
			return
		}
		want = strings.ReplaceAll(want, "FILE", name)
		if out.status != 2 || !strings.Contains(out.stderr, want) || strings.Count(out.stderr, "\n") != 1 {
			t.Errorf("%q: got %d, %q; want %q", text, out.status, out.stderr, want)
		}
	}
	f("", "")
	f("# nothing\n", "")
	f("---\n", "")
	f("listen: ':1'\n", "")
	f("listen: []\n", "")
	f("count: 1\nweather: x\n", `FILE:2: unknown name "weather"; see tool serve --help`)
	f("lisen: x\n", `FILE:1: unknown name "lisen"; did you mean --listen?`)
	f("count: 1\n\ncount: 2\n", `FILE:3: "count" is given twice`)
	f("count: many\n", `FILE:1: count: "many" is not a whole number`)
	f("count:\n", "FILE:1: count: is not a plain value")
	f("count: [1]\n", "count: is not a plain value")
	f("listen: {a: b}\n", "neither a value nor a list")
	f("listen: [[a]]\n", "an item is not a plain value")
	f("config: other.yaml\n", `"config" cannot be set here`)
	f("- count\n", "FILE:1: is not a list of settings")
	f("count: 1\n---\ncount: 2\n", "more than one document")
	f("count: [\n", "FILE: yaml")
	f("listen-tls: ':1'\n", "--listen-tls is not supported yet")
	f("x: "+strings.Repeat("y", 1<<20), "more than 1048576 bytes")
}

func TestAMissingConfigFileIsRefused(t *testing.T) {
	if out := run(t, "serve", "--config", filepath.Join(t.TempDir(), "no")); out.status != 2 || !strings.Contains(out.stderr, "--config: open") {
		t.Errorf("got %d, %q", out.status, out.stderr)
	}
}

func TestHelpShowsNoErrorAndStatesDefaults(t *testing.T) {
	for _, args := range [][]string{{}, {"group"}, {"help", "serve"}, {"serve", "--help"}} {
		out := run(t, args...)
		if out.status != 0 || out.stderr != "" || !strings.Contains(out.stdout, "Usage:") {
			t.Errorf("tool %v: got %+v", args, out)
		}
	}
	out := run(t, "serve", "--help")
	for _, want := range []string{"--drain-delay", "(default 1s)", "--etcd URL", "(not supported yet)", "TOOL_"} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("the help lacks %q:\n%s", want, out.stdout)
		}
	}
}

func TestEtcdFlagsAreChecked(t *testing.T) {
	file := writeConfig(t, "secret")
	f := func(e flags.Etcd, want string) {
		t.Helper()
		if e.Prefix == "" {
			e.Prefix = flags.DefaultPrefix
		}
		config, err := e.ClientConfig()
		switch {
		case want == "" && (err != nil || fmt.Sprint(config.Endpoints) != fmt.Sprint(e.Endpoints)):
			t.Errorf("%+v: got %+v, %v", e, config, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || flags.Exit(err) != flags.ExitUsage):
			t.Errorf("%+v: got %v; want %q", e, err, want)
		}
	}
	one := []string{"http://127.0.0.1:2379"}
	f(flags.Etcd{Endpoints: one}, "")
	f(flags.Etcd{Endpoints: []string{"https://a.example:2379", "https://[::1]:2379/"}, Cert: file, Key: file, CA: file, User: "u", PasswordFile: file}, "")
	f(flags.Etcd{}, "--etcd is missing")
	f(flags.Etcd{Endpoints: []string{"127.0.0.1:2379"}}, "http://HOST:PORT")
	f(flags.Etcd{Endpoints: []string{"http://127.0.0.1"}}, "http://HOST:PORT")
	f(flags.Etcd{Endpoints: []string{"ftp://127.0.0.1:1"}}, "http://HOST:PORT")
	f(flags.Etcd{Endpoints: []string{"http://user:secret@127.0.0.1:1"}}, "http://HOST:PORT")
	f(flags.Etcd{Endpoints: one, Cert: file}, "--etcd-cert and --etcd-key go together")
	f(flags.Etcd{Endpoints: one, User: "u"}, "--etcd-user and --etcd-password-file go together")
	f(flags.Etcd{Endpoints: one, CA: file + "x"}, "--etcd-ca: open")
	f(flags.Etcd{Endpoints: one, Prefix: "/a"}, `write "/a/"`)
	f(flags.Etcd{Endpoints: one, Prefix: "a/"}, `write "/a/"`)
	f(flags.Etcd{Endpoints: one, Prefix: "/a//b/"}, "empty part")
	f(flags.Etcd{Endpoints: one, Prefix: "/"}, "--prefix")
}

func TestSecretsOfEtcdFlagsAreNotShown(t *testing.T) {
	e := flags.Etcd{Endpoints: []string{"http://user:hunter2@127.0.0.1:1"}, Prefix: flags.DefaultPrefix}
	if err := e.Check(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestOneSourceOfDocumentsIsGiven(t *testing.T) {
	f := func(endpoints []string, routes, want string) {
		t.Helper()
		err := flags.CheckSource(&flags.Etcd{Endpoints: endpoints, Prefix: flags.DefaultPrefix}, routes)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v and %q: got %v; want %q", endpoints, routes, err, want)
		}
	}
	f([]string{"http://127.0.0.1:1"}, "", "")
	f(nil, "dir", "")
	f([]string{"http://127.0.0.1:1"}, "dir", "--etcd and --routes")
	f(nil, "", "no source")
}

func FuzzConfigFile(f *testing.F) {
	f.Add("drain-delay: 3s\nlisten: [':1', ':2']\non: true\n")
	f.Add("a: &a [*a]\n")
	f.Add("? [x]\n: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		out := run(t, "serve", "--config", writeConfig(t, text))
		if out.status != 0 && (out.status != 2 || strings.Count(out.stderr, "\n") != 1) {
			t.Fatalf("got %+v", out)
		}
	})
}

// statusError is an error with an exit status of its own.
type statusError int

func (s statusError) Error() string   { return "no luck" }
func (s statusError) ExitStatus() int { return int(s) }

func TestAnErrorMayHaveAnExitStatusOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, flags.ExitClean},
		{errors.New("no luck"), flags.ExitFault},
		{flags.Usagef("write it so"), flags.ExitUsage},
		{statusError(41), 41},
		{fmt.Errorf("today: %w", statusError(42)), 42},
	} {
		root := &cobra.Command{Use: "tool", RunE: func(*cobra.Command, []string) error { return c.err }}
		root.SetArgs([]string{})
		root.SetErr(io.Discard)
		flags.Bind(root, "TOOL_")
		if got := flags.Main(t.Context(), root); got != c.want {
			t.Errorf("%v ends with status %d, want %d", c.err, got, c.want)
		}
	}
}
