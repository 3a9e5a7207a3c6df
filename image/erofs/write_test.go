package erofs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	reader "github.com/erofs/go-erofs"

	"github.com/clearrun/clearrun/image/erofs"
)

// text is content that can be read at random.
type text string

func (s text) Size() int64              { return int64(len(s)) }
func (s text) Open() (io.Reader, error) { return strings.NewReader(string(s)), nil }
func (s text) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(string(s)).ReadAt(p, off)
}

// short promises more than it has.
type short struct{ text }

func (s short) Size() int64 { return int64(len(s.text)) + 10_000 }

func regular(data erofs.Content) *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFREG | 0o644, Data: data}
}

func folder(children map[string]*erofs.Inode) *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFDIR | 0o755, Children: children}
}

func write(t *testing.T, root *erofs.Inode) ([]byte, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blocks, err := erofs.Write(context.Background(), root, f)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != int(blocks)*erofs.BlockSize {
		t.Errorf("%d bytes in %d blocks", len(data), blocks)
	}
	return data, nil
}

// TestSizes writes files of all sizes around the borders of blocks and chunks, with
// zeros at each end, and reads them back.
func TestSizes(t *testing.T) {
	const chunk = 64 << 10
	files := make(map[string]*erofs.Inode)
	want := make(map[string]string)
	for _, size := range []int{
		0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8192 + 4032, 8192 + 4033,
		chunk - 1, chunk, chunk + 1, 3 * chunk, 3*chunk + 1, 5*chunk + 4096,
	} {
		for name, zeros := range map[string][2]int{"none": {}, "front": {chunk, 0}, "back": {0, chunk}, "all": {size, 0}} {
			data := bytes.Repeat([]byte("x"), size)
			clear(data[:min(size, zeros[0])])
			clear(data[size-min(size, zeros[1]):])
			name += strings.Repeat("-", len(files))
			files[name], want[name] = regular(text(data)), string(data)
		}
	}
	data, err := write(t, folder(files))
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := reader.Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		f, err := fsys.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != want[name] {
			t.Errorf("%s, %d bytes: %d bytes, %v, or other ones", name, len(want[name]), len(got), err)
		}
		f.Close()
	}
}

func TestRefuse(t *testing.T) {
	loop := folder(map[string]*erofs.Inode{})
	loop.Children["loop"] = loop
	twice := folder(nil)
	for name, root := range map[string]*erofs.Inode{
		"no folder":          regular(nil),
		"folder in itself":   loop,
		"folder with two":    folder(map[string]*erofs.Inode{"a": twice, "b": twice}),
		"name with a slash":  folder(map[string]*erofs.Inode{"a/b": regular(nil)}),
		"name with a NUL":    folder(map[string]*erofs.Inode{"a\x00b": regular(nil)}),
		"dot":                folder(map[string]*erofs.Inode{".": regular(nil)}),
		"no name":            folder(map[string]*erofs.Inode{"": regular(nil)}),
		"long name":          folder(map[string]*erofs.Inode{strings.Repeat("n", 256): regular(nil)}),
		"no type":            folder(map[string]*erofs.Inode{"a": {Mode: 0o644}}),
		"mode":               folder(map[string]*erofs.Inode{"a": {Mode: 1<<16 | unix.S_IFREG}}),
		"nanoseconds":        folder(map[string]*erofs.Inode{"a": {Mode: unix.S_IFREG, MtimeNs: 1e9}}),
		"symlink to nothing": folder(map[string]*erofs.Inode{"a": {Mode: unix.S_IFLNK}}),
		"long symlink":       folder(map[string]*erofs.Inode{"a": {Mode: unix.S_IFLNK, Target: strings.Repeat("t", 4096)}}),
		"FIFO with data":     folder(map[string]*erofs.Inode{"a": {Mode: unix.S_IFIFO, Data: text("x")}}),
		"file with files":    folder(map[string]*erofs.Inode{"a": {Mode: unix.S_IFREG, Children: folder(nil).Children, Data: short{"x"}}}),
		"short data":         folder(map[string]*erofs.Inode{"a": regular(short{"x"})}),
	} {
		if _, err := write(t, root); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, attrs := range map[string]map[string]string{
		"namespace":     {"system.other": ""},
		"no name":       {"user.": ""},
		"an ACL's kind": {"system.posix_acl_access.x": ""},
		"long name":     {"user." + strings.Repeat("n", 251): ""},
		"NUL":           {"user.a\x00b": ""},
		"long value":    {"user.a": strings.Repeat("v", 65536)},
		"all of them":   {"user.a": strings.Repeat("v", 65535), "user.b": strings.Repeat("v", 65535)},
	} {
		if _, err := erofs.EncodeXattrs(attrs); err == nil {
			t.Errorf("attributes, %s: accepted", name)
		}
	}
	for _, numbers := range [][2]int64{{-1, 0}, {4096, 0}, {0, -1}, {0, 1 << 20}} {
		if _, err := erofs.DeviceNumber(numbers[0], numbers[1]); err == nil {
			t.Errorf("device %v: accepted", numbers)
		}
	}
}

// TestCancel ends in the middle of a file.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root := folder(map[string]*erofs.Inode{"a": regular(text(strings.Repeat("a", 10_000)))})
	if _, err := erofs.Write(ctx, root, f); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
