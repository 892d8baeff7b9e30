package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"gridrouter.io/cmd/flags"
)

// checkListenAddr refuses what cannot be an address to listen at.
func checkListenAddr(flag, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return flags.Usagef("--%s: %q is not an address to listen at; write IP:port, or :port for all addresses", flag, addr)
	}
	return nil
}

// listenError says what to do where an address cannot be had.
func listenError(flag string, err error) error {
	mend := "choose another address"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		mend = "stop what listens there, or choose another address"
	case errors.Is(err, syscall.EACCES):
		mend = "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); grant it, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		mend = "choose an address of this machine"
	}
	return fmt.Errorf("--%s: %w; %s", flag, err, mend)
}
