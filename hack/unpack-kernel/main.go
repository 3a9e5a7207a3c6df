// Command unpack-kernel unpacks the guest kernel that is kept in the repository,
// if it is the one that its provenance file describes. It is a step of `make
// build`; it compiles nothing, which hack/kernel-build.sh does.
//
//	go run ./hack/unpack-kernel -o build/vmlinux
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	dir := flag.String("dir", "guest/kernel-config", "folder of the kept kernel")
	out := flag.String("o", "", "where to write vmlinux")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*dir, *out); err != nil {
		fmt.Fprintln(os.Stderr, "unpack-kernel:", err)
		os.Exit(1)
	}
}

// run writes beside out and renames: a broken kernel is never left there.
func run(dir, out string) error {
	p, err := readProvenance(dir)
	if err != nil {
		return err
	}
	kernel, err := p.unpack(dir)
	if err != nil {
		return err
	}
	tmp := out + ".tmp"
	if err := os.WriteFile(tmp, kernel, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}
