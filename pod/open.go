package pod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/discovery"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/registry"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// Options says which image to open, what to check it against, and how the user
// wants its app changed.
type Options struct {
	Path string // of the image, or another reference that package ref knows
	// SignaturePath names the detached signature of an ACI. Empty: Path + ".asc".
	SignaturePath string
	// Name is what an OCI image in a file or folder is called. Empty: what is said there.
	Name image.Name

	// Pull says when a registry is asked, Registry how. Zero: if the image is not in the
	// store.
	Pull      PullPolicy
	Registry  registry.Options
	Discovery discovery.Options // of appc images

	Store   *store.Store
	Keyring *trust.Keyring // may be nil with InsecureNoVerify
	Policy  *trust.Policy  // nil: there is no policy file
	// AskedTier is the tier that the user asks for. Zero: the least one allowed.
	AskedTier trust.Tier
	// InsecureNoVerify skips the signature, for this run only.
	InsecureNoVerify bool
	// Limits bound what the image may unpack to. Zero: image.DefaultLimits.
	Limits image.Limits

	Overrides Overrides
	// above are the images that this one is a dependency of, the outermost first.
	above []above
	spent *int // dependencies so far, of the outermost image; nil: none

	// Progress, if set, is told what takes time, in words for the user.
	Progress func(step string)
}

func (o Options) progress(step string) {
	if o.Progress != nil {
		o.Progress(step)
	}
}

var errNoKeyring = errors.New("no keyring to check the signature with")

// Open verifies the image, gets its rendered root from the store or renders it,
// and returns a Pod that a runner may run. The caller closes it.
func Open(ctx context.Context, o Options) (*Pod, error) {
	verdict, entry, err := o.fetch(ctx)
	if err != nil {
		return nil, err
	}
	pod, err := New(verdict, entry, o.Overrides)
	if err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	return pod, nil
}

// fetch is Open up to the Pod. The caller closes the entry.
func (o Options) fetch(ctx context.Context) (trust.Verdict, *store.Entry, error) {
	f, err := o.obtain(ctx)
	if err != nil {
		return trust.Verdict{}, nil, err
	}
	return f.verdict, f.entry, nil
}

// fetched is an image in the store, and the permission to run it.
type fetched struct {
	verdict trust.Verdict
	entry   *store.Entry
	request trust.Request // that the verdict is the answer to
}

func (o Options) obtain(ctx context.Context) (fetched, error) {
	fail := func(err error) (fetched, error) { return fetched{}, fmt.Errorf("image %s: %w", o.Path, err) }
	r, err := ref.Parse(o.Path)
	if err != nil {
		return fetched{}, err
	}
	src, err := o.find(ctx, r)
	if err != nil {
		return fail(err)
	}
	defer src.Close()
	// Unless the policy knows of images that need no signature, one without a good one
	// ends here.
	evidence, err := src.examine(ctx, o, o.Policy.NeedsSignature())
	if err != nil {
		return fail(err)
	}
	entry, below, err := o.entry(ctx, src, evidence)
	if err != nil {
		return fail(err)
	}
	defer below.close()
	if err := src.rename(&entry.Meta); err != nil {
		return fail(errors.Join(err, entry.Close()))
	}
	// The store's record says that the bytes with this digest hold the entry's image.
	f := fetched{entry: entry, request: o.request(entry.Meta, evidence, evidence.Source())}
	if f.verdict, err = trust.Decide(f.request); err == nil {
		err = below.allow(f.verdict.Tier())
	}
	if err != nil {
		return fetched{}, errors.Join(err, entry.Close())
	}
	if err := src.settle(o); err != nil {
		return fail(errors.Join(err, entry.Close()))
	}
	return f, nil
}

func (o Options) request(meta image.Meta, evidence trust.Evidence, source image.Digest) trust.Request {
	return trust.Request{
		Name:             meta.Name,
		Digest:           meta.OwnID(),
		Whole:            meta.Digest,
		Source:           source,
		Evidence:         evidence,
		AskedTier:        o.AskedTier,
		InsecureNoVerify: o.InsecureNoVerify,
		PlainHTTP:        o.Registry.PlainHTTP,
		Labels:           meta.Labels,
		Policy:           o.Policy,
	}
}

// render unpacks the image into the store, as key. Whether it may run is asked before it is
// rendered: what is refused costs the store nothing. With dependencies, these must be
// given; errNeeds says so.
func (o Options) render(ctx context.Context, src source, evidence trust.Evidence, key image.Digest, below dependencies) (*store.Entry, error) {
	return o.Store.Put(ctx, key, func(ctx context.Context, root *os.File, scratch string) (store.Rendered, error) {
		o.progress("unpacking " + o.Path)
		img, digest, err := src.read(ctx, o, scratch)
		if err != nil {
			return store.Rendered{}, err
		}
		defer func() { img.Close() }()
		if _, err := trust.Decide(o.request(img.Meta(), evidence, digest)); err != nil {
			return store.Rendered{}, err
		}
		switch needed := img.Meta().Dependencies; {
		case len(needed) != len(below):
			return store.Rendered{}, &errNeeds{img.Meta()}
		case len(needed) > 0:
			if img, err = below.carry(ctx, img, scratch); err != nil {
				return store.Rendered{}, err
			}
		}
		o.progress("rendering " + string(img.Name()))
		info, err := rootfs.Render(ctx, img, o.Limits, root)
		return store.Rendered{Info: info, Meta: img.Meta()}, err
	})
}
