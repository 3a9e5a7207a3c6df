package block

import (
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/go-dmverity/pkg/verity"
)

// image is a file of data and hash tree that go-dmverity made.
type image struct {
	path   string
	data   []byte
	verity Verity
	total  int64 // bytes with the tree
}

// newImage makes random data of that many blocks and its tree.
func newImage(t testing.TB, blocks uint64, salt []byte) *image {
	t.Helper()
	im := &image{path: filepath.Join(t.TempDir(), "image"), data: make([]byte, blocks*blockSize)}
	rnd := rand.NewChaCha8([32]byte{byte(blocks)})
	if _, err := rnd.Read(im.data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(im.path, im.data, 0o600); err != nil {
		t.Fatal(err)
	}
	params := verity.DefaultParams()
	params.DataBlockSize, params.HashBlockSize = blockSize, blockSize
	params.DataBlocks, params.HashAreaOffset = blocks, blocks*blockSize
	params.Salt, params.SaltSize, params.NoSuperblock = salt, uint16(len(salt)), true
	root, err := verity.Create(&params, im.path, im.path)
	if err != nil {
		t.Fatal(err)
	}
	im.verity = Verity{RootHash: [sha256.Size]byte(root), Salt: salt, DataBlocks: blocks, HashOffset: blocks * blockSize}
	st, err := os.Stat(im.path)
	if err != nil {
		t.Fatal(err)
	}
	im.total = st.Size()
	return im
}

// open gives the file for reading and writing.
func (im *image) open(t testing.TB) *os.File {
	t.Helper()
	f, err := os.OpenFile(im.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// flip inverts one bit of the byte at offset, and returns what undoes it.
func flip(t testing.TB, f *os.File, offset int64) func() {
	t.Helper()
	invert := func() {
		var b [1]byte
		if _, err := f.ReadAt(b[:], offset); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x10
		if _, err := f.WriteAt(b[:], offset); err != nil {
			t.Fatal(err)
		}
	}
	invert()
	return invert
}
