package document_test

import (
	"testing"

	"gridrouter.io/routing/document"
)

func BenchmarkDecode(b *testing.B) {
	f := func(name, key, value string) {
		b.Run(name, func(b *testing.B) {
			reader := document.NewReader()
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := reader.Decode(key, []byte(value)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("pin", "pins/acme/10086", `{"kind":"Pin","tenant":"acme","key":"10086","deck":"orders-east-2"}`)
	f("small-tenant", "tenants/acme", goodTenant)
	f("tenant", "tenants/acme", `{"kind":"Tenant","name":"acme","hosts":["shop.acme.example","*.shop.acme.example"],"epoch":3,`+
		`"rules":[{"name":"tools","match":{"path":"/admin","methods":["GET","POST"]},"deck":"orders-east-1"},`+
		`{"name":"users","key":{"header":"x-user-id"},"pins":true,"ranges":[{"from":0,"to":499999,"deck":"orders-east-1"}],`+
		`"split":{"orders-east-1":60,"orders-east-2":40},"missing":"next"}]}`)
}

func BenchmarkReadFileYAML(b *testing.B) {
	text := []byte("kind: Tenant\nname: acme\nhosts: [shop.acme.example, \"*.shop.acme.example\"]\nrules:\n  - name: users\n    key: {header: x-user-id}\n    split: {east: 60, west: 40}\n")
	reader := document.NewReader()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reader.ReadFile("a.yaml", text); err != nil {
			b.Fatal(err)
		}
	}
}
