package profile

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Symbols are the functions of a kernel, by address.
type Symbols struct{ list []symbol } // ascending

type symbol struct {
	addr uint64
	name string
}

// maxSymbols bounds what a file can make this process remember.
const maxSymbols = 4 << 20

// ReadSymbols reads a System.map or an ELF file with a symbol table.
func ReadSymbols(r io.ReaderAt, size int64) (*Symbols, error) {
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := r.ReadAt(magic, 0); err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	read := readMap
	if bytes.Equal(magic, []byte(elf.ELFMAG)) {
		read = readELF
	}
	list, err := read(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("read symbols: no functions in it: want System.map or a vmlinux that is not stripped")
	}
	slices.SortStableFunc(list, func(a, b symbol) int {
		if a.addr < b.addr {
			return -1
		}
		if a.addr > b.addr {
			return 1
		}
		return 0
	})
	return &Symbols{list}, nil
}

// readMap reads lines of "address type name", as nm prints them; types t, T, w and W are
// functions.
func readMap(r *io.SectionReader) ([]symbol, error) {
	var list []symbol
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want an address, a type and a name", n)
		}
		addr, err := strconv.ParseUint(fields[0], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q is not an address", n, fields[0])
		}
		if !strings.Contains("tTwW", fields[1]) {
			continue
		}
		if list = append(list, symbol{addr, fields[2]}); len(list) > maxSymbols {
			return nil, fmt.Errorf("more than %d functions", maxSymbols)
		}
	}
	return list, lines.Err()
}

func readELF(r *io.SectionReader) ([]symbol, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	all, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	var list []symbol
	for _, s := range all {
		kind := elf.ST_TYPE(s.Info)
		inCode := int(s.Section) < len(f.Sections) && f.Sections[s.Section].Flags&elf.SHF_EXECINSTR != 0
		if kind == elf.STT_FUNC || kind == elf.STT_NOTYPE && inCode && s.Name != "" {
			list = append(list, symbol{s.Value, s.Name})
		}
	}
	return list, nil
}

// What is not a function of the kernel's.
const (
	userMode = "[user mode]"
	unknown  = "[unknown]"

	kernelHalf = 1 << 63 // addresses from here on are the kernel's
)

// Name names the function at an address. A nil Symbols knows none: the address is its name.
func (s *Symbols) Name(addr uint64) string {
	name, _ := s.find(addr)
	return name
}

// find names the function at rip, and where it starts.
func (s *Symbols) find(rip uint64) (name string, start uint64) {
	if rip < kernelHalf {
		return userMode, 0
	}
	if s == nil {
		return fmt.Sprintf("%#x", rip), rip
	}
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].addr > rip })
	if i == 0 {
		return unknown, 0
	}
	return s.list[i-1].name, s.list[i-1].addr
}
