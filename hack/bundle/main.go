// Command bundle puts the guest kernel, the initramfs, its init and the monitor behind
// the clearrun executable. It is a step of `make build`.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/vmrun/bundle"
)

func main() {
	exe := pflag.String("exe", "", "the bare clearrun executable")
	kernel := pflag.String("kernel", "", "uncompressed vmlinux")
	initramfs := pflag.String("initramfs", "", "cpio archive with the guest's init")
	monitor := pflag.String("monitor", "", "the clearrun-monitor executable")
	initProgram := pflag.String("init", "", "the init in it, which is also that of containers")
	out := pflag.StringP("output", "o", "", "where to write the result")
	pflag.Parse()
	if err := run(*exe, *out, []bundle.File{
		{Name: bundle.Kernel, Path: *kernel},
		{Name: bundle.Initramfs, Path: *initramfs},
		{Name: bundle.Monitor, Path: *monitor},
		{Name: bundle.Init, Path: *initProgram},
	}); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

// run writes beside out and renames, so that a running clearrun keeps its file.
func run(exe, out string, files []bundle.File) (err error) {
	tmp := out + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if err := bundle.Write(f, exe, files); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}
