package pod

import "errors"

// WithoutLimits takes back what the image asks for of memory and CPUs, where the runner can hold
// it to nothing: why says so, with the remedy, and is what the report says of it. A limit that the
// user has asked for is not taken back, but why is the error; so is a limit that a strict run must have.
func (p *Pod) WithoutLimits(why error) error {
	if p.asked {
		return why
	}
	p.Resources = Resources{}
	for i := range p.Enforcement {
		e := &p.Enforcement[i]
		if (e.Name == isolatorMemory || e.Name == isolatorCPU) && e.Detail != noLimit {
			e.State, e.Detail = Unenforced, why.Error()
		}
	}
	if err := p.unenforced(); p.strict && err != nil {
		return errors.Join(err, why)
	}
	return nil
}
