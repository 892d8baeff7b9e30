package starter

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var tokens = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)

// check refuses options under which etcd would start from other data than those that are looked at, or would
// force a new cluster unseen.
func (o *Options) check() error {
	switch {
	case o.DataDir == "":
		return usagef("--data-dir is missing; it names etcd's folder of data")
	case !filepath.IsAbs(o.DataDir) || filepath.Clean(o.DataDir) == "/":
		return usagef("--data-dir: %q is not a folder below /; write its whole path", o.DataDir)
	case o.ForceNewCluster != "" && !tokens.MatchString(o.ForceNewCluster):
		return usagef("--force-new-cluster: %q is not a token; write letters, digits, . and -, at most 64 of them", o.ForceNewCluster)
	case len(o.Command) == 0 || o.Command[0] == "":
		return usagef("etcd's program is missing; write it behind --")
	}
	for _, name := range []string{"wal-dir", "config-file", "force-new-cluster"} {
		variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if os.Getenv(variable) != "" {
			return usagef("the environment has %s; %s", variable, reasons[name])
		}
	}
	return o.checkArguments()
}

// reasons say why flags of etcd may not be given.
var reasons = map[string]string{
	"wal-dir":           "leave it out, since the log is looked at where etcd has it by default",
	"config-file":       "leave it out and write flags, which etcd would not read beside it",
	"force-new-cluster": "leave it out: etcd would do it at each start. Write --force-new-cluster TOKEN before the --",
}

// checkArguments looks at etcd's own flags, which begin with one or two hyphens, and at their values.
func (o *Options) checkArguments() error {
	for i, argument := range o.Command[1:] {
		name, value, inline := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(argument, "-"), "-"), "=")
		if !strings.HasPrefix(argument, "-") {
			continue
		}
		if reason := reasons[name]; reason != "" {
			return usagef("etcd has the argument %s; %s", argument, reason)
		}
		if name != "data-dir" {
			continue
		}
		if !inline && i+2 < len(o.Command) {
			value = o.Command[i+2]
		}
		if filepath.Clean(value) != filepath.Clean(o.DataDir) {
			return usagef("etcd has the argument --data-dir %s, and --data-dir is %s; leave the argument out", value, o.DataDir)
		}
	}
	return nil
}
