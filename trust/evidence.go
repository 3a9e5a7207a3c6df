package trust

import (
	"context"
	"crypto"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/clearrun/clearrun/image"
)

// Evidence is what an image's bytes and their signatures have shown: the digest of
// the bytes, and which trusted keys vouch for exactly those. Decide turns it into a
// Verdict once the image's name is known. The zero Evidence shows nothing.
type Evidence struct {
	source   image.Digest
	name     image.Name // that the signatures were checked for; empty: they know no names
	cosign   bool       // they are cosign's, or would be: it is an OCI image
	verified bool       // signatures were looked at
	at       time.Time  // when
	good     []vouch
	bad      []string // one line per signature that is not good
	changed  int      // how many of those are by a trusted key, but not over these bytes
}

// vouch is a good signature by a trusted key.
type vouch struct {
	signer Signer
	scopes []scope
	made   time.Time // when, as the signer says; zero: cosign's say nothing
	// annotations are what the signer said besides, by cosign.
	annotations map[string]string
}

// scope is what a key is trusted for, and by whom.
type scope struct {
	prefix image.Name
	system bool // by the administrator or the vendor, not by the user alone
}

// Source returns the sha512 of the bytes as distributed.
func (e Evidence) Source() image.Digest { return e.source }

// Unsigned reads the bytes to their end and takes note of their digest alone. Only a
// Request with InsecureNoVerify gets anything for it.
func Unsigned(ctx context.Context, signed io.Reader) (Evidence, error) {
	source, err := digestAll(ctx, signed, nil)
	return Evidence{source: source}, err
}

// Examine reads the bytes to their end, once, and checks the detached signature
// over them. It fails unless somebody in the keyring vouches for them: bytes that
// nobody vouches for need not be looked at any further. Whether it is the right one
// for the image is for Decide to say.
func (k *Keyring) Examine(ctx context.Context, signed io.Reader, signature []byte) (Evidence, error) {
	e, checks, err := k.prepare(signature)
	if err != nil {
		return Evidence{}, err
	}
	if len(checks) == 0 { // whatever the bytes are: spare the reading
		return Evidence{}, e.refusal("")
	}
	if e, err = e.finish(ctx, signed, checks); err != nil {
		return Evidence{}, err
	}
	if len(e.good) == 0 {
		return Evidence{}, e.refusal("")
	}
	return e, nil
}

// Inspect is Examine for those to whom it matters what is wrong with the signature,
// and who can do without a good one: a policy may let such an image run. Without
// a signature at all, it is nil.
func (k *Keyring) Inspect(ctx context.Context, signed io.Reader, signature []byte) (Evidence, error) {
	if signature == nil {
		return Evidence{verified: true, at: k.now()}.finish(ctx, signed, nil)
	}
	e, checks, err := k.prepare(signature)
	if err != nil {
		return Evidence{}, err
	}
	return e.finish(ctx, signed, checks)
}

// prepare reads the signatures, and the keys that may have made them.
func (k *Keyring) prepare(signature []byte) (Evidence, []*check, error) {
	candidates, err := readSignatures(signature)
	if err != nil {
		return Evidence{}, nil, err
	}
	trusted, err := k.load()
	if err != nil {
		return Evidence{}, nil, err
	}
	e := Evidence{verified: true, at: k.now()}
	checks := e.plan(candidates, trusted)
	return e, checks, nil
}

// finish reads the bytes and concludes the checks over them.
func (e Evidence) finish(ctx context.Context, signed io.Reader, checks []*check) (Evidence, error) {
	var err error
	if e.source, err = digestAll(ctx, signed, checks); err != nil {
		return Evidence{}, err
	}
	for _, c := range checks {
		e.conclude(c, e.at)
	}
	return e, nil
}

// check is one signature on its way through the bytes, for one key that may have
// made it.
type check struct {
	candidate candidate
	copies    []trustedKey // of the signer's key; one per prefix
	hash      hash.Hash    // of the bytes so far; nil: shares that of the digest
}

// sharesDigest reports whether the signature's hash is the digest's too: a plain
// SHA-512. That is what GnuPG makes by default, and hashing is nearly all of the
// time that a warm start takes here.
func sharesDigest(sig *packet.Signature) bool {
	return sig.Version == signatureV4 && sig.Hash == crypto.SHA512 // v6 begins with a salt
}

// plan sorts out what cannot be good, and prepares the rest.
func (e *Evidence) plan(candidates []candidate, trusted []trustedKey) []*check {
	var checks []*check
	for _, c := range candidates {
		if c.fault != "" {
			e.bad = append(e.bad, fmt.Sprintf("the signature by key %s %s", c.keyID(), c.fault))
			continue
		}
		signers := signersOf(trusted, *c.sig.IssuerKeyId)
		if len(signers) == 0 {
			e.bad = append(e.bad, fmt.Sprintf("key %s is not trusted", c.keyID()))
			continue
		}
		for _, copies := range signers {
			h, err := c.sig.PrepareVerify()
			if err != nil {
				e.bad = append(e.bad, fmt.Sprintf("the signature by key %s %s", c.keyID(), describeError(err)))
				continue
			}
			if sharesDigest(c.sig) {
				h = nil
			}
			checks = append(checks, &check{c, copies, h})
		}
	}
	return checks
}

