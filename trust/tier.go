package trust

import "fmt"

// Tier is how strictly an app is kept apart from the host. Tiers compare: a
// greater one isolates more. The zero Tier is invalid and runs nothing.
type Tier uint8

const (
	TierHost Tier = iota + 1 // a plain process of the host
	TierNS                   // namespaces, SELinux, seccomp
	TierVM                   // a virtual machine of its own
)

// ParseTier reads "vm", "ns" or "host".
func ParseTier(s string) (Tier, error) {
	for t := TierHost; t <= TierVM; t++ {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, fmt.Errorf("tier %q: want vm, ns or host", s)
}

// Valid reports whether t is one of the three tiers.
func (t Tier) Valid() bool { return t >= TierHost && t <= TierVM }

func (t Tier) String() string {
	switch t {
	case TierHost:
		return "host"
	case TierNS:
		return "ns"
	case TierVM:
		return "vm"
	}
	return "invalid"
}
