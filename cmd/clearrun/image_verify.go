package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/vmrun"
)

// imageVerify is `clearrun image verify`.
func imageVerify(args []string, g globals, io stdio) (int, error) {
	c := newStoreCommand("verify [--json] [IMAGE...]",
		"Read and hash images to their last block, without IMAGE the whole store, and name what is not as it was written.\n"+
			"Exit code 1: there is something.\n"+storedHelp, g, io)
	c.jsonFlag()
	return c.run(args, 0, anyNumber, func(ctx context.Context, s *store.Store) (int, error) {
		var want func(image.Digest) bool
		if c.flags.NArg() > 0 {
			items, err := c.find(s)
			if err != nil {
				return vmrun.ExitFailure, err
			}
			want = func(d image.Digest) bool {
				return slices.ContainsFunc(items, func(item store.Item) bool { return item.Digest == d })
			}
		}
		v, err := s.Verify(ctx, want, func(d image.Digest) {
			if isTerminal(io.err) {
				fmt.Fprintln(io.err, "clearrun: verifying", d.Short())
			}
		})
		if err != nil {
			return vmrun.ExitFailure, err
		}
		return c.verdict(v)
	})
}

// verdict prints what a verification has found.
func (c *storeCommand) verdict(v store.Verified) (int, error) {
	code := 0
	if len(v.Problems) > 0 {
		code = exitRefused
	}
	if c.asJSON {
		return code, printJSON(c.io.out, v)
	}
	for _, p := range v.Problems {
		fmt.Fprintf(c.io.out, "%s: %s\n", p.File, p.Text)
	}
	fmt.Fprintf(c.io.out, "%d images, %s: %d problems\n", v.Images, image.AboutSize(v.Bytes), len(v.Problems))
	return code, nil
}

// imageExport is `clearrun image export`.
func imageExport(args []string, g globals, io stdio) (int, error) {
	c := newStoreCommand("export [--output FILE] IMAGE",
		"Write an image's root file system as a tar (pax), to standard output or a file. Each block is verified.\n"+storedHelp, g, io)
	output := c.flags.StringP("output", "o", "", "write to this file")
	return c.run(args, 1, 1, func(ctx context.Context, s *store.Store) (int, error) {
		if *output == "" && isTerminal(io.out) {
			return vmrun.ExitFailure, errors.New("a tar is nothing for a terminal: name a file with --output, or redirect")
		}
		item, err := c.findOne(s, c.flags.Arg(0))
		if err != nil {
			return vmrun.ExitFailure, err
		}
		e, err := s.Get(item.Digest)
		if err != nil {
			return vmrun.ExitFailure, err
		}
		defer e.Close()
		if *output == "" {
			err = exportTo(ctx, e, io.out)
		} else {
			err = exportFile(ctx, e, *output)
		}
		if err != nil {
			return vmrun.ExitFailure, err
		}
		return 0, nil
	})
}

// exportBuffer gathers the small writes of the tar.
const exportBuffer = 1 << 20

func exportTo(ctx context.Context, e *store.Entry, w *os.File) error {
	out := bufio.NewWriterSize(w, exportBuffer)
	return errors.Join(rootfs.Export(ctx, e.File(), e.Info, out), out.Flush())
}

// exportFile leaves a whole file or none.
func exportFile(ctx context.Context, e *store.Entry, path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".clearrun-export-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // in vain once it is renamed
	err = errors.Join(exportTo(ctx, e, tmp), tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
