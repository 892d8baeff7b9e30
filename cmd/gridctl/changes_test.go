package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

const twoDocuments = `
kind: Deck
name: east-1
domain: east-1.deck.example
attach: direct
addresses: [127.0.0.1:8081]
---
kind: Tenant
name: %s
hosts: [%s]
rules:
- {name: all, deck: east-1}
`

// output is a command whose output can be looked at.
func output(t *testing.T) (cmd *cobra.Command, out *bytes.Buffer) {
	cmd, out = &cobra.Command{}, &bytes.Buffer{}
	cmd.SetContext(t.Context())
	cmd.SetOut(out)
	cmd.SetErr(out)
	return cmd, out
}

func TestAConflictPrintsHowFarItCame(t *testing.T) {
	_, client := testEtcd(t)
	grid := catalog.New(catalog.Config{Client: client, Prefix: "/conflict/", Timeout: 20 * time.Second})
	var text strings.Builder
	fmt.Fprintf(&text, twoDocuments, "acme", "a.example")
	for i := range 60 {
		fmt.Fprintf(&text, "---\nkind: Tenant\nname: t%02d\nhosts: [t%02d.example]\nrules: [{name: all, deck: east-1}]\n", i, i)
	}
	docs, err := grid.Reader().ReadFile("grid.yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := grid.Plan(t.Context(), docs, catalog.Options{})
	if err != nil || plan.Transactions < 2 {
		t.Fatalf("%d transactions, %v", plan.Transactions, err)
	}
	if _, err = client.Put(t.Context(), "/conflict/hosts/t59.example", `{"tenant":"t00"}`); err != nil {
		t.Fatal(err)
	}
	cmd, out := output(t)
	err = (&changeFlags{output: "text"}).carryOut(t.Context(), cmd, grid, plan)
	if flags.Exit(err) != flags.ExitFault || !strings.Contains(err.Error(), "host t59.example was claimed by somebody else meanwhile") {
		t.Errorf("the error is %v", err)
	}
	for _, line := range []string{"\nwritten (", "decks/east-1, ", "\nnot written (", "tenants/t59\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the output does not say %q:\n%s", line, out)
		}
	}

	cmd, out = output(t)
	if err = (&changeFlags{output: "json"}).carryOut(t.Context(), cmd, grid, plan); err == nil {
		t.Fatal("a plan that is out of date was applied")
	}
	var report outcome
	if err = json.Unmarshal(out.Bytes(), &report); err != nil || report.Error == "" || len(report.Result.Unwritten) != 62 {
		t.Errorf("the report is %s, %v", out, err)
	}
}

func TestOfTwoConcurrentCommandsOneGetsTheHost(t *testing.T) {
	endpoint, client := testEtcd(t)
	command, err := exec.LookPath("gridctl")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		prefix := fmt.Sprintf("/round-%d/", round)
		var wait sync.WaitGroup
		var statuses [2]int
		for i := range statuses {
			wait.Go(func() {
				run := exec.CommandContext(t.Context(), command, "--etcd", endpoint, "--prefix", prefix, "--timeout", "20s", "apply", "-f", "-")
				run.Stdin = strings.NewReader(fmt.Sprintf(twoDocuments, fmt.Sprintf("tenant-%d", i), "same.example"))
				_ = run.Run() // its status is what counts
				statuses[i] = run.ProcessState.ExitCode()
			})
		}
		wait.Wait()
		for i := range statuses {
			// Who comes second meets a conflict, or sees the claim and refuses.
			other := statuses[1-i]
			if statuses[i] == 0 && other != 1 && other != 2 {
				t.Errorf("round %d: the statuses are %v", round, statuses)
			}
		}
		held, err := client.Get(t.Context(), prefix+"hosts/same.example")
		if err != nil || len(held.Kvs) != 1 || statuses[0]*statuses[1] != 0 {
			t.Errorf("round %d: the statuses are %v, the host is held by %v, %v", round, statuses, held, err)
		}
	}
}

func TestWhoIsUserAtHost(t *testing.T) {
	if who := whoami(); !strings.Contains(who, "@") || strings.HasPrefix(who, "@") || strings.HasSuffix(who, "@") {
		t.Errorf("whoami says %q", who)
	}
}

func TestNumbersAreGrouped(t *testing.T) {
	f := func(n int, want string) {
		t.Helper()
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) is %s, want %s", n, got, want)
		}
	}
	f(0, "0")
	f(999, "999")
	f(1000, "1,000")
	f(1234567, "1,234,567")
	f(-1000, "-1,000")
	f(-100, "-100")
}

func TestLongPlansAreCountedNotListed(t *testing.T) {
	plan := &catalog.Plan{}
	for i := range 1_000 {
		plan.Changes = append(plan.Changes, catalog.Change{Key: fmt.Sprintf("pins/acme/%d", i), Action: catalog.Create})
	}
	var out bytes.Buffer
	if err := writePlan(&out, plan, true); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != maxListed+2 || !strings.Contains(out.String(), "create  pins/... and 960 more\n") {
		t.Errorf("%d lines:\n%s", lines, &out)
	}
}

func TestProgressIsToldOnlyOfLongWork(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.tell(catalog.Progress{Done: 1, Total: 2})
	p.end()
	if out.Len() > 0 {
		t.Errorf("short work says %q", &out)
	}
	p.last = p.last.Add(-2 * time.Second)
	p.tell(catalog.Progress{Done: 12_000, Total: 100_000})
	p.end()
	if got := out.String(); !strings.HasPrefix(got, "written 12,000 of 100,000 documents\n") {
		t.Errorf("long work says %q", got)
	}
}
