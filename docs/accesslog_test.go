package docs_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"testing"
	"time"

	"gridrouter.io/router/accesslog"
)

// TestTheAccessLogsPageHasEveryField fills an entry, and compares the members of its line, and their
// order, with the table in ACCESS_LOG.md.
func TestTheAccessLogsPageHasEveryField(t *testing.T) {
	var entry accesslog.Entry
	fields := reflect.ValueOf(&entry).Elem()
	for i := range fields.NumField() {
		fill(t, fields.Type().Field(i).Name, fields.Field(i))
	}
	line := entry.Append(nil)
	var members map[string]any
	if err := json.Unmarshal(line, &members); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if len(members) < fields.NumField() {
		t.Errorf("an entry of %d fields gives a line of %d members: %s", fields.NumField(), len(members), line)
	}
	text, err := os.ReadFile("ACCESS_LOG.md")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\| (text|number) \\|").FindAllSubmatch(text, -1) {
		name, kind := string(match[1]), string(match[2])
		order = append(order, name)
		value, ok := members[name]
		_, isText := value.(string)
		switch {
		case !ok:
			t.Errorf("ACCESS_LOG.md has %q, which the log does not", name)
		case isText != (kind == "text"):
			t.Errorf("ACCESS_LOG.md says that %q is a %s; it is %v", name, kind, value)
		}
		delete(members, name)
	}
	for name := range members {
		t.Errorf("ACCESS_LOG.md lacks %q", name)
	}
	at := 0
	for _, name := range order {
		place := regexp.MustCompile(`[{,]"` + name + `":`).FindIndex(line)
		if place != nil && place[0] < at {
			t.Errorf("ACCESS_LOG.md has %q at another place than the log", name)
		} else if place != nil {
			at = place[0]
		}
	}
}

// fill gives a field of a struct a value that is not left out.
func fill(t *testing.T, name string, field reflect.Value) {
	t.Helper()
	switch value := field.Addr().Interface().(type) {
	case *time.Time:
		*value = time.Unix(1, 0)
	case *netip.Addr:
		*value = netip.MustParseAddr("192.0.2.1")
	case *[]byte:
		*value = []byte("x")
	case *string:
		*value = "x"
	case *[]string:
		*value = []string{"x"}
	case *int:
		*value = 1
	case *int64:
		*value = 1
	case *uint64:
		*value = 1
	case *time.Duration:
		*value = time.Second
	default:
		t.Fatalf("the field %s is a %s: say here what a value of it is", name, field.Type())
	}
}
