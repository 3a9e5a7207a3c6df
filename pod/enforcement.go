package pod

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

// Enforcement is what became of one isolator of the image.
type Enforcement struct {
	Name  string           `json:"name"`
	State EnforcementState `json:"state"`
	// Detail says what is in force, or why nothing is.
	Detail string `json:"detail"`
}

// EnforcementState is how far an isolator is kept. One that contradicts the policy or
// makes no sense is refused, and then there is no Pod.
type EnforcementState string

const (
	Enforced   EnforcementState = "enforced"
	Adjusted   EnforcementState = "adjusted" // to what clearrun can keep, or by the user's options
	Unenforced EnforcementState = "unenforced"
	Absent     EnforcementState = "absent" // on this host, and nobody has asked for it
)

// RootImage is the name of what tells how the root image is verified. It stands in the
// report of each run.
const RootImage = "root-image"

// enforcement compares what the isolators ask for with what p has come to.
func (p *Pod) enforcement(isolators []image.Isolator, iso isolation) []Enforcement {
	var report []Enforcement
	host := p.Verdict.Tier() == trust.TierHost
	if host {
		report = append(report, Enforcement{"isolation", Unenforced, "tier host keeps the app apart from nothing: its root is verified, and it is a process of the host"})
	}
	for _, i := range isolators {
		e := Enforcement{Name: i.Name}
		switch i.Name {
		case isolatorMemory:
			e.State, e.Detail = compare(iso.memory, p.Resources.MemoryBytes), "limit "+FormatSize(p.Resources.MemoryBytes)
		case isolatorCPU:
			e.State, e.Detail = compare(iso.cpus, p.Resources.CPUs), fmt.Sprintf("limit %d CPUs", p.Resources.CPUs)
			if fractional(i.Value) {
				e.State = Adjusted
			}
		case isolatorIOBytes:
			e.State, e.Detail = p.ioEnforcement(iso.ioBytes, FormatSize(iso.ioBytes))
		case isolatorIOOps:
			e.State, e.Detail = p.ioEnforcement(iso.ioOps, fmt.Sprintf("%d operations", iso.ioOps))
		case isolatorRetain, isolatorRemove:
			e.State, e.Detail = compare(iso.capabilities, p.App.Capabilities), "all that the app can hold: "+p.App.Capabilities.String()
		case isolatorNoNewPrivs:
			e.State, e.Detail = compare(iso.noNewPrivileges, p.App.NoNewPrivileges), fmt.Sprint(p.App.NoNewPrivileges)
		case isolatorSeccompRetain, isolatorSeccompRemove:
			e.State, e.Detail = seccompEnforcement(p.Verdict.Tier(), i.Name == isolatorSeccompRetain, iso.seccomp)
		default:
			e.State, e.Detail = Unenforced, "no tier of clearrun knows it"
		}
		if e.State != Unenforced && (e.Name == isolatorMemory && iso.memory == 0 || e.Name == isolatorCPU && iso.cpus == 0) {
			e.State, e.Detail = Enforced, noLimit
		}
		if host && (i.Name == isolatorRetain || i.Name == isolatorRemove) {
			e.State = Unenforced // it sees the host's processes and devices
		}
		report = append(report, e)
	}
	return report
}

const noLimit = "asks for no limit"

func compare[T comparable](asked, got T) EnforcementState {
	if asked == got {
		return Enforced
	}
	return Adjusted
}

// fractional reports whether a CPU limit that was found valid was rounded up.
func fractional(value json.RawMessage) bool {
	q, err := limitOf(value)
	return err == nil && q != nil && q.MilliValue()%1000 != 0
}

// unenforced is the error for a Pod some of whose isolators are not kept, where
// nothing may be left out; nil if all are.
func (p *Pod) unenforced() error {
	var names []string
	for _, e := range p.Enforcement {
		if e.State == Unenforced && !slices.Contains(names, e.Name) {
			names = append(names, e.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("isolators that clearrun cannot enforce: %s: leave out --strict to run without them", strings.Join(names, ", "))
}
