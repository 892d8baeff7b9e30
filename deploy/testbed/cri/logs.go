package cri

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// longestLine is how much of a line is kept back until its end comes, in bytes.
const longestLine = 16 << 10

// logFile takes the output of a container in the form that the kubelet reads: a line has its
// time, its stream, and a mark whether the line is whole.
type logFile struct {
	path string

	mu   sync.Mutex
	file *os.File
}

func openLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	l := &logFile{path: path}
	return l, l.reopen()
}

// reopen goes on at the end of the file that has the log's name now.
func (l *logFile) reopen() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file = file
	return nil
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

func (l *logFile) write(stream, mark string, line []byte) {
	entry := make([]byte, 0, len(line)+64)
	entry = time.Now().UTC().AppendFormat(entry, time.RFC3339Nano)
	entry = append(entry, ' ')
	entry = append(entry, stream...)
	entry = append(entry, ' ')
	entry = append(entry, mark...)
	entry = append(entry, ' ')
	entry = append(entry, line...)
	entry = append(entry, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(entry) // a container goes on where its log cannot be written
}

// logStream cuts one stream of a container into lines. It is used by one goroutine.
type logStream struct {
	log  *logFile
	name string
	rest []byte
}

func (l *logFile) stream(name string) *logStream { return &logStream{log: l, name: name} }

// Write takes any part of the output.
func (s *logStream) Write(part []byte) (int, error) {
	s.rest = append(s.rest, part...)
	for {
		end := bytes.IndexByte(s.rest, '\n')
		switch {
		case end >= 0:
			s.log.write(s.name, "F", s.rest[:end])
			s.rest = s.rest[end+1:]
		case len(s.rest) >= longestLine:
			s.log.write(s.name, "P", s.rest)
			s.rest = nil
		default:
			return len(part), nil
		}
	}
}

// flush writes what has no end of line.
func (s *logStream) flush() {
	if len(s.rest) > 0 {
		s.log.write(s.name, "F", s.rest)
		s.rest = nil
	}
}
