package store_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/clearrun/clearrun/image"
)

var noLimits image.Limits

func tinyDigest(n int) image.Digest { return sum(fmt.Sprint("image ", n)) }
func tinySource(n int) image.Digest { return sum(fmt.Sprint("source ", n)) }

func sum(text string) image.Digest {
	hash := sha256.Sum256([]byte(text))
	d, err := image.NewDigest(image.SHA256, hash[:])
	if err != nil {
		panic(err)
	}
	return d
}

// tinyImage is the nth of some small images. It needs no testing.T.
func tinyImage(n int) (*image.Image, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	data := bytes.Repeat([]byte{byte('a' + n)}, 30_000)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644, Size: int64(len(data))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := image.NewLayer(sum("layer"), "", bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		return nil, err
	}
	return image.New(image.Meta{Digest: tinyDigest(n), Name: "example.com/tiny"}, []image.Layer{layer}, nil)
}
