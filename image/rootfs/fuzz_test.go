package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/erofs/go-erofs"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/spool"
)

// FuzzRender renders two layers. What renders must do so again to the same bytes, within
// the limits, and another reader of EROFS must find each file in it.
func FuzzRender(f *testing.F) {
	for _, tc := range scenarios {
		data := archives(f, tc.layers)
		f.Add(data[0], data[len(data)-1])
	}
	f.Add(acitest.Tar(f, acitest.Dir("d"), entry{Header: tar.Header{
		Typeflag: tar.TypeReg, Name: "x", Mode: 0o4755, Uid: 1 << 20, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.system.posix_acl_access": "c", "SCHILY.xattr.other": "d"},
	}}), acitest.Tar(f, entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "c", Devmajor: 1, Devminor: 300}}))
	f.Add(sparseTar("hole"), []byte{})
	limits := image.Limits{Bytes: 4 << 20, Entries: 200, Depth: 10, Ratio: 1, Manifest: 1}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		img := layered(t, lower, upper)
		data, info, err := fuzzRender(t, img, limits)
		if err != nil {
			return
		}
		again, _, err := fuzzRender(t, img, limits)
		if err != nil || !bytes.Equal(data, again) {
			t.Fatalf("rendered again: other bytes, or %v", err)
		}
		if err := rootfs.VerifyTree(bytes.NewReader(data), info); err != nil {
			t.Error(err)
		}
		fsys, err := erofs.Open(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		checkRendered(t, fsys, limits)
	})
}

// sparseTar is a file of 100,003 bytes, of which the archive holds the last three, in GNU
// tar's old format. Package archive/tar does not write it.
func sparseTar(name string) []byte {
	h := make([]byte, 2048)
	put := func(at int, text string) { copy(h[at:], text) }
	put(0, name)
	put(100, "0000644\x000000000\x000000000\x0000000000003\x0000000000000\x00        S")
	put(257, "ustar  \x00")
	put(386, "00000303240\x0000000000003\x00") // one piece: offset 100,000, 3 bytes
	put(483, "00000303243\x00")                // the size
	sum := 0
	for _, b := range h[:512] {
		sum += int(b)
	}
	put(148, fmt.Sprintf("%06o\x00 ", sum))
	put(512, "end")
	return h
}

func fuzzRender(t *testing.T, img *image.Image, limits image.Limits) ([]byte, rootfs.Info, error) {
	w, err := spool.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	info, err := rootfs.Render(context.Background(), img, limits, w)
	if err != nil {
		return nil, info, err
	}
	return readAll(t, w), info, nil
}

// checkRendered reads every file and counts its names.
func checkRendered(t *testing.T, fsys fs.FS, limits image.Limits) {
	names := make(map[int64]int)
	links := make(map[int64]int)
	var size int64
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*erofs.Stat)
		if !d.IsDir() {
			names[stat.Ino]++
			links[stat.Ino] = stat.Nlink
		}
		if strings.HasPrefix(d.Name(), ".wh.") {
			t.Errorf("%q is left", p)
		}
		if d.Type().IsRegular() && names[stat.Ino] == 1 {
			data, err := fs.ReadFile(fsys, p)
			if err != nil {
				return err
			}
			size += int64(len(data))
			if int64(len(data)) != info.Size() {
				t.Errorf("%q: %d bytes of %d", p, len(data), info.Size())
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for ino, n := range names {
		if links[ino] != n {
			t.Errorf("inode %d: %d links, %d names", ino, links[ino], n)
		}
	}
	if len(names) > limits.Entries || size > limits.Bytes {
		t.Errorf("%d files of %d bytes", len(names), size)
	}
}

// TestSparseSeed makes sure that the seed is what it is meant to be.
func TestSparseSeed(t *testing.T) {
	f, _ := render(t, layered(t, sparseTar("hole")))
	if got := summarize(t, f)["hole"].text; got != ":"+strings.Repeat("\x00", 100_000)+"end" {
		t.Errorf("%d bytes: %.20q", len(got)-1, got)
	}
}

// TestSparseACI has the same in an ACI.
func TestSparseACI(t *testing.T) {
	archive := acitest.Tar(t, acitest.Manifest("a", ""), dir("rootfs"))
	archive = append(archive[:len(archive)-1024], sparseTar("rootfs/hole")...)
	f, _ := render(t, open(t, archive))
	if got := summarize(t, f)["hole"].text; len(got) != 1+100_003 || !strings.HasSuffix(got, "\x00end") {
		t.Errorf("%d bytes: %.20q", len(got)-1, got)
	}
}

// TestLimits has layers that would take more than they look like.
func TestLimits(t *testing.T) {
	var deep, implied []entry
	deep = append(deep, file(strings.Repeat("d/", 30)+"x", ""))
	for i := range 20 {
		implied = append(implied, file(strings.Repeat(string(rune('a'+i))+"/", 8)+"x", ""))
	}
	long := acitest.Link(tar.TypeSymlink, "l", strings.Repeat("t", 4000))
	var links []entry
	for i := range 20 {
		long.Name = strings.Repeat("l", i+1)
		links = append(links, long)
	}
	big := file("big", strings.Repeat("b", 5000))
	limits := image.Limits{Bytes: 9000, Entries: 100, Depth: 20, Ratio: 1, Manifest: 1}
	for name, tc := range map[string]struct {
		layers [][]entry
		want   string
	}{
		"depth":            {[][]entry{deep}, "deeper than 20 (--max-image-depth"},
		"implied folders":  {[][]entry{implied}, "more files than the limit allows (--max-image-files"},
		"symlink targets":  {[][]entry{links}, "symlink targets"},
		"bytes in layers":  {[][]entry{{big}, {big}}, "larger than the limit allows (--max-image-size"},
		"within the limit": {[][]entry{{big}}, ""},
	} {
		f, err := os.Create(t.TempDir() + "/out")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = rootfs.Render(context.Background(), layered(t, archives(t, tc.layers)...), limits, f)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
