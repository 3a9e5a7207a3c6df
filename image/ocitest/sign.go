package ocitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Key is a key pair as cosign generate-key-pair makes it.
type Key struct{ secret *ecdsa.PrivateKey }

// NewKey makes a key pair.
func NewKey(t testing.TB) Key {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{secret}
}

// Public is the content of cosign.pub.
func (k Key) Public(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.secret.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Sign adds to the layout what cosign sign pushes to a registry: a manifest with a
// signature of d under that name, without tag. It returns the manifest's tag.
func (l *Layout) Sign(d v1.Descriptor, name string, k Key) (tag string) {
	l.t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},`+
		`"type":"cosign container image signature"},"optional":null}`, name, d.Digest)
	sum := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, k.secret, sum[:])
	if err != nil {
		l.t.Fatal(err)
	}
	layer := l.Blob("application/vnd.dev.cosign.simplesigning.v1+json", payload)
	layer.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature)}
	config := Config(v1.ImageConfig{})
	tag = "sha256-" + d.Digest.Encoded() + ".sig"
	l.Tag(l.JSON(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: l.JSON(v1.MediaTypeImageConfig, config), Layers: []v1.Descriptor{layer},
	}), tag)
	return tag
}
