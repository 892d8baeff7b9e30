package discovery

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/discovery/files"
)

// folderFile is what a file held when it was last read well, and what is wrong
// with it now.
type folderFile struct {
	sum     [sha256.Size]byte // of the content that entries or refused came from
	seen    bool              // sum is of something
	entries []Entry
	refused string // why the content of sum was refused; entries are older then
}

var errFileTooLarge = errors.New("it is larger than a file may be")

// scanTries is how often the folder is read at most until it did not change meanwhile.
const scanTries = 4

// scan reads the folder. Its error means that the folder could not be listed;
// what is wrong with single files is in the batch. A folder that was swapped
// while it was read is read again: half of the one and half of the other would
// lack what moved from file to file.
func (f *Folder) scan() (batch Batch, err error) {
	for range scanTries {
		before := f.look()
		if batch, err = f.scanOnce(); err != nil || maps.EqualFunc(before, f.look(), sameFile) {
			break
		}
	}
	return batch, err
}

// look returns which files are behind the names in the folder; nil: none of a file that is not there.
func (f *Folder) look() map[string]fs.FileInfo {
	names, _, _ := f.names() // reading it tells
	files := make(map[string]fs.FileInfo, len(names))
	for _, name := range names {
		files[name], _ = os.Stat(filepath.Join(f.cfg.Dir, name))
	}
	return files
}

// sameFile says whether nothing was put in the place of a file. What is written into one has its own rule.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b)
}

func (f *Folder) scanOnce() (Batch, error) {
	names, faults, err := f.names()
	if err != nil {
		return Batch{}, err
	}
	files := make(map[string]*folderFile, len(names))
	for _, name := range names {
		file := f.files[name]
		if file == nil {
			file = &folderFile{}
		}
		files[name] = file
		if why := f.readFile(name, file); why != "" {
			faults = append(faults, Fault{Origin: name, Message: why})
		}
	}
	for name := range f.writing {
		if files[name] == nil {
			delete(f.writing, name)
		}
	}
	f.files = files
	batch := Batch{Whole: true}
	batch.Put, faults = merge(names, files, faults)
	batch.Faults = faults
	return batch, nil
}

// names lists the files that count, in name order, and what is passed over though people may think
// that it counts.
func (f *Folder) names() (names []string, passed []Fault, err error) {
	listed, err := os.ReadDir(f.cfg.Dir)
	if err != nil {
		return nil, nil, err
	}
	for _, item := range listed {
		name := item.Name()
		switch {
		case item.IsDir():
			if !strings.HasPrefix(name, ".") && !f.told[name] {
				f.told[name] = true
				f.log.Warn("a folder is not looked into; put its files directly into the one that is followed",
					zap.String("name", name), zap.String("folder", f.cfg.Dir))
			}
		case isDocumentFile(name):
			names = append(names, name)
		case isDocumentFile(strings.ToLower(name)):
			passed = append(passed, Fault{Origin: name, Message: "is passed over, since its name does not end in .yaml, .yml or .json; rename it"})
		}
	}
	slices.Sort(names)
	return names, passed, nil
}

// isDocumentFile passes over hidden files and what editors leave beside the
// file that is being edited (.x.yaml.swp, x.yaml~, #x.yaml#, .#x.yaml).
func isDocumentFile(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readFile brings file up to date and says what is wrong with it, if anything.
func (f *Folder) readFile(name string, file *folderFile) string {
	data, err := f.load(name)
	if errors.Is(err, files.ErrBeingWritten) {
		return f.beingWritten(name, file)
	}
	delete(f.writing, name)
	if err != nil {
		return kept(file, fmt.Sprintf("cannot be read: %s", f.causeOf(err)))
	}
	if len(bytes.TrimSpace(data)) == 0 && len(file.entries) > 0 {
		// The first half of a write in place looks just like this.
		return kept(file, "is empty; write documents into it, or remove it to remove what it held")
	}
	sum := sha256.Sum256(data)
	if !file.seen || sum != file.sum {
		file.sum, file.seen, file.refused = sum, true, ""
		if entries, err := f.cfg.Split(name, data); err != nil {
			file.refused = err.Error()
		} else {
			file.entries = entries
		}
	}
	if file.refused != "" {
		return kept(file, file.refused)
	}
	return ""
}

// beingWritten notes a file that somebody writes. It says when that takes too long, and when nothing of
// the file is in the first list, which has waited for it: what is missing there must not go unsaid.
func (f *Folder) beingWritten(name string, file *folderFile) string {
	since, noted := f.writing[name]
	if !noted {
		since = time.Now()
		f.writing[name] = since
	}
	due := f.began.Add(f.firstWaits)
	switch {
	case time.Since(since) >= writtenLong:
		return kept(file, "is being written for more than a minute, or its writer has left it open; write it elsewhere and rename it")
	case !file.seen && since.Before(due) && !time.Now().Before(due):
		return "is being written since the start, and is left out until its writer has closed it"
	}
	return ""
}

// load reads one file, within the limit. Only regular files are read: a pipe would make us
// wait for its writer.
func (f *Folder) load(name string) ([]byte, error) {
	data, err := files.ReadStill(filepath.Join(f.cfg.Dir, name), f.cfg.FileLimit, writeStill)
	switch {
	case errors.Is(err, files.ErrNotRegular):
		return nil, errors.New("it is not a file; put documents into files, directly in the folder")
	case errors.Is(err, files.ErrTooLarge):
		return nil, errFileTooLarge
	}
	return data, err
}

func (f *Folder) causeOf(err error) string {
	if errors.Is(err, errFileTooLarge) {
		return fmt.Sprintf("%s (%d bytes); split it into several", err, f.cfg.FileLimit)
	}
	return cause(err)
}

// kept adds to a file's fault what is in force meanwhile.
func kept(file *folderFile, why string) string {
	if len(file.entries) == 0 {
		return why
	}
	return fmt.Sprintf("%s (its former %d entries stay in force)", why, len(file.entries))
}

// merge puts the files' entries together. Where a key is given twice the first
// one, by file name and then by place, wins.
func merge(names []string, files map[string]*folderFile, faults []Fault) ([]Entry, []Fault) {
	var entries []Entry
	first := map[string]string{} // key -> where it was given
	for _, name := range names {
		for _, entry := range files[name].entries {
			if entry.Origin == "" {
				entry.Origin = name
			}
			if where, twice := first[entry.Key]; twice {
				faults = append(faults, Fault{Origin: entry.Origin,
					Message: fmt.Sprintf("%s is given at %s already, which wins; remove one of the two", entry.Key, where)})
				continue
			}
			first[entry.Key] = entry.Origin
			entries = append(entries, entry)
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return strings.Compare(a.Origin, b.Origin) })
	return entries, faults
}
