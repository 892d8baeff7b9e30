package flags

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses of every command.
const (
	// ExitClean: the command did what it was asked.
	ExitClean = 0
	// ExitFault: something failed at run time.
	ExitFault = 1
	// ExitUsage: flags, configuration or documents are bad; nothing was done.
	ExitUsage = 2
)

// usageError marks what the user can only mend by other flags, configuration or documents.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// Usagef returns an error that ends the command with [ExitUsage]. The text names the
// flag or the place, and the mend, in one line. It formats as [fmt.Errorf] does.
func Usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// Exit returns the exit status that err ends a command with; nil is [ExitClean]. An error with a method ExitStatus
// has a status of its own.
func Exit(err error) int {
	var usage *usageError
	var own interface{ ExitStatus() int }
	switch {
	case err == nil:
		return ExitClean
	case errors.As(err, &own):
		return own.ExitStatus()
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFault
}

// ranError marks an error that a command's own code returned, as against one that
// cobra found in the command line before it.
type ranError struct{ err error }

func (e *ranError) Error() string { return e.err.Error() }
func (e *ranError) Unwrap() error { return e.err }

// Main runs a command that was given to [Bind], writes its error, if any, as one line
// "NAME: error" to the command's error output, and returns the exit status.
func Main(ctx context.Context, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitClean
	}
	if ran := (*ranError)(nil); errors.As(err, &ran) {
		err = ran.err
	} else if Exit(err) != ExitUsage {
		err = &usageError{err}
	}
	// Where the error output is gone, the exit status still tells.
	_, _ = fmt.Fprintf(root.ErrOrStderr(), "%s: %s\n", root.Name(), oneLine(err.Error()))
	return Exit(err)
}

// oneLine joins the lines of a text, and leaves out the empty ones.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// flagError turns what the flag parser says into the name of the flag and the mend.
func flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		invalid *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
	)
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if len(name) == 1 {
			return Usagef("unknown flag -%s; see %s --help", name, cmd.CommandPath())
		}
		return Usagef("unknown flag --%s; %s", name, mendName(cmd, name))
	case errors.As(err, &invalid):
		return Usagef("%w", valueError("--"+invalid.GetFlag().Name, invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap()))
	case errors.As(err, &missing):
		return Usagef("--%s needs a value; see %s --help", missing.GetFlag().Name, cmd.CommandPath())
	}
	return Usagef("%w; see %s --help", err, cmd.CommandPath())
}

// valueError says why a flag does not take a value, and what it would take. where is
// the flag, the environment variable or the place in a file.
func valueError(where string, flag *pflag.Flag, value string, err error) error {
	switch kind := flag.Value.Type(); {
	case kind == "duration":
		return fmt.Errorf("%s: %q is not a duration; write a number and a unit, such as 500ms, 2s or 1m30s", where, value)
	case kind == "bool":
		return fmt.Errorf("%s: %q is neither true nor false", where, value)
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return fmt.Errorf("%s: %q is not a whole number in its range", where, value)
	case strings.HasPrefix(kind, "float"):
		return fmt.Errorf("%s: %q is not a number", where, value)
	}
	return fmt.Errorf("%s: %w", where, err)
}
