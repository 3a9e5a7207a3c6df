package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// VectorReport is what one process found in its vector registers.
type VectorReport struct {
	Process string
	// Widths are the registers that were checked: xmm, ymm, zmm.
	Widths []string
	// Checker is what the check said of two sets of registers that differ.
	Checker []string
	Phases  []VectorPhase
}

// VectorPhase is one way to lose the registers.
type VectorPhase struct {
	Name   string
	Rounds int    // in which they were found right
	Wrong  string // the first that was not; empty: none
	// Switches away from this process since the phase began, by its own will (waiting
	// for the other) and by the kernel's.
	Voluntary, Involuntary int64
	Signals                int64 // whose handler wiped the registers
}

// Numbers of rounds: enough for each to be a switch between the processes.
const (
	pingPongRounds = 200
	mixedRounds    = 100
	signalRounds   = 50
	migrateRounds  = 20
)

// The spinning phase: it ends when each process was interrupted often enough.
const (
	spinsPerRound      = 2_000_000 // a millisecond or so
	roundsPerSpin      = 5
	involuntaryEnough  = 5
	spinPhaseMaxRounds = 20_000
)

// names of the vector registers, by width.
func names() []string { return []string{"xmm", "ymm", "zmm"} }

// bestWidth is the widest that this CPU has and the kernel lets programs use.
func bestWidth() int {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW:
		return widthZMM
	case cpu.X86.HasAVX:
		return widthYMM
	}
	return widthXMM
}

// vectors starts two processes that check their registers against each other, and prints
// both reports.
func vectors([]string) error {
	fromA, toB, err := os.Pipe()
	if err != nil {
		return err
	}
	fromB, toA, err := os.Pipe()
	if err != nil {
		return err
	}
	a, err := startVectorChild("a", fromB, toB)
	if err != nil {
		return err
	}
	b, err := startVectorChild("b", fromA, toA)
	if err != nil {
		return err
	}
	for _, f := range []*os.File{fromA, fromB, toA, toB} {
		f.Close() // so that each hears of the other's end
	}
	reports := make([]VectorReport, 2)
	errA, errB := a.await(&reports[0]), b.await(&reports[1])
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	return printJSON(reports)
}

// child is a process that holds registers.
type child struct {
	cmd *exec.Cmd
	out *bytes.Buffer
}

func startVectorChild(name string, in, out *os.File) (*child, error) {
	c := &child{exec.Command("/proc/self/exe", "vector-child", name), &bytes.Buffer{}}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = in, c.out, os.Stderr
	c.cmd.ExtraFiles = []*os.File{out}
	// The runtime's own signals would only slow this down.
	c.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	return c, c.cmd.Start()
}

func (c *child) await(r *VectorReport) error {
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%v: %w", c.cmd.Args, err)
	}
	return json.Unmarshal(c.out.Bytes(), r)
}

// holder is one of the two processes.
type holder struct {
	name  string
	width int
	first bool // it begins each exchange of a byte
	byte  *byte
	pins  runtime.Pinner
}

// Descriptors of the pipes from and to the other process.
const (
	pipeIn  = 0
	pipeOut = 3
)

// vectorChild goes through the phases in step with the other process.
func vectorChild(args []string) error {
	if len(args) != 1 {
		return errors.New("want a name")
	}
	runtime.LockOSThread()
	if err := bind(0); err != nil { // both to one CPU, or they would not disturb each other
		return err
	}
	h := &holder{name: args[0], width: bestWidth(), first: args[0] == "a", byte: new(byte)}
	defer h.pins.Unpin()
	r := VectorReport{Process: h.name, Widths: names()[:h.width+1], Checker: h.checkChecker()}
	vectorWidth = h.width
	if err := wipeOn(unix.SIGUSR1); err != nil {
		return err
	}
	for _, phase := range []struct {
		name string
		run  func(*VectorPhase) error
	}{
		{"both use all", h.pingPong},
		{"one uses xmm alone", h.mixed},
		{"signals", h.signalled},
		{"interrupted", h.interrupted},
		{"moved between CPUs", h.moved},
	} {
		p, err := measure(phase.name, phase.run)
		if err != nil {
			return fmt.Errorf("phase %s: %w", phase.name, err)
		}
		r.Phases = append(r.Phases, p)
	}
	return printJSON(r)
}

// measure runs a phase and counts switches and signals.
func measure(name string, run func(*VectorPhase) error) (VectorPhase, error) {
	p := VectorPhase{Name: name}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		return p, err
	}
	wiped := wipes
	if err := run(&p); err != nil {
		return p, err
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		return p, err
	}
	p.Voluntary, p.Involuntary = after.Nvcsw-before.Nvcsw, after.Nivcsw-before.Nivcsw
	p.Signals = wipes - wiped
	return p, nil
}

// holding gives a holding of values that no other process or phase has.
func (h *holder) holding(seed string, width int) *holding {
	x := &holding{width: width, rounds: 1}
	sum := fnv.New64a()
	io.WriteString(sum, h.name+" "+seed)
	random := rand.New(rand.NewPCG(sum.Sum64(), 0))
	parts := []int{widthXMM: 16, widthYMM: 32, widthZMM: 64}
	for i := range x.load.vectors {
		if width < widthZMM && i >= 16 {
			break
		}
		for lane := 0; lane < parts[width]; lane += 8 {
			binary.LittleEndian.PutUint64(x.load.vectors[i][lane:], random.Uint64())
		}
	}
	x.load.mxcsr = defaultMXCSR | uint32(random.IntN(4))<<roundingShift
	if width == widthZMM {
		for i := range x.load.masks {
			x.load.masks[i] = random.Uint64()
		}
	}
	x.want, x.seen = x.load, x.load
	return x
}

