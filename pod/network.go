package pod

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/clearrun/clearrun/trust"
)

// Network is what an app can reach: one of the constants below, or "cni:NAME" for the
// network configuration of that name.
type Network string

const (
	NetworkNone Network = "none" // a loopback interface of its own; what every app gets by default
	NetworkHost Network = "host" // the host's interfaces and abstract sockets
	NetworkUser Network = "user" // out through a process of the user's (pasta)

	cniPrefix = "cni:"
)

// networkName is what CNI allows as the name of a network (CNI spec, section 1).
var networkName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// ParseNetwork reads the value of --network. Empty: none.
func ParseNetwork(s string) (Network, error) {
	switch n := Network(s); n {
	case "":
		return NetworkNone, nil
	case NetworkNone, NetworkHost, NetworkUser:
		return n, nil
	default:
		if name := n.CNI(); name != "" && networkName.MatchString(name) {
			return n, nil
		}
	}
	return "", fmt.Errorf("network %q: want none, host, user or cni:NAME", s)
}

// CNI is the name of the network configuration; empty: it is another kind of network.
func (n Network) CNI() string {
	name, found := strings.CutPrefix(string(n), cniPrefix)
	if !found {
		return ""
	}
	return name
}

// chooseNetwork is the network at a tier. The zero value asks for the tier's own: none,
// and at tier host, where there is no other, the host's.
func chooseNetwork(asked string, tier trust.Tier) (Network, error) {
	n, err := ParseNetwork(asked)
	switch {
	case err != nil:
		return "", err
	case tier == trust.TierVM && n != NetworkNone:
		return "", fmt.Errorf("network %s: a VM has none yet: leave it out, or ask for tier ns (--ns), where the policy allows it", n)
	case tier == trust.TierHost && asked == "":
		return NetworkHost, nil
	case tier == trust.TierHost && n != NetworkHost:
		return "", fmt.Errorf("network %s: tier host has the host's alone: ask for tier ns (--ns), where the policy allows it", n)
	}
	return n, nil
}
