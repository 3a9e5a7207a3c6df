package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/trust"
)

// DefaultMemoryBytes is what a runner gives an app that asks for no amount of memory.
const DefaultMemoryBytes = 256 << 20

// Vocabulary gives policies the words that are this package's to know.
func Vocabulary() trust.Vocabulary {
	return trust.Vocabulary{
		Capability: func(name string) error {
			_, err := ParseCapabilities(name)
			return err
		},
		Size: ParseSize,
	}
}

// restrict applies the limits of a policy. What image or user ask for beyond them is
// refused; what they merely get by default is cut.
func (p *Pod) restrict(l trust.Limits, o Overrides) error {
	if err := errors.Join(p.restrictSurroundings(l), p.Resources.restrict(l, p.Verdict.Tier())); err != nil {
		return err
	}
	p.RequireSELinux = l.SELinux
	if l.Capabilities == nil {
		return nil
	}
	allowed, err := ParseCapabilities(l.Capabilities...)
	if err != nil {
		return err
	}
	excess, err := p.cutCapabilities(allowed, o)
	if err == nil && excess != 0 {
		err = &trust.LimitError{Required: fmt.Sprintf("capabilities [%s]", allowed), Found: excess.String()}
	}
	return err
}

// cutCapabilities leaves the app those that are allowed, and gives the others that image
// or user ask for.
func (p *Pod) cutCapabilities(allowed CapabilitySet, o Overrides) (excess CapabilitySet, err error) {
	added, err := ParseCapabilities(o.CapAdd...)
	if err != nil {
		return 0, err
	}
	asked := p.App.Capabilities & (added | ^baseCapabilities(p.Verdict.Tier()))
	p.App.Capabilities &= allowed
	return asked &^ allowed, nil
}

// restrict holds r against l. An app that asks for nothing gets a VM's default, and on the
// host's kernel as much as there is: there the limit is its amount.
func (r *Resources) restrict(l trust.Limits, tier trust.Tier) error {
	unbounded := tier != trust.TierVM
	if l.MemoryBytes > 0 {
		if r.MemoryBytes > l.MemoryBytes {
			return &trust.LimitError{Required: "memory " + FormatSize(l.MemoryBytes), Found: FormatSize(r.MemoryBytes)}
		}
		if r.MemoryBytes == 0 && (unbounded || l.MemoryBytes < DefaultMemoryBytes) {
			r.MemoryBytes = l.MemoryBytes
		}
	}
	if l.CPUs > 0 && r.CPUs > l.CPUs {
		return &trust.LimitError{Required: fmt.Sprintf("%d CPUs", l.CPUs), Found: fmt.Sprint(r.CPUs)}
	}
	if r.CPUs == 0 && unbounded {
		r.CPUs = l.CPUs
	}
	return nil
}

// checkBelow explains likewise whether all that the image depends on may be in its root.
func (o Options) checkBelow(ctx context.Context, meta image.Meta, source image.Digest, e *trust.Explanation) {
	if o.spent == nil {
		o.spent = new(int)
	}
	for _, want := range meta.Dependencies {
		below, err := o.checkDependency(ctx, meta, source, want)
		if err != nil {
			below = trust.Explanation{Image: string(want.Name), Decision: err.Error()}
		}
		below.Measurement = nil // the run is measured as one
		e.Dependencies = append(e.Dependencies, below)
		if !below.Allowed {
			e.Refuse(trust.Finding{Required: "the dependency " + string(want.Name), Found: below.Decision}, fmt.Errorf("dependency: %s", below.Decision))
		}
	}
}

func (o Options) checkDependency(ctx context.Context, meta image.Meta, source image.Digest, want image.Dependency) (trust.Explanation, error) {
	down, err := o.down(meta.Name, source, want)
	if err != nil {
		return trust.Explanation{}, err
	}
	return Check(ctx, down)
}

// Check explains whether Open would open the image, without keeping or running
// anything of it. It needs no Store, but an image of a registry or a dependency that is in one is not
// asked for, as in a run. Unlike Open it looks into an image that nobody has signed: its name is
// what the explanation is about.
func Check(ctx context.Context, o Options) (trust.Explanation, error) {
	fail := func(err error) (trust.Explanation, error) {
		return trust.Explanation{}, fmt.Errorf("image %s: %w", o.Path, err)
	}
	r, err := ref.Parse(o.Path)
	if err != nil {
		return trust.Explanation{}, err
	}
	if r.Transport == ref.OCI || r.Transport == ref.OCIArchive || r.Transport == ref.DockerArchive {
		o.Store = nil // a description comes from where the image does
	}
	src, err := o.find(ctx, r)
	if err != nil {
		return fail(err)
	}
	defer src.Close()
	evidence, err := src.examine(ctx, o, false)
	if err != nil {
		return fail(err)
	}
	meta, digest, err := src.describe(ctx, o)
	if err == nil {
		err = errors.Join(src.rename(&meta), o.checkAbove(src, digest), o.checkID(meta))
	}
	if err != nil {
		return fail(err)
	}
	e, verdict, err := trust.Explain(o.request(meta, evidence, digest))
	if err != nil || !e.Allowed {
		return e, err
	}
	o.AskedTier = verdict.Tier()
	o.checkBelow(ctx, meta, digest, &e)
	if len(o.above) > 0 || !e.Allowed {
		return e, nil
	}
	_, err = assemble(verdict, meta, o.Overrides)
	var limit *trust.LimitError
	switch {
	case errors.As(err, &limit):
		e.Refuse(trust.Finding{Required: "at most " + limit.Required, Found: limit.Found}, err)
	case err != nil:
		e.Refuse(trust.Finding{Required: "an app that can be run", Found: err.Error()}, err)
	}
	return e, nil
}
