package pod

import (
	"encoding/json"
	"fmt"

	"github.com/clearrun/clearrun/hostrun/seccomp"
	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

// Isolators about system calls (appc spec, ace.md, Linux Isolators).
const (
	isolatorSeccompRetain = "os/linux/seccomp-retain-set"
	isolatorSeccompRemove = "os/linux/seccomp-remove-set"
)

// restriction reads the isolators about system calls, of which an app has one at most.
// It is nil if nothing is asked for.
func restriction(isolators []image.Isolator) (r *seccomp.Restriction, err error) {
	var seen string
	for _, i := range isolators {
		if i.Name != isolatorSeccompRetain && i.Name != isolatorSeccompRemove {
			continue
		}
		if seen != "" {
			return nil, fmt.Errorf("isolators %s and %s: an app may have only one of the two, once", seen, i.Name)
		}
		seen = i.Name
		var v struct {
			Set   []string `json:"set"`
			Errno string   `json:"errno"`
		}
		if err = json.Unmarshal(i.Value, &v); err == nil {
			read := seccomp.Remove
			if i.Name == isolatorSeccompRetain {
				read = seccomp.Retain
			}
			r, err = read(v.Set, v.Errno)
		}
		if err != nil {
			return nil, fmt.Errorf("isolator %s: %w", i.Name, err)
		}
	}
	return r, nil
}

// seccompEnforcement says what became of an isolator that r was made from.
func seccompEnforcement(tier trust.Tier, retain bool, r *seccomp.Restriction) (EnforcementState, string) {
	switch {
	case tier == trust.TierVM:
		return Unenforced, "a VM's app has a kernel of its own, and all of its system calls"
	case tier != trust.TierNS:
		return Unenforced, "tier host filters no system calls"
	case r == nil && retain:
		return Adjusted, "asks for all system calls, and gets those of Moby's profile"
	case r == nil:
		return Enforced, "asks for the default, which is Moby's profile"
	}
	detail := fmt.Sprintf("%d system calls at most, as far as Moby's profile allows them", r.Allowed())
	if note := r.Note(); note != "" {
		return Adjusted, detail + ": as asked for, " + note
	}
	return Enforced, detail
}
