package member_test

import (
	"strings"
	"testing"

	"gridrouter.io/deploy/etcd/member"
)

func TestIdentitiesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]member.Identity{
		"8e9e05c52164694d/cdf818194e3a8c32": {Member: 0x8e9e05c52164694d, Cluster: 0xcdf818194e3a8c32},
		"1/f":                               {Member: 1, Cluster: 15},
	} {
		got, err := member.ParseIdentity(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestWhatIsNoIdentityIsRefusedWithTheMend(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "not MEMBER/CLUSTER",
		"1":                    "not MEMBER/CLUSTER",
		"/":                    "the member of",
		"1/":                   "the cluster of",
		"0/1":                  "not all 0",
		"1/0":                  "not all 0",
		"g/1":                  "hex digits",
		"+1/1":                 "hex digits",
		"1/2/3":                "hex digits",
		"00000000000000001/2":  "1 to 16",
		"1/11111111111111111":  "1 to 16",
		"1 /2":                 "hex digits",
		"0x1/2":                "hex digits",
		"8e9e05c52164694d\n/2": "hex digits",
	} {
		if got, err := member.ParseIdentity(text); err == nil || !strings.Contains(err.Error(), want) || got != (member.Identity{}) {
			t.Errorf("%q: %v, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzIdentitiesAreReadOrRefused(f *testing.F) {
	f.Add("8e9e05c52164694d/cdf818194e3a8c32")
	f.Add("/")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := member.ParseIdentity(text)
		if err != nil {
			return
		}
		if again, err := member.ParseIdentity(got.String()); err != nil || again != got {
			t.Errorf("%q: %v becomes %v, %v", text, got, again, err)
		}
	})
}
