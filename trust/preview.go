package trust

import (
	"fmt"
	"io"
)

// Preview describes the keys in r, as Add takes them, without trusting them: what
// a user should see before Add.
func (k *Keyring) Preview(r io.Reader) ([]Key, error) {
	list, err := readMaterial(r)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	keys := make([]Key, len(list))
	for i, m := range list {
		keys[i] = m.describe(k.now())
	}
	return keys, nil
}
