package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bobuhiro11/gokvm/kvm"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

const mib = 1 << 20

// testSegment is a PT_LOAD of a kernel made for a test.
type testSegment struct {
	gpa, memSize uint64
	data         []byte
}

// makeELF writes an x86-64 executable whose segments start on pages of the file.
func makeELF(entry uint64, segments ...testSegment) []byte {
	le := binary.LittleEndian
	b := make([]byte, guestmem.PageSize)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[offType:], elfExecutable)
	le.PutUint16(b[offMachine:], elfMachineX86)
	le.PutUint64(b[offEntry:], entry)
	le.PutUint64(b[offPhoff:], elfHeaderSize)
	le.PutUint16(b[offPhsize:], programHdrSize)
	le.PutUint16(b[offPhnum:], uint16(len(segments)))
	for i, s := range segments {
		p := b[elfHeaderSize+i*programHdrSize:]
		le.PutUint32(p, ptLoad)
		le.PutUint64(p[8:], uint64(len(b)))
		le.PutUint64(p[24:], s.gpa)
		le.PutUint64(p[32:], uint64(len(s.data)))
		le.PutUint64(p[40:], s.memSize)
		b = append(b, s.data...)
		b = append(b, bytes.Repeat([]byte{0xee}, -len(b)&(guestmem.PageSize-1))...)
	}
	return b
}

func section(t *testing.T, data []byte) Section {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return Section{File: f, Size: int64(len(data))}
}

