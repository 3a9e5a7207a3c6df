package rootfs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erofs/go-erofs"

	"github.com/clearrun/clearrun/image/acitest"
)

// TestSparse packs files with holes in each of GNU tar's formats. Their data must come out
// as it went in, and the holes take no room.
func TestSparse(t *testing.T) {
	const mib = 1 << 20
	dir := t.TempDir()
	write := func(name string, size int64, data map[int64]string) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for at, text := range data {
			if _, err := f.WriteAt([]byte(text), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	write("a-dense", 100_000, map[int64]string{0: strings.Repeat("d", 100_000)})
	write("b-hole-first", 8*mib, map[int64]string{5*mib + 1: "in the middle"})
	write("c-hole-last", 8*mib+3, map[int64]string{0: "at the start"})
	write("d-hole-only", 64*mib, nil)
	write("e-small", 3000, map[int64]string{2999: "x"})
	many := make(map[int64]string)
	for i := range int64(60) { // more than one header's worth of pieces
		many[i*256<<10] = fmt.Sprint("piece ", i)
	}
	write("f-many", 20*mib, many)
	write("g-dense", 5000, map[int64]string{0: strings.Repeat("g", 5000)})
	for name, args := range map[string][]string{
		"not sparse": {"--format=gnu"},
		"old":        {"-S", "--format=gnu"},
		"0.0":        {"-S", "--format=pax", "--sparse-version=0.0"},
		"0.1":        {"-S", "--format=pax", "--sparse-version=0.1"},
		"1.0":        {"-S", "--format=pax", "--sparse-version=1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			archive, err := exec.Command("tar", append(args, "-c", "-C", dir, ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			f, info := render(t, layered(t, archive))
			if info.Size > 12*mib {
				t.Errorf("%d bytes: the holes are kept", info.Size)
			}
			fsck(t, f, info)
			image, err := erofs.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			sameFiles(t, image, os.DirFS(dir))
			if os.Geteuid() == 0 {
				want := describe(t, dir)
				got := mounted(t, f.Name())
				for name := range want {
					// Only 1.0 and the like keep the parts of a second.
					if shape(got[name]) != shape(want[name]) {
						t.Errorf("%s: got %s, want %s", name, got[name], want[name])
					}
				}
			}
		})
	}
}

// shape leaves the time out of a description.
func shape(line string) string {
	before, rest, _ := strings.Cut(line, " mtime ")
	_, after, _ := strings.Cut(rest, " ")
	return before + after
}

// sameFiles compares the content of regular files.
func sameFiles(t *testing.T, got, want fs.FS) {
	t.Helper()
	err := fs.WalkDir(want, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		a, err := fs.ReadFile(want, p)
		if err != nil {
			return err
		}
		b, err := fs.ReadFile(got, p)
		if err != nil {
			return err
		}
		if string(a) != string(b) {
			t.Errorf("%s: %d bytes, want %d, and the same ones", p, len(b), len(a))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBigFolder has more names than fit one, or a hundred, blocks.
func TestBigFolder(t *testing.T) {
	entries := []acitest.Entry{acitest.Dir("."), acitest.Dir("big")}
	for i := range 10_000 {
		entries = append(entries, acitest.File(fmt.Sprintf("big/%x-%s", i*2654435761%65536, strings.Repeat("n", i%200)), fmt.Sprint(i)))
	}
	archive := acitest.Tar(t, entries...)
	f, _ := render(t, layered(t, archive))
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	got := mounted(t, f.Name())
	if len(got) != 10_002 {
		t.Errorf("%d files", len(got))
	}
	same(t, got, untarIn(t, archive, "."))
}
