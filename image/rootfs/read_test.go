package rootfs_test

import (
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/erofs/go-erofs"
)

// summarized is a file as another reader of EROFS than the kernel sees it.
type summarized struct {
	text   string   // of its kind and content
	others []string // further names of it, in order
	first  string   // set for those further names
}

// summarize reads all of an image with go-erofs, which anybody may do without mounts.
func summarize(t testing.TB, f io.ReaderAt) map[string]summarized {
	t.Helper()
	fsys, err := erofs.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]summarized)
	first := make(map[int64]string)
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*erofs.Stat)
		if !ok {
			return fmt.Errorf("%s: no stat", p)
		}
		if name, seen := first[stat.Ino]; seen && !d.IsDir() {
			known := files[name]
			known.others = append(known.others, p)
			files[name] = known
			files[p] = summarized{first: name}
			return nil
		}
		first[stat.Ino] = p
		var s summarized
		if s.text, err = content(fsys, p, d); err != nil {
			return err
		}
		files[p] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func content(fsys fs.FS, p string, d fs.DirEntry) (string, error) {
	switch d.Type() {
	case fs.ModeDir:
		return "/", nil
	case fs.ModeSymlink:
		return ">", nil
	case 0:
		data, err := fs.ReadFile(fsys, p)
		return ":" + string(data), err
	}
	return "?", nil
}
