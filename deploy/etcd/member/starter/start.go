// Package starter starts etcd in the pod of a member: the process looks at the data that etcd would start from, and
// then becomes etcd. So etcd gets the signals itself, and nothing stays in memory beside it.
//
// What is looked at costs the same for data of any size: the first records of the log, the first pages of the
// database. Nothing of etcd's own is locked or changed.
package starter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"gridrouter.io/deploy/etcd/member"
	"gridrouter.io/discovery/files"
)

// ErrUsage marks what only other flags, arguments or another pod can mend.
var ErrUsage = errors.New("bad usage")

// TerminationLog is where Kubernetes looks for why a container has ended, unless the pod says otherwise.
const TerminationLog = "/dev/termination-log"

// terminationBytes is how much of that file Kubernetes reads.
const terminationBytes = 4096

// Options are what a start of etcd depends on.
type Options struct {
	// DataDir is etcd's folder of data, in a folder of its volume and not the volume's root. It may be absent.
	DataDir string
	// PodInfo is the file with the pod's annotations, as a volume of the downward API has it. Empty: none, and so
	// nobody knows whether the member has joined.
	PodInfo string
	// Cluster is the ID of the only cluster whose data may be started from; 0: any.
	Cluster uint64
	// ForceNewCluster is a token, of letters, digits, "." and "-" and of 1 to 64 bytes. At the first start with it
	// that finds data, etcd makes a cluster of one member out of them. Empty: never.
	ForceNewCluster string
	// TerminationLog is the file that tells Kubernetes why etcd was not started; it is not made if it is absent.
	TerminationLog string
	// Command is etcd's program and its arguments.
	Command []string
}

// Run makes this process etcd, and returns only if that failed. The error, which is then in the termination log
// too, is a [*member.RefusalError] where etcd must not be started, [ErrUsage], or one of the system.
// Nothing else may go on in the process.
func Run(o *Options) error {
	err := o.run()
	if logErr := tell(o.TerminationLog, err.Error()); logErr != nil {
		err = fmt.Errorf("%w (and the termination log cannot be written: %w)", err, logErr)
	}
	return err
}

func (o *Options) run() error {
	program, arguments, err := o.prepare()
	if err != nil {
		return err
	}
	return fmt.Errorf("%s cannot be started: %w", program, syscall.Exec(program, arguments, os.Environ()))
}

// prepare makes all checks, and returns the program to become and all of its arguments.
func (o *Options) prepare() (program string, arguments []string, err error) {
	if err = o.check(); err != nil {
		return "", nil, err
	}
	// Before anything is marked or written.
	if program, err = exec.LookPath(o.Command[0]); err != nil {
		return "", nil, usagef("etcd's program: %w", err)
	}
	found, err := o.examine()
	if err != nil {
		return "", nil, err
	}
	if err = probe(o.DataDir); err != nil {
		return "", nil, err
	}
	arguments = []string{o.Command[0], "--data-dir=" + o.DataDir}
	if found && o.ForceNewCluster != "" {
		first, err := mark(o.DataDir, o.ForceNewCluster)
		if err != nil {
			return "", nil, err
		}
		if first {
			arguments = append(arguments, "--force-new-cluster=true")
		}
	}
	return program, append(arguments, o.Command[1:]...), nil
}

// examine holds the data to who the member is, and says whether there are any.
func (o *Options) examine() (found bool, err error) {
	var joined *member.Identity
	if o.PodInfo != "" {
		if joined, err = joinedAs(o.PodInfo); err != nil {
			return false, err
		}
	}
	has, err := readIdentity(o.DataDir)
	if err != nil {
		return false, err
	}
	if err := compare(o.DataDir, joined, has, o.Cluster); err != nil {
		return false, err
	}
	if has == nil {
		return false, nil
	}
	return true, checkDatabase(o.DataDir)
}

// compare decides whether etcd may be started from data of one identity, or from none, in the place of a member
// that has joined as another, or has not joined.
func compare(dataDir string, joined, has *member.Identity, cluster uint64) error {
	switch {
	case joined != nil && has == nil:
		return refuse(member.ExitDataLost, "the volume lost the data of member %x of cluster %x: %s has none. "+
			"It must not join again under its old identity, which would forget votes and entries it has acknowledged; the operator replaces it",
			joined.Member, joined.Cluster, dataDir)
	case has == nil:
		return nil
	case joined != nil && *has != *joined:
		return refuse(member.ExitOtherMember, "the data in %s are those of member %x of cluster %x, and this pod is member %x of cluster %x: "+
			"it got another member's volume. The operator replaces it; the volume is left as it is",
			dataDir, has.Member, has.Cluster, joined.Member, joined.Cluster)
	case cluster != 0 && has.Cluster != cluster:
		return refuse(member.ExitOtherMember, "the data in %s are those of member %x of cluster %x, and this pod belongs to cluster %x: "+
			"it got another cluster's volume. The operator replaces it; the volume is left as it is",
			dataDir, has.Member, has.Cluster, cluster)
	}
	return nil
}

// usagef returns an error that is [ErrUsage] and says so in its own words.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type usageError struct{ error }

// Is says that the error is [ErrUsage].
func (usageError) Is(target error) bool { return target == ErrUsage }

// Unwrap returns the error in its own words.
func (e usageError) Unwrap() error { return e.error }

func refuse(status int, format string, args ...any) error {
	return &member.RefusalError{Status: status, Err: fmt.Errorf(format, args...)}
}

// tell writes a text to a termination log, if there is one.
func tell(path, text string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	file, err := files.Append(path, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text[:min(len(text), terminationBytes)])
	return errors.Join(err, file.Close())
}

// memberDir is the folder in which etcd has its log and its database.
func memberDir(dataDir string, names ...string) string {
	return filepath.Join(append([]string{dataDir, "member"}, names...)...)
}
