package trust

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/clearrun/clearrun/image"
)

// The layout of a keyring: prefix.d/<prefix, escaped>/<fingerprint>.asc (OpenPGP) or .pub
// (cosign), and the same without a prefix in root.d.
const (
	rootDir   = "root.d"
	prefixDir = "prefix.d"
)

// Keyring is a set of trusted keys, each bound to a name prefix, in one folder or
// several. It reads them anew each time: a key that is removed is trusted no more.
type Keyring struct {
	parts    []part // the one that is written to comes first
	revokers []part // whose revocations hold
	now      func() time.Time
}

// Key is a trusted key, for people to read.
type Key struct {
	Prefix      string    `json:"prefix"` // images it may sign for, by whole path components; empty: all
	Kind        string    `json:"kind"`   // KindOpenPGP or KindCosign
	Fingerprint string    `json:"fingerprint"`
	Identities  []string  `json:"identities"`
	Created     time.Time `json:"created,omitzero"`   // zero: cosign's do not say
	Expires     time.Time `json:"expires,omitzero"`   // zero: never
	Unusable    string    `json:"unusable,omitempty"` // why it verifies nothing now; empty if it may
	Level       Level     `json:"level,omitempty"`
	File        string    `json:"file,omitempty"`
}

// userDir is the folder of the user's settings; of root, the system's.
func userDir() (string, error) {
	if os.Geteuid() == 0 {
		return systemDir, nil
	}
	base := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "clearrun"), nil
}

// Dir returns the folder that keys are written to.
func (k *Keyring) Dir() string { return k.parts[0].dir }

// List returns every trusted key, ordered by prefix and fingerprint.
func (k *Keyring) List() ([]Key, error) {
	trusted, err := k.load()
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, t := range trusted {
		keys = append(keys, t.describe(k.now()))
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Prefix, b.Prefix), cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.Level, b.Level))
	})
	return keys, nil
}

// trustedKey is a key as it lies in the keyring.
type trustedKey struct {
	prefix image.Name // empty: root
	material
	level   Level
	file    string
	revoked *revocation // by the keyring's user or administrator; nil: it is not
}

// scope says what the key is trusted for. Root's own choice of a folder is the system's.
func (t trustedKey) scope() scope {
	bySystem := t.level == LevelSystem || t.level == LevelVendor || t.level == LevelChosen && os.Geteuid() == 0
	return scope{t.prefix, bySystem}
}

func (t trustedKey) describe(now time.Time) Key {
	key := t.material.describe(now)
	key.Prefix, key.Level, key.File = string(t.prefix), t.level, t.file
	if t.revoked != nil {
		key.Unusable = t.revoked.String()
	}
	return key
}

// load reads every key. One that cannot be read is an error: passing over it could
// hide a revocation.
func (k *Keyring) load() ([]trustedKey, error) {
	keys, err := k.loadParts()
	if err == nil {
		keys, err = dropMasked(keys, k.parts)
	}
	if err != nil {
		return nil, fmt.Errorf("trusted keys: %w", err)
	}
	revoked, err := k.revocations()
	if err != nil {
		return nil, fmt.Errorf("trusted keys: %w", err)
	}
	for i := range keys {
		keys[i].revoked = revoked[keys[i].fingerprint()]
	}
	return keys, nil
}

func (k *Keyring) loadParts() ([]trustedKey, error) {
	var keys []trustedKey
	for _, p := range k.parts {
		more, err := p.load()
		if p.level == LevelUser && errors.Is(err, fs.ErrPermission) {
			continue // a home that the user may not enter (as under su) holds nothing of theirs
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// load reads the keys of one folder.
func (p part) load() ([]trustedKey, error) {
	if err := checkOwner(p.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	keys, err := p.loadDir(filepath.Join(p.dir, rootDir), "")
	if err != nil {
		return nil, err
	}
	prefixes, err := readDir(filepath.Join(p.dir, prefixDir))
	if err != nil {
		return nil, err
	}
	for _, name := range prefixes {
		dir := filepath.Join(p.dir, prefixDir, name)
		prefix, err := unescapePrefix(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		more, err := p.loadDir(dir, prefix)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

func (p part) loadDir(dir string, prefix image.Name) ([]trustedKey, error) {
	names, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	var keys []trustedKey
	for _, name := range names {
		if !strings.HasSuffix(name, openPGPSuffix) && !strings.HasSuffix(name, cosignSuffix) {
			continue // not ours, such as a half-written file of a killed process
		}
		path := filepath.Join(dir, name)
		if masked, err := isMask(path); err != nil {
			return nil, err
		} else if masked && p.level == LevelSystem {
			continue
		}
		m, err := loadKey(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if m.fileName() != name {
			return nil, fmt.Errorf("%s: holds another key, %s", path, m.fingerprint())
		}
		keys = append(keys, trustedKey{prefix: prefix, material: m, level: p.level, file: path})
	}
	return keys, nil
}

func loadKey(path string) (material, error) {
	if err := checkOwner(path); err != nil {
		return material{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return material{}, err
	}
	defer f.Close()
	list, err := readMaterial(f)
	if err != nil {
		return material{}, err
	}
	return one(list)
}

// readDir lists a folder of ours; one that does not exist is empty.
func readDir(dir string) ([]string, error) {
	if err := checkOwner(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// checkOwner refuses files that somebody else could have written: only the user and
// root may say whom the user trusts.
func checkOwner(path string) error {
	const writableByOthers = 0o022
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to neither you nor root: check what it holds, then chown it", path)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a folder", path)
	}
	if info.Mode()&writableByOthers != 0 {
		return fmt.Errorf("%s is writable by others (mode %04o): check what it holds, then chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}

// escapePrefix makes a prefix one file name.
func escapePrefix(p image.Name) string { return url.PathEscape(string(p)) }

func unescapePrefix(name string) (image.Name, error) {
	s, err := url.PathUnescape(name)
	if err != nil {
		return "", err
	}
	p, err := image.ParseName(s)
	if err == nil && escapePrefix(p) != name {
		err = errors.New("not a name this program writes")
	}
	return p, err
}

// policyAt is what this package accepts in OpenPGP, at a given time.
func policyAt(now time.Time) *packet.Config {
	return &packet.Config{
		Time:                        func() time.Time { return now },
		MinRSABits:                  minRSABits,
		RejectHashAlgorithms:        rejectedHashes(),
		RejectMessageHashAlgorithms: rejectedHashes(),
	}
}
