package pod

import (
	"context"
	"errors"

	"github.com/clearrun/clearrun/image/aci"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// Options says which image to open, what to check it against, and how the user
// wants its app changed.
type Options struct {
	Path string // of the ACI
	// SignaturePath names the detached signature. Empty: Path + ".asc".
	SignaturePath string

	Store   *store.Store
	Keyring *trust.Keyring
	// MinTier is the least isolation asked for. Zero: vm.
	MinTier trust.Tier
	// InsecureNoVerify skips the signature, for this run only.
	InsecureNoVerify bool
	// Limits bound what the image may unpack to. Zero: aci.DefaultLimits.
	Limits aci.Limits

	Overrides Overrides
	// Progress, if set, is told what takes time, in words for the user.
	Progress func(step string)
}

// Overrides are the user's changes to the image's app. Zero values keep what the
// image says.
type Overrides struct {
	Entrypoint []string // replaces the image's exec
	Args       []string // appended to exec, as in rkt
	Env        []string // KEY=value; replaces the image's value of KEY
	Dir        string
	User       string // user or user:group
	Group      string

	MemoryBytes uint64
	CPUs        int

	CapAdd, CapDrop []string // names, or ALL
	NoNewPrivileges bool     // true switches it on; the image's own true stays
	Rlimits         []Rlimit

	Hostname     string
	ReadOnlyRoot bool
	TTY, Stdin   bool
}

// Open verifies the image, gets its rendered root from the store or renders it,
// and returns a Pod that a runner may run. The caller closes it.
func Open(ctx context.Context, o Options) (*Pod, error) {
	return nil, errors.New("pod.Open: not built yet")
}