// MXCSR (Intel SDM volume 1, section 10.2.3): all exceptions masked, and where the
// rounding mode stands.
const (
	defaultMXCSR  = 0x1f80
	roundingShift = 13
)

// exchange makes each round a byte to the other process and one from it.
func (h *holder) exchange(x *holding, rounds int) {
	send := transfer(unix.SYS_WRITE, pipeOut, h.byte, &h.pins)
	receive := transfer(unix.SYS_READ, pipeIn, h.byte, &h.pins)
	x.calls[0], x.calls[1] = receive, send
	if h.first {
		x.calls[0], x.calls[1] = send, receive
	}
	x.callCount, x.rounds = 2, rounds
}

func (h *holder) pingPong(p *VectorPhase) error {
	x := h.holding(p.Name, h.width)
	h.exchange(x, pingPongRounds)
	return p.take(x)
}

// mixed has a use all of the registers, and b the lower parts alone, whose upper ones
// must stay zero.
func (h *holder) mixed(p *VectorPhase) error {
	x := h.holding(p.Name, h.width)
	if !h.first {
		x = h.holding(p.Name, widthXMM)
		x.width, x.upperUnused = h.width, 1
	}
	h.exchange(x, mixedRounds)
	return p.take(x)
}

// signalled has a handler wipe the registers in each round.
func (h *holder) signalled(p *VectorPhase) error {
	x := h.holding(p.Name, h.width)
	h.exchange(x, signalRounds)
	x.calls[2] = call{
		number: unix.SYS_TGKILL,
		args:   [3]uintptr{uintptr(os.Getpid()), uintptr(unix.Gettid()), uintptr(unix.SIGUSR1)},
	}
	x.callCount = 3
	return p.take(x)
}

// interrupted spins until the kernel has taken the CPU away often enough, and goes on
// as long as the other process needs it as a rival.
func (h *holder) interrupted(p *VectorPhase) error {
	x := h.holding(p.Name, h.width)
	x.spins, x.rounds = spinsPerRound, roundsPerSpin
	var begin, now unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &begin); err != nil {
		return err
	}
	satisfied, otherSatisfied := false, false
	for !satisfied || !otherSatisfied {
		if err := p.take(x); err != nil || p.Wrong != "" {
			return err
		}
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &now); err != nil {
			return err
		}
		if !satisfied && (now.Nivcsw-begin.Nivcsw >= involuntaryEnough || p.Rounds > spinPhaseMaxRounds) {
			satisfied = true
			if _, err := unix.Write(pipeOut, []byte{1}); err != nil {
				return err
			}
		}
		ready := []unix.PollFd{{Fd: pipeIn, Events: unix.POLLIN}}
		if n, err := unix.Poll(ready, 0); n == 1 && !otherSatisfied {
			otherSatisfied = true
			if _, err := unix.Read(pipeIn, []byte{0}); err != nil {
				return err
			}
		} else if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}

// moved goes from CPU to CPU in each round, if there is more than one.
func (h *holder) moved(p *VectorPhase) error {
	if runtime.NumCPU() == 1 {
		return nil
	}
	x := h.holding(p.Name, h.width)
	x.calls[0], x.calls[1] = moveTo(0, &h.pins), moveTo(1, &h.pins)
	x.callCount, x.rounds = 2, migrateRounds
	return p.take(x)
}

// take holds x and adds what was found.
func (p *VectorPhase) take(x *holding) error {
	hold(x)
	if x.callFailed != 0 {
		return fmt.Errorf("a system call gave %d", x.result)
	}
	p.Rounds += x.done
	p.Wrong = x.difference()
	return nil
}

// difference names the first register that is not as wanted.
func (x *holding) difference() string {
	for i := range x.want.vectors {
		for b, want := range x.want.vectors[i] {
			if got := x.seen.vectors[i][b]; got != want {
				return fmt.Sprintf("register %d byte %d: %#02x, want %#02x", i, b, got, want)
			}
		}
	}
	for i, want := range x.want.masks {
		if got := x.seen.masks[i]; got != want {
			return fmt.Sprintf("mask %d: %#x, want %#x", i, got, want)
		}
	}
	if x.seen.mxcsr != x.want.mxcsr {
		return fmt.Sprintf("MXCSR: %#x, want %#x", x.seen.mxcsr, x.want.mxcsr)
	}
	return ""
}

// checkChecker holds values that are not those wanted, one at a time: in the last byte
// of the last register of each width, in the last mask, and in MXCSR.
func (h *holder) checkChecker() []string {
	var said []string
	for _, spoil := range []struct {
		width int
		what  func(*registers)
	}{
		{widthXMM, func(r *registers) { r.vectors[15][15] ^= 1 }},
		{widthXMM, func(r *registers) { r.mxcsr ^= 1 << roundingShift }},
		{widthYMM, func(r *registers) { r.vectors[15][31] ^= 1 }},
		{widthZMM, func(r *registers) { r.vectors[31][63] ^= 1 }},
		{widthZMM, func(r *registers) { r.masks[maskCount-1] ^= 1 }},
	} {
		if spoil.width > h.width {
			break
		}
		x := h.holding("checker", spoil.width)
		spoil.what(&x.load)
		hold(x)
		what, _, _ := strings.Cut(x.difference(), ":")
		said = append(said, what)
	}
	return said
}
