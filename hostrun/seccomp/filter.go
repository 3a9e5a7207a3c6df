package seccomp

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// rule says what to do about some system calls. In a table the rules of one call stand
// in the order of the profile; the first that fits decides.
type rule struct {
	caps   uint64   // applies only if all of these are held
	no     uint64   // applies only if none of these is held
	calls  []uint16 // system call numbers
	args   []argument
	action uint32 // SECCOMP_RET_*
}

// argument is a condition on one argument: argument & mask, compared with value.
type argument struct {
	index       uint8 // 0 to 5
	test        test
	value, mask uint64
}

// test is how an argument is compared.
type test uint8

const (
	equal test = iota
	less       // for values below 2^32
)

// Layout of struct seccomp_data (linux/seccomp.h), in bytes.
const (
	numberOffset = 0
	archOffset   = 4
	argsOffset   = 16
	argSize      = 8
)

// x32Bit marks system calls of the x32 ABI, which have other numbers.
const x32Bit = 0x40000000

// ErrTooLong means that the kernel would not take the filter.
var ErrTooLong = errors.New("seccomp filter is too long")

// Filter gives the filter for an app with these capabilities (bit n stands for
// capability n), as an array of struct sock_filter. It lets through what both the profile
// and r do; r may be nil. Calls of other architectures fail with EPERM, those of the x32
// ABI with ENOSYS.
func Filter(caps uint64, r *Restriction) ([]byte, error) {
	var a assembler
	a.load(archOffset)
	a.jump(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 1, 0)
	a.give(defaultAction)
	a.load(numberOffset)
	a.jump(unix.BPF_JGE, x32Bit, 0, 1)
	a.give(errno(unix.ENOSYS))
	a.restrict(r)
	for _, r := range profile {
		if caps&r.caps == r.caps && caps&r.no == 0 {
			a.rule(r)
		}
	}
	a.give(defaultAction)
	if len(a.code)/sockFilterSize > unix.BPF_MAXINSNS {
		return nil, ErrTooLong
	}
	return a.code, nil
}

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// sockFilterSize is sizeof(struct sock_filter) of linux/filter.h:
//
//	struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; };
const sockFilterSize = 8

// assembler appends instructions of classic BPF. Between rules the accumulator holds
// the number of the system call.
type assembler struct{ code []byte }

func (a *assembler) emit(code uint16, jt, jf uint8, k uint32) {
	a.code = binary.NativeEndian.AppendUint16(a.code, code)
	a.code = append(a.code, jt, jf)
	a.code = binary.NativeEndian.AppendUint32(a.code, k)
}

func (a *assembler) load(at uint32) { a.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, at) }

func (a *assembler) and(mask uint32) { a.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, mask) }

func (a *assembler) jump(op uint16, k uint32, yes, no uint8) {
	a.emit(unix.BPF_JMP|op|unix.BPF_K, yes, no, k)
}

func (a *assembler) give(action uint32) { a.emit(unix.BPF_RET|unix.BPF_K, 0, 0, action) }

func (a *assembler) rule(r rule) {
	for _, n := range r.calls {
		if len(r.args) == 0 {
			a.jump(unix.BPF_JEQ, uint32(n), 0, 1)
			a.give(r.action)
			continue
		}
		// What follows is skipped for other calls, and ends at the first condition that
		// does not hold; then the number is loaded again.
		const perArgument, tail = 6, 2
		length := perArgument*len(r.args) + tail
		a.jump(unix.BPF_JEQ, uint32(n), 0, uint8(length))
		for i, arg := range r.args {
			left := perArgument*(len(r.args)-1-i) + 1 // to the load at the end
			a.condition(arg, uint8(left))
		}
		a.give(r.action)
		a.load(numberOffset)
	}
}

// condition goes on if arg holds and jumps over as many instructions behind it as
// given otherwise. It is six instructions long.
func (a *assembler) condition(arg argument, over uint8) {
	low := argsOffset + argSize*uint32(arg.index) // little-endian
	a.load(low + 4)
	a.and(uint32(arg.mask >> 32))
	a.jump(unix.BPF_JEQ, uint32(arg.value>>32), 0, 3+over)
	a.load(low)
	a.and(uint32(arg.mask))
	if arg.test == less {
		a.jump(unix.BPF_JGE, uint32(arg.value), over, 0)
		return
	}
	a.jump(unix.BPF_JEQ, uint32(arg.value), 0, over)
}
