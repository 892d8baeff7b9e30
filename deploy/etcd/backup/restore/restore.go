// Package restore makes data of etcd out of backups, and so verifies them as well.
//
// Both ways are one: the full backup becomes a database in a scratch folder, the deltas are written into it
// by etcd's own code for its database, a transaction for each revision, so that every revision has its old
// number; the hashes that the old cluster said of itself are compared on the way. [Restore] then makes a data
// directory of it, at a revision above all that was ever seen. [Verify] starts an etcd on it, asks it, and
// removes it.
//
// It is the one package of ours that links etcd's server.
package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/store"
)

const (
	// DefaultBump is by how much the revision of restored data is above the last one that is known of the old
	// cluster: there may have been later ones that no backup saw.
	DefaultBump = 1_000_000_000
	// building is how the names of folders begin in which data are made ready, inside the target.
	building = ".gridrouter-restoring-"
)

// ErrTarget says that the data directory has something in it.
var ErrTarget = errors.New("the data directory is not empty; name one that is empty or not there")

// Options say what is restored, and to where.
type Options struct {
	Store store.Store
	// ID is of the chain; empty: the newest that has the revision.
	ID string
	// Revision is the one to restore; 0: the last one that the chain has.
	Revision int64
	// Dir is the data directory, which is not there or empty. It takes twice the size of the database while it
	// is made.
	Dir string
	// Name, InitialCluster, Token and PeerURLs are of the member that will start on it, as etcd's flags of
	// these names. All members of a new cluster are restored from the same backup with the same values.
	Name, InitialCluster, Token string
	PeerURLs                    []string
	// Bump is by how much the revision is above all that is known; 0: [DefaultBump].
	Bump int64
	// Seen is the highest revision that anybody knows of the old cluster, if that is above what the backup
	// knows.
	Seen int64
	// DefaultTTL is of leases of which etcd could not be asked, in seconds; 0: 60.
	DefaultTTL int64
	// Report hears in words what goes on; nil: nobody does.
	Report func(text string)
}

// Result is what was restored or verified.
type Result struct {
	// ID is of the chain; Full is the revision of its full backup, Revision the restored one, of the old cluster.
	ID       string
	Full     int64
	Revision int64
	// NewRevision is where the restored data begin; all before is compacted. 0 if nothing was restored.
	NewRevision int64
	// Deltas and Events were written over the full backup.
	Deltas int64
	Events int
	// Compared is how many recorded hashes were equal, Incomparable how many were of another compaction.
	Compared, Incomparable int
	// Keys is the number of keys.
	Keys int

	hash mvcc.KeyValueHash // of Revision, before it was bumped
}

func (o *Options) report(format string, args ...any) {
	if o.Report != nil {
		o.Report(fmt.Sprintf(format, args...))
	}
}

// Restore makes a data directory. Until it is whole there is nothing in it that etcd would start from; when
// it fails, all that it made is gone.
//
// What is wrong with the backup is a [*backup.DamageError]. A damaged chain is restored up to a revision before
// the damage if Revision says so.
func Restore(ctx context.Context, o Options) (Result, error) {
	if err := o.Check(); err != nil {
		return Result{}, err
	}
	c, err := o.pick(ctx)
	if err != nil {
		return Result{}, err
	}
	made, err := prepare(o.Dir)
	if err != nil {
		return Result{}, err
	}
	scratch, err := os.MkdirTemp(o.Dir, building)
	if err != nil {
		return Result{}, made.undo(err)
	}
	result, err := o.into(ctx, c, scratch)
	if removeErr := os.RemoveAll(scratch); err == nil && removeErr != nil {
		o.report("what is of no use any more is left: %v", removeErr)
	}
	if err != nil {
		return Result{}, made.undo(err)
	}
	return result, nil
}

