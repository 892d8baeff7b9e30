package flags

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gridrouter.io/routing/document"
)

// configFlag is the name of the flag that names the configuration file.
const configFlag = "config"

// refusedNote marks a flag that is known, but not built yet.
const refusedNote = "gridrouter-refused"

// Bind gives root and the commands below it their manners; call it once, after all
// commands and flags have been added, and run root by [Main].
//
// It adds --config FILE, and fills each flag that the command line leaves out from the
// environment (envPrefix, then the flag's name in upper case with "_" for "-"; an empty
// variable counts as absent), else from that file. It refuses flags marked by [Refuse].
// It uses root's PersistentPreRunE: no command may define a PersistentPreRun of its own.
func Bind(root *cobra.Command, envPrefix string) {
	root.SilenceUsage = true
	root.SilenceErrors = true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().String(configFlag, "",
		fmt.Sprintf("YAML `FILE` with values of flags, by their names; flags and environment (%sNAME) beat it (default none)", envPrefix))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if !ours(cmd) {
			return nil
		}
		return resolve(cmd, envPrefix)
	}
	bindRun(root)
}

// ours says whether a command is one of the project's, not one that cobra adds.
func ours(cmd *cobra.Command) bool {
	top := cmd
	for top.HasParent() && top.Parent().HasParent() {
		top = top.Parent()
	}
	return !slices.Contains([]string{"help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, top.Name())
}

// bindRun marks the errors of each command's own code, and gives the commands that
// only hold others an answer to a name that they do not hold.
func bindRun(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return &ranError{err}
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return Usagef("unknown command %q; write one of %s", args[0], strings.Join(subcommands(cmd), ", "))
		}
	}
	for _, sub := range cmd.Commands() {
		bindRun(sub)
	}
}

// subcommands returns the names of the commands directly below cmd.
func subcommands(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			names = append(names, sub.Name())
		}
	}
	return names
}

// Refuse marks flags of fs that users may know, but that are not built yet: any value
// other than the default is refused by name.
func Refuse(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flag := fs.Lookup(name)
		if flag == nil {
			panic("flags.Refuse: there is no flag --" + name)
		}
		flag.Usage += " (not supported yet)"
		if flag.Annotations == nil {
			flag.Annotations = map[string][]string{}
		}
		flag.Annotations[refusedNote] = []string{"yes"}
	}
}

// resolve fills the flags that the command line left out, then refuses what is not built.
func resolve(cmd *cobra.Command, envPrefix string) error {
	fs := cmd.Flags()
	if err := fromEnvironment(fs, envPrefix); err != nil {
		return err
	}
	if name := fs.Lookup(configFlag).Value.String(); name != "" {
		if err := fromFile(cmd, name); err != nil {
			return err
		}
	}
	var refused error
	fs.VisitAll(func(flag *pflag.Flag) {
		if refused == nil && flag.Annotations[refusedNote] != nil && flag.Value.String() != flag.DefValue {
			refused = Usagef("--%s is not supported yet; leave it out", flag.Name)
		}
	})
	return refused
}

// EnvName returns the environment variable that sets a flag.
func EnvName(envPrefix, flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment fills unset flags from the environment.
func fromEnvironment(fs *pflag.FlagSet, envPrefix string) error {
	var first error
	fs.VisitAll(func(flag *pflag.Flag) {
		variable := EnvName(envPrefix, flag.Name)
		value := os.Getenv(variable)
		if first != nil || flag.Changed || value == "" || flag.Name == "help" {
			return
		}
		if err := flag.Value.Set(value); err != nil {
			first = Usagef("%w", valueError(variable, flag, value, err))
			return
		}
		flag.Changed = true
	})
	return first
}

// mendName returns the mend for the name of a flag that a command does not have.
func mendName(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	best := document.Nearest(name, names)
	if best == "" {
		return fmt.Sprintf("see %s --help", cmd.CommandPath())
	}
	return fmt.Sprintf("did you mean --%s?", best)
}
