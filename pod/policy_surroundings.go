package pod

import (
	"errors"

	"github.com/clearrun/clearrun/trust"
)

// restrictSurroundings refuses a network, port or volume that the policy does not let the app have. Tier
// host has no network but the host's: a rule that lists the tier allows that. To relabel a
// volume is to change it.
func (p *Pod) restrictSurroundings(l trust.Limits) error {
	if p.Verdict.Tier() != trust.TierHost {
		if err := l.AllowsNetwork(string(p.Network)); err != nil {
			return err
		}
	}
	for _, published := range p.Published {
		if err := l.AllowsPorts(published.rule()); err != nil {
			return err
		}
	}
	for _, v := range p.Volumes {
		relabels := v.Relabel != RelabelNone
		err := l.AllowsVolume(v.Source, v.ReadOnly && !relabels)
		var limit *trust.LimitError
		if relabels && v.ReadOnly && errors.As(err, &limit) {
			limit.Found += ", since " + string(v.Relabel) + " changes the labels of its files"
		}
		if err != nil {
			return err
		}
	}
	return nil
}
