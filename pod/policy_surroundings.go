package pod

import "github.com/clearrun/clearrun/trust"

// restrictSurroundings refuses a network or volume that the policy does not let the app have. Tier
// host has no network but the host's: a rule that lists the tier allows that.
func (p *Pod) restrictSurroundings(l trust.Limits) error {
	if p.Verdict.Tier() != trust.TierHost {
		if err := l.AllowsNetwork(string(p.Network)); err != nil {
			return err
		}
	}
	for _, v := range p.Volumes {
		if err := l.AllowsVolume(v.Source, v.ReadOnly); err != nil {
			return err
		}
	}
	return nil
}
