package certs

import (
	"fmt"
	"testing"
)

// BenchmarkLookup finds the certificates for a name among a thousand, on all cores at once, as handshakes do.
func BenchmarkLookup(b *testing.B) {
	dir := b.TempDir()
	hosts := []string{"*.wild.example"}
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf("host%d.shop.example", i))
	}
	write(b, dir, "a", 1, hosts...)
	s, _ := openStore(b, dir)
	for _, serverName := range []string{"host500.shop.example", "a.wild.example", "nobody.example"} {
		b.Run(serverName, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s.current.Load().lookup(serverName)
				}
			})
		})
	}
}
