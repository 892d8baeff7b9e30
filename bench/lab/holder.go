package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// holderOf names the process that listens at an address, as "NAME (pid N)"; empty if
// it cannot be seen. It reads what the kernel tells about sockets under /proc.
func holderOf(network, address string) string {
	wanted, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	inode := socketInode(network, wanted)
	if inode == "" {
		return ""
	}
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, descriptor := range descriptors {
		target, err := os.Readlink(descriptor)
		if err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(descriptor, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil {
			continue
		}
		command := strings.TrimSpace(strings.ReplaceAll(string(name), "\x00", " "))
		if len(command) > 60 {
			command = command[:60] + "..."
		}
		return fmt.Sprintf("%q (pid %s)", command, pid)
	}
	return ""
}

// socketInode returns the inode of the socket bound to an IPv4 address, or to all
// addresses, at that port.
func socketInode(network string, wanted netip.AddrPort) string {
	const tcpListen, udpBound = "0A", "07"
	state := tcpListen
	if network == "udp" {
		state = udpBound
	}
	table, err := os.ReadFile("/proc/net/" + network)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(table)) {
		// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[3] != state {
			continue
		}
		if fields[1] == procAddress(wanted) || fields[1] == fmt.Sprintf("00000000:%04X", wanted.Port()) {
			return fields[9]
		}
	}
	return ""
}

// procAddress writes an address as /proc/net/tcp does on little-endian machines.
func procAddress(address netip.AddrPort) string {
	b := address.Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], address.Port())
}
