package pod

import (
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// Pod is one app and all that a runner needs to run it.
type Pod struct {
	// Verdict permits the run. A runner asks Permits, and never runs at a lower
	// tier than Verdict.Tier.
	Verdict trust.Verdict
	// Image describes the image that App came from.
	Image image.Meta
	// RootFS is the verified root filesystem; the Pod owns it.
	RootFS *store.Entry

	Name      string // the image's name
	Hostname  string // a valid host name, never empty
	App       App
	Resources Resources
	Network   Network
	Published []Publication
	// UserNamespace is what the user wants; tier ns alone knows it.
	UserNamespace UserNamespace
	Volumes       []Volume
	// ReadOnlyRoot gives the app no writable layer.
	ReadOnlyRoot bool
	// Label is what the user wants of the SELinux label.
	Label label.Options
	// RequireSELinux says that nothing may run unless SELinux enforces its label.
	RequireSELinux bool
	// Enforcement says of each of the image's isolators what became of it.
	Enforcement []Enforcement

	asked  Limits // those that the user asks for, not the image alone
	strict bool   // nothing may be left unenforced
}

// Resources bounds what the app may use.
type Resources struct {
	MemoryBytes uint64 // 0: the runner's default
	CPUs        int    // whole CPUs; 0: the runner's default
	// IO bounds the use of block devices; nil: nothing does.
	IO *IOLimits
}

// Permits reports whether the Verdict is about this very root filesystem.
func (p *Pod) Permits() bool {
	return p != nil && p.RootFS != nil && p.Verdict.Grants(p.RootFS.Digest)
}

// Close releases the root filesystem. Close is idempotent.
func (p *Pod) Close() error {
	if p.RootFS == nil {
		return nil
	}
	return p.RootFS.Close()
}
