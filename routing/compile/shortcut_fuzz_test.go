package compile

import (
	"encoding/json"
	"slices"
	"testing"

	"gridrouter.io/routing"
)

// FuzzACutTenantSaysWhatItsTextSays compares the short way of reading a tenant with a JSON
// parser: what is cut must be what the text says, in every text that is cut.
func FuzzACutTenantSaysWhatItsTextSays(f *testing.F) {
	for _, text := range []string{
		`{"kind":"Tenant","name":"acme","hosts":["a.example","*.b.example"],"epoch":3,"rules":[{"name":"all","deck":"d"}]}`,
		`{"kind":"Tenant","name":"acme","hosts":["a.example"],"rules":[]}`,
		`{"kind":"Tenant","name":"acme","hosts":["a.example"],"epoch":18446744073709551615,"rules":[{}]}`,
		`{"kind":"Tenant","name":"acme","hosts":["a.example"],"epoch":01,"rules":[]}`,
		`{"kind":"Tenant","name":"acme","hosts":["a.example","a.example"],"rules":[]}`,
		`{"kind":"Tenant","name":"acme","hosts":["xn--a.example"],"rules":[],"epoch":4}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cut, ok := cutTenant(text)
		if !ok || !json.Valid(text) {
			return
		}
		var whole struct {
			Kind, Name string
			Hosts      []string
			Epoch      *uint64
		}
		if err := json.Unmarshal(text, &whole); err != nil {
			t.Skip() // the rules are of another type: the decoder refuses the first of them
		}
		epoch := uint64(1)
		if whole.Epoch != nil {
			epoch = *whole.Epoch
		}
		if twice(text) {
			return // a name that stands twice is for the decoder, which sees each rest once
		}
		if whole.Kind != routing.KindTenant || whole.Name != cut.name || epoch != cut.epoch || !slices.Equal(whole.Hosts, cut.hosts) {
			t.Fatalf("%s\nis cut as %+v", text, cut)
		}
	})
}

// twice says whether the rest could hold a member again that was cut already.
func twice(text []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return true
	}
	size := 1
	for name, value := range members {
		size += len(name) + len(value) + 4
	}
	return size != len(text)
}
