package rootfs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/clearrun/clearrun/image/rootfs"
)

// TestFSVerityDigest compares with what `fsverity digest` of fsverity-utils 1.5 says.
func TestFSVerityDigest(t *testing.T) {
	for _, tt := range []struct {
		blocks int
		want   string
	}{
		{1, "babc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e"},
		{128, "83bf9de3dc3a98a93ed104771e63bd546a8e648fc1969d482832b4a7f2bdbd74"},
		{129, "5b740a207b75a02ca0115193cc303181c801021472c919bd68986ce366c0f118"},
		{20000, "4b1c3af29282328539c8065e941c499b293fe674dac814dacf7f88065c89acd2"},
	} {
		data := numbered(tt.blocks)
		got, err := rootfs.FSVerityDigest(bytes.NewReader(data), uint64(len(data)))
		if err != nil || got.String() != tt.want {
			t.Errorf("%d blocks: %s, %v, want %s", tt.blocks, got, err, tt.want)
		}
	}
	for _, size := range []uint64{0, 4095} {
		if _, err := rootfs.FSVerityDigest(bytes.NewReader(numbered(1)), size); err == nil {
			t.Errorf("%d bytes were accepted", size)
		}
	}
	if _, err := rootfs.FSVerityDigest(bytes.NewReader(numbered(1)), 2*rootfs.BlockSize); err == nil {
		t.Error("a file that is too short was accepted")
	}
}

// numbered gives blocks that differ.
func numbered(blocks int) []byte {
	data := make([]byte, blocks*rootfs.BlockSize)
	for n := range blocks {
		data[n*rootfs.BlockSize], data[n*rootfs.BlockSize+1] = byte(n), byte(n>>8)
	}
	return data
}

// TestFSVerity compares with the kernel, where the folder for temporary files lies on a file
// system with fs-verity. It runs in test/debianhost, too, where it does.
func TestFSVerity(t *testing.T) {
	for _, blocks := range []int{1, 128, 129, 300} {
		path := filepath.Join(t.TempDir(), "file")
		data := numbered(blocks)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := rootfs.MeasureFSVerity(f); !errors.Is(err, rootfs.ErrNoFSVerity) {
			t.Fatalf("before: %v", err)
		}
		if err := rootfs.EnableFSVerity(f); err != nil {
			t.Skipf("%v", err)
		}
		want, err := rootfs.FSVerityDigest(f, uint64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := rootfs.MeasureFSVerity(f); err != nil || got != want {
			t.Errorf("%d blocks: the kernel says %s (%v), want %s", blocks, got, err, want)
		}
		if err := os.WriteFile(path, data, 0o600); err == nil {
			t.Error("the file can be written")
		}
	}
}
