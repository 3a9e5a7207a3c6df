package network

import (
	"net/netip"
	"strings"
)

// ResolvConf is resolv.conf(5) for a container: the host's, with first ahead of its name
// servers (unless that is empty), and without those that only the host itself can reach.
func ResolvConf(host, first string) string {
	var b strings.Builder
	if first != "" {
		b.WriteString("nameserver " + first + "\n")
	}
	for line := range strings.Lines(host) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2 || strings.ContainsAny(fields[0][:1], "#;"):
			continue
		case fields[0] == "nameserver":
			a, err := netip.ParseAddr(fields[1])
			if err != nil || a.IsLoopback() || a.IsUnspecified() || a.Zone() != "" {
				continue
			}
		}
		b.WriteString(strings.Join(fields, " ") + "\n")
	}
	return b.String()
}

// Hosts is hosts(5) for a container: its names for itself, at its address if it is known.
func Hosts(hostname, address string) string {
	if address == "" {
		address = "127.0.1.1"
	}
	return "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" + address + "\t" + hostname + "\n"
}
