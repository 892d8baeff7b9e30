// Package network makes the network of a testbed, inside a network namespace that is the
// testbed's own: a bridge that nodes and pods share, and a network namespace for each pod.
// Nothing of it can be seen from the machine, and all of it is gone with the last process in it.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The addresses of a testbed. They are the same in every testbed, since each has a network of
// its own.
const (
	PodRange     = "10.88.0.0/16"
	ServiceRange = "10.96.0.0/16"
	Gateway      = "10.88.0.1"  // the testbed itself, as pods see it
	APIService   = "10.96.0.1"  // the Service kubernetes in the namespace default
	DNSService   = "10.96.0.10" // the cluster's DNS server
)

const bridgeName = "testbed"

// errNoAddress says that all of PodRange is taken.
var errNoAddress = errors.New("every pod address is taken")

// Network is the bridge and the addresses on it. Its methods may be called at once.
type Network struct {
	bridge *netlink.Bridge

	mu    sync.Mutex
	used  map[netip.Addr]bool
	last  netip.Addr // the address that was given out last
	links int        // the number of links that were ever made
}

// Pod is the network of one pod.
type Pod struct {
	Address netip.Addr
	// Namespace is the pod's network namespace, which lives as long as this file is open or a
	// process is in it. It is nil where a pod only has an address.
	Namespace *os.File

	link string
}

// New sets up the network namespace that the process is in: loopback, the bridge with the
// gateway's address, and the range of Services, whose addresses are all local.
func New() (*Network, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = bridgeName
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	n := &Network{bridge: bridge, used: map[netip.Addr]bool{}, last: firstPodAddress().Prev()}
	if err := n.AddNodeAddress(netip.MustParseAddr(Gateway)); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("bridge: %w", err)
	}
	return n, n.ClaimLocal(netip.MustParsePrefix(ServiceRange))
}

// NodeAddress is the address of the node with that number, counted from 0, at most 200.
func NodeAddress(number int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 88, 0, byte(10 + number)})
}

func firstPodAddress() netip.Addr { return netip.MustParseAddr("10.88.1.1") }

// AddNodeAddress puts an address on the bridge, so that what listens on it can be reached by pods.
func (n *Network) AddNodeAddress(address netip.Addr) error {
	prefix := netip.PrefixFrom(address, netip.MustParsePrefix(PodRange).Bits())
	if err := netlink.AddrAdd(n.bridge, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
		return fmt.Errorf("address %s of the bridge: %w", address, err)
	}
	return nil
}

// ClaimLocal makes every address of a range one of the testbed's own: a socket may listen on it,
// and pods reach it. To claim a range again changes nothing.
func (n *Network) ClaimLocal(prefix netip.Prefix) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index,
		Dst:       ipNet(prefix.Masked()),
		Type:      unix.RTN_LOCAL,
		Table:     unix.RT_TABLE_LOCAL,
		Scope:     unix.RT_SCOPE_HOST,
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("local route to %s: %w", prefix, err)
	}
	return nil
}

// Reserve gives a pod that has an address and nothing behind it.
func (n *Network) Reserve() (*Pod, error) {
	address, err := n.take()
	if err != nil {
		return nil, err
	}
	return &Pod{Address: address}, nil
}

// AddPod makes a network namespace, which is connected to the bridge and has the given settings
// of the kernel, say net.ipv4.ip_unprivileged_port_start. Settings that are not the network's are
// refused.
func (n *Network) AddPod(sysctls map[string]string) (*Pod, error) {
	address, err := n.take()
	if err != nil {
		return nil, err
	}
	pod := &Pod{Address: address}
	if err := n.connect(pod, sysctls); err != nil {
		n.Remove(pod)
		return nil, fmt.Errorf("network of a pod: %w", err)
	}
	return pod, nil
}

// Remove takes a pod's network away and gives its address back. Processes that are still in it
// are cut off.
func (n *Network) Remove(pod *Pod) {
	if pod.link != "" {
		// A link whose namespace has gone is gone as well.
		if link, err := netlink.LinkByName(pod.link); err == nil {
			_ = netlink.LinkDel(link)
		}
	}
	if pod.Namespace != nil {
		_ = pod.Namespace.Close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, pod.Address)
}

// take gives out addresses in turn, so that an address is not used again soon after it was given
// back: who still holds on to it shall meet nobody there.
func (n *Network) take() (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pods := netip.MustParsePrefix(PodRange)
	for address := n.last.Next(); ; address = address.Next() {
		if !pods.Contains(address.Next()) { // the last one is for broadcasts
			address = firstPodAddress()
		}
		if !n.used[address] {
			n.used[address], n.last = true, address
			return address, nil
		}
		if address == n.last {
			return netip.Addr{}, errNoAddress
		}
	}
}

func (n *Network) connect(pod *Pod, sysctls map[string]string) (err error) {
	if pod.Namespace, err = newNamespace(sysctls); err != nil {
		return err
	}
	n.mu.Lock()
	n.links++
	name := fmt.Sprintf("pod%d", n.links)
	n.mu.Unlock()
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MasterIndex = name, n.bridge.Index
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod.Namespace.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	pod.link = name
	if err := netlink.LinkSetUp(veth); err != nil {
		return err
	}
	return configurePod(pod)
}

// configurePod sets up the inside of a pod's namespace.
func configurePod(pod *Pod) error {
	inside, err := netlink.NewHandleAt(netns.NsHandle(pod.Namespace.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	eth, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	prefix := netip.PrefixFrom(pod.Address, netip.MustParsePrefix(PodRange).Bits())
	return errors.Join(
		inside.LinkSetUp(lo),
		inside.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(prefix)}),
		inside.LinkSetUp(eth),
		inside.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP(Gateway)}),
	)
}

// newNamespace makes a network namespace with its settings. It does so in a thread that ends with
// it, since a thread's namespace is that of whatever it starts.
func newNamespace(sysctls map[string]string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked, which ends the thread
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		if err := set(sysctls); err != nil {
			done <- result{nil, err}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		done <- result{file, err}
	}()
	r := <-done
	return r.file, r.err
}

// set changes settings of the network namespace that the thread is in.
func set(sysctls map[string]string) error {
	for name, value := range sysctls {
		// All others belong to the machine, or to namespaces that each container has for itself.
		if !strings.HasPrefix(name, "net.") || strings.Contains(name, "/") {
			return fmt.Errorf("sysctl %s: the testbed sets only those of a pod's network, net.*", name)
		}
		path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
