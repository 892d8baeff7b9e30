package gslb

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// DefaultNegativeTTL is how many seconds an answer of "no such name" or "no such records" may be kept, if the ZoneConfig does not say.
// It is short, so that a new document takes effect where its name was asked for too early.
const DefaultNegativeTTL = 5

// A ZoneConfig says what a Zone holds besides the documents. The zero value is useful.
type ZoneConfig struct {
	// Origins are the domains to be authoritative for. Empty means the parent domain of each document's name.
	Origins []string
	// NameServers are named in the NS and SOA records of every origin. Empty means one, "ns." and the origin, without addresses.
	NameServers []NameServer
	// Networks are the addresses of askers by zone, for the policy nearest. Where networks overlap, the longest prefix decides.
	Networks map[string][]netip.Prefix
	// Serial is the serial number of the SOA records; the revision of the documents serves well. There are no zone transfers, so it only informs.
	Serial uint32
	// NegativeTTL is how many seconds negative answers may be kept, at most 86400. 0 means 5.
	NegativeTTL uint32
	// Partial says that there may be documents that could not be read: a name that none has is a server failure then, since "no such
	// name" would take addresses away from those who ask.
	Partial bool
}

// A NameServer is one server of the origins, by its absolute name, with the addresses that are answered for that name if it is below an origin.
type NameServer struct {
	Name      string
	Addresses []netip.Addr
}

// A Zone is what a Server answers from: documents, compiled. It is immutable, and safe for concurrent use.
type Zone struct {
	records  map[string]*record
	origins  map[string]*origin
	exists   map[string]bool // all names with records, and those between them and their origin
	networks []network       // the longest prefix first
	problems []Problem
	partial  bool
}

// A Problem is a part of the input that a Zone had to leave out.
type Problem struct {
	// Name is that of the document, the origin or the name server.
	Name string
	// Err says what is wrong and how to mend it.
	Err error
}

// record is one name with its addresses.
type record struct {
	ttl    uint32
	vips   []vip            // those that the policy hands out; never empty
	byZone map[string][]vip // for the policy nearest; nil for others
}

// vip is one address that may be handed out.
type vip struct {
	addr   netip.Addr
	weight int // at least 1
}

// origin is one domain that the zone is authoritative for.
type origin struct {
	name        string // canonical, no trailing dot
	servers     []string
	serial      uint32
	negativeTTL uint32
}

// network maps addresses of askers to a zone.
type network struct {
	prefix netip.Prefix
	zone   string
}

// NewZone compiles documents. One that is not valid, repeats the name of one before it, or lies outside of the configured origins is left
// out and listed in Problems; the others are served. The documents are not kept.
func NewZone(docs []*Document, cfg ZoneConfig) *Zone {
	z := &Zone{records: map[string]*record{}, origins: map[string]*origin{}, exists: map[string]bool{}, networks: compileNetworks(cfg.Networks), partial: cfg.Partial}
	cfg.NameServers = z.validServers(cfg.NameServers)
	for _, name := range cfg.Origins {
		z.addOrigin(canonicalName(name), cfg)
	}
	for _, d := range docs {
		if err := z.add(d, cfg); err != nil {
			z.problems = append(z.problems, Problem{Name: d.Name, Err: err})
		}
	}
	for _, server := range cfg.NameServers {
		z.addAddresses(server)
	}
	for name := range z.records {
		z.markExisting(name)
	}
	for name, o := range z.origins {
		z.exists[name] = true
		for _, server := range o.servers {
			if z.originOf(server) != nil {
				z.markExisting(server)
			}
		}
	}
	return z
}

// Names returns how many names the zone has addresses for.
func (z *Zone) Names() int { return len(z.records) }

// Origins returns the domains that the zone is authoritative for, sorted, without trailing dots.
func (z *Zone) Origins() []string { return slices.Sorted(maps.Keys(z.origins)) }

// Problems returns what was left out, in the order of the input. The slice is not to be changed.
func (z *Zone) Problems() []Problem { return z.problems }

func (z *Zone) addOrigin(name string, cfg ZoneConfig) {
	if z.origins[name] != nil {
		return
	}
	if err := checkHostName(name, true); err != nil {
		z.problems = append(z.problems, Problem{Name: name, Err: fmt.Errorf("origin %w", err)})
		return
	}
	o := &origin{name: name, serial: cfg.Serial, negativeTTL: min(cmp.Or(cfg.NegativeTTL, DefaultNegativeTTL), MaxTTL)}
	for _, server := range cfg.NameServers {
		o.servers = append(o.servers, server.Name)
	}
	if len(o.servers) == 0 {
		o.servers = []string{"ns." + name}
	}
	z.origins[name] = o
}

func (z *Zone) add(d *Document, cfg ZoneConfig) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if z.records[d.Name] != nil {
		return errors.New("another document has this name; keep one of them")
	}
	if len(cfg.Origins) == 0 {
		z.addOrigin(parentOf(d.Name), cfg)
	}
	if z.originOf(d.Name) == nil {
		return fmt.Errorf("the name is under none of the origins %q; add its domain to them, or rename it", cfg.Origins)
	}
	z.records[d.Name] = compile(d.Canonical())
	return nil
}

// validServers returns the name servers whose names and addresses can be sent, with canonical names.
func (z *Zone) validServers(servers []NameServer) []NameServer {
	var valid []NameServer
	for _, server := range servers {
		server.Name = canonicalName(server.Name)
		if err := checkHostName(server.Name, true); err != nil {
			z.problems = append(z.problems, Problem{Name: server.Name, Err: fmt.Errorf("name server %w", err)})
			continue
		}
		server.Addresses = slices.DeleteFunc(slices.Clone(server.Addresses), func(addr netip.Addr) bool { return !isUsable(addr) })
		valid = append(valid, server)
	}
	return valid
}

// addAddresses makes a name server's own name answer, unless a document already does.
func (z *Zone) addAddresses(server NameServer) {
	name := server.Name
	if z.records[name] != nil || z.originOf(name) == nil || len(server.Addresses) == 0 {
		return
	}
	r := &record{ttl: MaxTTL}
	for _, addr := range server.Addresses {
		r.vips = append(r.vips, vip{addr: addr.Unmap(), weight: 1})
	}
	z.records[name] = r
}

// markExisting marks a name, and the names between it and its origin: they exist without having records (RFC 8020).
func (z *Zone) markExisting(name string) {
	end := z.originOf(name)
	for ; name != end.name; name = parentOf(name) {
		z.exists[name] = true
	}
}

// originOf returns the longest origin that a canonical name is under, or nil.
func (z *Zone) originOf(name string) *origin {
	for ; name != ""; name = parentOf(name) {
		if o := z.origins[name]; o != nil {
			return o
		}
	}
	return nil
}

func compileNetworks(networks map[string][]netip.Prefix) []network {
	var all []network
	for _, zone := range slices.Sorted(maps.Keys(networks)) {
		for _, prefix := range networks[zone] {
			if prefix.IsValid() {
				all = append(all, network{prefix: prefix.Masked(), zone: zone})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b network) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	return all
}

// zoneOf returns the zone of an asker's address, and "" if it is in none.
func (z *Zone) zoneOf(asker netip.Addr) string {
	asker = asker.Unmap()
	for _, n := range z.networks {
		if n.prefix.Contains(asker) {
			return n.zone
		}
	}
	return ""
}
