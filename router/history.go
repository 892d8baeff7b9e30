package router

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

var errNoTable = errors.New("no documents have been loaded yet")

// tableOf returns the table that a question is about: the one in force, or the one of
// ?revision=N. Without one it has answered, and returns nil. present says that the table
// is in force now.
func (a *admin) tableOf(w http.ResponseWriter, req *http.Request) (t *routing.Table, present bool) {
	text := req.URL.Query().Get("revision")
	if text == "" {
		if t = a.router.Table(); t == nil {
			fail(w, http.StatusServiceUnavailable, errNoTable.Error())
		}
		return t, true
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 0 {
		fail(w, http.StatusBadRequest, "revision is no whole number; write one such as 4711")
		return nil, false
	}
	t, present, err = a.router.recent.at(revision)
	switch {
	case errors.Is(err, errNoTable):
		fail(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		fail(w, http.StatusNotFound, err.Error())
	}
	return t, present
}

// pinReader returns who reads pins for an explanation: of what is in force, as a request
// would. What a pin was earlier nobody remembers.
func (a *admin) pinReader(present bool) admission.PinReader {
	if !present || a.router.cfg.Pins == nil {
		return nil
	}
	return func(tenant string, key []byte) routing.Pinned {
		return a.router.pin(time.Now().Add(pinPatience), tenant, key)
	}
}
