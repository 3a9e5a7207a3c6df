package trust

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Bounds on what is read from outside, in bytes and packets. A key with many foreign
// certifications can be large; a signature cannot.
const (
	keysMax       = 8 << 20
	signatureMax  = 1 << 20
	signaturesMax = 64
)

// minRSABits is less than 2048 by one: some programs make such keys.
const minRSABits = 2047

// armorStart begins every armored OpenPGP block (RFC 9580, section 6.2).
const armorStart = "-----BEGIN PGP "

// rejectedHashes lists the hashes that are broken or too short to begin with.
// Everything not in acceptedHash is refused in signatures of images; this list
// also covers the signatures that hold a key together.
func rejectedHashes() map[crypto.Hash]bool {
	return map[crypto.Hash]bool{
		crypto.MD5:       true,
		crypto.SHA1:      true,
		crypto.RIPEMD160: true,
		crypto.SHA224:    true,
	}
}

// acceptedHash reports whether a signature of an image may use the hash.
func acceptedHash(h crypto.Hash) bool {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		return true
	}
	return false
}

// readKeys parses public keys, armored or binary.
func readKeys(data []byte) (openpgp.EntityList, error) {
	body, err := unarmor(data, openpgp.PublicKeyType)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	entities, err := openpgp.ReadKeyRing(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if len(entities) == 0 {
		return nil, errors.New("read key: no OpenPGP key in it")
	}
	for _, e := range entities {
		if e.PrivateKey != nil {
			return nil, errSecretKey
		}
	}
	return entities, nil
}

// unarmor returns the binary form of data, whichever form it has.
func unarmor(data []byte, blockType string) ([]byte, error) {
	if !bytes.Contains(data, []byte(armorStart)) {
		return data, nil
	}
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("armor: %w", err)
	}
	if block.Type != blockType {
		return nil, fmt.Errorf("armor: %q, want %q", block.Type, blockType)
	}
	body, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, fmt.Errorf("armor: %w", err)
	}
	return body, nil
}

// candidate is one signature of the detached file.
type candidate struct {
	sig   *packet.Signature // nil if it cannot be read
	fault string            // why it cannot be good, whoever made it
}

// keyID returns the signer's key ID as people write it.
func (c candidate) keyID() string {
	if c.sig == nil || c.sig.IssuerKeyId == nil {
		return "unknown"
	}
	return fmt.Sprintf("%016X", *c.sig.IssuerKeyId)
}

// readSignatures parses a detached signature, armored or binary. One bad signature
// does not spoil the others, but anything that is not a signature is refused.
func readSignatures(data []byte) ([]candidate, error) {
	found, err := parseSignatures(data)
	if err != nil {
		return nil, fmt.Errorf("read signature: %w: the file is damaged, or no detached OpenPGP signature: fetch it again, or have the image signed anew (gpg --armor --detach-sign IMAGE)", err)
	}
	return found, nil
}

func parseSignatures(data []byte) ([]candidate, error) {
	body, err := unarmor(data, openpgp.SignatureType)
	if err != nil {
		return nil, err
	}
	var found []candidate
	packets := packet.NewOpaqueReader(bytes.NewReader(body))
	for {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if p.Tag != signatureTag {
			return nil, fmt.Errorf("packet of type %d is not a detached signature", p.Tag)
		}
		if len(found) == signaturesMax {
			return nil, fmt.Errorf("more than %d signatures", signaturesMax)
		}
		found = append(found, newCandidate(p))
	}
	if len(found) == 0 {
		return nil, errors.New("it is empty")
	}
	return found, nil
}

// signatureTag is the packet type ID of signatures (RFC 9580, section 5.2).
const signatureTag = 2

// Signature versions that are accepted (RFC 9580, section 5.2).
const (
	signatureV4 = 4
	signatureV6 = 6
)

func newCandidate(p *packet.OpaquePacket) candidate {
	parsed, err := p.Parse()
	if err != nil {
		return candidate{fault: describeError(err)}
	}
	sig, ok := parsed.(*packet.Signature)
	if !ok {
		return candidate{fault: "cannot be read"}
	}
	c := candidate{sig: sig}
	switch {
	case sig.Version != signatureV4 && sig.Version != signatureV6:
		c.fault = fmt.Sprintf("has version %d", sig.Version)
	case sig.SigType != packet.SigTypeBinary:
		// A signature over text ignores changes of line ends.
		c.fault = "is not one over a binary file"
	case !acceptedHash(sig.Hash):
		c.fault = fmt.Sprintf("uses the weak hash %v", sig.Hash)
	case sig.IssuerKeyId == nil || *sig.IssuerKeyId == 0: // 0 stands for any key
		c.fault = "does not say who made it"
	}
	return c
}

func readBounded(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("more than %d bytes", most)
	}
	return data, nil
}
