package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha512"
	"debug/elf"
	"encoding/binary"
	"errors"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/spool"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun"
)

// builtinApp is what `clearrun boot --until app` runs: a program that exits at once, in a
// root of its own that was never an image. It is clearrun's, as PID 1 is: there is nothing
// to verify.
func builtinApp() (*vmrun.BootApp, error) {
	img, err := builtinImage()
	if err != nil {
		return nil, err
	}
	defer img.Close()
	file, err := spool.New("")
	if err != nil {
		return nil, err
	}
	info, err := rootfs.Render(context.Background(), img, image.DefaultLimits(), file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &vmrun.BootApp{
		Root: file, Command: []string{"/" + appFile},
		Disk: launch.Disk{
			Size: info.DataBlocks * rootfs.BlockSize, DataBlocks: info.DataBlocks,
			HashOffset: info.HashOffset, RootHash: info.RootHash[:], Salt: info.Salt,
		},
	}, nil
}

const appFile = "true"

// builtinImage has that program and the folders that PID 1 mounts over.
func builtinImage() (*image.Image, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, dir := range []string{"dev", "etc", "proc", "sys", "tmp"} {
		if err := w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	program := exitProgram()
	if err := w.WriteHeader(&tar.Header{Name: appFile, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	_, err := w.Write(program)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	sum := sha512.Sum512(archive.Bytes())
	digest, err := image.NewDigest(image.SHA512, sum[:])
	if err != nil {
		return nil, err
	}
	layer, err := image.NewLayer(digest, "", bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil {
		return nil, err
	}
	return image.New(image.Meta{Digest: digest, Name: "clearrun/boot"}, []image.Layer{layer}, nil)
}

// exitCode is the machine code of exit(0).
var exitCode = []byte{
	0xb8, 60, 0, 0, 0, // mov $SYS_exit, %eax
	0x31, 0xff, // xor %edi, %edi
	0x0f, 0x05, // syscall
}

// exitProgram is an ELF executable of that code alone.
func exitProgram() []byte {
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(exitCode))
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}))
	p := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base,
		Filesz: size, Memsz: size, Align: 4096,
	}
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, h) // to memory: cannot fail
	_ = binary.Write(&out, binary.LittleEndian, p)
	out.Write(exitCode)
	return out.Bytes()
}

// closeApp releases a built-in app; nil has none.
func closeApp(a *vmrun.BootApp) {
	if a != nil {
		_ = a.Root.Close()
	}
}
