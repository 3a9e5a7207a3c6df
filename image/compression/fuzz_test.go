package compression_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/compression"
)

// read unpacks data to its end.
func read(data []byte, limits image.Limits) ([]byte, error) {
	r, err := compression.NewReader(bytes.NewReader(data), limits)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	return plain, errors.Join(err, r.Finish())
}

func TestEmptyTar(t *testing.T) {
	empty := acitest.Tar(t)
	for _, data := range [][]byte{empty, acitest.Compress(t, "gzip", empty), acitest.Compress(t, "zstd", empty)} {
		if plain, err := read(data, image.DefaultLimits()); err != nil || !bytes.Equal(plain, empty) {
			t.Errorf("got %d bytes, %v", len(plain), err)
		}
	}
	if _, err := read([]byte("hello"), image.DefaultLimits()); err == nil || !strings.Contains(err.Error(), "neither a tar") {
		t.Errorf("text: %v", err)
	}
}

// TestZstdWindow has a frame that asks for 3.75 TiB of window (RFC 8878, 3.1.1.1.2).
func TestZstdWindow(t *testing.T) {
	frame := []byte("\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00")
	if _, err := read(frame, image.DefaultLimits()); err == nil {
		t.Error("accepted")
	}
}

// FuzzReader asks that limits hold, and that nothing is read in part.
func FuzzReader(f *testing.F) {
	plain := acitest.Tar(f, acitest.File("a", strings.Repeat("x", 1000)))
	f.Add(plain)
	for _, program := range []string{"gzip", "bzip2", "xz", "zstd"} {
		f.Add(acitest.Compress(f, program, plain))
	}
	limits := image.Limits{Bytes: 1 << 20, Entries: 1, Ratio: 100, Manifest: 1}
	f.Fuzz(func(t *testing.T, data []byte) {
		if plain, err := read(data, limits); err == nil && int64(len(plain)) > limits.Bytes {
			t.Errorf("%d bytes came out", len(plain))
		}
	})
}
