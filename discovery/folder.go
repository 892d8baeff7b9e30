package discovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// FolderConfig says what to follow. Dir and Split are required.
type FolderConfig struct {
	// Dir holds the files: *.yaml, *.yml and *.json directly in it. Folders
	// inside it are not looked into; names that begin with "." or "#" are
	// passed over. Dir and the files may be symbolic links, as in a Kubernetes
	// ConfigMap mount.
	Dir string
	// Split turns one file into its entries, in their order. name is the
	// file's name without Dir; Key, Value and Origin of each entry count. An
	// error refuses the whole file. It is called from one goroutine, and only
	// when the content has changed.
	Split func(name string, data []byte) ([]Entry, error)
	// Settle is how long the folder must be still before it is read: an editor
	// touches a file several times to save it once. Default 50 ms; a folder
	// that is never still is read after ten times that.
	Settle time.Duration
	// Poll is how often the folder is read without being asked to, for file
	// systems that tell of no changes. Default 5 s.
	Poll time.Duration
	// FileLimit is the largest file that is read, in bytes. Default 16 MiB.
	FileLimit int64
	// Logger may be nil: then nothing is logged.
	Logger *zap.Logger
	// Registerer may be nil: then nothing is measured. It takes one folder;
	// wrap it with a label for a second one.
	Registerer prometheus.Registerer
}

// Folder is a Source that follows the files of a folder. Every batch is Whole,
// and there is none when nothing has changed. A file that cannot be read keeps
// its former entries and is listed in Batch.Faults; a file that is gone has no
// entries any more. Make one with NewFolder.
//
// Several files change as one step only if the folder is swapped as a whole,
// as ConfigMap mounts do. A file is best replaced by renaming a complete one
// over it. One that is written in place is read when its writer has closed it;
// until then its former entries count.
type Folder struct {
	cfg     FolderConfig
	log     *zap.Logger
	track   *tracker
	metrics *metrics
	// firstWaits is how long the first list waits for files that are written.
	firstWaits time.Duration

	// What follows belongs to the goroutine that runs Follow.
	watcher  *fsnotify.Watcher // nil: this system has none left, poll alone
	watched  fs.FileInfo       // the folder that watcher looks at
	files    map[string]*folderFile
	writing  map[string]time.Time // files that somebody writes, since when that was noticed
	told     map[string]bool      // folders in the folder that were told of
	began    time.Time            // of this Follow
	former   map[string]Entry     // by key, as delivered last
	last     Batch                // as delivered last
	revision int64
}

const (
	defaultSettle    = 50 * time.Millisecond
	settleAtMost     = 10 // times Settle
	defaultPoll      = 5 * time.Second
	defaultFileLimit = 16 << 20
	// writeStill is how long a file must be still where the system does not tell
	// who writes it, writtenPoll how often one that is written is looked at.
	writeStill  = time.Second
	writtenPoll = 100 * time.Millisecond
	// writtenAtStart is firstWaits, writtenLong from when on a file that is written
	// is a fault.
	writtenAtStart = 10 * time.Second
	writtenLong    = time.Minute
)

// NewFolder makes a source that follows cfg.Dir. The folder need not be there
// yet; a fault in cfg is told by Follow.
func NewFolder(cfg FolderConfig) *Folder {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Settle <= 0 {
		cfg.Settle = defaultSettle
	}
	if cfg.Poll <= 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.FileLimit <= 0 {
		cfg.FileLimit = defaultFileLimit
	}
	f := &Folder{cfg: cfg, log: cfg.Logger, track: newTracker(kindFiles, "folder "+cfg.Dir),
		files: map[string]*folderFile{}, former: map[string]Entry{}, writing: map[string]time.Time{}, told: map[string]bool{},
		firstWaits: writtenAtStart}
	f.metrics = newMetrics(kindFiles, cfg.Registerer, f.Status)
	return f
}

