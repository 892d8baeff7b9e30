package tables

import (
	"testing"
	"unicode/utf8"
)

// FuzzAStatusThatAnybodyWrote holds what is taken over to what may stand in a status.
func FuzzAStatusThatAnybodyWrote(f *testing.F) {
	f.Add("edge-1", []byte(statusOf("edge-1", 5, "x")))
	f.Add("edge-1", []byte(`{"id":"edge-1","revision":-1}`))
	f.Add("a\x00", []byte(`{"id":"a\u0000","hash":"\u202e"}`))
	f.Add("", []byte(`{}`))
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		said, err := decode(id, value)
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 200 {
				t.Errorf("%q", err)
			}
			return
		}
		if said.ID != id || said.Revision < 0 || len(said.ID) > mostID {
			t.Errorf("%+v", said)
		}
		for _, text := range []string{said.ID, said.Version, said.Hash, said.EffectiveHash} {
			if printable(text) != text || !utf8.ValidString(text) {
				t.Errorf("%q is let in", text)
			}
		}
	})
}
