package compare

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"gridrouter.io/bench/table"
)

// table measures the table that the router decides by, as "gridbench table" does. Nothing else
// runs meanwhile.
func (b *bench) table(ctx context.Context) error {
	b.stopAll()
	full, err := table.Run(ctx, table.Config{
		Tenants: max(b.Hosts, table.LeastTenants), Pins: table.LeastPins, Policies: table.MostPolicies, Lookups: min(b.Hosts, 1_000_000),
		Seconds: 10, Only: []string{"memory", "lookup", "update", "snapshot", "etcd", "propagation"}, Dir: b.dir, Commit: b.Commit, Progress: b.Progress,
		Etcd: func(dir, client, peer string) *exec.Cmd {
			argv := b.Part("etcd", "--dir", dir, "--client", client, "--peer", peer)
			return exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is asked to end first
		},
	})
	for i := range full.Rows {
		from := &full.Rows[i]
		row := Row{What: "table: " + from.What, Unit: from.Unit, Ours: from.Measured, Counted: from.Counted}
		if from.Bar != nil {
			b.report.judge(row, *from.Bar, *from.Stretch)
		}
	}
	for _, note := range full.Notes {
		b.report.note("table: %s", note)
	}
	if missed := full.Missed(); err == nil && len(missed) > 0 {
		return fmt.Errorf("broken whatever the machine: %s", strings.Join(missed, "; "))
	}
	return err
}
