package trust

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"

	"github.com/clearrun/clearrun/image"
)

// Policy is an ordered list of rules about which image may run, and how. The first
// rule that matches decides; an image that none matches is refused. The zero Policy
// has no rules, and so refuses every image.
type Policy struct {
	source string // the file's name; empty: built in
	rules  []rule
	// measurement is what the file says of the TPM; zero: nothing.
	measurement MeasurementPolicy
}

// rule is one entry of a policy file, already found free of contradictions.
type rule struct {
	name    string
	line    int
	match   match
	deny    bool
	require requirement
	tiers   []Tier // allowed ones, the least isolation first
	// insecure lets a run skip the signature.
	insecure bool
	// plainHTTP lets a run speak to a registry without TLS.
	plainHTTP bool
	limits    Limits
}

// match says which images a rule is about. What is not given fits every image.
type match struct {
	name     pattern
	registry registryPattern
	digest   image.Digest
	labels   []image.NameValue
}

// requirement is what must be known of an image.
type requirement struct {
	none bool // no signature
	// signers are the fingerprints whose signatures count. Nil: those of each key
	// that is trusted for the name.
	signers []string
	// system leaves out what a user alone trusts.
	system  bool
	atLeast int // of different signers
	fresh   freshness
	// annotations are what a signature must say besides; only cosign's can.
	annotations []image.NameValue
	// minVersion bounds the label "version" from below; nil: any, or none.
	minVersion *semver.Version
}

// freshness bounds how long ago a signature was made, by a date or by days; the zero
// freshness takes every age.
type freshness struct {
	since time.Time
	days  int
}

// noPolicyRule is the name of the one rule that holds without a policy file.
const noPolicyRule = "no policy file"

// noPolicy is what holds without a policy file: what a trusted key has signed for its
// name runs in a VM, and a user may waive the signature for one run, and give the app
// what is the user's own to give.
func noPolicy() *Policy {
	return &Policy{rules: []rule{{
		name:     noPolicyRule,
		match:    match{name: pattern{anyBelow}},
		require:  requirement{atLeast: 1},
		tiers:    []Tier{noPolicyTier},
		insecure: true, plainHTTP: true,
		limits: Limits{Volumes: []VolumeRule{{Path: "/"}}},
	}}}
}

// Source returns the name of the policy file; empty: there is none.
func (p *Policy) Source() string {
	if p == nil {
		return ""
	}
	return p.source
}

// orDefault gives what holds if there is no policy file.
func (p *Policy) orDefault() *Policy {
	if p == nil {
		return noPolicy()
	}
	return p
}

// NeedsSignature reports whether no rule lets an image run that nobody has signed.
// Then what carries no good signature need not be looked at any further.
func (p *Policy) NeedsSignature() bool {
	return !slices.ContainsFunc(p.orDefault().rules, func(r rule) bool { return r.require.none })
}

// misfit says why the rule is not about the image; empty: it is.
func (m match) misfit(r Request) string {
	if len(m.name) > 0 && !m.name.fits(r.Name) {
		return fmt.Sprintf("name %s does not fit %s", r.Name, m.name)
	}
	if m.registry != "" {
		switch in := r.registry(); {
		case in == "":
			return fmt.Sprintf("is no OCI image of a registry, such as %s", m.registry)
		case !m.registry.covers(in):
			return fmt.Sprintf("registry %s does not fit %s", in, m.registry)
		}
	}
	if !m.digest.IsZero() && m.digest != r.Digest {
		return fmt.Sprintf("digest is not %s", m.digest)
	}
	for _, want := range m.labels {
		value, ok := r.label(want.Name)
		if !ok {
			return fmt.Sprintf("has no label %q", want.Name)
		}
		if value != want.Value {
			return fmt.Sprintf("label %q is %q, not %q", want.Name, value, want.Value)
		}
	}
	return ""
}

// covers reports whether m fits whatever other fits.
func (m match) covers(other match) bool {
	names := other.name
	if other.registry != "" && (len(names) == 0 || names.all()) {
		names = other.registry.names()
	}
	if len(m.name) > 0 && (len(names) == 0 && !m.name.all() || len(names) > 0 && !m.name.covers(names)) {
		return false
	}
	if m.registry != "" && (other.registry == "" || !m.registry.covers(other.registry)) {
		return false
	}
	if !m.digest.IsZero() && m.digest != other.digest {
		return false
	}
	for _, l := range m.labels {
		if !slices.Contains(other.labels, l) {
			return false
		}
	}
	return true
}

// The wildcards of a pattern. Each stands for whole components of a name: a part of
// one is not a boundary that anybody owns.
const (
	anyOne   = "*"  // exactly one component
	anyBelow = "**" // one or more; only at the end
)

// pattern is a glob over names, by component.
type pattern []string

func parsePattern(s string) (pattern, error) {
	p := pattern(strings.Split(s, "/"))
	plain := slices.Clone(p)
	for i, c := range p {
		switch {
		case c == anyBelow && i < len(p)-1:
			return nil, fmt.Errorf("name %q: ** stands only at the end", s)
		case c == anyOne || c == anyBelow:
			plain[i] = "x"
		case strings.Contains(c, "*"):
			return nil, fmt.Errorf("name %q: a wildcard stands for whole components: *, or ** at the end", s)
		}
	}
	if _, err := image.ParseName(strings.Join(plain, "/")); err != nil {
		return nil, fmt.Errorf("name %q: %w", s, err)
	}
	return p, nil
}

func (p pattern) String() string { return strings.Join(p, "/") }

// all reports whether every name fits.
func (p pattern) all() bool { return len(p) == 1 && p[0] == anyBelow }

func (p pattern) fits(name image.Name) bool { return p.covers(strings.Split(string(name), "/")) }

// covers reports whether each name that fits other fits p. A name is a pattern, too.
func (p pattern) covers(other pattern) bool {
	for i, c := range p {
		if i >= len(other) {
			return false
		}
		if c == anyBelow {
			return true
		}
		if other[i] == anyBelow || c != anyOne && c != other[i] {
			return false
		}
	}
	return len(p) == len(other)
}

// met reports whether a signature of this age counts at the given time.
func (f freshness) met(made, now time.Time) bool {
	if f.days > 0 {
		return !made.Before(now.AddDate(0, 0, -f.days))
	}
	return !made.Before(f.since)
}

func (f freshness) String() string {
	switch {
	case f.days > 0:
		return fmt.Sprintf("%d days", f.days)
	case !f.since.IsZero():
		return f.since.Format(time.DateOnly)
	}
	return ""
}
