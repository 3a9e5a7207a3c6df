package oci

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
)

// dockerManifestFile lists the images that docker save has put into an archive.
const dockerManifestFile = "manifest.json"

// savedImage is an entry of it.
type savedImage struct {
	Config   string   // file name
	RepoTags []string // such as alpine:3.20
	Layers   []string // file names, lowest first
}

// ResolveDockerArchive finds an image in what docker save has written; without a tag,
// the only one. file is as in OpenArchive.
//
// Such an archive lacks the registry's manifest, and so what signatures are about: the
// image's digest is that of its config, which names each layer's uncompressed tar.
func ResolveDockerArchive(ctx context.Context, file *os.File, tag, tmpDir string, limits image.Limits) (*Artifact, error) {
	limits, err := limits.OrDefault()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	files, err := openArchive(ctx, file, tmpDir, limits)
	if err != nil {
		return nil, err
	}
	a, err := resolveSaved(files, tag, limits)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return a, nil
}

func resolveSaved(files *archive, tag string, limits image.Limits) (*Artifact, error) {
	data, err := readSmall(files, dockerManifestFile, limits.Manifest)
	if err != nil {
		return nil, fmt.Errorf("is nothing that docker save has written: %w", err)
	}
	var list []savedImage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", dockerManifestFile, err)
	}
	saved, name, err := findSaved(list, tag)
	if err != nil {
		return nil, err
	}
	a := &Artifact{Name: name, src: savedSource{files}, limits: limits}
	if a.Config, err = readSmall(files, cleanName(saved.Config), limits.Manifest); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	sum := sha256.Sum256(a.Config)
	digest, err := image.NewDigest(image.SHA256, sum[:])
	if err != nil {
		return nil, err
	}
	a.Subjects, a.Documents = []image.Digest{digest}, [][]byte{a.Config}
	if a.config, err = parseConfig(a.Config); err != nil {
		return nil, err
	}
	return a, a.planSaved(files, saved.Layers)
}

// findSaved returns the image with that tag, and the name of its repository.
func findSaved(list []savedImage, tag string) (savedImage, image.Name, error) {
	var tags []string
	for _, s := range list {
		tags = append(tags, s.RepoTags...)
		for _, t := range s.RepoTags {
			if tag != "" && sameTag(t, tag) {
				return s, savedName(t), nil
			}
		}
	}
	switch {
	case len(list) == 0:
		return savedImage{}, "", errors.New("holds no image")
	case tag != "":
		return savedImage{}, "", fmt.Errorf("holds no image %q, but: %.400s", tag, strings.Join(tags, ", "))
	case len(list) > 1:
		return savedImage{}, "", fmt.Errorf("holds %d images: name one behind a colon: %.400s", len(list), strings.Join(tags, ", "))
	case len(tags) == 0:
		return list[0], "", nil
	}
	return list[0], savedName(tags[0]), nil
}

func sameTag(a, b string) bool {
	if a == b {
		return true
	}
	ra, errA := ref.Parse("docker://" + a)
	rb, errB := ref.Parse("docker://" + b)
	return errA == nil && errB == nil && ra.String() == rb.String()
}

func savedName(tag string) image.Name {
	r, err := ref.Parse("docker://" + tag)
	if err != nil {
		return ""
	}
	return r.Name
}

// cleanName is a name as archive knows it.
func cleanName(name string) string { return strings.TrimPrefix(name, "./") }

func (a *Artifact) planSaved(files *archive, names []string) error {
	ids := a.config.RootFS.DiffIDs
	if len(ids) != len(names) || len(names) > layersMax {
		return fmt.Errorf("config: %d diff_ids, but %s has %d layers", len(ids), dockerManifestFile, len(names))
	}
	for i, name := range slices.All(names) {
		diffID, err := DigestOf(v1.Descriptor{Digest: ids[i]})
		if err != nil {
			return fmt.Errorf("config: diff_id %d: %w", i, err)
		}
		a.layers = append(a.layers, layer{diffID, func(ctx context.Context) (io.Reader, io.Closer, error) {
			r, _, err := files.open(cleanName(name))
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			return image.ContextReader{Ctx: ctx, R: r}, r, nil
		}})
	}
	return nil
}

// savedSource has no blobs, and no signatures.
type savedSource struct{ *archive }

// Open is never called: there are no descriptors to open.
func (savedSource) Open(context.Context, v1.Descriptor) (io.ReadCloser, error) {
	return nil, errors.New("a docker archive has no blobs")
}

// Referring finds nothing.
func (savedSource) Referring(context.Context, image.Digest) ([]v1.Descriptor, error) {
	return nil, nil
}
