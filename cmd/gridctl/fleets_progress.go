//go:build !slim

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gridrouter.io/deploy/services"
)

// report writes what a change did, and waits for its end if that is wanted.
func (w *waitFlags) report(ctx context.Context, cmd *cobra.Command, fleets *services.Fleets, change *services.Change) error {
	for _, note := range change.Notes {
		printTo(cmd.ErrOrStderr(), "note: %s\n", note)
	}
	switch {
	case change.DryRun:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "dry run: %s; nothing was written\n", change.What)
		return err
	case !w.wait && !change.Changed:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "nothing to do: %s\n", change.What)
		return err
	case !w.wait:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "written: %s; gridctl fleets get %s shows how far it is\n", change.What, change.Fleet.Name)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	shown := newProgressLine(cmd.ErrOrStderr())
	last := services.Progress{}
	err := fleets.Await(ctx, change, func(p services.Progress) {
		last = p
		if !p.Done && !p.Failed {
			shown.tell(p.Line, time.Now())
		}
	})
	shown.end()
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("%w: %s; it goes on in the cluster, gridctl fleets get %s shows how far it is%.0w", errStoppedWaiting, change.What, change.Fleet.Name, err)
		}
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), last.Line)
	return err
}

// quiet is how long a line that differs in numbers alone is not written again, where it cannot replace the
// one before.
const quiet = 10 * time.Second

// progressLine shows how far work is: in one line that changes, on a terminal; else line by line, where
// something new is to be said.
type progressLine struct {
	out      io.Writer
	terminal int // its file descriptor; -1: none
	said     string
	at       time.Time
}

func newProgressLine(out io.Writer) *progressLine {
	p := &progressLine{out: out, terminal: -1}
	if isTerminal(out) {
		p.terminal = int(out.(*os.File).Fd()) //nolint:forcetypeassert // a terminal is a file
	}
	return p
}

func isTerminal(stream any) bool {
	file, isFile := stream.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

func (p *progressLine) tell(line string, now time.Time) {
	line = onOneLine(line)
	if p.terminal >= 0 {
		width, _, err := term.GetSize(p.terminal)
		if err != nil || width < 20 {
			width = 80
		}
		printTo(p.out, "\r\x1b[K%s", shortened(line, width-1))
		p.said = line
		return
	}
	if line == p.said || withoutNumbers(line) == withoutNumbers(p.said) && now.Sub(p.at) < quiet {
		return
	}
	p.said, p.at = line, now
	printTo(p.out, "%s\n", line)
}

// end takes the changing line away: what comes next says how it ended.
func (p *progressLine) end() {
	if p.terminal >= 0 && p.said != "" {
		printTo(p.out, "\r\x1b[K")
	}
}

func shortened(line string, width int) string {
	letters := []rune(line)
	if len(letters) <= width {
		return line
	}
	return string(letters[:width-3]) + "..."
}

func withoutNumbers(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, line)
}
