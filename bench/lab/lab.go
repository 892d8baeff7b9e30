package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config describes a grid.
type Config struct {
	// Bin is the folder that holds gridrouter, gridctl and griddev: see [Build].
	Bin string
	// Net is the block of loopback addresses, as its first three numbers. Empty: a block
	// that no other grid uses.
	Net string
	// Data is the folder that keeps etcd's data and the log files. Empty: a temporary
	// folder, removed by [Grid.Stop].
	Data string
	// Documents are YAML or JSON files, written for [DefaultNet], that are applied at the
	// first start on a data folder. Nil: none.
	Documents fs.FS
	// RouterFlags are further flags of "gridrouter serve".
	RouterFlags []string
	// Routers is how many routers there are, nine at most. 0: two.
	Routers int
	// Via returns the address (host:port) at which a router, or GSLB, reaches etcd, or a
	// router GSLB, given that one's own: for a relay between the two, which cuts and delays.
	// It is asked once for each pair, before anything is started. Nil: each is reached
	// directly.
	Via func(part, address string) string
	// Login returns the user and the file of the password with which a part that asks etcd,
	// or [Ctl], logs in to it. etcd lets them in as well while it has its authentication off,
	// as it has at first. Nil: they do not log in.
	Login func(part string) (user, passwordFile string)
	// Verbose receives every line that a part writes, with the part's name in front.
	// Nil: they go to the log files only.
	Verbose io.Writer
	// Events is told of each part's start and end, one call at a time. It must not call
	// the grid back. Nil: nobody is told.
	Events func(Event)
	// KillNow, once closed, makes a stop kill the parts instead of asking them. Nil: never.
	KillNow <-chan struct{}
}

// EventKind says what happened to a part.
type EventKind string

// Kinds of event.
const (
	Ready   EventKind = "ready"   // it started and answers
	Applied EventKind = "applied" // the documents are in etcd; Part is empty
	Ended   EventKind = "ended"   // it ended, and the grid did not ask for it
)

// via is [Config.Via], which may be nil.
func (c *Config) via(part, address string) string {
	if c.Via == nil {
		return address
	}
	return c.Via(part, address)
}

// etcd are the flags by which a part reaches etcd at an address (host:port).
func (c *Config) etcd(part, address string) []string {
	args := []string{"--etcd", "http://" + address}
	if c.Login != nil {
		user, file := c.Login(part)
		args = append(args, "--etcd-user", user, "--etcd-password-file", file)
	}
	return args
}

// routers is how many there are.
func (c *Config) routers() int {
	if c.Routers == 0 {
		return 2
	}
	return c.Routers
}

// Event is something that happened to a part.
type Event struct {
	Kind EventKind
	Part Part
	// Text says more about an end: "signal: killed".
	Text string
}

// Part describes a part of a grid.
type Part struct {
	// Name is what [Grid.Kill] and its siblings take.
	Name string
	// What says in a few words what the part does.
	What string
	// Address is where it listens (host:port).
	Address string
	// PID is the process; 0 if none runs.
	PID int
}

// startLimit bounds how long the parts of one stage may take to get ready. A healthy
// machine needs a hundredth.
const startLimit = 60 * time.Second

// stopLimit bounds how long a part may take to end when asked to.
const stopLimit = 8 * time.Second

// Grid is a running grid. Its methods may be called from any goroutine, but for
// [Grid.Stop], which is the last call.
type Grid struct {
	Layout
	config  Config
	data    string
	env     []string
	lock    net.Listener
	specs   []spec
	verbose *sharedLines
	events  sync.Mutex

	mu    sync.Mutex
	runs  map[string]*process
	watch sync.WaitGroup // one goroutine for each process, until it ends
}

