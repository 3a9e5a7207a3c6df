package oci

import (
	"context"
	"fmt"
	"io"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
)

// Source is where the blobs of an image lie.
type Source interface {
	// Open returns the content that d describes. It is not checked: whoever reads it
	// compares size and digest.
	Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// Referring returns manifests that may hold signatures of the manifest or index
	// with the digest subject. Some may have nothing to do with it.
	Referring(ctx context.Context, subject image.Digest) ([]v1.Descriptor, error)
}

// What a descriptor may be, besides the types of the OCI spec itself.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifestV1   = "application/vnd.docker.distribution.manifest.v1"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar"

	ociLayer        = v1.MediaTypeImageLayer
	ociForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// IsManifest reports whether the media type is that of an image's manifest.
func IsManifest(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == dockerManifest
}

// IsIndex reports whether the media type is that of an index of manifests.
func IsIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == dockerManifestList
}

// isLayer knows the media types of layers. Which compression one names is not asked:
// the layer's bytes, whose digest is checked, say so themselves.
func isLayer(mediaType string) bool {
	for _, base := range []string{ociLayer, ociForeignLayer, dockerLayer, dockerForeignLayer} {
		switch rest, ok := strings.CutPrefix(mediaType, base); {
		case !ok:
		case rest == "", rest == ".gzip", rest == ".zstd", // Docker's way
			rest == "+gzip", rest == "+zstd", rest == "+bzip2", rest == "+xz":
			return true
		}
	}
	return false
}

// DigestOf returns the digest that a descriptor names, checked for its form.
func DigestOf(d v1.Descriptor) (image.Digest, error) {
	if !strings.Contains(string(d.Digest), ":") {
		return image.Digest{}, fmt.Errorf("digest %.80q: want <algorithm>:<hex>", d.Digest)
	}
	return image.ParseDigest(string(d.Digest))
}
