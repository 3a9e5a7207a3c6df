package rootfs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
)

// BenchmarkRender renders 100 MB in 2500 files of very different sizes.
func BenchmarkRender(b *testing.B) {
	random := rand.NewChaCha8([32]byte{})
	entries := []acitest.Entry{acitest.Dir(".")}
	for i := range 2500 {
		data := make([]byte, []int{100, 3000, 20_000, 170_000}[i%4]*(i%7+1)/5)
		if _, err := random.Read(data); err != nil {
			b.Fatal(err)
		}
		entries = append(entries, acitest.File(fmt.Sprintf("d%d/f%d", i%50, i), string(data)))
	}
	archive := acitest.Tar(b, entries...)
	img := layered(b, archive)
	f, err := os.Create(filepath.Join(b.TempDir(), "root.img"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		if err := f.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			b.Fatal(err)
		}
		if _, err := rootfs.Render(b.Context(), img, image.Limits{}, f); err != nil {
			b.Fatal(err)
		}
	}
}
