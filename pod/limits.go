package pod

import (
	"fmt"
	"slices"
)

// WithoutLimits takes back what the image asks for of memory, CPUs and block devices, where the runner can hold
// it to nothing, nor to what every app is held to: why says so, with the remedy, and goes into the report. A limit
// that the user has asked for is not taken back, but why is the error; so it is in a strict run.
func (p *Pod) WithoutLimits(why error) error {
	if p.asked {
		return why
	}
	p.Resources = Resources{}
	for i := range p.Enforcement {
		e := &p.Enforcement[i]
		if slices.Contains([]string{isolatorMemory, isolatorCPU, isolatorIOBytes, isolatorIOOps}, e.Name) && e.Detail != noLimit {
			e.State, e.Detail = Unenforced, why.Error()
		}
	}
	p.Enforcement = append(p.Enforcement, Enforcement{"limits", Unenforced, why.Error()})
	if err := p.unenforced(); p.strict && err != nil {
		return fmt.Errorf("%w (%w)", err, why)
	}
	return nil
}
