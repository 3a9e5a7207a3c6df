package pod

import (
	"fmt"
	"strings"

	"github.com/clearrun/clearrun/trust"
)

// Network is what an app can reach: one of the constants below, or "cni:NAME" for the
// network configuration of that name.
type Network string

const (
	NetworkNone Network = trust.NetworkNone // a loopback interface of its own; what every app gets by default
	NetworkHost Network = trust.NetworkHost // the host's interfaces and abstract sockets
	NetworkUser Network = trust.NetworkUser // out through a process of the user's (pasta)
)

// ParseNetwork reads the value of --network. Empty: none.
func ParseNetwork(s string) (Network, error) {
	if s == "" {
		return NetworkNone, nil
	}
	return Network(s), trust.CheckNetwork(s)
}

// CNI is the name of the network configuration; empty: it is another kind of network.
func (n Network) CNI() string {
	name, found := strings.CutPrefix(string(n), trust.NetworkCNI)
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

// cutFrames takes from an app what it could send frames of its own by, with addresses of its choice.
//
// With the network "user" it may not have that: pasta believes the addresses, and would connect them to
// what listens on the host's loopback interface (that of 2023, in Debian 12, does). On a network of CNI
// they reach its neighbours, for which it could answer as somebody else (ARP spoofing). There the app
// does not get it for nothing, as it does where it is alone, but has it if the user says so, within the
// limits of the policy.
func (p *Pod) cutFrames(o Overrides) error {
	if p.Network != NetworkUser && p.Network.CNI() == "" {
		return nil
	}
	frames, err := ParseCapabilities("NET_RAW", "NET_ADMIN")
	if err != nil {
		return err
	}
	asked, err := p.cutCapabilities(^frames, o)
	switch {
	case err != nil || asked == 0:
		return err
	case p.Network == NetworkUser:
		return fmt.Errorf("network user: with %s the app could reach what listens on the host's loopback interface: drop it (--cap-drop), or use another network", asked)
	}
	p.App.Capabilities |= asked
	return nil
}
