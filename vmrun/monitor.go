package vmrun

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// KVMPath is the device that the vm tier needs.
const KVMPath = "/dev/kvm"

// monitor is a running clearrun-monitor process.
type monitor struct {
	cmd     *exec.Cmd
	lease   *label.Lease
	control *net.UnixConn // new connections of the guest arrive here
	reports *net.UnixConn
	stderr  *tail
	copying sync.WaitGroup // what the monitor says, until its end

	waited  chan struct{} // closed when the process has been reaped
	killing sync.Once
}

// startMonitor starts a monitor with the configuration that configure makes, on
// top of the descriptors that every monitor gets. All that it needs is opened
// here, under the user's own rights; it opens nothing itself. The caller has
// locked its thread.
func startMonitor(b *bundle.Bundle, acquire acquire, configure func(*launcher, *launch.Config) error) (_ *monitor, err error) {
	l := &launcher{}
	defer l.close()
	kvm, err := openKVM(KVMPath)
	if err != nil {
		return nil, err
	}
	cfg := &launch.Config{KVM: l.pass(l.own(kvm)), Memory: DefaultMemory, VCPUs: DefaultCPUs, Console: -1}
	m := &monitor{stderr: &tail{}, waited: make(chan struct{})}
	if m.lease, err = acquire(kvm, b.File); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	cfg.Labelled = m.lease.ProcessLabel() != ""
	if err := configure(l, cfg); err != nil {
		return nil, err
	}
	stderr, err := m.connect(l, cfg)
	if err != nil {
		return nil, err
	}
	if err := m.start(l, cfg, b, stderr); err != nil {
		return nil, err
	}
	go func() {
		_ = m.cmd.Wait()
		m.copying.Wait()
		close(m.waited)
	}()
	return m, nil
}

// close gives up what there is of a monitor that does not run.
func (m *monitor) close() {
	for _, c := range []*net.UnixConn{m.control, m.reports} {
		if c != nil {
			c.Close()
		}
	}
	m.lease.Close()
}

// connect makes the sockets between the monitor and this process, which bear its label. It
// gives the one that is to be its stderr.
func (m *monitor) connect(l *launcher, cfg *launch.Config) (stderr *os.File, err error) {
	err = m.lease.WithSockets(func() error {
		stderr, err = m.makeSockets(l, cfg)
		return err
	})
	return stderr, err
}

