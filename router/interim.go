package router

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"gridrouter.io/router/faults"
	"gridrouter.io/routing"
)

// expectation is a client that waits for 100 (Continue) before it sends its body (RFC 9110
// 10.1.1). Its deck is asked first, so that one that refuses need not receive the body; where
// the deck is silent, the router says it after a while, because clients give up waiting too, or
// never do. Whatever is written to the client while it waits is written under the lock.
type expectation struct {
	client   *client
	deadline int64 // of the request, for writing
	timer    *time.Timer

	mu      sync.Mutex
	waiting bool
}

// expect begins the wait of a client that has sent nothing of its body.
func (x *exchange) expect() {
	e := &expectation{client: x.client, deadline: x.deadline, waiting: true}
	e.timer = time.AfterFunc(x.router.cfg.ClientTimeouts.Continue, func() { _ = e.sendContinue() }) // a client that is gone is noticed by whoever reads
	x.expectation = e
}

// sendContinue tells the client to go on, unless that is over.
func (e *expectation) sendContinue() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.waiting {
		return nil
	}
	e.waiting = false
	_, err := e.client.send(continueAnswer, e.deadline)
	return err
}

// endExpectation says that the client shall not be told to go on any more: its answer begins.
func (x *exchange) endExpectation() {
	e := x.expectation
	if e == nil {
		return
	}
	e.timer.Stop()
	e.mu.Lock()
	e.waiting = false
	e.mu.Unlock()
	x.expectation = nil
}

// passInterim passes on an answer that announces another one (RFC 9110 15.2), such as 103 (Early
// Hints). 100 (Continue) is for a client that still waits for it, and a client of HTTP/1.0 knows
// of none.
func (x *exchange) passInterim() routing.Fault {
	e := x.expectation
	if x.answer.Status == http.StatusContinue {
		if e != nil && e.sendContinue() != nil {
			return faults.ClientGone
		}
		return faults.None
	}
	if x.head.HTTP10 {
		return faults.None
	}
	if e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	x.out = x.appendInterim(x.out[:0])
	if _, err := x.client.send(x.out, x.deadline); err != nil {
		return faults.ClientGone
	}
	return faults.None
}

// appendInterim appends an interim answer as the client receives it.
func (x *exchange) appendInterim(dst []byte) []byte {
	a := &x.answer
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(a.Status), 10)
	dst = append(append(append(dst, ' '), a.Reason...), "\r\n"...)
	return append(a.AppendFields(dst), "\r\n"...)
}
