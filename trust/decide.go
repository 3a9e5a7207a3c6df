package trust

import (
	"errors"
	"fmt"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// Request asks whether an image may run.
type Request struct {
	Name   image.Name
	Digest image.Digest // of the image
	// Source is the sha512 of the distributed bytes that Digest was found in, by
	// whoever unpacked them. It must be what Evidence is about.
	Source   image.Digest
	Evidence Evidence
	// MinTier is the least isolation that the user asks for. Zero: vm.
	MinTier Tier
	// InsecureNoVerify waives the signature, for this Verdict alone.
	InsecureNoVerify bool
}

// noPolicyTier is the tier of every image as long as no policy says otherwise: a user
// may ask for more isolation than the policy does, never for less.
const noPolicyTier = TierVM

// howUnverified is what Verdict.How says of an image that nobody vouched for.
const howUnverified = "not verified"

// Decide mints the Verdict for an image, or says what is missing and what to do
// about it. Without a policy file, signed images run, at tier vm.
func Decide(r Request) (Verdict, error) {
	if err := r.check(); err != nil {
		return Verdict{}, fmt.Errorf("trust: %w", err)
	}
	v := Verdict{digest: r.Digest, name: r.Name, tier: max(r.MinTier, noPolicyTier)}
	if r.InsecureNoVerify {
		v.how = howUnverified
		return v, nil
	}
	best, prefix, ok := r.Evidence.voucherFor(r.Name)
	if !ok {
		return Verdict{}, r.Evidence.refusal(r.Name)
	}
	v.signer = best.signer
	v.how = fmt.Sprintf("signed by %s, key %s, trusted for %s",
		best.signer.Identity, best.signer.Fingerprint, prefixWords(prefix))
	return v, nil
}

func (r Request) check() error {
	if _, err := image.ParseName(string(r.Name)); err != nil {
		return err
	}
	if r.Digest.IsZero() || r.Source.IsZero() {
		return fmt.Errorf("image %s: its digest is not known", r.Name)
	}
	if r.MinTier != 0 && !r.MinTier.Valid() {
		return fmt.Errorf("image %s: tier %d is invalid", r.Name, r.MinTier)
	}
	if r.Evidence.source != r.Source {
		return fmt.Errorf("image %s: the file changed while it was read: what was checked is not what was unpacked", r.Name)
	}
	return nil
}

// voucherFor returns a good signature that counts for the name, the one with the
// longest prefix of several.
func (e Evidence) voucherFor(name image.Name) (best vouch, prefix image.Name, ok bool) {
	for _, v := range e.good {
		for _, p := range v.prefixes {
			if name.Within(p) && (!ok || len(p) > len(prefix)) {
				best, prefix, ok = v, p, true
			}
		}
	}
	return best, prefix, ok
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
	var reasons []string
	for _, v := range e.good {
		var prefixes []string
		for _, p := range v.prefixes {
			prefixes = append(prefixes, prefixWords(p))
		}
		reasons = append(reasons, fmt.Sprintf("key %s (%s) has signed, but is trusted only for %s",
			v.signer.KeyID, v.signer.Identity, strings.Join(prefixes, ", ")))
	}
	reasons = append(reasons, e.bad...)
	if len(reasons) == 0 {
		return errors.New("trust: " + about + " carries no signature")
	}
	return fmt.Errorf("trust: %s is not signed by anyone trusted: %s; if you trust a signer: clearrun trust add --prefix %s key.asc",
		about, strings.Join(reasons, "; "), placeholder)
}
