package pod

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"sync"

	"github.com/appc/spec/schema/types/resource"

	"github.com/clearrun/clearrun/hostrun/seccomp"
	"github.com/clearrun/clearrun/image"
)

// The isolators that are mapped (appc spec, ace.md, Isolators).
const (
	isolatorMemory     = "resource/memory"
	isolatorCPU        = "resource/cpu"
	isolatorIOBytes    = "resource/block-bandwidth"
	isolatorIOOps      = "resource/block-iops"
	isolatorNoNewPrivs = "os/linux/no-new-privileges"
	isolatorRetain     = "os/linux/capabilities-retain-set"
	isolatorRemove     = "os/linux/capabilities-remove-set"
)

// isolation is what an app's isolators ask for.
type isolation struct {
	memory          uint64 // bytes; 0: nothing asked for
	cpus            int    // whole CPUs; 0: nothing asked for
	ioBytes, ioOps  uint64 // per second; 0: nothing asked for
	capabilities    CapabilitySet
	noNewPrivileges bool
	seccomp         *seccomp.Restriction
}

// isolate reads the isolators. Without a capability set the app gets base: a retain-set
// is all that it gets, a remove-set is taken away from base.
func isolate(isolators []image.Isolator, base CapabilitySet) (isolation, error) {
	restricted, err := restriction(isolators)
	iso := isolation{capabilities: base, seccomp: restricted}
	if err != nil {
		return iso, err
	}
	var retain, remove CapabilitySet
	var retained, removed bool
	for _, i := range isolators {
		var err error
		switch i.Name {
		case isolatorMemory:
			iso.memory, err = wholeLimit(i.Value)
		case isolatorCPU:
			iso.cpus, err = cpuLimit(i.Value)
		case isolatorIOBytes:
			iso.ioBytes, err = wholeLimit(i.Value)
		case isolatorIOOps:
			iso.ioOps, err = wholeLimit(i.Value)
		case isolatorNoNewPrivs:
			err = json.Unmarshal(i.Value, &iso.noNewPrivileges)
		case isolatorRetain:
			retained = true
			retain, err = capabilitySet(i.Value)
		case isolatorRemove:
			removed = true
			remove, err = capabilitySet(i.Value)
		}
		if err != nil {
			return iso, fmt.Errorf("isolator %s: %w", i.Name, err)
		}
	}
	if retained && removed {
		return iso, fmt.Errorf("isolators %s and %s contradict each other", isolatorRetain, isolatorRemove)
	}
	if retained {
		iso.capabilities = retain
	}
	iso.capabilities &^= remove
	return iso, nil
}

func capabilitySet(value json.RawMessage) (CapabilitySet, error) {
	var v struct {
		Set []string `json:"set"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return 0, err
	}
	return ParseCapabilities(v.Set...)
}

// wholeLimit returns bytes, or what else is counted, rounded up.
func wholeLimit(value json.RawMessage) (uint64, error) {
	q, err := limitOf(value)
	if err != nil || q == nil {
		return 0, err
	}
	return uint64(q.Value()), nil
}

// cpuLimit returns whole CPUs, rounded up: no tier divides them yet.
func cpuLimit(value json.RawMessage) (int, error) {
	const perCPU = 1000 // MilliValue
	q, err := limitOf(value)
	if err != nil || q == nil {
		return 0, err
	}
	if q.Value() > math.MaxInt32 {
		return 0, fmt.Errorf("limit %s is out of range", q)
	}
	return int((q.MilliValue() + perCPU - 1) / perCPU), nil
}

// quantity is what a limit may look like. The parser computes with any exponent; one
// of nine digits would keep it busy for hours.
var quantity = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\+?[0-9.]{1,24}([mkMGTPE]|[KMGTPE]i|[eE][0-9]{1,2})?$`)
})

// limitOf reads the limit of a resource isolator, which must be positive; nil if
// there is none. The request is a scheduler's business.
func limitOf(value json.RawMessage) (*resource.Quantity, error) {
	var v struct {
		Limit json.RawMessage `json:"limit"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return nil, err
	}
	if len(v.Limit) == 0 || string(v.Limit) == "null" {
		return nil, nil
	}
	text := string(v.Limit)
	if text[0] == '"' {
		if err := json.Unmarshal(v.Limit, &text); err != nil {
			return nil, err
		}
	}
	if !quantity().MatchString(text) {
		return nil, fmt.Errorf("limit %.40q is not a quantity", text)
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return nil, fmt.Errorf("limit %q: %w", text, err)
	}
	if q.Value() <= 0 {
		return nil, fmt.Errorf("limit %q must be greater than 0", text)
	}
	return &q, nil
}
