package trust

import (
	"errors"
	"fmt"
	"slices"

	"github.com/clearrun/clearrun/image"
)

// UnsignedOCI is Unsigned for an OCI image, whose bytes its reader has held against the
// manifest's digest already.
func UnsignedOCI(manifest image.Digest) Evidence {
	return Evidence{source: manifest, cosign: true}
}

// ExamineOCI checks cosign's signatures. subjects are what may have been signed: the
// manifest that runs, which the Evidence is about, then the indexes that led to it. name
// is the image's, without tag or digest.
//
// A signature counts if a trusted key has made it and it is about one of the subjects and,
// where it says so, about an image of this name. Like Examine it fails if there is
// none: then the image need not be looked at any further.
func (k *Keyring) ExamineOCI(subjects []image.Digest, name image.Name, sigs image.Signatures) (Evidence, error) {
	e, err := k.InspectOCI(subjects, name, sigs)
	if err != nil {
		return Evidence{}, err
	}
	if len(e.countFor(name)) == 0 {
		return Evidence{}, e.refusal(name)
	}
	return e, nil
}

// InspectOCI is ExamineOCI for those who can do without a good signature, as Inspect is
// Examine.
func (k *Keyring) InspectOCI(subjects []image.Digest, name image.Name, sigs image.Signatures) (Evidence, error) {
	if _, err := image.ParseName(string(name)); err != nil {
		return Evidence{}, err
	}
	if len(subjects) == 0 || slices.ContainsFunc(subjects, image.Digest.IsZero) {
		return Evidence{}, fmt.Errorf("image %s: its digest is not known", name)
	}
	if n := len(sigs.Simple) + len(sigs.Bundles); n > signaturesMax {
		return Evidence{}, fmt.Errorf("image %s: %d signatures, more than %d", name, n, signaturesMax)
	}
	trusted, err := k.load()
	if err != nil {
		return Evidence{}, err
	}
	o := ociCheck{subjects: subjects, keys: cosignSigners(trusted)}
	o.evidence = Evidence{source: subjects[0], name: name, cosign: true, verified: true, at: k.now()}
	for i, s := range sigs.Simple {
		o.simple(fmt.Sprintf("cosign signature %d", i+1), s)
	}
	for i, data := range sigs.Bundles {
		o.bundle(fmt.Sprintf("bundle %d", i+1), data)
	}
	return o.evidence, nil
}

// cosignSigner is a trusted key with all that it is trusted for.
type cosignSigner struct {
	key     *cosignKey
	signer  Signer
	scopes  []scope
	revoked *revocation
}

func cosignSigners(trusted []trustedKey) []cosignSigner {
	var list []cosignSigner
	for _, t := range trusted {
		if t.cosign == nil {
			continue
		}
		fpr := t.fingerprint()
		i := slices.IndexFunc(list, func(s cosignSigner) bool { return s.signer.Fingerprint == fpr })
		if i < 0 {
			i = len(list)
			list = append(list, cosignSigner{key: t.cosign, signer: Signer{fpr, fpr[:16], t.cosign.kind}, revoked: t.revoked})
		}
		list[i].scopes = append(list[i].scopes, t.scope())
	}
	return list
}

// ociCheck is the check of one image's signatures.
type ociCheck struct {
	subjects []image.Digest
	keys     []cosignSigner
	evidence Evidence
}

func (o *ociCheck) bad(what string, format string, args ...any) {
	o.evidence.bad = append(o.evidence.bad, what+" "+fmt.Sprintf(format, args...))
}

func (o *ociCheck) simple(what string, s image.SimpleSigning) {
	signer := o.whoSigned(s.Payload, s.Signature)
	if signer == nil {
		o.bad(what, "is not by a trusted key, or was changed")
		return
	}
	c, err := parsePayload(s.Payload)
	o.judge(what, signer, c, err)
}

func (o *ociCheck) bundle(what string, data []byte) {
	e, err := parseBundle(data)
	if err != nil {
		o.bad(what, "cannot be used: %v", err)
		return
	}
	signer := o.whoSigned(e.signed(), e.signature)
	if signer == nil {
		o.bad(what, "is not by a trusted key, or was changed (it says to be by key %.64q)", e.hint)
		return
	}
	c, err := parseStatement(e.payload)
	o.judge(what, signer, c, err)
}

// whoSigned tries each key. What says itself whose it is says so without proof, and
// nothing that is signed is read before the signature was found good.
func (o *ociCheck) whoSigned(message, signature []byte) *cosignSigner {
	for i := range o.keys {
		if o.keys[i].key.verifies(message, signature) {
			return &o.keys[i]
		}
	}
	return nil
}

// judge takes the claim of a good signature, if it is about the image.
func (o *ociCheck) judge(what string, s *cosignSigner, c claim, err error) {
	if err == nil {
		err = c.about(o.subjects, o.evidence.name)
	}
	if s.revoked != nil {
		err = errors.New("the key " + s.revoked.String())
	}
	if err != nil {
		o.bad(what, "by key %s: %v", s.signer.KeyID, err)
		return
	}
	o.evidence.good = append(o.evidence.good, vouch{signer: s.signer, scopes: s.scopes, annotations: c.annotations})
}