// Start starts a grid and returns when all of it is ready. On an error, or when ctx
// ends before, nothing of it is left. ctx has no say afterwards.
func Start(ctx context.Context, config Config) (*Grid, error) {
	if err := findPrograms(config.Bin); err != nil {
		return nil, err
	}
	if n := config.routers(); n < 1 || n > 9 {
		return nil, fmt.Errorf("a grid has 1 to 9 routers, not %d", n)
	}
	layout, lock, err := claimBlock(ctx, config.Net)
	if err != nil {
		return nil, err
	}
	g := &Grid{
		Layout: layout, config: config, lock: lock,
		runs: map[string]*process{},
	}
	if config.Verbose != nil {
		g.verbose = &sharedLines{w: config.Verbose}
	}
	if err := g.prepare(ctx); err != nil {
		return nil, errors.Join(err, lock.Close(), g.removeData())
	}
	if err := g.startAll(ctx); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

// prepare makes the data folder ready and checks that the addresses are free.
func (g *Grid) prepare(ctx context.Context) error {
	g.data = g.config.Data
	if g.data == "" {
		dir, err := os.MkdirTemp("", "grid-")
		if err != nil {
			return err
		}
		g.data = dir
	}
	absolute, err := filepath.Abs(g.data)
	if err != nil {
		return err
	}
	g.data = absolute
	for _, dir := range []string{"etcd", "logs", "state", "documents"} {
		if err := os.MkdirAll(filepath.Join(g.data, dir), 0o700); err != nil {
			return err
		}
	}
	if err := g.keepBlock(); err != nil {
		return err
	}
	g.env = environment(g.data)
	g.specs = specs(g.Layout, g.config, g.data)
	var addresses []string
	for _, s := range g.specs {
		addresses = append(addresses, s.listens...)
	}
	return checkAddresses(ctx, addresses)
}

// removeData removes the data folder if it is a temporary one.
func (g *Grid) removeData() error {
	if g.config.Data != "" {
		return nil
	}
	return os.RemoveAll(g.data)
}

// keepBlock refuses a data folder whose documents hold the addresses of another block.
func (g *Grid) keepBlock() error {
	path := filepath.Join(g.data, "block")
	kept, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(path, []byte(g.Net()+"\n"), 0o600)
	}
	if block := strings.TrimSpace(string(kept)); err == nil && block != g.Net() {
		return fmt.Errorf("the data in %s are of the block %s, not %s; use that block, or another folder", g.data, block, g.Net())
	}
	return err
}

// environment returns the environment of the parts: ours, without what would change
// their flags behind our back, and with a state folder of the grid's own.
func environment(data string) []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "GRIDROUTER_"), strings.HasPrefix(name, "GRIDCTL_"), strings.HasPrefix(name, "GRIDDEV_"),
			strings.HasPrefix(name, "ETCD_"), name == "STATE_DIRECTORY", name == "XDG_STATE_HOME":
		default:
			env = append(env, entry)
		}
	}
	return append(env, "XDG_STATE_HOME="+filepath.Join(data, "state"))
}

// startAll starts stage after stage, the parts of each at the same time. The documents
// are written while the DNS server starts.
func (g *Grid) startAll(ctx context.Context) error {
	for stage := range stages {
		limited, cancel := context.WithTimeoutCause(ctx, startLimit,
			fmt.Errorf("not ready within %s", startLimit))
		group, together := errgroup.WithContext(limited)
		for _, s := range g.specs {
			if s.stage == stage {
				group.Go(func() error { return g.startPart(together, s) })
			}
		}
		if stage == stageNames {
			group.Go(func() error { return g.apply(together) })
		}
		err := group.Wait()
		if err == nil && stage == stageNames {
			err = g.awaitNames(limited)
		}
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// startPart starts one part and waits until it is ready.
func (g *Grid) startPart(ctx context.Context, s spec) error {
	p, err := g.launch(s)
	if err != nil {
		return fmt.Errorf("%s cannot be started: %w", s.name, err)
	}
	switch err := await(ctx, p.Ended(), s.ready); {
	case errors.Is(err, errGone):
		return fmt.Errorf("%s ended while starting (%s): %s%s",
			s.name, p.Ending(), lastLines(g.Log(s.name), 2), g.logHint(s.name))
	case err != nil:
		return fmt.Errorf("%s: %w%s", s.name, err, g.logHint(s.name))
	}
	g.tell(Event{Kind: Ready, Part: g.describe(s)})
	return nil
}

// launch starts the process of a part and watches over it.
func (g *Grid) launch(s spec) (*process, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.runs[s.name]; p != nil && p.Running() {
		return nil, fmt.Errorf("it runs already (pid %d)", p.PID())
	}
	file, err := os.OpenFile(g.Log(s.name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p, err := launch(filepath.Join(g.config.Bin, s.program), s.args, g.env,
		&output{file: file, name: s.name, lines: g.verbose})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	g.runs[s.name] = p
	part := g.describeRun(s, p)
	g.watch.Go(func() {
		<-p.Ended()
		_ = file.Close()
		if !p.expected() {
			g.tell(Event{Kind: Ended, Part: part, Text: p.Ending()})
		}
	})
	return p, nil
}

func (g *Grid) tell(event Event) {
	g.events.Lock()
	defer g.events.Unlock()
	if g.config.Events != nil {
		g.config.Events(event)
	}
}
