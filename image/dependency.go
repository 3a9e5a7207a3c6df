package image

import (
	"crypto/sha512"
	"io"
)

// Dependency is what an image says of another one that it builds upon (appc spec, aci.md,
// Image Manifest Schema, dependencies).
type Dependency struct {
	Name   Name        `json:"name"`
	Labels []NameValue `json:"labels,omitempty"`
	ID     Digest      `json:"id,omitzero"`    // zero: any
	Size   int64       `json:"size,omitempty"` // of the file as distributed; 0: any
}

// DependenciesMax bounds how many images one may need in all, and DependencyDepth how many
// lead from one to the next.
const (
	DependenciesMax = 64
	DependencyDepth = 16
)

// OwnID is the digest of the image alone.
func (m Meta) OwnID() Digest {
	if m.ID.IsZero() {
		return m.Digest
	}
	return m.ID
}

// Over returns the digest of what has digest d, upon images with these digests, lowest
// first. Upon none it is d itself.
func (d Digest) Over(dependencies []Digest) Digest {
	if len(dependencies) == 0 {
		return d
	}
	h := sha512.New()
	io.WriteString(h, "clearrun image with dependencies, v1\n"+d.String()+"\n")
	for _, dep := range dependencies {
		io.WriteString(h, dep.String()+"\n")
	}
	return SumSHA512([sha512.Size]byte(h.Sum(nil)))
}

// Upon returns the image with those layers below its own. Their digests, as Over counts
// them, become part of its own. The layers last as long as backing, which the result owns
// together with the image; nil: there is none.
func (i *Image) Upon(dependencies []Digest, below []Layer, backing io.Closer) (*Image, error) {
	meta := i.Meta()
	meta.ID = meta.OwnID()
	meta.Digest = meta.ID.Over(dependencies)
	return New(meta, append(append([]Layer(nil), below...), i.layers...), closers{i, backing})
}

// closers are closed together.
type closers struct {
	first  *Image
	second io.Closer
}

// Close closes both.
func (c closers) Close() error {
	err := c.first.Close()
	if c.second != nil {
		if err2 := c.second.Close(); err == nil {
			err = err2
		}
	}
	return err
}
