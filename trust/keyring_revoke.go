package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// revokedDir holds a file per revoked key, named by its fingerprint. What is in it is for
// people.
const revokedDir = "revoked.d"

// reasonMax bounds the text of a revocation in bytes.
const reasonMax = 1 << 10

// revocation says that a key is trusted for nothing, whoever trusts it.
type revocation struct {
	level Level
	text  string
}

func (r *revocation) String() string {
	s := "was revoked in the keyring (" + string(r.level) + ")"
	if r.text != "" {
		s += ": " + r.text
	}
	return s
}

// Error makes a revocation the reason why a signature is not good.
func (r *revocation) Error() string { return r.String() }

// Revoke marks a key as revoked, whether it is in the keyring or not. That outweighs every
// trust in it, in all parts of the keyring and all to come, until its file is removed.
func (k *Keyring) Revoke(fingerprint, reason string) error {
	fpr, err := ParseFingerprint(fingerprint)
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	if len(reason) > reasonMax || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("trust: the reason has control characters, or more than %d bytes", reasonMax)
	}
	dir, err := k.writable()
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	text := "revoked on " + k.now().UTC().Format(time.DateOnly)
	if reason != "" {
		text += ", " + reason
	}
	err = writeKeyFile(dir, filepath.Join(dir, revokedDir), fpr, func(f *os.File) error {
		_, err := f.WriteString(text + "\n")
		return err
	})
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	return nil
}

// revocations reads those of all parts. What else lies there is an error: it could
// be meant as one.
func (k *Keyring) revocations() (map[string]*revocation, error) {
	found := make(map[string]*revocation)
	for _, p := range k.revokers {
		if err := checkOwner(p.dir); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		names, err := readDir(filepath.Join(p.dir, revokedDir))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			path := filepath.Join(p.dir, revokedDir, name)
			if strings.HasPrefix(name, tempPrefix) {
				continue
			}
			if fpr, err := ParseFingerprint(name); err != nil || fpr != name {
				return nil, fmt.Errorf("%s is not the fingerprint of a revoked key in upper case", path)
			}
			text, err := readRevocation(path)
			if err != nil {
				return nil, err
			}
			if found[name] == nil {
				found[name] = &revocation{p.level, text}
			}
		}
	}
	return found, nil
}

func readRevocation(path string) (string, error) {
	if err := checkOwner(path); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := readBounded(f, 2*reasonMax)
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "?")), err
}

// fullFingerprint is that of an OpenPGP key (v4 or v6) or a cosign key. Key IDs, which are
// shorter, can be forged.
var fullFingerprint = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9A-F]{40}|[0-9A-F]{64})$`)
})

// ParseFingerprint reads a full fingerprint in any case, with spaces, a leading 0x or a
// leading "sha256:", and returns it in upper case.
func ParseFingerprint(s string) (string, error) {
	fpr := strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	fpr = strings.TrimPrefix(strings.TrimPrefix(fpr, "0X"), "SHA256:")
	if !fullFingerprint().MatchString(fpr) {
		return "", fmt.Errorf("%.80q is not a fingerprint: want 40 or 64 hex digits, as clearrun trust list shows them", s)
	}
	return fpr, nil
}
