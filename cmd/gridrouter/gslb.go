package main

import (
	"context"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/gslb"
	"gridrouter.io/routing"
)

// gslbFlags are the flags of "gridrouter gslb".
type gslbFlags struct {
	source           sourceFlags
	listen, metrics  string
	snapshot, server string
	origins, zones   []string
	logLevel         string
}

// newGslbCommand returns "gridrouter gslb".
func newGslbCommand() *cobra.Command {
	f := &gslbFlags{}
	cmd := &cobra.Command{
		Use:   "gslb",
		Short: "Answer DNS questions for mesh decks with their VIPs",
		Long: `gslb serves the Gslb documents over DNS (UDP and TCP), with authority and nothing else, and
follows them: a change is answered at once, a bad document keeps its last good form. While etcd or the
folder is away the answers stay what they are, and a server that starts then answers from its snapshot.

What deletes all names where there were two or more, or more than 10 names and more than 5 % of them
within ten seconds, is held, as routers hold changes of tenants: the names are answered as before, until
"gridctl guard accept" says that it is meant, or "gridctl guard discard" puts the documents back. Where a
folder is followed, accept it with --router and the --metrics address, which must be a loopback address.

SIGTERM and SIGINT end it, a second one at once and with exit status 1.`,
		Example: `  gridrouter gslb --etcd http://127.0.0.1:2379 --listen 127.0.0.1:5300
  gridrouter gslb --routes deploy/samples --origin deck.example --zone east-a=10.1.0.0/16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGslb(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", ":53", "`ADDR` (IP:port, or :port for all addresses) to answer at, over UDP and TCP; port 0: the system chooses")
	f.source.register(fs)
	fs.StringSliceVar(&f.origins, "origin", nil, "domain `NAME` to be authoritative for, repeatable (default the parent domain of each document's name)")
	fs.StringSliceVar(&f.zones, "zone", nil, "`NAME=CIDR`: askers from these addresses are in the zone NAME, repeatable (default none)")
	fs.StringVar(&f.metrics, "metrics", "", "`ADDR` to serve GET /metrics at (default none)")
	fs.StringVar(&f.snapshot, "snapshot", "", "`FILE` of the local last-good snapshot, from which the server starts while its source is away, or off\n"+
		"(default gridrouter/gslb-<server-id>.snap in $STATE_DIRECTORY, else $XDG_STATE_HOME, else /var/lib)")
	fs.StringVar(&f.server, "server-id", "", "`NAME` of this server, unlike any other's (default the host's name and the --listen port)")
	registerLogLevel(fs, &f.logLevel)
	return cmd
}

// unlessDone turns the error that comes of ctx's end into none.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// zoneConfig reads --origin and --zone.
func (f *gslbFlags) zoneConfig() (gslb.ZoneConfig, error) {
	config := gslb.ZoneConfig{Origins: f.origins, Networks: map[string][]netip.Prefix{}}
	for _, problem := range gslb.NewZone(nil, config).Problems() {
		return config, flags.Usagef("--origin: %w", problem.Err)
	}
	for _, text := range f.zones {
		name, cidr, ok := strings.Cut(text, "=")
		prefix, err := netip.ParsePrefix(cidr)
		if !ok || routing.CheckName(name) != nil || err != nil {
			return config, flags.Usagef("--zone: %q is not NAME=CIDR; write it as in east-a=10.1.0.0/16", text)
		}
		if prefix != prefix.Masked() {
			return config, flags.Usagef("--zone: %q has bits set behind its length; write %s=%s", text, name, prefix.Masked())
		}
		config.Networks[name] = append(config.Networks[name], prefix)
	}
	return config, nil
}
