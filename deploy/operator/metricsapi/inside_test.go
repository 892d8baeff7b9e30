package metricsapi

import (
	"bytes"
	"testing"
	"time"
)

func TestCertificatesAreRenewedInTime(t *testing.T) {
	hosts, now := []string{"metrics.default.svc"}, time.Now()
	first, err := renewed(keys{}, hosts, now)
	if err != nil || !first.good(hosts, now) {
		t.Fatalf("a new pair is not good: %v", err)
	}
	if first.good([]string{"other.default.svc"}, now) || first.good(hosts, now.Add(lifeOfCertificate*3/4)) || (keys{}).good(hosts, now) {
		t.Error("what does not serve is called good")
	}
	later := now.Add(lifeOfCertificate * 3 / 4)
	second, err := renewed(first, hosts, later)
	if err != nil || !second.good(hosts, later) || !bytes.Equal(first.bundle, second.bundle) {
		t.Errorf("another certificate needs no other CA: %v", err)
	}
	later = now.Add(lifeOfCA * 3 / 4)
	third, err := renewed(second, hosts, later)
	if err != nil || !third.good(hosts, later) || !bytes.HasSuffix(third.bundle, first.bundle) || bytes.Equal(third.bundle, first.bundle) {
		t.Errorf("the former CA is not beside the new one: %v", err)
	}
}

func FuzzReadTrust(f *testing.F) {
	f.Add("", `["front-proxy"]`, `["X-Remote-User"]`)
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", `{}`, `null`)
	f.Fuzz(func(t *testing.T, ca, names, headers string) {
		told, err := readTrust(map[string]string{"requestheader-client-ca-file": ca, "requestheader-allowed-names": names, "requestheader-username-headers": headers})
		if (told == nil) == (err == nil) {
			t.Fatal("neither trust nor an error")
		}
	})
}
