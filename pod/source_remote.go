package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/oci"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/registry"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// PullPolicy says when a registry is asked for an image.
type PullPolicy string

// The policies, named as docker names them.
const (
	PullMissing PullPolicy = "missing" // if the store lacks it; the default
	PullAlways  PullPolicy = "always"  // each time; layers only if the image is another one
	PullNever   PullPolicy = "never"
)

// ParsePullPolicy reads the name of a policy; empty: PullMissing.
func ParsePullPolicy(s string) (PullPolicy, error) {
	switch p := PullPolicy(s); p {
	case "":
		return PullMissing, nil
	case PullMissing, PullAlways, PullNever:
		return p, nil
	}
	return "", fmt.Errorf("%q: want %s, %s or %s", s, PullMissing, PullAlways, PullNever)
}

// stored is an image that was pulled before, with all that was known of it then. What it
// is worth is asked anew each time.
type stored struct{ known store.Reference }

// pulled is an image in a registry.
type pulled struct {
	stored
	artifact *oci.Artifact
	remote   *registry.Remote
}

// openRemote finds the image in the store or in its registry.
func openRemote(ctx context.Context, r ref.Ref, o Options) (source, error) {
	if o.Store != nil && o.Pull != PullAlways {
		known, err := o.Store.Reference(r.String())
		if err == nil && o.Store.Has(known.Digest()) {
			return stored{known}, oci.CheckChain(known.Subjects, known.Documents)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	if o.Pull == PullNever {
		return nil, errors.New("is not in the store, and --pull never keeps it from being fetched")
	}
	ro := o.Registry
	ro.Limits = o.Limits
	if ro.CacheDir == "" && o.Store != nil {
		ro.CacheDir = o.Store.DownloadsDir()
	}
	o.progress("asking " + r.Host() + " for " + r.String())
	remote, err := registry.Open(ctx, r, ro)
	if err != nil {
		return nil, err
	}
	artifact, err := oci.Resolve(ctx, remote, remote.Root, r.Name, o.Limits)
	if err != nil {
		return nil, errors.Join(err, remote.Close())
	}
	return &pulled{artifact: artifact, remote: remote, stored: stored{store.Reference{
		Ref: r.String(), Name: r.Name, Subjects: artifact.Subjects, Documents: artifact.Documents,
		Config: artifact.Config, Pulled: time.Now().UTC().Truncate(time.Second),
	}}}, nil
}

func (s stored) examine(_ context.Context, o Options, strict bool) (trust.Evidence, error) {
	e, err := o.examineOCI(s.known.Subjects, s.known.Name, s.known.Signatures, strict)
	if err != nil {
		return e, fmt.Errorf("%w (as of %s; --pull always looks for newer signatures)", err, s.known.Pulled.Format(time.DateOnly))
	}
	return e, nil
}

func (s stored) describe(_ context.Context, o Options) (image.Meta, image.Digest, error) {
	entry, err := o.Store.Lookup(s.known.Digest())
	if err != nil {
		return image.Meta{}, image.Digest{}, err
	}
	return entry.Meta, s.known.Digest(), entry.Close()
}

func (s stored) read(context.Context, Options, string) (*image.Image, image.Digest, error) {
	return nil, image.Digest{}, errors.New("was removed from the store meanwhile: run again")
}

func (s stored) rename(meta *image.Meta) error {
	meta.Name = s.known.Name
	return nil
}

func (s stored) settle(Options) error { return nil }

func (s stored) Close() error { return nil }

// examine collects the signatures in any case: a later run may need them.
func (p *pulled) examine(ctx context.Context, o Options, strict bool) (trust.Evidence, error) {
	var err error
	if p.known.Signatures, err = p.artifact.Signatures(ctx); err != nil {
		return trust.Evidence{}, err
	}
	return o.examineOCI(p.known.Subjects, p.known.Name, p.known.Signatures, strict)
}

func (p *pulled) describe(context.Context, Options) (image.Meta, image.Digest, error) {
	meta, err := p.artifact.Meta()
	return meta, p.artifact.Digest(), err
}

func (p *pulled) read(ctx context.Context, _ Options, scratch string) (*image.Image, image.Digest, error) {
	if err := p.remote.Start(p.artifact.Layers); err != nil {
		return nil, image.Digest{}, err
	}
	img, err := p.artifact.Read(ctx, scratch)
	return img, p.artifact.Digest(), err
}

func (p *pulled) settle(o Options) error {
	if err := o.Store.PutReference(p.known); err != nil {
		return err
	}
	p.remote.Discard()
	return nil
}

// Close ends downloads; what is there of them stays for another try.
func (p *pulled) Close() error { return p.remote.Close() }
