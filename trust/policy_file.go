package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// policyFile is the name of a policy file in its folder.
const policyFile = "policy.yaml"

// systemDir is the folder of the administrator's own settings.
const systemDir = "/etc/clearrun"

// PolicyPlaces are the folders in which a policy may lie.
type PolicyPlaces struct {
	Chosen string // by --config-dir; empty: none was
	System string // the administrator's
	User   string // the user's own; empty: there is none
	Root   bool   // whether it is the administrator who asks
}

// Places returns those of this process. configDir is what --config-dir says.
func Places(configDir string) PolicyPlaces {
	p := PolicyPlaces{Chosen: configDir, System: systemDir, Root: os.Geteuid() == 0}
	if p.Root {
		return p
	}
	if dir, err := userDir(); err == nil { // a service may have no home, and so no policy there
		p.User = dir
	}
	return p
}

// Find returns the policy file that is in force, or an empty path if there is none.
//
// Root chooses freely: the chosen folder's file, else the system's. For a user the
// system's file is in force wherever there is one. A file in the chosen folder is then
// an error, because to pass over it would be silent about what it asks for; the
// user's own one counts only where the system has none, and after the chosen one. A
// chosen folder without a policy changes nothing.
func (p PolicyPlaces) Find() (string, error) {
	var found [3]string
	for i, dir := range [...]string{p.Chosen, p.System, p.User} {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, policyFile)
		_, err := os.Lstat(path)
		if err == nil {
			found[i] = path
		} else if dir == p.User && errors.Is(err, fs.ErrPermission) {
			continue // a home that the user may not enter (as under su) holds nothing of theirs
		} else if !errors.Is(err, fs.ErrNotExist) { // it may be there: do not pass over it
			return "", fmt.Errorf("policy: %w", err)
		}
	}
	chosen, system, user := found[0], found[1], found[2]
	switch {
	case chosen != "" && system != "" && !p.Root && !sameFile(chosen, system):
		return "", fmt.Errorf("policy: %s cannot replace %s, which the administrator of this host has set: use a --config-dir without a %s",
			chosen, system, policyFile)
	case chosen != "":
		return chosen, nil
	case system != "":
		return system, nil
	}
	return user, nil
}

func sameFile(a, b string) bool {
	first, err := os.Lstat(a)
	if err != nil {
		return false
	}
	second, err := os.Lstat(b)
	return err == nil && os.SameFile(first, second)
}

// LoadPolicy reads the policy that is in force; nil: there is no file.
func LoadPolicy(places PolicyPlaces, words Vocabulary) (*Policy, error) {
	path, err := places.Find()
	if err != nil || path == "" {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	for _, p := range []string{dir, path} {
		if err := checkOwner(p); err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
	}
	return ReadPolicy(path, words)
}

// ReadPolicy reads a policy file, whoever it belongs to.
func ReadPolicy(path string, words Vocabulary) (*Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, policyMax+1))
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	return ParsePolicy(path, data, words)
}
