package rootfs_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
)

// unpack unpacks an image into a new folder.
func unpack(t *testing.T, image []byte, info rootfs.Info, ids uint32) (dir string, err error) {
	t.Helper()
	root, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return root.Name(), rootfs.Unpack(context.Background(), bytes.NewReader(image), info, root, rootfs.Unpacking{IDs: ids})
}

// device matches what describe says of a device node.
var device = regexp.MustCompile(`^mode [26]\d{4} `)

var owner = regexp.MustCompile(` owner \d+:\d+ `)

// TestUnpack compares with the mounted image, but for devices.
func TestUnpack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, mounts")
	}
	f, info := render(t, layered(t, everythingLayered(t)...))
	want := mounted(t, f.Name())
	devices := 0
	for name, line := range want {
		if device.MatchString(line) {
			devices++
			delete(want, name)
		}
	}
	if devices == 0 {
		t.Error("the image has no devices to leave out")
	}
	for _, ids := range []uint32{math.MaxUint32, 1} {
		dir, err := unpack(t, readAll(t, f), info, ids)
		if err != nil {
			t.Fatal(err)
		}
		got := describe(t, dir)
		if ids == 1 {
			for name := range want {
				want[name] = owner.ReplaceAllString(want[name], " owner 0:0 ")
			}
		}
		same(t, got, want)
	}
	if _, err := unpack(t, readAll(t, f), info, 5); err == nil || !strings.Contains(err.Error(), "IDs below 5 alone") {
		t.Errorf("an owner beyond the IDs: %v", err)
	}
}

// TestUnpackLeavesHoles unpacks a file that is nearly all hole.
func TestUnpackLeavesHoles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners")
	}
	content := strings.Repeat("\x00", 3<<20) + "in the middle" + strings.Repeat("\x00", 2<<20+5)
	f, info := render(t, layered(t, acitest.Tar(t, file("sparse", content), file("tail", "x"+strings.Repeat("\x00", 9000)))))
	dir, err := unpack(t, readAll(t, f), info, 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "sparse"))
	if err != nil || string(got) != content {
		t.Errorf("%d bytes, want %d: %v", len(got), len(content), err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "sparse"), &st); err != nil || st.Blocks*512 > 64<<10 {
		t.Errorf("%d bytes on disk, %v", st.Blocks*512, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "tail")); err != nil || len(data) != 9001 || data[0] != 'x' {
		t.Errorf("%d bytes: %v", len(data), err)
	}
}

// TestUnpackFindsChanges changes each block of the data once: none may come out changed.
func TestUnpackFindsChanges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners")
	}
	f, info := render(t, layered(t, acitest.Tar(t, file("x", strings.Repeat("text", 30_000)))))
	good := readAll(t, f)
	dir, err := unpack(t, good, info, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := describe(t, dir)
	for at := uint64(100); at < info.Size; at += rootfs.BlockSize {
		bad := slices.Clone(good)
		bad[at] ^= 1
		if dir, err := unpack(t, bad, info, 1); err == nil { // a block that nobody needs
			same(t, describe(t, dir), want)
		} else if !strings.Contains(err.Error(), "was changed") {
			t.Errorf("a change at %d: %v", at, err)
		}
	}
}
