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
	maxBuckets  = 256
)

// Stats reads the counters of a VM or a vCPU, such as exits and emulated instructions.
type Stats struct {
	file     *os.File
	counters map[string]counter
}

// counter is where a statistic's values lie in the file; those of a histogram are many.
type counter struct {
	offset int64
	values int
}

// Stats opens the vCPU's statistics. It fails where the kernel is older than
// 5.14 and offers none.
func (v *VCPU) Stats() (*Stats, error) {
	s, err := newStats(v.file)
	if err != nil {
		return nil, fmt.Errorf("statistics of vCPU %d: %w", v.ID, err)
	}
	return s, nil
}

// Stats opens the statistics of the VM as a whole; see VCPU.Stats.
func (vm *VM) Stats() (*Stats, error) {
	s, err := newStats(vm.file)
	if err != nil {
		return nil, fmt.Errorf("statistics of the VM: %w", err)
	}
	return s, nil
}

func newStats(of *os.File) (*Stats, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, of.Fd(), kvm.IIO(nrGetStatsFD), 0)
	if errno != 0 {
		return nil, errno
	}
	s := &Stats{file: os.NewFile(fd, "kvm-stats"), counters: map[string]counter{}}
	unix.CloseOnExec(int(fd))
	if err := s.readDescriptors(s.file); err != nil {
		s.file.Close()
		return nil, err
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
		values := int(le.Uint16(table[statsSizeAt:]))
		if values < 1 || values > maxBuckets {
			continue
		}
		name, _, _ := strings.Cut(string(table[statsDescSize:size]), "\x00")
		s.counters[name] = counter{base + int64(le.Uint32(table[statsOffsetAt:])), values}
	}
	return nil
}

// Value is the counter of this name now; ok is false if the kernel has none, or a
// histogram. It may be called from any goroutine.
func (s *Stats) Value(name string) (n uint64, ok bool) {
	c, found := s.counters[name]
	var b [valueSize]byte
	if !found || c.values != 1 {
		return 0, false
	}
	if _, err := s.file.ReadAt(b[:], c.offset); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// AddTo adds every counter to sums, under its name behind prefix; of a histogram each
// bucket that is not empty, as name[i]. A nil Stats has none.
func (s *Stats) AddTo(sums map[string]uint64, prefix string) {
	if s == nil {
		return
	}
	var b [maxBuckets * valueSize]byte
	for name, c := range s.counters {
		values := b[:c.values*valueSize]
		if _, err := s.file.ReadAt(values, c.offset); err != nil {
			continue
		}
		if c.values == 1 {
			sums[prefix+name] += binary.LittleEndian.Uint64(values)
			continue
		}
		for i := range c.values {
			if n := binary.LittleEndian.Uint64(values[i*valueSize:]); n > 0 {
				sums[fmt.Sprintf("%s%s[%d]", prefix, name, i)] += n
			}
		}
	}
}

// valueSize is that of one counter in bytes.
const valueSize = 8

// Close releases the statistics.
func (s *Stats) Close() error { return s.file.Close() }
