package rootfs

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/erofs/go-erofs"
)

// openFiles gives the files of the root file system in f, each block verified before it is used.
func openFiles(f io.ReaderAt, info Info) (fs.FS, error) {
	r, err := NewReader(f, info)
	if err != nil {
		return nil, err
	}
	return erofs.Open(r)
}

// statOf is what the image says of one of them, which a walk has come to at p.
func statOf(p string, d fs.DirEntry) (*erofs.Stat, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*erofs.Stat)
	if !ok {
		return nil, fmt.Errorf("%q: nothing is known of it", p)
	}
	return stat, nil
}
