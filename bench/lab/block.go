package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
)

// InUseError says that an address which the grid needs belongs to somebody else.
type InUseError struct {
	// Address is network and address: "tcp 127.77.0.61:2379".
	Address string
	// Holder names the process that holds it, if that could be found out.
	Holder string
}

// Error implements error, in one line, with the mend.
func (e *InUseError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "a process that this user may not see"
	}
	return fmt.Sprintf("%s is in use by %s; end that, or choose another block of addresses", e.Address, holder)
}

// claimBlock takes the block named, or, if none is named, one that no grid on this
// machine uses. Closing the listener gives it back.
func claimBlock(ctx context.Context, block string) (Layout, net.Listener, error) {
	if block != "" {
		layout, err := NewLayout(block)
		if err != nil {
			return Layout{}, nil, err
		}
		lock, err := listen(ctx, "tcp", layout.lock())
		return layout, lock, err
	}
	// Grids that start at the same moment begin their search at different places.
	const blocks = 120 * 256
	start := rand.IntN(blocks) // a choice is no secret
	for i := range blocks {
		n := (start + i) % blocks
		layout := Layout{net: fmt.Sprintf("127.%d.%d", 100+n/256, n%256)}
		lock, err := new(net.ListenConfig).Listen(ctx, "tcp", layout.lock())
		if err == nil {
			return layout, lock, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return Layout{}, nil, fmt.Errorf("no block of loopback addresses is usable: %w", err)
		}
	}
	return Layout{}, nil, errors.New("all blocks of loopback addresses are in use by other grids")
}

// FreeBlock returns the layout of a block that no grid on this machine uses at the
// moment, for a program that is given its block by a flag. [Start] needs no such help.
func FreeBlock(ctx context.Context) (Layout, error) {
	layout, lock, err := claimBlock(ctx, "")
	if err != nil {
		return Layout{}, err
	}
	return layout, lock.Close()
}

// checkAddresses says which of the addresses ("tcp HOST:PORT" or "udp HOST:PORT") is in
// use, before a part fails over it with its own words.
func checkAddresses(ctx context.Context, addresses []string) error {
	for _, address := range addresses {
		network, hostPort, _ := strings.Cut(address, " ")
		if network == "udp" {
			conn, err := new(net.ListenConfig).ListenPacket(ctx, network, hostPort)
			if err != nil {
				return explainListen(network, hostPort, err)
			}
			_ = conn.Close()
			continue
		}
		listener, err := listen(ctx, network, hostPort)
		if err != nil {
			return err
		}
		_ = listener.Close()
	}
	return nil
}

func listen(ctx context.Context, network, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, explainListen(network, address, err)
	}
	return listener, nil
}

func explainListen(network, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &InUseError{Address: network + " " + address, Holder: holderOf(network, address)}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine: the grid needs Linux, where all of 127.0.0.0/8 is loopback", address)
	}
	return fmt.Errorf("cannot listen at %s: %w", address, err)
}
