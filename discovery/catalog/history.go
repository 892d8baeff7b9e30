package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gridrouter.io/routing/document"
)

// Action says what the change did: Create, Update or Delete.
func (r *Record) Action() Action {
	switch {
	case isNull(r.Before) && !isNull(r.After):
		return Create
	case isNull(r.After):
		return Delete
	}
	return Update
}

// Epochs returns the epoch of a tenant's forms before and after the change; 0 where
// there is no form, or where it bears no epoch, as those of other kinds.
func (r *Record) Epochs() (before, after uint64) { return epochOf(r.Before), epochOf(r.After) }

// isNull says whether a record's form stands for no document.
func isNull(form json.RawMessage) bool {
	trimmed := bytes.TrimSpace(form)
	return len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null"))
}

// NoRecordsError says that no change record of a document is kept.
type NoRecordsError struct {
	// Key is the document's key, such as tenants/acme.
	Key string
	// Stored says that the document itself is there: it was not written by a catalog.
	Stored bool
}

// Error says what is known of the document.
func (e *NoRecordsError) Error() string {
	if e.Stored {
		return describe(e.Key) + ": no change of it is kept in etcd: it was written by other means than gridctl"
	}
	return describe(e.Key) + ": not found in etcd, and no change of it is kept either; check the name"
}

// Unwrap returns [ErrNotFound] if there is no such document either.
func (e *NoRecordsError) Unwrap() error {
	if e.Stored {
		return nil
	}
	return ErrNotFound
}

// Changes is [Catalog.History] of a document that must have one: none is a *[NoRecordsError].
func (c *Catalog) Changes(ctx context.Context, key string) ([]Record, error) {
	records, err := c.History(ctx, key)
	if err != nil || len(records) > 0 {
		return records, err
	}
	_, err = c.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return nil, &NoRecordsError{Key: key, Stored: err == nil}
}

// PlanRollback returns what it takes to give a document back the form that it had after
// its change number to, by a plan like any other: today's checks hold, and a tenant's
// epoch goes on upwards. key is the document's key, as for [Catalog.PlanDelete]. A change
// whose record is not kept will do if the record of the next change is: that one knows
// the form before it. Without a reason in the options, "rollback to change N" is given.
//
// A document without records is a *[NoRecordsError]. A change that no record tells of, and
// a form that cannot be had back, such as none at all, are a *[RefusedError].
func (c *Catalog) PlanRollback(ctx context.Context, key string, to int64, options Options) (*Plan, error) {
	records, err := c.Changes(ctx, key)
	if err != nil {
		return nil, err
	}
	doc, err := c.formAfter(records, key, to)
	if err != nil {
		return nil, refused([]error{err})
	}
	if options.Why == "" {
		options.Why = fmt.Sprintf("rollback to change %d", to)
	}
	return c.Plan(ctx, []document.Parsed{doc}, options)
}

// formAfter returns the form that a document had after a change, as if somebody gave it.
func (c *Catalog) formAfter(records []Record, key string, to int64) (document.Parsed, error) {
	place := fmt.Sprintf("change %d", to)
	refuse := func(format string, args ...any) (document.Parsed, error) {
		return document.Parsed{}, &ReasonError{Place: place, Key: key, Message: fmt.Sprintf(format, args...)}
	}
	form := recordedForm(records, to)
	switch {
	case form == nil:
		newest, oldest := records[0], records[len(records)-1]
		first := oldest.Number
		if !isNull(oldest.Before) {
			first-- // the form before the oldest record
		}
		return refuse("the form after it is not kept; those after the changes %d to %d are", first, newest.Number)
	case isNull(form):
		return refuse("there was no %s then; to have none now, write gridctl delete", describe(key))
	case form[0] == '"':
		return refuse("the form was no document that routers can use, or too large to keep: it cannot be had back")
	}
	read, err := c.reader.Decode(key, form)
	if err != nil {
		return refuse("the form is refused today: %s", err)
	}
	stored, err := document.Encode(read)
	if err != nil {
		return refuse("the form is refused today: %s", err)
	}
	_, name := folderOf(key)
	return document.Parsed{Name: name, Key: key, Document: read, Origin: place, JSON: stored}, nil
}

// recordedForm is the form after a change, by its own record or else the next one's; nil:
// neither is kept.
func recordedForm(records []Record, number int64) json.RawMessage {
	var form json.RawMessage
	for i := range records { // the newest first
		switch r := &records[i]; r.Number {
		case number + 1:
			form = kept(r.Before)
		case number:
			form = kept(r.After)
		}
	}
	return form
}

// kept is a form of a record that may leave it out.
func kept(form json.RawMessage) json.RawMessage {
	if isNull(form) {
		return json.RawMessage("null")
	}
	return bytes.TrimSpace(form)
}
