// Package pcr is the arithmetic of platform configuration registers, for those who fill them
// (trust/tpm) and those who take again what was put into them (trust). It knows no TPM.
package pcr

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Value is what a PCR of the SHA-256 bank holds, or a digest that is put into one.
type Value [sha256.Size]byte

// Extended is the value after digest was put into a PCR that held v (TPM 2.0 Library,
// part 1, section "Extend of a PCR").
func (v Value) Extended(digest Value) Value {
	return sha256.Sum256(append(v[:], digest[:]...))
}

// String is the value in hex, as Parse reads it.
func (v Value) String() string { return hex.EncodeToString(v[:]) }

// Pristine reports whether nothing was ever put into the PCR: they start with zeros, those of
// a dynamic root of trust with ones (PC Client Platform TPM Profile).
func (v Value) Pristine() bool {
	for _, b := range v {
		if b != v[0] {
			return false
		}
	}
	return v[0] == 0 || v[0] == 0xff
}

// Parse reads a value in hex.
func Parse(s string) (v Value, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(v) {
		return v, fmt.Errorf("%.80q: want %d hex digits", s, hex.EncodedLen(len(v)))
	}
	return Value(b), nil
}
