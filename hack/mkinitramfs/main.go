// Command mkinitramfs packs guest/init into the initramfs of clearrun's VM: an
// uncompressed newc cpio archive (the kernel's buffer-format.rst) of that one
// program, the directories it mounts on and the two device nodes that must be
// there before it runs. The same program gives the same bytes, anywhere.
//
//	go run ./hack/mkinitramfs -init path -o out.cpio
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

func main() {
	initPath := flag.String("init", "", "the program to become /init")
	outPath := flag.String("o", "", "the archive to write")
	flag.Parse()
	if *initPath == "" || *outPath == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*initPath, *outPath); err != nil {
		fmt.Fprintln(os.Stderr, "mkinitramfs:", err)
		os.Exit(1)
	}
}

// run packs the program at initPath and writes the archive to outPath.
func run(initPath, outPath string) error {
	program, err := os.ReadFile(initPath)
	if err != nil {
		return err
	}
	archive, err := pack(program)
	if err != nil {
		return fmt.Errorf("pack %s: %w", initPath, err)
	}
	return os.WriteFile(outPath, archive, 0o644)
}

// Sizes of the newc format and the guest's page.
const (
	headerSize = 110
	pageSize   = 4096
)

// alignedName makes a name longer by zeros, which end a name, so that the content of
// a record that starts at offset begins on a page: the guest's kernel then uses
// the pages as they are instead of copying them. The format pads the name itself to 4 bytes.
func alignedName(name string, offset int) string {
	content := offset + headerSize + len(name) + 1
	return name + strings.Repeat("\x00", (pageSize-content%pageSize)%pageSize)
}

// pack returns the archive. Its records are in this order, with inode numbers, owners and
// times of zero.
func pack(program []byte) ([]byte, error) {
	records := []cpio.Record{
		cpio.Directory("dev", 0o755),
		// The kernel opens the console as PID 1's first descriptors; Go's runtime
		// opens /dev/null for those that are missing, and dies without it.
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.CharDev("dev/port", 0o600, 1, 4), // for the start-up stop-watch
		// Mount points of guest/init.
		cpio.Directory("image", 0o755),
		cpio.Directory("overlay", 0o755),
		cpio.Directory("root", 0o755),
	}
	var out bytes.Buffer
	w := cpio.Newc.Writer(&out)
	if err := cpio.WriteRecords(w, records); err != nil {
		return nil, err
	}
	name := alignedName("init", out.Len())
	if err := w.WriteRecord(cpio.StaticFile(name, string(program), 0o755)); err != nil {
		return nil, err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