// Follow implements Source.
func (f *Folder) Follow(ctx context.Context, apply func(Batch)) error {
	if f.cfg.Dir == "" || f.cfg.Split == nil {
		return errors.New("folder source without a folder or a way to split files: give Dir and Split")
	}
	if err := f.track.begin(); err != nil {
		return err
	}
	defer f.track.end()
	f.openWatcher()
	defer f.closeWatcher()
	f.last = Batch{} // a new receiver knows nothing yet
	f.began = time.Now()

	var retry pacing
	for ctx.Err() == nil {
		wait := f.cfg.Poll
		if err := f.round(ctx, apply); err != nil {
			f.unreadable(err)
			wait = min(wait, retry.ceiling())
			retry.attempts++
		} else {
			retry.reset()
		}
		if len(f.writing) > 0 {
			wait = min(wait, writtenPoll)
		}
		f.awaitChange(ctx, wait)
	}
	return ctx.Err()
}

// round reads the folder once and delivers what it holds, if that is news.
func (f *Folder) round(ctx context.Context, apply func(Batch)) error {
	f.watchFolder() // before reading: what changes meanwhile is told then
	batch, err := f.scan()
	if err != nil || ctx.Err() != nil {
		return err
	}
	if !f.last.Whole && len(f.writing) > 0 && time.Since(f.began) < f.firstWaits {
		return nil // half of a first list would be worse than a late one
	}
	if f.news(batch) {
		f.revision++
		f.deliver(batch, apply)
	}
	f.track.proved(f.revision)
	return nil
}

// unreadable notes that the folder itself cannot be read, which says nothing
// of what is in it: what was delivered stays in force.
func (f *Folder) unreadable(err error) {
	f.metrics.failures.Inc()
	why := fmt.Sprintf("cannot read the folder %s: %s; what was read before stays in force", f.cfg.Dir, cause(err))
	if f.track.read().LastError != why {
		f.log.Warn("cannot read the folder, trying again", zap.String("folder", f.cfg.Dir), zap.String("cause", cause(err)))
	}
	f.track.failed(why)
}

// news says whether a batch differs from the one delivered last.
func (f *Folder) news(batch Batch) bool {
	return !f.last.Whole ||
		!slices.Equal(batch.Faults, f.last.Faults) ||
		!slices.EqualFunc(batch.Put, f.last.Put, func(a, b Entry) bool {
			return a.Key == b.Key && a.Origin == b.Origin && string(a.Value) == string(b.Value)
		})
}

// deliver gives the entries their revisions and hands the batch over.
func (f *Folder) deliver(batch Batch, apply func(Batch)) {
	batch.Whole, batch.Revision = true, f.revision
	entries := make(map[string]Entry, len(batch.Put))
	for i := range batch.Put {
		entry := &batch.Put[i]
		entry.Revision, entry.Created = f.revision, 0
		if old, known := f.former[entry.Key]; known && string(old.Value) == string(entry.Value) {
			entry.Revision = old.Revision
		}
		entries[entry.Key] = *entry
	}
	f.former, f.last = entries, batch
	f.log.Info("read the folder", zap.String("folder", f.cfg.Dir), zap.Int64("revision", f.revision),
		zap.Int("files", len(f.files)), zap.Int("entries", len(batch.Put)), zap.Int("faults", len(batch.Faults)))
	for _, fault := range batch.Faults {
		f.log.Warn("cannot use a file", zap.String("origin", fault.Origin), zap.String("cause", fault.Message))
	}
	batch.Put, batch.Faults = slices.Clone(batch.Put), slices.Clone(batch.Faults) // the receiver's own
	apply(batch)
	f.metrics.delivered(batch)
}

// Status implements Source. Its Age is the time since the folder was read
// last, at most Poll while all is well.
func (f *Folder) Status() Status { return f.track.read() }

// cause is an error without the path that the sentence around it names.
func cause(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist; create it, or name another one"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("permission denied; give user %d the right to read it", os.Getuid())
	}
	return strings.TrimSpace(err.Error())
}
