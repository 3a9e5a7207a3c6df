package pod

import (
	"fmt"

	"github.com/clearrun/clearrun/trust"
)

// UserNamespace is who root of a container is on the host.
type UserNamespace string

const (
	UserNamespaceDefault UserNamespace = ""     // root for root, who is in none; others are in one anyway
	UserNamespaceHost    UserNamespace = "host" // none: the host's IDs
	UserNamespaceAuto    UserNamespace = "auto" // a range of IDs that no other container has
)

// chooseUserNamespace is the user namespace at a tier.
func chooseUserNamespace(asked string, tier trust.Tier) (UserNamespace, error) {
	n := UserNamespace(asked)
	switch {
	case n != UserNamespaceDefault && n != UserNamespaceHost && n != UserNamespaceAuto:
		return "", fmt.Errorf("user namespace %q: want host or auto", asked)
	case n != UserNamespaceDefault && tier != trust.TierNS:
		return "", fmt.Errorf("user namespace %s: that is about tier ns, and this runs at tier %s: leave it out", asked, tier)
	}
	return n, nil
}
