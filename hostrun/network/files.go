package network

import (
	"net/netip"
	"strings"
)

// ResolvConf is resolv.conf(5) for a container: the host's, with what the connection says ahead of its
// name servers, or in their place, and without those that only the host itself can reach.
func (c *Connection) ResolvConf(host string) string {
	var b strings.Builder
	for _, server := range append([]string{c.Resolver}, c.Resolvers...) {
		writeLine(&b, "nameserver", server)
	}
	for line := range strings.Lines(host) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2 || strings.ContainsAny(fields[0][:1], "#;"):
			continue
		case fields[0] == "nameserver":
			a, err := netip.ParseAddr(fields[1])
			if len(c.Resolvers) > 0 || err != nil || a.IsLoopback() || a.IsUnspecified() || a.Zone() != "" {
				continue
			}
		case len(c.Search) > 0 && (fields[0] == "search" || fields[0] == "domain"):
			continue
		}
		b.WriteString(strings.Join(fields, " ") + "\n")
	}
	writeLine(&b, "search", c.Search...)
	writeLine(&b, "options", c.ResolverOptions...)
	return b.String()
}

// writeLine writes a line of resolv.conf(5), if there is something for it to say. Words that would
// be more than one are left out.
func writeLine(b *strings.Builder, key string, words ...string) {
	line := key
	for _, w := range words {
		if len(strings.Fields(w)) == 1 && strings.TrimSpace(w) == w {
			line += " " + w
		}
	}
	if line != key {
		b.WriteString(line + "\n")
	}
}

// HasNameServer reports whether a resolv.conf(5) names one.
func HasNameServer(conf string) bool {
	for line := range strings.Lines(conf) {
		if strings.HasPrefix(line, "nameserver ") {
			return true
		}
	}
	return false
}

// Hosts is hosts(5) for a container: its names for itself, at its addresses if they are known.
func (c *Connection) Hosts(hostname string) string {
	text := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if len(c.Addresses) == 0 {
		text += "127.0.1.1\t" + hostname + "\n"
	}
	for _, a := range c.Addresses {
		text += a.String() + "\t" + hostname + "\n"
	}
	return text
}
