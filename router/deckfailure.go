package router

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
)

// answerCause says what is wrong with an answer that cannot be read.
func answerCause(err error) upstream.Cause {
	if errors.Is(err, http1.ErrAnswerFraming) {
		return upstream.FailedFraming
	}
	return upstream.FailedHead
}

// waitCause says why a wait for an answer ended without one. head is what had come of its head.
func waitCause(err error, head []byte) (cause upstream.Cause, detail string) {
	var call *os.SyscallError
	switch {
	case errors.As(err, &call) && call.Syscall == "write":
		return upstream.FailedWrite, call.Err.Error()
	case strings.Contains(err.Error(), "remote error: tls:"): // TLS 1.3 tells of a refused certificate so late
		return upstream.FailedTLSRefused, err.Error()
	case beginsAlert(head):
		return upstream.FailedHead, speaksTLS
	case len(head) > 0:
		return upstream.FailedCut, "within its head"
	case errors.Is(err, io.EOF):
		return upstream.FailedClosed, ""
	}
	return upstream.FailedClosed, err.Error()
}

// cutDetail says how much of a body had come when it broke off.
func cutDetail(b *bodyFlow, sent int64) string {
	if b.body.Framing() == http1.FramedByLength {
		return fmt.Sprintf("%d bytes of its Content-Length were missing", b.body.Missing())
	}
	return fmt.Sprintf("behind %d bytes", sent)
}

// deckFailed notes what went wrong with the deck in this attempt. It is the request's reason,
// which stands in the access log if the request ends by it; the client is not told. detail says
// more than the cause does; empty: nothing.
func (x *exchange) deckFailed(cause upstream.Cause, detail string) {
	what := cause.Words()
	if detail != "" {
		what += ": " + detail
	}
	x.reason = what
	x.failure = upstream.Failure{Cause: cause, What: what, At: time.Now()}
}

// reportFailure counts what went wrong with the deck, shows it at its address, and logs it within
// bounds. It does so once.
func (x *exchange) reportFailure() {
	if x.failure.Cause == upstream.NoFailure {
		return
	}
	x.view.live.Failed(x.endpoint, x.failure, x.decision.Tenant, x.identity.RequestID)
	x.failure = upstream.Failure{}
}

// badHead says what is wrong with a head of an answer.
func badHead(err error, head []byte) string {
	if beginsAlert(head) {
		return speaksTLS
	}
	return http1.DescribeBadAnswer(err, head)
}

const speaksTLS = "it speaks TLS at this port, and its document has no tls"

// beginsAlert says whether an answer begins as what a server of TLS answers to plain text.
func beginsAlert(head []byte) bool {
	const alert, major = 0x15, 0x03
	return len(head) > 1 && head[0] == alert && head[1] == major
}
