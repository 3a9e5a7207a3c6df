package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// Request asks whether an image may run.
type Request struct {
	Name   image.Name
	Digest image.Digest // of the image
	// Whole is what the Verdict permits, if it is more than the image: its digest together
	// with those of its dependencies. Zero: Digest.
	Whole image.Digest
	// Source is the sha512 of the distributed bytes that Digest was found in, by
	// whoever unpacked them. It must be what Evidence is about.
	Source   image.Digest
	Evidence Evidence
	// AskedTier is the tier that the user asks for. Zero: the least one that the policy
	// allows.
	AskedTier Tier
	// InsecureNoVerify waives the signature, for this Verdict alone, if the policy
	// lets it.
	InsecureNoVerify bool
	// PlainHTTP says that the user had the registry spoken to without TLS.
	PlainHTTP bool
	// Labels are those in the image, which a policy may ask for.
	Labels []image.NameValue
	// Policy is what to decide by. Nil, there is no policy file: signed images run,
	// at tier vm.
	Policy *Policy
}

// noPolicyTier is the tier of every image as long as no policy says otherwise: a user
// may ask for more isolation than the policy does, never for less.
const noPolicyTier = TierVM

// howUnverified is what Verdict.How says of an image that nobody vouched for.
const howUnverified = "not verified"

// Decide mints the Verdict for an image, or says what is missing and what to do
// about it. The first rule of the policy that matches the image decides.
func Decide(r Request) (Verdict, error) {
	if err := r.check(); err != nil {
		return Verdict{}, fmt.Errorf("trust: %w", err)
	}
	ruling := r.rule()
	if err := ruling.refusal(); err != nil {
		refusal := &Refusal{Name: r.Name, Digest: r.Digest, Policy: r.Policy.Source(), err: err}
		if ruling.by != nil {
			refusal.Rule = ruling.by.name
		}
		return Verdict{}, refusal
	}
	return ruling.verdict(), nil
}

// Refusal is the error of Decide for an image that may not run.
type Refusal struct {
	Name   image.Name
	Digest image.Digest
	Policy string // its file; empty: there is none
	Rule   string // that refused it; empty: no rule matches
	err    error
}

// Error says what is missing and what to do about it.
func (r *Refusal) Error() string { return r.err.Error() }

func (r Request) check() error {
	if _, err := image.ParseName(string(r.Name)); err != nil {
		return err
	}
	if r.Digest.IsZero() || r.Source.IsZero() {
		return fmt.Errorf("image %s: its digest is not known", r.Name)
	}
	if r.AskedTier != 0 && !r.AskedTier.Valid() {
		return fmt.Errorf("image %s: tier %d is invalid", r.Name, r.AskedTier)
	}
	if r.Evidence.name != "" && r.Evidence.name != r.Name {
		return fmt.Errorf("image %s: its signatures were checked for another name, %s", r.Name, r.Evidence.name)
	}
	if r.Evidence.source != r.Source {
		return fmt.Errorf("image %s: the file changed while it was read: what was checked is not what was unpacked", r.Name)
	}
	return nil
}

// label returns the value of one of the image's labels.
func (r Request) label(name string) (string, bool) {
	return image.Meta{Labels: r.Labels}.Label(name)
}

// counted is a good signature that counts for a name, and why.
type counted struct {
	vouch
	prefix image.Name
	system bool // a scope of the system's or the vendor's counts
}

// countFor returns the good signatures by keys that are trusted for the name, one per
// key, those with the longest prefix first.
func (e Evidence) countFor(name image.Name) []counted {
	var list []counted
	for _, v := range e.good {
		c := counted{vouch: v}
		found := false
		for _, s := range v.scopes {
			if !name.Within(s.prefix) {
				continue
			}
			if !found || len(s.prefix) > len(c.prefix) {
				c.prefix, found = s.prefix, true
			}
			c.system = c.system || s.system
		}
		if found {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b counted) int { return len(b.prefix) - len(a.prefix) })
	return list
}

// refusal says why nobody trusted vouches for the image. An empty name stands for one
// that is not known: names are read from verified bytes only.
func (e Evidence) refusal(name image.Name) error {
	if !e.verified {
		return fmt.Errorf("trust: image %s: its signature was not checked", name)
	}
	about, placeholder := "the image", "NAME"
	if name != "" {
		about, placeholder = "image "+string(name), string(name)
	}
	reasons := e.reasons()
	if len(reasons) == 0 {
		return errors.New("trust: " + about + " carries no signature")
	}
	refusal := fmt.Errorf("trust: %s is not signed by anyone trusted: %s", about, strings.Join(reasons, "; "))
	if e.changed == len(reasons) { // more trust would not help
		return refusal
	}
	file := "key.asc"
	if e.cosign {
		file = "cosign.pub"
	}
	return fmt.Errorf("%w; if you trust a signer: clearrun trust add --prefix %s %s", refusal, placeholder, file)
}

// reasons says of each signature why it does not count, given that none does.
func (e Evidence) reasons() []string {
	var reasons []string
	for _, v := range e.good {
		var prefixes []string
		for _, s := range v.scopes {
			prefixes = append(prefixes, prefixWords(s.prefix))
		}
		reasons = append(reasons, fmt.Sprintf("key %s (%s) has signed, but is trusted only for %s",
			v.signer.KeyID, v.signer.Identity, strings.Join(prefixes, ", ")))
	}
	return append(reasons, e.bad...)
}
