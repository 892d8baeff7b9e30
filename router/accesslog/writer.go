package accesslog

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/discovery/files"
)

const (
	writeEvery = 200 * time.Millisecond // how long a line waits to be written, at most
	leave      = time.Second            // that the last lines may take to be written
)

// state is what the log's logger was told last.
type state uint8

const (
	fine   state = iota
	broken       // writing fails
	unread       // nobody reads the pipe
)

// Reopen opens the file anew, for after it has been moved away. On an error the log goes
// on where it was. It does not wait, not even for a write that is under way: what is not
// written of it goes to the new file.
func (l *Log) Reopen() error {
	if l.cfg.File == "" {
		return nil
	}
	file, err := files.Append(l.cfg.File, 0o640) // readable to its group
	if err != nil && !errors.Is(err, files.ErrNoReader) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		_ = file.Close() // nothing was written; nil has nothing to close
		return nil
	}
	if l.file != nil {
		_ = l.file.Close() // what it took has been written; who waits for it to take more goes on
	}
	l.turn++
	l.file, l.out = file, nil
	if file != nil {
		l.out = file
	}
	return nil
}

// Close writes what is left and closes the file. What cannot be written within a second is
// given up and told of. Where Output is what takes nothing, its writer is left behind.
func (l *Log) Close() {
	l.once.Do(func() { close(l.stop) })
	if !l.endsWithin(leave) {
		l.end()
		if !l.endsWithin(leave) {
			l.cfg.Logger.Error("nobody takes the last lines of the access log; they are lost")
		}
	}
}

func (l *Log) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.done:
		return true
	case <-timer.C:
		return false
	}
}

// end takes the file from the writer, wherever that is, for good.
func (l *Log) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	if l.file != nil {
		_ = l.file.Close() // all that could be written has been
		l.turn++
		l.file, l.out = nil, nil
	}
}

func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	var spare []byte
	for {
		select {
		case <-l.stop:
			l.awaken()
			l.flush(spare)
			l.end()
			l.farewell()
			return
		case <-l.wake:
		case <-tick.C:
			l.awaken()
		}
		spare = l.flush(spare)
	}
}

// awaken looks whether somebody reads the pipe by now.
func (l *Log) awaken() {
	if out, _ := l.target(); out == nil {
		_ = l.Reopen() // the next look comes soon
	}
}

// farewell counts the lines that are left, and tells if any were lost since the start.
func (l *Log) farewell() {
	for i := range l.lanes {
		lane := &l.lanes[i]
		lane.mu.Lock()
		l.failed.Add(countLines(lane.buf))
		lane.buf = nil
		lane.mu.Unlock()
	}
	if slow, failed := l.slow.Load(), l.failed.Load(); slow+failed > 0 {
		l.cfg.Logger.Warn("lines of the access log were lost since the start",
			zap.Uint64("written", l.lines.Load()), zap.Uint64("tooSlow", slow), zap.Uint64("failed", failed))
	}
}

// target is what lines are written to at the moment, and its turn; nil: nobody would take them.
func (l *Log) target() (out io.Writer, turn int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out, l.turn
}

// current says whether it is still that turn.
func (l *Log) current(turn int) bool {
	_, now := l.target()
	return now == turn
}

// flush writes what each lane has gathered, swapping its buffer for the spare one. While
// nobody reads the pipe, lines stay in their lanes.
func (l *Log) flush(spare []byte) []byte {
	l.writing.Lock()
	defer l.writing.Unlock()
	for i := range l.lanes {
		if out, _ := l.target(); out == nil {
			l.tell(unread, nil)
			return spare
		}
		lane := &l.lanes[i]
		lane.mu.Lock()
		gathered := lane.buf
		lane.buf = spare[:0]
		lane.mu.Unlock()
		if len(gathered) > 0 {
			l.writeOut(gathered)
		}
		spare = gathered
	}
	return spare
}

// writeOut writes whole lines. Those that are written are counted as such, and all others
// as lost; what was written of a line when the file was opened anew is written there again.
func (l *Log) writeOut(p []byte) {
	for len(p) > 0 {
		out, turn := l.target()
		if out == nil {
			l.failed.Add(countLines(p))
			return
		}
		n, err := l.put(out, turn, p)
		whole := bytes.LastIndexByte(p[:n], '\n') + 1
		l.lines.Add(countLines(p[:whole]))
		if n > whole {
			l.torn = turn
		}
		p = p[whole:]
		switch {
		case err == nil:
			l.tell(fine, nil)
		case !l.current(turn): // it was opened anew
		case errors.Is(err, syscall.EPIPE) && l.abandon(turn):
			l.failed.Add(countLines(p))
			l.tell(unread, nil)
			return
		default:
			l.failed.Add(countLines(p))
			l.tell(broken, err)
			return
		}
	}
}

// put writes p on a line of its own, and returns how much of it was written.
func (l *Log) put(out io.Writer, turn int, p []byte) (int, error) {
	if l.torn == turn {
		if _, err := out.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
	}
	l.torn = 0
	n, err := out.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return min(max(n, 0), len(p)), err
}

// abandon closes the file whose reader has left, and says whether it did: Output is not ours.
func (l *Log) abandon(turn int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.turn != turn {
		return false
	}
	_ = l.file.Close() // nobody reads what it holds
	l.turn++
	l.file, l.out = nil, nil
	return true
}

// tell logs a change of state, once.
func (l *Log) tell(state state, err error) {
	if state == l.state {
		return
	}
	l.state = state
	switch state {
	case fine:
		l.cfg.Logger.Info("the access log is written again")
	case broken:
		l.cfg.Logger.Error("the access log cannot be written; lines are lost until it can", zap.Error(err))
	case unread:
		l.cfg.Logger.Warn("nobody reads the pipe that the access log is written to; lines wait for a reader, and are lost when too many do",
			zap.String("file", l.cfg.File), zap.Int("bytesThatWait", len(l.lanes)*bound))
	}
}

// countLines counts whole lines.
func countLines(p []byte) uint64 { return uint64(bytes.Count(p, []byte{'\n'})) }
