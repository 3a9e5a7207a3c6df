package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Port are ports of the host at which a container's are reached, as many on either side.
type Port struct {
	Host     netip.Addr // the zero Addr: all
	HostPort uint16
	Port     uint16
	Count    int
	Protocol string // tcp or udp
}

// reservation holds ports of the host: nobody else can have them.
type reservation []int

// reserve takes the ports, without anybody being able to connect to them. The network namespace
// is this thread's.
func reserve(ports []Port) (held reservation, err error) {
	for _, p := range ports {
		for n := range p.Count {
			for _, a := range p.addresses() {
				fd, err := bind(netip.AddrPortFrom(a, p.HostPort+uint16(n)), p.Protocol)
				if errors.Is(err, unix.EAFNOSUPPORT) && !p.Host.IsValid() {
					continue // no IPv6 here
				}
				if err != nil {
					held.release()
					return nil, portError(p, p.HostPort+uint16(n), err)
				}
				held = append(held, fd)
			}
		}
	}
	return held, nil
}

func (r reservation) release() {
	for _, fd := range r {
		unix.Close(fd)
	}
}

// addresses are those to listen on.
func (p Port) addresses() []netip.Addr {
	if p.Host.IsValid() {
		return []netip.Addr{p.Host}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// bind makes a socket of an address.
func bind(at netip.AddrPort, protocol string) (int, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	var to unix.Sockaddr
	if at.Addr().Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	} else {
		to = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		// Connections that have ended lately are in nobody's way.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 0) // or else another one could, too
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// mappings are the ports as the capability portMappings has them (CNI conventions).
func mappings(ports []Port) ([]byte, error) {
	type mapping struct {
		HostIP        string `json:"hostIP,omitempty"`
		HostPort      int    `json:"hostPort"`
		ContainerPort int    `json:"containerPort"`
		Protocol      string `json:"protocol"`
	}
	var list []mapping
	for _, p := range ports {
		host := ""
		if p.Host.IsValid() {
			host = p.Host.String()
		}
		for n := range p.Count {
			list = append(list, mapping{host, int(p.HostPort) + n, int(p.Port) + n, p.Protocol})
		}
	}
	return json.Marshal(list)
}

// portError says what keeps a port from being published, and what helps.
func portError(p Port, port uint16, err error) error {
	remedy := err.Error()
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		remedy = "it is in use: end what listens there, or publish another"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		remedy = "only root may listen there: publish one from " + firstUnprivileged() + " on"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		remedy = "the host does not have that address"
	}
	where := "the host"
	if p.Host.IsValid() {
		where = p.Host.String()
	}
	return fmt.Errorf("publish port %d/%s of %s: %s", port, p.Protocol, where, remedy)
}

// firstUnprivileged is the least port that everybody may listen at (ip(7)).
func firstUnprivileged() string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if n, fault := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && fault == nil {
		return strconv.Itoa(n)
	}
	return "1024"
}
