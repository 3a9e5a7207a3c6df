package oci

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
)

// How cosign and Sigstore keep signatures beside images.
const (
	cosignSignature   = "dev.cosignproject.cosign/signature" // on a layer: base64
	cosignPayload     = "application/vnd.dev.cosign.simplesigning.v1+json"
	cosignKind        = "kind" // on an entry of an index that cosign save wrote
	cosignKindPrefix  = "dev.cosignproject.cosign/"
	cosignKindSigs    = cosignKindPrefix + "sigs"
	cosignKindImage   = cosignKindPrefix + "image"
	bundleType        = "application/vnd.dev.sigstore.bundle.v0.3+json"
	bundlePredicate   = "dev.sigstore.bundle.predicateType"
	signPredicate     = "https://sigstore.dev/cosign/sign/v1"
	signatureTagEnd   = ".sig"
	attestationTagEnd = ".att"
	sbomTagEnd        = ".sbom"
)

// Bounds on what is collected. A signature has a few KiB.
const (
	signatureManifestsMax = 64
	signatureBytesMax     = 512 << 10 // of one payload or bundle
	signaturesBytesMax    = 8 << 20   // of all
)

// SignatureTag is the tag that cosign gives the signatures of a digest.
func SignatureTag(subject image.Digest) string { return subject.String() + signatureTagEnd }

// ReferrersTag is the tag of a digest's referrers in a registry that does not know of
// them (distribution spec 1.1, Referrers Tag Schema).
func ReferrersTag(subject image.Digest) string { return subject.String() }

// Signatures collects what may vouch for the artifact, from where its manifest came
// from. Nothing in it is verified but the digests of its parts.
func (a *Artifact) Signatures(ctx context.Context) (image.Signatures, error) {
	c := collector{src: a.src, limit: a.limits.Manifest, seen: make(map[string]bool)}
	for _, subject := range a.Subjects {
		list, err := a.src.Referring(ctx, subject)
		if err != nil {
			return image.Signatures{}, fmt.Errorf("signatures: %w", err)
		}
		for _, d := range list {
			if err := c.add(ctx, d); err != nil {
				return image.Signatures{}, fmt.Errorf("signatures: %w", err)
			}
		}
	}
	return c.found, nil
}

// collector gathers signatures, each once and within bounds.
type collector struct {
	src   Source
	limit int64
	seen  map[string]bool // digests of manifests
	bytes int64
	found image.Signatures
}

// add looks at one manifest. Whoever can write to a registry can attach anything to an
// image: what is no signature is passed over.
func (c *collector) add(ctx context.Context, d v1.Descriptor) error {
	if c.seen[string(d.Digest)] || !IsManifest(d.MediaType) {
		return nil
	}
	if len(c.seen) == signatureManifestsMax {
		return fmt.Errorf("more than %d manifests refer to the image", signatureManifestsMax)
	}
	c.seen[string(d.Digest)] = true
	data, err := Fetch(ctx, c.src, d, c.limit)
	if err != nil {
		return err
	}
	m, err := parseManifest(data, d.MediaType)
	if err != nil {
		return nil
	}
	if p := m.Annotations[bundlePredicate]; p != "" && p != signPredicate {
		return nil // an attestation of something else
	}
	for _, l := range m.Layers {
		if err := c.addLayer(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) addLayer(ctx context.Context, l v1.Descriptor) error {
	encoded, isSimple := l.Annotations[cosignSignature]
	isSimple = isSimple && l.MediaType == cosignPayload
	if !isSimple && l.MediaType != bundleType || l.Size > signatureBytesMax {
		return nil
	}
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil
	}
	if c.bytes += l.Size + int64(len(signature)); c.bytes > signaturesBytesMax {
		return fmt.Errorf("more than %d bytes", signaturesBytesMax)
	}
	data, err := Fetch(ctx, c.src, l, signatureBytesMax)
	if err != nil {
		return err
	}
	if isSimple {
		c.found.Simple = append(c.found.Simple, image.SimpleSigning{Payload: data, Signature: signature})
		return nil
	}
	c.found.Bundles = append(c.found.Bundles, data)
	return nil
}

// isSignature reports whether an entry of a layout's index is there for another entry's
// sake: it is no image that one could run.
func isSignature(d v1.Descriptor) bool {
	kind := d.Annotations[cosignKind]
	if strings.HasPrefix(kind, cosignKindPrefix) && !strings.HasPrefix(kind, cosignKindImage) {
		return true
	}
	if d.ArtifactType != "" && d.ArtifactType != v1.MediaTypeImageConfig {
		return true
	}
	tag := tagOf(d)
	if !strings.HasPrefix(tag, "sha256-") && !strings.HasPrefix(tag, "sha512-") {
		return false
	}
	for _, end := range []string{signatureTagEnd, attestationTagEnd, sbomTagEnd} {
		tag = strings.TrimSuffix(tag, end)
	}
	_, err := image.ParseDigest(tag)
	return err == nil
}

// tagOf is the tag in the name of an entry: all of it, or what is behind the last colon.
func tagOf(d v1.Descriptor) string {
	name := d.Annotations[v1.AnnotationRefName]
	return name[strings.LastIndexByte(name, ':')+1:]
}

// Referring finds signatures among the entries of the layout's index: by cosign's tag,
// by the tag of the referrers' index, as cosign save writes them, and by subject.
func (l *Layout) Referring(ctx context.Context, subject image.Digest) ([]v1.Descriptor, error) {
	var list []v1.Descriptor
	for _, d := range l.index.Manifests {
		tag := tagOf(d)
		switch {
		case IsManifest(d.MediaType) && (tag == SignatureTag(subject) || d.Annotations[cosignKind] == cosignKindSigs):
			list = append(list, d)
		case IsIndex(d.MediaType) && tag == ReferrersTag(subject):
			more, err := Referrers(ctx, l, d)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
		case IsManifest(d.MediaType) && len(list) < signatureManifestsMax && l.refersTo(ctx, d, subject):
			list = append(list, d)
		}
	}
	return list, nil
}

// refersTo reports whether the manifest has that subject.
func (l *Layout) refersTo(ctx context.Context, d v1.Descriptor, subject image.Digest) bool {
	data, err := Fetch(ctx, l, d, signatureBytesMax)
	if err != nil {
		return false // it is none of ours, or will be missed elsewhere
	}
	m, err := parseManifest(data, d.MediaType)
	if err != nil || m.Subject == nil {
		return false
	}
	digest, err := DigestOf(*m.Subject)
	return err == nil && digest == subject
}

// Referrers reads an index of referrers and returns those of its entries that may be
// signatures.
func Referrers(ctx context.Context, src Source, d v1.Descriptor) ([]v1.Descriptor, error) {
	data, err := Fetch(ctx, src, d, image.DefaultLimits().Manifest)
	if err != nil {
		return nil, err
	}
	index, err := parseIndex(data, d.MediaType)
	if err != nil {
		return nil, err
	}
	return MayBeSignatures(index.Manifests), nil
}

// MayBeSignatures leaves out referrers that say to be something else.
func MayBeSignatures(list []v1.Descriptor) []v1.Descriptor {
	var kept []v1.Descriptor
	for _, d := range list {
		other := d.Annotations[bundlePredicate] != "" && d.Annotations[bundlePredicate] != signPredicate
		if IsManifest(d.MediaType) && !other {
			kept = append(kept, d)
		}
	}
	return kept
}
