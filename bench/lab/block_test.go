package lab

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestGridsGetDifferentBlocks(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		layout, lock, err := claimBlock(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		if seen[layout.Net()] {
			t.Fatalf("the block %s was given twice", layout.Net())
		}
		seen[layout.Net()] = true
	}
}

func TestTakenBlockNamesItsHolder(t *testing.T) {
	layout, lock, err := claimBlock(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	_, _, err = claimBlock(t.Context(), layout.Net())
	wantHolder(t, err, "tcp "+layout.lock())
}

func TestTakenAddressNamesItsHolder(t *testing.T) {
	layout, lock, err := claimBlock(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err = checkAddresses(t.Context(), []string{"tcp " + layout.GSLB(), "udp " + layout.GSLB()}); err != nil {
		t.Fatalf("free addresses: %v", err)
	}
	packets, err := net.ListenPacket("udp", layout.GSLB())
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	wantHolder(t, checkAddresses(t.Context(), []string{"tcp " + layout.GSLB(), "udp " + layout.GSLB()}), "udp "+layout.GSLB())
	listener, err := net.Listen("tcp", layout.VIP())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	wantHolder(t, checkAddresses(t.Context(), []string{"tcp " + layout.VIP()}), "tcp "+layout.VIP())
}

// wantHolder checks that the error names the address and this process, in one line.
func wantHolder(t *testing.T, err error, address string) {
	t.Helper()
	var inUse *InUseError
	if !errors.As(err, &inUse) {
		t.Fatalf("the error is %v", err)
	}
	if inUse.Address != address || !strings.Contains(inUse.Holder, "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("the error is %+v", inUse)
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, address) {
		t.Errorf("the error reads %q", text)
	}
}
