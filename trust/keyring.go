package trust

import "errors"

// Keyring is a folder of trusted OpenPGP keys, each bound to a name prefix.
type Keyring struct{ dir string }

// OpenKeyring opens the folder; empty means the user's own.
func OpenKeyring(dir string) (*Keyring, error) {
	return nil, errors.New("trust.OpenKeyring: not built yet")
}
