package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/cmd/flags"
)

// lastWords is how long the last line may take where nobody takes what is logged.
const lastWords = time.Second

// signals tells a command of the signals that it gets, and ends the process by itself where
// the command cannot: at a signal to stop during its start, and at the second one whatever
// it waits for, be it a disk, a name, or whoever reads its logs.
type signals struct {
	// stop has the first signal to stop, once.
	stop chan os.Signal
	// reload has a value where a SIGHUP came that nothing was done about yet.
	reload chan struct{}

	log      atomic.Pointer[zap.Logger] // nil: there is none yet
	running  atomic.Bool                // the command reads stop
	inFlight atomic.Pointer[func() int64]
	in       chan os.Signal
	done     chan struct{}
}

// watchSignals begins; end must follow. name is the command's, for what is said before there
// is a log.
func watchSignals(name string) *signals {
	s := &signals{
		stop: make(chan os.Signal, 1), reload: make(chan struct{}, 1),
		in: make(chan os.Signal, 8), done: make(chan struct{}),
	}
	signal.Notify(s.in, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go s.watch(name)
	return s
}

// end gives signals back their usual effect: from now on the first one ends the process.
func (s *signals) end() {
	signal.Stop(s.in)
	close(s.in)
	<-s.done
}

func (s *signals) watch(name string) {
	defer close(s.done)
	stopping := false
	for got := range s.in {
		switch {
		case got == syscall.SIGHUP:
			select {
			case s.reload <- struct{}{}:
			default: // one is waiting already, and serves for both
			}
		case stopping:
			s.exit(flags.ExitFault, name, "a second signal ends the process at once; what is in flight is cut", got)
		case !s.running.Load():
			s.exit(flags.ExitClean, name, "a signal ends the start", got)
		default:
			stopping = true
			s.stop <- got
		}
	}
}

// exit says why and ends the process, even where nobody takes what it says.
func (s *signals) exit(status int, name, why string, got os.Signal) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		log := s.log.Load()
		if log == nil {
			_, _ = fmt.Fprintf(os.Stderr, "%s: %s: %s\n", name, why, got) // there is nobody else to tell
			return
		}
		fields := []zap.Field{zap.Stringer("signal", got), zap.Int("exitStatus", status)}
		if count := s.inFlight.Load(); count != nil {
			fields = append(fields, zap.Int64("requestsInFlight", (*count)()))
		}
		log.Warn(why, fields...)
	}()
	select {
	case <-said:
	case <-time.After(lastWords):
	}
	os.Exit(status)
}
