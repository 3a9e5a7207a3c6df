package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// payloadType is critical.type of the payloads that cosign signs.
const payloadType = "cosign container image signature"

// claim is what a signature says, once it is known to be good.
type claim struct {
	digests     []image.Digest // any of them is the image
	name        string         // of the image; empty: a bundle says nothing about it
	annotations map[string]string
}

// parsePayload reads a simple signing payload (containers-signature(5), JSON data
// format) whose signature was found good. As that says, unknown members of "critical"
// are refused: they may restrict what the signature is worth.
func parsePayload(data []byte) (claim, error) {
	object, err := jsonObject(data, "payload")
	if err != nil {
		return claim{}, err
	}
	critical, err := jsonExact(object["critical"], "critical", "identity", "image", "type")
	if err != nil {
		return claim{}, err
	}
	kind, err := jsonText(critical["type"], "critical.type")
	if err != nil {
		return claim{}, err
	}
	if kind != payloadType {
		return claim{}, fmt.Errorf("critical.type is %.60q, want %q", kind, payloadType)
	}
	identity, err := jsonExact(critical["identity"], "critical.identity", "docker-reference")
	if err != nil {
		return claim{}, err
	}
	var c claim
	if c.name, err = jsonText(identity["docker-reference"], "docker-reference"); err != nil {
		return claim{}, err
	}
	if c.name == "" {
		return claim{}, errors.New("docker-reference is empty")
	}
	img, err := jsonExact(critical["image"], "critical.image", "docker-manifest-digest")
	if err != nil {
		return claim{}, err
	}
	text, err := jsonText(img["docker-manifest-digest"], "docker-manifest-digest")
	if err != nil {
		return claim{}, err
	}
	digest, err := image.ParseDigest(text)
	if err != nil {
		return claim{}, err
	}
	c.digests = []image.Digest{digest}
	c.annotations, err = jsonAnnotations(object["optional"], "optional")
	return c, err
}

// about says why the claim is not about the image; nil: it is.
func (c claim) about(subjects []image.Digest, name image.Name) error {
	if !slices.ContainsFunc(c.digests, func(d image.Digest) bool { return slices.Contains(subjects, d) }) {
		return fmt.Errorf("is about another image, %s", c.digests[0].Short())
	}
	if c.name != "" && repository(c.name) != repository(string(name)) {
		return fmt.Errorf("is about an image named %.255q", c.name)
	}
	return nil
}

// dockerHub is one registry under two names: cosign writes the long one.
const (
	dockerHub     = "docker.io/"
	dockerHubLong = "index.docker.io/"
)

// repository is a docker reference without tag and digest.
func repository(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	slash := strings.LastIndexByte(reference, '/')
	if colon := strings.LastIndexByte(reference, ':'); slash >= 0 && colon > slash {
		reference = reference[:colon]
	}
	if rest, ok := strings.CutPrefix(reference, dockerHubLong); ok {
		return dockerHub + rest
	}
	return reference
}