// signersOf returns the trusted keys that hold the key ID, grouped by fingerprint. Key
// IDs can be made to collide: then each of them is tried.
func signersOf(trusted []trustedKey, id uint64) [][]trustedKey {
	var order []string
	groups := make(map[string][]trustedKey)
	for _, t := range trusted {
		if t.entity == nil || len((openpgp.EntityList{t.entity}).KeysById(id)) == 0 {
			continue
		}
		f := t.fingerprint()
		if groups[f] == nil {
			order = append(order, f)
		}
		groups[f] = append(groups[f], t)
	}
	var signers [][]trustedKey
	for _, f := range order {
		signers = append(signers, groups[f])
	}
	return signers
}

// conclude takes the result of a check whose bytes have all passed.
func (e *Evidence) conclude(c *check, now time.Time) {
	if err := c.result(now); err != nil {
		if errors.As(err, &mismatch{}) {
			e.changed++
		}
		e.bad = append(e.bad, fmt.Sprintf("the signature by key %s (%s) %s",
			c.candidate.keyID(), identity(c.copies[0].entity, now), describeError(err)))
		return
	}
	v := vouch{signer: Signer{
		Fingerprint: c.copies[0].fingerprint(),
		KeyID:       c.candidate.keyID(),
		Identity:    identity(c.copies[0].entity, now),
	}, made: c.candidate.sig.CreationTime}
	for _, t := range c.copies {
		v.scopes = append(v.scopes, t.scope())
	}
	e.good = append(e.good, v)
}

// result finishes the verification: the key made the signature over the bytes that
// have passed, and signature and key are good now.
//
// What counts is now, not the time that the signature gives for itself. Whoever holds
// an expired or stolen key can date a signature back; and a key whose owner has since
// moved its end has, in many exports, no certificate of that time any more.
func (c *check) result(now time.Time) error {
	var key openpgp.Key
	for _, t := range c.copies { // all must agree: one may know of a revocation
		if t.revoked != nil {
			return t.revoked
		}
		if _, err := t.entity.VerifyPrimaryKey(now, policyAt(now)); err != nil {
			return err
		}
		var ok bool
		if key, ok = t.entity.SigningKeyById(now, *c.candidate.sig.IssuerKeyId, policyAt(now)); !ok {
			return errBadSubkey
		}
	}
	if err := key.PublicKey.VerifySignature(c.hash, c.candidate.sig); err != nil {
		return mismatch{err}
	}
	return checkDetails(c.candidate.sig, key, now)
}

// errBadSubkey is all that the library says about it.
var errBadSubkey = errors.New("by a key that is expired or revoked, or may not sign")

// checkDetails looks at what a good signature says about itself.
func checkDetails(sig *packet.Signature, key openpgp.Key, now time.Time) error {
	if sig.SigExpired(now) { // also if it comes from the future
		return pgperrors.ErrSignatureExpired
	}
	if sig.CreationTime.Before(key.PublicKey.CreationTime) {
		return pgperrors.ErrSignatureOlderThanKey
	}
	for _, n := range sig.Notations {
		if n.IsCritical { // RFC 9580, section 5.2.3.7: error if it is not understood
			return fmt.Errorf("unknown critical notation %q", n.Name)
		}
	}
	// A subkey that signs vouches for its primary key in turn (section 10.1.5); the
	// library does not look at the hash of that.
	if back := key.SelfSignature.EmbeddedSignature; !key.IsPrimary() && (back == nil || rejectedHashes()[back.Hash]) {
		return errBadSubkey
	}
	return nil
}

func identity(e *openpgp.Entity, now time.Time) string {
	if _, id := e.PrimaryIdentity(now, policyAt(now)); id != nil {
		return id.Name
	}
	var names []string
	for name := range e.Identities {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > 0 {
		return names[0]
	}
	return "no name"
}

// readBuffer is how much of an image is read at a time.
const readBuffer = 256 << 10

// digestAll reads r to its end, for the digest and all checks at once.
func digestAll(ctx context.Context, r io.Reader, checks []*check) (image.Digest, error) {
	sum := sha512.New()
	hashes := []io.Writer{sum}
	for _, c := range checks {
		if c.hash != nil {
			hashes = append(hashes, c.hash)
		}
	}
	if err := readAll(ctx, r, io.MultiWriter(hashes...)); err != nil {
		return image.Digest{}, err
	}
	for _, c := range checks {
		if c.hash != nil {
			continue
		}
		cloner, ok := sum.(hash.Cloner)
		if !ok {
			return image.Digest{}, errors.New("sha512: the hash cannot be cloned")
		}
		var err error
		if c.hash, err = cloner.Clone(); err != nil {
			return image.Digest{}, fmt.Errorf("sha512: %w", err)
		}
	}
	return image.SumSHA512([sha512.Size]byte(sum.Sum(nil))), nil
}

// readAll copies r to w until its end or that of the context.
func readAll(ctx context.Context, r io.Reader, w io.Writer) error {
	buf := make([]byte, readBuffer)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// describeError puts the library's errors into words that follow "the signature".
func describeError(err error) string {
	var revoked *revocation
	switch {
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return "has expired, or is of the future"
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "is by a key that has expired"
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "is by a key that was revoked"
	case errors.Is(err, pgperrors.ErrSignatureOlderThanKey):
		return "is older than its key"
	case errors.As(err, &revoked):
		return "is by a key that " + revoked.String()
	case errors.Is(err, errBadSubkey):
		return "is " + err.Error()
	}
	said := "is not valid (" + strings.TrimPrefix(err.Error(), "openpgp: ") + ")"
	if errors.As(err, &mismatch{}) {
		said += ": image or signature was changed after the signing, or damaged: fetch both again"
	}
	return said
}

// mismatch is the error of a signature over other bytes.
type mismatch struct{ error }
