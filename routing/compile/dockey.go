package compile

import (
	"fmt"
	"strings"

	"gridrouter.io/routing"
)

// documentKind says what kind of document a key is that of. A key is bytes that anybody with access
// to the source may have chosen. Only one in the spelling that its document has is taken for
// that document: what is in the stores is bounded, text, and found again by its name.
type documentKind uint8

const (
	keyOfOther documentKind = iota // of a kind that the compiler does not read
	keyOfDeck
	keyOfTenant
	keyOfPin
	keyMisspelled // in the place of one of those, but no name, or not in its one spelling
)

// kindOfKey returns what a key is that of, the tenant of a tenant or a pin, and the pin's key.
func kindOfKey(docKey string) (kind documentKind, tenant, key string) {
	folder, rest, _ := strings.Cut(docKey, "/")
	switch folder {
	case "decks":
		if routing.CheckName(rest) == nil {
			return keyOfDeck, "", ""
		}
	case "tenants":
		if routing.CheckName(rest) == nil {
			return keyOfTenant, rest, ""
		}
	case "pins":
		name, escaped, _ := strings.Cut(rest, "/")
		if routing.CheckName(name) == nil {
			if key, err := routing.UnescapeKey(escaped); err == nil {
				return keyOfPin, name, key
			}
		}
	default:
		return keyOfOther, "", ""
	}
	return keyMisspelled, "", ""
}

// whyMisspelled says what is wrong with a key that is misspelled, and the mend.
func whyMisspelled(docKey string) string {
	const mend = "; delete the key, and write its document under the right one"
	folder, rest, _ := strings.Cut(docKey, "/")
	name, escaped, more := strings.Cut(rest, "/")
	if folder != "pins" {
		name, more = rest, true
	}
	if err := routing.CheckName(name); err != nil {
		return fmt.Sprintf("is no key of a document in %s: %v", folder, err) + mend
	}
	if !more {
		return "names a tenant, and no key of it" + mend
	}
	_, err := routing.UnescapeKey(escaped)
	return fmt.Sprintf("is no key of a pin: %v", err) + mend
}