func memory(t *testing.T, size uint64) *guestmem.GuestMemory {
	t.Helper()
	m, err := guestmem.New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func bytesAt(t *testing.T, m *guestmem.GuestMemory, gpa, n uint64) []byte {
	t.Helper()
	b, err := m.Slice(gpa, n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoadKernelPlacesSegmentsAndZeroesTheRest(t *testing.T) {
	text := bytes.Repeat([]byte("text"), 3000) // two whole pages and a tail
	m := memory(t, 64*mib)
	l, err := LoadKernel(m, section(t, makeELF(guestmem.KernelBase, testSegment{guestmem.KernelBase, 0x8000, text})))
	if err != nil {
		t.Fatal(err)
	}
	got := bytesAt(t, m, guestmem.KernelBase, 0x8000)
	if !bytes.Equal(got[:len(text)], text) {
		t.Error("the text is not in place")
	}
	if rest := got[len(text):]; !bytes.Equal(rest, make([]byte, len(rest))) {
		t.Error("behind the file's bytes, memory is not zero: the kernel's bss would not be")
	}
	if want := (Loaded{guestmem.KernelBase, guestmem.KernelBase + 0x8000, uint64(len(text) % guestmem.PageSize)}); l != want {
		t.Errorf("loaded %+v, want %+v: only the tail is copied", l, want)
	}
}

func TestLoadKernelRefuses(t *testing.T) {
	fits := testSegment{guestmem.KernelBase, 4, []byte("text")}
	good := makeELF(guestmem.KernelBase, fits)
	edit := func(offset int, v byte) []byte {
		b := bytes.Clone(good)
		b[offset] = v
		return b
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "not an uncompressed", nil},
		{"a bzImage", "not an uncompressed", append([]byte("MZ"), make([]byte, 4096)...)},
		{"32 bits", "not an uncompressed", edit(offClass, 1)},
		{"another machine", "not an uncompressed", edit(offMachine, 183)},
		{"no program header", "not an uncompressed", edit(offPhnum, 0)},
		{"too many program headers", "not an uncompressed", edit(offPhnum, 200)},
		{"a segment behind the file's end", "does not fit its file", edit(elfHeaderSize+8+2, 0xff)},
		{"more bytes than memory", "does not fit its file", edit(elfHeaderSize+40, 1)},
		{"below the kernel's place", "lies below", makeELF(0, testSegment{mib, 4, []byte("text")})},
		{"beyond guest memory", "--memory", makeELF(0, testSegment{64 * mib, 4, []byte("text")})},
		{"around the end of memory", "does not fit", makeELF(0, testSegment{1<<64 - 2, 4, []byte("text")})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := LoadKernel(memory(t, 64*mib), section(t, tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestLoadInitramfsAtTheTopOfLowMemory(t *testing.T) {
	m := memory(t, 64*mib)
	data := bytes.Repeat([]byte("cpio"), 2000)
	gpa, _, err := LoadInitramfs(m, section(t, data), 32*mib)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(64*mib - 2*guestmem.PageSize); gpa != want {
		t.Errorf("at %#x, want %#x", gpa, want)
	}
	if !bytes.Equal(bytesAt(t, m, gpa, uint64(len(data))), data) {
		t.Error("the initramfs is not in place")
	}
	if _, _, err := LoadInitramfs(m, section(t, data), 64*mib-guestmem.PageSize); err == nil {
		t.Error("an initramfs over the kernel was accepted")
	}
}

// TestZeroPage reads back what the kernel will, by the offsets of zero-page.rst.
func TestZeroPage(t *testing.T) {
	m := memory(t, 4096*mib) // reaches over the hole
	p := Params{CmdLine: "quiet x=1", InitramfsGPA: 0x12345000, InitramfsSize: 77}
	if err := WriteParams(m, p); err != nil {
		t.Fatal(err)
	}
	b := bytesAt(t, m, guestmem.ZeroPageBase, guestmem.PageSize)
	le := binary.LittleEndian
	if string(b[0x202:0x206]) != "HdrS" || le.Uint16(b[0x1fe:]) != 0xaa55 {
		t.Error("no boot protocol header")
	}
	if le.Uint32(b[0x218:]) != 0x12345000 || le.Uint32(b[0x21c:]) != 77 {
		t.Error("the initramfs is not where it should be")
	}
	cmdline := bytesAt(t, m, uint64(le.Uint32(b[0x228:])), 10)
	if string(cmdline) != "quiet x=1\x00" {
		t.Errorf("command line %q", cmdline)
	}
	type entry struct {
		start, size uint64
		kind        uint32
	}
	var got []entry
	for i := range int(b[0x1e8]) {
		e := b[0x2d0+20*i:]
		got = append(got, entry{le.Uint64(e), le.Uint64(e[8:]), le.Uint32(e[16:])})
	}
	want := []entry{
		{0, 0x9fc00, 1}, {0x9fc00, 0x60400, 2}, {mib, 3<<30 - mib, 1}, {4 << 30, 1 << 30, 1},
	}
	if len(got) != len(want) {
		t.Fatalf("memory map %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("memory map entry %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	if err := WriteParams(m, Params{CmdLine: strings.Repeat("x", MaxCmdLine)}); err == nil {
		t.Error("a command line that the kernel would cut was accepted")
	}
}

// TestMPTable walks the table as the kernel does: checksums, then entries.
func TestMPTable(t *testing.T) {
	for _, vcpus := range []int{1, 2, 32} {
		m := memory(t, 64*mib)
		if err := WriteMPTable(m, vcpus); err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		f := bytesAt(t, m, 0, 16)
		if string(f[:4]) != "_MP_" || sum(f) != 0 {
			t.Fatalf("floating pointer % x", f)
		}
		head := bytesAt(t, m, uint64(le.Uint32(f[4:])), mpHeaderSize)
		table := bytesAt(t, m, uint64(le.Uint32(f[4:])), uint64(le.Uint16(head[4:])))
		if string(table[:4]) != "PCMP" || sum(table) != 0 {
			t.Fatalf("%d vCPUs: table header % x, sum %d", vcpus, table[:44], sum(table))
		}
		kinds := map[byte]int{}
		ids := map[byte]bool{}
		rest := table[mpHeaderSize:]
		for range le.Uint16(table[34:]) {
			size := 8
			if rest[0] == mpEntryProcessor {
				size = 20
				ids[rest[1]] = true
			}
			if rest[0] == mpEntryIOAPIC && ids[rest[1]] {
				t.Errorf("IOAPIC and a processor share ID %d", rest[1])
			}
			kinds[rest[0]]++
			rest = rest[size:]
		}
		if len(rest) != 0 || kinds[mpEntryProcessor] != vcpus || len(ids) != vcpus || kinds[mpEntryIOAPIC] != 1 {
			t.Errorf("%d vCPUs: entries %v, processors %v, %d bytes left", vcpus, kinds, ids, len(rest))
		}
	}
	if err := WriteMPTable(memory(t, 64*mib), 200); err == nil {
		t.Error("a table beyond its place was written")
	}
}

func sum(b []byte) (s byte) {
	for _, x := range b {
		s += x
	}
	return s
}

// TestPageTables translates addresses by hand.
func TestPageTables(t *testing.T) {
	m := memory(t, 64*mib)
	if err := WritePageTables(m); err != nil {
		t.Fatal(err)
	}
	var s kvm.Sregs
	SetEntryState(&s)
	read := func(gpa uint64) uint64 { return binary.LittleEndian.Uint64(bytesAt(t, m, gpa, 8)) }
	for _, addr := range []uint64{0, guestmem.ZeroPageBase, guestmem.KernelBase + 5, 1<<30 - 1} {
		pdpt := read(s.CR3+addr>>39&511*8) &^ 0xfff
		pd := read(pdpt+addr>>30&511*8) &^ 0xfff
		pde := read(pd + addr>>21&511*8)
		if got := pde&^(1<<21-1) | addr&(1<<21-1); pde&0x83 != 0x83 || got != addr {
			t.Errorf("%#x translates to %#x by entry %#x", addr, got, pde)
		}
	}
	if s.EFER&eferLMA == 0 || s.CS.L != 1 || s.CR4&cr4PAE == 0 || s.CR0&cr0PG == 0 {
		t.Errorf("not in 64-bit mode: %+v", s)
	}
}

func FuzzELF(f *testing.F) {
	f.Add(makeELF(guestmem.KernelBase, testSegment{guestmem.KernelBase, 0x3000, []byte("text")}))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		exe, err := parseELF(bytes.NewReader(data), uint64(len(data)))
		if err != nil {
			return
		}
		for _, s := range exe.segments {
			if s.offset+s.fileSize > uint64(len(data)) || s.fileSize > s.memSize || s.gpa+s.memSize < s.gpa {
				t.Errorf("segment %+v of a file of %d bytes was accepted", s, len(data))
			}
		}
		if len(exe.segments) == 0 {
			t.Error("an executable without segments was accepted")
		}
	})
}

func TestNotELFIsRecognizable(t *testing.T) {
	if _, err := parseELF(bytes.NewReader(make([]byte, 100)), 100); !errors.Is(err, ErrNotELF) {
		t.Errorf("error %v, want ErrNotELF", err)
	}
}
