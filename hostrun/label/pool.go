package label

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clearrun/clearrun/hostrun/slots"
)

// Pool hands out pairs, each to one holder at a time. Its slots are their indices.
type Pool slots.Pool

// rootPairs are the pairs with a category below c512, for root. The others are for users,
// so that no user can take the last one from root.
const rootPairs = 392960

// rootPool is that of root, and userPool that of all other users of a host, in dir.
func rootPool(dir string) Pool { return Pool{filepath.Join(dir, "root"), 0o600, 0, rootPairs} }

func userPool(dir string) Pool {
	return Pool{filepath.Join(dir, "users"), 0o666, rootPairs, pairs - rootPairs}
}

func (p Pool) open() (*os.File, error) { return slots.Pool(p).Open() }

// next leases a pair that nobody has.
func (p Pool) next() (Pair, *os.File, error) {
	i, f, err := slots.Pool(p).Next()
	switch {
	case errors.Is(err, slots.ErrNone):
		return Pair{}, nil, fmt.Errorf("all %d category pairs belong to running containers: end some of them first", p.Count)
	case err != nil:
		return Pair{}, nil, fmt.Errorf("lease categories: %w", err)
	}
	return pairAt(i), f, nil
}

// share leases a certain pair, which others that ask for it by name may have as well. While
// anyone has it, nobody gets it from next.
func (p Pool) share(pair Pair) (*os.File, error) {
	i := pair.index()
	if i < p.First || i >= p.First+p.Count {
		return nil, fmt.Errorf("level %s is not for %s to choose: root has the pairs with a category below c512, users the others", pair.Level(), who())
	}
	f, err := slots.Pool(p).Share(i)
	if err != nil {
		return nil, fmt.Errorf("level %s: %w", pair.Level(), err)
	}
	return f, nil
}

func who() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return "a user"
}
