package pod

import (
	"fmt"
	"slices"
)

// Limits is a set of what bounds an app.
type Limits uint

// The members: those of Resources, and that on the number of processes, which every app has.
const (
	LimitMemory Limits = 1 << iota
	LimitCPUs
	LimitIO
	LimitProcesses

	AllLimits = LimitMemory | LimitCPUs | LimitIO | LimitProcesses
)

// isolators are those that ask for any of the limits.
func (l Limits) isolators() (names []string) {
	for limit, of := range map[Limits][]string{
		LimitMemory: {isolatorMemory}, LimitCPUs: {isolatorCPU}, LimitIO: {isolatorIOBytes, isolatorIOOps},
	} {
		if l&limit != 0 {
			names = append(names, of...)
		}
	}
	return names
}

// limits are those that the user asks for.
func (o Overrides) limits() (l Limits) {
	for limit, asked := range map[Limits]bool{
		LimitMemory: o.MemoryBytes != 0, LimitCPUs: o.CPUs != 0, LimitIO: o.IOWeight != 0 || len(o.DeviceLimits) > 0,
	} {
		if asked {
			l |= limit
		}
	}
	return l
}

// without is r less the lost limits.
func (r Resources) without(lost Limits) Resources {
	if lost&LimitMemory != 0 {
		r.MemoryBytes = 0
	}
	if lost&LimitCPUs != 0 {
		r.CPUs = 0
	}
	if lost&LimitIO != 0 {
		r.IO = nil
	}
	return r
}

// WithoutLimits takes back limits that the image asks for or that every app has, where the runner cannot
// keep them: why says so, with the remedy, and goes into the report. A limit that the user has
// asked for is not taken back, but why is the error; so it is in a strict run.
func (p *Pod) WithoutLimits(lost Limits, why error) error {
	if p.asked&lost != 0 {
		return why
	}
	p.Resources = p.Resources.without(lost)
	for i := range p.Enforcement {
		e := &p.Enforcement[i]
		if slices.Contains(lost.isolators(), e.Name) && e.Detail != noLimit {
			e.State, e.Detail = Unenforced, why.Error()
		}
	}
	if lost&LimitProcesses != 0 {
		p.Enforcement = append(p.Enforcement, Enforcement{"limits", Unenforced, why.Error()})
	}
	if err := p.unenforced(); p.strict && err != nil {
		return fmt.Errorf("%w (%w)", err, why)
	}
	return nil
}
