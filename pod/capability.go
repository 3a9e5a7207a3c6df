package pod

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/trust"
)

// CapabilitySet is a set of Linux capabilities: bit n stands for capability n of
// linux/capability.h.
type CapabilitySet uint64

// capabilityNames lists linux/capability.h in its order, without the CAP_.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL",
	"SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
	"NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
	"SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT",
	"SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
	"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// DefaultCapabilities returns what an app gets that asks for nothing: the same
// fourteen that docker grants.
func DefaultCapabilities() CapabilitySet {
	set, err := ParseCapabilities(
		"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID",
		"SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",
		"AUDIT_WRITE")
	if err != nil {
		return 0 // unreachable; a name that is wrong grants nothing
	}
	return set
}

// baseCapabilities are the default ones, and at tier host all: an agent of the host's is
// kept from nothing that it was not told to do without.
func baseCapabilities(tier trust.Tier) CapabilitySet {
	if tier == trust.TierHost {
		return AllCapabilities()
	}
	return DefaultCapabilities()
}

// AllCapabilities returns every capability known by name.
func AllCapabilities() CapabilitySet {
	return 1<<len(capabilityNames) - 1
}

// ParseCapabilities reads names such as CAP_NET_ADMIN or net_admin, or "ALL".
func ParseCapabilities(names ...string) (CapabilitySet, error) {
	var set CapabilitySet
	for _, name := range names {
		upper := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if upper == "ALL" {
			set |= AllCapabilities()
			continue
		}
		n := slices.Index(capabilityNames[:], upper)
		if n < 0 {
			return 0, fmt.Errorf("capability %q is unknown", name)
		}
		set |= 1 << n
	}
	return set, nil
}

// Has reports whether capability n is in the set.
func (s CapabilitySet) Has(n int) bool {
	return n >= 0 && n < 64 && s>>n&1 == 1
}

// String lists the names, in the kernel's order.
func (s CapabilitySet) String() string {
	var names []string
	for n, name := range capabilityNames {
		if s.Has(n) {
			names = append(names, "CAP_"+name)
		}
	}
	return strings.Join(names, ",")
}
