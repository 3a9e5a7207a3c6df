package trust

import (
	"github.com/clearrun/clearrun/image"
)

// Signer is who vouched for an image.
type Signer struct {
	Fingerprint string // of the primary key, upper-case hex
	KeyID       string // of the key or subkey that signed, 16 digits
	Identity    string // the key's primary user ID, such as "Jo <jo@example.com>"
}

// IsZero reports whether there is no signer.
func (s Signer) IsZero() bool { return s == Signer{} }

// Verdict is the permission to run one image at one tier. Only this package makes
// one that grants anything; the zero Verdict grants nothing.
type Verdict struct {
	digest image.Digest
	name   image.Name
	signer Signer
	tier   Tier
	how    string
	policy string  // the file
	rule   string  // its rule
	limits *Limits // of the rule; nil: v grants nothing
	// measurement is what the policy says of the TPM.
	measurement MeasurementPolicy
}

// Grants reports whether v permits to run the image with the given digest.
func (v Verdict) Grants(digest image.Digest) bool {
	return v.tier.Valid() && !v.digest.IsZero() && v.digest == digest
}

// ImageDigest returns the one image that v is about.
func (v Verdict) ImageDigest() image.Digest { return v.digest }

// ImageName returns the name that the decision was taken for.
func (v Verdict) ImageName() image.Name { return v.name }

// Signer returns who signed; zero if nothing was verified.
func (v Verdict) Signer() Signer { return v.signer }

// Tier returns the least isolation that the image may run at.
func (v Verdict) Tier() Tier { return v.tier }

// Limits returns what the policy lets the app have at most.
func (v Verdict) Limits() Limits {
	if v.limits == nil {
		return Limits{}
	}
	l := *v.limits
	return l.clone()
}

// Policy returns the file of the policy that decided; empty: there was none.
func (v Verdict) Policy() string { return v.policy }

// Rule returns the name of the rule that decided.
func (v Verdict) Rule() string { return v.rule }

// Measurement says whether the decision must be measured into the TPM before the image runs.
func (v Verdict) Measurement() MeasurementPolicy { return v.measurement }

// How says in one line how the decision was reached.
func (v Verdict) How() string { return v.how }
