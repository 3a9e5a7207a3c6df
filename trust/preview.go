package trust

import (
	"fmt"
	"io"
)

// Preview describes the keys in r, armored or binary, without trusting them: what
// a user should see before Add.
func (k *Keyring) Preview(r io.Reader) ([]Key, error) {
	entities, err := readKeys(r)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	keys := make([]Key, len(entities))
	for i, e := range entities {
		keys[i] = trustedKey{entity: e}.describe(k.now())
	}
	return keys, nil
}
