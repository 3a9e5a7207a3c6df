package rootfs_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
)

// TestExport unpacks with GNU tar what was exported, and compares with the mounted image.
func TestExport(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, devices, mounts")
	}
	f, info := render(t, layered(t, everythingLayered(t)...))
	var out bytes.Buffer
	if err := rootfs.Export(context.Background(), f, info, &out); err != nil {
		t.Fatal(err)
	}
	same(t, untarIn(t, out.Bytes(), "."), mounted(t, f.Name()))
	// What was exported renders to the same image, bit for bit.
	if _, again := render(t, layered(t, out.Bytes())); again.RootHash != info.RootHash {
		t.Errorf("root hash %s; rendered from the export, %s", info.RootHash, again.RootHash)
	}
}

// TestReaderFindsChanges changes each block once, of data or of hashes.
func TestReaderFindsChanges(t *testing.T) {
	f, info := render(t, layered(t, acitest.Tar(t, file("x", strings.Repeat("text", 300_000)))))
	good := readAll(t, f)
	faults := func(data []byte) (list []string) {
		if err := rootfs.Verify(context.Background(), bytes.NewReader(data), info, func(err error) { list = append(list, err.Error()) }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := faults(good); len(list) > 0 {
		t.Errorf("nothing was changed, but %v", list)
	}
	for at := uint64(100); at < info.Size; at += rootfs.BlockSize {
		bad := slices.Clone(good)
		bad[at] ^= 1
		want := "hash tree block at"
		if at < info.HashOffset {
			want = "block of the file system was changed"
		}
		list := faults(bad)
		if len(list) == 0 || at < info.HashOffset && len(list) != 1 || !strings.Contains(strings.ReplaceAll(list[0], strconv.FormatUint(at/rootfs.BlockSize, 10)+" ", ""), want) {
			t.Errorf("a change at %d: %.300q", at, list)
		}
		if at >= info.HashOffset {
			continue
		}
		r, err := rootfs.NewReader(bytes.NewReader(bad), info)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size())); err == nil {
			t.Errorf("a change at %d was read", at)
		}
		if err := rootfs.Export(context.Background(), bytes.NewReader(bad), info, io.Discard); err == nil && at > rootfs.BlockSize {
			t.Errorf("a change at %d was exported", at)
		}
	}
}
