package trust

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// The protocols whose ports can be published.
const (
	ProtocolTCP = "tcp"
	ProtocolUDP = "udp"
)

// PortRule are ports of the host at which the world may reach an app.
type PortRule struct {
	Host        netip.Addr // that may be listened on; the zero Addr: any, and all
	First, Last uint16
	Protocol    string // empty: both
}

// ParsePortRule reads [ADDRESS:]PORT[-PORT][/tcp|/udp].
func ParsePortRule(s string) (PortRule, error) {
	bad := func(why string) (PortRule, error) {
		return PortRule{}, fmt.Errorf("port %q: %s", s, why)
	}
	rest, protocol, _ := strings.Cut(s, "/")
	if strings.Contains(s, "/") && protocol != ProtocolTCP && protocol != ProtocolUDP {
		return bad("want tcp or udp behind the slash")
	}
	r := PortRule{Protocol: protocol}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		var err error
		if r.Host, err = ParseHostAddress(rest[:i]); err != nil {
			return bad(err.Error())
		}
		rest = rest[i+1:]
	}
	var err error
	if r.First, r.Last, err = ParsePortRange(rest); err != nil {
		return bad(err.Error())
	}
	return r, nil
}

// ParseHostAddress reads an IP address of the host. One of version 6 stands in brackets.
func ParseHostAddress(s string) (netip.Addr, error) {
	inner, bracket := strings.CutPrefix(s, "[")
	if bracket {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return netip.Addr{}, errors.New("a bracket is not closed")
		}
	}
	a, err := netip.ParseAddr(inner)
	switch {
	case err != nil || a.Zone() != "" || a.Is4In6():
		return netip.Addr{}, fmt.Errorf("%q is no IP address", s)
	case a.Is6() != bracket:
		return netip.Addr{}, fmt.Errorf("%q: brackets stand around addresses of IPv6, and no others", s)
	}
	return a, nil
}

// ParsePortRange reads PORT or FIRST-LAST.
func ParsePortRange(s string) (first, last uint16, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if first, err = parsePort(from); err != nil || !isRange {
		return first, first, err
	}
	if last, err = parsePort(to); err == nil && last < first {
		err = fmt.Errorf("range %s ends before it begins", s)
	}
	return first, last, err
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is no port: want 1 to 65535", s)
	}
	return uint16(n), nil
}

func (r PortRule) String() string {
	s := FormatPortRange(r.First, r.Last)
	if r.Host.IsValid() {
		s = FormatHostAddress(r.Host) + ":" + s
	}
	if r.Protocol != "" {
		s += "/" + r.Protocol
	}
	return s
}

// FormatPortRange is what ParsePortRange reads.
func FormatPortRange(first, last uint16) string {
	if first == last {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// FormatHostAddress is what ParseHostAddress reads.
func FormatHostAddress(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// MarshalText is String.
func (r PortRule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParsePortRule.
func (r *PortRule) UnmarshalText(text []byte) (err error) {
	*r, err = ParsePortRule(string(text))
	return err
}

// covers reports whether r allows all that other does, or a port that is other.
func (r PortRule) covers(other PortRule) bool {
	return (!r.Host.IsValid() || r.Host == other.Host) && r.First <= other.First && other.Last <= r.Last &&
		(r.Protocol == "" || r.Protocol == other.Protocol)
}

// firstFreePort is the least that every user of a host may listen at (ip(7), ip_unprivileged_port_start).
const firstFreePort = 1024

// DefaultPorts are those at which an app may be reached where nothing is said: what any user of the host
// could listen at as well.
func DefaultPorts() []PortRule { return []PortRule{{First: firstFreePort, Last: 1<<16 - 1}} }

// allowedPorts are those of l, with what goes without saying.
func (l Limits) allowedPorts() []PortRule {
	if l.Ports == nil {
		return DefaultPorts()
	}
	return l.Ports
}

// AllowsPorts returns a LimitError unless an app may be reached at all these ports, of one protocol.
func (l Limits) AllowsPorts(asked PortRule) error {
	allowed := l.allowedPorts()
	for n := int(asked.First); n <= int(asked.Last); n++ {
		one := PortRule{asked.Host, uint16(n), uint16(n), asked.Protocol}
		if !slices.ContainsFunc(allowed, func(r PortRule) bool { return r.covers(one) }) {
			return &LimitError{l.PortWords(), "port " + one.String()}
		}
	}
	return nil
}

// PortWords lists the ports of the host at which an app may be reached.
func (l Limits) PortWords() string {
	var list []string
	for _, r := range l.allowedPorts() {
		list = append(list, r.String())
	}
	if len(list) == 0 {
		return "no published ports"
	}
	return "published ports " + strings.Join(list, ", ")
}

// readPorts takes no ports that others allow already.
func (p *policyReader) readPorts(n ast.Node, l *Limits) {
	var places []ast.Node
	l.Ports = []PortRule{}
	p.list(n, "ports", func(s string, at ast.Node) {
		r, err := ParsePortRule(s)
		if err != nil {
			p.fault(at, "ports: %v", err)
			return
		}
		for i, other := range l.Ports {
			switch {
			case other.covers(r):
				p.fault(at, "ports: %s changes nothing: %s allows it already", r, other)
			case r.covers(other):
				p.fault(places[i], "ports: %s changes nothing: %s allows it already", other, r)
			}
		}
		l.Ports, places = append(l.Ports, r), append(places, at)
	})
}
