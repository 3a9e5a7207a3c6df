package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	libseccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun/seccomp"
	"github.com/clearrun/clearrun/pod"
)

func TestTablesAreUpToDate(t *testing.T) {
	for table, generate := range map[string]func(io.Writer) error{"profile.go": generate, "names.go": generateNames} {
		var want bytes.Buffer
		if err := generate(&want); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile("../../hostrun/seccomp/" + table); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is not what the profile gives (%v): run go generate ./hostrun/seccomp", table, err)
		}
	}
}

// machine runs a filter as the kernel would.
type machine struct{ *bpf.VM }

func newMachine(t *testing.T, program []bpf.Instruction) machine {
	t.Helper()
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return machine{vm}
}

// call gives the filter's answer, of which the kernel takes 32 bits. The VM loads
// words big-endian.
func (m machine) call(t *testing.T, arch, number uint32, args [6]uint64) uint32 {
	t.Helper()
	data := binary.BigEndian.AppendUint32(nil, number)
	data = binary.BigEndian.AppendUint32(data, arch)
	data = binary.BigEndian.AppendUint64(data, 0)
	for _, a := range args {
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	n, err := m.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// ours decodes the filter that clearrun installs.
func ours(t *testing.T, caps pod.CapabilitySet, r *seccomp.Restriction) machine {
	t.Helper()
	code, err := seccomp.Filter(uint64(caps), r)
	if err != nil {
		t.Fatal(err)
	}
	var raw []bpf.RawInstruction
	for c := range slices.Chunk(code, 8) {
		raw = append(raw, bpf.RawInstruction{
			Op: binary.NativeEndian.Uint16(c), Jt: c[2], Jf: c[3], K: binary.NativeEndian.Uint32(c[4:]),
		})
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter does not disassemble")
	}
	return newMachine(t, program)
}

// theirs has the profile evaluated by its own package and compiled by another one.
func theirs(t *testing.T, caps pod.CapabilitySet) machine {
	t.Helper()
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	for n := range 64 {
		if one := pod.CapabilitySet(1) << n; caps&one != 0 && one.String() != "" {
			spec.Process.Capabilities.Bounding = append(spec.Process.Capabilities.Bounding, one.String())
		}
	}
	p, err := moby.GetDefaultProfile(spec)
	if err != nil {
		t.Fatal(err)
	}
	info, err := arch.GetInfo("amd64")
	if err != nil {
		t.Fatal(err)
	}
	policy := libseccomp.Policy{DefaultAction: libseccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(*p.DefaultErrnoRet))}
	// One group per action: the library does not reload the number of a call between
	// groups once it has looked at an argument.
	groups := map[libseccomp.Action]*libseccomp.SyscallGroup{}
	for _, s := range p.Syscalls {
		action := libseccomp.ActionAllow
		if s.Action == specs.ActErrno {
			action = libseccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(*s.ErrnoRet))
		}
		if groups[action] == nil {
			groups[action] = &libseccomp.SyscallGroup{Action: action}
		}
		addTo(t, groups[action], info, s)
	}
	for _, g := range groups {
		if len(g.Names)+len(g.NamesWithCondtions) > 0 {
			policy.Syscalls = append(policy.Syscalls, *g)
		}
	}
	slices.SortFunc(policy.Syscalls, func(a, b libseccomp.SyscallGroup) int { return len(a.NamesWithCondtions) - len(b.NamesWithCondtions) })
	program, err := assemble(&policy)
	if err != nil {
		t.Fatal(err)
	}
	return newMachine(t, program)
}

// assemble compiles with a default that the library knows, and puts the real one in.
func assemble(p *libseccomp.Policy) ([]bpf.Instruction, error) {
	real := p.DefaultAction
	p.DefaultAction = libseccomp.ActionTrap // used nowhere else
	program, err := p.Assemble()
	for i, ins := range program {
		if ret, ok := ins.(bpf.RetConstant); ok && ret.Val == uint32(libseccomp.ActionTrap) {
			program[i] = bpf.RetConstant{Val: uint32(real)}
		}
	}
	return program, err
}

func addTo(t *testing.T, g *libseccomp.SyscallGroup, info *arch.Info, s specs.LinuxSyscall) {
	t.Helper()
	for _, name := range s.Names {
		if _, ok := info.SyscallNames[name]; !ok || slices.Contains(g.Names, name) {
			continue
		}
		if len(s.Args) == 0 {
			g.Names = append(g.Names, name)
			continue
		}
		var conditions libseccomp.ArgumentConditions
		for _, a := range s.Args {
			c := libseccomp.Condition{Argument: uint32(a.Index), Value: a.Value}
			switch {
			case a.Op == specs.OpEqualTo:
				c.Operation = libseccomp.Equal
			case a.Op == specs.OpLessThan:
				c.Operation = libseccomp.LessThan
			case a.Op == specs.OpMaskedEqual && a.ValueTwo == 0:
				c.Operation = libseccomp.BitsNotSet
			default:
				t.Fatalf("condition %+v", a)
			}
			conditions = append(conditions, c)
		}
		g.NamesWithCondtions = append(g.NamesWithCondtions, libseccomp.NameWithConditions{Name: name, Conditions: conditions})
	}
}

// TestSameAsTheLibrary asks both filters about every call, with arguments near those
// that the profile names, for several capability sets.
func TestSameAsTheLibrary(t *testing.T) {
	interesting := []uint64{
		0, 1, 2, 3, 7, 8, 16, 38, 40, 131072, 131080, 0xffffffff, 1 << 32, 1<<32 | 8, 1<<63 | 16,
		unix.CLONE_NEWUSER, unix.CLONE_NEWNS | unix.CLONE_VM, unix.CLONE_VM | unix.CLONE_VFORK, unix.CLONE_NEWUSER << 8,
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, caps := range []pod.CapabilitySet{
		0, pod.DefaultCapabilities(), pod.AllCapabilities(), 1 << unix.CAP_SYS_ADMIN, 1 << unix.CAP_SYS_PTRACE, 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_BPF,
	} {
		a, b := ours(t, caps, nil), theirs(t, caps)
		allowed := 0
		for number := range uint32(512) {
			for _, first := range interesting {
				args := [6]uint64{first, interesting[random.IntN(len(interesting))]}
				got, want := a.call(t, unix.AUDIT_ARCH_X86_64, number, args), b.call(t, unix.AUDIT_ARCH_X86_64, number, args)
				if got != want {
					t.Fatalf("capabilities %v, call %d(%#x): %#x, the library gives %#x", caps, number, args, got, want)
				}
				if got == unix.SECCOMP_RET_ALLOW {
					allowed++
				}
			}
		}
		if allowed < 1000 {
			t.Errorf("capabilities %v: only %d of the calls are allowed", caps, allowed)
		}
		for _, foreign := range []struct{ arch, number uint32 }{{unix.AUDIT_ARCH_I386, unix.SYS_READ}, {unix.AUDIT_ARCH_X86_64, 0x40000000 | unix.SYS_READ}} {
			if got := a.call(t, foreign.arch, foreign.number, [6]uint64{}); got == unix.SECCOMP_RET_ALLOW {
				t.Errorf("call %#x of architecture %#x is allowed", foreign.number, foreign.arch)
			}
		}
	}
}
