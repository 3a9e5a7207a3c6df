package trust

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// checkRule looks for what is missing in a rule or contradicts itself, and fills in
// what goes without saying.
func (p *policyReader) checkRule(n ast.Node, d *draft) {
	if d.at["name"] == nil {
		p.fault(n, "rule: has no name: decisions are reported by it")
	}
	for _, earlier := range p.rules {
		if d.name != "" && earlier.name == d.name {
			p.fault(d.at["name"], "rule %q: line %d has a rule of this name already", d.name, earlier.line)
		}
	}
	if why := d.match.contradiction(); why != "" {
		p.fault(d.matchAt["registry"], "rule %q: %s", d.name, why)
	}
	if m := d.match; len(m.name) == 0 && m.registry == "" && m.digest.IsZero() && len(m.labels) == 0 {
		p.fault(n, "rule %q: says not which images it is about: match: {name: \"**\"} is every image", d.name)
	}
	if d.deny {
		for _, field := range []string{"require", "tiers", "minTier", "allow"} {
			if at := d.at[field]; at != nil {
				p.fault(at, "rule %q: %s contradicts deny: true", d.name, field)
			}
		}
		return
	}
	p.checkRequire(n, d)
	p.checkTiers(d)
	p.checkSELinux(d)
	p.checkAllow(d)
}

// checkSELinux asks that SELinux is demanded where it has something to separate.
func (p *policyReader) checkSELinux(d *draft) {
	if d.limits.SELinux && slices.Contains(d.tiers, TierHost) {
		p.fault(d.require["selinux"], "rule %q: selinux is not to be had at tier host, where an app is a process of the host", d.name)
	}
}

// checkAllow asks that what is allowed exists at a tier of the rule.
func (p *policyReader) checkAllow(d *draft) {
	if len(d.tiers) == 0 || d.tiers[0] == TierVM {
		for _, network := range d.limits.Networks {
			if network == NetworkHost || strings.HasPrefix(network, NetworkCNI) {
				p.fault(d.allow["networks"], "rule %q: network %s does not exist at tier vm, the only one of the rule: allow tier ns, or leave it out", d.name, network)
			}
		}
		if len(d.limits.Ports) > 0 {
			p.fault(d.allow["ports"], "rule %q: published ports do not exist at tier vm, the only one of the rule: allow tier ns, or leave them out", d.name)
		}
		if len(d.limits.Volumes) > 0 {
			p.fault(d.allow["volumes"], "rule %q: volumes do not exist at tier vm, the only one of the rule: allow tier ns, or leave them out", d.name)
		}
	}
}

func (p *policyReader) checkRequire(n ast.Node, d *draft) {
	q := &d.rule.require
	at := func(field string) ast.Node {
		if d.require[field] != nil {
			return d.require[field]
		}
		return n
	}
	if q.none {
		for _, field := range []string{"signers", "atLeast", "annotations", "notOlderThan"} {
			if d.require[field] != nil {
				p.fault(at(field), "rule %q: %s contradicts none: true", d.name, field)
			}
		}
		return
	}
	if d.require["signers"] == nil {
		p.fault(n, "rule %q: says not who must have signed: require: {signers: keyring}, a list of fingerprints, or none: true; or deny: true", d.name)
		return
	}
	if q.atLeast == 0 {
		q.atLeast = 1
	}
	if q.signers != nil && q.atLeast > len(q.signers) {
		p.fault(at("atLeast"), "rule %q: atLeast %d of %d signers can never be met", d.name, q.atLeast, len(q.signers))
	}
	p.checkKinds(d, at)
}

// openPGPDigits is the length of a fingerprint that only an OpenPGP key has: that of version 4. Those
// of version 6 are as long as a cosign key's.
const openPGPDigits = 40

// checkKinds looks for what neither kind of signature can meet: OpenPGP's are dated, and on
// ACIs; cosign's bear annotations, and are on OCI images.
func (p *policyReader) checkKinds(d *draft, at func(string) ast.Node) {
	q := &d.rule.require
	isOpenPGP := func(fpr string) bool { return len(fpr) == openPGPDigits }
	openPGP := q.signers != nil && !slices.ContainsFunc(q.signers, func(fpr string) bool { return !isOpenPGP(fpr) })
	dated, annotated, oci := q.fresh != (freshness{}), len(q.annotations) > 0, d.match.registry != ""
	switch {
	case dated && annotated:
		p.fault(at("notOlderThan"), "rule %q: notOlderThan and annotations can never both be met: OpenPGP signatures have no annotations, cosign's no date", d.name)
	case dated && oci:
		p.fault(at("notOlderThan"), "rule %q: notOlderThan can never be met by images of a registry: cosign's signatures have no date", d.name)
	case openPGP && annotated:
		p.fault(at("annotations"), "rule %q: annotations can never be met: its signers are OpenPGP keys, whose signatures have none", d.name)
	case openPGP && oci:
		p.fault(at("signers"), "rule %q: its signers are OpenPGP keys, which sign ACIs, but it matches OCI images of a registry alone", d.name)
	}
}

// checkTiers turns tiers and minTier, of which either may be missing, into the list
// of tiers. Without both it is vm alone.
func (p *policyReader) checkTiers(d *draft) {
	switch {
	case d.tiers == nil && d.minTier == 0:
		d.tiers = []Tier{noPolicyTier}
	case d.tiers == nil && d.minTier == TierHost:
		p.fault(d.at["minTier"], "rule %q: tier host isolates nothing and must be listed: tiers: [host, ns, vm]", d.name)
	case d.tiers == nil:
		for t := d.minTier; t <= TierVM; t++ {
			d.tiers = append(d.tiers, t)
		}
	case d.minTier != 0 && d.tiers[0] < d.minTier:
		p.fault(d.at["tiers"], "rule %q: tier %s is less than minTier %s, so it could never be used", d.name, d.tiers[0], d.minTier)
	case d.minTier != 0 && d.tiers[0] > d.minTier:
		p.fault(d.at["minTier"], "rule %q: minTier %s is not among its tiers", d.name, d.minTier)
	}
}

// checkReach looks for one earlier rule that takes every image which this one is about.
func (p *policyReader) checkReach(n ast.Node, r rule) {
	for _, earlier := range p.rules {
		if earlier.match.covers(r.match) {
			p.fault(n, "rule %q can never be reached: rule %q in line %d matches all of its images, and the first match decides",
				r.name, earlier.name, earlier.line)
			return
		}
	}
}
