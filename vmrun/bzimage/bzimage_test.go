package bzimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compressors are the commands that Linux's build runs (scripts/Makefile.lib).
var compressors = map[string][]string{
	"gzip":  {"gzip", "-n", "-9"},
	"bzip2": {"bzip2", "-9"},
	"xz":    {"xz", "--check=crc32", "--x86", "--lzma2=,dict=128MiB"},
	"lzma":  {"xz", "--format=lzma", "-9"},
	"lz4":   {"lz4", "-l", "-9", "-", "-"},
	"zstd":  {"zstd", "-22", "--ultra"},
}

// kernel is compressible data with calls, which the x86 filter changes.
func kernel() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := bytes.Repeat([]byte("\x7fELF, or what passes for it here."), 4000)
	for i := 0; i+5 < len(b); i += 40 {
		b[i] = 0xe8
		binary.LittleEndian.PutUint32(b[i+1:], random.Uint32N(1<<20))
	}
	return b
}

func compress(t testing.TB, name string, plain []byte) []byte {
	t.Helper()
	argv := compressors[name]
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(plain)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", argv, err)
	}
	if name != "gzip" {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(plain)))
	}
	return out
}

// image puts a payload into a bzImage.
func image(payload []byte) []byte {
	const sects, gap = 3, 0x70
	le := binary.LittleEndian
	b := make([]byte, (sects+1)*sectorSize+gap)
	b[setupSectsAt] = sects
	copy(b[magicAt:], magic)
	le.PutUint16(b[versionAt:], 0x20f)
	le.PutUint32(b[payloadOffsetAt:], gap)
	le.PutUint32(b[payloadLengthAt:], uint32(len(payload)))
	return append(append(b, payload...), "what follows the payload"...)
}

func extract(data []byte) ([]byte, error) {
	var out bytes.Buffer
	err := Extract(&out, bytes.NewReader(data), int64(len(data)))
	return out.Bytes(), err
}

func TestExtract(t *testing.T) {
	want := kernel()
	for name := range compressors {
		if got, err := extract(image(compress(t, name, want))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want the %d that went in", name, len(got), err, len(want))
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	plain := kernel()
	for name, data := range map[string][]byte{
		"vmlinux": plain, "bzImage": image(compress(t, "gzip", plain)), "cut": image(compress(t, "gzip", plain))[:4096],
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if name == "cut" {
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("cut: %v, want an error that names the file", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(plain))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: not the kernel that went in (%v)", name, err)
		}
		f.Close()
	}
	if _, err := Open(dir); err == nil {
		t.Error("a folder was taken for a kernel")
	}
}

func TestExtractRefuses(t *testing.T) {
	good := image(compress(t, "gzip", kernel()))
	changed := func(change func([]byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	le := binary.LittleEndian
	xz := compress(t, "xz", kernel())
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":         {nil, "not a bzImage"},
		"another file":    {make([]byte, 4096), "not a bzImage"},
		"old":             {changed(func(b []byte) { le.PutUint16(b[versionAt:], 0x203) }), "2.03"},
		"cut":             {good[:len(good)-100], "cut short"},
		"far away":        {changed(func(b []byte) { le.PutUint32(b[payloadOffsetAt:], 1<<32-1) }), "not inside"},
		"no payload":      {changed(func(b []byte) { le.PutUint32(b[payloadLengthAt:], 0) }), "not inside"},
		"not compressed":  {image([]byte("\x7fELF and so on")), "not known"},
		"LZO":             {image([]byte("\x89LZO and so on")), "not known"},
		"too short":       {image([]byte("\x1f\x8b")), "unexpected EOF"},
		"damaged":         {changed(func(b []byte) { b[len(b)/2] ^= 1 }), "gzip"},
		"another size":    {image(append(xz[:len(xz)-4:len(xz)-4], 1, 0, 0, 0)), "the header says 1"},
		"monstrous":       {image(append(xz[:len(xz)-4:len(xz)-4], 0, 0, 0, 0xff)), "more than"},
		"lzma dictionary": {image([]byte("\x5d\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01\x02\x03\x01\x00\x00\x00")), "dictionary"},
	} {
		if got, err := extract(c.data); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d bytes, %v; want an error that says %q", name, len(got), err, c.says)
		}
	}
	if _, err := extract(make([]byte, 4096)); !errors.Is(err, ErrNotBzImage) {
		t.Errorf("another file: %v, want ErrNotBzImage", err)
	}
}

func FuzzExtract(f *testing.F) {
	for name := range compressors {
		if name == "xz" || name == "lzma" || name == "zstd" {
			continue // with windows that size, an execution takes most of a second
		}
		f.Add(image(compress(f, name, []byte("a small kernel"))))
	}
	for _, seed := range [][]string{{"xz", "--check=crc32", "--x86", "--lzma2=dict=4KiB"}, {"xz", "--format=lzma", "-0"}, {"zstd", "-1"}} {
		cmd := exec.Command(seed[0], seed[1:]...)
		cmd.Stdin = strings.NewReader("a small kernel")
		out, err := cmd.Output()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(image(binary.LittleEndian.AppendUint32(out, 14)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := counter{t: t}
		_ = Extract(&n, bytes.NewReader(data), int64(len(data)))
	})
}

// counter fails the test if too much is written.
type counter struct {
	t *testing.T
	n int64
}

var _ io.Writer = (*counter)(nil)

func (c *counter) Write(p []byte) (int, error) {
	if c.n += int64(len(p)); c.n > MaxKernel+1 {
		c.t.Fatal("more comes out than is allowed")
	}
	return len(p), nil
}
