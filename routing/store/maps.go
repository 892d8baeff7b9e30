package store

import (
	"fmt"
	"math/rand/v2"
)

// Maps are the maps that a table is made of.
type Maps struct {
	Tenants   *Map // name -> [TenantRecord]
	Hosts     *Map // [HostKey] -> [PackHost]
	Delegates *Map // [DelegateKey] -> nothing
	Pins      *Map // "TENANT/KEY" -> [PinRecord]
	Unheld    *Map // [Editor.UnheldKey] -> [PackUnheld]; pins that are read on demand
}

// Editors are the editors of the next version of [Maps].
type Editors struct{ Tenants, Hosts, Delegates, Pins, Unheld *Editor }

// NewEditors returns editors of empty maps, which share a seed that is drawn at random.
func NewEditors() Editors {
	seed := rand.Uint64()
	return Editors{NewEditor(seed), NewEditor(seed), NewEditor(seed), NewEditor(seed), NewEditor(seed)}
}

// Edit returns editors of the next version.
func (m *Maps) Edit() Editors {
	return Editors{m.Tenants.Edit(), m.Hosts.Edit(), m.Delegates.Edit(), m.Pins.Edit(), m.Unheld.Edit()}
}

// Seal returns the version that has all edits, and about how many bytes it does not share with the
// one before. Maps without edits are those of before, where these are not nil.
func (e *Editors) Seal(before Maps) (version Maps, written int) {
	seal := func(editor *Editor, before *Map) *Map {
		sealed, bytes := editor.Seal(before)
		written += bytes
		return sealed
	}
	version = Maps{
		Tenants: seal(e.Tenants, before.Tenants), Hosts: seal(e.Hosts, before.Hosts), Delegates: seal(e.Delegates, before.Delegates),
		Pins: seal(e.Pins, before.Pins), Unheld: seal(e.Unheld, before.Unheld),
	}
	return version, written
}

// Section is one map as bytes.
type Section struct {
	// Name is that of the map.
	Name string
	// Data is what [Map.Encode] returned.
	Data []byte
}

// Encode returns the maps as bytes, each under its name.
func (m *Maps) Encode() []Section {
	return []Section{
		{"tenants", m.Tenants.Encode()}, {"hosts", m.Hosts.Encode()}, {"pins", m.Pins.Encode()},
		{"pins-on-demand", m.Unheld.Encode()}, {"delegates", m.Delegates.Encode()},
	}
}

// DecodeMaps is the inverse of [Maps.Encode]: it returns editors that stand at the encoded maps. data
// returns the bytes of a map by its name.
func DecodeMaps(data func(name string) []byte) (e Editors, err error) {
	for _, part := range []struct {
		name   string
		editor **Editor
	}{{"tenants", &e.Tenants}, {"hosts", &e.Hosts}, {"pins", &e.Pins}, {"pins-on-demand", &e.Unheld}, {"delegates", &e.Delegates}} {
		if *part.editor, err = Decode(data(part.name)); err != nil {
			return e, fmt.Errorf("section %s: %w", part.name, err)
		}
	}
	return e, nil
}
