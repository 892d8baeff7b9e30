package admission

import (
	"bytes"

	"gridrouter.io/router/http1"
)

// readConnection reads what is between this client and this router only.
func (h *Head) readConnection() {
	if h.nominates {
		for i := range h.Lines {
			if h.Lines[i].Class == Connection {
				h.readOptions(h.Lines[i].Value)
			}
		}
	}
	if h.HTTP10 && !h.keepAlive {
		h.Close = true
	}
	if h.switches && h.upgrades == 1 && !h.HTTP10 && !h.HasBody() && isForeign(h.upgrade) {
		h.Upgrade = h.upgrade
	}
}

// isForeign says whether an upgrade leads to one protocol that is not HTTP: in a tunnel of
// HTTP/2 in clear text, requests would reach a deck that nobody has decided.
func isForeign(protocol []byte) bool {
	name, version, versioned := bytes.Cut(protocol, []byte("/"))
	if !http1.IsToken(name) || versioned && !http1.IsToken(version) {
		return false
	}
	for _, ours := range [...]string{"h2c", "h2", "http", "tls"} {
		if http1.EqualFold(name, ours) {
			return false
		}
	}
	return true
}

// readOptions reads one Connection field. It can name plain fields, and these only: what
// frames, routes or identifies the request is not a client's to take away.
func (h *Head) readOptions(list []byte) {
	for len(list) > 0 {
		var option []byte
		option, list = http1.NextItem(list)
		switch {
		case http1.EqualFold(option, "close"):
			h.Close = true
			continue
		case http1.EqualFold(option, "keep-alive"):
			h.keepAlive = true
			continue
		case http1.EqualFold(option, "upgrade"):
			h.switches = true
			continue
		}
		for i := range h.Lines {
			if h.Lines[i].Class == Plain && http1.SameName(h.Lines[i].Name, option) {
				h.Lines[i].Class = Nominated
			}
		}
	}
}
