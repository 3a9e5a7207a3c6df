package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// makeBundle writes an executable with two parts and gives its path.
func makeBundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var out bytes.Buffer
	err := Write(&out, write(t, dir, "exe", []byte("ELF, so to speak")), []File{
		{Kernel, write(t, dir, "k", bytes.Repeat([]byte("kernel"), 1000))},
		{Monitor, write(t, dir, "m", []byte("monitor"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "bundle", out.Bytes())
}

func TestPartsComeBackOnPageBoundaries(t *testing.T) {
	b, err := Open(makeBundle(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, want := range map[string][]byte{
		Kernel: bytes.Repeat([]byte("kernel"), 1000), Monitor: []byte("monitor"),
	} {
		p, err := b.Part(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Offset%alignment != 0 {
			t.Errorf("%s lies at %d, not on a page: it could not be mapped", name, p.Offset)
		}
		if got, err := io.ReadAll(b.Reader(p)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes (%v), want %d", name, len(got), err, len(want))
		}
	}
	if _, err := b.Part("other"); err == nil {
		t.Error("a part that is not there was found")
	}
}

func TestDamagedBundlesAreRefused(t *testing.T) {
	whole, err := os.ReadFile(makeBundle(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readIndex(bytes.NewReader(whole[:len(whole)-1]), int64(len(whole)-1)); !errors.Is(err, ErrNone) {
		t.Errorf("cut by a byte: %v, want ErrNone", err)
	}
	if _, err := readIndex(bytes.NewReader(nil), 0); !errors.Is(err, ErrNone) {
		t.Errorf("empty: %v, want ErrNone", err)
	}
	// The parts are gone from in front of the index.
	n := binary.BigEndian.Uint64(whole[len(whole)-tailSize:])
	tail := whole[len(whole)-tailSize-int(n):]
	if _, err := readIndex(bytes.NewReader(tail), int64(len(tail))); err == nil {
		t.Error("parts beyond the end were accepted")
	}
	long := bytes.Clone(tail)
	binary.BigEndian.PutUint64(long[len(long)-tailSize:], 1<<40)
	if _, err := readIndex(bytes.NewReader(long), int64(len(long))); err == nil {
		t.Error("an index larger than the file was accepted")
	}
}

func FuzzIndex(f *testing.F) {
	tail := func(index string) []byte {
		b := binary.BigEndian.AppendUint64([]byte(index), uint64(len(index)))
		return append(b, magic...)
	}
	f.Add(tail(`[{"Name":"vmlinux","Offset":0,"Size":10}]`))
	f.Add(tail(`[{"Offset":9223372036854771712,"Size":9223372036854775807}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts, err := readIndex(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, p := range parts {
			if p.Offset < 0 || p.Size <= 0 || p.Offset > int64(len(data))-p.Size {
				t.Errorf("part %+v of %d bytes was accepted", p, len(data))
			}
		}
	})
}
