package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"go.yaml.in/yaml/v3"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// textPrinter writes documents as "gridctl apply" reads them.
type textPrinter struct {
	out    io.Writer
	form   func(item *catalog.Item) ([]byte, error)
	before string
	bad    []string
}

func (p *textPrinter) page(items []catalog.Item) error {
	for i := range items {
		text, err := p.form(&items[i])
		if err != nil || items[i].Err != nil {
			p.bad = append(p.bad, items[i].Key)
		}
		if err != nil {
			continue
		}
		if _, err := fmt.Fprintf(p.out, "%s%s", p.before, text); err != nil {
			return err
		}
	}
	return nil
}

func (p *textPrinter) end() error { return badStored(p.bad) }

// withRevision adds the revision to a stored document, so that "gridctl apply" can tell whether
// it is still the stored one. What is no mapping stays as it is.
func withRevision(value []byte, revision int64) []byte {
	text := bytes.TrimSpace(value)
	if revision == 0 || !json.Valid(text) || len(text) < 3 || text[0] != '{' {
		return value
	}
	return fmt.Appendf(nil, "%s,%q:%d}", text[:len(text)-1], document.RevisionField, revision)
}

// badStored is the error for documents in etcd that routers cannot use.
func badStored(keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	return fmt.Errorf("bad in etcd: %s; apply good ones, or delete them", someOf(keys, 5))
}

// toJSONLine writes a stored value in one line.
func toJSONLine(value []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, value); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// toYAML writes a stored value as people write documents.
func toYAML(value []byte) ([]byte, error) {
	if !json.Valid(value) {
		return nil, errors.New("is not JSON")
	}
	tokens := json.NewDecoder(bytes.NewReader(value))
	tokens.UseNumber()
	root, err := nextNode(tokens)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// word is text without anything that means something in YAML.
var word = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_./:-]*[A-Za-z0-9])?$`)

// needsNoQuotes says whether every reader of YAML takes a text for text, quotes or no.
func needsNoQuotes(text string) bool {
	if !word.MatchString(text) || (&yaml.Node{Kind: yaml.ScalarNode, Value: text}).ShortTag() != "!!str" {
		return false
	}
	if !strings.ContainsFunc(text, unicode.IsLetter) {
		// Digits with colons may be a time of day, unless they are an address.
		_, err := netip.ParseAddrPort(text)
		return err == nil
	}
	// Older readers take these for truth values.
	return !slices.Contains([]string{"yes", "no", "on", "off", "y", "n"}, strings.ToLower(text))
}

// nextNode reads the next value of a JSON text that is known to be valid. Fields keep
// their order.
func nextNode(tokens *json.Decoder) (*yaml.Node, error) {
	token, err := tokens.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		if token == '{' {
			node.Kind = yaml.MappingNode
		}
		for tokens.More() { // names of fields and their values alike
			child, err := nextNode(tokens)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		_, err := tokens.Token() // what closes it
		return node, err
	case string:
		return textNode(token), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: token.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatBool(token)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}, nil
}

// textNode is a text, in quotes where it would be taken for something else without.
func textNode(text string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if !needsNoQuotes(text) {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// tablePrinter writes one line a document.
type tablePrinter struct {
	table *tabwriter.Writer
	head  string
	bad   []string
}

// heads are the columns of each kind.
var heads = map[string]string{
	catalog.FolderDecks:   "NAME\tSTATE\tATTACH\tDOMAIN\tADDRESSES\tSTANDBY\tZONE\tREVISION",
	catalog.FolderTenants: "NAME\tEPOCH\tHOSTS\tRULES\tREVISION",
	catalog.FolderPins:    "KEY\tDECK\tREVISION",
	catalog.FolderGslb:    "NAME\tPOLICY\tTTL\tVIPS\tREVISION",
}

func newTablePrinter(out io.Writer, folder string) *tablePrinter {
	return &tablePrinter{table: newTable(out), head: heads[folder]}
}

func (p *tablePrinter) page(items []catalog.Item) error {
	if p.head != "" {
		printTo(p.table, "%s\n", p.head)
		p.head = ""
	}
	for i := range items {
		item := &items[i]
		if item.Err != nil {
			p.bad = append(p.bad, item.Key)
			_, name, _ := strings.Cut(item.Key, "/")
			printTo(p.table, "%s\tbad: %s\n", name, strings.ReplaceAll(item.Err.Error(), "\n", "; "))
			continue
		}
		printTo(p.table, "%s\t%d\n", strings.Join(columns(item.Document), "\t"), item.Revision)
	}
	return p.table.Flush()
}

func (p *tablePrinter) end() error { return badStored(p.bad) }

// columns are the cells of a document, all but the revision.
func columns(doc any) []string {
	switch d := doc.(type) {
	case *routing.Deck:
		where := someOf(d.Addresses, 2)
		if d.Attach == routing.AttachMesh {
			where = "port " + strconv.Itoa(orElse(d.Port, 80))
		}
		return []string{d.Name, string(orElse(d.State, routing.DeckActive)), string(d.Attach), d.Domain, where, orElse(d.Standby, "-"), orElse(d.Zone, "-")}
	case *routing.Tenant:
		rules := make([]string, len(d.Rules))
		for i := range d.Rules {
			rules[i] = d.Rules[i].Name
		}
		return []string{d.Name, strconv.FormatUint(d.Epoch, 10), someOf(d.Hosts, 2), someOf(rules, 4)}
	case *routing.Pin:
		return []string{printable(d.Key), d.Deck}
	case *gslb.Document:
		full := d.Canonical()
		vips := make([]string, len(full.VIPs))
		for i := range full.VIPs {
			vips[i] = full.VIPs[i].Address
		}
		return []string{full.Name, string(full.Policy), strconv.Itoa(*full.TTL), someOf(vips, 4)}
	}
	return []string{"?"}
}

// orElse returns value, or the default if it is the zero value.
func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// printable puts quotes around a key that would upset a terminal or a table.
func printable(key string) string {
	if quoted := strconv.QuoteToGraphic(key); quoted != `"`+key+`"` || strings.ContainsAny(key, " \t") {
		return quoted
	}
	return key
}
