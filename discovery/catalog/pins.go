package catalog

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// MaxImportRows is the most pins of one import.
const MaxImportRows = 5_000_000

// maxReportedRows is how many bad rows are told before the rest is only counted.
const maxReportedRows = 20

// ReadPins reads pins of one tenant from CSV (RFC 4180): rows of key and deck, without
// quotes or with; a first row "key,deck" is a header. Every row is checked by itself;
// what is wrong comes back as a *[RefusedError] with the lines. name is the file's name.
func ReadPins(tenant, name string, r io.Reader) ([]document.Parsed, error) {
	if err := routing.CheckName(tenant); err != nil {
		return nil, refused([]error{&ReasonError{Place: name, Message: fmt.Sprintf("the tenant: %v", err)}})
	}
	in := &pinReader{tenant: tenant, name: name, lines: map[string]int{}}
	rows := csv.NewReader(withoutBOM(r))
	rows.FieldsPerRecord = -1
	rows.ReuseRecord = true
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad):
			in.fault(bad.Line, "is not CSV (%v); write key,deck and put quotes around keys that hold commas, quotes or line ends", bad.Err)
			return nil, in.refused()
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := rows.FieldPos(0)
		in.row(line, row)
		if len(in.docs) > MaxImportRows {
			in.fault(line, "is row %d; import at most %d pins at a time", len(in.docs), MaxImportRows)
			return nil, in.refused()
		}
	}
	return in.docs, in.refused()
}

// withoutBOM passes over the mark that some programs put before UTF-8 text.
func withoutBOM(r io.Reader) io.Reader {
	start := make([]byte, 3)
	n, err := io.ReadFull(r, start)
	text := strings.TrimPrefix(string(start[:n]), "\uFEFF")
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.MultiReader(strings.NewReader(text), failing{err})
	}
	return io.MultiReader(strings.NewReader(text), r)
}

// failing is a reader that hands on an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type pinReader struct {
	tenant, name string
	docs         []document.Parsed
	lines        map[string]int // where a key stands first
	rows         int
	reasons      []error
	more         int // faults that are only counted
}

func (in *pinReader) fault(line int, format string, args ...any) {
	if len(in.reasons) >= maxReportedRows {
		in.more++
		return
	}
	in.reasons = append(in.reasons, &ReasonError{Place: fmt.Sprintf("%s:%d", in.name, line), Message: fmt.Sprintf(format, args...)})
}

func (in *pinReader) refused() error {
	if in.more > 0 {
		in.reasons = append(in.reasons, &ReasonError{Place: in.name, Message: fmt.Sprintf("%d more rows are bad", in.more)})
	}
	return refused(in.reasons)
}

// row takes one row.
func (in *pinReader) row(line int, row []string) {
	in.rows++
	if len(row) != 2 {
		in.fault(line, "has %d fields; a row is key,deck", len(row))
		return
	}
	key, deck := strings.Clone(row[0]), strings.Clone(row[1])
	if in.rows == 1 && strings.EqualFold(key, "key") && strings.EqualFold(deck, "deck") {
		return
	}
	if !utf8.ValidString(key) {
		in.fault(line, "has a key that is not UTF-8 text; save the file as UTF-8")
		return
	}
	if first, twice := in.lines[key]; twice {
		in.fault(line, "has the key %q, which stands in line %d already; keep one of the two", key, first)
		return
	}
	in.lines[key] = line
	pin := &routing.Pin{Kind: routing.KindPin, Tenant: in.tenant, Key: key, Deck: deck}
	if err := pin.Validate(); err != nil {
		in.fault(line, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	stored, err := document.Encode(pin)
	if err != nil {
		in.fault(line, "%v", err)
		return
	}
	docKey := PinKey(in.tenant, key)
	in.docs = append(in.docs, document.Parsed{
		Kind: routing.KindPin, Name: strings.TrimPrefix(docKey, FolderPins+"/"), Key: docKey,
		Document: pin, Origin: fmt.Sprintf("%s:%d", in.name, line), JSON: stored,
	})
}

// ImportPins reads pins of one tenant by [ReadPins], checks all of them against etcd, and
// writes them as [Catalog.Apply] does: several a transaction, the tenant's epoch raised in
// the first one that changes anything. progress may be nil.
func (c *Catalog) ImportPins(ctx context.Context, tenant, name string, r io.Reader, options Options, progress func(Progress)) (*Plan, Result, error) {
	docs, err := ReadPins(tenant, name, r)
	if err != nil {
		return nil, Result{}, err
	}
	plan, err := c.Plan(ctx, docs, options)
	if err != nil {
		return nil, Result{}, err
	}
	result, err := c.Apply(ctx, plan, progress)
	return plan, result, err
}
