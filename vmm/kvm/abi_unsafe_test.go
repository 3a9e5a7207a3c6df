package kvm

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

// TestSizes compares the structures with the sizes of linux/kvm.h: the ioctl
// numbers depend on them.
func TestSizes(t *testing.T) {
	for name, s := range map[string]struct{ got, want uintptr }{
		"kvm_irqfd":        {unsafe.Sizeof(irqfd{}), 32},
		"kvm_ioeventfd":    {unsafe.Sizeof(ioeventfd{}), 64},
		"kvm_msr_entry":    {unsafe.Sizeof(MSR{}), 16},
		"kvm_msrs":         {unsafe.Offsetof(msrList{}.entries), sizeofListHeader},
		"kvm_cpuid2":       {unsafe.Offsetof(cpuidList{}.entries), sizeofListHeader},
		"kvm_cpuid_entry2": {unsafe.Sizeof(cpuidList{}.entries[0]), 40},
		"kvm_run.io":       {exitDataOffset, 32},
	} {
		if s.got != s.want {
			t.Errorf("%s: %d bytes, want %d", name, s.got, s.want)
		}
	}
}

func TestOpenSaysWhatHelps(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "kvm")); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("no device: %v", err)
	}
	if s, err := Open("/dev/null"); err == nil {
		s.Close()
		t.Error("/dev/null was taken for KVM")
	}
}

// unwrapAll gives the innermost error.
func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

func TestDetectHost(t *testing.T) {
	for module, want := range map[string]Host{"kvm_intel": VMX, "kvm_amd": SVM, "kvm_pvm": PVM, "other": UnknownHost} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, module), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := DetectHost(dir); got != want {
			t.Errorf("with %s: %v, want %v", module, got, want)
		}
	}
}

// statsFile lays out statistics as the kernel does (api.rst 4.134).
func statsFile(names ...string) []byte {
	const nameSize = 16
	le := binary.LittleEndian
	size := statsDescSize + nameSize
	b := make([]byte, statsHeaderSize)
	data := statsHeaderSize + len(names)*size
	le.PutUint32(b[statsNameSizeAt:], nameSize)
	le.PutUint32(b[statsNumDescAt:], uint32(len(names)))
	le.PutUint32(b[statsDescOffsetAt:], statsHeaderSize)
	le.PutUint32(b[statsDataOffsetAt:], uint32(data))
	for i, name := range names {
		d := make([]byte, size)
		le.PutUint16(d[statsSizeAt:], 1)
		le.PutUint32(d[statsOffsetAt:], uint32(i*8))
		copy(d[statsDescSize:], name)
		b = append(b, d...)
	}
	for i := range names {
		b = le.AppendUint64(b, uint64(100+i))
	}
	return b
}

// histogram makes the last counter of a file one of two buckets, 0 and 7.
func histogram(b []byte) []byte {
	le := binary.LittleEndian
	last := le.Uint32(b[statsDataOffsetAt:]) - statsDescSize - 16
	le.PutUint16(b[last+statsSizeAt:], 2)
	le.PutUint64(b[len(b)-valueSize:], 0)
	return le.AppendUint64(b, 7)
}

func TestStats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats")
	if err := os.WriteFile(path, histogram(statsFile("exits", "insn_emulation", "latency")), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Stats{file: f, counters: map[string]counter{}}
	defer s.Close()
	if err := s.readDescriptors(f); err != nil {
		t.Fatal(err)
	}
	if n, ok := s.Value("insn_emulation"); !ok || n != 101 {
		t.Errorf("insn_emulation is %d (%v), want 101", n, ok)
	}
	for _, name := range []string{"other", "latency"} {
		if _, ok := s.Value(name); ok {
			t.Errorf("%s, which is no counter, has a value", name)
		}
	}
	sums := map[string]uint64{"vcpu.exits": 1}
	s.AddTo(sums, "vcpu.")
	want := map[string]uint64{"vcpu.exits": 101, "vcpu.insn_emulation": 101, "vcpu.latency[1]": 7}
	if !maps.Equal(sums, want) {
		t.Errorf("all counters: %v, want %v", sums, want)
	}
	(*Stats)(nil).AddTo(sums, "vm.")
	if !maps.Equal(sums, want) {
		t.Errorf("no statistics add up to %v", sums)
	}
}