func (m *monitor) makeSockets(l *launcher, cfg *launch.Config) (stderr *os.File, err error) {
	control, ours, err := l.socket(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	cfg.Control, m.control = l.pass(control), ours
	report, ours, err := l.socket(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	cfg.Report, m.reports = l.pass(report), ours
	stderr, ours, err = l.socket(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	m.copy(m.stderr, ours)
	if console := l.console; console != nil {
		theirs := console
		if cfg.Labelled { // whose terminal or file would not be the monitor's to write to
			if theirs, ours, err = l.socket(unix.SOCK_STREAM); err != nil {
				return nil, err
			}
			m.copy(console, ours)
		}
		cfg.Console = l.pass(theirs)
	}
	return stderr, nil
}

// copy passes on what the monitor writes into a socket, until its end.
func (m *monitor) copy(to io.Writer, from *net.UnixConn) {
	m.copying.Go(func() {
		defer from.Close()
		_, _ = io.Copy(to, from)
	})
}

// openKVM opens /dev/kvm; an error says what would help.
func openKVM(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("tier vm needs %s, which does not exist: load a KVM module (kvm_intel, kvm_amd or kvm_pvm) or enable virtualization in the firmware; `clearrun doctor` tells more", path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("no permission to open %s: join the group that owns it (usermod -aG kvm USER, then log in again)", path)
	}
	return f, err
}

// launcher collects the descriptors that a monitor inherits.
type launcher struct {
	inherited []*os.File // descriptor launch.ConfigFD+1 and on
	owned     []*os.File // to close when the monitor has them
	console   *os.File   // takes the guest's serial console; nil: it has none
}

func (l *launcher) own(f *os.File) *os.File {
	l.owned = append(l.owned, f)
	return f
}

func (l *launcher) close() {
	for _, f := range l.owned {
		f.Close()
	}
}

// pass gives f a descriptor in the monitor.
func (l *launcher) pass(f *os.File) int {
	l.inherited = append(l.inherited, f)
	return launch.ConfigFD + len(l.inherited)
}

// ownGuest makes cfg boot the guest that b carries.
func (l *launcher) ownGuest(cfg *launch.Config, b *bundle.Bundle) error {
	kernel, err := b.Part(bundle.Kernel)
	if err != nil {
		return err
	}
	initramfs, err := b.Part(bundle.Initramfs)
	if err != nil {
		return err
	}
	exe := l.pass(b.File)
	cfg.Kernel = launch.Section{FD: exe, Offset: kernel.Offset, Size: kernel.Size}
	cfg.Initramfs = launch.Section{FD: exe, Offset: initramfs.Offset, Size: initramfs.Size}
	return nil
}

// size sets memory, rounded up to what a VM can have, and vCPUs; 0 keeps the
// default.
func size(cfg *launch.Config, memory uint64, cpus int) {
	if memory != 0 {
		cfg.Memory = (memory + memoryUnit - 1) &^ (memoryUnit - 1)
	}
	if cpus != 0 {
		cfg.VCPUs = cpus
	}
}

// configurePod makes the configuration of a monitor that runs p.
func configurePod(p *pod.Pod, o Options) func(*launcher, *launch.Config) error {
	return func(l *launcher, cfg *launch.Config) error {
		if err := l.ownGuest(cfg, o.Bundle); err != nil {
			return err
		}
		size(cfg, p.Resources.MemoryBytes, p.Resources.CPUs)
		root := p.RootFS.Info
		cfg.Root = &launch.Disk{
			FD: l.pass(p.RootFS.File()), Size: root.DataBlocks * blockSize, DataBlocks: root.DataBlocks,
			HashOffset: root.HashOffset, RootHash: root.RootHash[:], Salt: root.Salt,
		}
		cfg.CmdLine = o.KernelArgs
		cfg.Ports = guestPorts
		cfg.Marks = o.OnReport != nil
		l.console = o.Console
		return nil
	}
}

// guestPorts are those that PID 1 of clearrun's own guest connects to.
var guestPorts = []uint32{proto.ControlPort, proto.StdinPort, proto.StdoutPort, proto.StderrPort}

// blockSize is that of the root image and its hash tree; memoryUnit is what a
// VM's memory is rounded up to.
const (
	blockSize  = 4096
	memoryUnit = 1 << 20
)

// socket makes a pair of connected sockets, one of them for the monitor.
func (l *launcher) socket(kind int) (theirs *os.File, ours *net.UnixConn, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create a socket for the monitor: %w", err)
	}
	theirs = l.own(os.NewFile(uintptr(pair[1]), "socket"))
	if ours, err = attach.UnixConn(pair[0]); err != nil {
		return nil, nil, fmt.Errorf("create a socket for the monitor: %w", err)
	}
	return theirs, ours, nil
}

// monitorFD is the lowest descriptor that the monitor's executable may have
// here, above all those that its process inherits.
const monitorFD = 64

// start runs the monitor from memory, in namespaces of its own where the user
// may make them.
func (m *monitor) start(l *launcher, cfg *launch.Config, b *bundle.Bundle, stderr *os.File) error {
	exe, err := b.Executable(bundle.Monitor)
	if err != nil {
		return fmt.Errorf("unpack the monitor: %w", err)
	}
	l.own(exe)
	high, err := unix.FcntlInt(exe.Fd(), unix.F_DUPFD_CLOEXEC, monitorFD)
	if err != nil {
		return fmt.Errorf("unpack the monitor: %w", err)
	}
	l.own(os.NewFile(uintptr(high), "clearrun-monitor"))
	data, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	config, err := bundle.Seal("clearrun-config", func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("pass the monitor its configuration: %w", err)
	}
	l.own(config)
	for _, f := range []*os.File{exe, config} {
		if err := m.lease.LabelFile(f); err != nil {
			return err
		}
	}
	m.cmd = &exec.Cmd{
		Path:        fmt.Sprintf("/proc/self/fd/%d", high),
		Args:        []string{"clearrun-monitor"},
		Env:         []string{"GOMAXPROCS=2", "GOTRACEBACK=single"},
		Dir:         "/",
		Stderr:      stderr,
		ExtraFiles:  append([]*os.File{config}, l.inherited...),
		SysProcAttr: confinement(os.Geteuid()),
	}
	if err := m.lease.Start(m.cmd.Start); err != nil {
		return fmt.Errorf("start the monitor: %w", err)
	}
	return nil
}

// nobody is the user that the monitor of a root user runs as.
const nobody = 65534

// confinement is what surrounds the monitor process. It dies with clearrun, and
// Ctrl-C on the terminal does not reach it. A seccomp filter of its own follows.
func confinement(euid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if euid == 0 {
		attr.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWNS
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return attr
}

// accept waits for the guest's next connection. It fails when the monitor is
// gone.
func (m *monitor) accept() (port uint32, _ *net.UnixConn, err error) {
	var b [4]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := m.control.ReadMsgUnix(b[:], oob)
	if err != nil {
		return 0, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || n != len(b) || len(messages) != 1 {
		return 0, nil, attach.ErrGone
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, nil, attach.ErrGone
	}
	c, err := attach.UnixConn(fds[0])
	return binary.BigEndian.Uint32(b[:]), c, err
}

// awaitExit gives the monitor some time to end by itself.
func (m *monitor) awaitExit(grace time.Duration) {
	select {
	case <-m.waited:
	case <-time.After(grace):
	}
}

// kill ends the monitor and with it the VM, and reaps it.
func (m *monitor) kill() {
	m.killing.Do(func() {
		_ = m.cmd.Process.Kill()
		<-m.waited
		m.close()
	})
}

// report reads the monitor's last word. The process must have ended.
func (m *monitor) report() (launch.Report, error) {
	var r launch.Report
	_ = m.reports.SetReadDeadline(time.Now().Add(time.Second))
	err := json.NewDecoder(io.LimitReader(m.reports, maxReport)).Decode(&r)
	return r, err
}

const maxReport = 1 << 20

// postMortem says why a VM ended without the guest's report; image is the store
// entry that it ran.
func (m *monitor) postMortem(image string) error {
	m.awaitExit(time.Second)
	r, err := m.report()
	switch {
	case err != nil:
		return fmt.Errorf("the VM's monitor ended unexpectedly (%v)%s", m.status(), m.stderr.suffix())
	case r.Outcome == launch.Corrupt:
		return fmt.Errorf("the stored root image is corrupt, and the VM was ended: %s; delete %s and run again", r.Error, image)
	case r.Outcome == launch.PoweredOff:
		return fmt.Errorf("the VM powered off without reporting the app's exit%s", lastWords(r.LastWords))
	case r.Outcome == launch.Crashed:
		return fmt.Errorf("the VM crashed: %s%s", r.Error, lastWords(r.LastWords))
	}
	return fmt.Errorf("the VM failed: %s%s", r.Error, m.stderr.suffix())
}

// lastWords tells what a guest's kernel said before its end, or how to see more of it.
func lastWords(said string) string {
	if _, panicked, ok := strings.Cut(said, "Kernel panic - "); ok {
		said, _, _ = strings.Cut(panicked, "\n")
		said = "panic, " + said
	}
	if said = strings.TrimSpace(said); said == "" {
		return "; --console shows the guest kernel's messages"
	}
	return ": the guest kernel's last words: " + attach.Printable(strings.Join(strings.Fields(said), " ")) + "; --console shows more"
}

func (m *monitor) status() string {
	select {
	case <-m.waited:
		return m.cmd.ProcessState.String()
	default:
		return "still running"
	}
}

// tail keeps the last bytes written to it: the monitor's stderr.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxTail = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - maxTail; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

// suffix is the text behind an error message, if there is any.
func (t *tail) suffix() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := strings.TrimSpace(string(t.buf)); s != "" {
		return ": " + s
	}
	return ""
}
