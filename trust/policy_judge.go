package trust

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"

	"github.com/clearrun/clearrun/image"
)

// judge holds the image against all that its rule asks for. Nothing is left out once
// something is missing: whoever asks why wants to know everything.
func (g *ruling) judge() {
	if g.by.deny {
		g.find(false, "nothing: the rule denies", "the image")
		return
	}
	g.judgeTier()
	g.judgeTransport()
	g.judgeSignature()
	g.judgeVersion()
}

func (g *ruling) find(ok bool, required, found string) {
	g.findings = append(g.findings, Finding{Required: required, Found: found, OK: ok})
}

// judgeTier takes the tier that was asked for, if it is allowed, or the least allowed
// one: an image never runs at another tier than its user or its rule has named.
func (g *ruling) judgeTier() {
	var names []string
	for _, t := range g.by.tiers {
		names = append(names, t.String())
	}
	asked := "no tier was asked for"
	switch want := g.request.AskedTier; {
	case want == 0:
		g.tier = g.by.tiers[0]
	case slices.Contains(g.by.tiers, want):
		g.tier = want
	}
	if g.request.AskedTier != 0 {
		asked = fmt.Sprintf("tier %s was asked for", g.request.AskedTier)
	}
	g.find(g.tier != 0, "tier "+strings.Join(names, " or "), asked)
}

// judgeTransport asks whether the registry may be spoken to in the clear. A signature
// keeps out what somebody on the way has changed, but not that an older image comes.
func (g *ruling) judgeTransport() {
	if !g.request.PlainHTTP {
		return
	}
	if g.by.plainHTTP {
		g.find(true, "TLS to the registry, or --plain-http", "--plain-http")
		return
	}
	g.find(false, "no --plain-http: the rule does not allow it", "--plain-http")
}

func (g *ruling) judgeSignature() {
	q := g.by.require
	e := g.request.Evidence
	if g.request.InsecureNoVerify {
		if g.by.insecure {
			g.find(true, "a signature, or --insecure-no-verify", "--insecure-no-verify")
			return
		}
		g.find(false, "no --insecure-no-verify: the rule does not allow it", "--insecure-no-verify")
		return
	}
	valid := e.countFor(g.request.Name)
	g.signers = g.acceptable(valid)
	if q.none {
		g.find(true, "no signature", signerWords(g.signers, "none by anyone trusted"))
		return
	}
	if !e.verified {
		g.find(false, q.String(), "the signature was not checked")
		return
	}
	found := strings.Join(e.reasons(), "; ")
	if found == "" {
		found = "no signature"
	}
	if len(valid) > 0 {
		var all []string
		for _, v := range valid {
			all = append(all, v.String())
		}
		found = strings.Join(append(all, e.bad...), "; ")
	}
	g.find(len(g.signers) >= q.atLeast, q.String(), found)
}

// acceptable picks those signatures that the rule counts, one per key.
func (g *ruling) acceptable(valid []counted) []counted {
	q := g.by.require
	var list []counted
	for _, v := range valid {
		known := slices.ContainsFunc(list, func(c counted) bool { return c.signer.Fingerprint == v.signer.Fingerprint })
		named := q.signers == nil || slices.Contains(q.signers, v.signer.Fingerprint)
		if !known && named && (v.system || !q.system) && q.fresh.met(v.made, g.request.Evidence.at) && v.says(q.annotations) {
			list = append(list, v)
		}
	}
	return list
}

// says reports whether the signer has put all of these beside the signature.
func (v vouch) says(annotations []image.NameValue) bool {
	for _, want := range annotations {
		if value, ok := v.annotations[want.Name]; !ok || value != want.Value {
			return false
		}
	}
	return true
}

// String describes the signature.
func (v vouch) String() string {
	s := "signature"
	if v.made.IsZero() {
		s += " without a date"
	} else {
		s += " of " + v.made.UTC().Format(time.DateOnly)
	}
	s += fmt.Sprintf(" by key %s (%s)", v.signer.Fingerprint, v.signer.Identity)
	for i, name := range slices.Sorted(maps.Keys(v.annotations)) {
		if i == 0 {
			s += ", annotated"
		}
		s += fmt.Sprintf(" %.64q=%.64q", name, v.annotations[name])
	}
	return s
}

