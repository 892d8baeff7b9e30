package main

import (
	"context"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
)

const (
	supervisorPatience = time.Second // for the supervisor to take a word
	readyLook          = 50 * time.Millisecond
)

// What a supervisor is told, in the words of systemd's sd_notify(3).
const (
	supervisorReady    = "READY=1"
	supervisorStopping = "STOPPING=1"
)

// tellSupervisor sends a word to the socket that $NOTIFY_SOCKET names: a path, or "@" and
// the name of an abstract one. Without it there is nobody to tell.
func tellSupervisor(word string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // what was written has been taken
	if err := conn.SetWriteDeadline(time.Now().Add(supervisorPatience)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(word))
	return err
}

// tell tells the supervisor, or the log that it cannot be told.
func (s *service) tell(word string) {
	if err := tellSupervisor(word); err != nil {
		s.log.Warn("the supervisor ($NOTIFY_SOCKET) cannot be told", zap.String("word", word), zap.Error(err))
	}
}

// tellReadiness tells the supervisor when the router is ready for the first time, and when
// draining begins, whichever comes.
func (s *service) tellReadiness(ctx context.Context) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	tick := time.NewTicker(readyLook)
	defer tick.Stop()
	looks := tick.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.router.DrainBegun():
			s.tell(supervisorStopping)
			return nil
		case <-looks:
			if s.router.Ready() == nil {
				s.tell(supervisorReady)
				looks = nil
			}
		}
	}
}
