package lab_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gridrouter.io/bench/lab"
)

// TestE2EScenarios runs testdata/scenarios: each file is a story about a grid of real
// processes. What the commands do stands in testdata/scenarios/README.md.
func TestE2EScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("whole grids take a while")
	}
	programs := bin(t)
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	for name, run := range scenarioCommands() {
		commands[name] = adapt(run)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/scenarios",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds:                commands,
		Setup: func(env *testscript.Env) error {
			env.Values[storyKey{}] = &story{bin: programs, loads: map[string]*load{}, report: t.Errorf}
			env.Setenv("PATH", programs+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
	})
}

type storyKey struct{}

// story is the state of one running scenario.
type story struct {
	*testscript.TestScript
	bin    string
	grid   *lab.Grid
	loads  map[string]*load
	out    bytes.Buffer                     // what the current line prints
	report func(format string, args ...any) // fails the test, but goes on
}

// command is one line of a scenario. It returns an error if the line does not hold.
type command func(s *story, args []string) error

// adapt makes a testscript command of ours. "!" in front turns an error into success.
func adapt(run command) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, negated bool, args []string) {
		s := ts.Value(storyKey{}).(*story)
		s.TestScript = ts
		s.out.Reset()
		err := run(s, args)
		_, _ = s.out.WriteTo(ts.Stdout())
		switch {
		case negated && err == nil:
			ts.Fatalf("it should have failed")
		case negated:
			fmt.Fprintln(ts.Stderr(), err)
		case err != nil:
			ts.Fatalf("%v", err)
		}
	}
}

// scenarioCommands are the words of scenarios beside testscript's own.
func scenarioCommands() map[string]command {
	plain := map[string]command{
		"http":    httpCommand,
		"admin":   adminCommand,
		"gridctl": gridctlCommand,
		"dns":     dnsCommand,
		"log":     logCommand,
		"front":   frontCommand,
	}
	all := map[string]command{
		"grid":      gridCommand,
		"kill-9":    killCommand,
		"terminate": terminateCommand,
		"restart":   restartCommand,
		"free-net":  freeNetCommand,
		"etcd-put":  etcdPutCommand,
		"load":      loadCommand,
		"eventually": func(s *story, args []string) error {
			return eventually(s, plain, args)
		},
	}
	for name, run := range plain {
		all[name] = run
	}
	return all
}

// patience bounds how long "eventually" asks again.
const patience = 20 * time.Second

// eventually runs a command again until it succeeds. It is a word of the scenarios, which fail by
// its error, where testkit.Eventually fails a test.
func eventually(s *story, commands map[string]command, args []string) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("eventually takes one of: http, admin, gridctl, dns, log, front")
	}
	for deadline := time.Now().Add(patience); ; {
		s.out.Reset()
		err := commands[args[0]](s, args[1:])
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not even after %s: %w", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// gridCommand starts the scenario's grid; it ends with the scenario. "grid empty"
// starts one without documents.
func gridCommand(s *story, args []string) error {
	config := sampleConfig(s.bin)
	if slices.Contains(args, "empty") {
		config.Documents = nil
	}
	grid, err := lab.Start(context.Background(), config)
	if err != nil {
		return err
	}
	s.grid = grid
	s.Defer(func() {
		for _, l := range s.loads {
			l.end()
		}
		checkLogs(s.report, grid)
		if err := grid.Stop(); err != nil {
			s.report("%s: %v", s.Name(), err)
		}
	})
	s.Setenv("NET", grid.Net())
	s.Setenv("ETCD", grid.EtcdURL())
	s.Setenv("VIP", grid.VIP())
	return nil
}

// checkLogs reports what no part may ever log: a race, a panic.
func checkLogs(report func(string, ...any), grid *lab.Grid) {
	for _, part := range grid.Parts() {
		text, err := os.ReadFile(grid.Log(part.Name))
		if err != nil {
			report("%v", err)
			continue
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
			if at := strings.Index(string(text), bad); at >= 0 {
				report("%s logged:\n%.4000s", part.Name, text[at:])
			}
		}
	}
}

func killCommand(s *story, args []string) error {
	for _, part := range args {
		if err := s.grid.Kill(part); err != nil {
			return err
		}
	}
	return nil
}

func terminateCommand(s *story, args []string) error {
	for _, part := range args {
		if err := s.grid.Terminate(part); err != nil {
			return err
		}
	}
	return nil
}

func restartCommand(s *story, args []string) error {
	for _, part := range args {
		if err := s.grid.Restart(context.Background(), part); err != nil {
			return err
		}
	}
	return nil
}

// freeNetCommand: free-net NAME sets NAME to a block that no grid uses.
func freeNetCommand(s *story, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("write: free-net NAME")
	}
	layout, err := lab.FreeBlock(context.Background())
	if err == nil {
		s.Setenv(args[0], layout.Net())
	}
	return err
}

func TestEveryScenarioSaysWhatItIsAbout(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not begin with a comment that says what it is about", file)
		}
	}
}
