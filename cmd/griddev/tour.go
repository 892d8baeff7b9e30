package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"gridrouter.io/bench/lab"
)

// tour is a list of lines to paste into a terminal, with what they must answer.
type tour struct {
	grid    *lab.Grid // nil: no grid of processes is shown
	curl    string    // the command that asks for URLs
	bin     string    // the folder of programs, as one types it
	picture string
	stops   []stop

	env     []string      // what the lines find in their environment beside griddev's own
	bound   time.Duration // how long a line may take
	depends bool          // lines need those before them: the first that fails ends the tour
}

// stop is one thing to look at.
type stop struct {
	title string
	lines []line
}

// line is a line of shell and what its output must hold.
type line struct {
	text   string
	note   string   // what to look for, for people
	expect []string // all of these stand in the output
	reject []string // none of these does
	again  bool     // what was changed before may take a moment: ask again for a while
	live   bool     // it takes long, and shows how far it is
	ends   []string // parts that the line kills: the tour goes on when they have ended
}

const (
	settle  = 5 * time.Second        // how long a line that may ask again does so
	endsIn  = 30 * time.Second       // how long a killed part may take to end; a busy machine needs some of it
	askEach = 100 * time.Millisecond // how often is asked again
)

// print shows the addresses, the picture and all lines.
func (t *tour) print(out *report) {
	out.printf("%s", t.picture)
	out.printf("\nPaste any of these lines into another terminal, opened in this folder:\n")
	for i, s := range t.stops {
		out.printf("\n%d. %s\n", i+1, s.title)
		for _, l := range s.lines {
			out.printf("   %s\n", strings.ReplaceAll(l.text, "\n", "\n   "))
			if l.note != "" {
				out.printf("      # %s\n", l.note)
			}
		}
	}
	out.printf("\nThe parts and their processes (logs: %s/logs):\n", t.grid.Data())
	for _, p := range t.grid.Parts() {
		out.printf("   %-14s %-18s pid %-7d %s\n", p.Name, p.Address, p.PID, p.What)
	}
	out.printf("\nCtrl-C stops everything.\n")
}

// run runs every line and shows its answer. It returns an error if a line does not
// answer as it should, after all of them.
func (t *tour) run(ctx context.Context, out *report) error {
	out.printf("%s", t.picture)
	wrong, total := 0, 0
	for i, s := range t.stops {
		out.printf("\n%d. %s\n", i+1, s.title)
		for _, l := range s.lines {
			total++
			out.printf("\n   $ %s\n", strings.ReplaceAll(l.text, "\n", "\n     "))
			answer, err := t.try(ctx, l, out)
			if !l.live {
				out.printf("%s", indent(answer))
			}
			switch {
			case ctx.Err() != nil:
				return fmt.Errorf("the tour was stopped at its line %d", total)
			case err != nil:
				wrong++
				out.printf("   !! NOT AS IT SHOULD BE: %v\n", err)
				if t.depends {
					return fmt.Errorf("line %d of the tour did not answer as the tour says, and what comes after needs it", total)
				}
			case l.note != "":
				out.printf("   # %s\n", l.note)
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of the tour's %d lines did not answer as the tour says", wrong, total)
	}
	out.printf("\nAll %d lines of the tour answered as they should.\n", total)
	return nil
}

// try runs a line, again and again for a while if it may take a moment.
func (t *tour) try(ctx context.Context, l line, out *report) (string, error) {
	for deadline := time.Now().Add(settle); ; {
		answer, err := t.shell(ctx, l, out)
		if err == nil {
			err = l.check(answer)
		}
		if err == nil || !l.again || time.Now().After(deadline) || ctx.Err() != nil {
			return answer, errors.Join(err, t.awaitEnds(ctx, l.ends))
		}
		pause(ctx)
	}
}

// awaitEnds waits until parts have ended: one that is dying still counts as one that runs, and would
// not be started again.
func (t *tour) awaitEnds(ctx context.Context, parts []string) error {
	deadline := time.Now().Add(endsIn)
	for _, part := range parts {
		for t.grid.PID(part) != 0 {
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("%s still runs", part)
			}
			pause(ctx)
		}
	}
	return nil
}

func pause(ctx context.Context) {
	select {
	case <-time.After(askEach):
	case <-ctx.Done():
	}
}

// check says what the answer lacks.
func (l line) check(answer string) error {
	for _, text := range l.expect {
		if !strings.Contains(answer, text) {
			return fmt.Errorf("the answer holds no %q", text)
		}
	}
	for _, text := range l.reject {
		if strings.Contains(answer, text) {
			return fmt.Errorf("the answer holds %q", text)
		}
	}
	return nil
}

// shell runs a line as a person would, and returns all that it prints; what is live is shown meanwhile, too.
func (t *tour) shell(ctx context.Context, l line, out *report) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.bound)
	defer cancel()
	var both bytes.Buffer
	var to io.Writer = &both
	shown := &indenter{out: out}
	if l.live {
		to = io.MultiWriter(&both, shown)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", l.text)
	cmd.Env = append(os.Environ(), t.env...)
	cmd.Stdout, cmd.Stderr = to, to // the same for both, so that nothing is written at once
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	shown.end()
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("it took longer than %s: %w", t.bound, err)
	}
	return both.String(), err
}

// indenter shows answers line by line as they come.
type indenter struct {
	out  *report
	rest []byte // of a line that has not ended
}

func (i *indenter) Write(text []byte) (int, error) {
	i.rest = append(i.rest, text...)
	if end := bytes.LastIndexByte(i.rest, '\n'); end >= 0 {
		i.out.printf("%s", indent(string(i.rest[:end])))
		i.rest = i.rest[end+1:]
	}
	return len(text), nil
}

func (i *indenter) end() {
	i.out.printf("%s", indent(string(i.rest)))
	i.rest = nil
}

func indent(text string) string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return ""
	}
	return "   | " + strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\n", "\n   | ") + "\n"
}

// picture shows how a request flows.
const picture = `

             you, with curl
                   |
        LVS VIP 127.77.0.1:8080          follows the routers' /readyz
            |              |
        router r1      router r2 <------ etcd 127.77.0.61:2379     the documents: decks,
      127.77.0.11    127.77.0.12         watched by every router   tenants, pins, gslb
            |              |
            +------+-------+             Host -> tenant -> rules -> key -> deck
                   |
         +---------+--------------------------+
         | direct                             | mesh: the deck's domain, resolved by
         |                                    | GSLB 127.77.0.51:5300 (DNS)
         |                            +-------+-------+
         |                     VIP 127.77.0.31   VIP 127.77.0.32
         |                            +-------+-------+
         |                                    |
         |                    mesh ingress 127.77.0.41   by Host
         |                                    |
    +----+---------+                 +--------+-----+
 orders-east-1  orders-east-2    orders-west-1  orders-west-2
 127.77.0.21    127.77.0.22      127.77.0.23    127.77.0.24
`

// newTour writes the lines for a grid that runs.
func newTour(grid *lab.Grid, curl, bin string) *tour {
	t := &tour{grid: grid, curl: curl, bin: bin, picture: grid.Rewrite(strings.TrimPrefix(picture, "\n")), bound: time.Minute}
	t.stops = []stop{
		t.direct(), t.mesh(), t.pinned(), t.split(), t.unknown(),
		t.explain(), t.metrics(), t.change(), t.kill(os.Getpid()),
	}
	return t
}
