package guestmem

import (
	"bytes"
	"errors"
	"math"
	"os"
	"testing"
)

func newMemory(t testing.TB, size uint64) *GuestMemory {
	t.Helper()
	m, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestNewRejectsSizes(t *testing.T) {
	for _, size := range []uint64{0, 1, PageSize - 1, PageSize + 1, MaxSize + PageSize, math.MaxUint64} {
		if m, err := New(size); err == nil {
			m.Close()
			t.Errorf("New(%d) succeeded", size)
		}
	}
}

func TestRegionsSurroundTheHole(t *testing.T) {
	cases := []struct {
		size uint64
		want []uint64
	}{
		{PageSize, []uint64{0}},
		{HoleBase, []uint64{0}},
		{HoleBase + PageSize, []uint64{0, HoleEnd}},
	}
	for _, c := range cases {
		m := newMemory(t, c.size)
		got := m.Regions()
		if len(got) != len(c.want) {
			t.Fatalf("size %#x: %d regions, want %d", c.size, len(got), len(c.want))
		}
		var sum uint64
		for i, r := range got {
			if r.GPA != c.want[i] {
				t.Errorf("size %#x: region %d at %#x, want %#x", c.size, i, r.GPA, c.want[i])
			}
			if addressOf(r.Bytes)%hugePage != r.GPA%hugePage {
				t.Errorf("size %#x: region %d cannot use huge pages", c.size, i)
			}
			sum += uint64(len(r.Bytes))
		}
		if sum != c.size || m.Size() != c.size {
			t.Errorf("size %#x: regions sum to %#x, Size() %#x", c.size, sum, m.Size())
		}
	}
}

func TestSliceBounds(t *testing.T) {
	m := newMemory(t, HoleBase+2*PageSize)
	cases := []struct {
		gpa, n uint64
		ok     bool
	}{
		{0, 0, true},
		{0, HoleBase, true},
		{0, HoleBase + 1, false}, // across the hole
		{HoleBase - 1, 1, true},
		{HoleBase - 1, 2, false},
		{HoleBase + 1, 0, false},
		{VirtioMMIOBase, 4, false},
		{HoleEnd - 1, 2, false},
		{HoleEnd, 2 * PageSize, true},
		{HoleEnd, 2*PageSize + 1, false},
		{HoleEnd + 2*PageSize, 1, false},
		{HoleEnd + PageSize, math.MaxUint64, false},
		{math.MaxUint64, 1, false},
		{math.MaxUint64 - 7, 16, false}, // wraps to 0
		{16, math.MaxUint64 - 7, false}, // wraps to 8
	}
	for _, c := range cases {
		b, err := m.Slice(c.gpa, c.n)
		if (err == nil) != c.ok {
			t.Errorf("Slice(%#x, %#x): %v", c.gpa, c.n, err)
		}
		if err == nil && (uint64(len(b)) != c.n || uint64(cap(b)) != c.n) {
			t.Errorf("Slice(%#x, %#x): len %d cap %d", c.gpa, c.n, len(b), cap(b))
		}
		var access *AccessError
		if err != nil && !errors.As(err, &access) {
			t.Errorf("Slice(%#x, %#x): %T", c.gpa, c.n, err)
		}
	}
}

func TestMapFile(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*PageSize/16)
	content = content[:2*PageSize+100]
	f, err := os.CreateTemp(t.TempDir(), "image")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	m := newMemory(t, 16*PageSize)
	ram := m.Regions()[0].Bytes
	for i := range ram {
		ram[i] = 0xee
	}
	if err := m.MapFile(2*PageSize, int(f.Fd()), PageSize, 2*PageSize); err != nil {
		t.Fatal(err)
	}
	want := append(append([]byte(nil), content[PageSize:]...), make([]byte, PageSize-100)...)
	if !bytes.Equal(ram[2*PageSize:4*PageSize], want) {
		t.Error("mapped bytes differ from the file's")
	}
	if ram[2*PageSize-1] != 0xee || ram[4*PageSize] != 0xee {
		t.Error("mapping touched its neighbours")
	}
	ram[2*PageSize] = '!'
	first := make([]byte, 1)
	if _, err := f.ReadAt(first, PageSize); err != nil || first[0] != content[PageSize] {
		t.Errorf("guest write reached the file: %q, %v", first, err)
	}

	refused := []struct {
		name           string
		gpa            uint64
		offset, length int64
	}{
		{"misaligned gpa", 1, 0, PageSize},
		{"misaligned offset", 0, 1, PageSize},
		{"misaligned length", 0, 0, 100},
		{"empty", 0, 0, 0},
		{"negative length", 0, 0, -PageSize},
		{"negative offset", 0, -PageSize, PageSize},
		{"past the file", 0, 0, 4 * PageSize},
		{"starts past the file", 0, 8 * PageSize, PageSize},
		{"past RAM", 15 * PageSize, 0, 2 * PageSize},
		{"overflow", 0, math.MaxInt64 / PageSize * PageSize, PageSize},
	}
	for _, c := range refused {
		if err := m.MapFile(c.gpa, int(f.Fd()), c.offset, c.length); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if err := m.MapFile(0, -1, 0, PageSize); err == nil {
		t.Error("bad descriptor accepted")
	}
}

func TestTouched(t *testing.T) {
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer pagemap.Close()
	m := newMemory(t, 64*MiB)
	check := func(want uint64) {
		t.Helper()
		if n, err := m.Touched(pagemap); err != nil || n != want {
			t.Errorf("%d bytes touched, %v; want %d", n, err, want)
		}
	}
	check(0)
	ram := m.Regions()[0].Bytes
	ram[5*PageSize+1] = 1
	ram[len(ram)-1] = 1
	check(2 * PageSize)
	file, err := os.CreateTemp(t.TempDir(), "cached")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(make([]byte, 4*PageSize)); err != nil {
		t.Fatal(err)
	}
	if err := m.MapFile(8*PageSize, int(file.Fd()), 0, 4*PageSize); err != nil {
		t.Fatal(err)
	}
	check(2 * PageSize) // in the page cache, but nobody has looked
	if _, err := m.Touched(bytes.NewReader(nil)); err == nil {
		t.Error("no pagemap, and no error")
	}
}

func TestAtomicAccess(t *testing.T) {
	m := newMemory(t, PageSize)
	if err := m.Store32(8, 0x44332211); err != nil {
		t.Fatal(err)
	}
	if err := m.Store16(10, 0xbeef); err != nil {
		t.Fatal(err)
	}
	b, _ := m.Slice(6, 8)
	if want := []byte{0, 0, 0x11, 0x22, 0xef, 0xbe, 0, 0}; !bytes.Equal(b, want) {
		t.Errorf("bytes % x, want % x", b, want)
	}
	for gpa, want := range map[uint64]uint16{6: 0, 8: 0x2211, 10: 0xbeef, PageSize - 2: 0} {
		if got, err := m.Load16(gpa); err != nil || got != want {
			t.Errorf("Load16(%d) = %#x, %v; want %#x", gpa, got, err, want)
		}
	}
	if got, err := m.Load32(8); err != nil || got != 0xbeef2211 {
		t.Errorf("Load32 = %#x, %v", got, err)
	}
	for _, gpa := range []uint64{1, PageSize - 1, PageSize, math.MaxUint64} {
		if _, err := m.Load16(gpa); err == nil {
			t.Errorf("Load16(%#x) succeeded", gpa)
		}
		if err := m.Store16(gpa, 1); err == nil {
			t.Errorf("Store16(%#x) succeeded", gpa)
		}
	}
	for _, gpa := range []uint64{2, PageSize - 2, PageSize} {
		if _, err := m.Load32(gpa); err == nil {
			t.Errorf("Load32(%#x) succeeded", gpa)
		}
		if err := m.Store32(gpa, 1); err == nil {
			t.Errorf("Store32(%#x) succeeded", gpa)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	m, err := New(PageSize)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Slice(0, 1); err == nil {
		t.Error("Slice works after Close")
	}
}
