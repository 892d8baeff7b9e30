package admin

import (
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"

	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

func (a *admin) explain(ctx *fasthttp.RequestCtx) {
	question := admission.QuestionOf(queryOf(ctx))
	if question.URL == "" {
		Fail(ctx, http.StatusBadRequest, "say which request: ?url=http://HOST/PATH&method=M&header=Name:Value&clientIP=IP&revision=N")
		return
	}
	t, present := a.tableOf(ctx)
	if t == nil {
		return
	}
	explanation, err := admission.Explain(t, a.pinReader(present), question)
	if err != nil {
		Fail(ctx, http.StatusBadRequest, err.Error())
		return
	}
	show(ctx, http.StatusOK, explanation)
}

// noTable is what is said where no table has been published.
const noTable = "no documents have been loaded yet"

// tableOf returns the table that a question is about: the one in force, or the one of
// ?revision=N. Without one it has answered, and returns nil. present says that the table
// is in force now.
func (a *admin) tableOf(ctx *fasthttp.RequestCtx) (t *routing.Table, present bool) {
	text := queryOf(ctx).Get("revision")
	if text == "" {
		if t, _ = a.router.InForce(); t == nil {
			Fail(ctx, http.StatusServiceUnavailable, noTable)
		}
		return t, true
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 0 {
		Fail(ctx, http.StatusBadRequest, "revision is no whole number; write one such as 4711")
		return nil, false
	}
	t, present, err = a.router.TableAt(revision)
	switch {
	case err != nil:
		Fail(ctx, http.StatusNotFound, err.Error())
	case t == nil:
		Fail(ctx, http.StatusServiceUnavailable, noTable)
	}
	return t, present
}

// pinReader returns who reads pins for an explanation: of what is in force, as a request
// would. What a pin was earlier nobody remembers.
func (a *admin) pinReader(present bool) admission.PinReader {
	if !present {
		return nil
	}
	return a.router.PinReader()
}
