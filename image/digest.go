package image

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// Algorithm names a digest's hash function, as appc and OCI both write it.
type Algorithm string

// The hash functions an image may be named by.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// Size returns the length of the hash in bytes, or 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	switch a {
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

// New returns a running hash, or nil for an unknown algorithm.
func (a Algorithm) New() hash.Hash {
	switch a {
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Digest names content by its hash. Digests compare with ==. One that is not zero
// is well formed: the only ways to get it are ParseDigest and NewDigest.
type Digest struct {
	algorithm Algorithm
	hex       string
}

// NewDigest makes a digest of a finished hash.
func NewDigest(a Algorithm, sum []byte) (Digest, error) {
	if a.Size() == 0 {
		return Digest{}, fmt.Errorf("digest: unknown algorithm %q (known: sha256, sha512)", a)
	}
	if len(sum) != a.Size() {
		return Digest{}, fmt.Errorf("digest: %s needs %d bytes, not %d", a, a.Size(), len(sum))
	}
	return Digest{algorithm: a, hex: hex.EncodeToString(sum)}, nil
}

// SumSHA512 wraps the result of crypto/sha512.
func SumSHA512(sum [sha512.Size]byte) Digest {
	return Digest{algorithm: SHA512, hex: hex.EncodeToString(sum[:])}
}

// ParseDigest reads "sha512-<hex>" as appc writes it or "sha256:<hex>" as OCI
// does. The hex digits are lower case and complete; short forms are refused.
func ParseDigest(s string) (Digest, error) {
	i := strings.IndexAny(s, "-:")
	if i < 0 {
		return Digest{}, fmt.Errorf("digest %q: want <algorithm>-<hex>", clip(s))
	}
	a, digits := Algorithm(s[:i]), s[i+1:]
	if a.Size() == 0 {
		return Digest{}, fmt.Errorf("digest %q: unknown algorithm (known: sha256, sha512)", clip(s))
	}
	if len(digits) != 2*a.Size() {
		return Digest{}, fmt.Errorf("digest %q: %s needs %d hex digits, not %d", clip(s), a, 2*a.Size(), len(digits))
	}
	if strings.Trim(digits, "0123456789abcdef") != "" {
		return Digest{}, fmt.Errorf("digest %q: not lower-case hex", clip(s))
	}
	return Digest{algorithm: a, hex: digits}, nil
}

// Algorithm returns the hash function; empty for the zero Digest.
func (d Digest) Algorithm() Algorithm { return d.algorithm }

// Hex returns the hash in lower-case hex; empty for the zero Digest.
func (d Digest) Hex() string { return d.hex }

// IsZero reports whether d names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the appc form, "sha512-<hex>", which is also safe as a file name.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return string(d.algorithm) + "-" + d.hex
}

// Short returns the algorithm and the first 12 digits, for people to read.
func (d Digest) Short() string {
	const shown = 12
	if d.IsZero() {
		return ""
	}
	return string(d.algorithm) + "-" + d.hex[:shown]
}

// MarshalText writes the appc form. The zero Digest is an error.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, errors.New("digest: empty")
	}
	return []byte(d.String()), nil
}

// UnmarshalText is ParseDigest.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// clip bounds a foreign string that goes into an error message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
