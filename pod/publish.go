package pod

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/clearrun/clearrun/trust"
)

// Publication are ports of the host at which the world reaches those of an app: as many on
// either side, in order.
type Publication struct {
	Host     netip.Addr // of the host's, that is listened on; the zero Addr: all
	HostPort uint16     // the first
	Port     uint16     // the first of the app's
	Count    int
	Protocol string // trust.ProtocolTCP or ProtocolUDP
}

func (p Publication) String() string {
	s := trust.FormatPortRange(p.HostPort, p.HostPort+uint16(p.Count-1)) + ":" +
		trust.FormatPortRange(p.Port, p.Port+uint16(p.Count-1)) + "/" + p.Protocol
	if p.Host.IsValid() {
		s = trust.FormatHostAddress(p.Host) + ":" + s
	}
	return s
}

// ParsePublication reads [ADDRESS:]HOST-PORT:PORT[/tcp|udp], in which either may be a range,
// FIRST-LAST.
func ParsePublication(s string) (Publication, error) {
	bad := func(err error) (Publication, error) { return Publication{}, fmt.Errorf("publish %q: %w", s, err) }
	rest, protocol, given := strings.Cut(s, "/")
	if !given {
		protocol = trust.ProtocolTCP
	}
	if protocol != trust.ProtocolTCP && protocol != trust.ProtocolUDP {
		return bad(errors.New("want tcp or udp behind the slash"))
	}
	p := Publication{Protocol: protocol}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return bad(errors.New("want HOST-PORT:PORT: clearrun chooses no port of the host"))
	}
	host, inside := rest[:i], rest[i+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		var err error
		if p.Host, err = trust.ParseHostAddress(host[:i]); err != nil {
			return bad(err)
		}
		host = host[i+1:]
	}
	if host == "" {
		return bad(errors.New("names no port of the host: want HOST-PORT:PORT"))
	}
	first, last, err := trust.ParsePortRange(host)
	if err != nil {
		return bad(err)
	}
	from, to, err := trust.ParsePortRange(inside)
	if err != nil {
		return bad(err)
	}
	if last-first != to-from {
		return bad(errors.New("the ranges differ in length"))
	}
	p.HostPort, p.Port, p.Count = first, from, int(last-first)+1
	return p, nil
}

// rule is what a policy is asked about.
func (p Publication) rule() trust.PortRule {
	return trust.PortRule{Host: p.Host, First: p.HostPort, Last: p.HostPort + uint16(p.Count-1), Protocol: p.Protocol}
}

// clashes reports whether both want the same port. A port of one address cannot be had beside the same of
// all addresses; and pasta, behind the network "user", tells no addresses apart.
func (p Publication) clashes(other Publication, n Network) bool {
	a, b := p.rule(), other.rule()
	sameHost := n == NetworkUser || p.Host == other.Host || !p.Host.IsValid() || !other.Host.IsValid() || p.Host.IsUnspecified() || other.Host.IsUnspecified()
	return p.Protocol == other.Protocol && sameHost && a.First <= b.Last && b.First <= a.Last
}

// maxPublished bounds how many ports a run may publish.
const maxPublished = 1024

// choosePublications holds what the user wants to publish against the network that the app has.
func choosePublications(asked []Publication, n Network, tier trust.Tier) ([]Publication, error) {
	total := 0
	for i, p := range asked {
		switch {
		case tier == trust.TierVM:
			return nil, fmt.Errorf("publish %s: a VM has no network yet: leave it out, or ask for tier ns (--ns), where the policy allows it", p)
		case n == NetworkHost:
			return nil, fmt.Errorf("publish %s: an app with the host's network listens at the host's ports by itself: leave it out", p)
		case n != NetworkUser && n.CNI() == "":
			return nil, fmt.Errorf("publish %s: nothing reaches an app with network %s: ask for another (--network user)", p, n)
		}
		for _, other := range asked[:i] {
			if p.clashes(other, n) {
				return nil, fmt.Errorf("publish %s: %s takes the same port of the host", p, other)
			}
		}
		if total += p.Count; total > maxPublished {
			return nil, fmt.Errorf("publish %s: more than %d ports in all", p, maxPublished)
		}
	}
	return asked, nil
}
