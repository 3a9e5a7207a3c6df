package oci

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
)

// verifier reads a blob and holds it against its descriptor: io.EOF comes out only if
// size and digest are right.
type verifier struct {
	r      io.Reader
	digest image.Digest
	left   int64
	sum    hash.Hash
}

func newVerifier(r io.Reader, digest image.Digest, size int64) *verifier {
	return &verifier{r: r, digest: digest, left: size, sum: digest.Algorithm().New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// One byte more than is due shows a blob that is too long.
	if int64(len(p)) > v.left+1 {
		p = p[:v.left+1]
	}
	n, err := v.r.Read(p)
	if v.left -= int64(n); v.left < 0 {
		return 0, fmt.Errorf("blob %s: longer than its descriptor says", v.digest.Short())
	}
	v.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		err = v.conclude()
	}
	return n, err
}

func (v *verifier) conclude() error {
	if v.left > 0 {
		return fmt.Errorf("blob %s: %d bytes shorter than its descriptor says", v.digest.Short(), v.left)
	}
	if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.digest.Hex() {
		return fmt.Errorf("blob %s: its digest is another one, %s-%.12s: it was changed or damaged",
			v.digest.Short(), v.digest.Algorithm(), got)
	}
	return io.EOF
}

// open opens a blob for checked reading. Whoever reads it to io.EOF knows that it is
// what d describes.
func open(ctx context.Context, src Source, d v1.Descriptor) (io.Reader, io.Closer, error) {
	digest, err := DigestOf(d)
	if err != nil {
		return nil, nil, err
	}
	if d.Size < 0 {
		return nil, nil, fmt.Errorf("blob %s: size %d", digest.Short(), d.Size)
	}
	blob, err := src.Open(ctx, d)
	if err != nil {
		return nil, nil, fmt.Errorf("blob %s: %w", digest.Short(), err)
	}
	return newVerifier(image.ContextReader{Ctx: ctx, R: blob}, digest, d.Size), blob, nil
}

// Fetch returns a blob of at most limit bytes, checked.
func Fetch(ctx context.Context, src Source, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("blob %.80q: %d bytes, the limit is %d", d.Digest, d.Size, limit)
	}
	r, closer, err := open(ctx, src, d)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	var buf bytes.Buffer
	_, err = buf.ReadFrom(r)
	return buf.Bytes(), err
}
