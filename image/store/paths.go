package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The user's folders. Root has the system's; others follow the XDG base directory
// specification.
const (
	systemDir     = "/var/lib/clearrun"
	systemKeyFile = "/etc/clearrun/store.key"
	program       = "clearrun"
	keyFileName   = "store.key"
)

// Options says where a store lies. Empty fields mean the user's own.
type Options struct {
	Dir     string // root: /var/lib/clearrun; else $XDG_DATA_HOME/clearrun
	KeyFile string // root: /etc/clearrun/store.key; else $XDG_CONFIG_HOME/clearrun/store.key
	// Quota bounds the bytes of all images together, such as "20G". Empty: what store.yaml
	// beside the key says; "0", or no such file: nothing bounds them.
	Quota string
}

// withDefaults fills in the user's own folders and makes both paths absolute.
func (o Options) withDefaults() (Options, error) {
	var err error
	if o.Dir == "" {
		if o.Dir, err = userPath(systemDir, "XDG_DATA_HOME", ".local/share", program); err != nil {
			return o, fmt.Errorf("store folder: %w", err)
		}
	}
	if o.KeyFile == "" {
		if o.KeyFile, err = userPath(systemKeyFile, "XDG_CONFIG_HOME", ".config", program, keyFileName); err != nil {
			return o, fmt.Errorf("store key: %w", err)
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, err
	}
	o.KeyFile, err = filepath.Abs(o.KeyFile)
	return o, err
}

// userPath returns system for root. For others it is below the folder that the XDG
// variable names, or its default in the home directory.
func userPath(system, variable, inHome string, elements ...string) (string, error) {
	if os.Geteuid() == 0 {
		return system, nil
	}
	base := os.Getenv(variable)
	if !filepath.IsAbs(base) { // the specification says to pass over relative ones
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("neither " + variable + " nor HOME is set")
		}
		base = filepath.Join(home, inHome)
	}
	return filepath.Join(append([]string{base}, elements...)...), nil
}
