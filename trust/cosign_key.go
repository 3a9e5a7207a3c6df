package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
)

// Bounds on the RSA keys that are taken, in bits: less is weak, more is slow.
const (
	minCosignRSABits = 2048
	maxCosignRSABits = 8192
)

// publicKeyType is the PEM type of a SubjectPublicKeyInfo (RFC 7468, section 13), which
// is what cosign.pub is.
const publicKeyType = "PUBLIC KEY"

// cosignKey is a bare public key. It has no owner's name, no expiry and no revocation of
// its own: whoever trusts it ends that by removing or revoking it in the keyring.
type cosignKey struct {
	der    []byte // SubjectPublicKeyInfo
	public crypto.PublicKey
	kind   string // in words
}

// isPEM reports whether data may hold keys in PEM other than OpenPGP's.
func isPEM(data []byte) bool {
	return bytes.Contains(data, []byte("-----BEGIN ")) && !bytes.Contains(data, []byte(armorStart))
}

// parseCosignKeys reads one or more public keys in PEM. Whatever else is in the file is
// an error that says what it is.
func parseCosignKeys(data []byte) ([]*cosignKey, error) {
	var keys []*cosignKey
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		key, err := newCosignKey(block)
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		keys, data = append(keys, key), rest
	}
	if len(keys) == 0 || len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("read key: damaged PEM")
	}
	return keys, nil
}

func newCosignKey(block *pem.Block) (*cosignKey, error) {
	switch {
	case bytes.Contains([]byte(block.Type), []byte("PRIVATE")):
		return nil, errors.New("this is a private key; cosign public-key --key FILE prints the public one")
	case block.Type == "CERTIFICATE":
		return nil, errors.New("certificates (keyless signatures) are not supported: want a public key such as cosign.pub")
	case block.Type != publicKeyType:
		return nil, fmt.Errorf("PEM block %.40q: want %q", block.Type, publicKeyType)
	case len(block.Headers) > 0:
		return nil, errors.New("PEM headers are not expected in a public key")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	k := &cosignKey{public: public}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return nil, fmt.Errorf("ECDSA with curve %s: only P-256 is supported", p.Curve.Params().Name)
		}
		k.kind = "cosign key, ECDSA P-256"
	case ed25519.PublicKey:
		k.kind = "cosign key, Ed25519"
	case *rsa.PublicKey:
		if bits := p.N.BitLen(); bits < minCosignRSABits || bits > maxCosignRSABits {
			return nil, fmt.Errorf("RSA with %d bits: want %d to %d", bits, minCosignRSABits, maxCosignRSABits)
		}
		k.kind = fmt.Sprintf("cosign key, RSA %d", p.N.BitLen())
	default:
		return nil, fmt.Errorf("key of type %T: want ECDSA P-256, Ed25519 or RSA", public)
	}
	// The canonical form, so that one key has one fingerprint.
	k.der, err = x509.MarshalPKIXPublicKey(public)
	return k, err
}

// fingerprint is the SHA-256 of the SubjectPublicKeyInfo, in upper-case hex.
func (k *cosignKey) fingerprint() string { return fmt.Sprintf("%X", sha256.Sum256(k.der)) }

// encode writes the key in PEM.
func (k *cosignKey) encode(w io.Writer) error {
	return pem.Encode(w, &pem.Block{Type: publicKeyType, Bytes: k.der})
}

// verifies reports whether the key has signed the message: ECDSA (ASN.1) and RSA
// (PKCS #1 v1.5) over its SHA-256, Ed25519 over itself or, as Ed25519ph (RFC 8032), over
// its SHA-512. Those are what cosign makes by default, now or in earlier versions.
func (k *cosignKey) verifies(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, sum[:], signature)
	case ed25519.PublicKey:
		return verifiesEd25519(p, message, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

func verifiesEd25519(p ed25519.PublicKey, message, signature []byte) bool {
	if len(p) != ed25519.PublicKeySize {
		return false // the library would panic
	}
	prehashed := sha512.Sum512(message)
	return ed25519.Verify(p, message, signature) ||
		ed25519.VerifyWithOptions(p, prehashed[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
}
