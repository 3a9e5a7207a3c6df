package trust

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// The kinds of keys.
const (
	KindOpenPGP = "openpgp" // signs ACIs
	KindCosign  = "cosign"  // signs OCI images
)

// File names of keys in a keyring, by kind.
const (
	openPGPSuffix = ".asc"
	cosignSuffix  = ".pub"
)

// material is a public key: either one of OpenPGP, or a bare one as cosign has them.
type material struct {
	entity *openpgp.Entity
	cosign *cosignKey
}

// readMaterial parses public keys: OpenPGP's, armored or binary, or PEM.
func readMaterial(r io.Reader) ([]material, error) {
	data, err := readBounded(r, keysMax)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	var list []material
	if isPEM(data) {
		keys, err := parseCosignKeys(data)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			list = append(list, material{cosign: k})
		}
		return list, nil
	}
	entities, err := readKeys(data)
	if err != nil {
		return nil, err
	}
	for _, e := range entities {
		list = append(list, material{entity: e})
	}
	return list, nil
}

// fingerprint is that of OpenPGP's primary key, or the SHA-256 of a bare key, in
// upper-case hex.
func (m material) fingerprint() string {
	if m.cosign != nil {
		return m.cosign.fingerprint()
	}
	return fmt.Sprintf("%X", m.entity.PrimaryKey.Fingerprint)
}

// fileName is the key's name in a keyring.
func (m material) fileName() string {
	if m.cosign != nil {
		return m.fingerprint() + cosignSuffix
	}
	return m.fingerprint() + openPGPSuffix
}

// encode writes the public parts as text.
func (m material) encode(w io.Writer) error {
	if m.cosign != nil {
		return m.cosign.encode(w)
	}
	return writeArmored(w, m.entity)
}

// revoked reports whether the key's owner has revoked it.
func (m material) revoked(now time.Time) bool {
	return m.entity != nil && m.entity.Revoked(now)
}

// unusable says why no signature of the key can be good now; empty: it can.
func (m material) unusable(now time.Time) string {
	if m.cosign != nil {
		return ""
	}
	if _, err := m.entity.VerifyPrimaryKey(now, policyAt(now)); err != nil {
		return describeError(err)
	}
	if _, ok := m.entity.SigningKey(now, policyAt(now)); !ok {
		return "has no key that may sign"
	}
	return ""
}

// describe fills in what people want to know of the key.
func (m material) describe(now time.Time) Key {
	key := Key{Kind: KindCosign, Fingerprint: m.fingerprint(), Unusable: m.unusable(now)}
	if m.cosign != nil {
		key.Identities = []string{m.cosign.kind}
		return key
	}
	key.Kind, key.Created = KindOpenPGP, m.entity.PrimaryKey.CreationTime
	for name := range m.entity.Identities {
		key.Identities = append(key.Identities, name)
	}
	slices.Sort(key.Identities)
	if sig, err := m.entity.PrimarySelfSignature(now, policyAt(now)); err == nil {
		if secs := sig.KeyLifetimeSecs; secs != nil && *secs != 0 {
			key.Expires = key.Created.Add(time.Duration(*secs) * time.Second)
		}
	}
	return key
}

// one returns the only key of a file.
func one(list []material) (material, error) {
	if len(list) != 1 {
		return material{}, fmt.Errorf("holds %d keys, want 1", len(list))
	}
	return list[0], nil
}

var errSecretKey = errors.New("read key: this is a secret key; export the public one (gpg --armor --export)")
