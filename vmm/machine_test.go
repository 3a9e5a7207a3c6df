package vmm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/vmm/boot"
	"github.com/clearrun/clearrun/vmm/guestmem"
	"github.com/clearrun/clearrun/vmm/kvm"
)

// requireVariable makes tests fail where they would be skipped for want of KVM.
const requireVariable = "CLEARRUN_REQUIRE_VM"

// system opens KVM, or skips the test where there is none.
func system(t *testing.T) *kvm.System {
	t.Helper()
	s, err := kvm.Open(kvm.DevicePath)
	if err != nil {
		if os.Getenv(requireVariable) != "" {
			t.Fatal(err)
		}
		t.Skip("no VM: ", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// codeOffset is where a test kernel's code starts behind its ELF header, and
// dataGPA where its data follows in guest memory.
const (
	codeOffset = 0x1000
	dataGPA    = guestmem.KernelBase + 0x1000
)

// kernel makes a vmlinux of machine code and a page-aligned block of data.
func kernel(t *testing.T, code, data []byte) boot.Section {
	t.Helper()
	le := binary.LittleEndian
	b := make([]byte, codeOffset)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint64(b[24:], guestmem.KernelBase)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	b = append(b, code...)
	b = append(b, make([]byte, 0x1000-len(code))...)
	b = append(b, data...)
	size := uint64(len(b) - codeOffset)
	ph := b[64:]
	le.PutUint32(ph, 1) // PT_LOAD
	le.PutUint64(ph[8:], codeOffset)
	le.PutUint64(ph[24:], guestmem.KernelBase)
	le.PutUint64(ph[32:], size)
	le.PutUint64(ph[40:], size)
	f, err := os.Create(filepath.Join(t.TempDir(), "vmlinux"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return boot.Section{File: f, Size: int64(len(b))}
}

func machine(t *testing.T, c Config) *Machine {
	t.Helper()
	c.KVM, c.Host = system(t), kvm.DetectHost("/sys/module")
	if c.Memory == 0 {
		c.Memory = MinMemory
	}
	c.VCPUs = max(c.VCPUs, 1)
	m, err := New(c)
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

// Pieces of machine code.
var (
	powerOff = []byte{0xb0, 0xfe, 0xe6, 0x64, 0xf4} // mov $0xfe, %al; out %al, $0x64; hlt
	spin     = []byte{0xeb, 0xfe}                   // jmp .
)

func code(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// outByte writes v to a port: mov $port, %dx; mov $v, %al; out %al, %dx.
func outByte(port uint16, v byte) []byte {
	return []byte{0x66, 0xba, byte(port), byte(port >> 8), 0xb0, v, 0xee}
}

func TestGuestPowersOff(t *testing.T) {
	m := machine(t, Config{Kernel: kernel(t, powerOff, nil)})
	if err := m.Run(t.Context()); !errors.Is(err, ErrPoweredOff) {
		t.Errorf("run: %v, want ErrPoweredOff", err)
	}
	if n := m.Stats().Exits["io"]; n != 1 {
		t.Errorf("%d exits for ports, want 1", n)
	}
}

// store is movl $v, addr.
func store(addr, v uint32) []byte {
	le := binary.LittleEndian
	return le.AppendUint32(le.AppendUint32([]byte{0xc7, 0x04, 0x25}, addr), v)
}

// mapHole maps the 2 MiB at VirtioMMIOBase, above what WritePageTables maps, by a page
// directory in the free page behind its own.
var mapHole = code(
	store(guestmem.PageTableBase+1*guestmem.PageSize+3*8, guestmem.PageTableBase+3*guestmem.PageSize|3),
	store(guestmem.PageTableBase+3*guestmem.PageSize+(guestmem.VirtioMMIOBase-guestmem.HoleBase)/(2<<20)*8, guestmem.VirtioMMIOBase|0x83),
)

// TestMarks writes one by port and one by MMIO.
func TestMarks(t *testing.T) {
	const at = guestmem.StopWatchMMIO
	// mov $0x02, %dl; mov $at, %eax; mov %dl, (%rax)
	byMMIO := []byte{0xb2, 2, 0xb8, at & 0xff, at >> 8 & 0xff, at >> 16 & 0xff, at >> 24, 0x88, 0x10}
	var marks []byte
	m := machine(t, Config{
		Kernel: kernel(t, code(mapHole, outByte(guestmem.PortStopWatch, 1), byMMIO, powerOff), nil),
		OnMark: func(b byte) { marks = append(marks, b) },
	})
	if err := m.Run(t.Context()); !errors.Is(err, ErrPoweredOff) {
		t.Fatal(err)
	}
	if !bytes.Equal(marks, []byte{1, 2}) {
		t.Errorf("marks % x, want 1 and 2", marks)
	}
	s := m.Stats()
	if s.Devices["stop-watch"] != 2 || s.Devices["keyboard controller"] != 1 {
		t.Errorf("exits by device: %v, want 2 of the stop-watch and the one that ended it all", s.Devices)
	}
	if m.stats != nil && (s.KVM["vcpu.exits"] == 0 || len(s.KVM) < 10) {
		t.Errorf("KVM's statistics: %v", s.KVM)
	}
}

func TestGuestCrashes(t *testing.T) {
	// lidt of six zero bytes behind the code, then an undefined instruction.
	crash := []byte{0x0f, 0x01, 0x1d, 0x02, 0, 0, 0, 0x0f, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	m := machine(t, Config{Kernel: kernel(t, crash, nil)})
	if err := m.Run(t.Context()); !errors.Is(err, ErrCrashed) {
		t.Errorf("run: %v, want ErrCrashed", err)
	}
}

func TestContextEndsASpinningGuest(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	// The guest says that it runs, then never exits again.
	m := machine(t, Config{
		Kernel: kernel(t, code(outByte(guestmem.PortStopWatch, 7), spin), nil),
		OnMark: func(byte) { cancel(why) },
	})
	if err := m.Run(ctx); !errors.Is(err, why) {
		t.Errorf("run: %v, want the context's cause", err)
	}
}

// TestSamples: a guest that never exits by itself is seen where it spins.
func TestSamples(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var seen []Sample
	m := machine(t, Config{
		Kernel:      kernel(t, code(outByte(guestmem.PortStopWatch, 7), spin), nil),
		SampleEvery: time.Millisecond,
		OnSample: func(s Sample) {
			if seen = append(seen, s); len(seen) == 50 {
				cancel(enough)
			}
		},
	})
	if err := m.Run(ctx); !errors.Is(err, enough) {
		t.Fatalf("run: %v, want the context's cause", err)
	}
	last := seen[len(seen)-1]
	const at = guestmem.KernelBase + 7 // behind outByte
	if last.VCPU != 0 || last.RIP != at {
		t.Errorf("the guest was seen at %#x, want %#x, where it spins", last.RIP, at)
	}
	if last.Instructions < seen[0].Instructions {
		t.Errorf("%d instructions, then %d", seen[0].Instructions, last.Instructions)
	}
}

func TestConsoleAndMarks(t *testing.T) {
	var console bytes.Buffer
	var marks []byte
	m := machine(t, Config{
		Kernel: kernel(t, code(
			outByte(portCOM1, 'h'), outByte(guestmem.PortStopWatch, 1), outByte(portCOM1, 'i'),
			outByte(guestmem.PortStopWatch, 2), outByte(0x1234, 9), powerOff), nil),
		Console: &console,
		OnMark:  func(b byte) { marks = append(marks, b) },
	})
	if err := m.Run(t.Context()); !errors.Is(err, ErrPoweredOff) {
		t.Fatal(err)
	}
	if console.String() != "hi" || string(marks) != "\x01\x02" {
		t.Errorf("console %q, marks %v", console.String(), marks)
	}
}

// TestExtendedStateRoundTrip loads all vector registers from memory by XRSTOR
// and stores them elsewhere by XSAVE, in guest kernel mode: on a PVM host, both
// are emulated here.
func TestExtendedStateRoundTrip(t *testing.T) {
	const (
		mask = stateX87 | stateSSE | stateAVX
		size = 1024 // of each area; x87, SSE and AVX end at 832
	)
	data := make([]byte, 2*size)
	for i := range size {
		data[i] = byte(i*7 + i>>8)
	}
	header := data[xsaveBVOffset:xsaveMinSize]
	clear(header)
	binary.LittleEndian.PutUint64(header, mask)
	binary.LittleEndian.PutUint32(data[mxcsrOffset:], 0x1f80) // MXCSR's default; random bits would fault
	clear(data[28:32])
	clear(data[:mxcsrOffset])                   // an empty x87 unit
	binary.LittleEndian.PutUint16(data, 0x037f) // FCW's default
	for i := mxcsrEnd + 10; i < x87End; i += 16 {
		clear(data[i : i+6]) // the reserved bytes of each ST register
	}
	rdi := func(addr uint32) []byte { return binary.LittleEndian.AppendUint32([]byte{0xbf}, addr) }
	load := []byte{0xb8, mask, 0, 0, 0, 0x31, 0xd2} // mov $mask, %eax; xor %edx, %edx
	program := code(
		[]byte{0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x06, 0x04, 0x00, 0x0f, 0x22, 0xe0}, // CR4 |= OSFXSR, OSXMMEXCPT, OSXSAVE
		[]byte{0x31, 0xc9}, load, []byte{0x0f, 0x01, 0xd1}, // XCR0 = mask
		rdi(dataGPA), load, []byte{0x48, 0x0f, 0xae, 0x2f}, // xrstor64 (%rdi)
		rdi(dataGPA+size), load, []byte{0x48, 0x0f, 0xae, 0x27}, // xsave64 (%rdi)
		powerOff,
	)
	m := machine(t, Config{Kernel: kernel(t, program, data)})
	if err := m.Run(t.Context()); !errors.Is(err, ErrPoweredOff) {
		t.Fatal(err)
	}
	got, err := m.mem.Slice(dataGPA+size, size)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]byteRange{"x87": {mxcsrEnd, x87End}, "SSE": {x87End, sseEnd}, "AVX": {576, 832}} {
		if !bytes.Equal(got[r.start:r.end], data[r.start:r.end]) {
			t.Errorf("%s registers came back as % x\nwant % x", name, got[r.start:r.end], data[r.start:r.end])
		}
	}
	if bv := binary.LittleEndian.Uint64(got[xsaveBVOffset:]); bv&(stateSSE|stateAVX) != stateSSE|stateAVX {
		t.Errorf("XSTATE_BV is %#x", bv)
	}
}

func TestConfigLimits(t *testing.T) {
	s := system(t)
	good := Config{KVM: s, Memory: MinMemory, VCPUs: 1}
	for name, edit := range map[string]func(*Config){
		"no KVM":          func(c *Config) { c.KVM = nil },
		"little memory":   func(c *Config) { c.Memory = MinMemory - 1<<20 },
		"much memory":     func(c *Config) { c.Memory = MaxMemory + 1<<20 },
		"half a MiB":      func(c *Config) { c.Memory += 1 << 19 },
		"no vCPU":         func(c *Config) { c.VCPUs = 0 },
		"too many vCPUs":  func(c *Config) { c.VCPUs = MaxVCPUs + 1 },
		"no kernel":       func(c *Config) {},
		"endless cmdline": func(c *Config) { c.Kernel = kernel(t, powerOff, nil); c.CmdLine = strings.Repeat("x", 3000) },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			c.Kernel = kernel(t, nil, nil)
			if name == "no kernel" {
				c.Kernel.Size = 10
			}
			edit(&c)
			if m, err := New(c); err == nil {
				m.Close()
				t.Error("accepted")
			}
		})
	}
}

// TestBusRanges proves that an access goes to the range it lies in, and that
// nobody's addresses read as ones.
func TestBusRanges(t *testing.T) {
	var b Bus
	r := &recorder{}
	b.AddMMIO("device", 0x1000, 0x100, r)
	b.AddPorts("device", 0x10, 2, r)
	p := []byte{1, 2}
	for _, addr := range []uint64{0, 0xfff, 0x1100, 1<<64 - 1} {
		copy(p, []byte{0, 0})
		b.MMIO(addr, p, false)
		if p[0] != 0xff || p[1] != 0xff || len(r.log) != 0 {
			t.Errorf("%#x read % x, handler saw %v", addr, p, r.log)
		}
	}
	b.MMIO(0x10ff, p[:1], true)
	b.Port(0x11, 1, []byte{5, 6}, true) // string I/O: two accesses
	b.Port(0x10, 0, p, true)            // no size: none
	if want := []uint64{0xff, 1, 1}; len(r.log) != 3 || r.log[0] != want[0] || r.log[1] != want[1] || r.log[2] != want[2] {
		t.Errorf("handler saw offsets %v, want %v", r.log, want)
	}
	if got, want := b.exits(), map[string]uint64{"device": 2, "no device (mmio)": 4}; !maps.Equal(got, want) {
		t.Errorf("exits %v, want %v", got, want)
	}
}

type recorder struct{ log []uint64 }

func (r *recorder) Read(offset uint64, p []byte)  { r.log = append(r.log, offset) }
func (r *recorder) Write(offset uint64, _ []byte) { r.log = append(r.log, offset) }

// TestSerialInterrupt: a driver that asks for the transmitter's interrupt gets one at once
// and for each byte, and sees why until it has looked (PC16550D, table III).
func TestSerialInterrupt(t *testing.T) {
	var out bytes.Buffer
	raised := 0
	s := newSerial(&out, func() { raised++ })
	read := func(offset uint64) byte {
		p := []byte{0xff}
		s.Read(offset, p)
		return p[0]
	}
	expect := func(when string, interrupts int, iir byte) {
		t.Helper()
		if got := read(uartIIR); raised != interrupts || got != iir {
			t.Errorf("%s: %d interrupts, IIR %#x, want %d, %#x", when, raised, got, interrupts, iir)
		}
	}
	s.Write(uartData, []byte("a"))
	expect("not asked for", 0, uartNoIRQ)
	s.Write(uartIER, []byte{uartIERTHRE})
	expect("asked for", 1, uartIIRTHRE)
	expect("looked once more", 1, uartNoIRQ)
	s.Write(uartIER, []byte{uartIERTHRE})
	expect("asked again", 1, uartNoIRQ)
	s.Write(uartData, []byte("b"))
	expect("a byte", 2, uartIIRTHRE)
	s.Write(uartIER, []byte{0})
	s.Write(uartData, []byte("c"))
	expect("no longer asked for", 2, uartNoIRQ)
	if out.String() != "abc" {
		t.Errorf("%q was sent", out.String())
	}
}

// FuzzSerial writes and reads the UART's registers in any order.
func FuzzSerial(f *testing.F) {
	f.Add([]byte{3, 0x80, 0, 1, 3, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var out bytes.Buffer
		s := newSerial(&out, func() {})
		for ; len(ops) >= 2; ops = ops[2:] {
			p := []byte{ops[1], 0, 0, 0}
			s.Write(uint64(ops[0]), p)
			s.Read(uint64(ops[0]), p)
		}
	})
}
