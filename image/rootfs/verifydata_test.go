package rootfs_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
)

// TestVerifyData renders images of one block, some, and more than one level of the
// tree holds, and changes one bit of the data.
func TestVerifyData(t *testing.T) {
	for _, size := range []int{1, 5 << 10, 3 << 20} {
		f, info := render(t, open(t, acitest.Tar(t, acitest.Manifest("example.com/a", ""), acitest.Dir("rootfs"),
			acitest.File("rootfs/data", strings.Repeat("x", size)))))
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := rootfs.VerifyData(bytes.NewReader(data), info); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		for _, at := range []uint64{0, info.HashOffset / 2, info.HashOffset - 1} {
			data[at] ^= 1
			if err := rootfs.VerifyData(bytes.NewReader(data), info); err == nil || !strings.Contains(err.Error(), "was changed") {
				t.Errorf("%d bytes, changed at %d: %v", size, at, err)
			}
			data[at] ^= 1
		}
		if err := rootfs.VerifyData(bytes.NewReader(data[:info.HashOffset-1]), info); err == nil {
			t.Errorf("%d bytes: a file that is too short was accepted", size)
		}
	}
}
