package network

import (
	"errors"
	"net/netip"
	"testing"
)

func TestAddressesAreNotUsedAgainSoon(t *testing.T) {
	n := &Network{used: map[netip.Addr]bool{}, last: firstPodAddress().Prev()}
	seen := map[netip.Addr]bool{}
	for range 1000 {
		pod, err := n.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		if seen[pod.Address] || !netip.MustParsePrefix(PodRange).Contains(pod.Address) || pod.Address.Less(firstPodAddress()) {
			t.Fatalf("the address is %s", pod.Address)
		}
		seen[pod.Address] = true
		n.Remove(pod)
	}
}

func TestAllAddressesAreUsedBeforeThereIsNone(t *testing.T) {
	n := &Network{used: map[netip.Addr]bool{}, last: firstPodAddress().Prev()}
	var pods []*Pod
	for {
		pod, err := n.Reserve()
		if errors.Is(err, errNoAddress) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, pod)
	}
	if want := 255*256 - 2; len(pods) != want {
		t.Errorf("%d addresses; want %d", len(pods), want)
	}
	n.Remove(pods[7])
	if pod, err := n.Reserve(); err != nil || pod.Address != pods[7].Address {
		t.Errorf("%v, %v", pod, err)
	}
}
