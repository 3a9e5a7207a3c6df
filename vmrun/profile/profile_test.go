package profile

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/clearrun/clearrun/vmm/launch"
)

const systemMap = `ffffffff81000000 T _text
ffffffff81000100 T start_kernel
ffffffff81000200 t memmap_init
ffffffff82000000 D jiffies
`

func TestProfile(t *testing.T) {
	symbols, err := ReadSymbols(strings.NewReader(systemMap), int64(len(systemMap)))
	if err != nil {
		t.Fatal(err)
	}
	var p Profile
	for _, s := range []launch.Sample{
		{RIP: 0xffffffff81000104, Instructions: 100},
		{RIP: 0xffffffff810001ff, Instructions: 250},
		{RIP: 0xffffffff81000200, Instructions: 1000},
		{VCPU: 1, RIP: 0xffffffff81000200, Instructions: 7},
		{RIP: 0x401000, Instructions: 1000},
		{RIP: 0xffff800000000000, Instructions: 1001},
	} {
		p.Add(s)
	}
	p.NextRun()
	p.Add(launch.Sample{RIP: 0xffffffff81000200, Instructions: 5})
	var out bytes.Buffer
	if err := p.Write(&out, symbols, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	got, err := profile.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][3]int64{}
	for _, s := range got.Sample {
		name := s.Location[0].Line[0].Function.Name
		sum := sums[name]
		for i, v := range s.Value {
			sum[i] += v
		}
		sums[name] = sum
	}
	const ms = int64(time.Millisecond)
	for name, want := range map[string][3]int64{
		"start_kernel": {2, 2 * ms, 250}, "memmap_init": {3, 3 * ms, 750 + 7 + 5}, userMode: {1, ms, 0}, unknown: {1, ms, 1},
	} {
		if sums[name] != want {
			t.Errorf("%s: %v, want %v", name, sums[name], want)
		}
	}
}

// TestELFSymbols reads the symbols of a real program.
func TestELFSymbols(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("go", "build", "-o", exe, "../../hack/demo/app").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := ReadSymbols(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(symbols.list, func(s symbol) bool { return s.name == "main.main" })
	if i < 0 || len(symbols.list) < 1000 {
		t.Fatalf("%d functions, main.main is number %d", len(symbols.list), i)
	}
	if name, _ := symbols.find(symbols.list[i].addr); name != userMode {
		t.Errorf("main.main, no part of a kernel, is %s, want %s", name, userMode)
	}
}

func TestSymbolsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no functions": "ffffffff82000000 D jiffies\n", "not an address": "x T _text\n",
		"too few words": "ffffffff81000000 T\n", "cut ELF": elf.ELFMAG + "\x02\x01\x01",
	} {
		if s, err := ReadSymbols(strings.NewReader(text), int64(len(text))); err == nil {
			t.Errorf("%s: accepted as %v", name, s)
		}
	}
}

func FuzzSymbols(f *testing.F) {
	f.Add([]byte(systemMap))
	f.Add([]byte(elf.ELFMAG + "\x02\x01\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSymbols(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for i := 1; i < len(s.list); i++ {
			if s.list[i].addr < s.list[i-1].addr {
				t.Fatal("not in order")
			}
		}
		s.find(^uint64(0))
	})
}
