package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	present, err := k.load()
	if err != nil {
		return nil, err
	}
	// All are checked before the first is written.
	for _, m := range keys {
		if err := k.checkNew(m, present); err != nil {
			return nil, fmt.Errorf("trust: key %s: %w", m.fingerprint(), err)
		}
	}
	var added []Key
	for _, m := range keys {
		for _, old := range present {
			if old.fingerprint() == m.fingerprint() && old.prefix != p {
				if err := k.write(trustedKey{old.prefix, m}); err != nil {
					return added, fmt.Errorf("trust: %w", err)
				}
			}
		}
		if err := k.write(trustedKey{p, m}); err != nil {
			return added, fmt.Errorf("trust: %w", err)
		}
		added = append(added, trustedKey{p, m}.describe(k.now()))
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
		if old.revoked(k.now()) && !m.revoked(k.now()) {
			return errors.New("is revoked in the keyring, and this copy lacks the revocation: remove it first if you are sure")
		}
	}
	if why != "" && !known {
		return fmt.Errorf("is of no use: it %s", why)
	}
	return nil
}

// Remove ends the trust in a key for one prefix. The fingerprint may be written in
// any case, with spaces or a leading 0x.
func (k *Keyring) Remove(prefix, fingerprint string) error {
	p, err := parsePrefix(prefix)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	fpr := strings.ToUpper(strings.ReplaceAll(fingerprint, " ", ""))
	fpr = strings.TrimPrefix(fpr, "0X")
	if fpr == "" || strings.Trim(fpr, "0123456789ABCDEF") != "" {
		return fmt.Errorf("trust: %q is not a fingerprint", fingerprint)
	}
	err = os.Remove(filepath.Join(k.prefixPath(p), fpr+openPGPSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(filepath.Join(k.prefixPath(p), fpr+cosignSuffix))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("trust: no key %s for %s", fpr, prefixWords(p))
	}
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	if p != "" {
		os.Remove(k.prefixPath(p)) // if it was the last one there
	}
	return nil
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

func (k *Keyring) prefixPath(p image.Name) string {
	if p == "" {
		return filepath.Join(k.dir, rootDir)
	}
	return filepath.Join(k.dir, prefixDir, escapePrefix(p))
}

// write stores the key; readers see the old file or the new one.
func (k *Keyring) write(t trustedKey) error {
	dir := k.prefixPath(t.prefix)
	if err := os.MkdirAll(dir, keyDirMode); err != nil {
		return err
	}
	for d := dir; len(d) >= len(k.dir); d = filepath.Dir(d) {
		if err := checkOwner(d); err != nil {
			return err
		}
	}
	tmp, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it was renamed
	err = errors.Join(t.encode(tmp), tmp.Chmod(keyFileMode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(dir, t.fileName()))
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
