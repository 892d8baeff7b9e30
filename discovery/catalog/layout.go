package catalog

import (
	"fmt"
	"strings"
)

// Folders of the documents, as their keys begin.
const (
	FolderDecks   = "decks"
	FolderTenants = "tenants"
	FolderPins    = "pins"
	FolderGslb    = "gslb"
)

// GslbServersFolder is where, under the prefix, GSLB servers announce themselves, with the
// [Status] that routers have under fleet/.
const GslbServersFolder = "gslb/"

// layout knows where under the prefix (which ends with "/") everything is.
type layout string

// docs is where the documents are; all keys of documents are relative to it.
func (l layout) docs() string { return string(l) + "docs/" }

// doc is the etcd key of a document.
func (l layout) doc(key string) string { return l.docs() + key }

// hosts is where the claims are.
func (l layout) hosts() string { return string(l) + "hosts/" }

// host is the etcd key of a host's claim.
func (l layout) host(host string) string { return l.hosts() + host }

// changes is where all change records are.
func (l layout) changes() string { return string(l) + "changes/" }

// records is where the change records of one document are.
func (l layout) records(key string) string { return l.changes() + key + "/" }

// record is the etcd key of one change record. The number is padded, so that keys sort.
func (l layout) record(key string, number int64) string {
	return fmt.Sprintf("%s%012d", l.records(key), number)
}

// fleet is where the routers announce themselves.
func (l layout) fleet() string { return string(l) + "fleet/" }

// gslbServers is where the GSLB servers announce themselves.
func (l layout) gslbServers() string { return string(l) + GslbServersFolder }

// mark is the etcd key of the mark that accepts mass changes.
func (l layout) mark() string { return string(l) + "guard/" + MarkAccept }

func deckKey(name string) string   { return FolderDecks + "/" + name }
func tenantKey(name string) string { return FolderTenants + "/" + name }

// folderOf returns the folder of a document key, and what comes after it.
func folderOf(key string) (folder, rest string) {
	folder, rest, _ = strings.Cut(key, "/")
	return folder, rest
}

// describe names a document as people do: "deck orders-east-1", "pin acme/10086".
func describe(key string) string {
	folder, rest := folderOf(key)
	switch folder {
	case FolderDecks:
		return "deck " + rest
	case FolderTenants:
		return "tenant " + rest
	case FolderPins:
		return "pin " + rest
	}
	return folder + " " + rest
}
