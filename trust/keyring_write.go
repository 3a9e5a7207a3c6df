package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/clearrun/clearrun/image"
)

const (
	keyDirMode  fs.FileMode = 0o755 // public keys are no secret
	keyFileMode fs.FileMode = 0o644
)

// Add trusts the keys in r, OpenPGP's (armored or binary) or cosign's (PEM), for images whose name is prefix or
// lies below it. The empty prefix trusts them for every image: callers take it only
// from a user who said so explicitly. A key that is there already is replaced,
// under every prefix that it has, so that a revocation reaches all of them.
func (k *Keyring) Add(prefix string, r io.Reader) ([]Key, error) {
	p, err := parsePrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	keys, err := readMaterial(r)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	dir, err := k.writable()
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	present, err := k.load()
	if err != nil {
		return nil, err
	}
	revoked, err := k.revocations()
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	// All are checked before the first is written.
	for _, m := range keys {
		err := k.checkNew(m, present)
		if r := revoked[m.fingerprint()]; r != nil {
			err = errors.New(r.String())
		}
		if err != nil {
			return nil, fmt.Errorf("trust: key %s: %w", m.fingerprint(), err)
		}
	}
	var added []Key
	for _, m := range keys {
		for _, old := range present {
			if old.fingerprint() == m.fingerprint() && old.prefix != p && old.level == k.parts[0].level {
				if err := writeKey(dir, old.prefix, m); err != nil {
					return added, fmt.Errorf("trust: %w", err)
				}
			}
		}
		if err := writeKey(dir, p, m); err != nil {
			return added, fmt.Errorf("trust: %w", err)
		}
		t := trustedKey{prefix: p, material: m, level: k.parts[0].level, file: filepath.Join(prefixPath(dir, p), m.fileName())}
		added = append(added, t.describe(k.now()))
	}
	return added, nil
}

// checkNew refuses keys that could verify nothing, unless they bring that news about
// a key already trusted; and it never lets an older copy undo a revocation.
func (k *Keyring) checkNew(m material, present []trustedKey) error {
	why := m.unusable(k.now())
	known := false
	for _, old := range present {
		if old.fingerprint() != m.fingerprint() {
			continue
		}
		known = true
		if old.material.revoked(k.now()) && !m.revoked(k.now()) {
			return errors.New("is revoked in the keyring, and this copy lacks the revocation: remove it first if you are sure")
		}
	}
	if why != "" && !known {
		return fmt.Errorf("is of no use: it %s", why)
	}
	return nil
}

// Remove ends the trust in a key for one prefix, in the part of the keyring that is
// written to.
func (k *Keyring) Remove(prefix, fingerprint string) error {
	p, err := parsePrefix(prefix)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	fpr, err := ParseFingerprint(fingerprint)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	dir, err := k.writable()
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	folder := prefixPath(dir, p)
	err = os.Remove(filepath.Join(folder, fpr+openPGPSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(filepath.Join(folder, fpr+cosignSuffix))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return k.notThere(p, fpr)
	}
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	if p != "" {
		os.Remove(folder) // if it was the last one there
	}
	return nil
}

// notThere says why a key cannot be removed, and what to do if somebody else trusts it.
func (k *Keyring) notThere(p image.Name, fpr string) error {
	trusted, err := k.load()
	if err != nil {
		return err
	}
	for _, t := range trusted {
		if t.fingerprint() != fpr || t.prefix != p {
			continue
		}
		if t.level == LevelVendor && k.parts[0].level == LevelSystem {
			return fmt.Errorf("trust: key %s for %s is the vendor's: mask it with an empty file %s, or revoke it",
				fpr, prefixWords(p), filepath.Join(prefixPath(k.parts[0].dir, p), t.fileName()))
		}
		return fmt.Errorf("trust: key %s for %s is not yours to remove (%s): clearrun trust revoke ends your trust in it", fpr, prefixWords(p), t.file)
	}
	return fmt.Errorf("trust: no key %s for %s", fpr, prefixWords(p))
}

func parsePrefix(s string) (image.Name, error) {
	if s == "" {
		return "", nil
	}
	p, err := image.ParseName(s)
	if err != nil {
		return "", fmt.Errorf("prefix: %w", err)
	}
	return p, nil
}

func prefixWords(p image.Name) string {
	if p == "" {
		return "all images"
	}
	return string(p)
}

// prefixPath is where the keys for a prefix lie in a keyring's folder.
func prefixPath(dir string, p image.Name) string {
	if p == "" {
		return filepath.Join(dir, rootDir)
	}
	return filepath.Join(dir, prefixDir, escapePrefix(p))
}

func writeKey(dir string, p image.Name, m material) error {
	return writeKeyFile(dir, prefixPath(dir, p), m.fileName(), func(f *os.File) error { return m.encode(f) })
}

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".key-"

// writeKeyFile writes a file in a folder below the keyring's; readers see the old file or the
// new one.
func writeKeyFile(root, dir, name string, fill func(*os.File) error) error {
	if err := os.MkdirAll(dir, keyDirMode); err != nil {
		return err
	}
	for d := dir; len(d) >= len(root); d = filepath.Dir(d) {
		if err := checkOwner(d); err != nil {
			return err
		}
	}
	tmp, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it was renamed
	if err := errors.Join(fill(tmp), tmp.Chmod(keyFileMode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(dir, name))
}

// writeArmored writes the public parts of a key.
func writeArmored(w io.Writer, e *openpgp.Entity) error {
	a, err := armor.Encode(w, openpgp.PublicKeyType, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(e.Serialize(a), a.Close()); err != nil {
		return err
	}
	_, err = w.Write([]byte("\n"))
	return err
}
