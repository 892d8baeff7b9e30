package discovery

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// openWatcher gets the system's word of changes. Without it the folder is
// polled alone.
func (f *Folder) openWatcher() {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		f.log.Warn("this system gives no word of changed files, so the folder is read every while; "+
			"a higher limit of inotify instances (fs.inotify.max_user_instances) mends it",
			zap.Duration("every", f.cfg.Poll), zap.Error(err))
		return
	}
	f.watcher, f.watched = watcher, nil
}

func (f *Folder) closeWatcher() {
	if f.watcher != nil {
		_ = f.watcher.Close() // nothing is left to do with it
		f.watcher = nil
	}
}

// watchFolder makes sure that the watcher looks at the folder that has the
// name now: it may have been removed and made again, or be a link that points
// elsewhere since.
func (f *Folder) watchFolder() {
	if f.watcher == nil {
		return
	}
	present, err := os.Stat(f.cfg.Dir)
	if err != nil {
		return // reading it will tell
	}
	listed := len(f.watcher.WatchList()) > 0
	if listed && f.watched != nil && os.SameFile(present, f.watched) {
		return
	}
	for _, path := range slices.Clone(f.watcher.WatchList()) {
		_ = f.watcher.Remove(path) // it may be gone already
	}
	f.watched = nil
	if err := f.watcher.Add(f.cfg.Dir); err != nil {
		f.log.Warn("cannot watch the folder, so it is read every while", zap.String("folder", f.cfg.Dir),
			zap.Duration("every", f.cfg.Poll), zap.Error(err))
		return
	}
	f.watched = present
}

// awaitChange waits until something in the folder has changed and it has been
// still for a moment, or until wait is over, or ctx.
func (f *Folder) awaitChange(ctx context.Context, wait time.Duration) {
	var events chan fsnotify.Event
	var faults chan error
	if f.watcher != nil {
		events, faults = f.watcher.Events, f.watcher.Errors
	}
	poll := time.NewTimer(wait)
	defer poll.Stop()
	select {
	case <-ctx.Done():
		return
	case <-poll.C:
		return
	case <-events:
	case <-faults: //nolint:errcheck // too many events for the system's queue: one of them counts
	}
	latest := time.NewTimer(settleAtMost * f.cfg.Settle)
	defer latest.Stop()
	still := time.NewTimer(f.cfg.Settle)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-still.C:
			return
		case <-latest.C:
			return
		case <-events:
			still.Reset(f.cfg.Settle)
		case <-faults: //nolint:errcheck // as above
		}
	}
}
