//go:build !slim

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/restore"
	"gridrouter.io/deploy/etcd/backup/store"
	"gridrouter.io/discovery/files"
)

const (
	// terminationLog is the file whose content Kubernetes shows as a container's last message.
	terminationLog = "/dev/termination-log"
	// maxResultBytes is what Kubernetes keeps of it.
	maxResultBytes = 4 << 10
	// maxErrorBytes bounds the text of an error in a result, and maxDamages the damages that are listed.
	maxErrorBytes, maxDamages = 1 << 10, 5
)

// etcdResult is what a command tells at its end, in one line of JSON. The fields that a command has nothing
// to say of are absent.
type etcdResult struct {
	Command string `json:"command"`
	// OK: all was done, and no damage was found. Reason is a word for what was wrong, Error says it.
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
	// Backup is the ID of a chain, Cluster etcd's ID of the cluster in hex.
	Backup  string `json:"backup,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	// FullRevision is of the full backup, Revision the last one of the chain or the one restored, NewRevision
	// where restored data begin.
	FullRevision int64 `json:"fullRevision,omitempty"`
	Revision     int64 `json:"revision,omitempty"`
	NewRevision  int64 `json:"newRevision,omitempty"`
	// Covered is when etcd had nothing newer than Revision.
	Covered *time.Time `json:"covered,omitempty"`
	Bytes   int64      `json:"bytes,omitempty"`
	SHA256  string     `json:"sha256,omitempty"`
	HashKV  uint32     `json:"hashKV,omitempty"`
	Deltas  int64      `json:"deltas,omitempty"`
	Events  int        `json:"events,omitempty"`
	Keys    int        `json:"keys,omitempty"`
	// Compared is how many recorded hashes were equal, Incomparable how many were reckoned after another
	// compaction.
	Compared     int `json:"compared,omitempty"`
	Incomparable int `json:"incomparable,omitempty"`
	// Begun is how many full backups a follower made.
	Begun int `json:"begun,omitempty"`
	// Damages are the first of what is wrong, DamageCount is how many there are.
	Damages     []*backup.DamageError `json:"damages,omitempty"`
	DamageCount int                   `json:"damageCount,omitempty"`
	// Removed and Kept are IDs of chains, Spared the one that stayed because no newer one is whole.
	Removed []string `json:"removed,omitempty"`
	Kept    []string `json:"kept,omitempty"`
	Spared  string   `json:"spared,omitempty"`
	DryRun  bool     `json:"dryRun,omitempty"`
	// Backups are those of a list, the oldest first; Omitted is how many of the lists above were left out.
	Backups []listedBackup `json:"backups,omitempty"`
	Omitted int            `json:"omitted,omitempty"`

	text string // for people; empty: nothing is said to them
}

// resultFlags say how the result is told.
type resultFlags struct{ output, file string }

func (f *resultFlags) register(fs *pflag.FlagSet) {
	fs.StringVarP(&f.output, "output", "o", "text", "form of the result: `text|json`, json in one line")
	fs.StringVar(&f.file, "result-file", terminationLog, "`FILE` that gets the result too, as JSON of at most 4 KiB; the default only if it is there")
}

func (f *resultFlags) check() error {
	if f.output != "text" && f.output != "json" {
		return flags.Usagef("-o: %q is no form of output; write text or json", f.output)
	}
	return nil
}

// outputs are where a command writes: results, and what goes on.
type outputs struct{ result, progress io.Writer }

func outputsOf(cmd *cobra.Command) outputs { return outputs{cmd.OutOrStdout(), cmd.ErrOrStderr()} }

// teller tells what goes on and what came out.
type teller struct {
	flags   resultFlags
	outputs outputs
	result  etcdResult
}

// report tells what goes on, with the time, since nothing else adds it in a Job.
func (t *teller) report(text string) {
	_, _ = fmt.Fprintf(t.outputs.progress, "%s %s\n", time.Now().UTC().Format(time.RFC3339), text) // where nobody listens the work goes on
}

// end tells the result, and returns err.
func (t *teller) end(err error) error {
	t.result.OK = err == nil
	if err != nil {
		t.result.Reason, t.result.Error = reasonOf(err), shortened(err.Error(), maxErrorBytes)
	}
	t.write()
	var text string
	switch {
	case t.flags.output == "json":
		line, marshalErr := json.Marshal(&t.result)
		if marshalErr != nil {
			return errors.Join(err, marshalErr)
		}
		text = string(line) + "\n"
	case err == nil:
		text = t.result.text
	}
	if _, writeErr := io.WriteString(t.outputs.result, text); err == nil && writeErr != nil {
		return writeErr
	}
	return err
}

// write puts the result as it is now into the file for it.
func (t *teller) write() {
	if t.flags.file == "" {
		return
	}
	if _, err := os.Stat(t.flags.file); err != nil && t.flags.file == terminationLog {
		return
	}
	line, err := t.result.bounded()
	if err == nil {
		err = overwrite(t.flags.file, line)
	}
	if err != nil {
		t.report(fmt.Sprintf("--result-file: %v", err))
	}
}

// bounded is the result in a line of at most [maxResultBytes], with as much of its lists as fits: of the
// oldest backups the most are left out.
func (r *etcdResult) bounded() ([]byte, error) {
	short := *r
	for {
		line, err := json.Marshal(&short)
		if err != nil || len(line) < maxResultBytes {
			return append(line, '\n'), err
		}
		switch longest := max(len(short.Backups), len(short.Kept), len(short.Removed)); {
		case longest == 0:
			return nil, fmt.Errorf("the result has %d bytes, at most %d fit", len(line), maxResultBytes)
		case longest == len(short.Backups):
			short.Backups = short.Backups[1:]
		case longest == len(short.Kept):
			short.Kept = short.Kept[1:]
		default:
			short.Removed = short.Removed[1:]
		}
		short.Omitted++
	}
}

// overwrite replaces what a file holds, which may be one that is mounted and cannot be renamed over.
func overwrite(name string, data []byte) error {
	file, err := files.Append(name, 0o644)
	if err != nil {
		return err
	}
	if info, statErr := file.Stat(); statErr == nil && info.Mode().IsRegular() {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.Write(data)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// reasonOf is a word for an error, for programs.
func reasonOf(err error) string {
	var damage *backup.DamageError
	for _, one := range []struct {
		is   error
		word string
	}{
		{store.ErrUnreachable, "StoreUnreachable"}, {store.ErrCredentials, "StoreCredentials"}, {store.ErrNoBucket, "StoreAbsent"},
		{store.ErrNoSpace, "StoreFull"}, {store.ErrForbidden, "StoreForbidden"}, {backup.ErrOther, "OtherFollower"}, {backup.ErrNone, "NoBackup"},
	} {
		if errors.Is(err, one.is) {
			return one.word
		}
	}
	switch {
	case errors.As(err, &damage):
		return "Damaged"
	case errors.Is(err, restore.ErrTarget):
		return "TargetNotEmpty"
	case flags.Exit(err) == flags.ExitUsage:
		return "Usage"
	}
	return "Failed"
}

// shortened cuts a text to a number of bytes, between two characters.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// damagesText lists damages for people, one a line.
func damagesText(damages []*backup.DamageError) string {
	var b bytes.Buffer
	for _, damage := range damages {
		_, _ = fmt.Fprintf(&b, "%s\n", damage)
	}
	return b.String()
}

// damaged is the error of a command that found damages.
func damaged(damages []*backup.DamageError) error {
	if len(damages) == 0 {
		return nil
	}
	more := ""
	if n := len(damages) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("%w%s", damages[0], more)
}

func joined(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, " ")
}
