package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// vendorDir is the folder of what the distribution's packages bring.
const vendorDir = "/usr/lib/clearrun"

// keyringDir is the name of a keyring in the folder of somebody's settings.
const keyringDir = "trust.d"

// Level says whose a part of the keyring is.
type Level string

// The levels of a keyring.
const (
	LevelChosen Level = "chosen" // in the folder that the user named
	LevelUser   Level = "user"
	LevelSystem Level = "system" // the administrator's
	LevelVendor Level = "vendor"
)

// part is one folder of a keyring.
type part struct {
	level Level
	dir   string
}

// KeyringPlaces are the folders in which keys may lie, each in its trust.d.
type KeyringPlaces struct {
	Chosen string // by --config-dir: then keys lie nowhere else; empty: none was
	User   string // the user's own; empty: the user is root, or has no home
	System string // the administrator's
	Vendor string // the distribution's
}

// keyringPlaces returns those of this process.
func keyringPlaces() KeyringPlaces {
	p := KeyringPlaces{System: systemDir, Vendor: vendorDir}
	if os.Geteuid() != 0 {
		if dir, err := userDir(); err == nil {
			p.User = dir
		}
	}
	return p
}

// OpenKeyring opens the keyring in dir, which need not exist yet. Empty: the keyring of
// the user, in ~/.config/clearrun, of the system and of the vendor together.
func OpenKeyring(dir string) (*Keyring, error) {
	if dir == "" {
		return keyringPlaces().Open()
	}
	p := keyringPlaces()
	p.Chosen = filepath.Dir(dir)
	k, err := p.Open()
	if err == nil {
		k.parts[0].dir, err = filepath.Abs(dir)
	}
	return k, err
}

// Open opens the keyring in these places. Keys are written to the first of them.
// Whatever place was chosen, what the administrator has revoked stays revoked.
func (p KeyringPlaces) Open() (*Keyring, error) {
	k := &Keyring{now: time.Now}
	list := []part{{LevelUser, p.User}, {LevelSystem, p.System}, {LevelVendor, p.Vendor}}
	if p.Chosen != "" {
		list = []part{{LevelChosen, p.Chosen}}
	}
	for _, l := range list {
		if l.dir == "" {
			continue
		}
		dir, err := filepath.Abs(filepath.Join(l.dir, keyringDir))
		if err != nil {
			return nil, fmt.Errorf("trusted keys: %w", err)
		}
		k.parts = append(k.parts, part{l.level, dir})
	}
	k.revokers = k.parts
	if p.Chosen != "" && p.System != "" {
		k.revokers = append(k.revokers[:1:1], part{LevelSystem, filepath.Join(p.System, keyringDir)})
	}
	if len(k.parts) == 0 {
		return nil, errors.New("trusted keys: there is no place for them: name a --config-dir")
	}
	return k, nil
}

// writable returns the folder that keys are added to. A user's own comes first; a user
// without a home has none.
func (k *Keyring) writable() (string, error) {
	if first := k.parts[0]; first.level != LevelSystem || os.Geteuid() == 0 {
		return first.dir, nil
	}
	return "", errors.New("you have no home folder to keep keys in: set XDG_CONFIG_HOME, or name a --config-dir")
}

// isMask reports whether the administrator masks with it what the vendor trusts: a
// key's file that is empty, or a link to /dev/null.
func isMask(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return false, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		return err == nil && target == os.DevNull, err
	}
	return info.Mode().IsRegular() && info.Size() == 0, nil
}

// dropMasked takes the vendor's keys out that the system's part masks.
func dropMasked(keys []trustedKey, parts []part) ([]trustedKey, error) {
	var system string
	for _, p := range parts {
		if p.level == LevelSystem {
			system = p.dir
		}
	}
	var kept []trustedKey
	for _, t := range keys {
		if t.level == LevelVendor && system != "" {
			masked, err := isMask(filepath.Join(prefixPath(system, t.prefix), t.fileName()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if masked {
				continue
			}
		}
		kept = append(kept, t)
	}
	return kept, nil
}
