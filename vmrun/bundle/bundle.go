// Package bundle keeps the guest kernel, the initramfs, its init and the monitor inside
// the clearrun executable, behind its ELF image: one file to install, and the
// kernel can be mapped from it straight into a guest.
//
// The parts start on page boundaries. Behind them stand an index in JSON, its
// length (8 bytes, big-endian) and a magic number.
package bundle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Names of the parts.
const (
	Kernel    = "vmlinux"
	Initramfs = "initramfs"
	Monitor   = "monitor"
	Init      = "init" // the one in Initramfs, for containers
)

const (
	magic     = "clearrun"
	tailSize  = 8 + len(magic)
	alignment = 4096
	maxIndex  = 1 << 16
)

// ErrNone means that an executable carries no bundle.
var ErrNone = errors.New("this executable carries no guest: build it with `make build`")

// Part is one file of a bundle.
type Part struct {
	Name         string
	Offset, Size int64
	SHA256       string // hex
}

// Bundle is an open executable with its index.
type Bundle struct {
	File  *os.File
	Parts []Part
}

// Open reads the bundle of the executable at path.
func Open(path string) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	parts, err := readIndex(f, info.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Bundle{File: f, Parts: parts}, nil
}

func readIndex(r io.ReaderAt, size int64) ([]Part, error) {
	if size < int64(tailSize) {
		return nil, ErrNone
	}
	tail := make([]byte, tailSize)
	if _, err := r.ReadAt(tail, size-int64(tailSize)); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	n := binary.BigEndian.Uint64(tail)
	if string(tail[8:]) != magic {
		return nil, ErrNone
	}
	if n > maxIndex || int64(n) > size-int64(tailSize) {
		return nil, fmt.Errorf("bundle index of %d bytes: the executable is damaged", n)
	}
	index := make([]byte, n)
	if _, err := r.ReadAt(index, size-int64(tailSize)-int64(n)); err != nil {
		return nil, fmt.Errorf("read bundle index: %w", err)
	}
	var parts []Part
	if err := json.Unmarshal(index, &parts); err != nil {
		return nil, fmt.Errorf("bundle index: %w", err)
	}
	for _, p := range parts {
		if p.Offset < 0 || p.Size <= 0 || p.Offset%alignment != 0 || p.Offset > size || p.Size > size-p.Offset {
			return nil, fmt.Errorf("bundle part %q lies outside the executable: it is damaged", p.Name)
		}
	}
	return parts, nil
}

// Part gives the part of this name.
func (b *Bundle) Part(name string) (Part, error) {
	for _, p := range b.Parts {
		if p.Name == name {
			return p, nil
		}
	}
	return Part{}, fmt.Errorf("the executable's bundle has no %s: build it with `make build`", name)
}

// Reader reads one part.
func (b *Bundle) Reader(p Part) *io.SectionReader {
	return io.NewSectionReader(b.File, p.Offset, p.Size)
}

// Close closes the executable.
func (b *Bundle) Close() error { return b.File.Close() }

// File names a file that becomes a part.
type File struct{ Name, Path string }

// Write writes executable and parts to w.
func Write(w io.Writer, executable string, files []File) error {
	out := &counter{w: w}
	if err := out.copyFile(executable, io.Discard); err != nil {
		return err
	}
	var parts []Part
	for _, f := range files {
		if err := out.pad(); err != nil {
			return err
		}
		p := Part{Name: f.Name, Offset: out.n}
		sum := sha256.New()
		if err := out.copyFile(f.Path, sum); err != nil {
			return err
		}
		p.Size, p.SHA256 = out.n-p.Offset, hex.EncodeToString(sum.Sum(nil))
		parts = append(parts, p)
	}
	index, err := json.Marshal(parts)
	if err != nil {
		return err
	}
	tail := binary.BigEndian.AppendUint64(index, uint64(len(index)))
	_, err = out.Write(append(tail, magic...))
	return err
}

// counter counts what it passes on.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) pad() error {
	_, err := c.Write(make([]byte, -c.n&(alignment-1)))
	return err
}

func (c *counter) copyFile(path string, also io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.MultiWriter(c, also), f)
	return err
}