// versionLabels are the labels that may hold an image's version: appc's (spec, Image
// Manifest Schema) and OCI's (image spec, Annotations). The first one counts.
func versionLabels() []string { return []string{"version", "org.opencontainers.image.version"} }

// version returns the image's version and the label that it is in.
func (r Request) version() (label, value string) {
	for _, label := range versionLabels() {
		if value, ok := r.label(label); ok {
			return label, value
		}
	}
	return "", ""
}

func (g *ruling) judgeVersion() {
	least := g.by.require.minVersion
	if least == nil {
		return
	}
	required := "version " + least.String() + " or later"
	label, value := g.request.version()
	if label == "" {
		g.find(false, required, "no label "+strings.Join(versionLabels(), " or "))
		return
	}
	v, err := semver.NewVersion(value)
	if err != nil {
		g.find(false, required, fmt.Sprintf("label %q is %q, which is not like 1.2.3 (semver.org)", label, value))
		return
	}
	g.find(!v.LessThan(*least), required, "version "+value)
}

// String says in words whose signatures are required.
func (q requirement) String() string {
	who := "of any key that is trusted for the name"
	if q.system {
		who = "of any key that the system trusts for the name"
	}
	if q.signers != nil {
		who = "of " + strings.Join(q.signers, ", ")
	}
	s := fmt.Sprintf("signatures of %d different keys, each one %s", q.atLeast, who)
	if q.atLeast == 1 {
		s = "a signature " + who
	}
	if f := q.fresh.String(); f != "" {
		s += ", not older than " + f
	}
	for _, a := range q.annotations {
		s += fmt.Sprintf(", annotated %q=%q", a.Name, a.Value)
	}
	return s
}

func signerWords(signers []counted, none string) string {
	var words []string
	for _, s := range signers {
		words = append(words, fmt.Sprintf("signed by %s, key %s, trusted for %s",
			s.signer.Identity, s.signer.Fingerprint, prefixWords(s.prefix)))
	}
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, "; ")
}

// refusal is the error for an image that may not run.
func (g *ruling) refusal() error {
	r := g.request
	if g.by == nil {
		return fmt.Errorf("trust: image %s: no rule of the policy %s matches it, and what no rule matches does not run: "+
			"clearrun policy check says what was compared", r.Name, r.Policy.source)
	}
	var missing []string
	for _, f := range g.findings {
		if !f.OK {
			missing = append(missing, fmt.Sprintf("requires %s; found: %s", f.Required, f.Found))
		}
	}
	switch {
	case len(missing) == 0:
		return nil
	case r.Policy == nil && g.tier == 0:
		return fmt.Errorf("trust: image %s: without a policy, images run only at tier %s: a rule of the policy with tiers: [%s] allows tier %s (docs/trust.md)",
			r.Name, noPolicyTier, r.AskedTier, r.AskedTier)
	case r.Policy == nil: // then it is the signature
		return r.Evidence.refusal(r.Name)
	case g.by.deny:
		return fmt.Errorf("trust: image %s is denied by %s", r.Name, g.ruleWords())
	}
	return fmt.Errorf("trust: image %s is refused by %s: %s", r.Name, g.ruleWords(), strings.Join(missing, "; "))
}

func (g *ruling) ruleWords() string {
	return fmt.Sprintf("rule %q (%s:%d)", g.by.name, g.request.Policy.Source(), g.by.line)
}

// verdict permits the run. Only a ruling without a refusal has one.
func (g *ruling) verdict() Verdict {
	r := g.request
	v := Verdict{digest: cmp.Or(r.Whole, r.Digest), name: r.Name, tier: g.tier, how: howUnverified, policy: r.Policy.Source(), rule: g.by.name}
	if !r.InsecureNoVerify {
		v.how = signerWords(g.signers, "not signed by anyone trusted")
		if len(g.signers) > 0 {
			v.signer = g.signers[0].signer
		}
	}
	if r.Policy != nil {
		v.how += ", " + g.ruleWords()
	}
	v.limits, v.measurement = &g.by.limits, r.Policy.Measurement()
	return v
}
