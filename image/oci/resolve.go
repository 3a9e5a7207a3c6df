package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
)

// indexDepthMax bounds indexes that lead to indexes. Real ones have one level.
const indexDepthMax = 4

// Artifact is one image for this platform whose manifest, and the indexes on the way to
// it, were read and found to be what their digests say. Its layers were not read yet.
type Artifact struct {
	// Name is what the image is called where it came from; nobody vouches for it.
	Name image.Name
	// Subjects are what a signature may be about: the manifest that runs, then the
	// indexes that it was chosen from, the innermost first.
	Subjects []image.Digest
	// Documents are the very bytes of Subjects, in the same order.
	Documents [][]byte
	// Layers describes the compressed layers, lowest first.
	Layers []v1.Descriptor
	// Config is the image's config, as distributed.
	Config []byte

	src      Source
	manifest v1.Manifest
	config   v1.Image
	layers   []layer
	limits   image.Limits
}

// Digest names the image: the manifest's digest, or the config's from docker save.
func (a *Artifact) Digest() image.Digest { return a.Subjects[0] }

// Resolve reads what root describes: a manifest, or an index to choose one from.
func Resolve(ctx context.Context, src Source, root v1.Descriptor, name image.Name, limits image.Limits) (*Artifact, error) {
	limits, err := limits.OrDefault()
	if err != nil {
		return nil, err
	}
	a := &Artifact{Name: name, src: src, limits: limits}
	if err := a.descend(ctx, root); err != nil {
		return nil, err
	}
	if err := checkImage(a.manifest); err != nil {
		return nil, err
	}
	if a.Config, err = Fetch(ctx, src, a.manifest.Config, limits.Manifest); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if a.config, err = parseConfig(a.Config); err != nil {
		return nil, err
	}
	if err := a.planLayers(); err != nil {
		return nil, err
	}
	return a, nil
}

// descend follows indexes down to the manifest.
func (a *Artifact) descend(ctx context.Context, d v1.Descriptor) error {
	for range indexDepthMax + 1 {
		data, err := Fetch(ctx, a.src, d, a.limits.Manifest)
		if err != nil {
			return err
		}
		digest, err := DigestOf(d)
		if err != nil {
			return err
		}
		a.Subjects = append([]image.Digest{digest}, a.Subjects...)
		a.Documents = append([][]byte{data}, a.Documents...)
		switch {
		case IsManifest(d.MediaType):
			a.manifest, err = parseManifest(data, d.MediaType)
			return err
		case !IsIndex(d.MediaType):
			return fmt.Errorf("is neither a manifest nor an index, but %.80q", d.MediaType)
		}
		index, err := parseIndex(data, d.MediaType)
		if err != nil {
			return err
		}
		if d, err = choose(index.Manifests); err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d indexes, one in the other", indexDepthMax)
}

// CheckChain reports whether each document but the first, which is the manifest, is an
// index that names the one before it. That they are what their digests say is for the
// caller to know.
func CheckChain(subjects []image.Digest, documents [][]byte) error {
	if len(subjects) != len(documents) {
		return errors.New("manifest: not as many documents as digests")
	}
	for i := 1; i < len(documents); i++ {
		var index v1.Index
		if err := json.Unmarshal(documents[i], &index); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if !slices.ContainsFunc(index.Manifests, func(d v1.Descriptor) bool {
			digest, err := DigestOf(d)
			return err == nil && digest == subjects[i-1]
		}) {
			return fmt.Errorf("index %s: does not name %s", subjects[i].Short(), subjects[i-1].Short())
		}
	}
	return nil
}

// layer is one layer of an artifact.
type layer struct {
	diffID image.Digest
	// open gives the layer as distributed. It fails at its end if it is not what the
	// manifest says.
	open func(ctx context.Context) (io.Reader, io.Closer, error)
}

func (a *Artifact) planLayers() error {
	ids := a.config.RootFS.DiffIDs
	if len(ids) != len(a.manifest.Layers) {
		return fmt.Errorf("config: %d diff_ids, but the manifest has %d layers", len(ids), len(a.manifest.Layers))
	}
	a.Layers = a.manifest.Layers
	for i, d := range a.manifest.Layers {
		diffID, err := DigestOf(v1.Descriptor{Digest: ids[i]})
		if err != nil {
			return fmt.Errorf("config: diff_id %d: %w", i, err)
		}
		a.layers = append(a.layers, layer{diffID, func(ctx context.Context) (io.Reader, io.Closer, error) {
			return open(ctx, a.src, d)
		}})
	}
	return nil
}

// Close gives up the source, if that is something to give up. Images that were read
// stay.
func (a *Artifact) Close() error {
	if c, ok := a.src.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

var errNoLayers = errors.New("has no layers: there is nothing to run")
