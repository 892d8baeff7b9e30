package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/bench/lab"
	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/samples"
)

// gridFlags are the flags of griddev itself.
type gridFlags struct {
	begun   time.Time
	net     string
	data    string
	tour    bool
	verbose bool
	ownCurl bool
	kube    bool
}

func (f *gridFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.net, "net", lab.DefaultNet, "`BLOCK` of 256 loopback addresses to use, as its first three numbers")
	fs.StringVar(&f.data, "data", "", "`FOLDER` that keeps etcd's data and the logs; the samples are written to it once (default a temporary folder, removed at the end)")
	fs.BoolVar(&f.tour, "tour", false, "run every line of the tour, show the answers, and stop; exit 1 if a line does not answer as the tour says")
	fs.BoolVar(&f.verbose, "verbose", false, "show what the parts log, on the error output")
	fs.BoolVar(&f.ownCurl, "own-curl", false, "print and run the tour with \"griddev curl\" even where there is a curl")
	_ = fs.MarkHidden("own-curl")
	fs.BoolVar(&f.kube, "kube", false, "say how the operator is shown: \"make kube-tour\" starts a Kubernetes and walks through it, as root")
}

// runGrid starts the grid, shows the tour or runs it, and stops the grid.
func runGrid(cmd *cobra.Command, f *gridFlags) error {
	if f.kube {
		return flags.Usagef("--kube: the operator needs a Kubernetes, and griddev starts none: run make kube-tour, as root")
	}
	if _, err := lab.NewLayout(f.net); err != nil {
		return flags.Usagef("--net: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	signals := listenForSignals(cmd.Context())
	defer signals.close()
	out := &report{w: cmd.OutOrStdout(), begun: f.begun}
	out.printf("griddev: starting a grid on %s.*\n\n", f.net)
	config := lab.Config{
		Bin: filepath.Dir(program), Net: f.net, Data: f.data, Documents: samples.Files,
		Events: out.event, KillNow: signals.second,
	}
	if f.verbose {
		config.Verbose = cmd.ErrOrStderr()
	}
	grid, err := lab.Start(signals.first, config)
	if err != nil {
		return explainStart(signals.first, err)
	}
	out.ready()
	guide := newTour(grid, f.curl(filepath.Dir(program)), here(filepath.Dir(program)))
	err = f.show(signals, grid, guide, out)
	out.stopping()
	if stopErr := grid.Stop(); stopErr != nil {
		return errors.Join(err, stopErr)
	}
	out.printf("The grid has stopped.\n")
	return err
}

// show runs the tour, or prints it and waits for the signal to stop. Meanwhile parts are
// started again when asked for.
func (f *gridFlags) show(signals *signals, grid *lab.Grid, guide *tour, out *report) error {
	ctx, done := context.WithCancel(signals.first)
	var revivals sync.WaitGroup
	defer revivals.Wait()
	defer done()
	revivals.Go(func() { reviveWhenAsked(ctx, signals.revive, grid, out) })
	if f.tour {
		return guide.run(ctx, out)
	}
	guide.print(out)
	<-ctx.Done()
	return nil
}

// explainStart adds griddev's own mend to what kept the grid from starting.
func explainStart(ctx context.Context, err error) error {
	var inUse *lab.InUseError
	switch {
	case errors.As(err, &inUse):
		return fmt.Errorf("%w: --net 127.78.0", err)
	case ctx.Err() != nil:
		return errors.New("stopped before the grid was ready")
	}
	return err
}

// reviveWhenAsked starts what has ended, whenever SIGUSR1 comes, until ctx ends.
func reviveWhenAsked(ctx context.Context, asked <-chan os.Signal, grid *lab.Grid, out *report) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			revive(ctx, grid, out)
		}
	}
}

func revive(ctx context.Context, grid *lab.Grid, out *report) {
	names, err := grid.Revive(ctx)
	switch {
	case ctx.Err() != nil: // the grid stops
	case err != nil:
		out.printf("  could not start again: %v\n", err)
	case len(names) == 0:
		out.printf("  all parts run already\n")
	default:
		out.printf("  all parts run again\n")
	}
}

// curl returns the command that the tour's lines use.
func (f *gridFlags) curl(bin string) string {
	if _, err := exec.LookPath("curl"); err == nil && !f.ownCurl {
		return "curl"
	}
	return here(filepath.Join(bin, "griddev")) + " curl"
}

// here returns a path as one would type it in the current folder.
func here(path string) string {
	current, err := os.Getwd()
	if err != nil {
		return path
	}
	relative, err := filepath.Rel(current, path)
	if err != nil || strings.HasPrefix(relative, "..") {
		return path
	}
	return "./" + relative
}

// signals turns signals into what the grid understands.
type signals struct {
	first  context.Context // done at the first signal to stop
	second chan struct{}   // closed at the second
	revive chan os.Signal
	stops  chan os.Signal
	cancel context.CancelFunc
	done   chan struct{}
}

func listenForSignals(parent context.Context) *signals {
	s := &signals{
		second: make(chan struct{}), done: make(chan struct{}),
		revive: make(chan os.Signal, 1), stops: make(chan os.Signal, 2),
	}
	s.first, s.cancel = context.WithCancel(parent)
	signal.Notify(s.revive, syscall.SIGUSR1)
	signal.Notify(s.stops, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		defer close(s.done)
		for count := 0; ; count++ {
			if _, open := <-s.stops; !open {
				return
			}
			switch count {
			case 0:
				s.cancel()
			case 1:
				close(s.second)
			}
		}
	}()
	return s
}

func (s *signals) close() {
	signal.Stop(s.revive)
	signal.Stop(s.stops)
	close(s.stops)
	<-s.done
	s.cancel()
}

// report prints what happens, for people. Its methods may be called from any goroutine.
type report struct {
	mu     sync.Mutex
	w      io.Writer
	begun  time.Time
	silent bool // no word on parts: the grid stops
}

func (r *report) printf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.w, format, args...)
}

// event prints one line for each start and end of a part.
func (r *report) event(e lab.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent {
		return
	}
	switch e.Kind {
	case lab.Ready:
		_, _ = fmt.Fprintf(r.w, "  %-14s ready at %-18s pid %-7d %5.2f s\n",
			e.Part.Name, e.Part.Address, e.Part.PID, time.Since(r.begun).Seconds())
	case lab.Applied:
		_, _ = fmt.Fprintf(r.w, "  %-14s written to etcd by gridctl apply          %5.2f s\n", "documents", time.Since(r.begun).Seconds())
	case lab.Ended:
		_, _ = fmt.Fprintf(r.w, "  %-14s ended (%s); the others go on. Start it again: kill -USR1 %d\n",
			e.Part.Name, e.Text, os.Getpid())
	}
}

func (r *report) ready() {
	r.printf("\nThe grid is ready, %.1f s after its start.\n", time.Since(r.begun).Seconds())
}

func (r *report) stopping() {
	r.printf("\nStopping the grid (Ctrl-C again: at once) ...\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = true
}