// into builds in the scratch folder, and moves what is whole to its place by one rename.
func (o *Options) into(ctx context.Context, c *backup.Chain, scratch string) (Result, error) {
	database := filepath.Join(scratch, "db")
	result, err := o.rebuild(ctx, c, database)
	if err != nil {
		return Result{}, err
	}
	known := max(c.Last(), result.Revision, o.Seen)
	bump := known - result.Revision + o.Bump
	data := filepath.Join(scratch, "data")
	o.report("the data begin at revision %d, above the last known %d of the old cluster", result.Revision+bump, known)
	if err := o.dataDir(database, data, bump); err != nil {
		return Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	member := filepath.Join(o.Dir, "member")
	if err := syncTree(data); err != nil {
		return Result{}, err
	}
	if err := os.Rename(filepath.Join(data, "member"), member); err != nil {
		return Result{}, err
	}
	if err := syncTree(o.Dir); err != nil {
		_ = os.RemoveAll(member)
		return Result{}, err
	}
	result.NewRevision = result.Revision + bump
	return result, nil
}

// dataDir has etcd's own tool make a data directory of a database. Where bump is 0, revisions stay as they are.
func (o *Options) dataDir(database, dir string, bump int64) error {
	err := snapshot.NewV3(quiet()).Restore(snapshot.RestoreConfig{
		SnapshotPath: database, Name: o.Name, OutputDataDir: dir,
		PeerURLs: o.PeerURLs, InitialCluster: o.InitialCluster, InitialClusterToken: o.Token,
		SkipHashCheck: true, // it was checked, and has changed since
		RevisionBump:  uint64(bump), MarkCompacted: bump > 0,
	})
	if err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	return nil
}

// Check says what is wrong with the options, and fills in defaults. It opens nothing.
func (o *Options) Check() error {
	if o.Bump == 0 {
		o.Bump = DefaultBump
	}
	urls, err := types.NewURLsMap(o.InitialCluster)
	switch {
	case o.Dir == "":
		return errors.New("the data directory is not named; give --data-dir DIR")
	case o.Name == "":
		return errors.New("the member has no name")
	case err != nil:
		return fmt.Errorf("the initial cluster: %w; write NAME=http://HOST:2380, a comma, and the next", err)
	case len(urls[o.Name]) == 0:
		return fmt.Errorf("the initial cluster does not name the member %q; write %s=http://HOST:2380", o.Name, o.Name)
	case o.Bump < 1, o.Seen < 0, o.Revision < 0, o.DefaultTTL < 0:
		return errors.New("revisions, their bump and the TTL of leases are positive")
	case len(o.PeerURLs) == 0:
		o.PeerURLs = urls[o.Name].StringSlice()
	}
	peers, err := types.NewURLs(o.PeerURLs)
	if err != nil {
		return fmt.Errorf("the peer URLs: %w; write http://HOST:2380", err)
	}
	if peers.String() != urls[o.Name].String() {
		return fmt.Errorf("the initial cluster has %s for the member %q, and its peer URLs are %s; they are the same", urls[o.Name], o.Name, peers)
	}
	return nil
}

// pick opens the chain that is asked for, or finds one that has the revision.
func (o *Options) pick(ctx context.Context) (*backup.Chain, error) {
	var (
		c   *backup.Chain
		err error
	)
	switch {
	case o.ID != "":
		c, err = backup.Open(ctx, o.Store, o.ID)
	case o.Revision == 0:
		c, err = backup.Latest(ctx, o.Store)
	default:
		c, err = o.having(ctx)
	}
	if err != nil {
		return nil, err
	}
	c.Report = o.Report
	return c, o.usable(c)
}

// having returns the newest chain that has the revision and of which nothing is seen to be damaged. Where none
// is known to reach it, it is the newest that begins before it: its end may not be written down yet.
func (o *Options) having(ctx context.Context) (*backup.Chain, error) {
	chains, err := backup.List(ctx, o.Store)
	if err != nil {
		return nil, err
	}
	var before *backup.Chain
	for i := len(chains) - 1; i >= 0; i-- {
		c := chains[i]
		if c.Manifest == nil || c.Manifest.Revision > o.Revision {
			continue
		}
		if before == nil {
			before = c
		}
		if c.Last() >= o.Revision && len(c.Damages) == 0 {
			return c, nil
		}
	}
	if before == nil {
		return nil, fmt.Errorf("no backup in %s begins at revision %d or before: %w", o.Store, o.Revision, backup.ErrNone)
	}
	return before, nil
}

// usable says why a chain cannot be restored, as far as that is seen at once.
func (o *Options) usable(c *backup.Chain) error {
	switch {
	case !c.Finished():
		return fmt.Errorf("backup %s was never finished: %w", c.ID, backup.ErrNone)
	case c.Manifest == nil:
		return c.Damages[0]
	case o.Revision > 0 && o.Revision < c.Manifest.Revision:
		return fmt.Errorf("backup %s begins at revision %d; choose an older one for revision %d", c.ID, c.Manifest.Revision, o.Revision)
	case o.Revision == 0 && len(c.Damages) > 0:
		return fmt.Errorf("%w; choose another backup, or a revision before the damage", c.Damages[0])
	}
	return nil
}

// prepared is what was made to hold the data.
type prepared struct{ made string } // empty: the folder was there

// prepare makes the target, or finds it empty. What a restore left that was killed is removed.
func prepare(dir string) (prepared, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return prepared{dir}, os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return prepared{}, fmt.Errorf("the data directory: %w", err)
	}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasPrefix(name, building):
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return prepared{}, err
			}
		case name == "lost+found": // of the file system
		default:
			return prepared{}, fmt.Errorf("%s has %q in it: %w", dir, name, ErrTarget)
		}
	}
	return prepared{}, nil
}

// undo removes the target if it was made, and returns err.
func (p prepared) undo(err error) error {
	if p.made != "" {
		_ = os.Remove(p.made)
	}
	return err
}

// syncTree has a tree outlive a crash.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path) //nolint:gosec // nobody else writes below a folder that was made for this
		if err != nil {
			return err
		}
		err = file.Sync()
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		return err
	})
}
