package kvm

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// Binary statistics (4.134): a header, descriptors, then a block of values.
//
//	struct kvm_stats_header { __u32 flags, name_size, num_desc, id_offset, desc_offset, data_offset; };
//	struct kvm_stats_desc { __u32 flags; __s16 exponent; __u16 size; __u32 offset; __u32 bucket_size; char name[]; };
const (
	statsHeaderSize   = 24
	statsNameSizeAt   = 4
	statsNumDescAt    = 8
	statsDescOffsetAt = 16
	statsDataOffsetAt = 20
	statsDescSize     = 16
	statsSizeAt       = 6
	statsOffsetAt     = 8

	// Bounds against a kernel that this code does not know.
	maxStats    = 1024
	maxStatName = 256
)

// Stats reads a vCPU's counters, such as exits and emulated instructions.
type Stats struct {
	file    *os.File
	offsets map[string]int64 // where each single-valued counter lies in the file
}

// Stats opens the vCPU's statistics. It fails where the kernel is older than
// 5.14 and offers none.
func (v *VCPU) Stats() (*Stats, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, v.file.Fd(), kvm.IIO(nrGetStatsFD), 0)
	if errno != 0 {
		return nil, fmt.Errorf("get statistics of vCPU %d: %w", v.ID, errno)
	}
	s := &Stats{file: os.NewFile(fd, "kvm-stats"), offsets: map[string]int64{}}
	unix.CloseOnExec(int(fd))
	if err := s.readDescriptors(s.file); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("read statistics of vCPU %d: %w", v.ID, err)
	}
	return s, nil
}

func (s *Stats) readDescriptors(r io.ReaderAt) error {
	var h [statsHeaderSize]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		return err
	}
	le := binary.LittleEndian
	nameSize, count := le.Uint32(h[statsNameSizeAt:]), le.Uint32(h[statsNumDescAt:])
	if count > maxStats || nameSize > maxStatName {
		return fmt.Errorf("%d descriptors with names of %d bytes are not believable", count, nameSize)
	}
	size := statsDescSize + int(nameSize)
	table := make([]byte, int(count)*size)
	if _, err := r.ReadAt(table, int64(le.Uint32(h[statsDescOffsetAt:]))); err != nil {
		return err
	}
	base := int64(le.Uint32(h[statsDataOffsetAt:]))
	for ; len(table) > 0; table = table[size:] {
		if le.Uint16(table[statsSizeAt:]) != 1 {
			continue // a histogram
		}
		name, _, _ := strings.Cut(string(table[statsDescSize:size]), "\x00")
		s.offsets[name] = base + int64(le.Uint32(table[statsOffsetAt:]))
	}
	return nil
}

// Value is the counter of this name now; ok is false if the kernel has none.
// It may be called from any goroutine.
func (s *Stats) Value(name string) (n uint64, ok bool) {
	at, found := s.offsets[name]
	var b [8]byte
	if !found {
		return 0, false
	}
	if _, err := s.file.ReadAt(b[:], at); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// All reads every single-valued counter.
func (s *Stats) All() map[string]uint64 {
	all := make(map[string]uint64, len(s.offsets))
	for name := range s.offsets {
		if n, ok := s.Value(name); ok {
			all[name] = n
		}
	}
	return all
}

// Close releases the statistics.
func (s *Stats) Close() error { return s.file.Close() }
