package pod

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/spool"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// dependencies are the images that one builds upon, lowest first, each of them fetched,
// verified and rendered like an image that is run. In the rendered root of each, its own
// dependencies and path whitelist are accounted for.
type dependencies []fetched

// above is an image on the way down to a dependency.
type above struct {
	name   image.Name
	source image.Digest
	want   image.Dependency // what it wants next
}

// errNeeds says that an image cannot be rendered without what it depends on.
type errNeeds struct{ meta image.Meta }

// Error is for nobody to see.
func (e *errNeeds) Error() string { return "has dependencies" }

// entry gets the image from the store or renders it, on what it depends on, which the
// caller closes.
func (o Options) entry(ctx context.Context, src source, evidence trust.Evidence) (*store.Entry, dependencies, error) {
	source := evidence.Source()
	if err := o.checkAbove(src, source); err != nil {
		return nil, nil, err
	}
	entry, err := o.Store.Lookup(source)
	if errors.Is(err, store.ErrNotFound) {
		entry, err = o.render(ctx, src, evidence, source, nil)
	}
	var meta image.Meta
	var needs *errNeeds
	switch {
	case errors.As(err, &needs):
		meta = needs.meta
	case err != nil || len(entry.Meta.Dependencies) == 0:
		return entry, nil, err
	default:
		meta = entry.Meta
	}
	below, err := o.fetchBelow(ctx, meta, source)
	if err == nil {
		if entry != nil && entry.Digest == meta.OwnID().Over(below.digests()) {
			return entry, below, nil
		}
		if entry != nil { // rendered upon other ones
			err = entry.Close()
		}
	}
	if err == nil {
		entry, err = o.renderUpon(ctx, src, evidence, below)
	} else if entry != nil {
		err = errors.Join(err, entry.Close())
	}
	if err != nil {
		return nil, nil, errors.Join(err, below.close())
	}
	return entry, below, nil
}

// renderUpon gets the image on these dependencies, and has the store know it by its
// distributed bytes.
func (o Options) renderUpon(ctx context.Context, src source, evidence trust.Evidence, below dependencies) (*store.Entry, error) {
	entry, err := o.render(ctx, src, evidence, evidence.Source().Over(below.digests()), below)
	if err != nil {
		return nil, err
	}
	if err := o.Store.Point(evidence.Source(), entry.Digest); err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	return entry, nil
}

// checkAbove holds a dependency against what the image above it asks for, as far as its
// bytes tell.
func (o Options) checkAbove(src source, source image.Digest) error {
	if len(o.above) == 0 {
		return nil
	}
	if slices.ContainsFunc(o.above, func(a above) bool { return a.source == source }) {
		return errors.New("depends on itself")
	}
	want := o.above[len(o.above)-1].want.Size
	found, ok := src.(*appcImage)
	if !ok || want == 0 {
		return nil
	}
	info, err := found.Stat()
	if err == nil && info.Size() != want {
		err = fmt.Errorf("has %d bytes, and %s depends on one of %d", info.Size(), o.above[len(o.above)-1].name, want)
	}
	return err
}

// checkID holds a dependency against the ID that the image above it asks for.
func (o Options) checkID(meta image.Meta) error {
	if len(o.above) == 0 {
		return nil
	}
	want := o.above[len(o.above)-1].want
	if id := meta.OwnID(); !want.ID.IsZero() && id != want.ID {
		return fmt.Errorf("depends on the image %s with the ID %s, and was given one with %s: --pull always asks for it anew", want.Name, want.ID, id)
	}
	return nil
}

// fetchBelow gets all that an image depends on, by discovery as far as the store does not
// have it.
func (o Options) fetchBelow(ctx context.Context, meta image.Meta, source image.Digest) (dependencies, error) {
	if o.spent == nil {
		o.spent = new(int)
	}
	var below dependencies
	for _, want := range meta.Dependencies {
		down, err := o.down(meta.Name, source, want)
		var f fetched
		if err == nil {
			f, err = down.obtain(ctx)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("dependency of %s: %w", meta.Name, err), below.close())
		}
		below = append(below, f)
		if err := down.checkID(f.entry.Meta); err != nil {
			return nil, errors.Join(err, below.close())
		}
	}
	return below, nil
}

// down are the options for a dependency.
func (o Options) down(name image.Name, source image.Digest, want image.Dependency) (Options, error) {
	if len(o.above) >= image.DependencyDepth {
		return o, fmt.Errorf("its dependencies lead to more than %d others, one from the next", image.DependencyDepth)
	}
	if *o.spent++; *o.spent > image.DependenciesMax {
		return o, fmt.Errorf("more than %d images are needed for one", image.DependenciesMax)
	}
	o.Path = ref.Ref{Transport: ref.Appc, Name: want.Name, Labels: want.Labels}.String()
	o.SignaturePath, o.Name = "", ""
	o.above = append(slices.Clone(o.above), above{name, source, want})
	r, err := ref.Parse(o.Path)
	if err != nil {
		return o, err
	}
	// A comma in a value would make labels of it.
	said := image.Meta{Labels: r.Labels}
	for _, l := range want.Labels {
		if value, ok := said.Label(l.Name); !ok || value != l.Value || len(r.Labels) != len(want.Labels) {
			return o, fmt.Errorf("the label %s of %s cannot be asked for", l.Name, want.Name)
		}
	}
	return o, nil
}

func (d dependencies) digests() []image.Digest {
	var list []image.Digest
	for _, f := range d {
		list = append(list, f.entry.Digest)
	}
	return list
}

// allow asks whether all of them may run at the tier.
func (d dependencies) allow(tier trust.Tier) error {
	for _, f := range d {
		f.request.AskedTier = tier
		if _, err := trust.Decide(f.request); err != nil {
			return fmt.Errorf("dependency: %w", err)
		}
	}
	return nil
}

// carry puts the image on their roots.
func (d dependencies) carry(ctx context.Context, img *image.Image, scratch string) (*image.Image, error) {
	var layers []image.Layer
	var files spools
	for _, f := range d {
		layer, file, err := unrender(ctx, f.entry, scratch)
		if err != nil {
			return img, errors.Join(fmt.Errorf("dependency %s: %w", f.entry.Meta.Name, err), files.Close())
		}
		layers, files = append(layers, layer), append(files, file)
	}
	return img.Upon(d.digests(), layers, files)
}

// unrender makes a layer of a root in the store, each block of which it verifies.
func unrender(ctx context.Context, e *store.Entry, scratch string) (image.Layer, *os.File, error) {
	file, err := spool.New(scratch)
	if err != nil {
		return image.Layer{}, nil, err
	}
	if err := rootfs.Export(ctx, e.File(), e.Info, file); err != nil {
		return image.Layer{}, nil, errors.Join(err, file.Close())
	}
	info, err := file.Stat()
	if err != nil {
		return image.Layer{}, nil, errors.Join(err, file.Close())
	}
	// What names the layer is the root that it was made of.
	sum := sha256.Sum256(e.Info.RootHash[:])
	id, err := image.NewDigest(image.SHA256, sum[:])
	if err != nil {
		return image.Layer{}, nil, errors.Join(err, file.Close())
	}
	layer, err := image.NewLayer(id, "", file, info.Size())
	return layer.Plain(), file, err
}

type spools []*os.File

// Close closes all.
func (s spools) Close() error {
	var errs []error
	for _, f := range s {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// close gives up the images: the root that was made of them does without.
func (d dependencies) close() error {
	var errs []error
	for _, f := range d {
		errs = append(errs, f.entry.Close())
	}
	return errors.Join(errs...)
}
